/* SPDX-License-Identifier: GPL-2.0 */
/* Programs that are to take next to no processor time. */
#ifndef CALM_H
#define CALM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/*
 * Whether a process takes less than a fiftieth of a processor for some seconds. An emulated processor's
 * time goes on while others use the machine, so it may try again: who spins does so always.
 */
static inline bool is_calm(pid_t process, int64_t *us)
{
	static const int SECONDS = 4, ATTEMPTS = 3;
	struct timespec before, after;
	clockid_t clock;

	if (clock_getcpuclockid(process, &clock))
		return false;
	for (int i = 0; i < ATTEMPTS; i++) {
		clock_gettime(clock, &before);
		sleep(SECONDS);
		clock_gettime(clock, &after);
		*us = (after.tv_sec - before.tv_sec) * INT64_C(1000000) +
		      (after.tv_nsec - before.tv_nsec) / 1000;
		if (*us < SECONDS * 1000000 / 50)
			return true;
	}
	return false;
}

#endif
