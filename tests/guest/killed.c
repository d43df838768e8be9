// SPDX-License-Identifier: GPL-2.0
/*
 * A call that does much ends before it has done all when its program is killed.
 *
 * The kill comes by a timer, and where the call is then cannot be known. So it is tried at one time
 * after the other until a call has ended midway: never, if it heeds no kill.
 */
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include "dlm_test.h"
#include "extended.h"

/* A series has room for so many. */
enum { ALL = 500, TRIES = 500, TIMES = 20 };

/* What a child leaves behind. */
static struct shared {
	long duration;
	char records[ALL * sizeof(struct dlm_lock_result)];
} *shared;

static struct lockspace ls;

FIXTURE(killed) { int fd; };

FIXTURE_SETUP(killed)
{
	SKIP_ON_REFERENCE("has no series");
	ASSERT_EQ(0, lockspace_setup(&ls));
	self->fd = open_lockspace(ls.name, O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)shared);
}

FIXTURE_TEARDOWN(killed) { EXPECT_EQ(0, lockspace_teardown(&ls)); }

/* ---- The calls ------------------------------------------------------------------------------ */

static int open_again(void)
{
	int fd = open_lockspace(ls.name, O_NONBLOCK);

	if (fd < 0)
		_exit(1);
	return fd;
}

static void lock_all(int fd)
{
	static struct series series;

	for (int i = 0; i < ALL; i++)
		add(&series, lock_request(NL, DLM_LKF_PERSISTENT, numbered("", i)));
	if (write(fd, series.bytes, series.size) != ALL)
		_exit(1);
}

static void purge_all(int fd)
{
	purge(fd, 0);
}

static void read_all(int fd)
{
	if (read(fd, shared->records, sizeof(shared->records)) < 0)
		_exit(1);
}

/* ---- What is there for them to do; they return where to do it ------------------------------------- */

static int orphans(int fd)
{
	lock_all(fd);
	close(fd);
	return open_again();
}

static int records(int fd)
{
	lock_all(fd);
	return fd;
}

/* ---- How much they have done ------------------------------------------------------------------- */

/* Orphans; they are there no longer afterwards. */
static int count_orphans(int fd)
{
	int count = 0;

	for (int i = 0; i < ALL; i++)
		count += adopt(fd, NL, 0, numbered("", i)) > 0;
	purge(fd, getpid());
	return count;
}

static int count_purged(int fd)
{
	return ALL - count_orphans(fd);
}

static int count_read(int fd)
{
	const struct dlm_lock_result *result = (void *)shared->records;
	int count = 0;

	while (count < ALL && result[count].length)
		count++;
	purge(fd, 0);
	return count;
}

/* ---- The tests ----------------------------------------------------------------------------- */

struct work {
	int (*prepare)(int fd);
	void (*call)(int fd);
	int (*done)(int fd);
};

static void be_killed_in(long ns)
{
	struct sigevent kill = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	struct itimerspec when = { .it_value = { .tv_nsec = ns } };
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &kill, &timer) || timer_settime(timer, 0, &when, NULL))
		_exit(1);
}

/* Has a child do it, and kills it so many nanoseconds after it has begun, unless that is 0. */
static int carry_out(const struct work *work, long killed_after)
{
	pid_t child = spawn();

	if (!child) {
		int fd = open_again();
		long begin;

		if (work->prepare)
			fd = work->prepare(fd);
		if (killed_after)
			be_killed_in(killed_after);
		begin = nanoseconds();
		work->call(fd);
		shared->duration = nanoseconds() - begin;
		_exit(0);
	}
	return expect_child(child);
}

/* How much had been done when it ended midway, or ALL. */
static int done_midway(int fd, const struct work *work)
{
	long duration = shared->duration;

	for (int i = 0; i < TRIES; i++) {
		bool killed;
		int done;

		memset(shared, 0, sizeof(*shared));
		killed = carry_out(work, duration * (i % TIMES + 1) / TIMES + 1) == -1;
		done = work->done(fd);
		if (killed && done > 0 && done < ALL)
			return done;
	}
	return ALL;
}

#define EXPECT_ENDS_MIDWAY(...) \
do { \
	const struct work _work = { __VA_ARGS__ }; \
\
	ASSERT_EQ(0, carry_out(&_work, 0)); \
	ASSERT_EQ(ALL, _work.done(self->fd)); \
	EXPECT_LT(done_midway(self->fd, &_work), ALL); \
} while (0)

TEST_F_TIMEOUT(killed, series, 120)
{
	EXPECT_ENDS_MIDWAY(NULL, lock_all, count_orphans);
}

TEST_F_TIMEOUT(killed, purge, 120)
{
	EXPECT_ENDS_MIDWAY(orphans, purge_all, count_purged);
}

TEST_F_TIMEOUT(killed, read, 120)
{
	EXPECT_ENDS_MIDWAY(records, read_all, count_read);
}

TEST_HARNESS_MAIN
