// SPDX-License-Identifier: GPL-2.0
/* Two processes: what one does for the other, or to it. */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include "bench.h"

/* Runs a function in a process of its own, which is to be killed. */
static pid_t other_process(void (*function)(void *), void *argument)
{
	pid_t child = spawn();

	if (child < 0)
		err(1, "fork");
	if (!child) {
		function(argument);
		_exit(0);
	}
	return child;
}

static void end_process(pid_t child)
{
	kill(child, SIGKILL);
	if (expect_child(child) > 0)
		errx(1, "the other process failed");
}

/* From now on only waiting takes the processor from this process, and it takes it from others. */
static void run_first(void)
{
	const struct sched_param first = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &first))
		err(1, "cannot run ahead of others");
}

/* ---- Handing over -------------------------------------------------------------------------- */

enum { PASSES = 1000, FIRST_PASSES = 100 };

/* One of the two processes, and its lock. */
struct hand {
	int fd;
	struct request up, down;
	bool asked;		/* a blocking record says when to step down */
};

static struct hand new_hand(int mode, bool asked)
{
	struct request lock = lock_request(mode, asked ? WITH_BAST : 0, "res");
	struct hand hand = { .fd = open_device(), .asked = asked };
	int id = ask(hand.fd, &lock);

	hear_status(hand.fd, GRANTED);
	hand.up = convert_request(id, EX, asked ? WITH_BAST : 0);
	hand.down = convert_request(id, NL, asked ? WITH_BAST : 0);
	return hand;
}

/*
 * Whoever has EX steps down to NL, which grants it to the other, asks for it again and waits. If
 * it does so unasked, the other one must not run before, or would find nobody to hand over to.
 */
static void pass(const struct hand *hand, long times)
{
	while (times--) {
		if (hand->asked)
			hear_blocking(hand->fd);
		ask(hand->fd, &hand->down);
		hear_status(hand->fd, GRANTED);
		ask(hand->fd, &hand->up);
		hear_status(hand->fd, GRANTED);
	}
}

static void partner(void *asked)
{
	struct hand hand = new_hand(NL, asked);

	if (!asked)
		run_first();
	ask(hand.fd, &hand.up);
	hear_status(hand.fd, GRANTED);
	for (;;)
		pass(&hand, PASSES);
}

static void hand_over(bool asked, int rounds)
{
	struct hand hand = new_hand(EX, asked);
	pid_t child = other_process(partner, asked ? &hand : NULL);

	if (!asleep(child))
		errx(1, "the other process does not wait");
	if (!asked)
		run_first();
	pass(&hand, FIRST_PASSES);
	while (rounds--) {
		uint64_t start = measured_begin();

		pass(&hand, PASSES);
		sample(NULL, since(start, PASSES * 2));
	}
	end_process(child);
	close(hand.fd);
}

/*
 * EX goes back and forth between two processes by conversion: per hand-over, which costs its
 * process a blocking record, two conversions and their records, the last of them waited for.
 */
void handover_asked(long, int rounds)
{
	hand_over(true, rounds);
}

/* The same in turns, without blocking records. */
void handover_unasked(long, int rounds)
{
	hand_over(false, rounds);
}

/* ---- Sleeping readers ---------------------------------------------------------------------- */

enum { WAKES = 200 };

enum way { BY_READ, BY_POLL, BY_EPOLL };

/* What the two processes share. */
struct bell {
	enum way way;
	uint64_t heard;		/* when the reader had its record in hand */
};

/* A descriptor, and a way to wait for what it says. */
struct ear {
	int fd, epoll;
	enum way way;
};

static struct ear open_ear(enum way way)
{
	struct ear ear = { .fd = open_device(), .way = way };
	struct epoll_event event = { .events = EPOLLIN };

	if (way != BY_EPOLL)
		return ear;
	ear.epoll = epoll_create1(0);
	if (epoll_ctl(ear.epoll, EPOLL_CTL_ADD, ear.fd, &event))
		err(1, "epoll_ctl");
	return ear;
}

static void wait_and_hear(const struct ear *ear)
{
	struct pollfd p = { .fd = ear->fd, .events = POLLIN };
	struct epoll_event event;

	if (ear->way == BY_POLL && poll(&p, 1, -1) != 1)
		err(1, "poll");
	if (ear->way == BY_EPOLL && epoll_wait(ear->epoll, &event, 1, -1) != 1)
		err(1, "epoll_wait");
	hear_status(ear->fd, GRANTED);
}

