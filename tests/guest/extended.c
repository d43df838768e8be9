// SPDX-License-Identifier: GPL-2.0
/* Requests of version 6.1: replies from the write, series of requests, many records in a read. */
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include "dlm_test.h"
#include "extended.h"

LOCKSPACE_FIXTURE(returned)

/* What write() returns, as a 64-bit program sees it, or a negative errno. */
static ssize_t submit_returning(int fd, struct request r)
{
	ssize_t result;

	r = returning(r);
	result = write(fd, r.bytes, r.size);
	if (result < 0 && result > -4096)
		return -errno;
	return (uint32_t)result;
}

TEST_F(returned, lock_convert_unlock)
{
	ssize_t id = submit_returning(self->fd, lock_request(EX, 0, "r"));

	ASSERT_GT(id, 0);
	ASSERT_EQ(0, id & PENDING);
	ASSERT_TAKEN(self->other, "r", CR);
	ASSERT_EQ(0, submit_returning(self->fd, convert_request(id, PR, 0)));
	UNLOCK(self->other, HOLD(self->other, PR, 0, "r"));
	ASSERT_EQ(0, submit_returning(self->fd, unlock_request(id, 0)));
	ASSERT_FREE(self->other, "r", EX);
	ASSERT_HEAR(self->fd, id, "nothing");
	ASSERT_EQ(0, poll_now(self->fd, POLLIN));
}

TEST_F(returned, refusals)
{
	int holder = HOLD(self->other, PR, 0, "r");
	int id = HOLD(self->fd, PR, 0, "r");

	ASSERT_EQ(-EAGAIN, submit_returning(self->fd, lock_request(EX, DLM_LKF_NOQUEUE, "r")));
	ASSERT_EQ(-EAGAIN, submit_returning(self->fd, convert_request(id, EX, DLM_LKF_NOQUEUE)));
	ASSERT_EQ(0, convert(self->other, holder, EX, 0));
	ASSERT_EQ(-EDEADLK, submit_returning(self->fd, convert_request(id, EX, 0)));
	ASSERT_HEAR(self->fd, id, "nothing");
	UNLOCK(self->fd, id);
	ASSERT_HEAR(self->other, holder, "granted");
}

TEST_F(returned, noqueuebast_is_heeded)
{
	int holder = HOLD(self->other, EX, WITH_BAST, "r");
	uint32_t flags = DLM_LKF_NOQUEUE | DLM_LKF_NOQUEUEBAST;

	ASSERT_EQ(-EAGAIN, submit_returning(self->fd, lock_request(PR, flags, "r")));
	ASSERT_HEAR(self->other, holder, "blocks PR");
}

TEST_F(returned, what_waits_is_told)
{
	int holder = HOLD(self->other, EX, 0, "r");
	uint32_t result = submit_returning(self->fd, lock_request(EX, 0, "r"));
	int id = result & ~PENDING;

	ASSERT_TRUE(result & PENDING);
	ASSERT_HEAR(self->fd, id, "nothing");
	UNLOCK(self->other, holder);
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_EQ(0, submit_returning(self->fd, convert_request(id, PR, 0)));
	holder = HOLD(self->other, PR, 0, "r");
	ASSERT_EQ(PENDING, submit_returning(self->fd, convert_request(id, EX, 0)));
	ASSERT_EQ(0, submit_returning(self->other, unlock_request(holder, 0)));
	ASSERT_HEAR(self->fd, id, "granted");
}

/* A number cannot say these. */
TEST_F(returned, value_blocks_and_flags_are_told)
{
	uint32_t result = submit_returning(self->fd, lock_request(EX, DLM_LKF_VALBLK, "r"));
	int id = result & ~PENDING, other;

	ASSERT_TRUE(result & PENDING);
	ASSERT_HEAR(self->fd, id, "granted \"\"");
	ASSERT_EQ(0, submit_returning(self->fd, with_value(unlock_request(id, DLM_LKF_VALBLK), "v")));
	ASSERT_HEAR(self->fd, id, "nothing");
	other = HOLD(self->other, PR, 0, "r");
	result = submit_returning(self->fd, lock_request(EX, DLM_LKF_ALTPR, "r"));
	ASSERT_TRUE(result & PENDING);
	ASSERT_HEAR(self->fd, result & ~PENDING, "granted altmode");
	UNLOCK(self->other, other);
}

