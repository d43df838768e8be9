// SPDX-License-Identifier: GPL-2.0
/* Locks that outlive their descriptor; to adopt and to purge them. Cancelling because of a deadlock. */
#include <pthread.h>
#include "dlm_test.h"

#define PERSISTENT	DLM_LKF_PERSISTENT

/* Closing other makes orphans; fd stays. */
LOCKSPACE_FIXTURE(orphans)

#define ASSERT_ADOPT(fd, id, mode, flags, name) \
do { \
	ASSERT_EQ(id, adopt(fd, mode, flags, name)); \
	ASSERT_HEAR(fd, id, "nothing"); \
} while (0)

/* An orphan. What owned it is closed and open again. */
#define ORPHAN(mode, flags, resource) \
({ \
	int _orphan = HOLD(self->other, mode, PERSISTENT | (flags), resource); \
	close(self->other); \
	self->other = open_lockspace(self->ls.name, O_NONBLOCK); \
	_orphan; \
})

/* ---- What becomes an orphan ---------------------------------------------------------------- */

TEST_F(orphans, a_persistent_lock_stays)
{
	int waiter;

	ORPHAN(PW, 0, "r");
	ASSERT_TAKEN(self->fd, "r", PR);
	ASSERT_FREE(self->fd, "r", CR);
	waiter = WAIT(self->fd, EX, 0, "r");
	ASSERT_EQ(0, purge(self->fd, 0));
	ASSERT_HEAR(self->fd, waiter, "granted");
}

TEST_F(orphans, only_what_is_persistent_stays)
{
	HOLD(self->other, EX, 0, "r");
	HOLD(self->other, EX, PERSISTENT, "s");
	HOLD(self->other, EX, 0, "t");
	close(self->other);
	ASSERT_FREE(self->fd, "r", EX);
	ASSERT_TAKEN(self->fd, "s", CR);
	ASSERT_FREE(self->fd, "t", EX);
}

TEST_F(orphans, of_a_process_that_is_killed)
{
	int ready[2], id;
	pid_t child;

	ASSERT_EQ(0, pipe(ready));
	child = spawn();
	if (!child) {
		int fd = open_lockspace(self->ls.name, 0);

		id = lock(fd, EX, PERSISTENT, "r");
		if (write(ready[1], &id, sizeof(id)) != sizeof(id))
			_exit(1);
		pause();
	}
	ASSERT_EQ((ssize_t)sizeof(id), read(ready[0], &id, sizeof(id)));
	kill(child, SIGKILL);
	ASSERT_EQ(-1, expect_child(child));
	ASSERT_TAKEN(self->fd, "r", CR);
	ASSERT_ADOPT(self->fd, id, EX, 0, "r");
}

TEST_F(orphans, a_conversion_makes_persistent)
{
	int id = HOLD(self->other, NL, 0, "r");

	CONVERT(self->other, id, EX, PERSISTENT, "granted");
	close(self->other);
	ASSERT_ADOPT(self->fd, id, EX, 0, "r");
}

TEST_F(orphans, a_conversion_without_the_flag_takes_it_back)
{
	int id = HOLD(self->other, NL, PERSISTENT, "r");

	CONVERT(self->other, id, EX, 0, "granted");
	close(self->other);
	ASSERT_FREE(self->fd, "r", EX);
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "r"));
}

