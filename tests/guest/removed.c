// SPDX-License-Identifier: GPL-2.0
/*
 * Lockspaces removed under those who have them open: fs/dlm waits for these instead. What waits is
 * told so, what was told is still read, and then every read says that it was all, at a pace at which
 * nobody spins who does not listen.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "calm.h"
#include "dlm_test.h"

#define FORCE	DLM_USER_LSFLG_FORCEFREE

/* A dead descriptor answers so many reads at once, and the next one after so many milliseconds. */
#define PROMPT	16
#define LATE_MS	50

FIXTURE(removed) { struct lockspace ls; int fd, id; };

FIXTURE_SETUP(removed)
{
	SKIP_ON_REFERENCE("waits for every descriptor");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->id = HOLD(self->fd, EX, WITH_BAST, "r");
}

FIXTURE_TEARDOWN(removed)
{
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
}

#define ASSERT_REMOVED(flags) \
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, flags))

#define ASSERT_ENDED(fd) \
	ASSERT_HEAR(fd, 0, "read: ENODEV")

static bool exists(const char *name)
{
	char rest[sizeof("_") + DLM_LOCKSPACE_LEN];

	snprintf(rest, sizeof(rest), "_%s", name);
	return !access(device(rest), F_OK);
}

/* ---- What is told ------------------------------------------------------------------------- */

TEST_F(removed, descriptors_are_dead)
{
	struct record record;

	ASSERT_REMOVED(FORCE);
	ASSERT_FALSE(exists(self->ls.name));
	EXPECT_EQ(-ENODEV, read_record(self->fd, &record));
	EXPECT_EQ(-ENODEV, lock(self->fd, EX, 0, "s"));
	EXPECT_EQ(-ENODEV, convert(self->fd, self->id, NL, 0));
	EXPECT_EQ(-ENODEV, unlock(self->fd, self->id, 0));
	EXPECT_EQ(POLLHUP, poll_now(self->fd, POLLIN) & POLLHUP);
	EXPECT_EQ(0, close(self->fd));
}

TEST_F(removed, without_locks_no_force_is_needed)
{
	ASSERT_EQ(0, unlock(self->fd, self->id, 0));
	ASSERT_REMOVED(0);
	ASSERT_HEAR(self->fd, self->id, "EUNLOCK");
	ASSERT_ENDED(self->fd);
}

TEST_F(removed, what_was_untold_is_read_first)
{
	int other = open_lockspace(self->ls.name, O_NONBLOCK);
	int waiting = WAIT(other, PR, 0, "r");
	int granted = lock(self->fd, EX, DLM_LKF_VALBLK, "s");

	ASSERT_REMOVED(FORCE);
	ASSERT_HEAR(self->fd, self->id, "blocks PR");
	ASSERT_HEAR(self->fd, granted, "granted \"\"");
	ASSERT_ENDED(self->fd);
	ASSERT_HEAR(other, waiting, "ENODEV");
	ASSERT_ENDED(other);
}

TEST_F(removed, each_that_waits_is_told_once)
{
	int other = open_lockspace(self->ls.name, O_NONBLOCK);
	int converting = HOLD(other, CR, 0, "s");
	int ids[500];

	HOLD(self->fd, PW, 0, "s");
	CONVERT(other, converting, EX, DLM_LKF_VALBLK, "nothing");
	for (int i = 0; i < 500; i++)
		ids[i] = WAIT(other, i % 2 ? PR : EX, 0, "r");
	ASSERT_REMOVED(FORCE);
	for (int left = 501; left; left--) {
		struct record record;
		int n = read_record(other, &record), id = record.result.lksb.sb_lkid, at = 0;

		ASSERT_STREQ("ENODEV", describe(&record, n, id));
		if (id == converting) {
			converting = 0;
			continue;
		}
		while (at < 500 && ids[at] != id)
			at++;
		ASSERT_LT(at, 500);
		ids[at] = 0;
	}
	ASSERT_ENDED(other);
}

/* The orphan is nobody's, and who holds and waits for nothing has nothing to be told. */
TEST_F(removed, nobody_else_is_told_anything)
{
	int other = open_lockspace(self->ls.name, O_NONBLOCK);
	int orphan = HOLD(other, EX, DLM_LKF_PERSISTENT, "s");

	ASSERT_EQ(0, convert(other, orphan, NL, DLM_LKF_PERSISTENT));
	close(other);
	other = open_lockspace(self->ls.name, O_NONBLOCK);
	HOLD(other, EX, WITH_BAST, "t");
	ASSERT_REMOVED(FORCE);
	ASSERT_ENDED(other);
}