TEST_F(returned, an_owner_hears_of_others)
{
	int id = HOLD(self->fd, EX, 0, "r");

	ASSERT_EQ(PENDING, submit_returning(self->other, convert_request(id, PR, 0)));
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_EQ(PENDING, submit_returning(self->other, unlock_request(id, 0)));
	ASSERT_HEAR(self->fd, id, "EUNLOCK");
	ASSERT_HEAR(self->other, id, "nothing");
}

/* To 6.0 the flag means what any unknown one does. */
TEST_F(returned, not_by_older_requests)
{
	int id = HOLD(self->fd, EX, DLM_LKF_RETURN, "r");

	ASSERT_EQ(-EINVAL, unlock(self->fd, id, DLM_LKF_RETURN));
	UNLOCK(self->fd, id);
}

/* Cancelling and adopting have no reply but the usual one. */
TEST_F(returned, means_nothing_elsewhere)
{
	int holder = HOLD(self->other, EX, 0, "r"), id = WAIT(self->fd, EX, 0, "r"), file;

	ASSERT_EQ(0, submit_returning(self->fd, unlock_request(id, DLM_LKF_CANCEL)));
	ASSERT_HEAR(self->fd, id, "ECANCEL");
	ASSERT_EQ(0, submit_returning(self->other, unlock_request(holder, DLM_LKF_CANCEL)));
	ASSERT_HEAR(self->other, holder, "nothing");
	UNLOCK(self->other, holder);

	file = open_lockspace(self->ls.name, O_NONBLOCK);
	id = HOLD(file, EX, DLM_LKF_PERSISTENT, "r");
	close(file);
	ASSERT_EQ(id, submit_returning(self->fd, lock_request(EX, DLM_LKF_ORPHAN, "r")));
	UNLOCK(self->fd, id);
}

/* Its end is told to nobody else. */
TEST_F(returned, conversions_of_an_orphan)
{
	int file = open_lockspace(self->ls.name, O_NONBLOCK);
	int id = HOLD(file, EX, DLM_LKF_PERSISTENT, "r"), other;

	close(file);
	ASSERT_EQ(0, submit_returning(self->fd, convert_request(id, NL, 0)));
	ASSERT_EQ(0, submit_returning(self->fd, convert_request(id, CR, DLM_LKF_VALBLK)));
	other = HOLD(self->other, PR, 0, "r");
	ASSERT_EQ(PENDING, submit_returning(self->fd, convert_request(id, EX, 0)));
	ASSERT_EQ(id, submit(self->fd, lock_request(CR, DLM_LKF_ORPHAN, "r")));
	UNLOCK(self->other, other);
	ASSERT_HEAR(self->fd, id, "granted");
}

TEST_F(returned, errors)
{
	ASSERT_EQ(-EINVAL, submit_returning(self->fd, lock_request(EX, DLM_LKF_CANCEL, "r")));
	ASSERT_EQ(-ENOENT, submit_returning(self->fd, unlock_request(1, 0)));
	ASSERT_EQ(-ENOENT, submit_returning(self->fd, unlock_request(0, 0)));
	ASSERT_EQ(-ENOENT, submit_returning(self->fd, convert_request(1, NL, 0)));
}

/* ---- Purges that say whose locks are meant --------------------------------------------------- */

/* The caller's: an orphan, and of two descriptors a lock each, and what they were not told. */
LOCKSPACE_FIXTURE(purged)

static int leave_orphan(struct lockspace *ls)
{
	int fd = open_lockspace(ls->name, O_NONBLOCK);
	int id = lock(fd, EX, DLM_LKF_PERSISTENT, "orphan");

	close(fd);
	return id;
}

#define HOLD_SOME() \
do { \
	ASSERT_GT(leave_orphan(&self->ls), 0); \
	HOLD(self->fd, EX, 0, "own"); \
	HOLD(self->other, EX, 0, "another's"); \
	ASSERT_GT(lock(self->fd, EX, 0, "unread"), 0); \
} while (0)

TEST_F(purged, orphans_of_the_caller)
{
	HOLD_SOME();
	ASSERT_EQ(0, submit(self->fd, scoped_purge(PURGE_ORPHANS, gettid())));
	ASSERT_FREE(self->other, "orphan", EX);
	ASSERT_TAKEN(self->other, "own", CR);
	ASSERT_TAKEN(self->other, "unread", CR);
	ASSERT_EQ(POLLIN, poll_now(self->fd, POLLIN));
}