TEST_F(orphans, so_does_one_that_fails)
{
	int id = HOLD(self->other, PR, PERSISTENT, "r");
	int holder = HOLD(self->fd, PR, 0, "r");

	CONVERT(self->other, id, EX, DLM_LKF_NOQUEUE, "EAGAIN");
	close(self->other);
	UNLOCK(self->fd, holder);
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(orphans, but_not_one_that_is_refused)
{
	int id = HOLD(self->other, PR, PERSISTENT, "r");

	ASSERT_EQ(-EINVAL, convert(self->other, id, EX, DLM_LKF_EXPEDITE));
	close(self->other);
	ASSERT_ADOPT(self->fd, id, PR, 0, "r");
}

TEST_F(orphans, a_waiting_request_is_cancelled)
{
	int holder = HOLD(self->fd, PR, 0, "r");
	int id = WAIT(self->other, EX, PERSISTENT, "r");
	int behind = WAIT(self->fd, PR, 0, "r");

	close(self->other);
	ASSERT_HEAR(self->fd, behind, "granted");
	UNLOCK(self->fd, behind);
	UNLOCK(self->fd, holder);
	ASSERT_FREE(self->fd, "r", EX);
	/* fs/dlm keeps it, as an orphan without a mode. */
	ASSERT_EQ(DIFFERS(-ENOENT, -EBUSY), convert(self->fd, id, NL, 0));
	ASSERT_EQ(DIFFERS(-ENOENT, -EAGAIN), adopt(self->fd, EX, 0, "r"));
}

TEST_F(orphans, a_conversion_is_cancelled)
{
	int id = HOLD(self->other, PR, PERSISTENT, "r");
	int holder = HOLD(self->fd, CR, 0, "r");
	int behind;

	CONVERT(self->other, id, EX, PERSISTENT, "nothing");
	behind = WAIT(self->fd, PR, 0, "r");
	close(self->other);
	ASSERT_HEAR(self->fd, behind, "granted");
	UNLOCK(self->fd, behind);
	UNLOCK(self->fd, holder);
	ASSERT_EQ(-EAGAIN, adopt(self->fd, EX, 0, "r"));
	ASSERT_ADOPT(self->fd, id, PR, 0, "r");
}

TEST_F(orphans, a_conversion_that_is_not_persistent_is_no_orphan)
{
	int id = HOLD(self->other, PR, PERSISTENT, "r");
	int holder = HOLD(self->fd, CR, 0, "r");

	CONVERT(self->other, id, EX, 0, "nothing");
	close(self->other);
	UNLOCK(self->fd, holder);
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(orphans, records_of_orphans_are_dropped)
{
	lock(self->other, EX, PERSISTENT | WITH_BAST, "r");
	lock(self->fd, EX, 0, "r");
	ASSERT_EQ(POLLIN, poll_now(self->other, POLLIN));
	close(self->other);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_HEAR(self->other, 0, "nothing");
	ASSERT_GT(adopt(self->other, EX, WITH_BAST, "r"), 0);
	ASSERT_HEAR(self->other, 0, "nothing");
}

/* ---- What others can do with an orphan by its id ------------------------------------------- */

TEST_F(orphans, unlock)
{
	int id, waiter;

	SKIP_ON_REFERENCE("looks at an owner that is gone");
	id = ORPHAN(EX, 0, "r");
	waiter = WAIT(self->fd, EX, 0, "r");
	ASSERT_EQ(0, unlock(self->fd, id, 0));
	ASSERT_HEAR(self->fd, waiter, "granted");
	ASSERT_EQ(-ENOENT, unlock(self->fd, id, 0));
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "r"));
}

/* It stays an orphan in its new mode, and nobody hears of it. */
TEST_F(orphans, convert)
{
	int id = ORPHAN(EX, WITH_BAST, "r");
	int waiter = WAIT(self->fd, PR, 0, "r");

	ASSERT_EQ(0, convert(self->other, id, CR, PERSISTENT));
	ASSERT_HEAR(self->fd, waiter, "granted");
	ASSERT_HEAR(self->fd, 0, "nothing");
	ASSERT_HEAR(self->other, 0, "nothing");
	ASSERT_EQ(-EAGAIN, adopt(self->fd, EX, 0, "r"));
	ASSERT_ADOPT(self->fd, id, CR, 0, "r");
}

TEST_F(orphans, cancel_does_nothing)
{
	int id = ORPHAN(EX, 0, "r");

	ASSERT_EQ(0, unlock(self->fd, id, DLM_LKF_CANCEL));
	ASSERT_EQ(0, deadlock(self->fd, id, 0));
	ASSERT_HEAR(self->fd, 0, "nothing");
	ASSERT_TAKEN(self->fd, "r", CR);
}

/* ---- Adopting ------------------------------------------------------------------------------ */

