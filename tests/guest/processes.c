// SPDX-License-Identifier: GPL-2.0
/* Several processes and several threads. */
#include <pthread.h>
#include <signal.h>
#include "dlm_test.h"

LOCKSPACE_FIXTURE(processes)

/* ---- Processes --------------------------------------------------------------------------- */

TEST_F(processes, hand_over)
{
	int id = HOLD(self->fd, EX, WITH_BAST, "r");
	pid_t child = spawn();

	if (!child) {
		int fd = open_lockspace(self->ls.name, O_NONBLOCK);
		int waiting = lock(fd, PR, 0, "r");

		_exit(strcmp(await(fd, waiting), "granted") ? 1 : 0);
	}
	ASSERT_AWAIT(self->fd, id, "blocks PR");
	CONVERT(self->fd, id, PR, 0, "granted");
	ASSERT_EQ(0, expect_child(child));
}

/* Two take turns: each converts down when told that it is in the way, and up again. */
static bool take_turns(int fd, int id, int turns)
{
	while (turns--) {
		if (convert(fd, id, EX, WITH_BAST) || strcmp(await(fd, id), "granted"))
			return false;
		if (strcmp(await(fd, id), "blocks EX"))
			return false;
		if (convert(fd, id, NL, WITH_BAST) || strcmp(await(fd, id), "granted"))
			return false;
	}
	return true;
}

TEST_F(processes, ping_pong)
{
	enum { TURNS = 200 };
	int id = HOLD(self->fd, EX, WITH_BAST, "r");
	pid_t child = spawn();

	if (!child) {
		int fd = open_lockspace(self->ls.name, O_NONBLOCK);
		int own = lock(fd, NL, 0, "r");

		if (strcmp(await(fd, own), "granted"))
			_exit(1);
		_exit(take_turns(fd, own, TURNS) ? 0 : 2);
	}
	ASSERT_AWAIT(self->fd, id, "blocks EX");
	CONVERT(self->fd, id, NL, WITH_BAST, "granted");
	ASSERT_TRUE(take_turns(self->fd, id, TURNS - 1));
	ASSERT_EQ(0, convert(self->fd, id, EX, 0));
	ASSERT_AWAIT(self->fd, id, "granted");
	UNLOCK(self->fd, id);
	ASSERT_EQ(0, expect_child(child));
}

/* A child that holds EX when we are told so, by way of a lock of ours that it waits for. */
#define CHILD_WITH_EX() \
({ \
	int _ours = HOLD(self->fd, EX, WITH_BAST, "r"); \
	pid_t _child = spawn(); \
	if (!_child) { \
		int _fd = open_lockspace(self->ls.name, 0); \
		lock(_fd, EX, DLM_LKF_VALBLK, "r"); \
		pause(); \
	} \
	ASSERT_AWAIT(self->fd, _ours, "blocks EX"); \
	UNLOCK(self->fd, _ours); \
	_child; \
})

TEST_F(processes, killed_holder)
{
	pid_t child = CHILD_WITH_EX();
	int waiting = WAIT(self->fd, PR, DLM_LKF_VALBLK, "r");

	kill(child, SIGKILL);
	ASSERT_AWAIT(self->fd, waiting, "granted \"\"");
	ASSERT_EQ(-1, expect_child(child));

	/* What it may have been writing is not to be trusted. */
	CONVERT(self->fd, waiting, NL, 0, "granted invalid \"\"");
}

TEST_F(processes, killed_waiter)
{
	int id = HOLD(self->fd, PR, WITH_BAST, "r");
	pid_t child = spawn();
	int behind;

	if (!child) {
		lock(open_lockspace(self->ls.name, 0), EX, 0, "r");
		pause();
	}
	ASSERT_AWAIT(self->fd, id, "blocks EX");
	behind = WAIT(self->fd, PR, 0, "r");
	kill(child, SIGKILL);
	ASSERT_AWAIT(self->fd, behind, "granted");
}

/* A lock belongs to the open file, and so to all who inherited it. */
TEST_F(processes, inherited_descriptor)
{
	pid_t child = spawn();

	if (!child)
		_exit(lock(self->fd, EX, 0, "r") > 0 ? 0 : 1);
	ASSERT_EQ(0, expect_child(child));
	ASSERT_TAKEN(self->other, "r", CR);
	ASSERT_EQ(POLLIN, poll_now(self->fd, POLLIN));
}

/* ---- Threads ----------------------------------------------------------------------------- */

enum { THREADS = 8 };

#define OK	NULL
#define FAILED	((void *)1)

/* Runs body in many threads. How many of them failed? */
static int failures(void *(*body)(void *), void *context)
{
	pthread_t threads[THREADS];
	int failed = 0;

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, body, context);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		pthread_join(threads[i], &result);
		failed += result != OK;
	}
	return failed;
}

/* Many ask on one descriptor, one listens. */
enum { ROUNDS = 500 };

static void *ask(void *context)
{
	int fd = *(int *)context;

	for (int i = 0; i < ROUNDS; i++) {
		int id = lock(fd, PR, 0, "r");

		if (id <= 0 || convert(fd, id, CR, 0) || unlock(fd, id, 0))
			return FAILED;
	}
	return OK;
}