TEST_F(removed, poll_says_all_at_once)
{
	int ended = POLLHUP | POLLERR | POLLIN | POLLRDNORM;

	ASSERT_EQ(0, poll_now(self->fd, ended));
	ASSERT_REMOVED(FORCE);
	ASSERT_EQ(ended, poll_now(self->fd, ended));
	ASSERT_ENDED(self->fd);
	ASSERT_EQ(ended, poll_now(self->fd, ended));
}

/* Whose holders and waiters were cut off is in the kernel's log, unless that was written to a lot. */
TEST_F_TIMEOUT(removed, the_log_counts_who_was_cut_off, 120)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char wanted[200], line[4096];
	bool found = false;

	ASSERT_GE(log, 0);
	for (int attempt = 0; attempt < 4 && !found; attempt++) {
		int other = open_lockspace(self->ls.name, O_NONBLOCK), n;

		if (attempt)
			sleep(6);
		HOLD(other, EX, DLM_LKF_PERSISTENT, "orphan");
		close(other);
		other = open_lockspace(self->ls.name, O_NONBLOCK);
		HOLD(other, NL, 0, "r");
		WAIT(other, PR, 0, "r");
		lseek(log, 0, SEEK_END);
		ASSERT_REMOVED(FORCE);
		snprintf(wanted, sizeof(wanted), "lockspace %s was removed: 2 open files, "
			 "2 holders, 1 waiters and 1 orphans were cut off", self->ls.name);
		while ((n = read(log, line, sizeof(line) - 1)) > 0) {
			line[n] = 0;
			found |= !!strstr(line, wanted);
		}
		close(other);
		close(self->fd);
		self->ls.minor = create_lockspace(self->ls.control, self->ls.name, DLM_LSFL_NEWEXCL);
		ASSERT_GT(self->ls.minor, 0);
		self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
		HOLD(self->fd, EX, 0, "r");
	}
	ASSERT_TRUE(found);
}

/* ---- Who is woken ------------------------------------------------------------------------- */

TEST_F(removed, epoll_tells)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(0);

	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->fd, &event));
	ASSERT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	ASSERT_REMOVED(FORCE);
	ASSERT_EQ(1, epoll_wait(epoll, &event, 1, 0));
	ASSERT_EQ(EPOLLHUP, event.events & EPOLLHUP);
}

static void *read_once(void *data)
{
	struct record record;

	return (void *)(intptr_t)read_record(*(int *)data, &record);
}

/* One of them hears the end of what its file waits for, the others that this was all. */
TEST_F(removed, all_sleeping_readers_are_woken)
{
	enum { READERS = 5 };
	pthread_t readers[READERS];
	int fd = open_lockspace(self->ls.name, 0), records = 0;

	ASSERT_GT(lock(fd, EX, 0, "r"), 0);
	for (int i = 0; i < READERS; i++)
		ASSERT_EQ(0, pthread_create(&readers[i], NULL, read_once, &fd));
	usleep(100000);
	ASSERT_REMOVED(FORCE);
	for (int i = 0; i < READERS; i++) {
		void *result;

		ASSERT_EQ(0, pthread_join(readers[i], &result));
		if ((intptr_t)result == sizeof(struct dlm_lock_result))
			records++;
		else
			ASSERT_EQ(-ENODEV, (intptr_t)result);
	}
	ASSERT_EQ(1, records);
}

TEST_F(removed, blocked_poll_is_woken)
{
	pid_t child = spawn();

	if (!child) {
		int fd = open_lockspace(self->ls.name, 0);
		struct pollfd p = { .fd = fd, .events = POLLIN };

		lock(fd, EX, 0, "r");
		/* What it waits for ends first. */
		while (poll(&p, 1, PATIENCE_MS) == 1 && !(p.revents & POLLHUP))
			hear(fd, 0);
		_exit(p.revents & POLLHUP ? 0 : 1);
	}
	ASSERT_AWAIT(self->fd, self->id, "blocks EX");
	ASSERT_TRUE(asleep(child));
	ASSERT_REMOVED(FORCE);
	ASSERT_EQ(0, expect_child(child));
}

