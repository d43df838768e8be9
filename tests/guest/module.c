// SPDX-License-Identifier: GPL-2.0
/* The module itself: it stays while it is in use, and takes everything along when it goes. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "dlm_test.h"
#include "tables.h"

static bool exists(const char *device)
{
	return !access(device, F_OK);
}

TEST(stays_while_the_control_device_is_open)
{
	ASSERT_GE(open_control(), 0);
	ASSERT_EQ(-EWOULDBLOCK, unload_module());
}

TEST(stays_while_a_lockspace_is_open)
{
	struct lockspace ls;

	ASSERT_EQ(0, lockspace_setup(&ls));
	ASSERT_GE(open_lockspace(ls.name, 0), 0);
	close(ls.control);
	ASSERT_EQ(-EWOULDBLOCK, unload_module());
	ASSERT_EQ(0, lockspace_teardown(&ls));
}

TEST(stays_while_the_monitor_is_open)
{
	SKIP_ON_REFERENCE("takes its closing for the end of its daemon");
	ASSERT_GE(open("/dev/dlm-monitor", O_RDONLY), 0);
	ASSERT_EQ(-EWOULDBLOCK, unload_module());
}

TEST(stays_while_a_table_is_open)
{
	struct lockspace ls;
	FILE *table;

	ASSERT_EQ(0, lockspace_setup(&ls));
	table = open_table(ls.name, "all");
	ASSERT_NE(NULL, table);
	close(ls.control);
	ASSERT_EQ(-EWOULDBLOCK, unload_module());
	ASSERT_EQ(0, lockspace_teardown(&ls));
}

TEST(stays_while_a_table_of_all_lockspaces_is_open)
{
	SKIP_ON_REFERENCE("has none");
	ASSERT_NE(NULL, open_common("owners"));
	ASSERT_EQ(-EWOULDBLOCK, unload_module());
}

/* Lockspaces that nobody has open do not keep it. DLM_MODULE is the file to load it from again. */
TEST(goes_with_its_lockspaces)
{
	const char *path = getenv("DLM_MODULE");
	int control, fd, minor;

	SKIP_ON_REFERENCE("is kept by its lockspaces");
	if (!path)
		SKIP(return, "DLM_MODULE is not set");
	control = open_control();
	ASSERT_GT(create_lockspace(control, "kept", 0), 0);
	ASSERT_GT(create_lockspace(control, "used", 0), 0);
	fd = open_lockspace("used", O_NONBLOCK);
	lock(fd, EX, 0, "r");
	lock(fd, EX, 0, "r");
	close(fd);
	close(control);

	ASSERT_EQ(0, unload_module());
	EXPECT_FALSE(exists("/dev/dlm_kept"));
	EXPECT_FALSE(exists("/dev/dlm_used"));
	EXPECT_FALSE(exists("/dev/dlm-control"));
	EXPECT_FALSE(exists("/dev/dlm-monitor"));

	ASSERT_EQ(0, load_module(path));
	control = open_control();
	minor = create_lockspace(control, "kept", DLM_LSFL_NEWEXCL);
	ASSERT_GT(minor, 0);
	ASSERT_EQ(0, remove_lockspace(control, minor, 0));
}

#define TRACEFS	"/sys/kernel/tracing"

/* Tracing does not keep it: the events go, and are there again, and off, when it comes back. */
TEST(goes_while_it_is_traced)
{
	const char *path = getenv("DLM_MODULE"), *on = TRACEFS "/events/dlm/dlm_ast/enable";
	char text[3] = "";

	if (!path || access(TRACEFS "/events", F_OK))
		SKIP(return, "DLM_MODULE is not set, or the kernel does not trace");
	/* So that only the module's own code is patched: see tracing.c. */
	ASSERT_TRUE(put(TRACEFS "/options/record-cmd", "0"));
	ASSERT_TRUE(put(TRACEFS "/events/dlm/enable", "1"));
	ASSERT_EQ(0, unload_module());
	EXPECT_FALSE(exists(TRACEFS "/events/dlm"));
	ASSERT_EQ(0, load_module(path));
	ASSERT_EQ(2, read(open(on, O_RDONLY), text, 2));
	ASSERT_STREQ("0\n", text);
}

/* From its file, or from what was read of that, as modprobe may do it. */
static int load_with(const char *path, const char *parameters, bool from_memory)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat file;
	int result;

	if (from_memory && !fstat(fd, &file)) {
		void *bytes = mmap(NULL, file.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

		result = syscall(SYS_init_module, bytes, file.st_size, parameters);
		munmap(bytes, file.st_size);
	} else {
		result = syscall(SYS_finit_module, fd, parameters, 0);
	}
	close(fd);
	return result ? -errno : 0;
}

/* The events are in fs/dlm's system if the devices have its names, and then only. */
TEST(has_events_in_the_system_of_its_prefix)
{
	static const struct { const char *parameters; bool is_dlm; } cases[] = {
		{ "", true },
		{ "prefix=dlm", true },
		{ " prefix=\"dlm\"", true },
		{ "prefix=mine prefix=dlm", true },
		{ "-- prefix=mine", true },
		{ "prefix=mine", false },
		{ "prefix=dlm prefix=mine", false },
		{ "\"prefix=dlm2\"", false },
	};
	const char *path = getenv("DLM_MODULE");

	SKIP_ON_REFERENCE("has no prefix");
	if (!path || access(TRACEFS "/events", F_OK))
		SKIP(return, "DLM_MODULE is not set, or the kernel does not trace");
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool is_dlm = cases[i / 2].is_dlm;

		ASSERT_EQ(0, unload_module());
		ASSERT_EQ(0, load_with(path, cases[i / 2].parameters, i % 2));
		EXPECT_EQ(is_dlm, exists(TRACEFS "/events/dlm/dlm_lock_start/format"))
			TH_LOG("with %s", cases[i / 2].parameters);
		EXPECT_EQ(!is_dlm, exists(TRACEFS "/events/dlm_device/dlm_lock_start/format"));
	}
	ASSERT_EQ(0, unload_module());
	ASSERT_EQ(0, load_module(path));
}

TEST_HARNESS_MAIN
