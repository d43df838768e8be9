// SPDX-License-Identifier: GPL-2.0
/*
 * Which of the module's locks are on the way of a lock and an unlock, how often each of them is
 * taken, and whether those of one process are ever touched by another: as a kernel counts it that
 * has /proc/lock_stat, which the debug kernel does.
 *
 * It counts by class, and a class is all locks that were made at one place, as all shards. What
 * tells them apart are the bounces: how often a lock was taken on another processor than the time
 * before. Of processes that share no lock, each on a processor of its own, it counts none.
 */
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include "dlm_test.h"

/*
 * The locks that one system call takes, and these are all: the shard's of the resource; the queue's
 * of the file, once for a read, too, if the memory to read to is there; and to wake who may wait for
 * the file, as whoever has ever polled it, that of where they wait.
 */
static const struct price {
	const char *lock;
	int write, read, wake;
} prices[] = {
	{ "dlm_device::Shard", 1, 0, 0 },
	{ "dlm_device::Queue", 1, 1, 0 },
	{ "dlm_device::pollers", 0, 0, 1 },
	{ "dlm_device::readers", 0, 0, 0 },
};

enum { SHARD, QUEUE, POLLERS, READERS, OTHERS, COUNTS };
enum { TIMES = 500, WARM_UP = 20, NAMES = 16 };

/* ---- What the kernel counted ----------------------------------------------------------------- */

#define STATISTICS	"/proc/lock_stat"
#define OURS		"dlm_device::"

struct count {
	unsigned long taken, contended, bounced;
};