TEST_F(orphans, adopt)
{
	int id = ORPHAN(EX, 0, "r");
	int waiter;

	ASSERT_ADOPT(self->fd, id, EX, 0, "r");
	waiter = WAIT(self->other, PR, 0, "r");
	CONVERT(self->fd, id, PR, 0, "granted");
	ASSERT_HEAR(self->other, waiter, "granted");
	UNLOCK(self->other, waiter);
	UNLOCK(self->fd, id);
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(orphans, nothing_to_adopt)
{
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "r"));
	HOLD(self->fd, EX, PERSISTENT, "r");
	HOLD(self->other, EX, 0, "s");
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "r"));
	ASSERT_EQ(-ENOENT, adopt(self->other, EX, 0, "r"));
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "s"));
	ASSERT_HEAR(self->fd, 0, "nothing");
}

TEST_F(orphans, another_name)
{
	ORPHAN(EX, 0, "name");
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "nam"));
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "name2"));
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, ""));
	ASSERT_GT(adopt(self->fd, EX, 0, "name"), 0);
}

TEST_F(orphans, another_mode)
{
	int id = ORPHAN(CR, 0, "r");

	for (int mode = 0; mode <= UINT8_MAX; mode++) {
		if (mode == CR)
			continue;
		ASSERT_EQ(-EAGAIN, adopt(self->fd, mode, 0, "r")) TH_LOG("mode %d", mode);
	}
	ASSERT_EQ(-ENOENT, adopt(self->fd, UINT8_MAX, 0, "s"));
	ASSERT_ADOPT(self->fd, id, CR, 0, "r");
}

TEST_F(orphans, adopted_once)
{
	int id = ORPHAN(EX, 0, "r");

	ASSERT_ADOPT(self->fd, id, EX, PERSISTENT, "r");
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "r"));
	ASSERT_EQ(-ENOENT, adopt(self->other, EX, 0, "r"));
}

/* The one that has been an orphan for longest. */
TEST_F(orphans, several_are_adopted_in_turn)
{
	int first = ORPHAN(PR, 0, "r");
	int strange = ORPHAN(CR, 0, "r");
	int second = ORPHAN(PR, 0, "r");

	ASSERT_ADOPT(self->fd, first, PR, 0, "r");
	ASSERT_ADOPT(self->fd, second, PR, 0, "r");
	ASSERT_EQ(-EAGAIN, adopt(self->fd, PR, 0, "r"));
	ASSERT_ADOPT(self->fd, strange, CR, 0, "r");
	ASSERT_EQ(-ENOENT, adopt(self->fd, PR, 0, "r"));
}

TEST_F(orphans, modes)
{
	for (int mode = NL; mode <= EX; mode++) {
		int id = ORPHAN(mode, 0, mode_name[mode]);

		ASSERT_ADOPT(self->fd, id, mode, 0, mode_name[mode]);
		UNLOCK(self->fd, id);
	}
}

TEST_F(orphans, the_flags_are_replaced)
{
	int id = ORPHAN(EX, 0, "r");

	ASSERT_ADOPT(self->other, id, EX, PERSISTENT, "r");
	close(self->other);
	ASSERT_TAKEN(self->fd, "r", CR);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_ADOPT(self->other, id, EX, 0, "r");
	close(self->other);
	ASSERT_FREE(self->fd, "r", EX);
}

/* No flag is refused. */
TEST_F(orphans, adopting_ignores_other_flags)
{
	int id = ORPHAN(EX, 0, "r");

	ASSERT_ADOPT(self->fd, id, EX, DLM_LKF_NOQUEUE | DLM_LKF_CANCEL | DLM_LKF_EXPEDITE |
		     DLM_LKF_QUECVT | DLM_LKF_CONVDEADLK, "r");
	UNLOCK(self->fd, id);
}

TEST_F(orphans, adopting_needs_pointers)
{
	struct request r = lock_request(EX, DLM_LKF_ORPHAN, "r");
	int id = ORPHAN(EX, 0, "r");

	r.req.i.lock.castaddr = NULL;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	r.req.i.lock.castaddr = CAST;
	r.req.i.lock.lksb = NULL;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	ASSERT_ADOPT(self->fd, id, EX, 0, "r");
}

