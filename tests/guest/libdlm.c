// SPDX-License-Identifier: GPL-2.0
/*
 * libdlm, as Debian ships it. The program is built twice: with libdlm, whose callbacks can come in
 * a thread of its own, and with libdlm_lt, which has no threads and leaves dispatching to its user.
 */
#include <kselftest_harness.h>
#include <fcntl.h>
#include <libdlm.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "calm.h"

#ifdef _REENTRANT
#define HAS_THREADS	true
#else
#define HAS_THREADS	false
static int dlm_ls_pthread_init(dlm_lshandle_t ls __attribute__((unused)))
{
	return -1;
}
#endif

#define PATIENCE_S	10

static bool reference(void)
{
	const char *value = getenv("DLM_REFERENCE");

	return value && *value && *value != '0';
}

/* ---- A user of a lockspace, and its locks -------------------------------------------------- */

struct user {
	dlm_lshandle_t ls;
	bool threaded;
};

struct lock {
	struct dlm_lksb lksb;
	char value[DLM_LVB_LEN];
	sem_t completed, blocked;
};

static struct lock *new_lock(void)
{
	struct lock *lock = calloc(1, sizeof(*lock));

	lock->lksb.sb_lvbptr = lock->value;
	sem_init(&lock->completed, 0, 0);
	sem_init(&lock->blocked, 0, 0);
	return lock;
}

static void completed(void *lock)
{
	sem_post(&((struct lock *)lock)->completed);
}

static void blocked(void *lock)
{
	sem_post(&((struct lock *)lock)->blocked);
}

/* Wait for one callback: the library's thread makes it, or we do. */
static bool called(struct user *user, sem_t *sem)
{
	struct pollfd p = { .fd = dlm_ls_get_fd(user->ls), .events = POLLIN };
	struct timespec deadline;

	if (user->threaded) {
		clock_gettime(CLOCK_REALTIME, &deadline);
		deadline.tv_sec += PATIENCE_S;
		return !sem_timedwait(sem, &deadline);
	}
	while (sem_trywait(sem))
		if (poll(&p, 1, PATIENCE_S * 1000) != 1 || dlm_dispatch(p.fd))
			return false;
	return true;
}

static int ask(struct user *user, struct lock *lock, int mode, uint32_t flags, const char *name)
{
	return dlm_ls_lock(user->ls, mode, &lock->lksb, flags, name, strlen(name), 0,
			   completed, lock, blocked, NULL);
}

static int wait_for(struct user *user, struct lock *lock, int mode, uint32_t flags,
		    const char *name)
{
	return dlm_ls_lock_wait(user->ls, mode, &lock->lksb, flags, name, strlen(name), 0,
				lock, blocked, NULL);
}

/* Ask, and see it complete with a status. */
#define COMPLETES(user, lock, status) \
do { \
	ASSERT_TRUE(called(user, &(lock)->completed)); \
	ASSERT_EQ(status, (lock)->lksb.sb_status); \
} while (0)

#define LOCK(user, lock, mode, flags, name, status) \
do { \
	ASSERT_EQ(0, ask(user, lock, mode, flags, name)); \
	COMPLETES(user, lock, status); \
} while (0)

#define UNLOCK(user, lock, flags, status) \
do { \
	ASSERT_EQ(0, dlm_ls_unlock((user)->ls, (lock)->lksb.sb_lkid, flags, &(lock)->lksb, lock)); \
	COMPLETES(user, lock, status); \
} while (0)

/* ---- Two users of one lockspace ------------------------------------------------------------ */

FIXTURE(libdlm) { char name[32]; struct user one, two; struct lock *a, *b; };
FIXTURE_VARIANT(libdlm) { bool threaded; };
FIXTURE_VARIANT_ADD(libdlm, dispatched) { false };
#ifdef _REENTRANT
FIXTURE_VARIANT_ADD(libdlm, threaded) { true };
#endif

FIXTURE_SETUP(libdlm)
{
	snprintf(self->name, sizeof(self->name), "libdlm%d", getpid());
	self->one.ls = dlm_create_lockspace(self->name, 0600);
	ASSERT_NE(NULL, self->one.ls);
	self->two.ls = dlm_open_lockspace(self->name);
	ASSERT_NE(NULL, self->two.ls);
	self->one.threaded = self->two.threaded = variant->threaded;
	if (variant->threaded) {
		ASSERT_EQ(0, dlm_ls_pthread_init(self->one.ls));
		ASSERT_EQ(0, dlm_ls_pthread_init(self->two.ls));
	}
	self->a = new_lock();
	self->b = new_lock();
}

