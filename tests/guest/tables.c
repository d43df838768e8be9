// SPDX-License-Identifier: GPL-2.0
/* What debugfs tells of a lockspace's locks, and what dlm_tool makes of it. */
#include <sys/mman.h>
#include "dlm_test.h"
#include "tables.h"

static long long microseconds(void)
{
	return nanoseconds() / 1000;
}

/* Both tables tell the same. */
FIXTURE(tables) { struct lockspace ls; int fd, other; long long start; };
FIXTURE_VARIANT(tables) { enum table table; };
FIXTURE_VARIANT_ADD(tables, locks) { LOCKS };
FIXTURE_VARIANT_ADD(tables, all) { ALL };

FIXTURE_SETUP(tables)
{
	self->start = microseconds();
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
	ASSERT_GE(self->other, 0);
}

FIXTURE_TEARDOWN(tables) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

/* The only row there is of a lock. */
#define ROW(lock) \
({ \
	int _lock = (lock); \
	struct reader _reader = read_table(variant->table, self->ls.name); \
	struct row _found = { 0 }; \
	const struct row *_row; \
	while ((_row = next_row(&_reader))) { \
		if (_row->id != _lock) \
			continue; \
		ASSERT_EQ(0, _found.id) TH_LOG("another row of the same lock"); \
		_found = *_row; \
	} \
	ASSERT_STREQ("", _reader.fault); \
	close_table(&_reader); \
	ASSERT_EQ(_lock, _found.id) TH_LOG("no row of the lock"); \
	_found; \
})

#define ASSERT_STATE(lock, words) \
do { \
	struct row _state = ROW(lock); \
	ASSERT_STREQ(words, state_of(&_state)); \
} while (0)

#define COUNT_ROWS() \
({ \
	struct reader _reader = read_table(variant->table, self->ls.name); \
	int _count = 0; \
	while (next_row(&_reader)) \
		_count++; \
	ASSERT_STREQ("", _reader.fault); \
	close_table(&_reader); \
	_count; \
})

/* ---- Locks --------------------------------------------------------------------------------- */

TEST_F(tables, no_locks)
{
	ASSERT_EQ(0, COUNT_ROWS());
	UNLOCK(self->fd, HOLD(self->fd, EX, 0, "r"));
	ASSERT_EQ(0, COUNT_ROWS());
}

TEST_F(tables, a_lock)
{
	int id = HOLD(self->fd, EX, 0, "resource");
	struct row row = ROW(id);

	EXPECT_STREQ("granted EX", state_of(&row));
	EXPECT_STREQ("resource", row.name);
	EXPECT_EQ(8, row.length);
	EXPECT_EQ(getpid(), row.pid);
	EXPECT_EQ(0, row.xid);
	EXPECT_EQ(0, row.exflags);
	EXPECT_EQ(0, row.flags);
	EXPECT_EQ(0, row.nodeid);
	EXPECT_EQ(0, row.remid);
	EXPECT_FALSE(row.has_value);
	EXPECT_EQ(1, COUNT_ROWS());
}

TEST_F(tables, modes)
{
	for (int mode = 0; mode < MODES; mode++) {
		int id = HOLD(self->fd, mode, 0, mode_name[mode]);
		struct row row = ROW(id);

		ASSERT_EQ(2, row.status);
		ASSERT_EQ(mode, row.granted);
		ASSERT_EQ(-1, row.requested);
		ASSERT_STREQ(mode_name[mode], row.name);
	}
	ASSERT_EQ(MODES, COUNT_ROWS());
}