/* Whoever adopts it decides with which pointers it is told, and whether of blocking. */
TEST_F(orphans, the_pointers_are_replaced)
{
	struct request r = lock_request(EX, DLM_LKF_ORPHAN, "r");
	int id = ORPHAN(EX, 0, "r");
	struct record record;

	r.req.i.lock.castaddr = (void *)1;
	r.req.i.lock.castparam = (void *)2;
	r.req.i.lock.bastaddr = (void *)3;
	r.req.i.lock.bastparam = (void *)4;
	r.req.i.lock.lksb = (void *)5;
	ASSERT_EQ(id, submit(self->fd, r));
	ASSERT_EQ(0, poll_now(self->fd, POLLIN));

	WAIT(self->other, PR, 0, "r");
	ASSERT_EQ((int)sizeof(record.result), read_record(self->fd, &record));
	EXPECT_EQ(PR, record.result.bast_mode);
	EXPECT_EQ(id, (int)record.result.lksb.sb_lkid);
	EXPECT_EQ((void *)3, record.result.user_astaddr);
	EXPECT_EQ((void *)4, record.result.user_astparam);
	EXPECT_EQ((struct dlm_lksb *)5, record.result.user_lksb);

	r = unlock_request(id, 0);
	r.req.i.lock.lksb = (void *)6;
	ASSERT_EQ(0, submit(self->fd, r));
	ASSERT_EQ((int)sizeof(record.result), read_record(self->fd, &record));
	EXPECT_EQ(-DLM_EUNLOCK, record.result.lksb.sb_status);
	EXPECT_EQ((void *)1, record.result.user_astaddr);
	EXPECT_EQ((void *)2, record.result.user_astparam);
	EXPECT_EQ((struct dlm_lksb *)6, record.result.user_lksb);
}

TEST_F(orphans, without_a_blocking_address)
{
	int id = ORPHAN(EX, WITH_BAST, "r");

	ASSERT_ADOPT(self->fd, id, EX, 0, "r");
	WAIT(self->other, EX, 0, "r");
	ASSERT_HEAR(self->fd, id, "nothing");
}

/* Who asked before the lock was adopted has been told of in vain. */
TEST_F(orphans, whoever_waits_already_is_not_told_of_again)
{
	int id = ORPHAN(EX, WITH_BAST, "r");

	WAIT(self->other, EX, 0, "r");
	ASSERT_ADOPT(self->fd, id, EX, WITH_BAST, "r");
	WAIT(self->other, EX, 0, "r");
	ASSERT_HEAR(self->fd, id, "nothing");
}

TEST_F(orphans, adopted_by_a_child_without_a_trace)
{
	int id = ORPHAN(EX, 0, "r");
	pid_t child = spawn();

	if (!child) {
		int fd = open_lockspace(self->ls.name, O_NONBLOCK);

		_exit(adopt(fd, EX, 0, "r") == id ? 0 : 1);
	}
	ASSERT_EQ(0, expect_child(child));
	ASSERT_FREE(self->fd, "r", EX);
}

/* ---- Values -------------------------------------------------------------------------------- */

/* NL, with the value "old" written to the resource. */
static void keep_value(struct __test_metadata *_metadata, int fd)
{
	int id = HOLD(fd, EX, 0, "r");

	ASSERT_EQ(0, submit(fd, with_value(convert_request(id, NL, DLM_LKF_VALBLK), "old")));
	ASSERT_HEAR(fd, id, "granted");
}

TEST_F(orphans, adopting_brings_no_value)
{
	int id;

	keep_value(_metadata, self->fd);
	id = LOCK(self->other, EX, PERSISTENT | DLM_LKF_VALBLK, "r", "granted \"old\"");
	close(self->other);
	ASSERT_ADOPT(self->fd, id, EX, DLM_LKF_VALBLK, "r");
	ASSERT_EQ(0, submit(self->fd, with_value(convert_request(id, PR, DLM_LKF_VALBLK), "new")));
	ASSERT_HEAR(self->fd, id, "granted");
	LOCK(self->fd, PR, DLM_LKF_VALBLK, "r", "granted \"new\"");
}

