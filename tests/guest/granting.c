// SPDX-License-Identifier: GPL-2.0
/* Who is granted, and when: the six rules of granting, and the flags that bend them. */
#include "dlm_test.h"

LOCKSPACE_FIXTURE(granting)

/* Rule 1: EXPEDITE is always granted. */
TEST_F(granting, expedite_passes_the_queues)
{
	int fd = self->fd;

	HOLD(fd, PR, 0, "r");
	WAIT(fd, EX, 0, "r");
	WAIT(fd, NL, 0, "r");
	HOLD(fd, NL, DLM_LKF_EXPEDITE, "r");
}

/* Rule 2: no conflict with what is granted, converting locks included. */
TEST_F(granting, converting_lock_still_holds_its_granted_mode)
{
	int fd = self->fd;
	int converting = HOLD(fd, PR, 0, "r");
	int late = HOLD(fd, NL, 0, "r");

	HOLD(fd, CR, 0, "r");
	CONVERT(fd, converting, EX, 0, "nothing");
	CONVERT(fd, late, CW, DLM_LKF_NOQUEUE, "EAGAIN");
	ASSERT_TAKEN(fd, "r", CW);
}

TEST_F(granting, noorder_does_not_excuse_a_conflict)
{
	HOLD(self->fd, PR, 0, "r");
	WAIT(self->fd, CW, DLM_LKF_NOORDER, "r");
}

/* Rule 3: a new conversion passes the convert queue, unless QUECVT sends it there. */
TEST_F(granting, new_conversion_passes_the_convert_queue)
{
	int fd = self->fd;
	int queued = HOLD(fd, NL, 0, "r");
	int late = HOLD(fd, NL, 0, "r");

	HOLD(fd, PR, 0, "r");
	CONVERT(fd, queued, EX, 0, "nothing");
	CONVERT(fd, late, PR, 0, "granted");
}

TEST_F(granting, new_conversion_passes_the_wait_queue)
{
	int fd = self->fd;
	int late = HOLD(fd, NL, 0, "r");

	HOLD(fd, PR, 0, "r");
	WAIT(fd, EX, 0, "r");
	CONVERT(fd, late, PR, DLM_LKF_QUECVT, "granted");
}

TEST_F(granting, quecvt_queues_behind_other_conversions)
{
	int fd = self->fd;
	int queued = HOLD(fd, NL, 0, "r");
	int late = HOLD(fd, NL, 0, "r");

	HOLD(fd, PR, 0, "r");
	CONVERT(fd, queued, EX, 0, "nothing");
	CONVERT(fd, late, PR, DLM_LKF_QUECVT, "nothing");
	CANCEL(fd, queued);
	ASSERT_HEAR(fd, late, "granted");
}

TEST_F(granting, quecvt_with_noqueue_fails_behind_other_conversions)
{
	int fd = self->fd;
	int queued = HOLD(fd, NL, 0, "r");
	int late = HOLD(fd, NL, 0, "r");

	HOLD(fd, PR, 0, "r");
	CONVERT(fd, queued, EX, 0, "nothing");
	CONVERT(fd, late, PR, DLM_LKF_QUECVT | DLM_LKF_NOQUEUE, "EAGAIN");
}

/* Rule 4: NOORDER is granted out of turn. */
TEST_F(granting, noorder_request_passes_the_queues)
{
	int fd = self->fd;

	HOLD(fd, PR, 0, "r");
	WAIT(fd, EX, 0, "r");
	WAIT(fd, PR, 0, "r");
	HOLD(fd, PR, DLM_LKF_NOORDER, "r");
}

TEST_F(granting, noorder_waiter_passes_those_before_it)
{
	int fd = self->fd;
	int holder = HOLD(fd, CW, 0, "r");
	int late;

	HOLD(fd, CR, 0, "r");
	WAIT(fd, EX, 0, "r");
	late = WAIT(fd, PR, DLM_LKF_NOORDER, "r");
	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, late, "granted");
}

TEST_F(granting, noorder_conversion_passes_those_before_it)
{
	int fd = self->fd;
	int holder = HOLD(fd, CW, 0, "r");
	int first = HOLD(fd, NL, 0, "r");
	int late = HOLD(fd, NL, 0, "r");

	CONVERT(fd, first, EX, 0, "nothing");
	CONVERT(fd, late, PR, DLM_LKF_NOORDER, "nothing");
	CONVERT(fd, holder, CR, 0, "granted");
	ASSERT_HEAR(fd, late, "granted");
}

