/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The benchmark: what its cases have in common.
 *
 * A case is a function that is called once for each size, and says what it measured by sample().
 * Its loops hold nothing but the system calls, and a look at what they return. They do the same on
 * a lockspace of either module and, as the floor, on the devices of tests/bench/floor ("bare").
 */
#ifndef BENCH_H
#define BENCH_H

#include <err.h>
#include <stdlib.h>
#include <time.h>
#include "../../guest/client.h"

/* No lockspace but a device that does nothing: its records say nothing. */
extern bool bare;

/* A descriptor of the lockspace, another owner of locks. */
int open_device(void);

/* A value of "CASE" (metric NULL) or "CASE.metric", measured at the current size. */
void sample(const char *metric, double value);

/* Every case comes by here; what a case does is told beside its function. */
typedef void measure(long n, int rounds);
measure cycle, convert_cycle, convert_value, returned, in_series, in_series_returned, flocks,
	handover_asked, handover_unasked, wake_read, wake_poll, wake_epoll, waiters, holders, names,
	closing, close_wait, close_wait_ahead, memory, lockspaces, pairs;

static inline uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/*
 * The time where the measured part of a case begins, and where it ends. They are never inlined: by
 * their addresses a profile knows what to look at.
 */
uint64_t measured_begin(void);
uint64_t measured_end(void);

/* The measured part ends: nanoseconds for each of so many operations. */
static inline double since(uint64_t start, long operations)
{
	return (double)(measured_end() - start) / operations;
}

/* Memory that processes started from now on share. */
void *shared_memory(size_t length);

/* Lock EX, record, unlock, record. */
void lock_and_unlock(int fd, const char *name, long times);

/* A new descriptor that holds EX on n names. */
int holder_of(long n);

/* ---- Asking and hearing in measured loops -------------------------------------------------- */

static inline int ask(int fd, const struct request *r)
{
	int n = write(fd, r->bytes, r->size);

	if (n < 0)
		err(1, "write, command %d, lock %x", r->req.cmd, r->req.i.lock.lkid);
	return n;
}

static inline int ask_of(int fd, struct request *r, int id)
{
	r->req.i.lock.lkid = id;
	return ask(fd, r);
}

static inline void read_result(int fd, struct record *record)
{
	int n = read(fd, record, sizeof(*record));

	if (n < (int)sizeof(record->result))
		err(1, "read: %d", n);
}

/* Reads a record, returns its status. */
static inline int status_told(int fd)
{
	struct record record;

	read_result(fd, &record);
	return record.result.lksb.sb_status;
}

static inline void hear_status(int fd, int status)
{
	int told = status_told(fd);

	if (told != status && !bare)
		errx(1, "record of status %d instead of %d", told, status);
}

static inline void hear_blocking(int fd)
{
	struct record record;

	read_result(fd, &record);
	if (record.result.bast_mode != EX && !bare)
		errx(1, "record of status %d instead of blocking EX", record.result.lksb.sb_status);
}

#define GRANTED		0
#define UNLOCKED	(-DLM_EUNLOCK)

/* The request of a lock on the n-th of many names, all of eight bytes, and the next one's. */
struct request numbered_request(int mode, long n);

static inline void next_name(struct request *r)
{
	char *digit = r->req.i.lock.name + r->req.i.lock.namelen - 1;

	while (++*digit > '9')
		*digit-- = '0';
}

/* Asks for locks on count names from r's on, and hears that each is granted. */
static inline void lock_names(int fd, struct request *r, int *ids, long count)
{
	for (long i = 0; i < count; i++, next_name(r)) {
		ids[i] = ask(fd, r);
		hear_status(fd, GRANTED);
	}
}

static inline void unlock_ids(int fd, struct request *unlock, const int *ids, long count)
{
	for (long i = 0; i < count; i++) {
		ask_of(fd, unlock, ids[i]);
		hear_status(fd, UNLOCKED);
	}
}

#endif