TEST_F(purged, orphans_of_another)
{
	HOLD_SOME();
	ASSERT_EQ(0, submit(self->fd, scoped_purge(PURGE_ORPHANS, getppid())));
	ASSERT_TAKEN(self->other, "orphan", CR);
	ASSERT_TAKEN(self->other, "own", CR);
}

TEST_F(purged, orphans_of_all)
{
	HOLD_SOME();
	ASSERT_EQ(0, submit(self->fd, scoped_purge(PURGE_ORPHANS, 0)));
	ASSERT_FREE(self->other, "orphan", EX);
	ASSERT_TAKEN(self->other, "own", CR);
}

TEST_F(purged, locks_of_ones_own)
{
	HOLD_SOME();
	ASSERT_EQ(0, submit(self->fd, scoped_purge(PURGE_OWN, 0)));
	ASSERT_HEAR(self->fd, 0, "nothing");
	ASSERT_FREE(self->other, "own", EX);
	ASSERT_FREE(self->other, "unread", EX);
	ASSERT_TAKEN(self->fd, "orphan", CR);
	ASSERT_TAKEN(self->fd, "another's", CR);
}

/* As in version 6.0. */
TEST_F(purged, what_the_id_says)
{
	HOLD_SOME();
	ASSERT_EQ(0, submit(self->fd, scoped_purge(0, gettid())));
	ASSERT_HEAR(self->fd, 0, "nothing");
	ASSERT_FREE(self->other, "own", EX);
	ASSERT_TAKEN(self->other, "orphan", CR);
	ASSERT_EQ(0, submit(self->fd, scoped_purge(0, 0)));
	ASSERT_FREE(self->other, "orphan", EX);
	ASSERT_TAKEN(self->fd, "another's", CR);
}

TEST_F(purged, what_makes_no_sense)
{
	struct request r = scoped_purge(PURGE_ORPHANS, 0);

	HOLD_SOME();
	for (int bit = 2; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, submit(self->fd, scoped_purge(1U << bit, 0)))
			TH_LOG("bit %d", bit);
	}
	EXPECT_EQ(-EINVAL, submit(self->fd, scoped_purge(PURGE_OWN | PURGE_ORPHANS, 0)));
	EXPECT_EQ(-EINVAL, submit(self->fd, scoped_purge(PURGE_OWN, gettid())));
	r.req.i.purge.nodeid = 2;
	EXPECT_EQ(-EINVAL, submit(self->fd, r));
	ASSERT_TAKEN(self->other, "orphan", CR);
	ASSERT_TAKEN(self->other, "own", CR);
	ASSERT_TAKEN(self->other, "another's", CR);
}

/* In version 6.0 there is no such number, whatever is in its place. */
TEST_F(purged, not_by_older_requests)
{
	struct request r = scoped_purge(PURGE_ORPHANS, gettid());

	HOLD_SOME();
	r.req.version[1] = 0;
	memset(r.req.unused, 0, sizeof(r.req.unused));
	ASSERT_EQ(0, submit(self->fd, r));
	ASSERT_FREE(self->other, "own", EX);
	ASSERT_TAKEN(self->other, "orphan", CR);
}

TEST_F(purged, once_the_lockspace_is_gone)
{
	HOLD_SOME();
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
	EXPECT_EQ(-ENODEV, submit(self->fd, scoped_purge(PURGE_ORPHANS, gettid())));
	EXPECT_EQ(-ENODEV, submit(self->fd, scoped_purge(PURGE_OWN, 0)));
}

/* A daemon that begins anew with the id that it had before frees what it left, and nothing else. */
TEST_F(purged, by_who_has_the_id_of_the_dead)
{
	pid_t dead = spawn(), child;

	if (!dead)
		_exit(leave_orphan(&self->ls) <= 0);
	ASSERT_EQ(0, expect_child(dead));
	child = spawn_as(dead);
	if (!child) {
		int fd = open_lockspace(self->ls.name, O_NONBLOCK);
		int id = lock(fd, EX, 0, "own");

		if (submit(fd, scoped_purge(PURGE_ORPHANS, getpid())) || strcmp("granted", hear(fd, id)))
			_exit(1);
		pause();
	}
	ASSERT_EQ(dead, child);
	ASSERT_TRUE(asleep(child));
	ASSERT_FREE(self->fd, "orphan", EX);
	ASSERT_TAKEN(self->fd, "own", CR);
}

