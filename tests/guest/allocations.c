// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation fails once. Each operation is repeated, its first, second, ... allocation (or
 * copy to or from the program) failing, until there is none left to fail. Where that makes it fail,
 * it must be with ENOMEM (EFAULT for a copy), nothing must have changed, and the same operation
 * must then succeed. What is lost by that is found by the kernel's leak detector afterwards.
 *
 * What a request needs in the tables is only taken if it is there at once; else the request is tried
 * again. So before that there is only so much memory that is there at once, down to none, and no more
 * however often it is tried.
 *
 * Needs a kernel with /proc/thread-self/fail-nth, as the debug kernel is.
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "dlm_test.h"
#include "extended.h"

#define PERSISTENT	DLM_LKF_PERSISTENT
#define CONVDEADLK	DLM_LKF_CONVDEADLK
#define NOQUEUE		DLM_LKF_NOQUEUE
#define VALBLK		DLM_LKF_VALBLK

/* ---- Failing on demand --------------------------------------------------------------------- */

static int fail_nth = -1;
static int nth, failures;
static bool failed, at_once;

#define DEBUGFS	"/sys/kernel/debug/"

/* How many times memory is scarce, and by how many bytes more so each time. */
enum { SCARCE = 48, STEP = 64 };

/* Any allocation may fail, in silence; of those of a certain size, if it is not to be waited for. */
static bool can_fail(void)
{
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return fail_nth >= 0 &&
	       put(DEBUGFS "failslab/task-filter", "Y") &&
	       put(DEBUGFS "failslab/probability", "100") &&
	       put(DEBUGFS "failslab/times", "-1") &&
	       put(DEBUGFS "failslab/verbose", "0") &&
	       put(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N") &&
	       put(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N") &&
	       put(DEBUGFS "fail_page_alloc/min-order", "0") &&
	       put(DEBUGFS "fail_page_alloc/verbose", "0") &&
	       put(DEBUGFS "fail_usercopy/verbose", "0");
}

static long number_in(const char *path)
{
	char text[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	read(fd, text, sizeof(text) - 1);
	close(fd);
	return atol(text);
}

static void count_down(int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	pwrite(fail_nth, text, strlen(text), 0);
}

static bool be_scarce(int bytes)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", bytes);
	return put(DEBUGFS "failslab/ignore-gfp-wait", "Y") && put(DEBUGFS "failslab/space", text) &&
	       put("/proc/self/make-it-fail", "1");
}

static bool be_plentiful(void)
{
	return put("/proc/self/make-it-fail", "0") && put(DEBUGFS "failslab/ignore-gfp-wait", "N");
}

/* The nth allocation is to fail; if there is none of that number, memory is to be scarce. */
static bool arm(int n)
{
	if (n <= 0)
		return be_scarce(-n * STEP);
	count_down(n);
	return true;
}

/* Whether something may have failed. Looking may be what fails. */
static bool disarm(int n)
{
	char text[16] = "";
	int left;

	if (n <= 0)
		return be_plentiful();
	left = pread(fail_nth, text, sizeof(text) - 1, 0) < 0 ? 1 : atoi(text);
	count_down(0);
	count_down(0);
	return left == 0;
}

static bool is_failure(long result)
{
	return result == -ENOMEM || result == -EFAULT;
}

static void begin(bool is_at_once)
{
	nth = is_at_once ? -SCARCE - 1 : -1;
	failed = true;
	at_once = is_at_once;
	failures = 0;
}

/* Twice: trying again after each failure, and failing again until there is nothing left to fail. */
static bool next_failure(void)
{
	if (!failed) {
		if (!at_once)
			return false;
		at_once = false;
		nth = -1;
	}
	nth++;
	return true;
}

/* The body of such a loop has one FAILING operation, and leaves things as they were. */
#define EACH_FAILURE		for (begin(true); next_failure();)
/* Only in a row; what was done last, when nothing has failed, may stay. */
#define EACH_FAILURE_IN_A_ROW	for (begin(false); next_failure();)

/*
 * The result of an operation when it has succeeded, be it although an allocation failed. After each
 * failure unchanged is tried.
 */
#define FAILING(operation, unchanged) \
({ \
	long _result; \
	for (;;) { \
		ASSERT_TRUE(arm(nth)); \
		_result = (operation); \
		failed = disarm(nth); \
		if (!is_failure(_result)) \
			break; \
		ASSERT_TRUE(failed); \
		failures++; \
		unchanged; \
		if (at_once) { \
			_result = (operation); \
			break; \
		} \
		nth++; \
	} \
	_result; \
})

/* ---- Locks --------------------------------------------------------------------------------- */

FIXTURE(allocations) { struct lockspace ls; int fd, other; };

FIXTURE_SETUP(allocations)
{
	if (!can_fail())
		SKIP(return, "allocations do not fail on demand on this kernel");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
	ASSERT_GE(self->other, 0);
}

FIXTURE_TEARDOWN(allocations)
{
	if (fail_nth < 0)
		return;
	TH_LOG("%d failures", failures);
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
}

#define SILENCE \
do { \
	ASSERT_HEAR(self->fd, 0, "nothing"); \
	ASSERT_HEAR(self->other, 0, "nothing"); \
} while (0)

/* No lock was made on a name that had none. */
#define STILL_FREE(name)	do { SILENCE; ASSERT_FREE(self->other, name, EX); } while (0)

#define LONG_NAME	"0123456789012345678901234567890123456789012345678901234567890123"

TEST_F(allocations, lock)
{
	EACH_FAILURE {
		int id = FAILING(lock(self->fd, EX, WITH_BAST | VALBLK, LONG_NAME), STILL_FREE(LONG_NAME));

		ASSERT_HEAR(self->fd, id, "granted \"\"");
		UNLOCK(self->fd, id);
	}
	ASSERT_GT(failures, 0);
}

/*
 * Memory that is not there at once is waited for, when no lock is held. What fails first may be some
 * other allocation.
 */
TEST_F(allocations, lock_at_the_second_attempt)
{
	int id;

	ASSERT_TRUE(put(DEBUGFS "failslab/times", "4") && be_scarce(0));
	id = lock(self->fd, EX, 0, LONG_NAME);
	ASSERT_TRUE(be_plentiful());
	ASSERT_EQ(0, number_in(DEBUGFS "failslab/times"));
	ASSERT_HEAR(self->fd, id, "granted");
}

/* The first lock of a new lockspace and of a new descriptor makes what is made on first use. */
TEST_F(allocations, the_first_lock)
{
	EACH_FAILURE {
		int fd, id;

		ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
		self->ls.minor = create_lockspace(self->ls.control, self->ls.name, 0);
		fd = open_lockspace(self->ls.name, O_NONBLOCK);
		id = FAILING(lock(fd, EX, WITH_BAST, "r"), ASSERT_HEAR(fd, 0, "nothing"));
		ASSERT_HEAR(fd, id, "granted");
		ASSERT_TAKEN(fd, "r", CR);
		UNLOCK(fd, id);
		ASSERT_FREE(fd, "r", EX);
		close(fd);
	}
	ASSERT_GT(failures, 0);
}

TEST_F(allocations, lock_beside_others)
{
	HOLD(self->other, PR, 0, "r");
	EACH_FAILURE {
		int id = FAILING(lock(self->fd, PR, WITH_BAST, "r"), SILENCE);

		ASSERT_HEAR(self->fd, id, "granted");
		UNLOCK(self->fd, id);
	}
	ASSERT_GT(failures, 0);
}

/* The holder is told once of each who waits, and not of one whom there was no memory for. */
TEST_F(allocations, lock_that_waits)
{
	int holder = HOLD(self->other, EX, WITH_BAST, "r");

	EACH_FAILURE {
		int id = FAILING(lock(self->fd, EX, WITH_BAST, "r"), SILENCE);

		ASSERT_HEAR(self->fd, id, "nothing");
		ASSERT_HEAR(self->other, holder, "blocks EX");
		CONVERT(self->other, holder, NL, WITH_BAST, "granted");
		ASSERT_HEAR(self->fd, id, "granted");
		UNLOCK(self->fd, id);
		CONVERT(self->other, holder, EX, WITH_BAST, "granted");
		SILENCE;
	}
	ASSERT_GT(failures, 0);
}

TEST_F(allocations, lock_that_is_refused)
{
	HOLD(self->other, EX, 0, "r");
	EACH_FAILURE {
		int id = FAILING(lock(self->fd, PR, NOQUEUE, "r"), SILENCE);

		ASSERT_HEAR(self->fd, id, "EAGAIN");
	}
	ASSERT_GT(failures, 0);
}

/*
 * Wherever the tables are just full, for 600 locks on as many names and as many on one. A lock that
 * succeeded would have made them larger.
 */
TEST_F(allocations, lock_among_many)
{
	enum { MANY = 600 };
	char name[16];

	int sum = 0;

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "r%d", i);
		EACH_FAILURE_IN_A_ROW {
			int id = FAILING(lock(self->fd, EX, 0, name), SILENCE);

			ASSERT_HEAR(self->fd, id, "granted");
			if (failed)
				UNLOCK(self->fd, id);
		}
		sum += failures;
		EACH_FAILURE_IN_A_ROW {
			int id = FAILING(lock(self->other, CR, 0, "one"), SILENCE);

			ASSERT_HEAR(self->other, id, "granted");
			if (failed)
				UNLOCK(self->other, id);
		}
		sum += failures;
	}
	failures = sum;
	/* More than a copy each. */
	ASSERT_GT(failures, 2 * MANY);
}