/* What is still locked goes with its descriptor. */
FIXTURE_TEARDOWN(libdlm)
{
	EXPECT_EQ(0, dlm_close_lockspace(self->two.ls));
	EXPECT_EQ(0, dlm_release_lockspace(self->name, self->one.ls, 0));
}

TEST_F(libdlm, version)
{
	uint32_t major, minor, patch;

	ASSERT_EQ(0, dlm_kernel_version(&major, &minor, &patch));
	ASSERT_EQ(6, (int)major);
	ASSERT_EQ(0, (int)minor);
	ASSERT_EQ(2, (int)patch);
}

TEST_F(libdlm, lock_convert_unlock)
{
	LOCK(&self->one, self->a, LKM_NLMODE, 0, "r", 0);
	LOCK(&self->one, self->a, LKM_EXMODE, LKF_CONVERT, "", 0);
	LOCK(&self->two, self->b, LKM_CRMODE, LKF_NOQUEUE, "r", EAGAIN);
	LOCK(&self->one, self->a, LKM_CRMODE, LKF_CONVERT, "", 0);
	LOCK(&self->two, self->b, LKM_CRMODE, LKF_NOQUEUE, "r", 0);
	UNLOCK(&self->one, self->a, 0, EUNLOCK);
	ASSERT_EQ(-1, dlm_ls_unlock(self->one.ls, self->a->lksb.sb_lkid, 0, &self->a->lksb, NULL));
	ASSERT_EQ(ENOENT, errno);
}

TEST_F(libdlm, with_transaction_and_timeout)
{
	uint64_t xid = 0x123456789abcdef, timeout = 1;

	ASSERT_EQ(0, dlm_ls_lockx(self->one.ls, LKM_EXMODE, &self->a->lksb, LKF_TIMEOUT, "r", 1, 0,
				  completed, self->a, blocked, &xid, &timeout));
	COMPLETES(&self->one, self->a, 0);
}

TEST_F(libdlm, refused)
{
	ASSERT_EQ(-1, ask(&self->one, self->a, LKM_EXMODE, LKF_EXPEDITE, "r"));
	ASSERT_EQ(EINVAL, errno);
	LOCK(&self->one, self->a, LKM_EXMODE, LKF_NOQUEUE, "r", 0);
}

TEST_F(libdlm, blocking_callback_and_hand_over)
{
	LOCK(&self->one, self->a, LKM_EXMODE, 0, "r", 0);
	ASSERT_EQ(0, ask(&self->two, self->b, LKM_PRMODE, 0, "r"));
	ASSERT_TRUE(called(&self->one, &self->a->blocked));
	LOCK(&self->one, self->a, LKM_PRMODE, LKF_CONVERT, "", 0);
	COMPLETES(&self->two, self->b, 0);
}

TEST_F(libdlm, cancel)
{
	LOCK(&self->one, self->a, LKM_PRMODE, 0, "r", 0);
	ASSERT_EQ(0, ask(&self->two, self->b, LKM_EXMODE, 0, "r"));
	UNLOCK(&self->two, self->b, LKF_CANCEL, ECANCEL);

	LOCK(&self->two, self->b, LKM_PRMODE, 0, "r", 0);
	ASSERT_EQ(0, ask(&self->two, self->b, LKM_EXMODE, LKF_CONVERT, ""));
	UNLOCK(&self->two, self->b, LKF_CANCEL, ECANCEL);
	UNLOCK(&self->two, self->b, 0, EUNLOCK);
}

TEST_F(libdlm, conversion_deadlock)
{
	LOCK(&self->one, self->a, LKM_PRMODE, 0, "r", 0);
	LOCK(&self->two, self->b, LKM_PRMODE, 0, "r", 0);
	ASSERT_EQ(0, ask(&self->one, self->a, LKM_EXMODE, LKF_CONVERT, ""));
	LOCK(&self->two, self->b, LKM_EXMODE, LKF_CONVERT, "", EDEADLK);
	UNLOCK(&self->two, self->b, 0, EUNLOCK);
	COMPLETES(&self->one, self->a, 0);
}

TEST_F(libdlm, value_block)
{
	LOCK(&self->one, self->a, LKM_EXMODE, LKF_VALBLK, "r", 0);
	ASSERT_EQ(0, ask(&self->two, self->b, LKM_PRMODE, LKF_VALBLK, "r"));
	strcpy(self->a->value, "value");
	LOCK(&self->one, self->a, LKM_NLMODE, LKF_CONVERT | LKF_VALBLK, "", 0);
	COMPLETES(&self->two, self->b, 0);
	ASSERT_STREQ("value", self->b->value);

	ASSERT_EQ(0, self->b->lksb.sb_flags);
}