/* ---- Series ---------------------------------------------------------------------------------- */

FIXTURE(series) {
	struct lockspace ls;
	struct series *series;
	int fd, other;
};

FIXTURE_SETUP(series)
{
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	self->series = calloc(1, sizeof(*self->series));
	ASSERT_NE(NULL, self->series);
}

FIXTURE_TEARDOWN(series)
{
	free(self->series);
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
}

static int write_series(int fd, struct series *series)
{
	int result = write(fd, series->bytes, series->size);

	series->size = 0;
	return result < 0 ? -errno : result;
}

static struct request named(int mode, uint32_t flags, int n)
{
	char name[16];

	snprintf(name, sizeof(name), "name %d", n);
	return lock_request(mode, flags, name);
}

#define MANY	64

/* Reads into room for that many bytes, and notes the ids. Returns how many records there were. */
static int read_ids(int fd, int *ids, size_t room, int status)
{
	char bytes[MANY * sizeof(struct record)];
	int length = read(fd, bytes, room), count = 0;

	for (int at = 0; at < length; at += result_at(bytes, at)->length) {
		if (result_at(bytes, at)->lksb.sb_status != status)
			return -1;
		ids[count++] = result_at(bytes, at)->lksb.sb_lkid;
	}
	return length < 0 ? -errno : count;
}

TEST_F(series, many_requests_and_records)
{
	int ids[MANY], gone[MANY];

	for (int i = 0; i < MANY; i++)
		add(self->series, named(EX, 0, i));
	ASSERT_EQ(MANY, write_series(self->fd, self->series));
	ASSERT_EQ(MANY, read_ids(self->fd, ids, sizeof(struct record) * MANY, 0));
	for (int i = 0; i < MANY; i++)
		add(self->series, unlock_request(ids[i], 0));
	ASSERT_EQ(MANY, write_series(self->fd, self->series));
	ASSERT_EQ(MANY, read_ids(self->fd, gone, sizeof(struct record) * MANY, -DLM_EUNLOCK));
	ASSERT_EQ(0, memcmp(ids, gone, sizeof(ids)));
	ASSERT_HEAR(self->fd, 0, "nothing");
}

TEST_F(series, as_many_records_as_fit)
{
	size_t one = sizeof(struct dlm_lock_result);
	int ids[MANY];

	for (int i = 0; i < 10; i++)
		add(self->series, named(EX, i == 5 ? DLM_LKF_VALBLK : 0, i));
	ASSERT_EQ(10, write_series(self->fd, self->series));
	ASSERT_EQ(-EINVAL, read_ids(self->fd, ids, one - 1, 0));
	ASSERT_EQ(1, read_ids(self->fd, ids, one, 0));
	ASSERT_EQ(1, read_ids(self->fd, ids, 2 * one - 1, 0));
	ASSERT_EQ(3, read_ids(self->fd, ids, 3 * one, 0));
	/* The next has a value block. */
	ASSERT_EQ(-EINVAL, read_ids(self->fd, ids, one, 0));
	ASSERT_EQ(1, read_ids(self->fd, ids, 2 * one - 1, 0));
	ASSERT_EQ(4, read_ids(self->fd, ids, sizeof(struct record) * MANY, 0));
	ASSERT_HEAR(self->fd, 0, "nothing");
}

/* A program that never asked for more gets one, as ever. */
TEST_F(series, one_record_for_older_programs)
{
	int ids[MANY];

	for (int i = 0; i < 3; i++)
		ids[i] = submit(self->fd, named(EX, 0, i));
	ASSERT_EQ(1, read_ids(self->fd, ids, sizeof(struct record) * MANY, 0));
	ASSERT_GT(submit(self->fd, extended(named(EX, 0, 3))), 0);
	ASSERT_EQ(3, read_ids(self->fd, ids, sizeof(struct record) * MANY, 0));
	for (int i = 0; i < 3; i++)
		ASSERT_GT(submit(self->other, named(EX, 0, 4 + i)), 0);
	ASSERT_EQ(1, read_ids(self->other, ids, sizeof(struct record) * MANY, 0));
	/* To ask is enough. */
	ASSERT_EQ(-ENOENT, submit(self->other, extended(unlock_request(0, 0))));
	ASSERT_EQ(2, read_ids(self->other, ids, sizeof(struct record) * MANY, 0));
}

