// SPDX-License-Identifier: GPL-2.0
/*
 * Many readers asleep on one descriptor: a record wakes one of them, and if that one leaves it, for
 * whatever reason, the next. Whoever polls is told each time.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "dlm_test.h"

enum { READERS = 60, RECORDS = 200 };

FIXTURE(waking) { struct lockspace ls; int fd, other; };

FIXTURE_SETUP(waking)
{
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, 0);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
}

FIXTURE_TEARDOWN(waking) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

struct reader {
	int fd, result;
	/* How large its buffer is, and where. */
	size_t size;
	void *buffer;
	atomic_int tid, heard;
	bool goes_on;
	pthread_t thread;
};

static void *read_records(void *data)
{
	struct reader *reader = data;

	reader->tid = gettid();
	do {
		reader->result = read(reader->fd, reader->buffer, reader->size);
		if (reader->result < 0)
			reader->result = -errno;
		else
			reader->heard++;
	} while (reader->goes_on && reader->result > 0);
	return NULL;
}

/* Whether a thread of this process sleeps, and how often it has gone to sleep by itself. */
static long sleeps(int tid, char *state)
{
	char path[64], line[128];
	long count = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "State: %c", state);
		sscanf(line, "voluntary_ctxt_switches: %ld", &count);
	}
	if (file)
		fclose(file);
	return count;
}

static void begin(struct reader *reader)
{
	char state = 0;

	pthread_create(&reader->thread, NULL, read_records, reader);
	while (!reader->tid || (sleeps(reader->tid, &state), state != 'S'))
		usleep(1000);
}

static int joined(struct reader *reader)
{
	pthread_join(reader->thread, NULL);
	return reader->result;
}

/* A record costs one waking, however many sleep. */
TEST_F_TIMEOUT(waking, one_record_wakes_one_reader, 120)
{
	static struct reader readers[READERS];
	static struct record records[READERS];
	long before = 0, after = 0;
	char state;

	SKIP_ON_REFERENCE("its readers wake in turn as well, but are not counted here");
	for (int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .fd = self->fd, .size = sizeof(*records),
					      .buffer = &records[i], .goes_on = true };
		begin(&readers[i]);
		before += sleeps(readers[i].tid, &state);
	}
	for (int i = 0; i < RECORDS; i++) {
		int heard = 0;

		ASSERT_GT(lock(self->fd, NL, 0, "r"), 0);
		while (heard <= i) {
			heard = 0;
			for (int j = 0; j < READERS; j++)
				heard += readers[j].heard;
			sched_yield();
		}
	}
	for (int i = 0; i < READERS; i++)
		after += sleeps(readers[i].tid, &state);
	TH_LOG("%d records, %ld times woken", RECORDS, after - before);
	/* Each of them may wait for the queue's lock besides. */
	EXPECT_LT(after - before, 3 * RECORDS);
	for (int i = 0; i < READERS; i++)
		readers[i].goes_on = false;
	for (int i = 0; i < READERS; i++)
		lock(self->fd, NL, 0, "r");
	for (int i = 0; i < READERS; i++)
		EXPECT_GT(joined(&readers[i]), 0);
}

/* What one operation tells, all of it, reaches as many readers as there are. */
TEST_F(waking, many_records_at_once_wake_as_many_readers)
{
	static struct reader readers[READERS];
	static struct record records[READERS];
	int holder = HOLD(self->other, EX, 0, "r");

	for (int i = 0; i < READERS; i++) {
		ASSERT_GT(lock(self->fd, PR, 0, "r"), 0);
		readers[i] = (struct reader){ .fd = self->fd, .size = sizeof(*records), .buffer = &records[i] };
		begin(&readers[i]);
	}
	UNLOCK(self->other, holder);
	for (int i = 0; i < READERS; i++)
		EXPECT_EQ((int)sizeof(struct dlm_lock_result), joined(&readers[i]));
}