TEST_F(allocations, convert)
{
	int id = HOLD(self->fd, NL, 0, "r");

	EACH_FAILURE {
		ASSERT_EQ(0, FAILING(convert(self->fd, id, EX, WITH_BAST), STILL_FREE("r")));
		ASSERT_HEAR(self->fd, id, "granted");
		ASSERT_TAKEN(self->other, "r", CR);
		CONVERT(self->fd, id, NL, 0, "granted");
	}
}

/* A value of an attempt that failed is not seen. */
TEST_F(allocations, convert_with_a_value)
{
	int id = LOCK(self->fd, NL, VALBLK, "r", "granted \"\"");
	int reader = LOCK(self->other, NL, VALBLK, "r", "granted \"\"");
	const char *old = "granted \"\"";

	EACH_FAILURE {
		struct request leave = with_value(convert_request(id, NL, VALBLK), "new");

		CONVERT(self->fd, id, EX, VALBLK, old);
		old = "granted \"old\"";
		ASSERT_EQ(0, FAILING(submit(self->fd, leave), SILENCE));
		ASSERT_HEAR(self->fd, id, "granted");
		CONVERT(self->other, reader, EX, VALBLK, "granted \"new\"");
		ASSERT_EQ(0, submit(self->other, with_value(convert_request(reader, NL, VALBLK), "old")));
		ASSERT_HEAR(self->other, reader, "granted");
	}
}

