// SPDX-License-Identifier: GPL-2.0
/* What debugfs tells of a lockspace's locks, and what dlm_tool makes of it. */
#include <sys/mman.h>
#include <time.h>
#include "dlm_test.h"
#include "tables.h"

static long long microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
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

/* What is granted comes first, then what converts, then what waits, each in its order. */
TEST_F(tables, order)
{
	int first = HOLD(self->fd, CR, 0, "r"), second = HOLD(self->fd, NL, 0, "r");
	int converting[] = { HOLD(self->other, NL, 0, "r"), HOLD(self->other, NL, 0, "r") };
	int waiting[] = { WAIT(self->fd, EX, 0, "r"), WAIT(self->fd, CR, 0, "r") };
	struct reader reader;

	CONVERT(self->other, converting[1], EX, 0, "nothing");
	CONVERT(self->other, converting[0], EX, 0, "nothing");
	const int expected[] = { first, second, converting[1], converting[0], waiting[0], waiting[1] };

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
		{ 0, "" }, { 1, "r" }, { 4, "with" }, { 10, "with space" }, { 5, "\\x41\"" },
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

/* A zero ends what NAME_locks tells of a name; NAME_all tells all of it. */
TEST_F(tables, a_name_with_a_zero)
{
	static const char name[] = "zero\0zero";
	struct request r = lock_request(EX, 0, "?????????");
	struct row row;
	int id;

	memcpy(r.req.i.lock.name, name, 9);
	id = submit(self->fd, r);
	ASSERT_HEAR(self->fd, id, "granted");
	row = ROW(id);
	ASSERT_EQ(9, row.length);
	ASSERT_EQ(0, memcmp(row.name, name, variant->table == ALL ? 9 : 5));
}

/* Whatever the name, a lock has one line. fs/dlm prints control characters as they are. */
TEST_F(tables, a_name_with_control_characters)
{
	int before = HOLD(self->fd, EX, 0, "before"), id, after;

	if (reference() && variant->table == LOCKS)
		SKIP(return, "breaks the line");
	id = HOLD(self->fd, EX, 0, "a\nb\rc\td\x1b\x7f");
	after = HOLD(self->fd, EX, 0, "after");
	ASSERT_STATE(before, "granted EX");
	ASSERT_STATE(after, "granted EX");
	ASSERT_EQ(9, ROW(id).length);
	ASSERT_STREQ(variant->table == ALL ? "a\nb\rc\td\x1b\x7f" : "a.b.c.d..", ROW(id).name);
	ASSERT_EQ(3, COUNT_ROWS());
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
	char path[sizeof(TABLES) + 40], whole[65536], part[100];
	ssize_t size = 0, n;
	int fd;

	if (variant->table == LOCKS)
		SKIP(return, "has times in it that go on");
	for (int i = 0; i < 100; i++) {
		snprintf(part, sizeof(part), "%d", i);
		HOLD(self->fd, EX, 0, part);
	}
	snprintf(path, sizeof(path), TABLES "%s_all", self->ls.name);
	fd = open(path, O_RDONLY);
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

static int present(const char *folder, const char *name, const char *suffix)
{
	char path[200];

	snprintf(path, sizeof(path), "%s%s%s", folder, name, suffix);
	return !access(path, R_OK);
}

TEST_F(files, come_and_go_with_the_lockspace)
{
	static const char *const suffixes[] = { "_locks", "_all", "_toss", "_waiters" };

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		EXPECT_TRUE(present(TABLES, self->ls.name, suffixes[i]))
			TH_LOG("%s", suffixes[i]);
	}
	close(self->fd);
	close(self->other);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		EXPECT_FALSE(present(TABLES, self->ls.name, suffixes[i]))
			TH_LOG("%s", suffixes[i]);
	}
}

/* Nothing is asked of other nodes, and no resource is kept that has no locks. */
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
	EXPECT_EQ(DIFFERS(0, 1), present("/sys/kernel/dlm/", self->ls.name, ""));
	EXPECT_EQ(DIFFERS(0, 1), present("/sys/kernel/dlm", "", ""));
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
	static char text[16384];
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
	SKIP_ON_REFERENCE("stops at the end of a line in a name");
	for (int byte = 1; byte <= UINT8_MAX; byte++) {
		char name[] = { 'a', byte, 'z', 0 };

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
	ASSERT_SAYS(says, "LVB len 32 seq 1\n68 65 6c 6c 6f 00 00 00 ");
	ASSERT_SAYS(says, "Granted\n%08x PR ", writer);
	ASSERT_SAYS(says, "  active        3\n  master        3\n");
	ASSERT_SAYS(says, "  with lvb      1\n");
	ASSERT_SAYS(says, "  nodeid error  0\n  inactive      0\n");
	ASSERT_SAYS(says, "  total         5\n  granted       3\n  convert       1\n  waiting       1\n");
	ASSERT_SAYS(says, "  expect reply  0\n");
	ASSERT_EQ(NULL, strstr(says, "error rv"));
}

/* ---- While others lock --------------------------------------------------------------------- */

enum { STAYING = 200000, PER_RESOURCE = 20000 };

/* What the other process has done; it ends when told to. */
struct churn {
	volatile unsigned long rounds;
	volatile bool enough;
};

FIXTURE(crowd) { struct lockspace ls; int fd; struct churn *churn; pid_t child; int *seen; };