/* A record with a value block, which the first reader has no room for. */
TEST_F(waking, too_little_room_wakes_the_next)
{
	struct record small, large;
	struct reader first = { .fd = self->fd, .size = sizeof(small.result), .buffer = &small };
	struct reader second = { .fd = self->fd, .size = sizeof(large), .buffer = &large };
	int id;

	SKIP_ON_REFERENCE("loses the value block");
	begin(&first);
	begin(&second);
	id = lock(self->fd, EX, DLM_LKF_VALBLK, "r");
	ASSERT_GT(id, 0);
	EXPECT_EQ(-EINVAL, joined(&first));
	EXPECT_STREQ("granted \"\"", describe(&large, joined(&second), id));
}

TEST_F(waking, missing_memory_wakes_the_next)
{
	int size = getpagesize();
	void *gone = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct record record;
	struct reader first = { .fd = self->fd, .size = sizeof(record), .buffer = gone };
	struct reader second = { .fd = self->fd, .size = sizeof(record), .buffer = &record };
	int id;

	SKIP_ON_REFERENCE("loses the record");
	begin(&first);
	begin(&second);
	ASSERT_EQ(0, munmap(gone, size));
	id = lock(self->fd, EX, 0, "r");
	EXPECT_EQ(-EFAULT, joined(&first));
	EXPECT_STREQ("granted", describe(&record, joined(&second), id));
}

/*
 * One of two sleepers gets a deadly signal as the record comes. Either it has the record, in memory
 * that both see, or the other gets it.
 */
TEST_F_TIMEOUT(waking, the_killed_leave_it_to_the_next, 120)
{
	struct record *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	static const int deadly[] = { SIGKILL, SIGTERM, SIGABRT, SIGQUIT, SIGSEGV };
	int passed_on = 0;

	for (int i = 0; i < 300; i++) {
		int signal = deadly[i / 2 % ARRAY_SIZE(deadly)];
		struct pollfd p = { .fd = self->fd, .events = POLLIN };
		struct record record = { };
		struct reader second = { .fd = self->fd, .size = sizeof(record), .buffer = &record };
		pid_t child;
		int id;

		memset(shared, 0, sizeof(*shared));
		child = spawn();
		if (!child) {
			/* No time for a core. */
			setrlimit(RLIMIT_CORE, &(struct rlimit){ });
			if (read(self->fd, shared, sizeof(*shared)) < 0)
				_exit(1);
			pause();
		}
		ASSERT_TRUE(asleep(child));
		begin(&second);
		if (i % 2)
			kill(child, signal);
		id = lock(self->fd, EX, 0, numbered("n", i));
		ASSERT_GT(id, 0);
		kill(child, signal);
		ASSERT_EQ(-1, expect_child(child));
		if (!shared->result.length) {
			ASSERT_STREQ("granted", describe(&record, joined(&second), id)) TH_LOG("signal %d", signal);
			passed_on++;
		} else {
			/* The second is still asleep: something for it. */
			ASSERT_EQ(id, (int)shared->result.lksb.sb_lkid);
			ASSERT_EQ(0, unlock(self->fd, id, 0));
			ASSERT_STREQ("EUNLOCK", describe(&record, joined(&second), id));
		}
		ASSERT_EQ(0, poll(&p, 1, 0));
	}
	TH_LOG("passed on %d times", passed_on);
	EXPECT_GT(passed_on, 0);
}

static void *poll_once(void *data)
{
	struct pollfd p = { .fd = *(int *)data, .events = POLLIN };

	return (void *)(intptr_t)(poll(&p, 1, PATIENCE_MS) == 1 && p.revents & POLLIN);
}

TEST_F(waking, all_pollers_are_told_beside_a_sleeping_reader)
{
	pthread_t pollers[10];
	struct record record;
	struct reader reader = { .fd = self->fd, .size = sizeof(record.result), .buffer = &record };
	void *told;
	int id;

	SKIP_ON_REFERENCE("loses the value block");
	begin(&reader);
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(0, pthread_create(&pollers[i], NULL, poll_once, &self->fd));
	usleep(100000);
	id = lock(self->fd, EX, DLM_LKF_VALBLK, "r");
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, pthread_join(pollers[i], &told));
		EXPECT_NE(NULL, told);
	}
	/* There was no room for it. */
	EXPECT_EQ(-EINVAL, joined(&reader));
	ASSERT_HEAR(self->fd, id, "granted \"\"");
}

TEST_HARNESS_MAIN
