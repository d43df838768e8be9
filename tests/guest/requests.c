// SPDX-License-Identifier: GPL-2.0
/* Lock, convert, unlock, cancel: what each returns, how it completes, with whose pointers. */
#include <limits.h>
#include "dlm_test.h"

LOCKSPACE_FIXTURE(requests)

/* ---- Requests ---------------------------------------------------------------------------- */

TEST_F(requests, ids_are_positive_and_distinct)
{
	int ids[64];

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		ids[i] = HOLD(self->fd, PR, 0, "r");
		for (size_t j = 0; j < i; j++)
			ASSERT_NE(ids[j], ids[i]);
	}
}

/* A failing NOQUEUE request has an id too; the refusal comes in its completion. */
TEST_F(requests, noqueue)
{
	int fd = self->fd;
	int id;

	HOLD(fd, EX, 0, "r");
	id = LOCK(fd, EX, DLM_LKF_NOQUEUE, "r", "EAGAIN");
	ASSERT_EQ(-ENOENT, unlock(fd, id, 0));
	ASSERT_EQ(-ENOENT, convert(fd, id, NL, 0));
}

TEST_F(requests, noqueue_conversion)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, 0, "r");
	int id = HOLD(fd, PR, 0, "r");

	CONVERT(fd, id, EX, DLM_LKF_NOQUEUE, "EAGAIN");
	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, id, "nothing");
	ASSERT_TAKEN(fd, "r", CW);
	ASSERT_FREE(fd, "r", PR);
}

