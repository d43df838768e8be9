// SPDX-License-Identifier: GPL-2.0
/* What the whole thing costs: memory, and lockspaces. */
#include <glob.h>
#include <stdio.h>
#include "bench.h"

/* ---- Memory -------------------------------------------------------------------------------- */

/* Seconds: what is freed a little later is free; fs/dlm has dropped resources that are not used. */
enum { SOON = 1, FORGOTTEN = 20 };

static void put_or_fail(const char *path, const char *text)
{
	if (!put(path, text))
		err(1, "%s", path);
}

/* The sum of the numbers behind a word at the beginning of lines. */
static long sum_of(const char *path, const char *word)
{
	FILE *f = fopen(path, "r");
	char line[256];
	long sum = 0;

	if (!f)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		const char *text = line + strspn(line, " ");

		if (!strncmp(text, word, strlen(word)))
			sum += atol(text + strlen(word));
	}
	fclose(f);
	return sum;
}

/* Have caches dropped, and pages given back of which slabs use nothing. */
static void shrink(void)
{
	glob_t slabs;

	put_or_fail("/proc/sys/vm/drop_caches", "3");
	if (glob("/sys/kernel/slab/[^:]*/shrink", 0, NULL, &slabs))
		errx(1, "/sys/kernel/slab is not there");
	for (size_t i = 0; i < slabs.gl_pathc; i++)
		put_or_fail(slabs.gl_pathv[i], "1");
	globfree(&slabs);
}

/*
 * Bytes of memory in use, some seconds after whatever was done. Free pages that a processor keeps
 * for itself count as free.
 */
static double used(unsigned int seconds)
{
	sleep(seconds);
	shrink();
	return (sum_of("/proc/meminfo", "MemTotal:") - sum_of("/proc/meminfo", "MemFree:")) * 1024.0 -
	       sum_of("/proc/zoneinfo", "count:") * (double)sysconf(_SC_PAGESIZE);
}

/* Memory for each of n locks on names of their own; and how much of it is back after the unlocks. */
void memory(long n, int rounds)
{
	int *ids = calloc(n, sizeof(*ids));

	if (!ids)
		err(1, "no memory for %ld ids", n);
	memset(ids, 1, n * sizeof(*ids));
	while (rounds--) {
		struct request lock = numbered_request(EX, 0), unlock = unlock_request(0, 0);
		int fd = open_device();
		double before = used(FORGOTTEN), full, after;

		lock_names(fd, &lock, ids, n);
		full = used(SOON);
		unlock_ids(fd, &unlock, ids, n);
		after = used(SOON);
		close(fd);
		sample("each", (full - before) / n);
		sample("back", 100 * (full - after) / (full - before));
	}
	free(ids);
}

/* ---- Lockspaces ---------------------------------------------------------------------------- */

static const char *space_name(long i)
{
	static char name[32];

	snprintf(name, sizeof(name), "bench%ld", i);
	return name;
}

static void lock_in_each(long n)
{
	struct request lock = numbered_request(EX, 0), unlock = unlock_request(0, 0);

	for (long i = 0; i < n; i++) {
		int fd = open_lockspace(space_name(i), 0);
		int id;

		if (fd < 0)
			err(1, "cannot open lockspace %ld", i);
		lock_names(fd, &lock, &id, 1);
		unlock_ids(fd, &unlock, &id, 1);
		close(fd);
	}
}

static void create_all(int control, int *minors, long n)
{
	for (long i = 0; i < n; i++) {
		minors[i] = create_lockspace(control, space_name(i), DLM_LSFL_NEWEXCL);
		if (minors[i] < 0)
			errx(1, "cannot create lockspace %ld: %s", i, strerror(-minors[i]));
	}
}

static void remove_all(int control, const int *minors, long n)
{
	for (long i = 0; i < n; i++) {
		int error = remove_lockspace(control, minors[i], 0);

		if (error)
			errx(1, "cannot remove lockspace %ld: %s", i, strerror(-error));
	}
}

/*
 * n lockspaces: create them all; open each, lock, unlock and close it; remove them all. For each
 * one, time, and memory while nothing is locked in it, before it ever was and after.
 */
void lockspaces(long n, int rounds)
{
	int *minors = calloc(n, sizeof(*minors));
	int control = open_control();

	while (rounds--) {
		double before = used(FORGOTTEN);
		uint64_t start = measured_begin();

		create_all(control, minors, n);
		sample("create", since(start, n));
		sample("fresh", (used(SOON) - before) / n);
		start = measured_begin();
		lock_in_each(n);
		sample("lock", since(start, n));
		sample("idle", (used(SOON) - before) / n);
		start = measured_begin();
		remove_all(control, minors, n);
		sample("remove", since(start, n));
	}
	close(control);
	free(minors);
}