TEST_F(tables, states)
{
	int one = HOLD(self->fd, PR, 0, "r");
	int two = HOLD(self->other, PR, 0, "r");
	int three = WAIT(self->other, CW, 0, "r");

	CONVERT(self->other, two, EX, 0, "nothing");
	ASSERT_STATE(one, "granted PR");
	ASSERT_STATE(two, "PR converting to EX");
	ASSERT_STATE(three, "waiting for CW");
	UNLOCK(self->fd, one);
	ASSERT_HEAR(self->other, two, "granted");
	ASSERT_STATE(two, "granted EX");
	ASSERT_STATE(three, "waiting for CW");
	CONVERT(self->other, two, NL, 0, "granted");
	ASSERT_HEAR(self->other, three, "granted");
	ASSERT_STATE(two, "granted NL");
	ASSERT_STATE(three, "granted CW");
	ASSERT_EQ(2, COUNT_ROWS());
}

TEST_F(tables, a_cancelled_conversion)
{
	int id = HOLD(self->fd, PR, 0, "r");

	HOLD(self->other, PR, 0, "r");
	CONVERT(self->fd, id, EX, 0, "nothing");
	CANCEL(self->fd, id);
	ASSERT_STATE(id, "granted PR");
}

/* fs/dlm leaves the mode that was refused. */
TEST_F(tables, a_refused_conversion)
{
	int id = HOLD(self->fd, PR, 0, "r");

	HOLD(self->other, PR, 0, "r");
	CONVERT(self->fd, id, EX, DLM_LKF_NOQUEUE, "EAGAIN");
	ASSERT_STATE(id, DIFFERS("granted PR", "status 2, modes 3 and 5"));
}

/* On a resource, what converts comes after what is granted, and then what waits, each in its order. */
TEST_F(tables, order)
{
	int granted = HOLD(self->fd, CR, 0, "r");
	int converting[] = { HOLD(self->other, NL, 0, "r"), HOLD(self->other, NL, 0, "r") };
	int waiting[] = { WAIT(self->fd, EX, 0, "r"), WAIT(self->fd, CR, 0, "r") };
	const int expected[] = { granted, converting[1], converting[0], waiting[0], waiting[1] };
	struct reader reader;

	CONVERT(self->other, converting[1], EX, 0, "nothing");
	CONVERT(self->other, converting[0], EX, 0, "nothing");
	reader = read_table(variant->table, self->ls.name);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct row *row = next_row(&reader);

		ASSERT_NE(NULL, row);
		ASSERT_EQ(expected[i], row->id) TH_LOG("row %zu", i);
		ASSERT_STREQ("r", row->name);
	}
	ASSERT_EQ(NULL, next_row(&reader));
	ASSERT_STREQ("", reader.fault);
	close_table(&reader);
}

/* Of who asked last. */
TEST_F(tables, pid)
{
	int ready[2], id;
	pid_t child;

	ASSERT_EQ(0, pipe(ready));
	child = spawn();
	if (!child) {
		id = lock(self->fd, PR, 0, "r");
		_exit(write(ready[1], &id, sizeof(id)) != sizeof(id));
	}
	ASSERT_EQ(0, expect_child(child));
	ASSERT_EQ((ssize_t)sizeof(id), read(ready[0], &id, sizeof(id)));
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_EQ(child, ROW(id).pid);
	CONVERT(self->other, id, CR, 0, "nothing");
	ASSERT_EQ(getpid(), ROW(id).pid);
}

TEST_F(tables, transactions)
{
	static const uint64_t xids[] = { 1, 0xffffffff, 0x123456789abcdef, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(xids); i++) {
		struct request r = lock_request(NL, 0, "r");
		struct row row;
		int id;

		r.req.i.lock.xid = xids[i];
		id = submit(self->fd, r);
		ASSERT_HEAR(self->fd, id, "granted");
		row = ROW(id);
		ASSERT_EQ(xids[i], row.xid);
		r = convert_request(id, CR, 0);
		r.req.i.lock.xid = xids[i] / 2;
		ASSERT_EQ(0, submit(self->fd, r));
		ASSERT_HEAR(self->fd, id, "granted");
		row = ROW(id);
		ASSERT_EQ(xids[i] / 2, row.xid);
	}
}