/* However wrong it was. */
TEST_F(series, several_records_after_a_malformed_request)
{
	struct request r = extended(named(EX, 0, 0));
	uint16_t length = 7;
	int ids[MANY];

	memcpy(r.bytes + 14, &length, sizeof(length));
	for (int size = r.size; size <= 2 * (int)r.size; size += r.size) {
		int fd = open_lockspace(self->ls.name, O_NONBLOCK);

		memcpy(self->series->bytes, r.bytes, r.size);
		ASSERT_GT(submit(fd, named(CR, 0, 1)), 0);
		ASSERT_GT(submit(fd, named(CR, 0, 2)), 0);
		ASSERT_EQ(-1, write(fd, self->series->bytes, size));
		ASSERT_EQ(EINVAL, errno);
		ASSERT_EQ(2, read_ids(fd, ids, sizeof(struct record) * MANY, 0));
		close(fd);
	}
}

/* The records that did not arrive stay, in order. */
TEST_F(series, records_that_did_not_arrive)
{
	long page = sysconf(_SC_PAGESIZE);
	int count = MANY, first, ids[MANY];
	size_t one = sizeof(struct dlm_lock_result);
	char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, munmap(pages + page, page));
	for (int i = 0; i < count; i++)
		add(self->series, named(EX, 0, i));
	ASSERT_EQ(count, write_series(self->fd, self->series));
	/* Twenty and a half. */
	first = 20;
	ASSERT_EQ(first * one, read(self->fd, pages + page - first * one - one / 2, count * one));
	ASSERT_EQ(count - first, read_ids(self->fd, ids, sizeof(struct record) * MANY, 0));
	for (int i = 1; i < count - first; i++)
		ASSERT_NE(ids[i], ids[i - 1]);
	ASSERT_EQ(result_at(pages, page - one - one / 2)->lksb.sb_status, 0);
	munmap(pages, page);
}

/* Neither does it matter whether the memory is there, or of how many pieces it is. */
TEST_F(series, records_into_memory_to_be_fetched)
{
	size_t one = sizeof(struct dlm_lock_result), all = MANY * one, some = 10 * one + one / 2;
	long page = sysconf(_SC_PAGESIZE);
	int ids[MANY];

	for (int vectored = 0; vectored < 2; vectored++) {
		char *pages = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		char *begin = pages + page - one / 2;
		struct iovec pieces[] = { { begin, some }, { begin + some, all - some } };

		ASSERT_NE(MAP_FAILED, pages);
		for (int i = 0; i < MANY; i++)
			add(self->series, named(NL, 0, i));
		ASSERT_EQ(MANY, write_series(self->fd, self->series));
		ASSERT_EQ(all, vectored ? readv(self->fd, pieces, 2) : read(self->fd, begin, all));
		for (int i = 0; i < MANY; i++) {
			ASSERT_EQ(one, result_at(begin, i * one)->length);
			ASSERT_EQ(0, result_at(begin, i * one)->lksb.sb_status);
			ids[i] = result_at(begin, i * one)->lksb.sb_lkid;
			add(self->series, unlock_request(ids[i], 0));
		}
		ASSERT_EQ(MANY, write_series(self->fd, self->series));
		ASSERT_EQ(all, read(self->fd, begin, all));
		for (int i = 0; i < MANY; i++)
			ASSERT_EQ(ids[i], (int)result_at(begin, i * one)->lksb.sb_lkid);
		ASSERT_HEAR(self->fd, 0, "nothing");
		munmap(pages, 4 * page);
	}
}

TEST_F(series, stops_at_the_first_that_fails)
{
	int id = HOLD(self->fd, EX, 0, "name 0");

	add(self->series, named(EX, 0, 1));
	add(self->series, unlock_request(id, 0));
	add(self->series, unlock_request(id, 0));
	add(self->series, named(EX, 0, 2));
	ASSERT_EQ(2, write_series(self->fd, self->series));
	add(self->series, unlock_request(id, 0));
	add(self->series, named(EX, 0, 2));
	ASSERT_EQ(-ENOENT, write_series(self->fd, self->series));
	ASSERT_FREE(self->other, "name 2", EX);
	ASSERT_FREE(self->other, "name 0", EX);
	ASSERT_TAKEN(self->other, "name 1", EX);
}