/* A name is bytes, none to 64 of them. */
TEST_F(requests, names_are_bytes)
{
	static const struct { const char *bytes; int length; } names[] = {
		{ "", 0 }, { "a", 1 }, { "A", 1 }, { "a\0b", 3 }, { "\0a", 2 }, { "\xff\n/", 3 },
		{ "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 64 },
		{ "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 63 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct request r = lock_request(EX, DLM_LKF_NOQUEUE, "");

		r.req.i.lock.namelen = names[i].length;
		memcpy(r.req.i.lock.name, names[i].bytes, names[i].length);
		r.size += names[i].length;
		ASSERT_HEAR(self->fd, submit(self->fd, r), "granted") TH_LOG("name %zu", i);
		ASSERT_HEAR(self->fd, submit(self->fd, r), "EAGAIN") TH_LOG("name %zu", i);
	}
}

/* Whether a program counts the zero at the end of a string or not, it means the same resource. */
TEST_F(requests, zeros_at_the_end_of_a_name_do_not_count)
{
	struct request r = lock_request(EX, DLM_LKF_NOQUEUE, "r");

	HOLD(self->fd, EX, 0, "r");
	r.size = REQUEST_MAX;
	for (int length = 2; length <= DLM_RESNAME_MAXLEN; length++) {
		r.req.i.lock.namelen = length;
		ASSERT_HEAR(self->fd, submit(self->fd, r), "EAGAIN") TH_LOG("%d bytes", length);
	}
}

/* What follows the name is no part of it. */
TEST_F(requests, bytes_after_the_name)
{
	struct request r = lock_request(EX, 0, "rest");

	r.req.i.lock.namelen = 1;
	ASSERT_HEAR(self->fd, submit(self->fd, r), "granted");
	ASSERT_TAKEN(self->fd, "r", EX);
	ASSERT_FREE(self->fd, "rest", EX);
}

/* ---- Conversions ------------------------------------------------------------------------- */

TEST_F(requests, convert_up_and_down)
{
	int fd = self->fd;
	int id = HOLD(fd, NL, 0, "r");

	ASSERT_FREE(fd, "r", EX);
	CONVERT(fd, id, EX, 0, "granted");
	ASSERT_TAKEN(fd, "r", CR);
	CONVERT(fd, id, EX, 0, "granted");
	CONVERT(fd, id, CW, 0, "granted");
	ASSERT_TAKEN(fd, "r", PR);
	ASSERT_FREE(fd, "r", CW);
}

TEST_F(requests, convert_ignores_the_name_and_orphan)
{
	int id = HOLD(self->fd, NL, 0, "r");
	struct request r = lock_request(EX, DLM_LKF_CONVERT | DLM_LKF_ORPHAN, "s");

	r.req.i.lock.lkid = id;
	ASSERT_EQ(0, submit(self->fd, r));
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_FREE(self->fd, "s", EX);
	ASSERT_TAKEN(self->fd, "r", EX);
}

TEST_F(requests, a_busy_lock_is_not_converted)
{
	int fd = self->fd;
	int converting = HOLD(fd, PR, 0, "r");
	int waiting;

	HOLD(fd, PR, 0, "r");
	CONVERT(fd, converting, EX, 0, "nothing");
	waiting = WAIT(fd, PR, 0, "r");
	ASSERT_EQ(-EBUSY, convert(fd, converting, NL, 0));
	ASSERT_EQ(-EBUSY, convert(fd, waiting, NL, 0));
	ASSERT_HEAR(fd, 0, "nothing");
}

/*
 * Even so, and in fs/dlm too, the refused conversion leaves its pointers behind: the operation that
 * was pending completes with them.
 */
TEST_F(requests, a_refused_conversion_leaves_its_pointers)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, 0, "r");
	int id = WAIT(fd, EX, 0, "r");
	struct request r = convert_request(id, NL, 0);
	struct record record;

	r.req.i.lock.castaddr = (void *)1;
	r.req.i.lock.castparam = (void *)2;
	r.req.i.lock.bastaddr = (void *)3;
	r.req.i.lock.bastparam = (void *)4;
	r.req.i.lock.lksb = (void *)5;
	ASSERT_EQ(-EBUSY, submit(fd, r));
	UNLOCK(fd, holder);

	ASSERT_EQ((int)sizeof(record.result), read_record(fd, &record));
	EXPECT_EQ(0, record.result.lksb.sb_status);
	EXPECT_EQ((void *)1, record.result.user_astaddr);
	EXPECT_EQ((void *)2, record.result.user_astparam);
	EXPECT_EQ((struct dlm_lksb *)5, record.result.user_lksb);

	lock(self->other, EX, 0, "r");
	ASSERT_EQ((int)sizeof(record.result), read_record(fd, &record));
	EXPECT_EQ(EX, record.result.bast_mode);
	EXPECT_EQ((void *)3, record.result.user_astaddr);
	EXPECT_EQ((void *)4, record.result.user_astparam);
	EXPECT_EQ((struct dlm_lksb *)5, record.result.user_lksb);
}

/* Refused for what it asks, a conversion leaves nothing behind. In fs/dlm it does. */
TEST_F(requests, an_invalid_conversion_leaves_no_pointers)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, 0, "r");
	int id = WAIT(fd, EX, 0, "r");
	struct request r = convert_request(id, NL, DLM_LKF_EXPEDITE);

	SKIP_ON_REFERENCE("has taken them before it looks");
	r.req.i.lock.castaddr = (void *)1;
	r.req.i.lock.lksb = (void *)5;
	ASSERT_EQ(-EINVAL, submit(fd, r));
	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, id, "granted");
}

/* Neither does an unlock or a cancel. */
TEST_F(requests, an_invalid_unlock_leaves_no_pointers)
{
	static const uint32_t flags[] = { DLM_LKF_NOQUEUE, DLM_LKF_CANCEL | DLM_LKF_NOQUEUE };
	int holder = HOLD(self->fd, EX, 0, "r");
	int id = WAIT(self->fd, EX, 0, "r");

	SKIP_ON_REFERENCE("has taken them before it looks");
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct request r = unlock_request(id, flags[i]);

		r.req.i.lock.castparam = (void *)1;
		r.req.i.lock.lksb = (void *)5;
		ASSERT_EQ(-EINVAL, submit(self->fd, r));
	}
	UNLOCK(self->fd, holder);
	ASSERT_HEAR(self->fd, id, "granted");
}