TEST_F(allocations, convert_that_waits)
{
	int id = HOLD(self->fd, CR, WITH_BAST, "r");
	int holder = HOLD(self->other, CR, WITH_BAST, "r");

	EACH_FAILURE {
		ASSERT_EQ(0, FAILING(convert(self->fd, id, EX, WITH_BAST), SILENCE));
		ASSERT_HEAR(self->fd, id, "nothing");
		ASSERT_HEAR(self->other, holder, "blocks EX");
		CONVERT(self->other, holder, NL, WITH_BAST, "granted");
		ASSERT_HEAR(self->fd, id, "granted");
		CONVERT(self->fd, id, CR, WITH_BAST, "granted");
		CONVERT(self->other, holder, CR, WITH_BAST, "granted");
		SILENCE;
	}
}

TEST_F(allocations, convert_that_is_refused)
{
	int id = HOLD(self->fd, CR, 0, "r");

	HOLD(self->other, CR, 0, "r");
	EACH_FAILURE {
		ASSERT_EQ(0, FAILING(convert(self->fd, id, EX, NOQUEUE), SILENCE));
		ASSERT_HEAR(self->fd, id, "EAGAIN");
	}
}

/* Each holds PR and wants EX: the second is told of the deadlock, or demoted. */
TEST_F(allocations, conversion_deadlock)
{
	int id = HOLD(self->fd, PR, 0, "r");
	int holder = HOLD(self->other, PR, 0, "r");

	CONVERT(self->other, holder, EX, 0, "nothing");
	EACH_FAILURE {
		ASSERT_EQ(0, FAILING(convert(self->fd, id, EX, 0), SILENCE));
		ASSERT_HEAR(self->fd, id, "EDEADLK");
	}
}

TEST_F(allocations, demotion)
{
	EACH_FAILURE {
		int id = HOLD(self->fd, PR, 0, "r");
		int holder = HOLD(self->other, PR, 0, "r");

		CONVERT(self->other, holder, EX, 0, "nothing");
		ASSERT_EQ(0, FAILING(convert(self->fd, id, EX, CONVDEADLK), SILENCE));
		ASSERT_HEAR(self->other, holder, "granted");
		UNLOCK(self->other, holder);
		ASSERT_HEAR(self->fd, id, "granted demoted");
		UNLOCK(self->fd, id);
	}
}