LOCKSPACE_FIXTURE(value)
FIXTURE_VARIANT(value) { int mode; bool spoils; };
FIXTURE_VARIANT_ADD(value, NL) { NL, false };
FIXTURE_VARIANT_ADD(value, CR) { CR, false };
FIXTURE_VARIANT_ADD(value, CW) { CW, false };
FIXTURE_VARIANT_ADD(value, PR) { PR, false };
FIXTURE_VARIANT_ADD(value, PW) { PW, true };
FIXTURE_VARIANT_ADD(value, EX) { EX, true };

#define ASSERT_VALUE(spoilt) \
	LOCK(self->fd, PR, DLM_LKF_VALBLK, "r", (spoilt) ? "granted invalid \"old\"" : "granted \"old\"")

/* Not when its owner goes, but when the lock goes, what a writer has left is invalid. */
TEST_F(value, of_an_orphan)
{
	int id;

	keep_value(_metadata, self->fd);
	id = ORPHAN(variant->mode, 0, "r");
	ASSERT_EQ(id, adopt(self->other, variant->mode, PERSISTENT, "r"));
	CONVERT(self->other, id, NL, PERSISTENT, "granted");
	ASSERT_VALUE(false);
}

TEST_F(value, after_purging_an_orphan)
{
	keep_value(_metadata, self->fd);
	ORPHAN(variant->mode, 0, "r");
	ASSERT_EQ(0, purge(self->fd, 0));
	ASSERT_VALUE(variant->spoils);
}

TEST_F(value, after_purging_a_descriptor)
{
	keep_value(_metadata, self->fd);
	HOLD(self->other, variant->mode, 0, "r");
	ASSERT_EQ(0, purge(self->other, gettid()));
	ASSERT_VALUE(variant->spoils);
}

/* ---- Purging ------------------------------------------------------------------------------- */

/* A child that leaves orphans behind: EX on a resource. Its pid. */
static pid_t leave_orphan(struct __test_metadata *_metadata, struct lockspace *ls, const char *name)
{
	pid_t child = spawn();

	if (!child)
		_exit(lock(open_lockspace(ls->name, O_NONBLOCK), EX, PERSISTENT, name) <= 0);
	ASSERT_EQ(0, expect_child(child));
	return child;
}

TEST_F(orphans, purge_all)
{
	ORPHAN(EX, 0, "r");
	ORPHAN(PR, 0, "s");
	leave_orphan(_metadata, &self->ls, "t");
	ASSERT_EQ(0, purge(self->fd, 0));
	ASSERT_FREE(self->fd, "r", EX);
	ASSERT_FREE(self->fd, "s", EX);
	ASSERT_FREE(self->fd, "t", EX);
	ASSERT_EQ(0, purge(self->fd, 0));
}

TEST_F(orphans, purge_of_one_process)
{
	pid_t first = leave_orphan(_metadata, &self->ls, "r");
	pid_t second = leave_orphan(_metadata, &self->ls, "s");

	ORPHAN(EX, 0, "t");
	ASSERT_EQ(0, purge(self->fd, second));
	ASSERT_TAKEN(self->fd, "r", CR);
	ASSERT_FREE(self->fd, "s", EX);
	ASSERT_TAKEN(self->fd, "t", CR);
	ASSERT_EQ(0, purge(self->fd, first));
	ASSERT_FREE(self->fd, "r", EX);
	ASSERT_TAKEN(self->fd, "t", CR);
}

TEST_F(orphans, purge_of_nobody)
{
	ORPHAN(EX, 0, "r");
	ASSERT_EQ(0, purge(self->fd, 1));
	ASSERT_EQ(0, purge(self->fd, -1));
	ASSERT_TAKEN(self->fd, "r", CR);
}