/* Each says whose locks it means. */
TEST_F(series, purges)
{
	struct record record;

	ASSERT_GT(leave_orphan(&self->ls), 0);
	HOLD(self->other, EX, 0, "another's");
	add(self->series, named(EX, 0, 1));
	add(self->series, scoped_purge(PURGE_ORPHANS, gettid()));
	add(self->series, lock_request(EX, 0, "orphan"));
	add(self->series, scoped_purge(PURGE_OWN, 0));
	add(self->series, named(EX, 0, 2));
	add(self->series, scoped_purge(PURGE_OWN, gettid()));
	add(self->series, named(EX, 0, 3));
	ASSERT_EQ(5, write_series(self->fd, self->series));
	ASSERT_EQ(sizeof(record.result), read(self->fd, &record, sizeof(record)));
	ASSERT_HEAR(self->fd, 0, "nothing");
	ASSERT_FREE(self->other, "name 1", EX);
	ASSERT_FREE(self->other, "orphan", EX);
	ASSERT_TAKEN(self->other, "name 2", CR);
	ASSERT_FREE(self->other, "name 3", EX);
	ASSERT_TAKEN(self->fd, "another's", CR);
}

TEST_F(series, what_waits_is_acknowledged)
{
	int holder = HOLD(self->other, EX, 0, "name 0");
	struct record record;
	int id;

	add(self->series, named(EX, 0, 0));
	add(self->series, named(EX, 0, 1));
	ASSERT_EQ(2, write_series(self->fd, self->series));
	ASSERT_EQ(sizeof(record.result), read(self->fd, &record, sizeof(record.result)));
	ASSERT_EQ(-EINPROG, record.result.lksb.sb_status);
	ASSERT_EQ(0, record.result.bast_mode);
	ASSERT_EQ(CAST, record.result.user_astaddr);
	ASSERT_EQ(LKSB, record.result.user_lksb);
	id = record.result.lksb.sb_lkid;
	ASSERT_GT(id, 0);
	ASSERT_EQ(sizeof(record.result), read(self->fd, &record, sizeof(record.result)));
	ASSERT_EQ(0, record.result.lksb.sb_status);
	ASSERT_NE(id, (int)record.result.lksb.sb_lkid);
	CANCEL(self->fd, id);
	UNLOCK(self->other, holder);
}

TEST_F(series, refused_at_once_is_not)
{
	int holder = HOLD(self->other, EX, 0, "name 0"), ids[MANY];

	add(self->series, named(EX, DLM_LKF_NOQUEUE, 0));
	add(self->series, named(EX, DLM_LKF_NOQUEUE, 0));
	ASSERT_EQ(2, write_series(self->fd, self->series));
	ASSERT_EQ(2, read_ids(self->fd, ids, sizeof(struct record) * MANY, -EAGAIN));
	UNLOCK(self->other, holder);
}

/* Who unlocks in a series need not hear of it. */
TEST_F(series, returning)
{
	int id = HOLD(self->fd, EX, 0, "r");

	add(self->series, returning(unlock_request(id, 0)));
	add(self->series, returning(unlock_request(id, 0)));
	ASSERT_EQ(1, write_series(self->fd, self->series));
	ASSERT_HEAR(self->fd, 0, "nothing");
	/* A lock whose id nobody would learn. */
	add(self->series, returning(named(EX, 0, 0)));
	add(self->series, named(EX, 0, 1));
	ASSERT_EQ(-EINVAL, write_series(self->fd, self->series));
	add(self->series, named(EX, DLM_LKF_ORPHAN, 0));
	add(self->series, named(EX, 0, 1));
	ASSERT_EQ(-EINVAL, write_series(self->fd, self->series));
}

