// SPDX-License-Identifier: GPL-2.0
/* Requests and records through io_uring. */
#include <liburing.h>
#include "dlm_test.h"

FIXTURE(uring) {
	struct lockspace ls;
	struct io_uring ring;
	int fd, other, error;
};

FIXTURE_SETUP(uring)
{
	self->error = io_uring_queue_init(8, &self->ring, 0);
	if (self->error)
		SKIP(return, "no io_uring: %s", strerror(-self->error));
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, 0);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
}

FIXTURE_TEARDOWN(uring)
{
	if (self->error)
		return;
	io_uring_queue_exit(&self->ring);
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
}

static void submit_write(struct io_uring *ring, int fd, struct request *r)
{
	io_uring_prep_write(io_uring_get_sqe(ring), fd, r->bytes, r->size, 0);
	io_uring_submit(ring);
}

static void submit_read(struct io_uring *ring, int fd, struct record *record)
{
	memset(record, 0xff, sizeof(*record));
	io_uring_prep_read(io_uring_get_sqe(ring), fd, record, sizeof(*record), 0);
	io_uring_submit(ring);
}

static int result(struct io_uring *ring)
{
	struct __kernel_timespec patience = { .tv_sec = PATIENCE_MS / 1000 };
	struct io_uring_cqe *cqe;
	int result = io_uring_wait_cqe_timeout(ring, &cqe, &patience);

	if (!result) {
		result = cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
	return result;
}

#define NO_WRITES	"never says POLLOUT, which io_uring waits for"

TEST_F(uring, lock_and_record)
{
	struct request r = lock_request(EX, 0, "r");
	struct record record;
	int id;

	SKIP_ON_REFERENCE(NO_WRITES);
	submit_write(&self->ring, self->fd, &r);
	id = result(&self->ring);
	ASSERT_GT(id, 0);
	submit_read(&self->ring, self->fd, &record);
	ASSERT_STREQ("granted", describe(&record, result(&self->ring), id));

	r = unlock_request(id, 0);
	submit_write(&self->ring, self->fd, &r);
	ASSERT_EQ(0, result(&self->ring));
	submit_read(&self->ring, self->fd, &record);
	ASSERT_STREQ("EUNLOCK", describe(&record, result(&self->ring), id));
}

TEST_F(uring, errors)
{
	struct request r = lock_request(EX, DLM_LKF_CANCEL, "r");

	SKIP_ON_REFERENCE(NO_WRITES);
	submit_write(&self->ring, self->fd, &r);
	ASSERT_EQ(-EINVAL, result(&self->ring));
}

/* The read is asked for first and completes when the record comes. */
TEST_F(uring, read_in_advance)
{
	int holder = HOLD(self->other, EX, 0, "r");
	struct record record;
	int id = lock(self->fd, EX, 0, "r");

	submit_read(&self->ring, self->fd, &record);
	ASSERT_EQ(0, (int)io_uring_cq_ready(&self->ring));
	UNLOCK(self->other, holder);
	ASSERT_STREQ("granted", describe(&record, result(&self->ring), id));
}

TEST_F(uring, poll)
{
	int holder = HOLD(self->other, EX, 0, "r");
	int id = lock(self->fd, EX, 0, "r");

	io_uring_prep_poll_add(io_uring_get_sqe(&self->ring), self->fd, POLLIN);
	io_uring_submit(&self->ring);
	UNLOCK(self->other, holder);
	ASSERT_EQ(POLLIN, result(&self->ring));
	ASSERT_HEAR(self->fd, id, "granted");
}

TEST_HARNESS_MAIN
