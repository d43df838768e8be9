// SPDX-License-Identifier: GPL-2.0
/* read(), poll() and their relatives. */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include "dlm_test.h"

LOCKSPACE_FIXTURE(reading)

#define RECORD		sizeof(struct dlm_lock_result)
#define ASSERT_ERRNO(error, call) \
do { \
	ASSERT_EQ(-1, (call)); \
	ASSERT_EQ(error, errno); \
} while (0)

/* ---- Sizes ------------------------------------------------------------------------------- */

TEST_F(reading, version)
{
	static const struct dlm_device_version want = { { 6, 0, 2 } };
	struct dlm_device_version got = { };
	int id = lock(self->fd, EX, 0, "r");

	ASSERT_EQ((ssize_t)sizeof(got), read(self->ls.control, &got, sizeof(got)));
	ASSERT_EQ(0, memcmp(&want, &got, sizeof(got)));
	memset(&got, 0, sizeof(got));
	ASSERT_EQ((ssize_t)sizeof(got), read(self->fd, &got, sizeof(got)));
	ASSERT_EQ(0, memcmp(&want, &got, sizeof(got)));

	/* It is not a record, and takes none. */
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_EQ((ssize_t)sizeof(got), read(self->fd, &got, sizeof(got)));
}

TEST_F(reading, control_device_has_only_the_version)
{
	char buffer[256];

	for (size_t size = 0; size < sizeof(buffer); size++)
		if (size != sizeof(struct dlm_device_version))
			ASSERT_ERRNO(EINVAL, read(self->ls.control, buffer, size));
}

/*
 * Too small a read is refused, for the smallest record of all if there is none,
 * and the record stays.
 */
TEST_F(reading, too_small)
{
	size_t smallest = 52;	/* that of a 32-bit program */
	size_t limit = DIFFERS(RECORD, smallest);
	char buffer[RECORD];
	int id;

	for (size_t size = 0; size < smallest; size++)
		if (size != sizeof(struct dlm_device_version))
			ASSERT_ERRNO(EINVAL, read(self->fd, buffer, size));
	id = lock(self->fd, EX, 0, "r");
	for (size_t size = 0; size < limit; size++)
		if (size != sizeof(struct dlm_device_version))
			ASSERT_ERRNO(EINVAL, read(self->fd, buffer, size));
	ASSERT_HEAR(self->fd, id, "granted");
}

TEST_F(reading, one_record_whatever_the_buffer)
{
	int first = lock(self->fd, EX, 0, "r");
	int second = lock(self->fd, EX, 0, "s");
	char buffer[16 * RECORD], unwritten[sizeof(buffer) - RECORD];

	memset(buffer, 0xff, sizeof(buffer));
	memset(unwritten, 0xff, sizeof(unwritten));
	ASSERT_EQ((ssize_t)RECORD, read(self->fd, buffer, sizeof(buffer)));
	ASSERT_STREQ("granted", describe((void *)buffer, RECORD, first));
	ASSERT_EQ(0, memcmp(unwritten, buffer + RECORD, sizeof(unwritten)));
	ASSERT_HEAR(self->fd, second, "granted");
	ASSERT_HEAR(self->fd, 0, "nothing");
}

/* ---- Waiting ----------------------------------------------------------------------------- */

TEST_F(reading, nonblocking)
{
	struct record record;

	ASSERT_EQ(-EAGAIN, read_record(self->fd, &record));
	lock(self->fd, EX, 0, "r");
	ASSERT_EQ((int)RECORD, read_record(self->fd, &record));
	ASSERT_EQ(-EAGAIN, read_record(self->fd, &record));
}

/* A read that must not wait, though the descriptor would. */
TEST_F(reading, nowait)
{
	int fd = open_lockspace(self->ls.name, 0);
	struct record record;
	struct iovec room = { &record, sizeof(record) };
	int id;

	ASSERT_ERRNO(DIFFERS(EAGAIN, EOPNOTSUPP), preadv2(fd, &room, 1, -1, RWF_NOWAIT));
	if (reference())
		return;
	id = lock(fd, EX, 0, "r");
	ASSERT_EQ((ssize_t)RECORD, preadv2(fd, &room, 1, -1, RWF_NOWAIT));
	ASSERT_EQ(id, (int)record.result.lksb.sb_lkid);
}

/* A child that blocks in read() on a descriptor of its own, its lock waiting for ours. */
static pid_t blocked_reader(struct lockspace *ls, void (*handler)(int), int sa_flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = sa_flags };
	struct record record;
	pid_t child = spawn();
	int fd, id, n;

	if (child)
		return child;
	sigaction(SIGUSR1, &action, NULL);
	fd = open_lockspace(ls->name, 0);
	id = lock(fd, EX, 0, "r");
	n = read_record(fd, &record);
	if (n == -EINTR)
		_exit(EINTR);
	_exit(strcmp(describe(&record, n, id), "granted") ? 1 : 0);
}