/* Or has been granted what he asks for, unless he hears that it waits. */
TEST_F(series, returning_conversions)
{
	int free = HOLD(self->fd, NL, 0, "free"), waits = HOLD(self->fd, NL, 0, "r");
	int theirs = HOLD(self->other, NL, 0, "r"), holder = HOLD(self->other, EX, 0, "r");

	add(self->series, returning(convert_request(free, EX, 0)));
	add(self->series, returning(convert_request(waits, EX, 0)));
	add(self->series, returning(convert_request(theirs, CR, 0)));
	add(self->series, returning(convert_request(waits, EX, DLM_LKF_NOQUEUE)));
	ASSERT_EQ(3, write_series(self->fd, self->series));
	ASSERT_HEAR(self->fd, waits, "EINPROG");
	ASSERT_HEAR(self->fd, 0, "nothing");
	UNLOCK(self->other, holder);
	ASSERT_HEAR(self->fd, waits, "granted");
	ASSERT_HEAR(self->other, theirs, "nothing");
}

TEST_F(series, malformed)
{
	struct request r = extended(named(EX, 0, 0));
	void *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint16_t length;

	/* Of older requests, and of one that is. */
	memcpy(self->series->bytes, r.bytes, r.size);
	memcpy(self->series->bytes + r.size, r.bytes, r.size);
	self->series->bytes[4] = 0;
	ASSERT_EQ(-1, write(self->fd, self->series->bytes, 2 * r.size));
	ASSERT_EQ(EINVAL, errno);
	self->series->bytes[4] = 1;
	self->series->bytes[r.size + 4] = 0;
	ASSERT_EQ(1, write(self->fd, self->series->bytes, 2 * r.size));
	self->series->bytes[r.size + 4] = 1;
	/* Of a length that is none, or leads elsewhere. */
	for (int wrong = 1; wrong < 400; wrong++) {
		length = wrong;
		memcpy(self->series->bytes + 14, &length, sizeof(length));
		if (wrong != (int)r.size) {
			ASSERT_EQ(-1, write(self->fd, self->series->bytes, r.size))
				TH_LOG("length %d", wrong);
			ASSERT_EQ(EINVAL, errno);
		}
		if (wrong < (int)r.size || wrong > 2 * (int)r.size) {
			ASSERT_EQ(-1, write(self->fd, self->series->bytes, 2 * r.size))
				TH_LOG("length %d", wrong);
			ASSERT_EQ(EINVAL, errno);
		}
	}
	ASSERT_EQ(-1, write(self->fd, self->series->bytes, 65537));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(-1, write(self->fd, nowhere, 1000));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(-1, write(self->ls.control, self->series->bytes, 2 * r.size));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_TAKEN(self->other, "name 0", EX);
}

/* Bytes behind the name mean nothing, so that each request can begin at a multiple of 8. */
TEST_F(series, aligned)
{
	int ids[MANY];

	for (int i = 0; i < 3; i++) {
		struct request r = named(EX, 0, i);

		r.size = (r.size + 7) & ~7;
		add(self->series, r);
		ASSERT_EQ(0, (int)(self->series->size % 8));
	}
	ASSERT_EQ(3, write_series(self->fd, self->series));
	ASSERT_EQ(3, read_ids(self->fd, ids, sizeof(struct record) * MANY, 0));
	ASSERT_TAKEN(self->other, "name 2", EX);
}

/* Nothing is done of a series that cannot be read to its end. */
TEST_F(series, cut_off)
{
	long page = sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *begin;

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, munmap(pages + page, page));
	for (int i = 0; i < 5; i++)
		add(self->series, named(EX, 0, i));
	begin = pages + page - self->series->size + 1;
	memcpy(begin, self->series->bytes, self->series->size - 1);
	ASSERT_EQ(-1, write(self->fd, begin, self->series->size));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_FREE(self->other, "name 0", EX);
	munmap(pages, page);
}

/* As long as a series can be. */
TEST_F(series, longest)
{
	int count = 0, total = 0;

	while (self->series->size + sizeof(struct dlm_write_request) + 16 <= 65536)
		add(self->series, named(NL, 0, count++));
	ASSERT_EQ(count, write_series(self->fd, self->series));
	for (int n = 1, ids[MANY]; n > 0; total += n) {
		n = read_ids(self->fd, ids, sizeof(struct dlm_lock_result) * MANY, 0);
		if (n == -EAGAIN)
			break;
		ASSERT_GT(n, 0);
	}
	ASSERT_EQ(count, total);
}

TEST_HARNESS_MAIN
