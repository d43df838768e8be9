// SPDX-License-Identifier: GPL-2.0
/* What /proc/PID/fdinfo tells of an open lockspace. fs/dlm adds nothing there. */
#include <stdio.h>
#include <sys/mman.h>
#include "dlm_test.h"

FIXTURE(fdinfo) { struct lockspace ls; int fd, other; };

FIXTURE_SETUP(fdinfo)
{
	SKIP_ON_REFERENCE("tells nothing");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
	ASSERT_GE(self->other, 0);
}

FIXTURE_TEARDOWN(fdinfo) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

static const char *fdinfo_of(pid_t pid, int fd)
{
	static char text[2000];
	size_t length = 0;
	FILE *f;

	snprintf(text, sizeof(text), "/proc/%d/fdinfo/%d", pid, fd);
	f = fopen(text, "re");
	if (f) {
		length = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[length] = 0;
	return text;
}

/* The part that is not every file's. */
static const char *lockspace_of(pid_t pid, int fd)
{
	return strstr(fdinfo_of(pid, fd), "\nlockspace:") ?: "";
}

#define ASSERT_FDINFO(fd, granted, waiting, converting, records) \
do { \
	char _expected[300]; \
	snprintf(_expected, sizeof(_expected), "\nlockspace:\t%s\n" \
		 "granted:\t%d\nwaiting:\t%d\nconverting:\t%d\nrecords:\t%d\n", \
		 self->ls.name, granted, waiting, converting, records); \
	ASSERT_STREQ(_expected, lockspace_of(getpid(), fd)); \
} while (0)

TEST_F(fdinfo, follows_what_every_file_has)
{
	ASSERT_EQ(0, strncmp("pos:\t0\nflags:\t", fdinfo_of(getpid(), self->fd), 14));
	ASSERT_FDINFO(self->fd, 0, 0, 0, 0);
}

TEST_F(fdinfo, granted)
{
	int one = HOLD(self->fd, EX, 0, "r"), two = HOLD(self->fd, PR, 0, "s");

	ASSERT_FDINFO(self->fd, 2, 0, 0, 0);
	CONVERT(self->fd, one, PW, 0, "granted");
	ASSERT_FDINFO(self->fd, 2, 0, 0, 0);
	UNLOCK(self->fd, one);
	ASSERT_FDINFO(self->fd, 1, 0, 0, 0);
	UNLOCK(self->fd, two);
	ASSERT_FDINFO(self->fd, 0, 0, 0, 0);
}

TEST_F(fdinfo, waiting)
{
	int holder = HOLD(self->other, EX, 0, "r");
	int one = WAIT(self->fd, EX, 0, "r"), two = WAIT(self->fd, EX, 0, "r");
	int three = WAIT(self->fd, EX, 0, "r");

	ASSERT_FDINFO(self->fd, 0, 3, 0, 0);
	CANCEL(self->fd, two);
	ASSERT_FDINFO(self->fd, 0, 2, 0, 0);
	UNLOCK(self->fd, three);
	ASSERT_FDINFO(self->fd, 0, 1, 0, 0);
	UNLOCK(self->other, holder);
	ASSERT_FDINFO(self->fd, 1, 0, 0, 1);
	ASSERT_HEAR(self->fd, one, "granted");
	ASSERT_FDINFO(self->fd, 1, 0, 0, 0);
	LOCK(self->other, EX, DLM_LKF_NOQUEUE, "r", "EAGAIN");
	ASSERT_FDINFO(self->other, 0, 0, 0, 0);
}

TEST_F(fdinfo, converting)
{
	int holder = HOLD(self->other, CR, 0, "r");
	int one = HOLD(self->fd, CR, 0, "r"), two = HOLD(self->fd, NL, 0, "r");

	CONVERT(self->fd, one, EX, DLM_LKF_NOQUEUE, "EAGAIN");
	ASSERT_FDINFO(self->fd, 2, 0, 0, 0);
	CONVERT(self->fd, one, EX, 0, "nothing");
	ASSERT_FDINFO(self->fd, 1, 0, 1, 0);
	CONVERT(self->fd, two, EX, 0, "nothing");
	ASSERT_FDINFO(self->fd, 0, 0, 2, 0);
	CANCEL(self->fd, two);
	ASSERT_FDINFO(self->fd, 1, 0, 1, 0);
	CONVERT(self->fd, two, EX, 0, "nothing");
	UNLOCK_WITH(self->fd, two, DLM_LKF_FORCEUNLOCK, "EUNLOCK");
	ASSERT_FDINFO(self->fd, 0, 0, 1, 0);
	UNLOCK(self->other, holder);
	ASSERT_FDINFO(self->fd, 1, 0, 0, 1);
}

/* As many as can be read. */
TEST_F(fdinfo, records)
{
	int id = lock(self->fd, EX, WITH_BAST, "r");

	ASSERT_FDINFO(self->fd, 1, 0, 0, 1);
	WAIT(self->other, PR, 0, "r");
	ASSERT_FDINFO(self->fd, 1, 0, 0, 2);
	WAIT(self->other, EX, 0, "r");
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_HEAR(self->fd, id, "blocks PR");
	ASSERT_FDINFO(self->fd, 1, 0, 0, 1);
	ASSERT_HEAR(self->fd, id, "blocks EX");
	ASSERT_FDINFO(self->fd, 1, 0, 0, 0);
	ASSERT_EQ(0, unlock(self->fd, id, 0));
	ASSERT_FDINFO(self->fd, 0, 0, 0, 1);
	ASSERT_HEAR(self->fd, id, "EUNLOCK");
	ASSERT_HEAR(self->fd, id, "nothing");
	ASSERT_FDINFO(self->fd, 0, 0, 0, 0);
}

/* A record that could not be copied out still waits. */
TEST_F(fdinfo, unreadable_records)
{
	void *hole = mmap(NULL, sizeof(struct record), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int id = lock(self->fd, EX, 0, "r");

	ASSERT_EQ(-1, read(self->fd, hole, sizeof(struct record)));
	ASSERT_FDINFO(self->fd, 1, 0, 0, 1);
	ASSERT_HEAR(self->fd, id, "granted");
}

/* Whoever works on a lock, it is its owner's. */
TEST_F(fdinfo, only_its_own)
{
	int id = HOLD(self->fd, PR, 0, "r");

	HOLD(self->other, PR, 0, "r");
	ASSERT_EQ(0, convert(self->other, id, EX, 0));
	ASSERT_FDINFO(self->fd, 0, 0, 1, 0);
	ASSERT_FDINFO(self->other, 1, 0, 0, 0);
	ASSERT_EQ(0, unlock(self->other, id, 0));
	ASSERT_FDINFO(self->fd, 0, 0, 0, 1);
	ASSERT_FDINFO(self->other, 1, 0, 0, 0);
}

TEST_F(fdinfo, orphans)
{
	int id = HOLD(self->other, EX, DLM_LKF_PERSISTENT, "r");

	close(self->other);
	ASSERT_FDINFO(self->fd, 0, 0, 0, 0);
	ASSERT_EQ(id, adopt(self->fd, EX, DLM_LKF_PERSISTENT, "r"));
	ASSERT_FDINFO(self->fd, 1, 0, 0, 0);
	lock(self->fd, EX, 0, "r");
	ASSERT_FDINFO(self->fd, 1, 1, 0, 0);
	ASSERT_EQ(0, purge(self->fd, gettid()));
	ASSERT_FDINFO(self->fd, 0, 0, 0, 0);
}

TEST_F(fdinfo, many)
{
	for (int i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		ASSERT_GT(lock(self->fd, EX, 0, name), 0);
		ASSERT_GT(lock(self->fd, EX, 0, name), 0);
	}
	ASSERT_FDINFO(self->fd, 1000, 1000, 0, 1000);
}

TEST_F(fdinfo, of_another_process)
{
	pid_t child = spawn();
	char expected[300];

	if (!child) {
		pause();
		_exit(0);
	}
	HOLD(self->fd, EX, 0, "r");
	snprintf(expected, sizeof(expected), "%s", lockspace_of(getpid(), self->fd));
	ASSERT_STREQ(expected, lockspace_of(child, self->fd));
	kill(child, SIGKILL);
	ASSERT_EQ(-1, expect_child(child));
}

/* A name cannot be taken for a line, nor for an escape. */
TEST_F(fdinfo, odd_names)
{
	static const struct { const char *name, *shown; } names[] = {
		{ "back\\slash", "back\\134slash" },
		{ "\xc3\xa9t\xc3\xa9", "\\303\\251t\\303\\251" },
		{ "\xff", "\\377" },
		{ "a.b-c_d~\"'", "a.b-c_d~\"'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int minor = create_lockspace(self->ls.control, names[i].name, DLM_LSFL_NEWEXCL), fd;
		char expected[300];

		ASSERT_GT(minor, 0);
		fd = open_lockspace(names[i].name, 0);
		ASSERT_GE(fd, 0);
		snprintf(expected, sizeof(expected), "\nlockspace:\t%s\ngranted:\t0\n", names[i].shown);
		ASSERT_EQ(0, strncmp(expected, lockspace_of(getpid(), fd), strlen(expected)))
			TH_LOG("%s", lockspace_of(getpid(), fd));
		close(fd);
		ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, 0));
	}
}

TEST_F(fdinfo, of_a_lockspace_that_is_gone)
{
	char expected[300];

	HOLD(self->fd, EX, 0, "r");
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
	snprintf(expected, sizeof(expected),
		 "\nlockspace:\t%s\ngranted:\t0\nwaiting:\t0\nconverting:\t0\n", self->ls.name);
	ASSERT_EQ(0, strncmp(expected, lockspace_of(getpid(), self->fd), strlen(expected)))
		TH_LOG("%s", lockspace_of(getpid(), self->fd));
}

/* The names of the lines, one after the other. */
static void keys(const char *text, char *to)
{
	for (; *text; text = strchr(text, '\n') + 1) {
		size_t length = strcspn(text, ":");

		memcpy(to, text, length);
		to += length;
		*to++ = ' ';
	}
	*to = 0;
}

TEST_F(fdinfo, of_the_other_devices)
{
	int plain = open("/dev/null", O_RDONLY), monitor = open(device("-monitor"), O_RDONLY);
	char expected[2000], found[2000];

	keys(fdinfo_of(getpid(), plain), expected);
	keys(fdinfo_of(getpid(), self->ls.control), found);
	EXPECT_STREQ(expected, found);
	keys(fdinfo_of(getpid(), monitor), found);
	EXPECT_STREQ(expected, found);
}

TEST_HARNESS_MAIN
