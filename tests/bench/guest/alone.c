// SPDX-License-Identifier: GPL-2.0
/* One process, one lock. */
#include "bench.h"

enum { TIMES = 2000, WARM_UP = 200 };

void lock_and_unlock(int fd, const char *name, long times)
{
	struct request lock = lock_request(EX, 0, name);
	struct request unlock = unlock_request(0, 0);

	while (times--) {
		int id = ask(fd, &lock);

		hear_status(fd, GRANTED);
		ask_of(fd, &unlock, id);
		hear_status(fd, UNLOCKED);
	}
}

/* lock EX, record, unlock, record: of all four */
void cycle(long, int rounds)
{
	int fd = open_device();

	lock_and_unlock(fd, "res", WARM_UP);
	while (rounds--) {
		uint64_t start = measured_begin();

		lock_and_unlock(fd, "res", TIMES);
		sample(NULL, since(start, TIMES));
	}
	close(fd);
}

static void up_and_down(int fd, int id, long times)
{
	struct request up = convert_request(id, EX, 0);
	struct request down = convert_request(id, NL, 0);

	while (times--) {
		ask(fd, &up);
		hear_status(fd, GRANTED);
		ask(fd, &down);
		hear_status(fd, GRANTED);
	}
}

/* convert NL to EX, record, convert EX to NL, record: of all four */
void convert_cycle(long, int rounds)
{
	struct request lock = lock_request(NL, 0, "res");
	int fd = open_device();
	int id = ask(fd, &lock);

	hear_status(fd, GRANTED);
	up_and_down(fd, id, WARM_UP);
	while (rounds--) {
		uint64_t start = measured_begin();

		up_and_down(fd, id, TIMES);
		sample(NULL, since(start, TIMES));
	}
	close(fd);
}