/* An orphan belongs to who asked for it last by name. */
TEST_F(orphans, purge_of_an_adopted_lock_that_is_an_orphan_again)
{
	pid_t child = leave_orphan(_metadata, &self->ls, "r");

	ASSERT_GT(adopt(self->other, EX, PERSISTENT, "r"), 0);
	close(self->other);
	ASSERT_EQ(0, purge(self->fd, child));
	ASSERT_TAKEN(self->fd, "r", CR);
	child = spawn();
	if (!child)
		_exit(purge(open_lockspace(self->ls.name, O_NONBLOCK), getppid()) ? 1 : 0);
	ASSERT_EQ(0, expect_child(child));
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(orphans, purge_leaves_what_has_an_owner)
{
	HOLD(self->fd, EX, PERSISTENT, "r");
	HOLD(self->other, EX, 0, "s");
	ASSERT_EQ(0, purge(self->fd, 0));
	ASSERT_TAKEN(self->fd, "r", CR);
	ASSERT_TAKEN(self->fd, "s", CR);
}

/* A machine alone is node 1. */
TEST_F(orphans, nodes)
{
	ORPHAN(EX, 0, "r");
	ASSERT_EQ(0, submit(self->fd, purge_request(1, 0)));
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(orphans, other_nodes)
{
	SKIP_ON_REFERENCE("looks for the node");
	ORPHAN(EX, 0, "r");
	ASSERT_EQ(-EINVAL, submit(self->fd, purge_request(2, 0)));
	ASSERT_EQ(-EINVAL, submit(self->fd, purge_request(-1, 0)));
	ASSERT_TAKEN(self->fd, "r", CR);
}

/* With one's own thread's id it is the descriptor that is purged, and no orphans. */
TEST_F(orphans, purge_of_the_descriptor)
{
	int waiter[3];

	ORPHAN(EX, 0, "orphan");
	HOLD(self->fd, EX, 0, "another's");
	HOLD(self->fd, CR, 0, "s");
	HOLD(self->other, EX, 0, "r");
	HOLD(self->other, PR, PERSISTENT, "s");
	CONVERT(self->other, HOLD(self->other, CR, 0, "s"), EX, 0, "nothing");
	WAIT(self->other, EX, 0, "s");
	lock(self->other, EX, 0, "unread");
	waiter[0] = WAIT(self->fd, EX, 0, "r");
	waiter[1] = WAIT(self->fd, PR, 0, "s");
	waiter[2] = WAIT(self->fd, EX, 0, "unread");
	ASSERT_EQ(POLLIN, poll_now(self->other, POLLIN));

	ASSERT_EQ(0, purge(self->other, gettid()));
	ASSERT_HEAR(self->other, 0, "nothing");
	ASSERT_GRANTED(self->fd, waiter, 3);
	ASSERT_TAKEN(self->fd, "orphan", CR);
	ASSERT_TAKEN(self->other, "another's", CR);

	/* It is as good as new. */
	UNLOCK(self->other, HOLD(self->other, EX, 0, "t"));
	ASSERT_EQ(0, purge(self->other, gettid()));
	ASSERT_FREE(self->other, "t", EX);
}

/* Whether EX is to be had at once; then it is held. */
static bool obtain(int fd, const char *name)
{
	int id = lock(fd, EX, DLM_LKF_NOQUEUE, name);

	return id > 0 && !strcmp("granted", hear(fd, id));
}

static void *purge_process(void *fd)
{
	return purge(*(int *)fd, getpid()) ? fd : NULL;
}

/* What a process meets that has the id of the one that left EX on "old"; 0 if it is as expected. */
static int purge_as_heir(const char *lockspace)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK), other = open_lockspace(lockspace, O_NONBLOCK);
	pthread_t thread;
	void *failure;

	if (!obtain(fd, "new") || purge(fd, getpid()) || !obtain(other, "new") || obtain(fd, "old"))
		return 1;
	if (pthread_create(&thread, NULL, purge_process, &other) || pthread_join(thread, &failure))
		return 2;
	return !failure && obtain(fd, "old") && !obtain(fd, "new") ? 0 : 3;
}

/*
 * Ids come again. Who has got that of one who left an orphan means himself by it, and loses his own
 * locks. But to any other thread of his it is another's.
 */
TEST_F(orphans, purge_by_who_has_the_id_of_the_dead)
{
	pid_t dead = leave_orphan(_metadata, &self->ls, "old");
	pid_t child = spawn_as(dead);

	if (!child)
		_exit(purge_as_heir(self->ls.name));
	ASSERT_EQ(dead, child);
	ASSERT_EQ(0, expect_child(child));
}