/* A writer that closes the lockspace without unlocking. */
TEST_F(libdlm, value_block_not_valid)
{
	LOCK(&self->one, self->a, LKM_EXMODE, 0, "r", 0);
	LOCK(&self->one, self->a, LKM_NLMODE, LKF_CONVERT | LKF_VALBLK, "", 0);
	LOCK(&self->two, self->b, LKM_EXMODE, 0, "r", 0);
	ASSERT_EQ(0, dlm_close_lockspace(self->two.ls));
	self->two.ls = dlm_open_lockspace(self->name);
	LOCK(&self->one, self->a, LKM_CRMODE, LKF_CONVERT | LKF_VALBLK, "", 0);
	ASSERT_EQ(DLM_SBF_VALNOTVALID, self->a->lksb.sb_flags);
}

/* ---- What is odd about libdlm 4.3.0, as doc/guide.md says ---------------------------------------- */

/* Leaves its mark on the stack, where the library's next call will have its request. */
static __attribute__((noinline)) void mark_the_stack(void)
{
	volatile char marks[8192];

	for (size_t i = 0; i < sizeof(marks); i++)
		marks[i] = 'x';
}

/* dlm_ls_unlock() sends what happens to be on its stack as the value block. */
TEST_F(libdlm, an_unlock_writes_rubbish)
{
	char marks[DLM_LVB_LEN];

	memset(marks, 'x', sizeof(marks));
	LOCK(&self->one, self->a, LKM_EXMODE, LKF_VALBLK, "r", 0);
	LOCK(&self->two, self->b, LKM_NLMODE, LKF_VALBLK, "r", 0);
	strcpy(self->a->value, "value");
	/* Refused, but from now on nothing else comes between. */
	ASSERT_EQ(-1, dlm_ls_unlock(self->one.ls, 0, 0, &self->a->lksb, NULL));
	mark_the_stack();
	ASSERT_EQ(0, dlm_ls_unlock(self->one.ls, self->a->lksb.sb_lkid, LKF_VALBLK, &self->a->lksb,
				   self->a));
	COMPLETES(&self->one, self->a, EUNLOCK);
	LOCK(&self->two, self->b, LKM_PRMODE, LKF_CONVERT | LKF_VALBLK, "", 0);
	ASSERT_EQ(0, memcmp(marks, self->b->value, sizeof(marks)));
}

/* The remedy: a conversion writes it, and then there is nothing left to write. */
TEST_F(libdlm, a_conversion_before_the_unlock)
{
	LOCK(&self->one, self->a, LKM_EXMODE, LKF_VALBLK, "r", 0);
	LOCK(&self->two, self->b, LKM_NLMODE, LKF_VALBLK, "r", 0);
	strcpy(self->a->value, "value");
	LOCK(&self->one, self->a, LKM_NLMODE, LKF_CONVERT | LKF_VALBLK, "", 0);
	UNLOCK(&self->one, self->a, 0, EUNLOCK);
	LOCK(&self->two, self->b, LKM_PRMODE, LKF_CONVERT | LKF_VALBLK, "", 0);
	ASSERT_STREQ("value", self->b->value);
}

/* A blocking callback overwrites what the completion before it said. */
TEST_F(libdlm, a_blocking_callback_overwrites_the_status)
{
	LOCK(&self->one, self->a, LKM_PRMODE, 0, "r", 0);
	LOCK(&self->two, self->b, LKM_PRMODE, 0, "r", 0);
	LOCK(&self->one, self->a, LKM_EXMODE, LKF_CONVERT | LKF_NOQUEUE, "", EAGAIN);
	ASSERT_EQ(0, ask(&self->two, new_lock(), LKM_EXMODE, 0, "r"));
	ASSERT_TRUE(called(&self->one, &self->a->blocked));
	ASSERT_EQ(0, self->a->lksb.sb_status);
}

#ifdef _REENTRANT
/*
 * An unlock calls the function of the last request for the lock, with an argument of its own. So
 * what was asked for with _wait must be unlocked with _wait, and what was not must not.
 */
static void *given;

static void keep(void *argument)
{
	given = argument;
}

static void *unlock_and_wait(void *context)
{
	struct user *user = context;
	struct dlm_lksb lksb;

	dlm_ls_unlock_wait(user->ls, *(uint32_t *)given, 0, &lksb);
	return NULL;
}