/* Of a conversion that is refused nothing stays, of one that comes at the wrong time it does. */
TEST_F(tables, refused_transactions)
{
	int holder = HOLD(self->other, EX, 0, "r");
	int id = WAIT(self->fd, EX, 0, "r");
	struct request r = convert_request(id, NL, DLM_LKF_EXPEDITE);

	r.req.i.lock.xid = 1;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	ASSERT_EQ(DIFFERS(0ULL, 1ULL), ROW(id).xid);
	r = convert_request(id, NL, 0);
	r.req.i.lock.xid = 2;
	ASSERT_EQ(-EBUSY, submit(self->fd, r));
	ASSERT_EQ(2, ROW(id).xid);
	UNLOCK(self->other, holder);
	ASSERT_HEAR(self->fd, id, "granted");
}

/* Those of the last request or conversion. */
TEST_F(tables, flags)
{
	static const uint32_t flags[] = {
		DLM_LKF_VALBLK, DLM_LKF_NOQUEUE | DLM_LKF_PERSISTENT, DLM_LKF_EXPEDITE,
		DLM_LKF_HEADQUE | DLM_LKF_NOORDER, DLM_LKF_ALTPR | DLM_LKF_ALTCW, DLM_LKF_NODLCKWT,
		DLM_LKF_NOQUEUE | DLM_LKF_NOQUEUEBAST,
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		int id = lock(self->fd, NL, flags[i], "r");
		struct row row = ROW(id);

		ASSERT_EQ(flags[i], row.exflags);
		ASSERT_EQ(0, row.flags);
		ASSERT_EQ(0, convert(self->fd, id, NL, DLM_LKF_PERSISTENT));
		row = ROW(id);
		ASSERT_EQ(DLM_LKF_CONVERT | DLM_LKF_PERSISTENT, row.exflags);
	}
}

TEST_F(tables, orphans)
{
	int id = HOLD(self->other, EX, DLM_LKF_PERSISTENT, "r");
	struct row row;

	close(self->other);
	row = ROW(id);
	EXPECT_STREQ("granted EX", state_of(&row));
	EXPECT_STREQ("r", row.name);
	EXPECT_EQ(getpid(), row.pid);
	EXPECT_EQ(DLM_LKF_PERSISTENT, row.exflags);
	ASSERT_EQ(id, adopt(self->fd, EX, 0, "r"));
	row = ROW(id);
	EXPECT_STREQ("granted EX", state_of(&row));
	EXPECT_EQ(getpid(), row.pid);
}

/* It cannot have stood there for longer than this test runs, give or take a tick. */
TEST_F(tables, time)
{
	enum { TICKS = 20000 };
	int id = HOLD(self->fd, PR, 0, "r");
	long long before = microseconds();
	struct row row;

	if (variant->table == ALL)
		SKIP(return, "has a time of another kind");
	HOLD(self->other, PR, 0, "r");
	row = ROW(id);
	ASSERT_GE(row.microseconds, 0);
	ASSERT_LE(row.microseconds, microseconds() - self->start + TICKS);
	while (ROW(id).microseconds < 2 * TICKS)
		usleep(1000);
	ASSERT_LE(ROW(id).microseconds, microseconds() - self->start + TICKS);
	before = microseconds();
	CONVERT(self->fd, id, EX, 0, "nothing");
	row = ROW(id);
	ASSERT_LE(row.microseconds, microseconds() - before + TICKS);
}

/* ---- Names and values ---------------------------------------------------------------------- */

