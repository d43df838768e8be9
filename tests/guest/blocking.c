// SPDX-License-Identifier: GPL-2.0
/* Blocking notifications: who is told, of which mode, how often. */
#include "dlm_test.h"

LOCKSPACE_FIXTURE(blocking)

TEST_F(blocking, waiting_request)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, WITH_BAST, "r");

	lock(fd, PR, 0, "r");
	ASSERT_HEAR(fd, holder, "blocks PR");
	ASSERT_HEAR(fd, holder, "nothing");
}

TEST_F(blocking, waiting_conversion)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, WITH_BAST, "r");
	int converting = HOLD(fd, PR, WITH_BAST, "r");

	ASSERT_EQ(0, convert(fd, converting, EX, WITH_BAST));
	ASSERT_HEAR(fd, holder, "blocks EX");
	ASSERT_HEAR(fd, holder, "nothing");
}

TEST_F(blocking, goes_to_the_holders_descriptor)
{
	int holder = HOLD(self->fd, EX, WITH_BAST, "r");

	lock(self->other, EX, 0, "r");
	ASSERT_HEAR(self->other, 0, "nothing");
	ASSERT_HEAR(self->fd, holder, "blocks EX");
}

TEST_F(blocking, every_holder_in_the_way)
{
	int cr, pr;

	HOLD(self->fd, NL, WITH_BAST, "r");
	cr = HOLD(self->fd, CR, WITH_BAST, "r");
	pr = HOLD(self->other, PR, WITH_BAST, "r");

	lock(self->fd, PW, 0, "r");
	ASSERT_HEAR(self->other, pr, "blocks PW");
	ASSERT_HEAR(self->fd, cr, "nothing");
	lock(self->fd, EX, 0, "r");
	ASSERT_HEAR(self->other, pr, "blocks EX");
	ASSERT_HEAR(self->fd, cr, "blocks EX");
	ASSERT_HEAR(self->fd, cr, "nothing");
}

TEST_F(blocking, not_waiting_locks)
{
	int fd = self->fd;

	HOLD(fd, EX, 0, "r");
	WAIT(fd, EX, WITH_BAST, "r");
	WAIT(fd, PR, 0, "r");
}

TEST_F(blocking, only_with_bastaddr)
{
	int fd = self->fd;

	HOLD(fd, EX, 0, "r");
	WAIT(fd, EX, 0, "r");
}

TEST_F(blocking, conversion_can_ask_for_them_and_stop_them)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, 0, "r");

	CONVERT(fd, holder, EX, WITH_BAST, "granted");
	lock(self->other, PR, 0, "r");
	ASSERT_HEAR(fd, holder, "blocks PR");
	CONVERT(fd, holder, EX, 0, "granted");
	lock(self->other, EX, 0, "r");
	ASSERT_HEAR(fd, holder, "nothing");
}

/* Each lock is told of each mode once, and only of higher ones. */
TEST_F(blocking, once_for_each_rising_mode)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, WITH_BAST, "r");
	static const struct { int mode; const char *words; } steps[] = {
		{ CR, "blocks CR" }, { CR, "nothing" }, { PR, "blocks PR" }, { CW, "nothing" },
		{ PW, "blocks PW" }, { PR, "nothing" }, { EX, "blocks EX" }, { EX, "nothing" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		lock(self->other, steps[i].mode, 0, "r");
		ASSERT_HEAR(fd, holder, steps[i].words)
			TH_LOG("step %zu, %s", i, mode_name[steps[i].mode]);
	}
}

TEST_F(blocking, a_grant_starts_afresh)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, WITH_BAST, "r");

	lock(self->other, PR, 0, "r");
	ASSERT_HEAR(fd, holder, "blocks PR");
	CONVERT(fd, holder, PW, WITH_BAST, "granted");
	ASSERT_HEAR(fd, holder, "blocks PR");
}

TEST_F(blocking, a_failed_conversion_does_not)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, WITH_BAST, "r");

	HOLD(self->other, PR, 0, "r");
	lock(self->other, EX, 0, "r");
	ASSERT_HEAR(fd, holder, "blocks EX");
	CONVERT(fd, holder, PW, DLM_LKF_NOQUEUE | WITH_BAST, "EAGAIN");
	lock(self->other, EX, 0, "r");
	ASSERT_HEAR(fd, holder, "nothing");
}

/* Between PR and CW neither is higher: until EX was told, each counts anew ... */
TEST_F(blocking, pr_and_cw)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, WITH_BAST, "r");

	HOLD(self->other, PR, 0, "r");
	lock(self->other, CW, 0, "r");
	ASSERT_HEAR(fd, holder, "blocks CW");
	CONVERT(fd, holder, EX, DLM_LKF_NOQUEUE | WITH_BAST, "EAGAIN");
	lock(self->other, CW, 0, "r");
	ASSERT_HEAR(fd, holder, "blocks CW");
}

/* ... but not twice in a row, nor right after a higher mode. */
TEST_F(blocking, pr_and_cw_equal_in_a_row)
{
	int fd = self->fd;
	int holder = HOLD(fd, CW, WITH_BAST, "r");

	lock(self->other, PR, 0, "r");
	ASSERT_HEAR(fd, holder, "blocks PR");
	lock(self->other, PR, 0, "r");
	ASSERT_HEAR(fd, holder, "nothing");
}

TEST_F(blocking, pr_and_cw_after_a_higher_one)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, WITH_BAST, "r");

	lock(self->other, PW, 0, "r");
	ASSERT_HEAR(fd, holder, "blocks PW");
	lock(self->other, CW, 0, "r");
	ASSERT_HEAR(fd, holder, "nothing");
}