/* Rule 5: queued conversions are granted in order. */
TEST_F(granting, queued_conversions_in_order)
{
	int fd = self->fd;
	int holder = HOLD(fd, CW, 0, "r");
	int first = HOLD(fd, NL, 0, "r");
	int second = HOLD(fd, NL, 0, "r");

	CONVERT(fd, first, EX, 0, "nothing");
	CONVERT(fd, second, PR, 0, "nothing");
	CONVERT(fd, holder, CR, 0, "granted");
	ASSERT_HEAR(fd, second, "nothing");
	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, first, "granted");
	ASSERT_HEAR(fd, second, "nothing");
	CONVERT(fd, first, NL, 0, "granted");
	ASSERT_HEAR(fd, second, "granted");
}

/* Rule 6: requests go behind all that waits. */
TEST_F(granting, new_request_goes_behind_waiters)
{
	int fd = self->fd;

	HOLD(fd, PR, 0, "r");
	WAIT(fd, EX, 0, "r");
	WAIT(fd, PR, 0, "r");
	ASSERT_TAKEN(fd, "r", NL);
}

TEST_F(granting, new_request_goes_behind_conversions)
{
	int fd = self->fd;
	int queued = HOLD(fd, NL, 0, "r");

	HOLD(fd, PR, 0, "r");
	CONVERT(fd, queued, EX, 0, "nothing");
	WAIT(fd, PR, 0, "r");
	ASSERT_TAKEN(fd, "r", NL);
}

TEST_F(granting, waiters_in_order)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, 0, "r");
	int first = WAIT(fd, PW, 0, "r");
	int second = WAIT(fd, PR, 0, "r");

	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, first, "granted");
	ASSERT_HEAR(fd, second, "nothing");
	UNLOCK(fd, first);
	ASSERT_HEAR(fd, second, "granted");
}

TEST_F(granting, waiter_is_held_up_by_a_queued_conversion)
{
	int fd = self->fd;
	int holder = HOLD(fd, CW, 0, "r");
	int queued = HOLD(fd, NL, 0, "r");
	int waiter;

	CONVERT(fd, queued, EX, 0, "nothing");
	waiter = WAIT(fd, PR, 0, "r");
	CONVERT(fd, holder, CR, 0, "granted");
	ASSERT_HEAR(fd, waiter, "nothing");
	CANCEL(fd, queued);
	ASSERT_HEAR(fd, waiter, "granted");
}

/* After each change: conversions first, then waiters, as many as can be. */
TEST_F(granting, conversions_before_waiters)
{
	int fd = self->fd;
	int converting = HOLD(fd, NL, 0, "r");
	int holder = HOLD(fd, EX, 0, "r");
	int waiter = WAIT(fd, EX, 0, "r");

	CONVERT(fd, converting, EX, 0, "nothing");
	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, converting, "granted");
	UNLOCK(fd, converting);
	ASSERT_HEAR(fd, waiter, "granted");
}

TEST_F(granting, all_that_fit_are_granted_together)
{
	int fd = self->fd;
	int converting = HOLD(fd, NL, 0, "r");
	int holder = HOLD(fd, EX, 0, "r");
	int first = WAIT(fd, PR, 0, "r");
	int second = WAIT(fd, CR, 0, "r");
	int third = WAIT(fd, PW, 0, "r");

	CONVERT(fd, converting, PR, 0, "nothing");
	CONVERT(fd, holder, NL, 0, "granted");
	ASSERT_HEAR(fd, converting, "granted");
	ASSERT_HEAR(fd, first, "granted");
	ASSERT_HEAR(fd, second, "granted");
	ASSERT_HEAR(fd, third, "nothing");
}

TEST_F(granting, cancel_of_a_waiter_lets_the_next_pass)
{
	int fd = self->fd;
	int first, second;

	HOLD(fd, PR, 0, "r");
	first = WAIT(fd, EX, 0, "r");
	second = WAIT(fd, PR, 0, "r");
	CANCEL(fd, first);
	ASSERT_HEAR(fd, second, "granted");
}

TEST_F(granting, unlock_of_a_waiter_lets_the_next_pass)
{
	int fd = self->fd;
	int first, second;

	HOLD(fd, PR, 0, "r");
	first = WAIT(fd, EX, 0, "r");
	second = WAIT(fd, PR, 0, "r");
	UNLOCK(fd, first);
	ASSERT_HEAR(fd, second, "granted");
}

/* HEADQUE goes to the head of its queue. */
TEST_F(granting, headque_request)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, 0, "r");
	int first = WAIT(fd, EX, 0, "r");
	int second = WAIT(fd, EX, DLM_LKF_HEADQUE, "r");

	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, second, "granted");
	UNLOCK(fd, second);
	ASSERT_HEAR(fd, first, "granted");
}

TEST_F(granting, headque_conversion)
{
	int fd = self->fd;
	int holder = HOLD(fd, CW, 0, "r");
	int first = HOLD(fd, NL, 0, "r");
	int second = HOLD(fd, NL, 0, "r");

	CONVERT(fd, first, EX, 0, "nothing");
	CONVERT(fd, second, PR, DLM_LKF_HEADQUE, "nothing");
	CONVERT(fd, holder, CR, 0, "granted");
	ASSERT_HEAR(fd, second, "granted");
	ASSERT_HEAR(fd, first, "nothing");
}

