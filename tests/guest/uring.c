// SPDX-License-Identifier: GPL-2.0
/* Requests and records through io_uring. */
#include <dirent.h>
#include <liburing.h>
#include <stdio.h>
#include "dlm_test.h"
#include "extended.h"
#include "tables.h"

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

/* With O_NONBLOCK fs/dlm is no different. A read that finds nothing waits all the same. */
TEST_F(uring, nonblocking)
{
	struct request r = lock_request(EX, 0, "r");
	struct record record;
	int id;

	submit_write(&self->ring, self->other, &r);
	id = result(&self->ring);
	ASSERT_GT(id, 0);
	submit_read(&self->ring, self->other, &record);
	ASSERT_STREQ("granted", describe(&record, result(&self->ring), id));

	submit_read(&self->ring, self->other, &record);
	ASSERT_EQ(0, (int)io_uring_cq_ready(&self->ring));
	ASSERT_EQ(0, unlock(self->other, id, 0));
	ASSERT_STREQ("EUNLOCK", describe(&record, result(&self->ring), id));
}

/* One read for all the records that come. */
TEST_F(uring, multishot)
{
	enum { GROUP = 1, BUFFERS = 4 };
	struct record records[BUFFERS];
	struct io_uring_buf_ring *buffers;
	int ids[2], error;

	buffers = io_uring_setup_buf_ring(&self->ring, BUFFERS, GROUP, 0, &error);
	ASSERT_NE(NULL, (void *)buffers);
	for (int i = 0; i < BUFFERS; i++)
		io_uring_buf_ring_add(buffers, &records[i], sizeof(records[i]), i, BUFFERS - 1, i);
	io_uring_buf_ring_advance(buffers, BUFFERS);

	io_uring_prep_read_multishot(io_uring_get_sqe(&self->ring), self->fd, 0, 0, GROUP);
	io_uring_submit(&self->ring);
	ids[0] = lock(self->fd, EX, 0, "r");
	ids[1] = lock(self->fd, EX, 0, "s");
	if (reference()) {
		struct __kernel_timespec while_ours_would = { .tv_sec = 1 };
		struct io_uring_cqe *cqe;

		ASSERT_EQ(-ETIME, io_uring_wait_cqe_timeout(&self->ring, &cqe, &while_ours_would));
		return;
	}
	for (int i = 0; i < 2; i++) {
		int length = result(&self->ring);

		ASSERT_STREQ("granted", describe(&records[i], length, ids[i]));
	}
}

/* Only a read whose buffer the record fills leads on by a link that is not hard. */
TEST_F(uring, linked_to_a_read)
{
	static const int rooms[] = { sizeof(struct dlm_lock_result), sizeof(struct record) };

	for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
		int id = lock(self->fd, NL, 0, "r");
		struct io_uring_sqe *read = io_uring_get_sqe(&self->ring);
		struct record record;

		io_uring_prep_read(read, self->fd, &record, rooms[i], 0);
		read->flags |= IOSQE_IO_LINK;
		io_uring_prep_nop(io_uring_get_sqe(&self->ring));
		io_uring_submit(&self->ring);
		ASSERT_STREQ("granted", describe(&record, result(&self->ring), id));
		ASSERT_EQ(i ? -ECANCELED : 0, result(&self->ring));
	}
}

/* Who asks is then the ring's thread. */
TEST_F(uring, thread_of_the_ring)
{
	struct request r = lock_request(EX, 0, "r");
	struct reader reader;
	const struct row *row;
	struct io_uring ring;
	char path[100], name[32] = "";
	int error, id;
	FILE *f;

	error = io_uring_queue_init(8, &ring, IORING_SETUP_SQPOLL);
	if (error)
		SKIP(return, "no SQPOLL: %s", strerror(-error));
	submit_write(&ring, self->other, &r);
	id = result(&ring);
	ASSERT_GT(id, 0);
	reader = read_table(LOCKS, self->ls.name);
	row = next_row(&reader);
	ASSERT_NE(NULL, row);
	ASSERT_EQ(id, row->id);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", row->pid);
	close_table(&reader);
	f = fopen(path, "re");
	ASSERT_NE(NULL, (void *)f);
	EXPECT_NE(NULL, fgets(name, sizeof(name), f));
	EXPECT_EQ(0, strncmp(name, "iou-sqp-", strlen("iou-sqp-"))) TH_LOG("%s", name);
	fclose(f);
	io_uring_queue_exit(&ring);
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
