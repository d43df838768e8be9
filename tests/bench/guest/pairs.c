// SPDX-License-Identifier: GPL-2.0
/* Processes on processors of their own: what two do in the time that one takes. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include "bench.h"

enum { TIMES = 2000, WARM_UP = 100, MAX_PROCESSES = 2 };

/* The track, shared by all: the starting line, and when each process was through. */
struct track {
	atomic_int ready, go;
	uint64_t finished[MAX_PROCESSES];
};

static void stay_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "two processors are wanted");
}

static void line_up(struct track *track)
{
	atomic_fetch_add(&track->ready, 1);
	while (!track->go)
		;
}

static void work(struct track *track, int number, const char *name)
{
	int fd = open_device();

	stay_on(number);
	lock_and_unlock(fd, name, WARM_UP);
	line_up(track);
	lock_and_unlock(fd, name, TIMES);
	track->finished[number] = now();
	_exit(0);
}

/* Nanoseconds until all of the processes, each on the name of its own, have done their work. */
static double race(int processes, const char *const *names)
{
	struct track *track = shared_memory(sizeof(*track));
	pid_t children[MAX_PROCESSES];
	uint64_t start, end = 0;

	for (int i = 0; i < processes; i++) {
		children[i] = spawn();
		if (!children[i])
			work(track, i, names[i]);
	}
	while (track->ready < processes)
		sched_yield();
	start = measured_begin();
	track->go = 1;
	for (int i = 0; i < processes; i++) {
		if (expect_child(children[i]))
			errx(1, "a process failed");
		if (track->finished[i] > end)
			end = track->finished[i];
	}
	munmap(track, sizeof(*track));
	return end - start;
}

/* A pair against one process, whose time is given. */
static void compare(const char *name, const char *each, double one, const char *const *names)
{
	double both = race(2, names);

	sample(each, both / (2 * TIMES));
	sample(name, 2 * one / both);
}

/*
 * Lock EX, record, unlock, record: nanoseconds of each when one process does it, and when two do,
 * on names of their own and on one name; and how many times as much they do in the same time. The
 * names change with every round, since by chance two of them can be in one part of a lockspace.
 */
void pairs(long, int rounds)
{
	while (rounds--) {
		char first[32], second[32];
		const char *const apart[] = { first, second }, *const same[] = { first, first };
		double one;

		snprintf(first, sizeof(first), "one %d", rounds);
		snprintf(second, sizeof(second), "other %d", rounds);
		one = race(1, apart);
		sample("one", one / TIMES);
		compare("apart", "apart_each", one, apart);
		compare("same", "same_each", one, same);
	}
}