/* ---- The way out: letting go must not take memory -------------------------------------------- */

/* An operation that a copy may stop, but no want of memory. */
#define UNFAILING(operation, unchanged) \
	FAILING(({ int _answer = (operation); ASSERT_NE(-ENOMEM, _answer); _answer; }), unchanged)

TEST_F(allocations, unlock)
{
	EACH_FAILURE {
		int id = LOCK(self->fd, EX, VALBLK, "r", "granted \"\"");
		int waiter = WAIT(self->other, EX, WITH_BAST, "r");

		ASSERT_EQ(0, UNFAILING(unlock(self->fd, id, VALBLK), SILENCE));
		ASSERT_HEAR(self->fd, id, "EUNLOCK");
		ASSERT_HEAR(self->other, waiter, "granted");
		UNLOCK(self->other, waiter);
	}
}

TEST_F(allocations, unlock_by_force)
{
	HOLD(self->other, PR, 0, "r");
	EACH_FAILURE {
		int id = HOLD(self->fd, PR, 0, "r");

		CONVERT(self->fd, id, EX, 0, "nothing");
		ASSERT_EQ(0, UNFAILING(unlock(self->fd, id, DLM_LKF_FORCEUNLOCK), SILENCE));
		ASSERT_HEAR(self->fd, id, "EUNLOCK");
	}
}

TEST_F(allocations, unlock_of_a_waiter)
{
	HOLD(self->other, EX, 0, "r");
	EACH_FAILURE {
		int id = WAIT(self->fd, PR, 0, "r");

		ASSERT_EQ(0, UNFAILING(unlock(self->fd, id, 0), SILENCE));
		ASSERT_HEAR(self->fd, id, "EUNLOCK");
	}
}

TEST_F(allocations, cancel)
{
	HOLD(self->other, PR, 0, "r");
	EACH_FAILURE {
		int id = HOLD(self->fd, CR, 0, "r");

		CONVERT(self->fd, id, EX, 0, "nothing");
		ASSERT_EQ(0, UNFAILING(unlock(self->fd, id, DLM_LKF_CANCEL), SILENCE));
		ASSERT_HEAR(self->fd, id, "ECANCEL");
		UNLOCK(self->fd, id);
	}
}

/* close() cannot fail: all goes, whatever memory there is. */
TEST_F(allocations, close)
{
	EACH_FAILURE {
		int waiter;

		HOLD(self->other, EX, WITH_BAST, "r");
		HOLD(self->other, EX, PERSISTENT, "s");
		waiter = WAIT(self->fd, PR, WITH_BAST, "r");
		ASSERT_EQ(0, FAILING(close(self->other) ? -errno : 0, ASSERT_TRUE(false)));
		ASSERT_HEAR(self->fd, waiter, "granted");
		UNLOCK(self->fd, waiter);
		self->other = open_lockspace(self->ls.name, O_NONBLOCK);
		ASSERT_TAKEN(self->other, "s", CR);
		ASSERT_EQ(0, purge(self->other, 0));
		ASSERT_FREE(self->other, "s", EX);
	}
}

/* ---- Orphans ------------------------------------------------------------------------------- */

#define ORPHAN(resource) \
({ \
	int _orphan = HOLD(self->other, EX, PERSISTENT, resource); \
	close(self->other); \
	self->other = open_lockspace(self->ls.name, O_NONBLOCK); \
	_orphan; \
})

#define STILL_TAKEN(name)	do { SILENCE; ASSERT_TAKEN(self->fd, name, CR); } while (0)

TEST_F(allocations, adopt)
{
	EACH_FAILURE {
		int orphan = ORPHAN("r");

		ASSERT_EQ(orphan, FAILING(adopt(self->other, EX, WITH_BAST, "r"), STILL_TAKEN("r")));
		STILL_TAKEN("r");
		UNLOCK(self->other, orphan);
		ASSERT_FREE(self->fd, "r", EX);
	}
	ASSERT_GT(failures, 0);
}

TEST_F(allocations, purge)
{
	EACH_FAILURE {
		ORPHAN("r");
		ASSERT_EQ(0, UNFAILING(purge(self->fd, 0), STILL_TAKEN("r")));
		ASSERT_FREE(self->fd, "r", EX);
	}
}