/* ---- Unlocks and cancels ----------------------------------------------------------------- */

/* A lock in each state a lock can be in. */
static int granted_lock(struct __test_metadata *_metadata, int fd)
{
	return HOLD(fd, PR, 0, "r");
}

static int waiting_lock(struct __test_metadata *_metadata, int fd)
{
	HOLD(fd, CR, 0, "r");
	return WAIT(fd, EX, 0, "r");
}

static int converting_lock(struct __test_metadata *_metadata, int fd)
{
	int id = HOLD(fd, PR, 0, "r");

	HOLD(fd, CR, 0, "r");
	CONVERT(fd, id, EX, 0, "nothing");
	return id;
}

LOCKSPACE_FIXTURE(ending)
FIXTURE_VARIANT(ending) {
	int (*make)(struct __test_metadata *metadata, int fd);
	const char *cancelled;		/* what a cancel says */
	bool stays;			/* the lock is there, in PR, after a cancel */
};
FIXTURE_VARIANT_ADD(ending, granted) { granted_lock, "nothing", true };
FIXTURE_VARIANT_ADD(ending, waiting) { waiting_lock, "ECANCEL", false };
FIXTURE_VARIANT_ADD(ending, converting) { converting_lock, "ECANCEL", true };

TEST_F(ending, unlock)
{
	int id = variant->make(_metadata, self->fd);

	UNLOCK(self->fd, id);
	ASSERT_EQ(-ENOENT, unlock(self->fd, id, 0));
	ASSERT_FREE(self->fd, "r", PW);
}

TEST_F(ending, forced_unlock)
{
	int id = variant->make(_metadata, self->fd);

	UNLOCK_WITH(self->fd, id, DLM_LKF_FORCEUNLOCK, "EUNLOCK");
	ASSERT_EQ(-ENOENT, unlock(self->fd, id, DLM_LKF_FORCEUNLOCK));
	ASSERT_FREE(self->fd, "r", PW);
}

TEST_F(ending, cancel)
{
	int id = variant->make(_metadata, self->fd);

	UNLOCK_WITH(self->fd, id, DLM_LKF_CANCEL, variant->cancelled);
	if (variant->stays) {
		ASSERT_TAKEN(self->fd, "r", CW);
		CONVERT(self->fd, id, NL, 0, "granted");
	} else {
		ASSERT_EQ(-ENOENT, unlock(self->fd, id, DLM_LKF_CANCEL));
	}
	ASSERT_FREE(self->fd, "r", PW);
}

TEST_F(requests, forced_unlock_of_a_lock_requested_with_that_flag)
{
	int id;

	SKIP_ON_REFERENCE("never unlocks such a lock by force");
	id = HOLD(self->fd, EX, DLM_LKF_FORCEUNLOCK, "r");
	UNLOCK_WITH(self->fd, id, DLM_LKF_FORCEUNLOCK, "EUNLOCK");
	ASSERT_FREE(self->fd, "r", EX);
}

/* ---- Ids that are gone ------------------------------------------------------------------- */

static int never_given(struct __test_metadata *_metadata, int fd)
{
	return INT_MAX - HOLD(fd, NL, 0, "r");
}

static int zero(struct __test_metadata *_metadata, int fd)
{
	HOLD(fd, NL, 0, "r");
	return 0;
}

static int negative(struct __test_metadata *_metadata, int fd)
{
	return -HOLD(fd, NL, 0, "r");
}

static int unlocked(struct __test_metadata *_metadata, int fd)
{
	int id = HOLD(fd, EX, 0, "r");

	UNLOCK(fd, id);
	return id;
}

static int refused(struct __test_metadata *_metadata, int fd)
{
	HOLD(fd, EX, 0, "r");
	return LOCK(fd, EX, DLM_LKF_NOQUEUE, "r", "EAGAIN");
}

