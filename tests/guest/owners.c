// SPDX-License-Identifier: GPL-2.0
/* Who keeps a lock: what debugfs tells of all locks' owners and of all open files. fs/dlm does not. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include "dlm_test.h"
#include "tables.h"

/* ---- The tables as words ------------------------------------------------------------------------- */

enum { COLUMNS = 8, WORD = 300 };

struct line { char word[COLUMNS][WORD]; };

enum { OWNERS, FILES };

static const struct { const char *name, *heading; } tables[] = {
	[OWNERS] = { "owners", "lock file lockspace pid state granted requested name\n" },
	[FILES] = { "files", "file lockspace granted waiting converting records pid command\n" },
};

/* Columns. Those of the lockspace and the process are not the same in both. */
enum { ID, OWNER, STATE = 4, NAME = 7 };
enum { NUMBER, GRANTED = 2, RECORDS = 5, COMMAND = 7 };
static const int lockspace_of[] = { [OWNERS] = 2, [FILES] = 1 }, pid_of[] = { [OWNERS] = 3, [FILES] = 6 };

/* As many words as there are columns, a space between two; only the last may be empty. */
static bool parse(char *text, struct line *line)
{
	for (int i = 0; i < COLUMNS; i++) {
		size_t length = strcspn(text, i == COLUMNS - 1 ? " \n" : " ");

		if (length >= WORD || (!length && i < COLUMNS - 1) ||
		    text[length] != (i == COLUMNS - 1 ? '\n' : ' '))
			return false;
		memcpy(line->word[i], text, length);
		line->word[i][length] = 0;
		text += length + 1;
	}
	return !*text;
}

/* The next line that is about a lockspace; whether there is one. One that is none is all in its first word. */
static bool next_line(FILE *file, int table, const char *lockspace, struct line *line)
{
	char text[COLUMNS * WORD];

	while (fgets(text, sizeof(text), file)) {
		if (!strcmp(tables[table].heading, text))
			continue;
		if (!parse(text, line)) {
			*line = (struct line) { 0 };
			snprintf(line->word[0], WORD, "no line: %.200s", text);
			return true;
		}
		if (!strcmp(lockspace, line->word[lockspace_of[table]]))
			return true;
	}
	return false;
}

/* The only line that begins with this word, or else what is wrong. */
static struct line find_line(int table, const char *lockspace, const char *first)
{
	struct line found = { { "there is none" } }, line;
	FILE *file = open_common(tables[table].name);
	int count = 0;

	while (next_line(file, table, lockspace, &line)) {
		bool broken = !strncmp("no line", line.word[0], 7);

		if (!broken && strcmp(first, line.word[0]))
			continue;
		found = line;
		if (broken)
			break;
		if (count++)
			strcpy(found.word[0], "there are several");
	}
	fclose(file);
	return found;
}

/* Some words of a line. */
static const char *words(const struct line *line, int from, int to)
{
	static char text[COLUMNS * WORD];

	*text = 0;
	for (int i = from; i <= to; i++)
		snprintf(text + strlen(text), WORD + 1, "%s%s", i > from ? " " : "", line->word[i]);
	return text;
}

static int count_lines(int table, const char *lockspace)
{
	FILE *file = open_common(tables[table].name);
	struct line line;
	int count = 0;

	while (next_line(file, table, lockspace, &line))
		count++;
	fclose(file);
	return count;
}

/* The number of an open file, by what its process knows of it. */
static unsigned long long number_of(pid_t pid, int fd)
{
	unsigned long long number = 0;
	char line[4 * WORD];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/fdinfo/%d", pid, fd);
	f = fopen(line, "re");
	while (f && !number && fgets(line, sizeof(line), f))
		sscanf(line, "file:\t%llu\n", &number);
	if (f)
		fclose(f);
	return number;
}

FIXTURE(owners) { struct lockspace ls; int fd, other; };

FIXTURE_SETUP(owners)
{
	SKIP_ON_REFERENCE("does not tell");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
	ASSERT_GE(self->other, 0);
}

FIXTURE_TEARDOWN(owners) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

#define LINE(table, format, first) \
({ \
	char _first[32]; \
	struct line _line; \
	snprintf(_first, sizeof(_first), format, first); \
	_line = find_line(table, self->ls.name, _first); \
	ASSERT_STREQ(_first, _line.word[0]); \
	_line; \
})
#define LOCK_LINE(id)		LINE(OWNERS, "%x", id)
#define FILE_LINE(number)	LINE(FILES, "%llu", number)

