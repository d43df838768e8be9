// SPDX-License-Identifier: GPL-2.0
/*
 * bench module|floor CASE ROUNDS [SIZE...] - measure a case, some rounds at each size, in a lockspace
 * or on a device that does nothing, or hands over and does nothing else. Prints lines of module or floor, CASE[.METRIC], size and value,
 * separated by tabs; times are in nanoseconds, which are instructions where guest time counts those.
 *
 * bench control - see whether the clock tells the truth: a loop of known length must take as many
 * nanoseconds as it has instructions, within 1 %.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "bench.h"

bool bare;

static struct lockspace lockspace;
static long size;

#define NOTHING	"/dev/bench-floor"
#define BATON	"/dev/bench-baton"

static const struct benchmark {
	const char *name;
	measure *measure;
	const char *floor;	/* the device that stands for a lockspace there, if one can */
} cases[] = {
	{ "cycle", cycle, NOTHING },
	{ "convert", convert_cycle, NOTHING },
	{ "convert_value", convert_value, NULL },
	{ "returned", returned, NOTHING },
	{ "series", in_series, NULL },
	{ "series_returned", in_series_returned, NULL },
	{ "flock", flocks, NULL },
	{ "handover_asked", handover_asked, BATON },
	{ "handover_unasked", handover_unasked, BATON },
	{ "wake_read", wake_read, BATON },
	{ "wake_poll", wake_poll, BATON },
	{ "wake_epoll", wake_epoll, BATON },
	{ "waiters", waiters, NOTHING },
	{ "holders", holders, NOTHING },
	{ "names", names, NOTHING },
	{ "close", closing, NULL },
	{ "close_wait", close_wait, NULL },
	{ "close_wait_ahead", close_wait_ahead, NULL },
	{ "memory", memory, NULL },
	{ "lockspaces", lockspaces, NULL },
	{ "pairs", pairs, NULL },
};

static const struct benchmark *running;

__attribute__((noipa)) uint64_t measured_begin(void)
{
	return now();
}

__attribute__((noipa)) uint64_t measured_end(void)
{
	return now();
}

int open_device(void)
{
	int fd = bare ? open(running->floor, O_RDWR | O_CLOEXEC) :
			open_lockspace(lockspace.name, 0);

	if (fd < 0)
		err(1, "cannot open the device");
	return fd;
}

void *shared_memory(size_t length)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "no shared memory");
	return memory;
}

void sample(const char *metric, double value)
{
	printf("%s\t%s%s%s\t%ld\t%.3f\n", bare ? "floor" : "module", running->name,
	       metric ? "." : "", metric ?: "", size, value);
	fflush(stdout);
}

struct request numbered_request(int mode, long n)
{
	char name[16];

	snprintf(name, sizeof(name), "%08ld", n);
	return lock_request(mode, 0, name);
}

#define CONTROL_LOOPS	10000000
#define CONTROL_LENGTH	(2.0 * CONTROL_LOOPS)

static int control(void)
{
	uint64_t start = measured_begin();
	long left = CONTROL_LOOPS;
	double off;

	asm volatile("1: dec %0; jnz 1b" : "+r"(left));
	off = 100 * (since(start, 1) / CONTROL_LENGTH - 1);
	printf("control\toff\t1\t%.3f\n", off);
	return off < -1 || off > 1;
}

static void run(int rounds, char **sizes)
{
	const struct rlimit files = { 100000, 100000 };
	int error = bare ? 0 : lockspace_setup(&lockspace);

	if (error)
		errx(1, "cannot create a lockspace: %s", strerror(-error));
	if (setrlimit(RLIMIT_NOFILE, &files))
		err(1, "cannot open many files");
	do {
		size = *sizes ? atol(*sizes) : 1;
		running->measure(size, rounds);
	} while (*sizes && *++sizes);
	error = bare ? 0 : lockspace_teardown(&lockspace);
	if (error)
		errx(1, "cannot remove the lockspace: %s", strerror(-error));
}

static const struct benchmark *find_case(const char *name)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (!strcmp(name, cases[i].name))
			return &cases[i];
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "control"))
		return control();
	running = argc > 3 ? find_case(argv[2]) : NULL;
	bare = argc > 1 && !strcmp(argv[1], "floor");
	if (!running || (bare && !running->floor))
		errx(2, "usage: bench module|floor CASE ROUNDS [SIZE...], or bench control");
	run(atoi(argv[3]), argv + 4);
	return 0;
}