/* Who is granted hears at once of the highest mode that still waits. */
TEST_F(blocking, new_holder_hears_of_the_highest_mode)
{
	int fd = self->fd;
	int holder = HOLD(self->other, EX, 0, "r");
	int next = WAIT(fd, EX, WITH_BAST, "r");

	lock(self->other, CR, 0, "r");
	lock(self->other, PW, 0, "r");
	lock(self->other, PR, 0, "r");
	UNLOCK(self->other, holder);
	ASSERT_HEAR(fd, next, "granted");
	ASSERT_HEAR(fd, next, "blocks PW");
	ASSERT_HEAR(fd, next, "nothing");
}

TEST_F(blocking, new_pr_holder_hears_of_cw_though_pr_waits_too)
{
	int fd = self->fd;
	int holder = HOLD(self->other, EX, 0, "r");
	int next = WAIT(fd, PR, WITH_BAST, "r");

	lock(self->other, CW, 0, "r");
	lock(self->other, PR, 0, "r");
	UNLOCK(self->other, holder);
	ASSERT_HEAR(fd, next, "granted");
	ASSERT_HEAR(fd, next, "blocks CW");
	ASSERT_HEAR(fd, next, "nothing");
}

/* NOQUEUE leaves others alone, unless NOQUEUEBAST says otherwise: then converting ones hear too. */
TEST_F(blocking, noqueue_is_silent)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, WITH_BAST, "r");

	ASSERT_TAKEN(self->other, "r", EX);
	ASSERT_HEAR(fd, holder, "nothing");
}

TEST_F(blocking, noqueuebast_request)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, WITH_BAST, "r");

	LOCK(self->other, PR, DLM_LKF_NOQUEUE | DLM_LKF_NOQUEUEBAST, "r", "EAGAIN");
	ASSERT_HEAR(fd, holder, "blocks PR");
}

TEST_F(blocking, noqueuebast_conversion)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, WITH_BAST, "r");
	int id = HOLD(self->other, PR, 0, "r");

	CONVERT(self->other, id, EX, DLM_LKF_NOQUEUE | DLM_LKF_NOQUEUEBAST, "EAGAIN");
	ASSERT_HEAR(fd, holder, "blocks EX");
}

TEST_F(blocking, noqueuebast_that_does_not_fail)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, WITH_BAST, "r");

	LOCK(self->other, PR, DLM_LKF_NOQUEUE | DLM_LKF_NOQUEUEBAST, "r", "granted");
	ASSERT_HEAR(fd, holder, "nothing");
}

TEST_F(blocking, noqueuebast_with_queueing_is_as_without)
{
	int fd = self->fd;
	int holder = HOLD(fd, EX, WITH_BAST, "r");

	WAIT(self->other, PR, DLM_LKF_NOQUEUEBAST, "r");
	ASSERT_HEAR(fd, holder, "blocks PR");
}

/*
 * The record of a lock with an operation pending says so in its status. fs/dlm says 0 there, which
 * a caller that waits for its own completion takes for it.
 */
TEST_F(blocking, noqueuebast_reaches_converting_locks)
{
	int fd = self->fd;
	int id;

	HOLD(self->other, PR, 0, "r");
	id = HOLD(fd, PR, 0, "r");
	CONVERT(fd, id, EX, WITH_BAST, "nothing");
	LOCK(self->other, CW, DLM_LKF_NOQUEUE | DLM_LKF_NOQUEUEBAST, "r", "EAGAIN");
	ASSERT_HEAR(fd, id, DIFFERS("blocks CW while pending", "blocks CW"));
}

TEST_F(blocking, told_before_an_operation_and_read_while_it_is_pending)
{
	int fd = self->fd;
	int id = HOLD(fd, PR, WITH_BAST, "r");

	HOLD(self->other, PR, 0, "r");
	lock(self->other, CW, 0, "r");
	ASSERT_EQ(0, convert(fd, id, EX, WITH_BAST));
	ASSERT_HEAR(fd, id, DIFFERS("blocks CW while pending", "blocks CW"));
}

/* Pending to the caller, that is: until the completion has been read. */
TEST_F(blocking, told_before_an_operation_and_read_before_its_completion)
{
	int fd = self->fd;
	int id = HOLD(fd, PR, WITH_BAST, "r");

	HOLD(self->other, PR, 0, "r");
	lock(self->other, CW, 0, "r");
	ASSERT_EQ(0, convert(fd, id, EX, DLM_LKF_NOQUEUE | WITH_BAST));
	ASSERT_HEAR(fd, id, DIFFERS("blocks CW while pending", "blocks CW"));
	ASSERT_HEAR(fd, id, "EAGAIN");
}

TEST_F(blocking, flags_of_the_grant_are_not_repeated)
{
	int fd = self->fd;
	int id;

	HOLD(self->other, PR, 0, "r");
	id = LOCK(fd, EX, DLM_LKF_ALTPR | WITH_BAST, "r", "granted altmode");
	lock(self->other, EX, 0, "r");
	ASSERT_HEAR(fd, id, "blocks EX");
}

TEST_F(blocking, records_keep_their_order)
{
	int fd = self->fd;
	int id = lock(fd, EX, WITH_BAST, "r");

	lock(self->other, CR, 0, "r");
	lock(self->other, PR, 0, "r");
	ASSERT_EQ(0, convert(fd, id, PW, WITH_BAST));
	ASSERT_HEAR(fd, id, "granted");
	ASSERT_HEAR(fd, id, DIFFERS("blocks CR while pending", "blocks CR"));
	ASSERT_HEAR(fd, id, DIFFERS("blocks PR while pending", "blocks PR"));
	ASSERT_HEAR(fd, id, "granted");
	ASSERT_HEAR(fd, id, "blocks PR");
	ASSERT_HEAR(fd, id, "nothing");
}

TEST_HARNESS_MAIN