#define ASSERT_WORDS(expected, where, from, to) \
do { \
	struct line _words = (where); \
	ASSERT_STREQ(expected, words(&_words, from, to)); \
} while (0)

#define ASSERT_LOCK(id, expected)	ASSERT_WORDS(expected, LOCK_LINE(id), STATE, NAME)
#define ASSERT_FILE(number, expected)	ASSERT_WORDS(expected, FILE_LINE(number), GRANTED, RECORDS)

/* Whose a lock is, by the number of an open file; 0 if it is an orphan. */
#define OWNER_OF(id) \
({ \
	struct line _lock = LOCK_LINE(id); \
	unsigned long long _owner = strtoull(_lock.word[OWNER], NULL, 10); \
	if (!_owner) \
		ASSERT_STREQ("orphan", _lock.word[OWNER]); \
	_owner; \
})
#define PID_IN(table, where)	atoi((where).word[pid_of[table]])

#define ASSERT_NO_LINE(table, format, first) \
do { \
	char _gone[32]; \
	snprintf(_gone, sizeof(_gone), format, first); \
	ASSERT_STREQ("there is none", find_line(table, self->ls.name, _gone).word[0]); \
} while (0)

/* ---- Locks ------------------------------------------------------------------------------------- */

TEST_F(owners, a_lock)
{
	int id = HOLD(self->fd, EX, 0, "resource");

	ASSERT_NE(0, OWNER_OF(id));
	ASSERT_EQ(number_of(getpid(), self->fd), OWNER_OF(id));
	ASSERT_EQ(getpid(), PID_IN(OWNERS, LOCK_LINE(id)));
	ASSERT_LOCK(id, "granted EX - resource");
	UNLOCK(self->fd, id);
	ASSERT_NO_LINE(OWNERS, "%x", id);
}

TEST_F(owners, states)
{
	int one = HOLD(self->fd, PR, 0, "r"), two = HOLD(self->other, PR, 0, "r");
	int three = WAIT(self->other, CW, 0, "r");

	CONVERT(self->other, two, EX, 0, "nothing");
	ASSERT_LOCK(one, "granted PR - r");
	ASSERT_LOCK(two, "converting PR EX r");
	ASSERT_LOCK(three, "waiting - CW r");
	ASSERT_EQ(number_of(getpid(), self->fd), OWNER_OF(one));
	ASSERT_EQ(number_of(getpid(), self->other), OWNER_OF(two));
	ASSERT_EQ(number_of(getpid(), self->other), OWNER_OF(three));
}

/* The pid is what purging them takes. */
TEST_F(owners, orphans)
{
	int id = HOLD(self->other, EX, DLM_LKF_PERSISTENT, "r");

	close(self->other);
	ASSERT_EQ(0, OWNER_OF(id));
	ASSERT_LOCK(id, "granted EX - r");
	ASSERT_EQ(getpid(), PID_IN(OWNERS, LOCK_LINE(id)));
	ASSERT_EQ(id, adopt(self->fd, EX, 0, "r"));
	ASSERT_EQ(number_of(getpid(), self->fd), OWNER_OF(id));
}

/* Of an orphan's conversion nobody hears, but it is seen. */
TEST_F(owners, a_converting_orphan)
{
	int id = HOLD(self->other, NL, DLM_LKF_PERSISTENT, "r");

	close(self->other);
	HOLD(self->fd, EX, 0, "r");
	ASSERT_EQ(0, convert(self->fd, id, EX, DLM_LKF_PERSISTENT));
	ASSERT_LOCK(id, "converting NL EX r");
	ASSERT_EQ(0, OWNER_OF(id));
}

TEST_F(owners, names)
{
	static const struct { int length; const char *name, *shown; } names[] = {
		{ 0, "", "" }, { 10, "with space", "with\\040space" },
		{ 3, "a\nb", "a\\012b" }, { 9, "zero\0zero", "zero\\000zero" },
		{ 2, "\\\xff", "\\134\\377" }, { 2, "\t\r", "\\011\\015" },
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
		ASSERT_WORDS(names[i].shown, LOCK_LINE(id), NAME, NAME);
	}
}

/* ---- Files ------------------------------------------------------------------------------------- */

