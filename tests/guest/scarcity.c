// SPDX-License-Identifier: GPL-2.0
/*
 * A machine without memory cgroups, on which an ordinary program asks for locks until there are no
 * more to be had: it gets ENOMEM, and nobody is killed for it. For a guest of its own, of 512 MB.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "dlm_test.h"
#include "extended.h"

/* What the bystander has, and what part of the machine is left to it and others: see doc/differences.md. */
enum { BYSTANDER_MB = 60, RESERVE_PART = 32, REFUSALS = 3 };

struct shared {
	/* How often the bystander has looked at all that it has. */
	atomic_int looks;
	atomic_int refusals;
	atomic_long locks;
};

static long number_in(const char *path, const char *word)
{
	FILE *file = fopen(path, "re");
	char line[128];
	long value = -1;

	while (value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, word, strlen(word)))
			value = atol(line + strlen(word));
	fclose(file);
	return value;
}

#define KB(word)	number_in("/proc/meminfo", word ":")
#define KILLS()		number_in("/proc/vmstat", "oom_kill ")

static void stand_by(struct shared *shared)
{
	size_t size = BYSTANDER_MB << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (;; usleep(10000)) {
		for (size_t at = 0; at < size; at += 4096)
			memory[at]++;
		shared->looks++;
	}
}

/* As many locks as there are to be had, all with names of their own, many in a write. */
static void use_up(struct shared *shared, int fd)
{
	static struct series series;
	static char records[1 << 16];
	int asked, done, error;

	if (setresuid(65534, 65534, 65534))
		_exit(2);
	while (shared->refusals < REFUSALS) {
		series.size = 0;
		for (asked = 0; series.size < 60000; asked++)
			add(&series, lock_request(EX, 0, numbered("scarce", shared->locks + asked)));
		done = write(fd, series.bytes, series.size);
		error = errno;
		while (read(fd, records, sizeof(records)) > 0)
			;
		if (done < 0 && error != ENOMEM)
			_exit(3);
		shared->locks += done > 0 ? done : 0;
		if (done < 0) {
			shared->refusals++;
			usleep(100000);
		}
	}
	for (;;)
		pause();
}

FIXTURE(scarcity) { struct lockspace ls; };
FIXTURE_SETUP(scarcity)
{
	SKIP_ON_REFERENCE("has no reserve");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
}
FIXTURE_TEARDOWN(scarcity) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

TEST_F_TIMEOUT(scarcity, nobody_is_killed_for_locks, 600)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	long total = KB("MemTotal"), available, looks, locks;
	pid_t bystander, program;
	int fd;

	bystander = spawn();
	if (!bystander)
		stand_by(shared);
	while (!shared->looks)
		usleep(10000);
	available = KB("MemAvailable");
	fd = open_lockspace(self->ls.name, O_NONBLOCK);
	program = spawn();
	if (!program)
		use_up(shared, fd);
	close(fd);
	while (shared->refusals < REFUSALS && !waitpid(program, NULL, WNOHANG))
		usleep(100000);
	locks = shared->locks;
	TH_LOG("of %ld kB %ld were available; %ld locks left %ld, and %ld programs were killed",
	       total, available, locks, KB("MemAvailable"), KILLS());
	EXPECT_EQ(REFUSALS, shared->refusals);
	EXPECT_GT(locks, 10000);
	EXPECT_EQ(0, KILLS());
	EXPECT_GT(KB("MemAvailable"), total / RESERVE_PART / 2);

	/* The bystander goes on, and new programs start. */
	looks = shared->looks;
	EXPECT_EQ(0, system("ls /proc | grep -q self"));
	usleep(500000);
	EXPECT_GT(shared->looks, looks);
	EXPECT_EQ(0, waitpid(bystander, NULL, WNOHANG));

	/* When the locks have gone, there are new ones. */
	kill(program, SIGKILL);
	EXPECT_EQ(-1, expect_child(program));
	fd = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_GE(fd, 0);
	HOLD(fd, EX, 0, numbered("scarce", 0));
	EXPECT_EQ(0, KILLS());
}

TEST_HARNESS_MAIN