TEST_F(tables, names)
{
	static const struct { int length; const char *name; } names[] = {
		{ 0, "" }, { 1, "r" }, { 4, "with" }, { 10, "with space" }, { 4, "\\x41" },
		{ 7, "bin\x80\xff yz" }, { 6, "\xc3\xa9t\xc3\xa9s" },
		{ 64, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct request r = lock_request(EX, 0, names[i].name);
		struct row row;
		int id;

		r.req.i.lock.namelen = names[i].length;
		id = submit(self->fd, r);
		ASSERT_HEAR(self->fd, id, "granted");
		row = ROW(id);
		ASSERT_EQ(names[i].length, row.length) TH_LOG("name %zu", i);
		ASSERT_EQ(0, memcmp(row.name, names[i].name, names[i].length)) TH_LOG("name %zu", i);
	}
}

/*
 * Whatever the name, a lock has one line, and no longer a name than it has: dlm_tool has no room
 * for more. fs/dlm prints the name as it is, up to a zero.
 */
TEST_F(tables, odd_names)
{
	static const struct { int length; const char *name, *shown, *shown_there; } names[] = {
		{ 9, "a\nb\rc\td\x1b\x7f", "a.b.c.d..", NULL },
		{ 9, "zero\0zero", "zero.zero", "zero" },
		{ 8, "\"quotes\"", ".quotes.", "\"quotes\"" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct request r = lock_request(EX, 0, "?????????");
		const char *shown = DIFFERS(names[i].shown, names[i].shown_there);
		int length = strlen(shown ?: ""), id;
		struct row row;

		if (variant->table == ALL) {
			shown = names[i].name;
			length = names[i].length;
		} else if (!shown) {
			continue;	/* breaks the line */
		}
		r.req.i.lock.namelen = names[i].length;
		memcpy(r.req.i.lock.name, names[i].name, names[i].length);
		id = submit(self->fd, r);
		ASSERT_HEAR(self->fd, id, "granted");
		row = ROW(id);
		ASSERT_EQ(names[i].length, row.length);
		ASSERT_EQ(0, memcmp(row.name, shown, length + 1)) TH_LOG("name %zu", i);
		UNLOCK(self->fd, id);
	}
}

/* There is none before it is first written. */
TEST_F(tables, value)
{
	int id = HOLD(self->fd, EX, 0, "r"), other = HOLD(self->other, NL, 0, "r");
	unsigned char value[DLM_USER_LVB_LEN] = "value \xff";

	if (variant->table != ALL)
		SKIP(return, "tells nothing of values");
	UNLOCK(self->fd, id);
	id = LOCK(self->fd, EX, DLM_LKF_VALBLK, "r", "granted \"\"");
	ASSERT_FALSE(ROW(id).has_value);
	ASSERT_EQ(0, submit(self->fd, with_value(convert_request(id, PR, DLM_LKF_VALBLK), "value \xff")));
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_TRUE(ROW(id).has_value);
	ASSERT_EQ(0, memcmp(value, ROW(id).value, sizeof(value)));
	ASSERT_TRUE(ROW(other).has_value);
	ASSERT_EQ(0, memcmp(value, ROW(other).value, sizeof(value)));
	ASSERT_FALSE(ROW(HOLD(self->fd, EX, 0, "s")).has_value);
}

/* ---- The files ----------------------------------------------------------------------------- */

/* Nobody else changes anything, so however it is read, it is the same. */
TEST_F(tables, read_in_any_way)
{
	char whole[65536], part[100];
	ssize_t size = 0, n;
	int fd;

	if (variant->table == LOCKS)
		SKIP(return, "has times in it that go on");
	for (int i = 0; i < 100; i++) {
		snprintf(part, sizeof(part), "%d", i);
		HOLD(self->fd, EX, 0, part);
	}
	fd = open(table_path(self->ls.name, "all"), O_RDONLY);
	ASSERT_GE(fd, 0);
	while ((n = read(fd, whole + size, sizeof(whole) - size)) > 0)
		size += n;
	ASSERT_EQ(0, n);
	ASSERT_GT(size, 8192);
	for (size_t step = 1; step <= sizeof(part); step += 33) {
		ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
		for (ssize_t at = 0; at < size; at += n) {
			n = read(fd, part, step);
			ASSERT_GT(n, 0);
			ASSERT_EQ(0, memcmp(part, whole + at, n)) TH_LOG("%zu bytes at %zd", step, at);
		}
		ASSERT_EQ(0, read(fd, part, step));
	}
	for (ssize_t at = size - 1; at >= 0; at -= 1009) {
		n = pread(fd, part, sizeof(part), at);
		ASSERT_GT(n, 0);
		ASSERT_EQ(0, memcmp(part, whole + at, n)) TH_LOG("at %zd", at);
	}
}

LOCKSPACE_FIXTURE(files)

static bool exists(const char *path)
{
	return !access(path, F_OK);
}

TEST_F(files, come_and_go_with_the_lockspace)
{
	static const char *const suffixes[] = { "locks", "all", "toss", "waiters" };

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		ASSERT_TRUE(exists(table_path(self->ls.name, suffixes[i])))
			TH_LOG("%s", suffixes[i]);
	}
	close(self->fd);
	close(self->other);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		ASSERT_FALSE(exists(table_path(self->ls.name, suffixes[i])))
			TH_LOG("%s", suffixes[i]);
	}
}