TEST_F(owners, a_file)
{
	int holder = HOLD(self->other, CR, 0, "r"), converting;
	unsigned long long number = number_of(getpid(), self->fd);

	ASSERT_FILE(number, "0 0 0 0");
	HOLD(self->fd, CR, 0, "r");
	converting = HOLD(self->fd, NL, 0, "s");
	HOLD(self->other, EX, 0, "s");
	WAIT(self->fd, EX, 0, "r");
	CONVERT(self->fd, converting, EX, 0, "nothing");
	ASSERT_FILE(number, "1 1 1 0");
	ASSERT_GT(lock(self->fd, EX, 0, "t"), 0);
	ASSERT_FILE(number, "2 1 1 1");
	ASSERT_FILE(number_of(getpid(), self->other), "2 0 0 0");
	UNLOCK(self->other, holder);
	ASSERT_EQ(0, purge(self->fd, gettid()));
	ASSERT_FILE(number, "0 0 0 0");
	close(self->fd);
	ASSERT_NO_LINE(FILES, "%llu", number);
}

/* As it was called then. */
TEST_F(owners, who_opened_a_file)
{
	int ready[2];
	unsigned long long number;
	pid_t child;

	ASSERT_EQ(0, pipe(ready));
	child = spawn();
	if (!child) {
		int fd;

		prctl(PR_SET_NAME, "a b\nc\\\xff");
		fd = open_lockspace(self->ls.name, O_NONBLOCK);
		prctl(PR_SET_NAME, "later");
		number = number_of(getpid(), fd);
		if (write(ready[1], &number, sizeof(number)) != sizeof(number))
			_exit(1);
		pause();
	}
	ASSERT_EQ((ssize_t)sizeof(number), read(ready[0], &number, sizeof(number)));
	ASSERT_EQ(child, PID_IN(FILES, FILE_LINE(number)));
	ASSERT_WORDS("a\\040b\\012c\\134\\377", FILE_LINE(number), COMMAND, COMMAND);
}

static void *open_in_a_thread(void *lockspace)
{
	prctl(PR_SET_NAME, "thread");
	return (void *)(intptr_t)open_lockspace(lockspace, O_NONBLOCK);
}

/* The process, whichever of its threads it was. */
TEST_F(owners, a_file_of_a_thread)
{
	unsigned long long number;
	pthread_t thread;
	void *fd;

	ASSERT_EQ(0, prctl(PR_SET_NAME, "process"));
	ASSERT_EQ(0, pthread_create(&thread, NULL, open_in_a_thread, self->ls.name));
	ASSERT_EQ(0, pthread_join(thread, &fd));
	number = number_of(getpid(), (intptr_t)fd);
	ASSERT_EQ(getpid(), PID_IN(FILES, FILE_LINE(number)));
	ASSERT_WORDS("process", FILE_LINE(number), COMMAND, COMMAND);
}

/* ---- Who has the file by now --------------------------------------------------------------------- */

/* What doc/interface.md says to do: the files in /proc of the processes that have a file open. */
static const char *keepers(unsigned long long file)
{
	static char text[4096];
	char line[100];
	size_t length;
	FILE *f;

	snprintf(line, sizeof(line), "grep -lsx 'file:.%llu' /proc/[0-9]*/fdinfo/*", file);
	f = popen(line, "re");
	length = fread(text, 1, sizeof(text) - 1, f);
	text[length] = 0;
	pclose(f);
	return text;
}

/* A process opens the lockspace, locks EX on "disk", has a child, and dies. The child's pid. */
static pid_t leave_lock_to_child(const char *lockspace, int *id, int *fd, pid_t *parent)
{
	struct { int id, fd; pid_t child; } told;
	int ready[2];

	if (pipe(ready))
		return -1;
	*parent = spawn();
	if (!*parent) {
		told.fd = open_lockspace(lockspace, O_NONBLOCK);
		told.id = lock(told.fd, EX, 0, "disk");
		told.child = fork();
		if (!told.child) {
			alarm(PATIENCE_MS / 1000);
			pause();
		}
		_exit(write(ready[1], &told, sizeof(told)) != sizeof(told));
	}
	if (read(ready[0], &told, sizeof(told)) != sizeof(told) || expect_child(*parent))
		return -1;
	close(ready[0]);
	close(ready[1]);
	*id = told.id;
	*fd = told.fd;
	return told.child;
}