static void ignore_signal(int signal)
{
	(void)signal;
}

TEST_F(reading, blocks_until_there_is_a_record)
{
	int id = HOLD(self->fd, EX, WITH_BAST, "r");
	pid_t child = blocked_reader(&self->ls, SIG_IGN, 0);

	ASSERT_AWAIT(self->fd, id, "blocks EX");
	ASSERT_TRUE(asleep(child));
	UNLOCK(self->fd, id);
	ASSERT_EQ(0, expect_child(child));
}

TEST_F(reading, a_signal_interrupts)
{
	int id = HOLD(self->fd, EX, WITH_BAST, "r");
	pid_t child = blocked_reader(&self->ls, ignore_signal, 0);

	ASSERT_AWAIT(self->fd, id, "blocks EX");
	ASSERT_TRUE(asleep(child));
	kill(child, SIGUSR1);
	ASSERT_EQ(EINTR, expect_child(child));
}

TEST_F(reading, a_signal_restarts)
{
	int id = HOLD(self->fd, EX, WITH_BAST, "r");
	pid_t child = blocked_reader(&self->ls, ignore_signal, SA_RESTART);

	ASSERT_AWAIT(self->fd, id, "blocks EX");
	for (int i = 0; i < 10; i++) {
		ASSERT_TRUE(asleep(child));
		kill(child, SIGUSR1);
	}
	UNLOCK(self->fd, id);
	ASSERT_EQ(0, expect_child(child));
}

TEST_F(reading, a_deadly_signal_ends_it)
{
	int id = HOLD(self->fd, EX, WITH_BAST, "r");
	pid_t child = blocked_reader(&self->ls, SIG_IGN, 0);

	ASSERT_AWAIT(self->fd, id, "blocks EX");
	ASSERT_TRUE(asleep(child));
	kill(child, SIGKILL);
	ASSERT_EQ(-1, expect_child(child));
}

/* ---- poll() and epoll -------------------------------------------------------------------- */

TEST_F(reading, poll)
{
	int id;

	ASSERT_EQ(0, poll_now(self->fd, POLLIN | POLLRDNORM | POLLPRI | POLLOUT));
	id = lock(self->fd, EX, 0, "r");
	lock(self->fd, NL, 0, "r");
	ASSERT_EQ(POLLIN | POLLRDNORM, poll_now(self->fd, POLLIN | POLLRDNORM | POLLPRI | POLLOUT));
	ASSERT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	ASSERT_EQ(0, poll_now(self->other, POLLIN));
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	hear(self->fd, id);
	ASSERT_EQ(0, poll_now(self->fd, POLLIN));
}

TEST_F(reading, poll_wakes)
{
	int id = HOLD(self->fd, EX, WITH_BAST, "r");
	pid_t child = spawn();

	if (!child) {
		int fd = open_lockspace(self->ls.name, 0);
		int waiting = lock(fd, EX, 0, "r");

		_exit(strcmp(await(fd, waiting), "granted") ? 1 : 0);
	}
	ASSERT_AWAIT(self->fd, id, "blocks EX");
	ASSERT_TRUE(asleep(child));
	UNLOCK(self->fd, id);
	ASSERT_EQ(0, expect_child(child));
}

static int epoll_on(int fd, int events)
{
	struct epoll_event event = { .events = events };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? -1 : epoll;
}

static bool has_event(int epoll)
{
	struct epoll_event event;

	return epoll_wait(epoll, &event, 1, 0) == 1 && event.events == EPOLLIN;
}

TEST_F(reading, epoll_level_triggered)
{
	int epoll = epoll_on(self->fd, EPOLLIN);

	ASSERT_FALSE(has_event(epoll));
	lock(self->fd, EX, 0, "r");
	lock(self->fd, EX, 0, "s");
	ASSERT_TRUE(has_event(epoll));
	ASSERT_TRUE(has_event(epoll));
	hear(self->fd, 0);
	ASSERT_TRUE(has_event(epoll));
	hear(self->fd, 0);
	ASSERT_FALSE(has_event(epoll));
}

/* Each new record is an event, whether or not the one before it has been read. */
TEST_F(reading, epoll_edge_triggered)
{
	int epoll = epoll_on(self->fd, EPOLLIN | EPOLLET);

	ASSERT_FALSE(has_event(epoll));
	lock(self->fd, EX, 0, "r");
	ASSERT_TRUE(has_event(epoll));
	ASSERT_FALSE(has_event(epoll));
	lock(self->fd, EX, 0, "s");
	ASSERT_TRUE(has_event(epoll));
	hear(self->fd, 0);
	ASSERT_FALSE(has_event(epoll));
	hear(self->fd, 0);
	lock(self->fd, EX, 0, "t");
	ASSERT_TRUE(has_event(epoll));
}