/* Nothing is asked of other nodes, and there is nothing to a resource that has no locks. */
TEST_F(files, toss_and_waiters_are_empty)
{
	FILE *toss = open_table(self->ls.name, "toss"), *waiters = open_table(self->ls.name, "waiters");

	HOLD(self->fd, EX, 0, "r");
	WAIT(self->fd, EX, 0, "r");
	UNLOCK(self->fd, HOLD(self->fd, EX, 0, "s"));
	ASSERT_NE(NULL, toss);
	ASSERT_NE(NULL, waiters);
	EXPECT_EQ(DIFFERS(EOF, 'r'), getc(toss));
	EXPECT_EQ(EOF, getc(waiters));
	fclose(toss);
	fclose(waiters);
}

/* dlm_controld takes what is there for a lockspace of the cluster. */
TEST_F(files, nothing_in_sysfs)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/kernel/dlm/%s", self->ls.name);
	EXPECT_EQ(DIFFERS(false, true), exists(path));
}

/* Whoever still has a table open when its lockspace goes has the rest of nothing. */
TEST_F(files, open_while_the_lockspace_goes)
{
	FILE *all[2];
	char line[200];

	SKIP_ON_REFERENCE("waits for every descriptor");
	for (int i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), "%d", i);
		HOLD(self->fd, EX, 0, line);
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		ASSERT_NE(NULL, all[i] = open_table(self->ls.name, "all"));
	ASSERT_NE(NULL, fgets(line, sizeof(line), all[0]));
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
	for (int rows = 0; fgets(line, sizeof(line), all[0]); rows++)
		ASSERT_LT(rows, 1000);
	ASSERT_EQ(NULL, fgets(line, sizeof(line), all[1]));
	fclose(all[0]);
	fclose(all[1]);
}

/* A lockspace of that name that comes later has tables of its own. */
TEST_F(files, the_same_name_again)
{
	struct reader reader;

	HOLD(self->fd, EX, 0, "r");
	close(self->fd);
	close(self->other);
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
		self->ls.minor = create_lockspace(self->ls.control, self->ls.name, DLM_LSFL_NEWEXCL);
		ASSERT_GT(self->ls.minor, 0);
	}
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	HOLD(self->fd, EX, 0, "s");
	reader = read_table(LOCKS, self->ls.name);
	ASSERT_NE(NULL, next_row(&reader));
	ASSERT_STREQ("s", reader.row.name);
	ASSERT_EQ(NULL, next_row(&reader));
	close_table(&reader);
}

/* ---- dlm_tool ------------------------------------------------------------------------------ */

