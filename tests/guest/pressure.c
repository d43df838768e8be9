// SPDX-License-Identifier: GPL-2.0
/*
 * Programs in a small memory cgroup, which they fill: they get ENOMEM and lose nothing, nobody is
 * killed for it, and nobody outside is bothered.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "dlm_test.h"

#define CGROUPS	"/sys/fs/cgroup/"
#define GROUP	CGROUPS "pressure/"
#define LIMIT	"8M"

/* What is not yet given back may stay with the processors for a while, some pages with each. */
enum { MANY = 100000, REFUSALS = 3, TOLERATED_KB = 1024 };

/* What the program in the group and the test, outside, know of each other. */
struct shared {
	atomic_int stage;
	int count, ids[MANY];
	char wrong[200];
};

FIXTURE(pressure) { struct lockspace ls; int fd; struct shared *shared; pid_t child; };

FIXTURE_SETUP(pressure)
{
	size_t size = sizeof(*self->shared);

	SKIP_ON_REFERENCE("charges nobody for memory");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->shared);
	ASSERT_TRUE(put(CGROUPS "cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(GROUP, 0755));
	ASSERT_TRUE(put(GROUP "memory.max", LIMIT));
}

FIXTURE_TEARDOWN(pressure)
{
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
	EXPECT_EQ(0, rmdir(GROUP));
}

/* The number behind a word in one of the group's files; the first number without a word. */
static long group_value(const char *path, const char *word)
{
	FILE *file = fopen(path, "re");
	char line[128];
	long value = -1;

	while (value < 0 && fgets(line, sizeof(line), file))
		if (!word || (!strncmp(line, word, strlen(word)) && line[strlen(word)] == ' '))
			value = atol(line + (word ? strlen(word) : 0));
	fclose(file);
	return value;
}

#define EVENTS(word)	group_value(GROUP "memory.events", word)

static bool await_stage(struct shared *shared, int stage)
{
	for (int patience = 6 * PATIENCE_MS; atomic_load(&shared->stage) < stage && patience; patience--)
		usleep(1000);
	return atomic_load(&shared->stage) >= stage;
}

static void reach(struct shared *shared, int stage)
{
	atomic_store(&shared->stage, stage);
}

/* ---- In the group -------------------------------------------------------------------------- */

/* Only the module's memory is to run out, so all of the program's own is there before. */
static void enter_group(bool exempt)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE) || !put("/proc/self/oom_score_adj", exempt ? "-1000" : "1000") ||
	    !put(GROUP "cgroup.procs", "0"))
		_exit(2);
}

static void fail(struct shared *shared, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(shared->wrong, sizeof(shared->wrong), format, args);
	va_end(args);
	_exit(1);
}

static void expect(struct shared *shared, int number, const char *words, const char *heard)
{
	if (strcmp(words, heard))
		fail(shared, "of number %d is heard \"%s\", not \"%s\"", number, heard, words);
}

/* Take locks until memory has run out, and really. */
static void lock_all(struct shared *shared, int fd)
{
	for (int refusals = 0; refusals < REFUSALS;) {
		int id = lock(fd, EX, WITH_BAST, numbered("pressure", shared->count));

		if (id == -ENOMEM)
			refusals++;
		else if (id <= 0 || shared->count == MANY)
			fail(shared, "lock %d: %d", shared->count, id);
		else
			shared->ids[shared->count++] = id;
	}
}

/* Letting go takes no memory. */
static void unlock_all(struct shared *shared, int fd)
{
	for (int i = 0; i < shared->count; i++) {
		int error = unlock(fd, shared->ids[i], 0);

		if (error)
			fail(shared, "unlock %d: %d", i, error);
		expect(shared, i, "EUNLOCK", hear(fd, shared->ids[i]));
	}
}