/* Locks and unlocks: on names that nobody else has, and on others'. */
static void run_churn(struct churn *churn, const char *lockspace)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK);

	while (!churn->enough) {
		enum { BATCH = 20 };
		int ids[BATCH];
		char name[32];

		for (int i = 0; i < BATCH; i++) {
			const char *of = i % 2 ? "mine" : "staying";

			snprintf(name, sizeof(name), "%s%lu", of, (churn->rounds * 7919 + i) % STAYING);
			ids[i] = lock(fd, i % 4 ? NL : EX, 0, name);
			if (ids[i] <= 0)
				_exit(1);
		}
		for (int i = 0; i < BATCH; i++) {
			struct record record;

			if (unlock(fd, ids[i], DLM_LKF_FORCEUNLOCK))
				_exit(2);
			while (read_record(fd, &record) > 0)
				;
		}
		churn->rounds++;
	}
	_exit(0);
}

FIXTURE_SETUP(crowd)
{
	size_t size = sizeof(*self->seen) * STAYING;

	SKIP_ON_REFERENCE("repeats some locks and leaves others out");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->churn = mmap(NULL, sizeof(*self->churn), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	self->seen = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
			  -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->churn);
	ASSERT_NE(MAP_FAILED, (void *)self->seen);
}

FIXTURE_TEARDOWN(crowd) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

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

/* The other process gets on, by so much at least. */
#define AWAIT_ROUNDS(more) \
do { \
	long long _deadline = microseconds() + 6 * PATIENCE_MS * 1000LL; \
	unsigned long _until = self->churn->rounds + (more); \
	while (self->churn->rounds < _until) { \
		ASSERT_LT(microseconds(), _deadline) TH_LOG("nobody gets on"); \
		usleep(1000); \
	} \
} while (0)

static void hold_numbered(struct __test_metadata *_metadata, int fd, int mode, const char *name,
			  int from, int to)
{
	for (int i = from; i < to; i++) {
		char numbered[32];

		snprintf(numbered, sizeof(numbered), name, i);
		HOLD(fd, mode, 0, numbered);
	}
}

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

/* Read the table, and while it is half read let the other get on; count which locks it has. */
#define DUMP(table, step) \
({ \
	struct reader _reader = read_table(table, self->ls.name); \
	const struct row *_row; \
	int _rows = 0; \
	while ((_row = next_row(&_reader))) { \
		int _number; \
		if (_row->pid == getpid() && sscanf(_row->name, "staying%d", &_number) == 1) { \
			ASSERT_EQ(0, self->seen[_number]) TH_LOG("%s is there twice", _row->name); \
			self->seen[_number]++; \
			_rows++; \
		} \
		if (_row->pid == getpid() && _rows % (step) == 0) \
			AWAIT_ROUNDS(1); \
	} \
	ASSERT_STREQ("", _reader.fault); \
	close_table(&_reader); \
	_rows; \
})

/* Between the pages of a table others get on, it takes no memory, and what stays is told once. */
TEST_F_TIMEOUT(crowd, dump, 300)
{
	long free_before, slab_before;

	hold_numbered(_metadata, self->fd, NL, "staying%d", 0, STAYING);
	BEGIN_CHURN();
	for (enum table table = LOCKS; table <= ALL; table++) {
		memset(self->seen, 0, sizeof(*self->seen) * STAYING);
		free_before = memory("MemFree:");
		slab_before = memory("Slab:");
		ASSERT_EQ(STAYING, DUMP(table, STAYING / 20));
		EXPECT_LT(free_before - memory("MemFree:"), 8192);
		EXPECT_LT(memory("Slab:") - slab_before, 4096);
	}
	END_CHURN();
}

/* Many on one resource are no reason to print them all at once. */
TEST_F_TIMEOUT(crowd, on_one_resource, 300)
{
	struct reader reader;
	long free_before;

	for (int i = 0; i < PER_RESOURCE; i++)
		HOLD(self->fd, NL, 0, "crowded");
	BEGIN_CHURN();
	free_before = memory("MemFree:");
	for (enum table table = LOCKS; table <= ALL; table++) {
		int rows = 0, last = 0;

		reader = read_table(table, self->ls.name);
		while (next_row(&reader)) {
			if (strcmp("crowded", reader.row.name))
				continue;
			ASSERT_NE(last, reader.row.id);
			last = reader.row.id;
			if (++rows % (PER_RESOURCE / 10) == 0)
				AWAIT_ROUNDS(1);
		}
		ASSERT_STREQ("", reader.fault);
		ASSERT_EQ(PER_RESOURCE, rows);
		close_table(&reader);
	}
	EXPECT_LT(free_before - memory("MemFree:"), 8192);
	END_CHURN();
}

/* A place in the table is kept even if what stood there goes. */
TEST_F_TIMEOUT(crowd, again_and_again, 300)
{
	enum { FEW = 100, TIMES = 30 };

	hold_numbered(_metadata, self->fd, NL, "staying%d", 0, FEW);
	BEGIN_CHURN();
	for (int i = 0; i < TIMES; i++) {
		memset(self->seen, 0, sizeof(*self->seen) * FEW);
		ASSERT_EQ(FEW, DUMP(i % 2 ? ALL : LOCKS, FEW / 4)) TH_LOG("time %d", i);
	}
	END_CHURN();
}

/* Who looks at the table while its locks go, all of them, comes to an end. */
TEST_F_TIMEOUT(crowd, goes_while_somebody_looks, 300)
{
	int ids[1000];
	struct reader reader;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = HOLD(self->fd, NL, 0, i % 2 ? "odd" : "even");
	for (enum table table = LOCKS; table <= ALL; table++) {
		setvbuf((reader = read_table(table, self->ls.name)).file, NULL, _IOFBF, 4096);
		ASSERT_NE(NULL, next_row(&reader));
		if (table == ALL)
			for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
				UNLOCK(self->fd, ids[i]);
		while (next_row(&reader))
			;
		ASSERT_STREQ("", reader.fault);
		close_table(&reader);
	}
}

TEST_HARNESS_MAIN