static int cancelled(struct __test_metadata *_metadata, int fd)
{
	int id = waiting_lock(_metadata, fd);

	CANCEL(fd, id);
	return id;
}

/* Gone at once, not only when its last record is read. */
static int unlocked_unread(struct __test_metadata *_metadata, int fd)
{
	int id = lock(fd, EX, 0, "r");

	ASSERT_EQ(0, unlock(fd, id, 0));
	return id;
}

LOCKSPACE_FIXTURE(gone)
FIXTURE_VARIANT(gone) { int (*make)(struct __test_metadata *metadata, int fd); };
FIXTURE_VARIANT_ADD(gone, never_given) { never_given };
FIXTURE_VARIANT_ADD(gone, zero) { zero };
FIXTURE_VARIANT_ADD(gone, negative) { negative };
FIXTURE_VARIANT_ADD(gone, unlocked) { unlocked };
FIXTURE_VARIANT_ADD(gone, unlocked_unread) { unlocked_unread };
FIXTURE_VARIANT_ADD(gone, refused) { refused };
FIXTURE_VARIANT_ADD(gone, cancelled) { cancelled };

TEST_F(gone, nothing_can_be_asked_of_it)
{
	int id = variant->make(_metadata, self->fd);

	EXPECT_EQ(-ENOENT, convert(self->fd, id, NL, 0));
	EXPECT_EQ(-ENOENT, unlock(self->fd, id, 0));
	EXPECT_EQ(-ENOENT, unlock(self->fd, id, DLM_LKF_FORCEUNLOCK));
	EXPECT_EQ(-ENOENT, unlock(self->fd, id, DLM_LKF_CANCEL));
	EXPECT_EQ(-ENOENT, unlock(self->other, id, 0));
}

/* A stale id does not come to mean the next lock. */
TEST_F(gone, not_even_after_the_next_lock)
{
	int id;

	SKIP_ON_REFERENCE("gives ids anew at once");
	id = variant->make(_metadata, self->other);
	for (int i = 0; i < 1000; i++) {
		int next = HOLD(self->fd, NL, 0, "next");

		ASSERT_NE(id, next);
		ASSERT_EQ(-ENOENT, unlock(self->fd, id, 0));
		UNLOCK(self->fd, next);
	}
}

/* ---- Flags that are accepted and mean nothing here --------------------------------------- */

LOCKSPACE_FIXTURE(ignored)
FIXTURE_VARIANT(ignored) { uint32_t flag; };
FIXTURE_VARIANT_ADD(ignored, nodlckblk) { DLM_LKF_NODLCKBLK };
FIXTURE_VARIANT_ADD(ignored, nodlckwt) { DLM_LKF_NODLCKWT };
FIXTURE_VARIANT_ADD(ignored, forceunlock) { DLM_LKF_FORCEUNLOCK };
FIXTURE_VARIANT_ADD(ignored, timeout) { DLM_LKF_TIMEOUT };
FIXTURE_VARIANT_ADD(ignored, lowest_unknown) { 1U << 19 };
FIXTURE_VARIANT_ADD(ignored, highest_unknown) { 1U << 31 };
FIXTURE_VARIANT_ADD(ignored, all_unknown) { 0xfff80000 & ~WITH_BAST };

TEST_F(ignored, request)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, variant->flag, "r");
	int waiter = WAIT(fd, EX, variant->flag, "r");

	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, waiter, "granted");
	ASSERT_TAKEN(fd, "r", CR);
	UNLOCK(fd, waiter);
}

TEST_F(ignored, conversion)
{
	int id = HOLD(self->fd, NL, 0, "r");

	CONVERT(self->fd, id, EX, variant->flag, "granted");
	ASSERT_TAKEN(self->fd, "r", CR);
	UNLOCK(self->fd, id);
}