/* All that it says, errors too. */
static const char *dlm_tool(const char *command, const char *lockspace)
{
	static char text[65536];
	char line[200];
	size_t n;
	FILE *f;

	snprintf(line, sizeof(line), "dlm_tool %s %s 2>&1", command, lockspace);
	f = popen(line, "re");
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	return pclose(f) ? "dlm_tool failed" : text;
}

#define ASSERT_SAYS(text, format, ...) \
do { \
	char _line[300]; \
	snprintf(_line, sizeof(_line), format, ##__VA_ARGS__); \
	ASSERT_NE(NULL, strstr(text, _line)) TH_LOG("there is no\n%s\nin\n%s", _line, text); \
} while (0)

static int lines_of(const char *text)
{
	int lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

TEST_F(files, lockdump)
{
	int held = HOLD(self->fd, PR, 0, "resource"), converting = HOLD(self->other, NL, 0, "resource");
	int waiting = WAIT(self->fd, PW, 0, "resource"), binary = HOLD(self->fd, CW, 0, "\x80\xff");
	int pid = getpid();
	const char *says;

	CONVERT(self->other, converting, EX, 0, "nothing");
	says = dlm_tool("lockdump", self->ls.name);
	ASSERT_SAYS(says, "id %08x gr PR rq IV pid %d master 0 \"resource\"\n", held, pid);
	ASSERT_SAYS(says, "id %08x gr IV rq PW pid %d master 0 \"resource\"\n", waiting, pid);
	ASSERT_SAYS(says, "id %08x gr NL rq EX pid %d master 0 \"resource\"\n", converting, pid);
	ASSERT_SAYS(says, "id %08x gr CW rq IV pid %d master 0 \"\x80\xff\"\n", binary, pid);
	ASSERT_EQ(4, lines_of(says));
}

/* Its header must not be taken for a lock, nor a lock for the header. */
TEST_F(files, lockdump_of_nothing)
{
	ASSERT_STREQ("", dlm_tool("lockdump", self->ls.name));
	ASSERT_STREQ("\n", dlm_tool("lockdebug", self->ls.name));
}

TEST_F(files, lockdump_whatever_the_names)
{
	char name[DLM_RESNAME_MAXLEN + 1] = "";

	SKIP_ON_REFERENCE("stops at the end of a line in a name");
	for (int byte = 1; byte <= UINT8_MAX; byte++) {
		memset(name, byte, DLM_RESNAME_MAXLEN);
		HOLD(self->fd, EX, 0, name);
	}
	ASSERT_EQ(UINT8_MAX, lines_of(dlm_tool("lockdump", self->ls.name)));
}

TEST_F(files, lockdebug)
{
	int held = HOLD(self->fd, PR, 0, "resource"), converting = HOLD(self->other, NL, 0, "resource");
	int waiting = WAIT(self->fd, PW, 0, "resource"), binary = HOLD(self->fd, CW, 0, "\x01\xff");
	int writer = LOCK(self->fd, EX, DLM_LKF_VALBLK, "value", "granted \"\"");
	const char *says;

	CONVERT(self->other, converting, EX, 0, "nothing");
	ASSERT_EQ(0, submit(self->fd, with_value(convert_request(writer, PR, DLM_LKF_VALBLK), "hello")));
	ASSERT_HEAR(self->fd, writer, "granted");
	says = dlm_tool("lockdebug -s", self->ls.name);
	ASSERT_SAYS(says, "Resource len  8  \"resource\"\nMaster ");
	ASSERT_SAYS(says, "Granted\n%08x PR ", held);
	ASSERT_SAYS(says, "Convert\n%08x NL (EX) ", converting);
	ASSERT_SAYS(says, "Waiting\n%08x -- (PW) ", waiting);
	ASSERT_SAYS(says, "Resource len  2 hex 01 ff\nMaster ");
	ASSERT_SAYS(says, "Granted\n%08x CW ", binary);
	ASSERT_SAYS(says, "Resource len  5  \"value\"\nMaster ");
	ASSERT_SAYS(says, "LVB len 32 seq %d\n68 65 6c 6c 6f 00 00 00 ", DIFFERS(0, 1));
	ASSERT_SAYS(says, "Granted\n%08x PR ", writer);
	ASSERT_SAYS(says, "  active        3\n  master        3\n");
	ASSERT_SAYS(says, "  with lvb      1\n");
	ASSERT_SAYS(says, "  nodeid error  0\n  inactive      0\n");
	ASSERT_SAYS(says, "  total         5\n  granted       3\n  convert       1\n  waiting       1\n");
	ASSERT_SAYS(says, "  expect reply  0\n");
	ASSERT_EQ(NULL, strstr(says, "error rv"));
}

/* ---- While others lock --------------------------------------------------------------------- */

enum { MANY = 100000, CROWD = 20000, FEW = 100, BATCH = 20 };

/* What the other process has done; it ends when told to. */
struct churn {
	volatile unsigned long rounds;
	volatile bool enough;
};

/* Locks that stay, in the order of their ids, and how often a table had each. */
struct staying {
	int count, ids[MANY], seen[MANY];
};

FIXTURE(crowd) {
	struct lockspace ls;
	int fd;
	pid_t child;
	struct churn *churn;
	struct staying *staying;
};

/* Locks and unlocks: on names of its own, and on those of locks that stay. */
static void run_churn(struct churn *churn, const char *lockspace)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK);
	unsigned long number = 0;

	for (; !churn->enough; churn->rounds++) {
		struct record record;
		int ids[BATCH];
		char name[32];

		for (int i = 0; i < BATCH; i++) {
			snprintf(name, sizeof(name), i % 2 ? "mine%lu" : "staying%lu",
				 (number += 7919) % MANY);
			ids[i] = lock(fd, i % 4 ? NL : EX, 0, name);
			if (ids[i] <= 0)
				_exit(1);
		}
		for (int i = 0; i < BATCH; i++)
			if (unlock(fd, ids[i], 0))
				_exit(2);
		while (read_record(fd, &record) > 0)
			;
	}
	_exit(0);
}

