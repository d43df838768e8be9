// SPDX-License-Identifier: GPL-2.0
/* What /proc/PID/fdinfo tells of an open lockspace. fs/dlm adds nothing there. */
#include <stdio.h>
#include <sys/file.h>
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
	static char text[32768];
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

/* The file's number; 0 if there is none. */
static unsigned long long number_of(pid_t pid, int fd)
{
	const char *line = strstr(lockspace_of(pid, fd), "\nfile:\t");
	unsigned long long number = 0;

	return line && sscanf(line, "\nfile:\t%llu\n", &number) == 1 ? number : 0;
}

/* What follows the counts. */
static const char *locks_of(int fd)
{
	const char *records = strstr(lockspace_of(getpid(), fd), "\nrecords:\t");

	return records ? strchr(records + 1, '\n') + 1 : "";
}

/* How many there are of a line. */
static int lines_of(const char *text, const char *begin)
{
	int lines = 0;

	for (; *text; text = strchr(text, '\n') + 1)
		lines += !strncmp(text, begin, strlen(begin));
	return lines;
}

#define ASSERT_FDINFO(fd, granted, waiting, converting, records) \
do { \
	char _expected[300]; \
	snprintf(_expected, sizeof(_expected), "\nlockspace:\t%s\nfile:\t%llu\n" \
		 "granted:\t%d\nwaiting:\t%d\nconverting:\t%d\nrecords:\t%d\n", \
		 self->ls.name, number_of(getpid(), fd), granted, waiting, converting, records); \
	ASSERT_EQ(0, strncmp(_expected, lockspace_of(getpid(), fd), strlen(_expected))) \
		TH_LOG("expected%s, found%s", _expected, lockspace_of(getpid(), fd)); \
	ASSERT_LISTED(fd, (granted) + (waiting) + (converting)); \
} while (0)

/* So many are told about one by one, at most. */
#define LOCKS_TOLD	64

/* All locks are told about, or counted. */
#define ASSERT_LISTED(fd, locks) \
do { \
	int _told = (locks) < LOCKS_TOLD ? (locks) : LOCKS_TOLD; \
	const char *_text = locks_of(fd); \
	char _rest[40]; \
	snprintf(_rest, sizeof(_rest), "unlisted:\t%d\n", (locks) - _told); \
	ASSERT_EQ(_told, lines_of(_text, "lkid:\t")); \
	ASSERT_EQ(_told + 1, lines_of(_text, "")); \
	ASSERT_STREQ(_rest, strstr(_text, "unlisted:")); \
} while (0)