/* ---- Whose descriptor, whose pointers ---------------------------------------------------- */

/*
 * Any descriptor of the lockspace may convert, unlock and cancel any lock. The completion goes to
 * the descriptor that requested the lock, with the pointers of the last who asked.
 */
FIXTURE(ownership) { struct lockspace ls; int owner, asker; };
FIXTURE_VARIANT(ownership) { bool same; };
FIXTURE_VARIANT_ADD(ownership, same_descriptor) { true };
FIXTURE_VARIANT_ADD(ownership, another_descriptor) { false };

FIXTURE_SETUP(ownership)
{
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->owner = open_lockspace(self->ls.name, O_NONBLOCK);
	self->asker = variant->same ? self->owner : open_lockspace(self->ls.name, O_NONBLOCK);
}

FIXTURE_TEARDOWN(ownership)
{
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
}

#define COMPLETES(status, addr, param, block) \
do { \
	struct record _r; \
	ASSERT_EQ((int)sizeof(_r.result), read_record(self->owner, &_r)); \
	EXPECT_EQ(status, _r.result.lksb.sb_status); \
	EXPECT_EQ((void *)(addr), _r.result.user_astaddr); \
	EXPECT_EQ((void *)(param), _r.result.user_astparam); \
	EXPECT_EQ((void *)(block), (void *)_r.result.user_lksb); \
	EXPECT_EQ(0, poll_now(self->owner, POLLIN)); \
	EXPECT_EQ(0, poll_now(self->asker, POLLIN)); \
} while (0)

static struct request with_pointers(struct request r, long castaddr, long castparam, long lksb)
{
	r.req.i.lock.castaddr = (void *)castaddr;
	r.req.i.lock.castparam = (void *)castparam;
	r.req.i.lock.lksb = (void *)lksb;
	return r;
}

TEST_F(ownership, convert)
{
	int id = HOLD(self->owner, NL, 0, "r");

	ASSERT_EQ(0, submit(self->asker, with_pointers(convert_request(id, EX, 0), 1, 2, 3)));
	COMPLETES(0, 1, 2, 3);
}

TEST_F(ownership, convert_that_waits)
{
	int holder = HOLD(self->owner, EX, 0, "r");
	int id = HOLD(self->owner, NL, 0, "r");

	ASSERT_EQ(0, submit(self->asker, with_pointers(convert_request(id, EX, 0), 1, 2, 3)));
	UNLOCK(self->owner, holder);
	COMPLETES(0, 1, 2, 3);
}

TEST_F(ownership, unlock)
{
	int id = HOLD(self->owner, EX, 0, "r");

	ASSERT_EQ(0, submit(self->asker, with_pointers(unlock_request(id, 0), 1, 2, 3)));
	COMPLETES(-DLM_EUNLOCK, CAST, 2, 3);
}

TEST_F(ownership, unlock_without_castparam)
{
	int id = HOLD(self->owner, EX, 0, "r");

	ASSERT_EQ(0, submit(self->asker, with_pointers(unlock_request(id, 0), 1, 0, 0)));
	COMPLETES(-DLM_EUNLOCK, CAST, CASTPARAM, 0);
}

TEST_F(ownership, cancel)
{
	int id = converting_lock(_metadata, self->owner);
	struct request r = unlock_request(id, DLM_LKF_CANCEL);

	ASSERT_EQ(0, submit(self->asker, with_pointers(r, 1, 2, 3)));
	COMPLETES(-DLM_ECANCEL, CAST, 2, 3);
}

TEST_F(ownership, cancel_without_castparam)
{
	int id = waiting_lock(_metadata, self->owner);
	struct request r = unlock_request(id, DLM_LKF_CANCEL);

	ASSERT_EQ(0, submit(self->asker, with_pointers(r, 1, 0, 3)));
	COMPLETES(-DLM_ECANCEL, CAST, CASTPARAM, 3);
}

TEST_HARNESS_MAIN
