// SPDX-License-Identifier: GPL-2.0
/* Requests and records through io_uring. */
#include <dirent.h>
#include <liburing.h>
#include <stdio.h>
#include "dlm_test.h"
#include "extended.h"

/*
 * How many threads io_uring has made for this process, to have what cannot be done at once wait
 * there. They stay for some seconds after they were of use.
 */
static int workers(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	int count = 0;

	while ((task = readdir(tasks))) {
		char path[300], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f) && !strncmp(name, "iou-wrk", strlen("iou-wrk")))
			count++;
		fclose(f);
	}
	closedir(tasks);
	return count;
}

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
	/* Nothing of all this needs one. */
	EXPECT_TRUE(reference() || workers() == 0);
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

/* EAGAIN is an answer, not a "not yet": it comes at once, and the request is done with. */
TEST_F(uring, refusals)
{
	int holder = HOLD(self->other, EX, 0, "r");
	struct request r = returning(lock_request(EX, DLM_LKF_NOQUEUE, "r"));

	SKIP_ON_REFERENCE(NO_WRITES);
	submit_write(&self->ring, self->fd, &r);
	ASSERT_EQ(-EAGAIN, result(&self->ring));
	UNLOCK(self->other, holder);
	/* Records wake whoever would wait for the file. */
	UNLOCK(self->fd, HOLD(self->fd, NL, 0, "elsewhere"));
	ASSERT_FREE(self->other, "r", EX);
}

TEST_F(uring, refused_adopting)
{
	struct request r = lock_request(PR, DLM_LKF_ORPHAN, "r");
	int file = open_lockspace(self->ls.name, 0);
	int orphan = HOLD(file, EX, DLM_LKF_PERSISTENT, "r");

	SKIP_ON_REFERENCE(NO_WRITES);
	close(file);
	submit_write(&self->ring, self->fd, &r);
	ASSERT_EQ(-EAGAIN, result(&self->ring));
	ASSERT_EQ(0, unlock(self->other, orphan, 0));
}

/* A result is an int: one that is still to come is below 0, but no error. */
TEST_F(uring, reply_to_come)
{
	struct request r = returning(lock_request(EX, 0, "r"));
	int holder = HOLD(self->other, EX, 0, "r"), id;

	SKIP_ON_REFERENCE(NO_WRITES);
	submit_write(&self->ring, self->fd, &r);
	id = result(&self->ring);
	ASSERT_LT(id, -4095);
	UNLOCK(self->other, holder);
	ASSERT_HEAR(self->fd, id & ~PENDING, "granted");
}

static void submit_pair(struct io_uring *ring, int fd, struct request *r, struct record *record,
			int link)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_write(sqe, fd, r->bytes, r->size, 0);
	sqe->flags |= link;
	submit_read(ring, fd, record);
}

/* One after the other: what write() returns is no length, which breaks all but hard links. */
TEST_F(uring, linked)
{
	struct request r = lock_request(EX, 0, "r");
	struct record record;
	int id;

	SKIP_ON_REFERENCE(NO_WRITES);
	submit_pair(&self->ring, self->fd, &r, &record, IOSQE_IO_HARDLINK);
	id = result(&self->ring);
	ASSERT_GT(id, 0);
	ASSERT_STREQ("granted", describe(&record, result(&self->ring), id));

	r = unlock_request(id, 0);
	submit_pair(&self->ring, self->fd, &r, &record, IOSQE_IO_LINK);
	ASSERT_EQ(0, result(&self->ring));
	ASSERT_EQ(-ECANCELED, result(&self->ring));
	ASSERT_HEAR(self->fd, id, "EUNLOCK");
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

/* Several reads wait, each of which gets one record, in whatever order. */
TEST_F(uring, reads_in_advance)
{
	enum { READS = 4 };
	int holder = HOLD(self->other, EX, 0, "r");
	struct record records[READS];
	int ids[READS];

	for (int i = 0; i < READS; i++) {
		ids[i] = lock(self->fd, PR, 0, "r");
		submit_read(&self->ring, self->fd, &records[i]);
	}
	ASSERT_EQ(0, (int)io_uring_cq_ready(&self->ring));
	EXPECT_EQ(0, workers());
	UNLOCK(self->other, holder);
	for (int i = 0; i < READS; i++)
		ASSERT_EQ((int)sizeof(struct dlm_lock_result), result(&self->ring));
	for (int i = 0; i < READS; i++) {
		int id = records[i].result.lksb.sb_lkid, at = 0;

		ASSERT_STREQ("granted", describe(&records[i], sizeof(struct dlm_lock_result), id));
		while (at < READS && ids[at] != id)
			at++;
		ASSERT_LT(at, READS);
		ids[at] = 0;
	}
	ASSERT_HEAR(self->fd, 0, "nothing");
}

/* Many requests with one system call. */
TEST_F(uring, writes_together)
{
	enum { WRITES = 8 };
	struct request r = lock_request(NL, 0, "r");
	int ids[WRITES];

	SKIP_ON_REFERENCE(NO_WRITES);
	for (int i = 0; i < WRITES; i++)
		io_uring_prep_write(io_uring_get_sqe(&self->ring), self->fd, r.bytes, r.size, 0);
	ASSERT_EQ(WRITES, io_uring_submit(&self->ring));
	for (int i = 0; i < WRITES; i++) {
		ids[i] = result(&self->ring);
		ASSERT_GT(ids[i], 0);
	}
	ASSERT_GRANTED(self->fd, ids, WRITES);
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

/* What is made to go to a worker is seen to: who counts none would have counted one. */
TEST(workers_are_seen)
{
	struct io_uring ring;
	int error = io_uring_queue_init(8, &ring, 0);
	struct io_uring_sqe *sqe;
	int ends[2];
	char byte;

	if (error)
		SKIP(return, "no io_uring: %s", strerror(-error));
	ASSERT_EQ(0, pipe(ends));
	ASSERT_EQ(0, workers());
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, ends[0], &byte, 1, 0);
	io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
	io_uring_submit(&ring);
	ASSERT_EQ(1, (int)write(ends[1], "x", 1));
	ASSERT_EQ(1, result(&ring));
	ASSERT_EQ(1, workers());
	io_uring_queue_exit(&ring);
}

TEST_HARNESS_MAIN