/* There is such a line. */
#define ASSERT_TELLS(fd, format, ...) \
do { \
	char _line[400]; \
	snprintf(_line, sizeof(_line), "\n" format "\n", ##__VA_ARGS__); \
	ASSERT_NE(NULL, strstr(lockspace_of(getpid(), fd), _line)) \
		TH_LOG("there is no%s in%s", _line, lockspace_of(getpid(), fd)); \
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
	ASSERT_TELLS(self->fd, "lkid:\t%x granted EX - r", id);
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

/* ---- The file's number ----------------------------------------------------------------------- */

TEST_F(fdinfo, a_number_for_each_open)
{
	unsigned long long number = number_of(getpid(), self->fd), other;
	pid_t child = spawn();
	int copy;

	if (!child) {
		pause();
		_exit(0);
	}
	ASSERT_NE(0, number);
	copy = dup(self->fd);
	ASSERT_GE(copy, 0);
	ASSERT_EQ(number, number_of(getpid(), copy));
	ASSERT_EQ(number, number_of(child, self->fd));
	other = number_of(getpid(), self->other);
	ASSERT_GT(other, number);
	close(self->other);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_GT(number_of(getpid(), self->other), other);
}

/* ---- Locks one by one ------------------------------------------------------------------------ */

/* On one resource they are in the order in which they were made. */
TEST_F(fdinfo, locks)
{
	int holder = HOLD(self->other, CR, 0, "r");
	int granted = HOLD(self->fd, CR, 0, "r"), converting = HOLD(self->fd, NL, 0, "r");
	int waiting = WAIT(self->fd, EX, 0, "r");
	char expected[300];

	CONVERT(self->fd, converting, EX, 0, "nothing");
	snprintf(expected, sizeof(expected),
		 "lkid:\t%x granted CR - r\nlkid:\t%x converting NL EX r\nlkid:\t%x waiting - EX r\n"
		 "unlisted:\t0\n", granted, converting, waiting);
	ASSERT_STREQ(expected, locks_of(self->fd));
	snprintf(expected, sizeof(expected), "lkid:\t%x granted CR - r\nunlisted:\t0\n", holder);
	ASSERT_STREQ(expected, locks_of(self->other));
}

TEST_F(fdinfo, modes)
{
	for (int mode = 0; mode < MODES; mode++) {
		int id = HOLD(self->fd, mode, 0, mode_name[mode]);

		ASSERT_TELLS(self->fd, "lkid:\t%x granted %s - %s", id, mode_name[mode], mode_name[mode]);
	}
}

TEST_F(fdinfo, names_of_locks)
{
	static const struct { int length; const char *name, *shown; } names[] = {
		{ 0, "", "" }, { 1, "r", "r" }, { 10, "with space", "with\\040space" },
		{ 9, "a\nb\rc\td\x1b\x7f", "a\\012b\\015c\\011d\\033\\177" },
		{ 9, "zero\0zero", "zero\\000zero" }, { 6, "\\\"'%s#", "\\134\"'%s#" },
		{ 4, "\xc3\xa9\x80\xff", "\\303\\251\\200\\377" },
		{ 20, "\nlkid:\t1 granted EX ", "\\012lkid:\\0111\\040granted\\040EX\\040" },
		{ 64, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct request r = lock_request(EX, 0, "");
		int id;

		r.req.i.lock.namelen = names[i].length;
		memcpy(r.req.i.lock.name, names[i].name, names[i].length);
		r.size += names[i].length;
		id = submit(self->fd, r);
		ASSERT_HEAR(self->fd, id, "granted");
		ASSERT_TELLS(self->fd, "lkid:\t%x granted EX - %s", id, names[i].shown);
	}
	ASSERT_LISTED(self->fd, (int)ARRAY_SIZE(names));
}

/* As many as there may be, and one more. */
TEST_F(fdinfo, as_many_as_are_told)
{
	for (int i = 0; i < LOCKS_TOLD + 2; i++) {
		ASSERT_FDINFO(self->fd, i, 0, 0, 0);
		HOLD(self->fd, EX, 0, numbered("", i));
	}
	ASSERT_TELLS(self->fd, "unlisted:\t2");
}

/* Few of many, each once; however many there are, the text is no longer for that. */
TEST_F(fdinfo, few_of_many)
{
	enum { MANY = 10000 };
	static int ids[MANY], told[MANY];
	const char *at;

	for (int i = 0; i < MANY; i++)
		ids[i] = HOLD(self->fd, i % 2 ? EX : NL, 0, numbered("name ", i));
	ASSERT_FDINFO(self->fd, MANY, 0, 0, 0);
	ASSERT_LT(strlen(lockspace_of(getpid(), self->fd)), LOCKS_TOLD * 48);
	for (at = locks_of(self->fd); !strncmp(at, "lkid:\t", 6); at = strchr(at, '\n') + 1) {
		int id = strtoul(at + 6, NULL, 16), place = 0;

		while (place < MANY && ids[place] != id)
			place++;
		ASSERT_LT(place, MANY) TH_LOG("is not held: %s", at);
		ASSERT_EQ(0, told[place]++) TH_LOG("is told twice: %s", at);
	}
}

/* The longest text there can be is whole, and in whatever pieces it is read. */
TEST_F(fdinfo, the_longest)
{
	char name[DLM_RESNAME_MAXLEN + 1] = "", path[64], part[1000], whole[32768];
	int file, n;

	memset(name, '\xff', DLM_RESNAME_MAXLEN);
	for (int i = 0; i < LOCKS_TOLD; i++) {
		name[0] = i + 1;
		HOLD(self->fd, EX, 0, name);
	}
	snprintf(whole, sizeof(whole), "%s", fdinfo_of(getpid(), self->fd));
	ASSERT_GT(strlen(whole), LOCKS_TOLD * DLM_RESNAME_MAXLEN * 4);
	ASSERT_FDINFO(self->fd, LOCKS_TOLD, 0, 0, 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->fd);
	file = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t at = 0; at < strlen(whole); at += n) {
		n = read(file, part, sizeof(part));
		ASSERT_GT(n, 0);
		ASSERT_EQ(0, memcmp(whole + at, part, n)) TH_LOG("%d bytes at %zu", n, at);
	}
	ASSERT_EQ(0, read(file, part, sizeof(part)));
}

/* A lock of the kernel's other kind has lines there that begin otherwise. */
TEST_F(fdinfo, beside_a_flock)
{
	int id = HOLD(self->fd, EX, 0, "r");

	ASSERT_EQ(0, flock(self->fd, LOCK_EX));
	ASSERT_EQ(1, lines_of(fdinfo_of(getpid(), self->fd), "lock:\t"));
	ASSERT_FDINFO(self->fd, 1, 0, 0, 0);
	ASSERT_TELLS(self->fd, "lkid:\t%x granted EX - r", id);
}

/* ---- Names, and what is no lockspace --------------------------------------------------------- */

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
		snprintf(expected, sizeof(expected), "\nlockspace:\t%s\nfile:\t%llu\n", names[i].shown,
			 number_of(getpid(), fd));
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
		 "\nlockspace:\t%s\nfile:\t%llu\ngranted:\t0\nwaiting:\t0\nconverting:\t0\n",
		 self->ls.name, number_of(getpid(), self->fd));
	ASSERT_EQ(0, strncmp(expected, lockspace_of(getpid(), self->fd), strlen(expected)))
		TH_LOG("%s", lockspace_of(getpid(), self->fd));
	ASSERT_LISTED(self->fd, 0);
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