TEST_F(allocations, purge_of_ones_own)
{
	EACH_FAILURE {
		HOLD(self->other, EX, WITH_BAST, "r");
		ASSERT_EQ(0, UNFAILING(purge(self->other, gettid()), STILL_TAKEN("r")));
		ASSERT_FREE(self->fd, "r", EX);
	}
}

/* ---- Hearing ------------------------------------------------------------------------------- */

/* Like read_record, but by readv(). */
static int readv_record(int fd, struct record *record)
{
	struct iovec all = { record, sizeof(*record) };
	int n;

	memset(record, 0xff, sizeof(*record));
	n = readv(fd, &all, 1);
	return n < 0 ? -errno : n;
}

/* What could not be copied at once is copied again, so no single failure is told. */
TEST_F(allocations, read)
{
	int (*const ways[])(int fd, struct record *record) = { read_record, readv_record };

	for (int way = 0; way < 2; way++) {
		EACH_FAILURE {
			int id = lock(self->fd, EX, VALBLK, "r");
			struct record record;
			int n = FAILING(ways[way](self->fd, &record), SILENCE);

			ASSERT_STREQ("granted \"\"", describe(&record, n, id));
			UNLOCK(self->fd, id);
		}
		ASSERT_EQ(0, failures);
	}
}

/* A granted lock that the write itself returned, and what it returns. */
TEST_F(allocations, returned)
{
	EACH_FAILURE {
		int id = FAILING(submit(self->fd, returning(lock_request(EX, 0, "r"))),
				 STILL_FREE("r"));

		ASSERT_GT(id, 0);
		ASSERT_EQ(0, submit(self->fd, returning(unlock_request(id, 0))));
		SILENCE;
	}
	ASSERT_GT(failures, 0);
}

/* Of what cannot be copied it cannot be seen that it is a series, so it has a wrong size. */
static int write_series(int fd, const struct series *series)
{
	int result = write(fd, series->bytes, series->size);

	if (result < 0)
		return errno == EINVAL ? -EFAULT : -errno;
	return result;
}

/* A series goes as far as memory allows, and the rest can follow. */
TEST_F(allocations, series)
{
	enum { COUNT = 12 };
	static struct series series;
	struct request requests[COUNT];

	for (int i = 0; i < COUNT; i++) {
		char name[2] = { 'a' + i };

		requests[i] = lock_request(EX, 0, name);
		add(&series, requests[i]);
	}
	EACH_FAILURE {
		int count = FAILING(write_series(self->fd, &series), STILL_FREE("a"));

		ASSERT_GT(count, 0);
		for (; count < COUNT; count++)
			ASSERT_GT(submit(self->fd, extended(requests[count])), 0);
		for (int i = 0; i < COUNT; i++) {
			struct record record;
			int length = read_record(self->fd, &record);
			int id = record.result.lksb.sb_lkid;

			ASSERT_STREQ("granted", describe(&record, length, id));
			ASSERT_EQ(0, submit(self->fd, returning(unlock_request(id, 0))));
		}
		SILENCE;
	}
	ASSERT_GT(failures, 0);
}

TEST_F(allocations, read_what_blocks)
{
	EACH_FAILURE {
		int id = HOLD(self->fd, EX, WITH_BAST, "r");
		int waiter = WAIT(self->other, PR, 0, "r");
		struct record record;
		int n = FAILING(readv_record(self->fd, &record), SILENCE);

		ASSERT_STREQ("blocks PR", describe(&record, n, id));
		UNLOCK(self->other, waiter);
		UNLOCK(self->fd, id);
	}
	ASSERT_EQ(0, failures);
}

/* More descriptors than poll() has room for without an allocation. */
TEST_F(allocations, poll)
{
	struct pollfd all[40];

	for (int i = 0; i < 40; i++)
		all[i] = (struct pollfd){ .fd = open_lockspace(self->ls.name, 0), .events = POLLIN };
	HOLD(self->fd, NL, 0, "r");
	lock(all[39].fd, NL, 0, "r");
	EACH_FAILURE {
		ASSERT_EQ(1, FAILING(poll(all, 40, -1) < 0 ? -errno : 1, {}));
		ASSERT_EQ(POLLIN, all[39].revents);
	}
	ASSERT_GT(failures, 0);
}