/*
 * Waits for EX, asks for it again, behind the other process's next request, and lets go: so that
 * one is granted now, and when it is let go of, ours.
 */
static void reader(void *argument)
{
	struct bell *bell = argument;
	struct ear ear = open_ear(bell->way);
	struct request lock = lock_request(EX, 0, "res"), unlock = unlock_request(0, 0);
	int id = ask(ear.fd, &lock);

	run_first();
	for (;;) {
		int next;

		wait_and_hear(&ear);
		bell->heard = measured_end();
		next = ask(ear.fd, &lock);
		ask_of(ear.fd, &unlock, id);
		hear_status(ear.fd, UNLOCKED);
		id = next;
	}
}

/* From our unlock to the record in the hand of the reader, who sleeps until then. */
static void wake(enum way way, int rounds)
{
	struct bell *bell = shared_memory(sizeof(*bell));
	struct request lock = lock_request(EX, 0, "res"), unlock = unlock_request(0, 0);
	int fd = open_device();
	int id = ask(fd, &lock);
	pid_t child;

	bell->way = way;
	hear_status(fd, GRANTED);
	child = other_process(reader, bell);
	while (rounds--) {
		uint64_t sum = 0;

		for (int i = 0; i < WAKES; i++) {
			int next;
			uint64_t start;

			if (!asleep(child))
				errx(1, "the reader does not wait");
			next = ask(fd, &lock);
			unlock.req.i.lock.lkid = id;
			start = measured_begin();
			ask(fd, &unlock);
			hear_status(fd, UNLOCKED);
			hear_status(fd, GRANTED);
			sum += bell->heard - start;
			id = next;
		}
		sample(NULL, (double)sum / WAKES);
	}
	end_process(child);
	close(fd);
	munmap(bell, sizeof(*bell));
}

/* One process unlocks what another one waits for, asleep in read, poll or epoll_wait. */
void wake_read(long, int rounds)
{
	wake(BY_READ, rounds);
}

void wake_poll(long, int rounds)
{
	wake(BY_POLL, rounds);
}

void wake_epoll(long, int rounds)
{
	wake(BY_EPOLL, rounds);
}

/* ---- Closing while others work --------------------------------------------------------------- */

/*
 * One process wakes up every WAKE_EVERY nanoseconds, perhaps ahead of whatever else runs, and locks
 * and unlocks a name of its own: how long it takes, at most, from the time it was to wake up until
 * it hears that the lock is granted.
 */
enum { WAKE_EVERY = 100000, AT_REST = 20000000 };

struct watch {
	_Atomic uint64_t longest, locks;
	bool ahead;
};

static uint64_t sleep_until(uint64_t due)
{
	struct timespec t = { due / 1000000000, due % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	return due;
}

static void watchman(void *argument)
{
	struct watch *watch = argument;
	struct request lock = numbered_request(EX, 90000000), unlock = unlock_request(0, 0);
	int fd = open_device();

	if (watch->ahead)
		run_first();
	for (;;) {
		uint64_t due = sleep_until(now() + WAKE_EVERY), took;
		int id;

		lock_names(fd, &lock, &id, 1);
		took = now() - due;
		unlock_ids(fd, &unlock, &id, 1);
		if (took > watch->longest)
			watch->longest = took;
		watch->locks++;
	}
}

/* The longest lock while something is done with a descriptor. */
static void sample_longest(const char *metric, struct watch *watch, int fd, void (*something)(int))
{
	watch->longest = watch->locks = 0;
	something(fd);
	if (!watch->locks)
		errx(1, "nobody locked meanwhile");
	sample(metric, watch->longest);
}

static void rest(int)
{
	sleep_until(now() + AT_REST);
}

static void close_it(int fd)
{
	close(fd);
}

static void watch_close(long n, int rounds, bool ahead)
{
	struct watch *shared_watch = shared_memory(sizeof(*shared_watch));

	shared_watch->ahead = ahead;
	while (rounds--) {
		pid_t child = other_process(watchman, shared_watch);
		int fd = holder_of(n);

		rest(0);
		sample_longest("rest", shared_watch, 0, rest);
		sample_longest("close", shared_watch, fd, close_it);
		end_process(child);
	}
	munmap(shared_watch, sizeof(*shared_watch));
}

/* How long another process's lock takes at most, at rest and while n locks are closed. */
void close_wait(long n, int rounds)
{
	watch_close(n, rounds, false);
}

/* The same of one that has the processor as soon as it wants. */
void close_wait_ahead(long n, int rounds)
{
	watch_close(n, rounds, true);
}