/*
 * The lock's line shows the asker, which is dead, but also the file; and that is who keeps it. The
 * file's line shows the dead again, as he opened it.
 */
TEST_F(owners, a_child_keeps_its_parents_lock)
{
	unsigned long long owner;
	pid_t parent, child;
	char expected[100];
	int id, fd, waiter;

	child = leave_lock_to_child(self->ls.name, &id, &fd, &parent);
	ASSERT_GT(child, 0);
	waiter = WAIT(self->fd, EX, 0, "disk");
	owner = OWNER_OF(id);
	ASSERT_EQ(parent, PID_IN(OWNERS, LOCK_LINE(id)));
	ASSERT_EQ(parent, PID_IN(FILES, FILE_LINE(owner)));
	ASSERT_FILE(owner, "1 0 0 1");
	snprintf(expected, sizeof(expected), "/proc/%d/fdinfo/%d\n", child, fd);
	ASSERT_STREQ(expected, keepers(owner));
	kill(child, SIGKILL);
	ASSERT_AWAIT(self->fd, waiter, "granted");
	ASSERT_STREQ("", keepers(owner));
}

/* In a message that nobody has received, a file is no process's. It is told who opened it. */
TEST_F(owners, a_file_in_a_message)
{
	union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	struct iovec byte = { "", 1 };
	struct msghdr message = { .msg_iov = &byte, .msg_iovlen = 1,
				  .msg_control = &control, .msg_controllen = sizeof(control) };
	int id = HOLD(self->fd, EX, 0, "r"), ends[2];
	unsigned long long number = number_of(getpid(), self->fd);

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&control.header), &self->fd, sizeof(int));
	ASSERT_EQ(1, sendmsg(ends[0], &message, 0));
	close(self->fd);
	ASSERT_EQ(number, OWNER_OF(id));
	ASSERT_STREQ("", keepers(number));
	ASSERT_EQ(getpid(), PID_IN(FILES, FILE_LINE(number)));
	close(ends[0]);
	close(ends[1]);
	ASSERT_NO_LINE(OWNERS, "%x", id);
	ASSERT_NO_LINE(FILES, "%llu", number);
}

/* ---- The tables ---------------------------------------------------------------------------------- */

TEST_F(owners, all_lockspaces)
{
	enum { SPACES = 5 };
	int minor[SPACES];

	HOLD(self->fd, EX, 0, "r");
	for (int i = 0; i < SPACES; i++) {
		int fd;

		minor[i] = create_lockspace(self->ls.control, numbered("space\xff", i), DLM_LSFL_NEWEXCL);
		ASSERT_GT(minor[i], 0);
		fd = open_lockspace(numbered("space\xff", i), O_NONBLOCK);
		for (int held = 0; held < i; held++)
			HOLD(fd, CR, 0, "r");
	}
	ASSERT_EQ(0, remove_lockspace(self->ls.control, minor[2], DLM_USER_LSFLG_FORCEFREE));
	for (int i = 0; i < SPACES; i++) {
		ASSERT_EQ(i == 2 ? 0 : i, count_lines(OWNERS, numbered("space\\377", i)));
		ASSERT_EQ(i == 2 ? 0 : 1, count_lines(FILES, numbered("space\\377", i)));
		if (i != 2)
			ASSERT_EQ(0, remove_lockspace(self->ls.control, minor[i], DLM_USER_LSFLG_FORCEFREE));
	}
	ASSERT_EQ(1, count_lines(OWNERS, self->ls.name));
	ASSERT_EQ(2, count_lines(FILES, self->ls.name));
}

/* Both begin with what their columns are, and are the same however they are read. */
TEST_F(owners, read_in_any_way)
{
	for (int i = 0; i < 200; i++) {
		HOLD(self->fd, EX, 0, numbered("name ", i));
		ASSERT_GE(open_lockspace(self->ls.name, 0), 0);
	}
	for (int table = OWNERS; table <= FILES; table++) {
		static char whole[65536], part[100];
		FILE *file = open_common(tables[table].name);
		size_t size = fread(whole, 1, sizeof(whole), file);
		ssize_t n;

		ASSERT_GT(size, 4096);
		ASSERT_EQ(0, strncmp(tables[table].heading, whole, strlen(tables[table].heading)));
		for (size_t step = 7; step <= sizeof(part); step += 31) {
			ASSERT_EQ(0, lseek(fileno(file), 0, SEEK_SET));
			for (size_t at = 0; at < size; at += n) {
				n = read(fileno(file), part, step);
				ASSERT_GT(n, 0);
				ASSERT_EQ(0, memcmp(part, whole + at, n))
					TH_LOG("%s: %zd bytes at %zu", tables[table].name, n, at);
			}
			ASSERT_EQ(0, read(fileno(file), part, step));
		}
		for (size_t at = size - 1; at > 1009; at -= 1009) {
			n = pread(fileno(file), part, sizeof(part), at);
			ASSERT_GT(n, 0);
			ASSERT_EQ(0, memcmp(part, whole + at, n))
				TH_LOG("%s: at %zu", tables[table].name, at);
		}
		fclose(file);
	}
}

