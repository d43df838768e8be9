// SPDX-License-Identifier: GPL-2.0
/* Processes on processors of their own: what two do in the time that one takes. */
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include "bench.h"

enum { TIMES = 1000, WARM_UP = 100, MAX_PROCESSES = 2 };

/* The starting line, shared by all. */
struct start {
	atomic_int ready, go;
};

static void stay_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "two processors are wanted");
}

static void line_up(struct start *start)
{
	atomic_fetch_add(&start->ready, 1);
	while (!start->go)
		;
}

static void work(struct start *start, int number, const char *name)
{
	int fd = open_device();

	stay_on(number);
	lock_and_unlock(fd, name, WARM_UP);
	line_up(start);
	lock_and_unlock(fd, name, TIMES);
	_exit(0);
}

/* Nanoseconds until all of the processes, each on the name of its own, have done their work. */
static double race(int processes, const char *const *names)
{
	struct start *start = shared_memory(sizeof(*start));
	pid_t children[MAX_PROCESSES];
	uint64_t from;
	double took;

	for (int i = 0; i < processes; i++) {
		children[i] = spawn();
		if (!children[i])
			work(start, i, names[i]);
	}
	while (start->ready < processes)
		sched_yield();
	from = measured_begin();
	start->go = 1;
	for (int i = 0; i < processes; i++)
		if (expect_child(children[i]))
			errx(1, "a process failed");
	took = since(from, 1);
	munmap(start, sizeof(*start));
	return took;
}

/*
 * Lock EX, record, unlock, record: nanoseconds of each when one process does it, and how many times
 * as much two do in the same time, on names of their own and on the same name.
 */
void pairs(long, int rounds)
{
	static const char *const apart[] = { "one", "other" }, *const same[] = { "one", "one" };

	while (rounds--) {
		double one = race(1, apart);

		sample("one", one / TIMES);
		sample("apart", 2 * one / race(2, apart));
		sample("same", 2 * one / race(2, same));
	}
}