/* A read into memory that has to be fetched first, for longer than the lockspace is there. */
struct slow_read {
	struct lockspace *ls;
	int fd, result;
	void *memory;
};

static void *read_slowly(void *data)
{
	struct slow_read *slow = data;

	slow->result = read(slow->fd, slow->memory, sizeof(struct record));
	if (slow->result < 0)
		slow->result = -errno;
	return NULL;
}

/* Returns whether all was as it had to be for there to be a result. */
static bool remove_meanwhile(struct slow_read *slow, bool is_memory)
{
	struct uffdio_api api = { .api = UFFD_API };
	int faults = syscall(SYS_userfaultfd, O_CLOEXEC), size = getpagesize();
	struct uffdio_register all = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zeros = { };
	struct uffd_msg fault;
	pthread_t reader;

	slow->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	all.range = (struct uffdio_range){ (uintptr_t)slow->memory, size };
	zeros.range = all.range;
	if (ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &all) ||
	    pthread_create(&reader, NULL, read_slowly, slow) ||
	    read(faults, &fault, sizeof(fault)) != sizeof(fault) ||
	    remove_lockspace(slow->ls->control, slow->ls->minor, FORCE))
		return false;
	if (is_memory ? ioctl(faults, UFFDIO_ZEROPAGE, &zeros) :
			munmap(slow->memory, size) || ioctl(faults, UFFDIO_WAKE, &all.range))
		return false;
	return !pthread_join(reader, NULL) && !close(faults);
}

TEST_F(removed, a_slow_reader_gets_its_record)
{
	struct slow_read slow = { .ls = &self->ls, .fd = self->fd };
	int id = lock(self->fd, EX, 0, "s");

	ASSERT_TRUE(remove_meanwhile(&slow, true));
	EXPECT_STREQ("granted", describe(slow.memory, slow.result, id));
	EXPECT_EQ(0, close(self->fd));
}

TEST_F(removed, a_slow_reader_without_memory_leaves_it)
{
	struct slow_read slow = { .ls = &self->ls, .fd = self->fd };
	int id = lock(self->fd, EX, 0, "s");

	ASSERT_TRUE(remove_meanwhile(&slow, false));
	EXPECT_EQ(-EFAULT, slow.result);
	EXPECT_HEAR(self->fd, id, "granted");
	EXPECT_EQ(0, close(self->fd));
}

/* A new lockspace of that name has nothing to do with the old descriptors. */
TEST_F(removed, the_name_is_free_again)
{
	int fd;

	ASSERT_REMOVED(FORCE);
	self->ls.minor = create_lockspace(self->ls.control, self->ls.name, DLM_LSFL_NEWEXCL);
	ASSERT_GT(self->ls.minor, 0);
	fd = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_FREE(fd, "r", EX);
	EXPECT_EQ(-ENODEV, lock(self->fd, EX, 0, "r"));
	EXPECT_EQ(0, close(self->fd));
	ASSERT_FREE(fd, "r", EX);
}

/* ---- The pace at the end ------------------------------------------------------------------ */

static int64_t milliseconds(void)
{
	return nanoseconds() / 1000000;
}

TEST_F(removed, the_first_ends_come_at_once_and_the_others_late)
{
	int64_t start = milliseconds();

	ASSERT_REMOVED(FORCE);
	for (int i = 0; i < PROMPT; i++)
		ASSERT_ENDED(self->fd);
	ASSERT_LT(milliseconds() - start, PROMPT * LATE_MS / 2);
	for (int late = 0; late < 5; late++) {
		ASSERT_EQ(0, fcntl(self->fd, F_SETFL, late % 2 ? 0 : O_NONBLOCK));
		start = milliseconds();
		ASSERT_ENDED(self->fd);
		/* The clock of timers is coarse. */
		ASSERT_GE(milliseconds() - start, (LATE_MS << (late < 3 ? late : 3)) - 10);
	}
}