TEST_F(allocations, epoll)
{
	EACH_FAILURE {
		int epoll = epoll_create1(0);
		struct epoll_event event = { .events = EPOLLIN };
		int id;

		ASSERT_EQ(0, FAILING(epoll_ctl(epoll, EPOLL_CTL_ADD, self->fd, &event) ? -errno : 0, {}));
		ASSERT_EQ(0, epoll_wait(epoll, &event, 1, 0));
		id = lock(self->fd, EX, 0, "r");
		ASSERT_EQ(1, epoll_wait(epoll, &event, 1, 0));
		ASSERT_HEAR(self->fd, id, "granted");
		UNLOCK(self->fd, id);
		close(epoll);
	}
	ASSERT_GT(failures, 0);
}

/* ---- Files and lockspaces --------------------------------------------------------------------- */

static int try_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

TEST_F(allocations, open)
{
	static const char *const device[] = { "/dev/dlm-control", "/dev/dlm-monitor", NULL };
	char own[64];

	snprintf(own, sizeof(own), "/dev/dlm_%s", self->ls.name);
	for (int i = 0; i < 3; i++) {
		EACH_FAILURE {
			int fd = FAILING(try_open(device[i] ?: own), {});

			ASSERT_GE(fd, 0);
			if (!device[i])
				ASSERT_FREE(fd, "r", EX);
			close(fd);
		}
		ASSERT_GT(failures, 0);
	}
}

/* Until it is there, the name is free; when it is there, all of it is. */
TEST_F(allocations, create_lockspace)
{
	EACH_FAILURE {
		int minor = FAILING(create_lockspace(self->ls.control, "new", DLM_LSFL_NEWEXCL),
				    ASSERT_EQ(-ENOENT, try_open("/dev/dlm_new")));
		int fd;

		ASSERT_GT(minor, 0);
		fd = try_open("/dev/dlm_new");
		ASSERT_GE(fd, 0);
		ASSERT_FREE(fd, "r", EX);
		close(fd);
		ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, 0));
		ASSERT_EQ(-ENOENT, try_open("/dev/dlm_new"));
	}
	ASSERT_GT(failures, 0);
}

TEST_F(allocations, share_lockspace)
{
	EACH_FAILURE {
		ASSERT_EQ(self->ls.minor,
			  FAILING(create_lockspace(self->ls.control, self->ls.name, 0), SILENCE));
		ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
		ASSERT_FREE(self->fd, "r", EX);
	}
}

/* What people can see: how many lines, or an error. */
static int look(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), lines = 0, n;
	static char text[4096];

	if (fd < 0)
		return -errno;
	while ((n = read(fd, text, sizeof(text))) > 0)
		for (int i = 0; i < n; i++)
			lines += text[i] == '\n';
	n = n < 0 ? -errno : lines;
	close(fd);
	return n;
}

TEST_F(allocations, look)
{
	enum { MANY = 100, FEW = 60 };
	const struct { const char *format; int lines; } files[] = {
		{ DEBUGFS "dlm/%s_locks", MANY }, { DEBUGFS "dlm/%s_all", MANY },
		{ DEBUGFS "dlm/%s_toss", 0 }, { DEBUGFS "dlm/%s_waiters", 0 },
		{ DEBUGFS "dlm/owners", MANY }, { DEBUGFS "dlm/files", 1 },
		{ numbered("/proc/self/fdinfo/", self->fd), FEW },
	};

	for (int i = 0; i < MANY; i++)
		lock(self->fd, PR, 0, i % 2 ? LONG_NAME : "r");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char path[128];
		int lines;

		snprintf(path, sizeof(path), files[i].format, self->ls.name);
		lines = look(path);
		ASSERT_GE(lines, files[i].lines);
		EACH_FAILURE
			ASSERT_EQ(lines, FAILING(look(path), {}));
		ASSERT_GT(failures, 0);
	}
}

/* With locks and files: the way out again. */
TEST_F(allocations, remove_lockspace)
{
	EACH_FAILURE {
		int minor = create_lockspace(self->ls.control, "old", 0);
		int fd = try_open("/dev/dlm_old");

		HOLD(fd, EX, 0, "r");
		lock(fd, EX, 0, "r");
		ASSERT_EQ(0, UNFAILING(remove_lockspace(self->ls.control, minor, DLM_USER_LSFLG_FORCEFREE),
				       ASSERT_TAKEN(fd, "r", CR)));
		ASSERT_EQ(-ENOENT, try_open("/dev/dlm_old"));
		ASSERT_EQ(POLLHUP | POLLERR | POLLIN, poll_now(fd, POLLIN));
		ASSERT_EQ(-ENODEV, lock(fd, EX, 0, "r"));
		close(fd);
	}
}

TEST_HARNESS_MAIN
