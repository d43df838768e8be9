// SPDX-License-Identifier: GPL-2.0
/* Conversions that block one another. */
#include "dlm_test.h"

LOCKSPACE_FIXTURE(deadlock)

TEST_F(deadlock, requester_loses)
{
	int fd = self->fd;
	int first = HOLD(fd, PR, 0, "r");
	int second = HOLD(fd, PR, 0, "r");

	CONVERT(fd, first, EX, 0, "nothing");
	CONVERT(fd, second, EX, 0, "EDEADLK");

	/* It still holds what it had, and can be used as before. */
	ASSERT_HEAR(fd, first, "nothing");
	CONVERT(fd, second, NL, 0, "granted");
	ASSERT_HEAR(fd, first, "granted");
}

/* It is enough to be in the way of one that is ahead, even if that waits for others too. */
TEST_F(deadlock, granted_mode_blocks_one_ahead)
{
	int fd = self->fd;
	int ahead = HOLD(fd, NL, 0, "r");
	int id = HOLD(fd, PR, 0, "r");

	HOLD(fd, CR, 0, "r");
	CONVERT(fd, ahead, EX, 0, "nothing");
	CONVERT(fd, id, EX, 0, "EDEADLK");
}

TEST_F(deadlock, none_if_the_granted_mode_blocks_nobody_ahead)
{
	int fd = self->fd;
	int first = HOLD(fd, PR, 0, "r");
	int second = HOLD(fd, NL, 0, "r");

	HOLD(fd, PR, 0, "r");
	CONVERT(fd, first, EX, 0, "nothing");
	CONVERT(fd, second, EX, 0, "nothing");
}

TEST_F(deadlock, none_with_waiting_requests)
{
	int fd = self->fd;
	int id = HOLD(fd, CR, 0, "r");

	HOLD(fd, CR, 0, "r");
	WAIT(fd, EX, 0, "r");
	CONVERT(fd, id, EX, 0, "nothing");
}

TEST_F(deadlock, noqueue_fails_as_usual)
{
	int fd = self->fd;
	int first = HOLD(fd, PR, 0, "r");
	int second = HOLD(fd, PR, 0, "r");

	CONVERT(fd, first, EX, 0, "nothing");
	CONVERT(fd, second, EX, DLM_LKF_NOQUEUE, "EAGAIN");
}

/* CONVDEADLK gives up the granted mode instead. */
TEST_F(deadlock, convdeadlk_demotes)
{
	int fd = self->fd;
	int first = HOLD(fd, PR, 0, "r");
	int second = HOLD(fd, PR, 0, "r");

	CONVERT(fd, first, EX, 0, "nothing");
	ASSERT_EQ(0, convert(fd, second, EX, DLM_LKF_CONVDEADLK));
	ASSERT_HEAR(fd, first, "granted");
	ASSERT_HEAR(fd, second, "nothing");
	UNLOCK(fd, first);
	ASSERT_HEAR(fd, second, "granted demoted");

	/* The next operation starts with clean flags. */
	CONVERT(fd, second, EX, 0, "granted");
}

TEST_F(deadlock, convdeadlk_is_granted_after_the_others_if_it_can_be)
{
	int fd = self->fd;
	int first = HOLD(fd, PR, 0, "r");
	int second = HOLD(fd, PR, 0, "r");

	CONVERT(fd, first, CW, 0, "nothing");
	ASSERT_EQ(0, convert(fd, second, CW, DLM_LKF_CONVDEADLK));
	ASSERT_HEAR(fd, first, "granted");
	ASSERT_HEAR(fd, second, "granted demoted");
}

TEST_F(deadlock, cancelled_after_demotion_it_holds_nl)
{
	int fd = self->fd;
	int first = HOLD(fd, PR, 0, "r");
	int second = HOLD(fd, PR, 0, "r");

	CONVERT(fd, first, EX, 0, "nothing");
	ASSERT_EQ(0, convert(fd, second, EX, DLM_LKF_CONVDEADLK));
	ASSERT_HEAR(fd, first, "granted");
	CANCEL(fd, second);
	UNLOCK(fd, first);
	ASSERT_FREE(fd, "r", EX);
	UNLOCK(fd, second);
}

TEST_F(deadlock, convdeadlk_without_deadlock_changes_nothing)
{
	int fd = self->fd;
	int holder = HOLD(fd, PR, 0, "r");
	int id = HOLD(fd, PR, 0, "r");

	CONVERT(fd, id, EX, DLM_LKF_CONVDEADLK, "nothing");
	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, id, "granted");
}

/*
 * NODLCKWT waits all the same. With the next change on the resource its holder is told, as if by
 * somebody else, that its lock blocks the mode it has asked for: once, and unless it was told of
 * as high a mode before.
 */
TEST_F(deadlock, nodlckwt_waits_and_notifies_itself)
{
	int fd = self->fd;
	int bystander = HOLD(fd, NL, 0, "r");
	int first = HOLD(fd, PR, 0, "r");
	int second = HOLD(fd, PR, WITH_BAST, "r");

	ASSERT_EQ(0, convert(fd, first, PW, 0));
	ASSERT_HEAR(fd, second, "blocks PW");
	CONVERT(fd, second, EX, DLM_LKF_NODLCKWT | WITH_BAST, "nothing");
	CONVERT(fd, bystander, NL, 0, "granted");
	ASSERT_HEAR(fd, second, DIFFERS("blocks EX while pending", "blocks EX"));
	CONVERT(fd, bystander, NL, 0, "granted");
	ASSERT_HEAR(fd, second, "nothing");

	CANCEL(fd, second);
	CONVERT(fd, second, NL, 0, "granted");
	ASSERT_HEAR(fd, first, "granted");
}

TEST_F(deadlock, nodlckwt_that_knows_already)
{
	int fd = self->fd;
	int bystander = HOLD(fd, NL, 0, "r");
	int first = HOLD(fd, PR, 0, "r");
	int second = HOLD(fd, PR, WITH_BAST, "r");

	ASSERT_EQ(0, convert(fd, first, EX, 0));
	ASSERT_HEAR(fd, second, "blocks EX");
	CONVERT(fd, second, EX, DLM_LKF_NODLCKWT | WITH_BAST, "nothing");
	CONVERT(fd, bystander, NL, 0, "granted");
	ASSERT_HEAR(fd, second, "nothing");
}

TEST_HARNESS_MAIN