TEST_F(reading, epoll_with_records_already_there)
{
	lock(self->fd, EX, 0, "r");
	ASSERT_TRUE(has_event(epoll_on(self->fd, EPOLLIN | EPOLLET)));
}

/* ---- Buffers ----------------------------------------------------------------------------- */

/* The last byte of a request, or of room for a record, in an iovec of its own, and so on. */
TEST_F(reading, vectors)
{
	struct request r = lock_request(EX, 0, "name");
	struct record record;
	int id;

	SKIP_ON_REFERENCE("takes each part for a whole");
	for (size_t cut = 0; cut <= r.size; cut++) {
		struct iovec v[] = { { r.bytes, cut }, { NULL, 0 }, { r.bytes + cut, r.size - cut } };

		id = writev(self->fd, v, ARRAY_SIZE(v));
		ASSERT_GT(id, 0) TH_LOG("cut at %zu", cut);
		ASSERT_HEAR(self->fd, id, "granted");
		UNLOCK(self->fd, id);
	}
	for (size_t cut = 0; cut <= RECORD; cut++) {
		struct iovec v[] = { { &record, cut }, { (char *)&record + cut, RECORD - cut } };

		id = lock(self->fd, NL, 0, "name");
		memset(&record, 0xff, sizeof(record));
		ASSERT_EQ((ssize_t)RECORD, readv(self->fd, v, ARRAY_SIZE(v))) TH_LOG("cut at %zu", cut);
		ASSERT_STREQ("granted", describe(&record, RECORD, id));
	}
}

TEST_F(reading, unaligned)
{
	char buffer[REQUEST_MAX + 8];

	for (int offset = 0; offset < 8; offset++) {
		struct request r = lock_request(EX, 0, "r");
		struct record record;
		int id;

		memcpy(buffer + offset, r.bytes, r.size);
		id = write(self->fd, buffer + offset, r.size);
		ASSERT_GT(id, 0);
		ASSERT_EQ((ssize_t)RECORD, read(self->fd, buffer + offset, RECORD));
		memcpy(&record, buffer + offset, RECORD);
		ASSERT_STREQ("granted", describe(&record, RECORD, id));
		UNLOCK(self->fd, id);
	}
}

static ssize_t read_either_way(bool vectored, int fd, void *to, size_t size)
{
	struct iovec all = { to, size };

	return vectored ? readv(fd, &all, 1) : read(fd, to, size);
}

/* A record that cannot be copied out is kept. fs/dlm loses it. */
TEST_F(reading, unwritable_buffer)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int id;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mprotect(map + page, page, PROT_NONE));
	ASSERT_ERRNO(EFAULT, read(self->ls.control, map + page, sizeof(struct dlm_device_version)));
	if (reference()) {
		lock(self->fd, EX, 0, "r");
		ASSERT_ERRNO(EFAULT, read(self->fd, map + page, RECORD));
		return;
	}
	for (size_t n = 0; n < 2 * RECORD; n++) {
		size_t writable = n / 2;
		bool vectored = n % 2;
		char *begin = map + page - writable;

		id = lock(self->fd, EX, 0, "r");
		ASSERT_ERRNO(EFAULT, read_either_way(vectored, self->fd, begin, RECORD));
		ASSERT_HEAR(self->fd, id, "granted") TH_LOG("%zu bytes writable", writable);
		ASSERT_EQ(0, unlock(self->fd, id, 0));
		begin = map + page - RECORD;
		ASSERT_EQ((ssize_t)RECORD, read_either_way(vectored, self->fd, begin, RECORD));
	}
	id = HOLD(self->fd, EX, WITH_BAST, "r");
	WAIT(self->other, PR, 0, "r");
	ASSERT_ERRNO(EFAULT, read(self->fd, map + page - RECORD / 2, RECORD));
	ASSERT_HEAR(self->fd, id, "blocks PR");
}

TEST_F(reading, seeking_is_harmless)
{
	int id = lock(self->fd, EX, 0, "r");

	if (lseek(self->fd, 4096, SEEK_SET) < 0)
		ASSERT_EQ(ESPIPE, errno);
	ASSERT_HEAR(self->fd, id, "granted");
}

/* At edges, every record is one. */
TEST_F(reading, epoll_at_edges)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(EPOLL_CLOEXEC), ids[3];

	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->fd, &event));
	for (int i = 0; i < 3; i++) {
		ids[i] = lock(self->fd, PR, 0, "r");
		ASSERT_EQ(1, epoll_wait(epoll, &event, 1, PATIENCE_MS));
		ASSERT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	}
	ASSERT_GRANTED(self->fd, ids, 3);
	close(epoll);
}

TEST_HARNESS_MAIN
