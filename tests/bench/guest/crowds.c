// SPDX-License-Identifier: GPL-2.0
/* One process, many locks: does an operation cost more among them? */
#include "bench.h"

static int *array_of_ids(long count)
{
	int *ids = malloc(count * sizeof(*ids));

	if (!ids)
		err(1, "no memory for %ld ids", count);
	/* Touch it now, not in a measured loop. */
	memset(ids, 0, count * sizeof(*ids));
	return ids;
}

/* So many resources that a round has at least 1,000 operations to measure. */
static long resources_for(long operations_on_each)
{
	return operations_on_each < 1000 ? (999 + operations_on_each) / operations_on_each : 1;
}

/* ---- Waiters ------------------------------------------------------------------------------- */

/* Lets the holder go, so that the next one is granted, as often as there is a next one. */
static void drain(int fd, struct request *unlock, const int *ids, long waiters)
{
	for (long i = 0; i < waiters; i++) {
		int first, second;

		ask_of(fd, unlock, ids[i]);
		first = status_told(fd);
		second = status_told(fd);
		if (first + second != GRANTED + UNLOCKED && !bare)
			errx(1, "records of status %d and %d", first, second);
	}
}

/*
 * n wait for EX behind its holder: per grant to one of them, which is an unlock, its record and
 * that of the lock granted by it, until nobody waits.
 */
void waiters(long n, int rounds)
{
	long resources = resources_for(n);
	int *ids = array_of_ids(resources * (n + 1));
	struct request unlock = unlock_request(0, 0);
	int fd = open_device();

	while (rounds--) {
		uint64_t start;

		for (long i = 0; i < resources; i++) {
			struct request lock = numbered_request(EX, i);

			for (long j = 0; j <= n; j++)
				ids[i * (n + 1) + j] = ask(fd, &lock);
			hear_status(fd, GRANTED);
		}
		start = measured_begin();
		for (long i = 0; i < resources; i++)
			drain(fd, &unlock, ids + i * (n + 1), n);
		sample(NULL, since(start, resources * n));
		for (long i = 0; i < resources; i++)
			unlock_ids(fd, &unlock, ids + i * (n + 1) + n, 1);
	}
	close(fd);
	free(ids);
}

/* ---- Holders ------------------------------------------------------------------------------- */

/* Locks each of many names in turn, as often as told. */
static void lock_each(int fd, struct request first, int *ids, long resources, long times)
{
	for (; resources--; next_name(&first))
		for (long i = 0; i < times; i++) {
			*ids++ = ask(fd, &first);
			hear_status(fd, GRANTED);
		}
}

/* n hold PR on one resource: per further lock and its record, of a tenth as many or 100. */
void holders(long n, int rounds)
{
	long more = n >= 1000 ? 100 : n >= 10 ? n / 10 : 1;
	long resources = resources_for(more * 10);
	int *ids = array_of_ids(resources * n);
	struct request unlock = unlock_request(0, 0);
	struct request lock = numbered_request(PR, 0);
	int fd = open_device();

	lock_each(fd, lock, ids, resources, n);
	while (rounds--) {
		uint64_t start = measured_begin();

		lock_each(fd, lock, ids, resources, more);
		sample(NULL, since(start, resources * more));
		unlock_ids(fd, &unlock, ids, resources * more);
	}
	close(fd);
	free(ids);
}

/* ---- Names --------------------------------------------------------------------------------- */

enum { MORE_NAMES = 1000 };

/* n names are held: per lock of a further one with its record, and per unlock with its record. */
void names(long n, int rounds)
{
	int *ids = array_of_ids(MORE_NAMES);
	struct request unlock = unlock_request(0, 0);
	struct request lock = numbered_request(EX, 0);
	int fd = open_device();

	for (long held = 0; held < n; held++)
		lock_names(fd, &lock, ids, 1);
	while (rounds--) {
		struct request further = numbered_request(EX, n);
		uint64_t start = measured_begin();

		lock_names(fd, &further, ids, MORE_NAMES);
		sample("lock", since(start, MORE_NAMES));
		start = measured_begin();
		unlock_ids(fd, &unlock, ids, MORE_NAMES);
		sample("unlock", since(start, MORE_NAMES));
	}
	close(fd);
	free(ids);
}

/* ---- Closing ------------------------------------------------------------------------------- */

int holder_of(long n)
{
	struct request lock = numbered_request(EX, 0);
	int fd = open_device();
	int id;

	while (n--)
		lock_names(fd, &lock, &id, 1);
	return fd;
}

/* A descriptor with n locks is closed: per lock. */
void closing(long n, int rounds)
{
	while (rounds--) {
		int fd = holder_of(n);
		uint64_t start = measured_begin();

		close(fd);
		sample(NULL, since(start, n));
	}
}
