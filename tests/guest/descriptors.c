// SPDX-License-Identifier: GPL-2.0
/* What happens to the locks of a descriptor that is closed. */
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

/* ---- Closed, but the file is still in use: its locks stay ---------------------------------------- */

FIXTURE(in_use) { struct lockspace ls; int fd, other, id; };

FIXTURE_SETUP(in_use)
{
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->other = open_lockspace(self->ls.name, 0);
	self->id = HOLD(self->other, EX, 0, "r");
}

FIXTURE_TEARDOWN(in_use) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

/* Closing frees nothing, unlocking does at once. */
#define ASSERT_IN_USE() \
do { \
	close(self->other); \
	ASSERT_TAKEN(self->fd, "r", CR); \
	ASSERT_EQ(0, unlock(self->fd, self->id, 0)); \
	ASSERT_FREE(self->fd, "r", EX); \
} while (0)

struct sleeper {
	int fd, id;
	pid_t tid;
	const char *heard;
};

static void *sleep_in_read(void *context)
{
	struct sleeper *us = context;
	struct record record;
	int length;

	__atomic_store_n(&us->tid, gettid(), __ATOMIC_RELEASE);
	length = read_record(us->fd, &record);
	us->heard = describe(&record, length, us->id);
	return strcmp(us->heard, "EUNLOCK") ? us : NULL;
}

static void *sleep_in_poll(void *context)
{
	struct sleeper *us = context;

	__atomic_store_n(&us->tid, gettid(), __ATOMIC_RELEASE);
	us->heard = await(us->fd, us->id);
	return NULL;
}

/* A thread that sleeps with the file. It wakes when the lock is gone. */
#define ASSERT_IN_USE_BY(body) \
do { \
	struct sleeper _sleeper = { .fd = self->other, .id = self->id }; \
	pthread_t _thread; \
	void *_result; \
	ASSERT_EQ(0, pthread_create(&_thread, NULL, body, &_sleeper)); \
	while (!__atomic_load_n(&_sleeper.tid, __ATOMIC_ACQUIRE)) \
		sched_yield(); \
	ASSERT_TRUE(asleep(_sleeper.tid)); \
	ASSERT_IN_USE(); \
	pthread_join(_thread, &_result); \
	ASSERT_EQ(NULL, _result); \
} while (0)

TEST_F(in_use, by_a_thread_in_read)
{
	ASSERT_IN_USE_BY(sleep_in_read);
}

TEST_F(in_use, by_a_thread_in_poll)
{
	ASSERT_IN_USE_BY(sleep_in_poll);
}

TEST_F(in_use, by_an_aio_poll)
{
	struct iocb poll = { .aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = self->other, .aio_buf = POLLIN };
	struct iocb *polls[] = { &poll };
	aio_context_t context = 0;

	if (syscall(SYS_io_setup, 1, &context))
		SKIP(return, "no aio");
	ASSERT_EQ(1, (int)syscall(SYS_io_submit, context, 1, polls));
	ASSERT_IN_USE();
	syscall(SYS_io_destroy, context);
}

TEST_F(in_use, by_a_child)
{
	if (!spawn())
		pause();
	ASSERT_IN_USE();
}

/* Sent to somebody who has not received it yet. */
TEST_F(in_use, by_a_message_on_its_way)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int ends[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &self->other, sizeof(int));
	ASSERT_EQ(1, (int)sendmsg(ends[0], &message, 0));
	ASSERT_IN_USE();
}

/* An epoll forgets a file that is closed. */
TEST_F(in_use, not_by_epoll)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->other, &event));
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
