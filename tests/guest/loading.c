// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading, many times, while others try to open whatever there is, and to create
 * lockspaces. Each time the module comes with its devices, and goes with all of them.
 *
 * DLM_MODULE is the file to load the module from, LOADS how often (200).
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include "dlm_test.h"

enum { VISITORS = 4 };

static struct visits {
	atomic_int opened, created, locked;
} *visits;

static void pause_for(long microseconds)
{
	struct timespec time = { .tv_nsec = microseconds * 1000 };

	nanosleep(&time, NULL);
}

/* Leaves the lockspace there for others, and for the module to take along. */
static void visit(int number)
{
	int control = open_control(), monitor = open("/dev/dlm-monitor", O_RDWR | O_CLOEXEC);
	char name[16];
	int minor, fd;

	snprintf(name, sizeof(name), "l%d", number);
	minor = create_lockspace(control, name, 0);
	close(control);
	fd = open_lockspace(name, O_NONBLOCK);
	visits->opened += control >= 0;
	visits->created += minor > 0;
	visits->locked += lock(fd, EX, 0, "r") > 0;
	close(fd);
	close(monitor);
}

static void keep_visiting(void)
{
	for (int i = 0;; i++) {
		visit(i % 8);
		pause_for(1000);
	}
}

static int devices(void)
{
	DIR *dev = opendir("/dev");
	struct dirent *entry;
	int count = 0;

	while ((entry = readdir(dev)))
		count += !strncmp(entry->d_name, "dlm-", 4) || !strncmp(entry->d_name, "dlm_", 4);
	closedir(dev);
	return count;
}

/* As soon as nobody happens to be inside. */
static int unload_when_possible(void)
{
	int result;

	while ((result = unload_module()) == -EWOULDBLOCK)
		pause_for(200);
	return result;
}

/* The harness ends a test after half a minute, unless it is one of a fixture. */
FIXTURE(loading) { const char *module; int times; pid_t visitor[VISITORS]; };

FIXTURE_SETUP(loading)
{
	self->module = getenv("DLM_MODULE");
	if (!self->module || reference())
		SKIP(return, "DLM_MODULE is not set");
	self->times = atoi(getenv("LOADS") ?: "200");
	visits = mmap(NULL, sizeof(*visits), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < VISITORS; i++) {
		self->visitor[i] = spawn();
		if (!self->visitor[i])
			keep_visiting();
	}
}

FIXTURE_TEARDOWN(loading) {}

TEST_F_TIMEOUT(loading, and_unloading, 3600)
{
	for (int i = 0; i < self->times; i++) {
		ASSERT_EQ(0, unload_when_possible());
		ASSERT_EQ(0, devices());
		ASSERT_EQ(0, load_module(self->module));
		ASSERT_GE(devices(), 2);
		pause_for(2000);
	}
	for (int i = 0; i < VISITORS; i++) {
		kill(self->visitor[i], SIGKILL);
		ASSERT_EQ(-1, expect_child(self->visitor[i]));
	}
	TH_LOG("%d opened, %d lockspaces created, %d locks made", visits->opened, visits->created, visits->locked);
	EXPECT_GT(visits->opened, self->times);
	EXPECT_GT(visits->created, self->times);
	EXPECT_GT(visits->locked, self->times);
	ASSERT_EQ(0, unload_module());
	ASSERT_EQ(0, devices());
	ASSERT_EQ(0, load_module(self->module));
}

TEST_HARNESS_MAIN