static void *shared(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

FIXTURE_SETUP(crowd)
{
	SKIP_ON_REFERENCE("repeats some locks and leaves others out");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->churn = shared(sizeof(*self->churn));
	self->staying = shared(sizeof(*self->staying));
	ASSERT_NE(MAP_FAILED, (void *)self->churn);
	ASSERT_NE(MAP_FAILED, (void *)self->staying);
}

FIXTURE_TEARDOWN(crowd) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

/* The other process gets on, by so much at least. */
#define AWAIT_ROUNDS(more) \
do { \
	unsigned long _until = self->churn->rounds + (more); \
	int _patience = 6 * PATIENCE_MS; \
	while (self->churn->rounds < _until && _patience--) \
		usleep(1000); \
	ASSERT_GE(self->churn->rounds, _until) TH_LOG("nobody gets on"); \
} while (0)

#define BEGIN_CHURN() \
do { \
	self->child = spawn(); \
	if (!self->child) \
		run_churn(self->churn, self->ls.name); \
	AWAIT_ROUNDS(10); \
} while (0)

#define END_CHURN() \
do { \
	self->churn->enough = true; \
	ASSERT_EQ(0, expect_child(self->child)); \
} while (0)

static int by_id(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Take locks to stay, each on a name of its own if the name has room for a number. */
static bool hold_many(struct staying *staying, int fd, const char *format, int count)
{
	staying->count = count;
	for (int i = 0; i < count; i++) {
		char name[32];

		snprintf(name, sizeof(name), format, i);
		staying->ids[i] = lock(fd, NL, 0, name);
		if (staying->ids[i] <= 0)
			return false;
	}
	qsort(staying->ids, count, sizeof(*staying->ids), by_id);
	return true;
}

/* The one of a line in a table, or NULL. */
static int *staying_lock(struct staying *staying, const char *line)
{
	bool in_all = !strncmp(line, "lkb ", 4);
	int id = strtoul(line + (in_all ? 4 : 0), NULL, 16);
	int *found = bsearch(&id, staying->ids, staying->count, sizeof(id), by_id);

	return found ? &staying->seen[found - staying->ids] : NULL;
}

/* Read a table, let the others get on a few times meanwhile, and find all that stays in it once. */
#define DUMP(suffix) \
do { \
	FILE *_table = open_table(self->ls.name, suffix); \
	char _line[512]; \
	int _rows = 0, *_seen; \
	memset(self->staying->seen, 0, sizeof(*_seen) * self->staying->count); \
	ASSERT_NE(NULL, _table); \
	while (fgets(_line, sizeof(_line), _table)) { \
		_seen = staying_lock(self->staying, _line); \
		if (!_seen) \
			continue; \
		ASSERT_EQ(0, (*_seen)++) TH_LOG("is there twice: %s", _line); \
		if (_rows++ % (self->staying->count / 4) == 0) \
			AWAIT_ROUNDS(2); \
	} \
	ASSERT_EQ(self->staying->count, _rows); \
	fclose(_table); \
} while (0)

/* In kilobytes: what the kernel has in use of this kind, or what is free. */
static long memory(const char *kind)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[100];
	long value = -1;

	while (value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, kind, strlen(kind)))
			value = atol(line + strlen(kind) + 1);
	fclose(f);
	return value;
}