/* An id is gone at once. */
TEST_F(orphans, purged_ids)
{
	int orphan = ORPHAN(EX, 0, "s");
	int id = HOLD(self->other, EX, 0, "r");

	ASSERT_EQ(0, purge(self->other, gettid()));
	ASSERT_EQ(-ENOENT, convert(self->fd, id, NL, 0));
	ASSERT_EQ(0, purge(self->other, 0));
	ASSERT_EQ(-ENOENT, convert(self->fd, orphan, NL, 0));
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "s"));
}

TEST_F(orphans, many)
{
	enum { MANY = 5000 };

	for (int i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i % (MANY / 10));
		HOLD(self->other, CR, PERSISTENT, name);
	}
	close(self->other);
	ASSERT_TAKEN(self->fd, "17", EX);
	ASSERT_GT(adopt(self->fd, CR, 0, "17"), 0);
	ASSERT_EQ(0, purge(self->fd, 0));
	ASSERT_TAKEN(self->fd, "17", EX);
	ASSERT_FREE(self->fd, "18", EX);
	ASSERT_EQ(0, purge(self->fd, gettid()));
	for (int i = 0; i < MANY / 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		ASSERT_FREE(self->fd, name, EX);
	}
}

/* ---- Lockspaces with orphans --------------------------------------------------------------- */

TEST_F(orphans, keep_their_lockspace)
{
	ORPHAN(NL, 0, "r");
	close(self->fd);
	close(self->other);
	ASSERT_EQ(-EBUSY, remove_lockspace(self->ls.control, self->ls.minor, 0));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, purge(self->fd, 0));
	close(self->fd);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
}

TEST_F(orphans, go_with_their_lockspace_by_force)
{
	uint32_t force = DLM_USER_LSFLG_FORCEFREE;

	ORPHAN(EX, 0, "r");
	close(self->fd);
	close(self->other);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, force));
	self->ls.minor = create_lockspace(self->ls.control, self->ls.name, DLM_LSFL_NEWEXCL);
	ASSERT_GE(self->ls.minor, 0);
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "r"));
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(orphans, are_left_by_force_to_whoever_shares_the_lockspace)
{
	int id = ORPHAN(EX, 0, "r");

	ASSERT_EQ(self->ls.minor,
		  create_lockspace(self->ls.control, self->ls.name, DLM_USER_LSFLG_AUTOFREE));
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
	ASSERT_ADOPT(self->fd, id, EX, 0, "r");
}

TEST_F(orphans, go_by_force_under_whoever_waits_for_them)
{
	int waiter;

	SKIP_ON_REFERENCE("waits for every descriptor");
	ORPHAN(EX, 0, "r");
	waiter = WAIT(self->fd, EX, 0, "r");
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
	EXPECT_HEAR(self->fd, waiter, "ENODEV");
	EXPECT_HEAR(self->fd, 0, "read: ENODEV");
	EXPECT_EQ(-ENODEV, adopt(self->other, EX, 0, "r"));
	EXPECT_EQ(-ENODEV, purge(self->other, 0));
	EXPECT_EQ(-ENODEV, purge(self->other, gettid()));
}

/* AUTOFREE and, when creating, FORCEFREE are taken and mean nothing. */
TEST_F(orphans, outlive_a_lockspace_that_is_to_be_freed_by_itself)
{
	uint32_t force = DLM_USER_LSFLG_FORCEFREE, by_itself = DLM_USER_LSFLG_AUTOFREE;
	int minor, fd, id;

	minor = create_lockspace(self->ls.control, "autofree", by_itself | force | DLM_LSFL_NEWEXCL);
	ASSERT_GT(minor, 0);
	fd = open_lockspace("autofree", O_NONBLOCK);
	close(fd);
	fd = open_lockspace("autofree", O_NONBLOCK);
	ASSERT_GE(fd, 0);
	id = HOLD(fd, EX, PERSISTENT, "r");
	close(fd);
	ASSERT_EQ(-EBUSY, remove_lockspace(self->ls.control, minor, 0));
	ASSERT_EQ(-EBUSY, remove_lockspace(self->ls.control, minor, by_itself));
	fd = open_lockspace("autofree", O_NONBLOCK);
	ASSERT_ADOPT(fd, id, EX, PERSISTENT, "r");
	close(fd);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, by_itself | force));
	ASSERT_EQ(-1, open_lockspace("autofree", O_NONBLOCK));
}