static void *listen_to_all(void *context)
{
	int fd = *(int *)context;
	uintptr_t granted = 0, unlocked = 0;

	while (unlocked < THREADS * ROUNDS) {
		struct record record;
		int n = read_record(fd, &record);
		const char *words = describe(&record, n, record.result.lksb.sb_lkid);

		if (!strcmp(words, "granted"))
			granted++;
		else if (!strcmp(words, "EUNLOCK"))
			unlocked++;
		else
			return NULL;
	}
	return (void *)granted;
}

TEST_F(processes, threads_share_a_descriptor)
{
	int fd = open_lockspace(self->ls.name, 0);
	pthread_t listener;
	void *granted;

	pthread_create(&listener, NULL, listen_to_all, &fd);
	ASSERT_EQ(0, failures(ask, &fd));
	pthread_join(listener, &granted);
	ASSERT_EQ(2 * THREADS * ROUNDS, (int)(uintptr_t)granted);
	ASSERT_HEAR(fd, 0, "nothing");
	ASSERT_FREE(fd, "r", EX);
}

/* One asks, many listen: each record is read by one of them. */
struct listeners {
	int fd;
	int granted;
};

static void *listen_for_an_unlock(void *context)
{
	struct listeners *all = context;
	struct record record;

	while (read_record(all->fd, &record) == sizeof(record.result)) {
		if (record.result.lksb.sb_status)
			return OK;
		__atomic_add_fetch(&all->granted, 1, __ATOMIC_RELAXED);
	}
	return FAILED;
}

static void *ask_for_all(void *context)
{
	int fd = *(int *)context;
	int id = 0;

	for (int i = 0; i < THREADS * ROUNDS; i++) {
		id = lock(fd, NL, 0, "r");
		if (i % ROUNDS == 0)
			unlock(fd, id, 0);
	}
	return NULL;
}

TEST_F(processes, threads_share_the_records)
{
	struct listeners all = { .fd = open_lockspace(self->ls.name, 0) };
	pthread_t asker;

	pthread_create(&asker, NULL, ask_for_all, &all.fd);
	ASSERT_EQ(0, failures(listen_for_an_unlock, &all));
	pthread_join(asker, NULL);
	while (strcmp(hear(all.fd, 0), "nothing"))
		all.granted++;
	ASSERT_EQ(THREADS * ROUNDS, all.granted);
}

/* EX keeps others out: a counter that is not atomic counts right. */
struct contest {
	const char *lockspace;
	volatile int counter;
};

static void *contend(void *context)
{
	struct contest *contest = context;
	int fd = open_lockspace(contest->lockspace, O_NONBLOCK);

	for (int i = 0; i < ROUNDS / 5; i++) {
		int id = lock(fd, EX, 0, "r");
		int seen;

		if (strcmp(await(fd, id), "granted"))
			return FAILED;
		seen = contest->counter;
		sched_yield();
		contest->counter = seen + 1;
		if (unlock(fd, id, 0) || strcmp(hear(fd, id), "EUNLOCK"))
			return FAILED;
	}
	close(fd);
	return OK;
}

TEST_F(processes, threads_exclude_each_other)
{
	struct contest contest = { .lockspace = self->ls.name };

	ASSERT_EQ(0, failures(contend, &contest));
	ASSERT_EQ(THREADS * (ROUNDS / 5), contest.counter);
}

/* Descriptors that come and go with locks in every state leave nothing behind. */
static void *come_and_go(void *context)
{
	for (int i = 0; i < ROUNDS / 5; i++) {
		int fd = open_lockspace(context, O_NONBLOCK);
		int id = lock(fd, i % MODES, WITH_BAST, "r");

		lock(fd, PR, 0, "s");
		convert(fd, id, EX, 0);
		if (fd < 0 || close(fd))
			return FAILED;
	}
	return OK;
}

TEST_F(processes, threads_come_and_go)
{
	ASSERT_EQ(0, failures(come_and_go, self->ls.name));
	ASSERT_FREE(self->fd, "r", EX);
	ASSERT_FREE(self->fd, "s", EX);
}

/* Who has created a lockspace can use it until it removes it, whatever others do with it. */
static void *share(void *context)
{
	const char *name = context;
	int control = open_control();

	for (int i = 0; i < 20; i++) {
		int minor = create_lockspace(control, name, 0);
		int fd = open_lockspace(name, O_NONBLOCK);
		int id = lock(fd, EX, 0, "r");

		if (strcmp(await(fd, id), "granted"))
			return FAILED;
		close(fd);
		if (remove_lockspace(control, minor, 0))
			return FAILED;
	}
	close(control);
	return OK;
}

TEST_F(processes, threads_share_a_lockspace)
{
	char name[sizeof(self->ls.name) + 1];

	SKIP_ON_REFERENCE("answers the second who creates it before its device is there");
	snprintf(name, sizeof(name), "%sx", self->ls.name);
	ASSERT_EQ(0, failures(share, name));
	ASSERT_EQ(-1, open_lockspace(name, 0));
	ASSERT_EQ(ENOENT, errno);
}

TEST_HARNESS_MAIN