/* The debug kernel does, to find who uses it still: there, those who come and go fill the memory. */
static bool keeps_freed_memory(void)
{
	return !access("/sys/kernel/debug/kmemleak", F_OK);
}

static void dump_both(struct __test_metadata *_metadata, FIXTURE_DATA(crowd) *self)
{
	long free_before, slab_before;

	BEGIN_CHURN();
	free_before = memory("MemFree:");
	slab_before = memory("Slab:");
	DUMP("locks");
	DUMP("all");
	if (!keeps_freed_memory()) {
		EXPECT_LT(free_before - memory("MemFree:"), 8192);
		EXPECT_LT(memory("Slab:") - slab_before, 4096);
	}
	END_CHURN();
}

/* Others are not held up, no memory is needed, and what stays where it is, is told once. */
TEST_F_TIMEOUT(crowd, on_many_resources, 300)
{
	ASSERT_TRUE(hold_many(self->staying, self->fd, "staying%d", MANY));
	dump_both(_metadata, self);
}

TEST_F_TIMEOUT(crowd, on_one_resource, 300)
{
	ASSERT_TRUE(hold_many(self->staying, self->fd, "staying0", CROWD));
	dump_both(_metadata, self);
}

/* A place in a table is kept when what stood there goes. */
TEST_F_TIMEOUT(crowd, again_and_again, 300)
{
	ASSERT_TRUE(hold_many(self->staying, self->fd, "staying%d", FEW));
	BEGIN_CHURN();
	for (int i = 0; i < FEW; i++) {
		DUMP("locks");
		DUMP("all");
	}
	END_CHURN();
}

/* Who looks at a table when its locks go, all of them, comes to an end. */
TEST_F(crowd, goes_while_somebody_looks)
{
	struct reader reader;

	ASSERT_TRUE(hold_many(self->staying, self->fd, "crowded", FEW * 10));
	for (enum table table = LOCKS; table <= ALL; table++) {
		reader = read_table(table, self->ls.name);
		ASSERT_NE(NULL, next_row(&reader));
		if (table == ALL)
			for (int i = 0; i < self->staying->count; i++)
				ASSERT_EQ(0, unlock(self->fd, self->staying->ids[i], 0));
		while (next_row(&reader))
			;
		ASSERT_STREQ("", reader.fault);
		close_table(&reader);
	}
}

TEST_HARNESS_MAIN