/* ---- DEADLOCK: a cancel that says why ------------------------------------------------------ */

LOCKSPACE_FIXTURE(deadlocked)
FIXTURE_VARIANT(deadlocked) { uint32_t flags; };
FIXTURE_VARIANT_ADD(deadlocked, without_flags) { 0 };
FIXTURE_VARIANT_ADD(deadlocked, with_cancel) { DLM_LKF_CANCEL };

TEST_F(deadlocked, waiting)
{
	int holder = HOLD(self->fd, PR, 0, "r");
	int id = WAIT(self->other, EX, 0, "r");
	int behind = WAIT(self->fd, PR, 0, "r");

	ASSERT_EQ(0, deadlock(self->other, id, variant->flags));
	ASSERT_HEAR(self->other, id, "EDEADLK");
	ASSERT_HEAR(self->fd, behind, "granted");
	ASSERT_EQ(-ENOENT, deadlock(self->other, id, variant->flags));
	UNLOCK(self->fd, behind);
	UNLOCK(self->fd, holder);
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(deadlocked, converting)
{
	int id = HOLD(self->other, PR, 0, "r");

	HOLD(self->fd, CR, 0, "r");
	CONVERT(self->other, id, EX, 0, "nothing");
	ASSERT_EQ(0, deadlock(self->other, id, variant->flags));
	ASSERT_HEAR(self->other, id, "EDEADLK");
	ASSERT_TAKEN(self->fd, "r", CW);
	CONVERT(self->other, id, NL, 0, "granted");
	ASSERT_FREE(self->fd, "r", PW);
}

/* It is nothing. In fs/dlm, without CANCEL, it says why the next cancel will be. */
TEST_F(deadlocked, granted)
{
	int id = HOLD(self->other, EX, 0, "r"), waiter;

	ASSERT_EQ(0, deadlock(self->other, id, variant->flags));
	ASSERT_HEAR(self->other, id, "nothing");
	ASSERT_TAKEN(self->fd, "r", CR);
	CONVERT(self->other, id, PR, 0, "granted");
	waiter = HOLD(self->fd, PR, 0, "r");
	CONVERT(self->other, id, EX, 0, "nothing");
	UNLOCK_WITH(self->other, id, DLM_LKF_CANCEL,
		    DIFFERS("ECANCEL", variant->flags ? "ECANCEL" : "EDEADLK"));
	UNLOCK(self->fd, waiter);
	UNLOCK(self->other, id);
}

/* The record goes to the owner with the owner's pointers, whatever the request has in their place. */
TEST_F(deadlocked, by_another_descriptor)
{
	struct request r;
	int id;

	HOLD(self->fd, EX, 0, "r");
	id = WAIT(self->other, EX, 0, "r");
	r = deadlock_request(id, variant->flags);
	r.req.i.lock.castparam = (void *)1;
	r.req.i.lock.lksb = (void *)2;
	ASSERT_EQ(0, submit(self->fd, r));
	ASSERT_HEAR(self->other, id, "EDEADLK");
	ASSERT_HEAR(self->fd, 0, "nothing");
}

TEST_F(orphans, deadlock_refused)
{
	int id = HOLD(self->fd, PR, 0, "r");
	const uint32_t allowed = DLM_LKF_CANCEL | DLM_LKF_VALBLK | DLM_LKF_IVVALBLK |
				 DLM_LKF_FORCEUNLOCK;

	HOLD(self->other, PR, 0, "r");
	CONVERT(self->fd, id, EX, 0, "nothing");
	for (int bit = 0; bit < 32; bit++) {
		if (allowed & 1U << bit)
			continue;
		EXPECT_EQ(-EINVAL, deadlock(self->fd, id, 1U << bit)) TH_LOG("bit %d", bit);
	}
	EXPECT_EQ(-EINVAL, deadlock(self->fd, id, DLM_LKF_CANCEL | DLM_LKF_FORCEUNLOCK));
	EXPECT_EQ(-ENOENT, deadlock(self->fd, 0, 0));
	ASSERT_HEAR(self->fd, id, "nothing");
	CANCEL(self->fd, id);
}

TEST_HARNESS_MAIN
