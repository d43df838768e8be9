// SPDX-License-Identifier: GPL-2.0
/* The module itself: it stays while it is in use, and takes everything along when it goes. */
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

TEST_HARNESS_MAIN