TEST_F(libdlm, to_wait_for_the_unlock_of_what_was_not_waited_for)
{
	uint32_t *id = &self->a->lksb.sb_lkid;
	pthread_t thread;

	if (!variant->threaded)
		return;
	ASSERT_EQ(0, dlm_ls_lock(self->one.ls, LKM_EXMODE, &self->a->lksb, 0, "r", 1, 0, keep, id,
				 NULL, NULL));
	while (!__atomic_load_n(&given, __ATOMIC_ACQUIRE))
		usleep(1000);
	ASSERT_EQ((void *)id, given);
	ASSERT_EQ(0, pthread_create(&thread, NULL, unlock_and_wait, &self->one));
	LOCK(&self->two, self->b, LKM_EXMODE, 0, "r", 0);
	while (__atomic_load_n(&given, __ATOMIC_ACQUIRE) == id)
		usleep(1000);
	/* Who waits is not told: our function has been, of what is not ours. */
	usleep(200000);
	ASSERT_EQ(EBUSY, pthread_tryjoin_np(thread, NULL));
}

TEST_F(libdlm, not_to_wait_for_the_unlock_of_what_was_waited_for)
{
	static char not_ours[1000];	/* zeros are a mutex and a condition */
	struct dlm_lksb lksb = { };

	if (!variant->threaded)
		return;
	ASSERT_EQ(0, wait_for(&self->one, self->a, LKM_EXMODE, 0, "r"));
	ASSERT_EQ(0, dlm_ls_unlock(self->one.ls, self->a->lksb.sb_lkid, 0, &lksb, not_ours));
	LOCK(&self->two, self->b, LKM_EXMODE, 0, "r", 0);
	while (__atomic_load_n(&lksb.sb_status, __ATOMIC_ACQUIRE) != EUNLOCK)
		usleep(1000);
	ASSERT_EQ(-1, sem_trywait(&self->a->completed));
}
#endif

/*
 * Who unlocks a lock of another process has that one's library write to an address of his own.
 * dlm_ls_deadlock_cancel() gives no address, and so does no harm.
 */
FIXTURE(stranger) { char name[32]; dlm_lshandle_t ls; pid_t child; uint32_t *id, *status; };

/* A child that waits for a lock, which we have, and says what came of it. */
FIXTURE_SETUP(stranger)
{
	struct user us = { };
	struct lock *lock = new_lock();

	snprintf(self->name, sizeof(self->name), "libdlm%d", getpid());
	self->ls = us.ls = dlm_create_lockspace(self->name, 0600);
	ASSERT_NE(NULL, self->ls);
	LOCK(&us, lock, LKM_EXMODE, 0, "r", 0);
	self->id = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	self->status = self->id + 1;
	self->child = fork();
	if (!self->child) {
		struct user child = { .ls = dlm_open_lockspace(self->name) };

		if (ask(&child, lock, LKM_EXMODE, 0, "r"))
			_exit(1);
		__atomic_store_n(self->id, lock->lksb.sb_lkid, __ATOMIC_RELEASE);
		if (!called(&child, &lock->completed))
			_exit(2);
		*self->status = lock->lksb.sb_status;
		_exit(0);
	}
	while (!__atomic_load_n(self->id, __ATOMIC_ACQUIRE))
		usleep(1000);
}

FIXTURE_TEARDOWN(stranger)
{
	EXPECT_EQ(0, dlm_release_lockspace(self->name, self->ls, 1));
}

