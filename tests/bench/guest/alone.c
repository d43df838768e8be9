// SPDX-License-Identifier: GPL-2.0
/* One process, one lock, or as many as go into one call. */
#include <errno.h>
#include <sys/file.h>
#include "../../guest/extended.h"
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

static void up_and_down(int fd, int id, uint32_t flags, long times)
{
	struct request up = convert_request(id, EX, flags);
	struct request down = convert_request(id, NL, flags);

	while (times--) {
		ask(fd, &up);
		hear_status(fd, GRANTED);
		ask(fd, &down);
		hear_status(fd, GRANTED);
	}
}

static void convert_to_and_fro(uint32_t flags, int rounds)
{
	struct request lock = lock_request(NL, 0, "res");
	int fd = open_device();
	int id = ask(fd, &lock);

	hear_status(fd, GRANTED);
	up_and_down(fd, id, flags, WARM_UP);
	while (rounds--) {
		uint64_t start = measured_begin();

		up_and_down(fd, id, flags, TIMES);
		sample(NULL, since(start, TIMES));
	}
	close(fd);
}

/* convert NL to EX, record, convert EX to NL, record: of all four */
void convert_cycle(long, int rounds)
{
	convert_to_and_fro(0, rounds);
}

/* The same of a lock with a value block, which is read and written. */
void convert_value(long, int rounds)
{
	convert_to_and_fro(DLM_LKF_VALBLK, rounds);
}

/* fs/dlm does not: there the same is done by the calls that it has. */
static bool speaks_extended(int fd)
{
	struct request r = extended(unlock_request(0, 0));

	return bare || write(fd, r.bytes, r.size) >= 0 || errno != EBADE;
}

static void lock_and_unlock_returning(int fd, long times)
{
	struct request lock = returning(lock_request(EX, 0, "res"));
	struct request unlock = returning(unlock_request(0, 0));

	while (times--)
		ask_of(fd, &unlock, ask(fd, &lock));
}

/* lock EX, unlock, each answered by the write: of both */
void returned(long, int rounds)
{
	int fd = open_device();
	bool extended = speaks_extended(fd);

	for (int round = -1; round < rounds; round++) {
		uint64_t start = measured_begin();

		if (extended)
			lock_and_unlock_returning(fd, TIMES);
		else
			lock_and_unlock(fd, "res", TIMES);
		if (round >= 0)
			sample(NULL, since(start, TIMES));
	}
	close(fd);
}

static void ask_all(int fd, const struct series *series, long n)
{
	int done = write(fd, series->bytes, series->size);

	/* One alone returns what it returns. */
	if (done < 0 || (n > 1 && done != n))
		err(1, "write of a series: %d", done);
}

/* A read of the record of each of a series, whose ids go to the next. */
static void hear_all(int fd, long n, int status, struct series *next)
{
	static char records[1 << 16];
	size_t each = next->size / n, at = 0, length = 0;

	while (at < n * sizeof(struct dlm_lock_result)) {
		const struct dlm_lock_result *result = result_at(records, at);
		size_t number = at / sizeof(*result);

		if (at == length)
			length += read(fd, records + at, n * sizeof(*result) - at);
		if (result->lksb.sb_status != status)
			errx(1, "record of status %d instead of %d", result->lksb.sb_status, status);
		memcpy(next->bytes + number * each + offsetof(struct dlm_write_request, i.lock.lkid),
		       &result->lksb.sb_lkid, sizeof(int));
		at += sizeof(*result);
	}
}

static void lock_and_unlock_series(long n, int rounds, bool returns)
{
	static struct series locks, unlocks;
	struct request unlock = unlock_request(0, 0);
	int fd = open_device();
	bool extended = speaks_extended(fd);
	long times = TIMES / n;

	locks.size = unlocks.size = 0;
	for (long i = 0; i < n; i++) {
		add(&locks, numbered_request(EX, i));
		add(&unlocks, returns ? returning(unlock) : unlock);
	}
	for (int round = -1; round < rounds; round++) {
		uint64_t start = measured_begin();

		if (!extended)
			lock_and_unlock(fd, "res", times * n);
		for (long i = 0; extended && i < times; i++) {
			ask_all(fd, &locks, n);
			hear_all(fd, n, GRANTED, &unlocks);
			ask_all(fd, &unlocks, n);
			if (!returns)
				hear_all(fd, n, UNLOCKED, &locks);
		}
		if (round >= 0)
			sample(NULL, since(start, times * n));
	}
	close(fd);
}

/* lock EX on n names in one write, their records in one read, and the same of unlock: each name */
void in_series(long n, int rounds)
{
	lock_and_unlock_series(n, rounds, false);
}

/* the same, but it is the write that answers the unlocks */
void in_series_returned(long n, int rounds)
{
	lock_and_unlock_series(n, rounds, true);
}

/* What others than the modules give: flock of a file, and unlock. */
void flocks(long, int rounds)
{
	int fd = open(".", O_RDONLY | O_CLOEXEC);

	for (int round = -1; round < rounds; round++) {
		uint64_t start = measured_begin();

		for (int i = 0; i < TIMES; i++)
			if (flock(fd, LOCK_EX) || flock(fd, LOCK_UN))
				err(1, "flock");
		if (round >= 0)
			sample(NULL, since(start, TIMES));
	}
	close(fd);
}
