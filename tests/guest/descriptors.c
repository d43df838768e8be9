// SPDX-License-Identifier: GPL-2.0
/* What happens to the locks of a descriptor that is closed. */
#include "dlm_test.h"

/* Closing ends what other holds or waits for; fd stays. */
LOCKSPACE_FIXTURE(closing)

TEST_F(closing, frees_what_is_held)
{
	int waiter;

	HOLD(self->other, EX, 0, "r");
	waiter = WAIT(self->fd, EX, 0, "r");
	close(self->other);
	ASSERT_HEAR(self->fd, waiter, "granted");
}

TEST_F(closing, withdraws_what_waits)
{
	int holder = HOLD(self->fd, PR, 0, "r");
	int behind;

	WAIT(self->other, EX, 0, "r");
	behind = WAIT(self->fd, PR, 0, "r");
	close(self->other);
	ASSERT_HEAR(self->fd, behind, "granted");
	UNLOCK(self->fd, holder);
	UNLOCK(self->fd, behind);
	ASSERT_FREE(self->fd, "r", EX);
}

/* The granted mode of a converting lock goes too. */
TEST_F(closing, frees_what_is_converting)
{
	int id = HOLD(self->other, PR, 0, "r");
	int holder = HOLD(self->fd, CR, 0, "r");
	int behind;

	CONVERT(self->other, id, EX, 0, "nothing");
	behind = WAIT(self->fd, CW, 0, "r");
	close(self->other);
	ASSERT_HEAR(self->fd, behind, "granted");
	UNLOCK(self->fd, behind);
	UNLOCK(self->fd, holder);
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(closing, frees_everything_at_once)
{
	int waiter[3];

	HOLD(self->other, EX, 0, "r");
	HOLD(self->other, PR, 0, "s");
	WAIT(self->other, EX, 0, "s");
	waiter[0] = WAIT(self->fd, EX, 0, "r");
	waiter[1] = WAIT(self->fd, PR, 0, "s");
	waiter[2] = WAIT(self->fd, PR, 0, "s");
	close(self->other);
	ASSERT_GRANTED(self->fd, waiter, 3);
}

/* The ids are gone for everybody. */
TEST_F(closing, ids_are_gone)
{
	int granted = HOLD(self->other, PR, 0, "r");
	int waiting = WAIT(self->other, EX, 0, "r");

	close(self->other);
	ASSERT_EQ(-ENOENT, unlock(self->fd, granted, 0));
	ASSERT_EQ(-ENOENT, convert(self->fd, granted, NL, 0));
	ASSERT_EQ(-ENOENT, unlock(self->fd, waiting, DLM_LKF_CANCEL));
}

/* Nobody but the owner's descriptor decides the life of a lock. */
TEST_F(closing, leaves_locks_that_it_only_converted)
{
	int id = HOLD(self->fd, NL, 0, "r");

	ASSERT_EQ(0, convert(self->other, id, EX, 0));
	close(self->other);
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_TAKEN(self->fd, "r", CR);
}

TEST_F(closing, drops_unread_records)
{
	lock(self->other, EX, WITH_BAST, "r");
	lock(self->fd, PR, 0, "r");
	ASSERT_EQ(POLLIN, poll_now(self->other, POLLIN));
	close(self->other);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_EQ(0, poll_now(self->other, POLLIN));
}

/* The last copy of a descriptor counts, not the first. */
TEST_F(closing, copies)
{
	int copy = dup(self->other);
	int id = HOLD(self->other, EX, 0, "r");

	close(self->other);
	ASSERT_TAKEN(self->fd, "r", CR);
	CONVERT(copy, id, PR, 0, "granted");
	close(copy);
	ASSERT_FREE(self->fd, "r", EX);
}

TEST_F(closing, lock_requested_with_forceunlock)
{
	SKIP_ON_REFERENCE("leaves such a lock behind");
	HOLD(self->other, EX, DLM_LKF_FORCEUNLOCK, "r");
	close(self->other);
	ASSERT_FREE(self->fd, "r", EX);
}

/* ---- The value block: a writer that goes away without a word leaves it invalid -------------- */

LOCKSPACE_FIXTURE(value)
FIXTURE_VARIANT(value) { int mode; bool spoils; };
FIXTURE_VARIANT_ADD(value, NL) { NL, false };
FIXTURE_VARIANT_ADD(value, CR) { CR, false };
FIXTURE_VARIANT_ADD(value, CW) { CW, false };
FIXTURE_VARIANT_ADD(value, PR) { PR, false };
FIXTURE_VARIANT_ADD(value, PW) { PW, true };
FIXTURE_VARIANT_ADD(value, EX) { EX, true };

/* NL, with the value "old" written to the resource. */
static int keeper(struct __test_metadata *_metadata, int fd)
{
	int id = HOLD(fd, EX, 0, "r");
	struct request r = with_value(convert_request(id, NL, DLM_LKF_VALBLK), "old");

	ASSERT_EQ(0, submit(fd, r));
	ASSERT_HEAR(fd, id, "granted");
	return id;
}

TEST_F(value, after_close_of_a_holder)
{
	keeper(_metadata, self->fd);
	LOCK(self->other, variant->mode, DLM_LKF_VALBLK, "r", "granted \"old\"");
	close(self->other);
	LOCK(self->fd, PR, DLM_LKF_VALBLK, "r",
	     variant->spoils ? "granted invalid \"old\"" : "granted \"old\"");
}

/* The granted mode decides, not the one it was converting to. */
TEST_F(value, after_close_of_a_converting_holder)
{
	int blocker, id;

	if (variant->mode == EX)
		return;			/* there is nothing to convert to that waits */
	keeper(_metadata, self->fd);
	blocker = HOLD(self->fd, CR, 0, "r");
	id = HOLD(self->other, variant->mode, 0, "r");
	CONVERT(self->other, id, EX, 0, "nothing");
	close(self->other);
	UNLOCK(self->fd, blocker);
	LOCK(self->fd, PR, DLM_LKF_VALBLK, "r",
	     variant->spoils ? "granted invalid \"old\"" : "granted \"old\"");
}

TEST_F(value, after_close_of_a_waiter)
{
	keeper(_metadata, self->fd);
	HOLD(self->fd, PR, 0, "r");
	WAIT(self->other, EX, 0, "r");
	WAIT(self->other, variant->mode, DLM_LKF_VALBLK, "r");
	close(self->other);
	LOCK(self->fd, PR, DLM_LKF_VALBLK, "r", "granted \"old\"");
}

TEST_HARNESS_MAIN