/* A call that must not sleep does not, and whoever polls is told at once. */
TEST_F(removed, nobody_sleeps_who_must_not)
{
	struct record record;
	struct iovec iov = { &record, sizeof(record) };
	int64_t start;

	ASSERT_REMOVED(FORCE);
	for (int i = 0; i < PROMPT; i++)
		ASSERT_ENDED(self->fd);
	start = milliseconds();
	for (int i = 0; i < 100; i++) {
		ASSERT_EQ(-1, preadv2(self->fd, &iov, 1, -1, RWF_NOWAIT));
		ASSERT_EQ(ENODEV, errno);
		ASSERT_EQ(POLLHUP, poll_now(self->fd, 0) & POLLHUP);
	}
	ASSERT_LT(milliseconds() - start, 100 * LATE_MS / 4);
}

static void interrupted(int signal __attribute__((unused))) { }

TEST_F(removed, a_late_end_can_be_interrupted_and_killed)
{
	struct sigaction action = { .sa_handler = interrupted };
	pid_t child = spawn();

	if (!child) {
		struct itimerval soon = { .it_value = { .tv_usec = 1000 }, .it_interval = { .tv_usec = 1000 } };
		int64_t start;

		sigaction(SIGALRM, &action, NULL);
		while (!strcmp(hear(self->fd, 0), "nothing"))
			usleep(1000);
		for (int i = 0; i < PROMPT; i++)
			hear(self->fd, 0);
		setitimer(ITIMER_REAL, &soon, NULL);
		start = milliseconds();
		for (int i = 0; i < 20; i++)
			if (strcmp(hear(self->fd, 0), "read: ENODEV"))
				_exit(1);
		if (milliseconds() - start > 20 * LATE_MS / 2)
			_exit(2);
		setitimer(ITIMER_REAL, &(struct itimerval){ }, NULL);
		raise(SIGSTOP);
		for (;;)
			hear(self->fd, 0);
	}
	ASSERT_REMOVED(FORCE);
	ASSERT_EQ(child, waitpid(child, NULL, WUNTRACED));
	kill(child, SIGCONT);
	usleep(10000);
	kill(child, SIGKILL);
	ASSERT_EQ(-1, expect_child(child));
}

/* A program that never looks at errors: it reads, or polls and reads, again and again. */
TEST_F_TIMEOUT(removed, who_ignores_the_end_does_not_spin, 60)
{
	pid_t children[2];

	for (int polls = 0; polls < 2; polls++) {
		children[polls] = spawn();
		if (!children[polls]) {
			int fd = open_lockspace(self->ls.name, polls ? O_NONBLOCK : 0);
			struct pollfd p = { .fd = fd, .events = POLLIN };
			struct record record;

			for (;;) {
				if (polls && poll(&p, 1, -1) < 0)
					_exit(1);
				if (read(fd, &record, sizeof(record)) > 0)
					_exit(2);
			}
		}
		ASSERT_TRUE(asleep(children[polls]));
	}
	ASSERT_REMOVED(FORCE);
	for (int polls = 0; polls < 2; polls++) {
		int64_t us = -1;

		EXPECT_TRUE(is_calm(children[polls], &us));
		TH_LOG("%s: %lld us", polls ? "polls and reads" : "reads", (long long)us);
		kill(children[polls], SIGKILL);
		EXPECT_EQ(-1, expect_child(children[polls]));
	}
}

/* ---- While files come and go -------------------------------------------------------------- */

/* Files are closed, by force, while their locks and what they wait for are being cut off. */
TEST_F_TIMEOUT(removed, while_files_are_closed, 120)
{
	for (int round = 0; round < 60; round++) {
		int ready[2];
		pid_t child;
		char byte;

		ASSERT_EQ(0, pipe(ready));
		child = spawn();
		if (!child) {
			int fd = open_lockspace(self->ls.name, O_NONBLOCK);

			for (int i = 0; i < 300; i++) {
				lock(fd, EX, WITH_BAST, numbered("n", i));
				lock(fd, i % 2 ? PR : EX, i % 3 ? 0 : DLM_LKF_PERSISTENT, numbered("n", i));
			}
			_exit(write(ready[1], "", 1) == 1 && pause());
		}
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		close(ready[0]);
		kill(child, SIGKILL);
		if (round % 3)
			usleep(round * 50);
		ASSERT_REMOVED(FORCE);
		ASSERT_EQ(-1, expect_child(child));
		self->ls.minor = create_lockspace(self->ls.control, self->ls.name, DLM_LSFL_NEWEXCL);
		ASSERT_GT(self->ls.minor, 0);
	}
}

TEST_HARNESS_MAIN