static void use_up_and_let_go(struct shared *shared, const char *lockspace)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK), last;

	enter_group(true);
	lock_all(shared, fd);
	last = shared->count - 1;
	reach(shared, 1);
	await_stage(shared, 2);
	for (int i = 0; i <= last; i++)
		expect(shared, i, "granted", hear(fd, shared->ids[i]));
	expect(shared, 0, "blocks EX", hear(fd, shared->ids[0]));
	expect(shared, last, "blocks EX", hear(fd, shared->ids[last]));
	expect(shared, last, "nothing", hear(fd, 0));
	unlock_all(shared, fd);
	reach(shared, 3);
	await_stage(shared, 4);
	shared->count = 0;
	lock_all(shared, fd);
	if (shared->count < last / 2)
		fail(shared, "after %d locks there is room for %d", last, shared->count);
	_exit(0);
}

static void leave_unread(struct shared *shared, const char *lockspace)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK);
	int id = lock(fd, NL, 0, "r");
	int error = 0, asked = 1;

	enter_group(true);
	for (; !error; asked += !error)
		error = convert(fd, id, NL, 0);
	if (error != -ENOMEM)
		fail(shared, "conversion %d: %d", asked, error);
	shared->count = asked;
	for (; asked; asked--)
		expect(shared, asked, "granted", hear(fd, id));
	expect(shared, asked, "nothing", hear(fd, id));
	error = convert(fd, id, EX, 0);
	if (error)
		fail(shared, "conversion when all was read: %d", error);
	expect(shared, asked, "granted", hear(fd, id));
	_exit(0);
}

/* Half of the locks stay when their program goes. */
static void lock_all_until_killed(struct shared *shared, const char *lockspace)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK);

	enter_group(false);
	for (int refusals = 0; refusals < REFUSALS;) {
		int id = lock(fd, EX, DLM_LKF_PERSISTENT * (shared->count % 2), numbered("pressure", shared->count));

		if (id == -ENOMEM)
			refusals++;
		else if (id <= 0)
			fail(shared, "lock %d: %d", shared->count, id);
		else
			shared->count++;
	}
	reach(shared, 1);
	for (;;)
		pause();
}

static void hold_and_read_late(struct shared *shared, const char *lockspace)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK);

	enter_group(true);
	lock_all(shared, fd);
	reach(shared, 1);
	await_stage(shared, 2);
	for (int i = 0; i < shared->count; i++)
		expect(shared, i, "granted", hear(fd, shared->ids[i]));
	expect(shared, shared->count, "read: ENODEV", hear(fd, 0));
	reach(shared, 3);
	await_stage(shared, 4);
	_exit(0);
}

static void create_lockspaces(struct shared *shared)
{
	int control = open_control();

	enter_group(true);
	for (int refusals = 0; refusals < REFUSALS;) {
		int minor = create_lockspace(control, numbered("pressure", shared->count), DLM_LSFL_NEWEXCL);

		if (minor == -ENOMEM)
			refusals++;
		else if (minor <= 0)
			fail(shared, "lockspace %d: %d", shared->count, minor);
		else
			shared->ids[shared->count++] = minor;
	}
	for (int i = 0; i < shared->count; i++)
		if (remove_lockspace(control, shared->ids[i], 0))
			fail(shared, "lockspace %d cannot be removed", i);
	_exit(0);
}

/* ---- Outside ------------------------------------------------------------------------------- */