/* Who is in the middle of a lockspace that goes has the others all the same. */
TEST_F(owners, a_lockspace_goes_while_it_is_shown)
{
	int minor = create_lockspace(self->ls.control, "later", DLM_LSFL_NEWEXCL);
	int fd = open_lockspace("later", O_NONBLOCK);
	FILE *file[2];
	struct line line;

	ASSERT_GT(minor, 0);
	HOLD(fd, EX, 0, "r");
	for (int i = 0; i < 500; i++) {
		HOLD(self->fd, EX, 0, numbered("", i));
		ASSERT_GE(open_lockspace(self->ls.name, 0), 0);
	}
	for (int table = OWNERS; table <= FILES; table++) {
		file[table] = open_common(tables[table].name);
		ASSERT_TRUE(next_line(file[table], table, self->ls.name, &line));
	}
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
	for (int table = OWNERS; table <= FILES; table++) {
		ASSERT_TRUE(next_line(file[table], table, "later", &line));
		ASSERT_FALSE(next_line(file[table], table, "later", &line));
		fclose(file[table]);
		ASSERT_EQ(0, count_lines(table, self->ls.name));
	}
	ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, DLM_USER_LSFLG_FORCEFREE));
}

/* ---- While others lock --------------------------------------------------------------------------- */

enum { STAYING = 300, BATCH = 100, LOOKS = 40 };

/* What the other process has done, and whether it is to end. */
struct churn {
	volatile unsigned long rounds;
	volatile bool enough;
	volatile int fd;
};

FIXTURE(crowd) {
	struct lockspace ls;
	int fd, ids[STAYING];
	unsigned long long number;
	struct churn *churn;
	pid_t child;
};

FIXTURE_VARIANT(crowd) { void (*round)(struct churn *churn, const char *lockspace, unsigned long number); };

/* Locks, conversions, unlocks, some orphans, and a close; on names of its own, and on those that stay. */
static void lock_and_close(struct churn *churn, const char *lockspace, unsigned long number)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK), ids[BATCH];
	struct record record;

	churn->fd = fd;
	for (int i = 0; i < BATCH; i++) {
		char name[32];

		snprintf(name, sizeof(name), i % 2 ? "mine%lu" : "staying%lu", (number * 7 + i) % STAYING);
		ids[i] = lock(fd, i % 3 ? NL : PR, i % 10 ? 0 : DLM_LKF_PERSISTENT, name);
		if (ids[i] <= 0)
			_exit(1);
	}
	for (int i = 0; i < BATCH; i += 3)
		if (convert(fd, ids[i], CR, i % 10 ? 0 : DLM_LKF_PERSISTENT))
			_exit(2);
	for (int i = 0; i < BATCH; i += 2)
		if (unlock(fd, ids[i], 0))
			_exit(3);
	while (read_record(fd, &record) > 0)
		;
	if (purge(fd, 0))
		_exit(4);
	close(fd);
}

/* A lockspace comes, is used, and goes under who uses it. */
static void make_and_remove(struct churn *churn, const char *lockspace, unsigned long number)
{
	int control = open_control(), minor = create_lockspace(control, "churning", DLM_LSFL_NEWEXCL);
	int fd = open_lockspace("churning", O_NONBLOCK);

	(void)lockspace;
	(void)number;
	churn->fd = fd;
	for (int i = 0; i < BATCH; i++)
		if (lock(fd, EX, 0, numbered("", i % (BATCH / 2))) <= 0)
			_exit(5);
	if (remove_lockspace(control, minor, DLM_USER_LSFLG_FORCEFREE))
		_exit(6);
	close(fd);
	close(control);
}