static void forget_counts(void)
{
	int fd = open(STATISTICS, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		perror(STATISTICS);
	close(fd);
}

/* "NAME:", or "NAME#2:" of one that has the name of another. */
static int index_of(const char *class)
{
	size_t length = strlen(OURS) + strcspn(class + strlen(OURS), "#:");
	int i = 0;

	while (i < OTHERS && (strlen(prices[i].lock) != length ||
			      memcmp(prices[i].lock, class, length)))
		i++;
	return i;
}

/* Adds up what was counted of the module's locks. */
static void read_counts(struct count counts[COUNTS])
{
	FILE *f = fopen(STATISTICS, "re");
	char line[512], class[64];
	struct count one;

	memset(counts, 0, COUNTS * sizeof(*counts));
	while (f && fgets(line, sizeof(line), f)) {
		/* class, con-bounces, contentions, 4 of waiting, acq-bounces, acquisitions, ... */
		if (sscanf(line, "%63s %*u %lu %*s %*s %*s %*s %lu %lu", class, &one.contended,
			   &one.bounced, &one.taken) != 4 || strncmp(class, OURS, strlen(OURS)))
			continue;
		struct count *sum = &counts[index_of(class)];

		sum->taken += one.taken;
		sum->contended += one.contended;
		sum->bounced += one.bounced;
	}
	if (f)
		fclose(f);
}

/* ---- What is counted ------------------------------------------------------------------------- */

static void hear_or_exit(int fd, int id, const char *words)
{
	struct record record;

	if (strcmp(words, describe(&record, read_record(fd, &record), id)))
		_exit(1);
}

/* Lock, record, unlock, record. Any number of readers get on with each other. */
static void lock_and_unlock(int fd, const char *name, int times)
{
	while (times--) {
		int id = lock(fd, PR, 0, name);

		hear_or_exit(fd, id, "granted");
		if (unlock(fd, id, 0))
			_exit(1);
		hear_or_exit(fd, id, "EUNLOCK");
	}
}

/* What a round of that takes of each price. */
enum { WRITES = 2, READS = 2 };

static void up_and_down(int fd, int id, int times)
{
	while (times--) {
		for (int mode = PR; mode >= NL; mode -= PR - NL) {
			if (convert(fd, id, mode, 0))
				_exit(1);
			hear_or_exit(fd, id, "granted");
		}
	}
}

/* Processes are made to stop before and behind what is counted. */
struct stage {
	atomic_int arrived, allowed;
};

static void stop(struct stage *stage, int stop)
{
	atomic_fetch_add(&stage->arrived, 1);
	while (stage->allowed < stop)
		sched_yield();
}

static void await_all(struct stage *stage, int stop, int processes)
{
	while (stage->arrived < stop * processes)
		sched_yield();
}

static bool stay_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

static void play(struct stage *stage, int processor, const char *space, const char *name)
{
	int fd;

	stay_on(processor);
	fd = open_lockspace(space, 0);
	lock_and_unlock(fd, name, WARM_UP);
	stop(stage, 1);
	lock_and_unlock(fd, name, TIMES);
	stop(stage, 2);
	_exit(0);
}

/* Two processes at the same time, on a processor each. */
static int play_both(const char *const spaces[2], const char *const names[2],
		     struct count counts[COUNTS])
{
	struct stage *stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[2];
	int failed = 0;

	for (int i = 0; i < 2; i++) {
		children[i] = spawn();
		if (!children[i])
			play(stage, i, spaces[i], names[i]);
	}
	await_all(stage, 1, 2);
	forget_counts();
	stage->allowed = 1;
	await_all(stage, 2, 2);
	read_counts(counts);
	stage->allowed = 2;
	for (int i = 0; i < 2; i++)
		failed |= expect_child(children[i]);
	munmap(stage, sizeof(*stage));
	return failed;
}

/* ---- The tests ------------------------------------------------------------------------------- */

FIXTURE(lockstat) {
	struct lockspace ls;
};

FIXTURE_SETUP(lockstat)
{
	if (access(STATISTICS, F_OK))
		SKIP(return, "this kernel does not count its locks");
	SKIP_ON_REFERENCE("has other locks");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
}

FIXTURE_TEARDOWN(lockstat)
{
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
}

static int price(int i, bool waking)
{
	return WRITES * (prices[i].write + waking * prices[i].wake) + READS * prices[i].read;
}

/* Every operation has taken what it takes, and nothing beside. */
#define ASSERT_PRICES(counts, processes, waking) \
do { \
	for (int _i = 0; _i < OTHERS; _i++) \
		ASSERT_EQ((processes) * TIMES * price(_i, waking), (int)(counts)[_i].taken); \
	ASSERT_EQ(0, (int)(counts)[OTHERS].taken); \
} while (0)

/* The locks of a class were not passed from one processor to another. */
#define ASSERT_UNSHARED(count) \
do { \
	ASSERT_EQ(0, (int)(count).bounced); \
	ASSERT_EQ(0, (int)(count).contended); \
} while (0)

#define TWO_PROCESSORS() \
do { \
	if (!stay_on(1)) \
		SKIP(return, "there is only one processor"); \
} while (0)

TEST_F(lockstat, lock_and_unlock)
{
	struct count counts[COUNTS];
	int fd = open_lockspace(self->ls.name, 0);

	lock_and_unlock(fd, "r", WARM_UP);
	forget_counts();
	lock_and_unlock(fd, "r", TIMES);
	read_counts(counts);
	ASSERT_PRICES(counts, 1, false);
}

TEST_F(lockstat, conversions)
{
	struct count counts[COUNTS];
	int fd = open_lockspace(self->ls.name, 0);
	int id = lock(fd, NL, 0, "r");

	hear_or_exit(fd, id, "granted");
	up_and_down(fd, id, WARM_UP);
	forget_counts();
	up_and_down(fd, id, TIMES);
	read_counts(counts);
	ASSERT_PRICES(counts, 1, false);
}

TEST_F(lockstat, polled_once)
{
	struct count counts[COUNTS];
	int fd = open_lockspace(self->ls.name, 0);

	ASSERT_EQ(0, poll_now(fd, POLLIN));
	lock_and_unlock(fd, "r", WARM_UP);
	forget_counts();
	lock_and_unlock(fd, "r", TIMES);
	read_counts(counts);
	ASSERT_PRICES(counts, 1, true);
}

TEST_F(lockstat, lockspaces_share_no_lock)
{
	const char *const spaces[] = { self->ls.name, "other" }, *const names[] = { "r", "r" };
	struct count counts[COUNTS];
	int other;

	TWO_PROCESSORS();
	other = create_lockspace(self->ls.control, spaces[1], DLM_LSFL_NEWEXCL);
	ASSERT_GT(other, 0);
	EXPECT_EQ(0, play_both(spaces, names, counts));
	ASSERT_EQ(0, remove_lockspace(self->ls.control, other, 0));
	ASSERT_PRICES(counts, 2, false);
	ASSERT_UNSHARED(counts[SHARD]);
	ASSERT_UNSHARED(counts[QUEUE]);
}

/*
 * There are twice as many shards as processors, so some names meet in one: with two processors
 * every fourth pair.
 */
TEST_F(lockstat, names_share_at_most_a_shard)
{
	const char *const spaces[] = { self->ls.name, self->ls.name };
	int sharing = 0;

	TWO_PROCESSORS();
	for (int i = 0; i < NAMES; i++) {
		const char name[] = { 'a' + i, '\0' }, *const names[] = { "r", name };
		struct count counts[COUNTS];

		ASSERT_EQ(0, play_both(spaces, names, counts));
		ASSERT_PRICES(counts, 2, false);
		ASSERT_UNSHARED(counts[QUEUE]);
		if (counts[SHARD].bounced)
			sharing++;
		else
			ASSERT_UNSHARED(counts[SHARD]);
	}
	TH_LOG("%d of %d pairs of names are in one shard", sharing, NAMES);
	ASSERT_LE(sharing, 3 * NAMES / 4);
}

/* That there is something to see: what is shared bounces. */
TEST_F(lockstat, one_name_is_shared)
{
	const char *const spaces[] = { self->ls.name, self->ls.name };
	const char *const names[] = { "r", "r" };
	struct count counts[COUNTS];

	TWO_PROCESSORS();
	ASSERT_EQ(0, play_both(spaces, names, counts));
	ASSERT_PRICES(counts, 2, false);
	ASSERT_UNSHARED(counts[QUEUE]);
	ASSERT_GT((int)counts[SHARD].bounced, 0);
}

TEST_HARNESS_MAIN