/* ALTPR and ALTCW: what cannot be granted as asked is tried once more in the other mode. */
LOCKSPACE_FIXTURE(alternative)

FIXTURE_VARIANT(alternative) { int held, asked; uint32_t flags; const char *words; int got; };
FIXTURE_VARIANT_ADD(alternative, not_needed)
	{ CR, PR, DLM_LKF_ALTCW, "granted", PR };
FIXTURE_VARIANT_ADD(alternative, pr)
	{ PR, EX, DLM_LKF_ALTPR, "granted altmode", PR };
FIXTURE_VARIANT_ADD(alternative, cw)
	{ CW, EX, DLM_LKF_ALTCW, "granted altmode", CW };
FIXTURE_VARIANT_ADD(alternative, pr_is_preferred)
	{ PR, EX, DLM_LKF_ALTPR | DLM_LKF_ALTCW, "granted altmode", PR };
FIXTURE_VARIANT_ADD(alternative, only_one_is_tried)
	{ CW, EX, DLM_LKF_ALTPR | DLM_LKF_ALTCW, "EAGAIN", NL };
FIXTURE_VARIANT_ADD(alternative, pr_asked_with_altpr)
	{ CW, PR, DLM_LKF_ALTPR, "EAGAIN", NL };
FIXTURE_VARIANT_ADD(alternative, pr_asked_with_both)
	{ CW, PR, DLM_LKF_ALTPR | DLM_LKF_ALTCW, "granted altmode", CW };
FIXTURE_VARIANT_ADD(alternative, cw_asked_with_altcw)
	{ PR, CW, DLM_LKF_ALTCW, "EAGAIN", NL };

/* PR and CW, the modes that tell PR, CW and nothing at all apart. */
#define ASSERT_STANDS(fd, name, mode) \
do { \
	if (mode == CW) \
		ASSERT_TAKEN(fd, name, PR); \
	else \
		ASSERT_FREE(fd, name, PR); \
	if (mode == PR) \
		ASSERT_TAKEN(fd, name, CW); \
	else \
		ASSERT_FREE(fd, name, CW); \
} while (0)

TEST_F(alternative, request)
{
	int fd = self->fd;
	int holder = HOLD(fd, variant->held, 0, "r");

	LOCK(fd, variant->asked, variant->flags | DLM_LKF_NOQUEUE, "r", variant->words);
	UNLOCK(fd, holder);
	ASSERT_STANDS(fd, "r", variant->got);
}

TEST_F(alternative, conversion)
{
	int fd = self->fd;
	int holder = HOLD(fd, variant->held, 0, "r");
	int id = HOLD(fd, NL, 0, "r");

	CONVERT(fd, id, variant->asked, variant->flags | DLM_LKF_NOQUEUE, variant->words);
	UNLOCK(fd, holder);
	ASSERT_STANDS(fd, "r", variant->got);
	CONVERT(fd, id, NL, 0, "granted");
}

TEST_F(granting, waiter_gets_the_alternative_later)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, 0, "r");
	int request = WAIT(fd, EX, DLM_LKF_ALTPR, "r");

	CONVERT(fd, holder, PR, 0, "granted");
	ASSERT_HEAR(fd, request, "granted altmode");
}

TEST_F(granting, waiting_conversion_gets_the_alternative_later)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, 0, "r");
	int id = HOLD(fd, NL, 0, "r");

	CONVERT(fd, id, PW, DLM_LKF_ALTCW, "nothing");
	CONVERT(fd, holder, CW, 0, "granted");
	ASSERT_HEAR(fd, id, "granted altmode");
}

/* In fs/dlm the lock then holds nothing any more. */
TEST_F(granting, the_alternative_may_be_what_is_held)
{
	int holder = HOLD(self->other, CW, 0, "r"), ahead = HOLD(self->other, NL, 0, "r");
	int id = HOLD(self->fd, CW, 0, "r");

	CONVERT(self->other, ahead, EX, 0, "nothing");
	CONVERT(self->fd, id, EX, DLM_LKF_QUECVT | DLM_LKF_ALTCW | DLM_LKF_NODLCKWT, "nothing");
	CANCEL(self->other, ahead);
	ASSERT_HEAR(self->fd, id, "granted altmode");
	UNLOCK(self->other, holder);
	LOCK(self->other, PR, DLM_LKF_NOQUEUE, "r", DIFFERS("EAGAIN", "granted"));
	LOCK(self->other, CW, DLM_LKF_NOQUEUE, "r", DIFFERS("granted", "EAGAIN"));
}

TEST_HARNESS_MAIN