FIXTURE_VARIANT_ADD(crowd, of_locks) { lock_and_close };
FIXTURE_VARIANT_ADD(crowd, of_lockspaces) { make_and_remove };

static void work_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

FIXTURE_SETUP(crowd)
{
	SKIP_ON_REFERENCE("does not tell");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->number = number_of(getpid(), self->fd);
	for (int i = 0; i < STAYING; i++)
		self->ids[i] = HOLD(self->fd, NL, 0, numbered("staying", i));
	self->churn = mmap(NULL, sizeof(*self->churn), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->churn);
	self->child = spawn();
	if (!self->child) {
		work_on(1);
		for (; !self->churn->enough; self->churn->rounds++)
			variant->round(self->churn, self->ls.name, self->churn->rounds);
		_exit(0);
	}
	work_on(0);
}

FIXTURE_TEARDOWN(crowd) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

/* Look again and again, and see the other get on meanwhile. */
#define WHILE_OTHERS_WORK(look) \
do { \
	unsigned long _before = self->churn->rounds; \
	int _looks = 0, _patience = PATIENCE_MS; \
	while (_looks++ < LOOKS || (self->churn->rounds < _before + LOOKS && _patience--)) \
		look; \
	ASSERT_GE(self->churn->rounds, _before + LOOKS) TH_LOG("nobody gets on"); \
	self->churn->enough = true; \
	ASSERT_EQ(0, expect_child(self->child)); \
} while (0)

/* What stays is there once, with its owner. */
static const char *look_at_owners(const char *lockspace, const int *ids, unsigned long long owner)
{
	FILE *file = open_common("owners");
	const char *found = "well";
	int seen[STAYING] = { 0 };
	struct line line;

	while (next_line(file, OWNERS, lockspace, &line)) {
		int id = strtoul(line.word[ID], NULL, 16);

		if (!id)
			found = "a broken line";
		for (int i = 0; i < STAYING; i++) {
			if (ids[i] != id)
				continue;
			seen[i]++;
			if (strtoull(line.word[OWNER], NULL, 10) != owner)
				found = "another's";
		}
	}
	fclose(file);
	for (int i = 0; i < STAYING; i++)
		if (seen[i] != 1)
			found = seen[i] ? "seen again" : "not seen";
	return found;
}

/* The one that stays is there once, and they are in order. */
static const char *look_at_files(const char *lockspace, unsigned long long number)
{
	FILE *file = open_common("files");
	unsigned long long last = 0, next;
	const char *found = "not seen";
	struct line line;

	while (next_line(file, FILES, lockspace, &line)) {
		next = strtoull(line.word[NUMBER], NULL, 10);
		if (next == number)
			found = atoi(line.word[GRANTED]) == STAYING ? "well" : "other locks";
		if (next <= last)
			found = next ? "not in order" : "a broken line";
		last = next;
	}
	fclose(file);
	return found;
}

/* Whatever comes and goes, there are no more lines than there may be, and none is broken. */
static const char *look_at_descriptor(pid_t pid, int fd)
{
	char path[64], text[4 * WORD], word[3][WORD], name[WORD];
	const char *found = "well";
	int locks = 0, others = -1, id;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	file = fopen(path, "re");
	while (file && fgets(text, sizeof(text), file)) {
		bool whole = sscanf(text, "lkid:\t%x %299s %299s %299s %299s\n", (unsigned int *)&id,
				    word[0], word[1], word[2], name) == 5;

		if (!strncmp("lkid:", text, 5) && (!whole || others >= 0))
			found = "a broken line";
		locks += whole;
		sscanf(text, "unlisted:\t%d\n", &others);
	}
	if (file)
		fclose(file);
	return locks <= 64 && locks + others <= BATCH ? found : "too many";
}

TEST_F_TIMEOUT(crowd, owners, 120)
{
	WHILE_OTHERS_WORK(ASSERT_STREQ("well", look_at_owners(self->ls.name, self->ids, self->number)));
}

TEST_F_TIMEOUT(crowd, files, 120)
{
	WHILE_OTHERS_WORK(ASSERT_STREQ("well", look_at_files(self->ls.name, self->number)));
}

TEST_F_TIMEOUT(crowd, descriptors, 120)
{
	WHILE_OTHERS_WORK(({
		ASSERT_STREQ("well", look_at_descriptor(self->child, self->churn->fd));
		usleep(1000);
	}));
}

TEST_HARNESS_MAIN