TEST_F(stranger, unlocks)
{
	/* Memory that the child does not have. */
	struct dlm_lksb *lksb = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				     -1, 0);
	int status;

	ASSERT_EQ(0, dlm_ls_unlock(self->ls, *self->id, 0, lksb, NULL));
	ASSERT_EQ(self->child, waitpid(self->child, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
	ASSERT_EQ(SIGSEGV, WTERMSIG(status));
}

TEST_F(stranger, cancels_for_a_deadlock)
{
	int status;

	ASSERT_EQ(0, dlm_ls_deadlock_cancel(self->ls, *self->id, 0));
	ASSERT_EQ(self->child, waitpid(self->child, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(EDEADLK, *self->status);
}

/* Without a thread of the library's: its descriptor says when there is something to dispatch. */
TEST_F(libdlm, poll_and_dispatch)
{
	struct pollfd p = { .fd = dlm_ls_get_fd(self->one.ls), .events = POLLIN };

	if (variant->threaded)
		return;
	ASSERT_EQ(0, poll(&p, 1, 0));
	ASSERT_EQ(0, ask(&self->one, self->a, LKM_EXMODE, 0, "r"));
	ASSERT_EQ(0, ask(&self->one, self->b, LKM_EXMODE, 0, "s"));
	ASSERT_EQ(1, poll(&p, 1, 0));
	ASSERT_EQ(-1, sem_trywait(&self->a->completed));
	ASSERT_EQ(0, dlm_dispatch(p.fd));
	ASSERT_EQ(0, sem_trywait(&self->a->completed));
	ASSERT_EQ(0, sem_trywait(&self->b->completed));
	ASSERT_EQ(0, poll(&p, 1, 0));
	ASSERT_EQ(0, dlm_dispatch(p.fd));
}

/* A lock that outlives its user, found again, left again and purged. */
TEST_F(libdlm, orphan_adopt_purge)
{
	uint32_t id;

	LOCK(&self->two, self->b, LKM_EXMODE, LKF_PERSISTENT, "r", 0);
	id = self->b->lksb.sb_lkid;
	ASSERT_EQ(0, dlm_close_lockspace(self->two.ls));
	self->two.ls = dlm_open_lockspace(self->name);
	if (variant->threaded)
		ASSERT_EQ(0, dlm_ls_pthread_init(self->two.ls));
	LOCK(&self->one, self->a, LKM_CRMODE, LKF_NOQUEUE, "r", EAGAIN);

	ASSERT_EQ(-1, ask(&self->two, self->b, LKM_PRMODE, LKF_ORPHAN, "r"));
	ASSERT_EQ(EAGAIN, errno);
	ASSERT_EQ(-1, ask(&self->two, self->b, LKM_PRMODE, LKF_ORPHAN, "s"));
	ASSERT_EQ(ENOENT, errno);
	ASSERT_EQ(0, ask(&self->two, self->b, LKM_EXMODE, LKF_ORPHAN, "r"));
	ASSERT_EQ(id, self->b->lksb.sb_lkid);
	LOCK(&self->two, self->b, LKM_PRMODE, LKF_CONVERT | LKF_PERSISTENT, "", 0);

	ASSERT_EQ(0, dlm_close_lockspace(self->two.ls));
	self->two.ls = dlm_open_lockspace(self->name);
	LOCK(&self->one, self->a, LKM_EXMODE, LKF_NOQUEUE, "r", EAGAIN);
	ASSERT_EQ(0, dlm_ls_purge(self->one.ls, 0, 0));
	LOCK(&self->one, self->a, LKM_EXMODE, LKF_NOQUEUE, "r", 0);
	ASSERT_EQ(0, dlm_ls_purge(self->one.ls, 0, gettid()));
	LOCK(&self->one, self->b, LKM_EXMODE, LKF_NOQUEUE, "r", 0);
}

TEST_F(libdlm, deadlock_cancel)
{
	LOCK(&self->one, self->a, LKM_PRMODE, 0, "r", 0);
	ASSERT_EQ(0, ask(&self->two, self->b, LKM_EXMODE, 0, "r"));
	ASSERT_EQ(0, dlm_ls_deadlock_cancel(self->one.ls, self->b->lksb.sb_lkid, 0));
	COMPLETES(&self->two, self->b, EDEADLK);

	LOCK(&self->two, self->b, LKM_PRMODE, 0, "r", 0);
	ASSERT_EQ(0, ask(&self->two, self->b, LKM_EXMODE, LKF_CONVERT, ""));
	ASSERT_EQ(0, dlm_ls_deadlock_cancel(self->one.ls, self->b->lksb.sb_lkid, 0));
	COMPLETES(&self->two, self->b, EDEADLK);
	UNLOCK(&self->two, self->b, 0, EUNLOCK);
}

/* ---- Synchronous calls ------------------------------------------------------------------- */

/*
 * With libdlm they need its thread, and what they return is whether write() took the request.
 * libdlm_lt dispatches until the answer is there, and returns that.
 */
#define NEEDS_WAIT()	do { if (HAS_THREADS && !variant->threaded) return; } while (0)

#define WAIT(user, lock, mode, flags, name, status) \
do { \
	int _result = wait_for(user, lock, mode, flags, name); \
	ASSERT_EQ(HAS_THREADS || !(status) ? 0 : -1, _result); \
	ASSERT_EQ(status, (lock)->lksb.sb_status); \
} while (0)

TEST_F(libdlm, wait_lock_convert_unlock)
{
	NEEDS_WAIT();
	WAIT(&self->one, self->a, LKM_EXMODE, LKF_VALBLK, "r", 0);
	WAIT(&self->two, self->b, LKM_PRMODE, LKF_NOQUEUE, "r", EAGAIN);
	strcpy(self->a->value, "value");
	WAIT(&self->one, self->a, LKM_PRMODE, LKF_CONVERT | LKF_VALBLK, "", 0);
	WAIT(&self->two, self->b, LKM_PRMODE, LKF_NOQUEUE | LKF_VALBLK, "r", 0);
	ASSERT_STREQ("value", self->b->value);
	ASSERT_EQ(0, dlm_ls_unlock_wait(self->one.ls, self->a->lksb.sb_lkid, 0, &self->a->lksb));
	ASSERT_EQ(EUNLOCK, self->a->lksb.sb_status);
	WAIT(&self->two, self->b, LKM_EXMODE, LKF_CONVERT | LKF_NOQUEUE, "", 0);
}

TEST_F(libdlm, wait_conversion_deadlock)
{
	NEEDS_WAIT();
	WAIT(&self->one, self->a, LKM_PRMODE, 0, "r", 0);
	WAIT(&self->two, self->b, LKM_PRMODE, 0, "r", 0);
	ASSERT_EQ(0, ask(&self->one, self->a, LKM_EXMODE, LKF_CONVERT, ""));
	ASSERT_TRUE(called(&self->two, &self->b->blocked));
	WAIT(&self->two, self->b, LKM_EXMODE, LKF_CONVERT, "", EDEADLK);
}

/* Another process waits in the library until we let go. */
TEST_F(libdlm, wait_for_another_process)
{
	pid_t child;
	int status;

	NEEDS_WAIT();
	LOCK(&self->one, self->a, LKM_EXMODE, 0, "r", 0);
	child = fork();
	if (!child) {
		struct user us = { .ls = dlm_open_lockspace(self->name) };

		if (variant->threaded)
			dlm_ls_pthread_init(us.ls);
		if (wait_for(&us, self->b, LKM_EXMODE, 0, "r"))
			_exit(1);
		_exit(dlm_ls_unlock_wait(us.ls, self->b->lksb.sb_lkid, 0, &self->b->lksb) ? 2 : 0);
	}
	ASSERT_TRUE(called(&self->one, &self->a->blocked));
	UNLOCK(&self->one, self->a, 0, EUNLOCK);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
}

#ifndef _REENTRANT
/*
 * libdlm_lt waits by dispatching until the status changes. A blocking callback that comes first is
 * not to end that: with fs/dlm it does, and the caller believes to have what it does not have.
 */
TEST_F(libdlm, wait_with_a_blocking_callback_on_the_way)
{
	if (reference())
		SKIP(return, "takes the callback for the answer");
	LOCK(&self->one, self->a, LKM_PRMODE, 0, "r", 0);
	LOCK(&self->two, self->b, LKM_PRMODE, 0, "r", 0);
	ASSERT_EQ(0, ask(&self->two, new_lock(), LKM_CWMODE, 0, "r"));
	ASSERT_EQ(-1, wait_for(&self->one, self->a, LKM_EXMODE, LKF_CONVERT | LKF_NOQUEUE, ""));
	ASSERT_EQ(EAGAIN, errno);
	ASSERT_EQ(0, sem_trywait(&self->a->blocked));
}
#endif

/* ---- The life of a lockspace --------------------------------------------------------------- */

FIXTURE(life) { char name[32], device[64]; struct lock *lock; };

FIXTURE_SETUP(life)
{
	snprintf(self->name, sizeof(self->name), "libdlm%d", getpid());
	snprintf(self->device, sizeof(self->device), "/dev/misc/dlm_%s", self->name);
	self->lock = new_lock();
}

FIXTURE_TEARDOWN(life)
{
	dlm_lshandle_t ls = dlm_open_lockspace(self->name);

	if (ls)
		dlm_release_lockspace(self->name, ls, 1);
}

TEST_F(life, create_and_release)
{
	struct stat st;
	dlm_lshandle_t ls = dlm_create_lockspace(self->name, 0640);

	ASSERT_NE(NULL, ls);
	ASSERT_EQ(0, stat(self->device, &st));
	ASSERT_EQ(S_IFCHR | 0640, (int)st.st_mode);
	ASSERT_EQ(0, dlm_release_lockspace(self->name, ls, 0));
	ASSERT_EQ(NULL, dlm_open_lockspace(self->name));
}

TEST_F(life, open_twice)
{
	struct user first = { .ls = dlm_create_lockspace(self->name, 0600) };
	struct user second = { .ls = dlm_open_lockspace(self->name) };
	struct lock *another = new_lock();

	ASSERT_NE(NULL, first.ls);
	ASSERT_NE(NULL, second.ls);
	ASSERT_NE(dlm_ls_get_fd(first.ls), dlm_ls_get_fd(second.ls));
	LOCK(&first, self->lock, LKM_EXMODE, 0, "r", 0);
	LOCK(&second, another, LKM_EXMODE, 0, "s", 0);
	ASSERT_EQ(0, dlm_close_lockspace(first.ls));
	LOCK(&second, self->lock, LKM_EXMODE, LKF_NOQUEUE, "r", 0);
	ASSERT_EQ(0, dlm_release_lockspace(self->name, second.ls, 0));
	ASSERT_EQ(NULL, dlm_open_lockspace(self->name));
}

/* Created twice, it goes with the second release. */
TEST_F(life, create_twice)
{
	dlm_lshandle_t first = dlm_create_lockspace(self->name, 0600);
	struct user second = { .ls = dlm_create_lockspace(self->name, 0600) };

	ASSERT_NE(NULL, first);
	ASSERT_NE(NULL, second.ls);
	ASSERT_EQ(NULL, dlm_new_lockspace(self->name, 0600, DLM_LSFL_NEWEXCL));
	ASSERT_EQ(EEXIST, errno);
	ASSERT_EQ(0, dlm_release_lockspace(self->name, first, 0));
	LOCK(&second, self->lock, LKM_EXMODE, 0, "r", 0);
	ASSERT_EQ(0, dlm_release_lockspace(self->name, second.ls, 0));
	ASSERT_EQ(NULL, dlm_open_lockspace(self->name));
}

/* The library does not pass on that the kernel refuses, but the lockspace stays. */
TEST_F(life, release_while_locked)
{
	dlm_lshandle_t first = dlm_create_lockspace(self->name, 0600);
	struct user second = { .ls = dlm_open_lockspace(self->name) };

	LOCK(&second, self->lock, LKM_EXMODE, 0, "r", 0);
	ASSERT_EQ(0, dlm_release_lockspace(self->name, first, 0));
	first = dlm_open_lockspace(self->name);
	ASSERT_NE(NULL, first);
	UNLOCK(&second, self->lock, 0, EUNLOCK);
	ASSERT_EQ(0, dlm_close_lockspace(first));
	ASSERT_EQ(0, dlm_release_lockspace(self->name, second.ls, 0));
	ASSERT_EQ(NULL, dlm_open_lockspace(self->name));
}

TEST_F(life, release_by_force)
{
	struct user second = { };
	dlm_lshandle_t first;

	if (reference())
		SKIP(return, "waits for every descriptor");
	first = dlm_create_lockspace(self->name, 0600);
	second.ls = dlm_open_lockspace(self->name);
	ASSERT_NE(NULL, second.ls);
	LOCK(&second, self->lock, LKM_EXMODE, 0, "r", 0);
	ASSERT_EQ(0, dlm_release_lockspace(self->name, first, 1));
	ASSERT_EQ(NULL, dlm_open_lockspace(self->name));
	ASSERT_EQ(-1, ask(&second, self->lock, LKM_NLMODE, LKF_CONVERT, ""));
	ASSERT_EQ(ENODEV, errno);
	ASSERT_EQ(-1, dlm_dispatch(dlm_ls_get_fd(second.ls)));
	ASSERT_EQ(0, dlm_close_lockspace(second.ls));
}

/* ---- Its end, while programs that know nothing of it go on ---------------------------------- */

/* What a program does until it is ended, whose lockspace goes meanwhile. */
enum use { HOLDS, IS_IN_A_WAIT, WAITS_FOR_A_CALLBACK };

FIXTURE(ended) { char name[32]; dlm_lshandle_t ls; };
FIXTURE_VARIANT(ended) { enum use use; bool threaded, force; };
FIXTURE_VARIANT_ADD(ended, idle) { HOLDS, false, true };
FIXTURE_VARIANT_ADD(ended, waiting) { WAITS_FOR_A_CALLBACK, false, true };
#ifdef _REENTRANT
FIXTURE_VARIANT_ADD(ended, idle_threaded) { HOLDS, true, true };
FIXTURE_VARIANT_ADD(ended, unforced_threaded) { HOLDS, true, false };
FIXTURE_VARIANT_ADD(ended, waiting_threaded) { WAITS_FOR_A_CALLBACK, true, true };
FIXTURE_VARIANT_ADD(ended, in_lock_wait_threaded) { IS_IN_A_WAIT, true, true };
#else
FIXTURE_VARIANT_ADD(ended, in_lock_wait) { IS_IN_A_WAIT, false, true };
#endif

FIXTURE_SETUP(ended)
{
	if (reference())
		SKIP(return, "waits for every descriptor");
	snprintf(self->name, sizeof(self->name), "libdlm%d", getpid());
	self->ls = dlm_create_lockspace(self->name, 0600);
	ASSERT_NE(NULL, self->ls);
}

FIXTURE_TEARDOWN(ended) { }

/* Goes on as such programs do: by its thread, or by poll() and dlm_dispatch() whatever they say. */
static void use_on(struct user *user)
{
	struct pollfd p = { .fd = dlm_ls_get_fd(user->ls), .events = POLLIN };

	for (;;) {
		if (user->threaded)
			pause();
		else if (poll(&p, 1, -1) > 0 && p.revents & POLLIN)
			dlm_dispatch(p.fd);
	}
}

/* Returns only if something is wrong. */
static int use_until_the_end(const char *name, enum use use, bool threaded, int ready)
{
	struct user user = { .ls = dlm_open_lockspace(name), .threaded = threaded };
	struct lock *lock = new_lock();

	if (threaded && dlm_ls_pthread_init(user.ls))
		return 1;
	switch (use) {
	case HOLDS:
		if (write(ready, "", 1) != 1)
			return 2;
		break;
	case IS_IN_A_WAIT:
		if (wait_for(&user, lock, LKM_EXMODE, 0, "r") != (HAS_THREADS ? 0 : -1) ||
		    lock->lksb.sb_status != ENODEV)
			return 3;
		break;
	case WAITS_FOR_A_CALLBACK:
		if (ask(&user, lock, LKM_EXMODE, 0, "r"))
			return 4;
		/* That it dispatched the last one, the library tells as an error. */
		if (!called(&user, &lock->completed) && sem_trywait(&lock->completed))
			return 5;
		if (lock->lksb.sb_status != ENODEV)
			return 6;
	}
	if (use != HOLDS && (write(ready, "", 1) != 1 || ask(&user, lock, LKM_EXMODE, 0, "r") != -1 ||
			     errno != ENODEV))
		return 7;
	use_on(&user);
	return 8;
}

TEST_F_TIMEOUT(ended, hears_so_and_does_not_spin, 60)
{
	struct lock *holder = new_lock();
	struct user us = { .ls = self->ls };
	int ready[2], status;
	pid_t child;
	int64_t used = -1;
	char byte;

	LOCK(&us, holder, LKM_PRMODE, 0, "r", 0);
	ASSERT_EQ(0, pipe(ready));
	child = fork();
	if (!child)
		_exit(use_until_the_end(self->name, variant->use, variant->threaded, ready[1]));
	if (variant->use == HOLDS) {
		ASSERT_EQ(1, read(ready[0], &byte, 1));
	} else {
		ASSERT_TRUE(called(&us, &holder->blocked));
	}
	if (!variant->force) {
		UNLOCK(&us, holder, 0, EUNLOCK);
	}
	usleep(100000);
	ASSERT_EQ(0, dlm_release_lockspace(self->name, self->ls, variant->force));
	ASSERT_EQ(NULL, dlm_open_lockspace(self->name));
	if (variant->use != HOLDS)
		ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_TRUE(is_calm(child, &used));
	TH_LOG("%lld us", (long long)used);
	ASSERT_EQ(0, waitpid(child, &status, WNOHANG)) TH_LOG("it ended with status %x", status);
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
}

/* The default lockspace comes into being with its first use. */
TEST(default_lockspace)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct lock *lock = new_lock();
		struct pollfd p = { .fd = dlm_get_fd(), .events = POLLIN };

		if (dlm_lock(LKM_EXMODE, &lock->lksb, 0, "r", 1, 0, completed, lock, NULL, NULL))
			_exit(1);
		if (poll(&p, 1, PATIENCE_S * 1000) != 1 || dlm_dispatch(p.fd))
			_exit(2);
		if (sem_trywait(&lock->completed) || lock->lksb.sb_status)
			_exit(3);
#ifdef _REENTRANT
		int id;

		if (dlm_pthread_init())
			_exit(4);
		if (dlm_lock_wait(LKM_EXMODE, &lock->lksb, 0, "s", 1, 0, NULL, NULL, NULL) ||
		    dlm_unlock_wait(lock->lksb.sb_lkid, 0, &lock->lksb))
			_exit(5);
		if (lock_resource("t", LKM_EXMODE, 0, &id) || unlock_resource(id))
			_exit(6);
#endif
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, WEXITSTATUS(status));
	ASSERT_EQ(0, dlm_release_lockspace("default", dlm_open_lockspace("default"), 0));
}

TEST_HARNESS_MAIN