#define CONFINE(program, ...) \
do { \
	self->child = spawn(); \
	if (!self->child) \
		program(self->shared, ##__VA_ARGS__); \
} while (0)

#define AWAIT_STAGE(stage) \
	ASSERT_TRUE(await_stage(self->shared, stage)) TH_LOG("%s", self->shared->wrong)

#define ASSERT_ENDED_WELL() \
do { \
	EXPECT_EQ(0, expect_child(self->child)); \
	ASSERT_STREQ("", self->shared->wrong); \
	EXPECT_GT(EVENTS("max"), 0); \
	ASSERT_EQ(0, EVENTS("oom_kill")); \
} while (0)

/* The memory is back as soon as all is over. */
#define ASSERT_MEMORY_IS_BACK() \
do { \
	long _kb; \
	for (int _patience = PATIENCE_MS; _patience; _patience -= 10) { \
		_kb = group_value(GROUP "memory.current", NULL) / 1024; \
		if (_kb < TOLERATED_KB) \
			break; \
		usleep(10000); \
	} \
	TH_LOG("%d were had, %ld kB are left", self->shared->count, _kb); \
	ASSERT_LT(_kb, TOLERATED_KB); \
} while (0)

TEST_F_TIMEOUT(pressure, no_lock_when_memory_is_used_up, 300)
{
	int first, last;

	CONFINE(use_up_and_let_go, self->ls.name);
	AWAIT_STAGE(1);
	ASSERT_GT(self->shared->count, 1000);
	for (int i = 0; i < 1000; i++)
		UNLOCK(self->fd, HOLD(self->fd, EX, WITH_BAST, numbered("outside", i)));
	ASSERT_FREE(self->fd, numbered("pressure", self->shared->count), EX);
	first = WAIT(self->fd, EX, 0, numbered("pressure", 0));
	last = WAIT(self->fd, EX, 0, numbered("pressure", self->shared->count - 1));
	reach(self->shared, 2);
	AWAIT_STAGE(3);
	ASSERT_HEAR(self->fd, first, "granted");
	ASSERT_HEAR(self->fd, last, "granted");
	UNLOCK(self->fd, first);
	UNLOCK(self->fd, last);
	reach(self->shared, 4);
	ASSERT_ENDED_WELL();
	ASSERT_MEMORY_IS_BACK();
	close(self->fd);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
}

TEST_F_TIMEOUT(pressure, no_record_is_lost, 300)
{
	CONFINE(leave_unread, self->ls.name);
	ASSERT_ENDED_WELL();
	ASSERT_GT(self->shared->count, 1000);
	ASSERT_MEMORY_IS_BACK();
}

/* However much the killer would like to: only a program's own memory is worth a killing. */
TEST_F_TIMEOUT(pressure, nobody_is_killed_for_locks, 300)
{
	int waiter;

	CONFINE(lock_all_until_killed, self->ls.name);
	AWAIT_STAGE(1);
	ASSERT_GT(self->shared->count, 1000);
	EXPECT_GT(EVENTS("max"), 0);
	ASSERT_EQ(0, EVENTS("oom_kill"));
	waiter = WAIT(self->fd, EX, 0, numbered("pressure", 0));
	kill(self->child, SIGKILL);
	ASSERT_EQ(-1, expect_child(self->child));
	ASSERT_AWAIT(self->fd, waiter, "granted");
	UNLOCK(self->fd, waiter);
	/* Its orphans outlive it, and keep their memory. */
	for (int i = 0; i < 1000; i += 2) {
		ASSERT_FREE(self->fd, numbered("pressure", i), EX);
		ASSERT_TAKEN(self->fd, numbered("pressure", i + 1), CR);
	}
	ASSERT_EQ(0, purge(self->fd, self->child));
	close(self->fd);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
	ASSERT_MEMORY_IS_BACK();
}

/*
 * Locks go with the lockspace, though its file stays open, and what they had to tell when it is
 * read.
 */
TEST_F_TIMEOUT(pressure, removed_by_force, 300)
{
	long full;

	CONFINE(hold_and_read_late, self->ls.name);
	AWAIT_STAGE(1);
	ASSERT_GT(self->shared->count, 1000);
	full = group_value(GROUP "memory.current", NULL);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
	EXPECT_LT(group_value(GROUP "memory.current", NULL), full * 3 / 4);
	reach(self->shared, 2);
	AWAIT_STAGE(3);
	ASSERT_MEMORY_IS_BACK();
	reach(self->shared, 4);
	ASSERT_ENDED_WELL();
}

TEST_F_TIMEOUT(pressure, no_lockspace_when_memory_is_used_up, 300)
{
	CONFINE(create_lockspaces);
	ASSERT_ENDED_WELL();
	ASSERT_GT(self->shared->count, 10);
	ASSERT_MEMORY_IS_BACK();
}

TEST_HARNESS_MAIN
