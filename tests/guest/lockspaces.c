// SPDX-License-Identifier: GPL-2.0
/* Lockspaces: creating, sharing and removing them. */
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "dlm_test.h"

#define FORCE	DLM_USER_LSFLG_FORCEFREE

/* Here the descriptors are left to the tests. */
FIXTURE(lockspaces) { struct lockspace ls; };
FIXTURE_SETUP(lockspaces) { ASSERT_EQ(0, lockspace_setup(&self->ls)); }
FIXTURE_TEARDOWN(lockspaces) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

static bool node(const char *name, struct stat *st)
{
	char rest[sizeof("_") + DLM_LOCKSPACE_LEN];

	snprintf(rest, sizeof(rest), "_%s", name);
	return !stat(device(rest), st);
}

static bool exists(const char *name)
{
	struct stat st;

	return node(name, &st);
}

/* The minor of a lockspace in /proc/misc, which is read as libdlm reads it; -1 if it is not there. */
static int listed(const char *name)
{
	FILE *misc = fopen("/proc/misc", "r");
	char wanted[256], found[256];
	int minor, words;

	snprintf(wanted, sizeof(wanted), "%s_%s", prefix(), name);
	do
		words = fscanf(misc, "%d %255s", &minor, found);
	while (words == 2 && strcmp(found, wanted));
	fclose(misc);
	return words == 2 ? minor : -1;
}

/* ---- Creating ---------------------------------------------------------------------------- */

TEST_F(lockspaces, create_returns_the_minor_of_a_private_device)
{
	struct stat st;

	ASSERT_TRUE(node(self->ls.name, &st));
	EXPECT_EQ(self->ls.minor, (int)minor(st.st_rdev));
	EXPECT_EQ(S_IFCHR | 0600, (int)st.st_mode);
	EXPECT_EQ(0, (int)st.st_uid);
	EXPECT_EQ(0, (int)st.st_gid);
}

/* What the kernel has in sysfs for managing power takes a kilobyte. */
TEST_F(lockspaces, have_no_power_to_manage)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/class/misc/%s_%s/dev", prefix(), self->ls.name);
	EXPECT_EQ(0, access(path, F_OK));
	snprintf(path, sizeof(path), "/sys/class/misc/%s_%s/power/control", prefix(), self->ls.name);
	EXPECT_EQ(DIFFERS(-1, 0), access(path, F_OK));
}

TEST_F(lockspaces, control_device_is_private)
{
	struct stat st;

	ASSERT_EQ(0, stat(device("-control"), &st));
	EXPECT_EQ(S_IFCHR | 0600, (int)st.st_mode);
	EXPECT_EQ(0, (int)st.st_uid);
}

TEST_F(lockspaces, created_twice_removed_twice)
{
	int control = self->ls.control, minor = self->ls.minor;

	ASSERT_EQ(minor, create_lockspace(control, self->ls.name, 0));
	ASSERT_EQ(0, remove_lockspace(control, minor, 0));
	ASSERT_TRUE(exists(self->ls.name));
	ASSERT_EQ(0, remove_lockspace(control, minor, 0));
	ASSERT_FALSE(exists(self->ls.name));
	ASSERT_EQ(-ENOENT, remove_lockspace(control, minor, 0));
}

/* Force frees locks; it does not take a lockspace from those who share it. */
TEST_F(lockspaces, force_counts_too)
{
	int control = self->ls.control, minor = self->ls.minor;
	int fd = open_lockspace(self->ls.name, O_NONBLOCK);
	int id = HOLD(fd, EX, 0, "r");

	ASSERT_EQ(minor, create_lockspace(control, self->ls.name, 0));
	ASSERT_EQ(0, remove_lockspace(control, minor, FORCE));
	UNLOCK(fd, id);
}

TEST_F(lockspaces, newexcl)
{
	char name[DLM_LOCKSPACE_LEN];
	int minor;

	ASSERT_EQ(-EEXIST, create_lockspace(self->ls.control, self->ls.name, DLM_LSFL_NEWEXCL));
	snprintf(name, sizeof(name), "%sx", self->ls.name);
	minor = create_lockspace(self->ls.control, name, DLM_LSFL_NEWEXCL);
	ASSERT_GT(minor, 0);

	/* The refusal was not counted. */
	ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, 0));
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
	ASSERT_FALSE(exists(self->ls.name));
}

TEST_F(lockspaces, names_of_1_to_64_bytes)
{
	static const int lengths[] = { 1, 2, 63, 64 };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		char name[DLM_LOCKSPACE_LEN + 1] = "";
		int minor, fd;

		memset(name, 'n', lengths[i]);
		minor = create_lockspace(self->ls.control, name, DLM_LSFL_NEWEXCL);
		ASSERT_GT(minor, 0) TH_LOG("%d bytes", lengths[i]);
		fd = open_lockspace(name, O_NONBLOCK);
		ASSERT_GE(fd, 0);
		HOLD(fd, EX, 0, "r");
		close(fd);
		ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, 0));
		ASSERT_FALSE(exists(name));
	}
}

TEST_F(lockspaces, names_are_bytes)
{
	static const char *const names[] = { "\xc3\xa0", "\x85", "\xff", "a.b-c_d" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int minor = create_lockspace(self->ls.control, names[i], DLM_LSFL_NEWEXCL);

		ASSERT_GT(minor, 0) TH_LOG("\"%s\"", names[i]);
		ASSERT_TRUE(exists(names[i])) TH_LOG("\"%s\"", names[i]);
		ASSERT_EQ(minor, listed(names[i])) TH_LOG("\"%s\"", names[i]);
		ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, 0));
	}
}

TEST_F(lockspaces, names_too_short_and_too_long)
{
	struct request r = lockspace_request(DLM_USER_CREATE_LOCKSPACE, "", 0, 0);

	ASSERT_EQ(-EINVAL, submit(self->ls.control, r));
	r.size = REQUEST_MAX;
	ASSERT_EQ(-EINVAL, submit(self->ls.control, r));
	memset(r.req.i.lspace.name, 'n', DLM_LOCKSPACE_LEN + 1);
	ASSERT_EQ(-EINVAL, submit(self->ls.control, r));
}

TEST_F(lockspaces, names_unfit_for_a_file)
{
	static const char *const names[] = {
		"/", "a/b", "!", "a!b", "\x7f", "\x1b",
		" ", "a b", "a ", "a\tb", "a\nb", "a\vb", "a\fb", "a\rb",
	};

	SKIP_ON_REFERENCE("accepts them");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(-EINVAL, create_lockspace(self->ls.control, names[i], 0))
			TH_LOG("\"%s\"", names[i]);
	}
}

/* As fs/dlm's own device for POSIX locks is called. */
TEST_F(lockspaces, plock)
{
	int minor;

	SKIP_ON_REFERENCE("has a device of that name");
	minor = create_lockspace(self->ls.control, "plock", DLM_LSFL_NEWEXCL);
	ASSERT_GT(minor, 0);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, 0));
}

TEST_F(lockspaces, have_nothing_in_common)
{
	char name[DLM_LOCKSPACE_LEN];
	int one = open_lockspace(self->ls.name, O_NONBLOCK);
	int two, minor;

	snprintf(name, sizeof(name), "%sx", self->ls.name);
	minor = create_lockspace(self->ls.control, name, 0);
	ASSERT_GT(minor, 0);
	two = open_lockspace(name, O_NONBLOCK);
	HOLD(one, EX, WITH_BAST, "r");
	HOLD(two, EX, WITH_BAST, "r");
	ASSERT_HEAR(one, 0, "nothing");
	close(two);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, minor, 0));
}

TEST_F(lockspaces, monitor_device_can_be_opened)
{
	int fd;

	SKIP_ON_REFERENCE("takes its closing for the end of its daemon");
	fd = open(device("-monitor"), O_RDONLY);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, close(fd));
	ASSERT_EQ(self->ls.minor, create_lockspace(self->ls.control, self->ls.name, 0));
}

/* ---- Removing ---------------------------------------------------------------------------- */

TEST_F(lockspaces, remove_unknown)
{
	EXPECT_EQ(-ENOENT, remove_lockspace(self->ls.control, 0, 0));
	EXPECT_EQ(-ENOENT, remove_lockspace(self->ls.control, -1, FORCE));
	EXPECT_EQ(-ENOENT, remove_lockspace(self->ls.control, self->ls.minor + (1 << 20), FORCE));
	EXPECT_TRUE(exists(self->ls.name));
}

TEST_F(lockspaces, busy_with_a_lock)
{
	int fd = open_lockspace(self->ls.name, O_NONBLOCK);
	int granted = HOLD(fd, EX, 0, "r");
	int waiting = WAIT(fd, EX, 0, "r");

	ASSERT_EQ(-EBUSY, remove_lockspace(self->ls.control, self->ls.minor, 0));
	UNLOCK(fd, waiting);
	ASSERT_EQ(-EBUSY, remove_lockspace(self->ls.control, self->ls.minor, 0));
	UNLOCK(fd, granted);
	close(fd);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
}

TEST_F(lockspaces, unread_records_do_not_make_it_busy)
{
	int fd = open_lockspace(self->ls.name, O_NONBLOCK);

	ASSERT_EQ(0, unlock(fd, lock(fd, EX, 0, "r"), 0));
	close(fd);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
}

static bool may_nothing(const struct lockspace *ls, int control)
{
	return create_lockspace(control, "unprivileged", 0) == -EPERM &&
	       create_lockspace(control, "", 0) == -EPERM &&
	       create_lockspace(control, ls->name, 0) == -EPERM &&
	       remove_lockspace(control, ls->minor, FORCE) == -EPERM;
}

/* Creating and removing takes CAP_SYS_ADMIN, whoever opened the device, or may open it. */
TEST_F(lockspaces, unprivileged)
{
	pid_t child = spawn();

	if (!child) {
		if (setresuid(65534, 65534, 65534))
			_exit(1);
		if (!may_nothing(&self->ls, self->ls.control))
			_exit(2);
		if (open_control() >= 0 || errno != EACCES)
			_exit(3);
		if (open_lockspace(self->ls.name, 0) >= 0 || errno != EACCES)
			_exit(4);
		_exit(0);
	}
	ASSERT_EQ(0, expect_child(child));
	ASSERT_TRUE(exists(self->ls.name));
	ASSERT_FALSE(exists("unprivileged"));
}

/* As by tools/udev, so that libdlm can open it. */
TEST_F(lockspaces, unprivileged_with_a_control_device_for_all)
{
	int result;
	pid_t child;

	ASSERT_EQ(0, chmod(device("-control"), 0666));
	child = spawn();
	if (!child) {
		if (setresuid(65534, 65534, 65534))
			_exit(1);
		_exit(may_nothing(&self->ls, open_control()) ? 0 : 2);
	}
	result = expect_child(child);
	ASSERT_EQ(0, chmod(device("-control"), 0600));
	ASSERT_EQ(0, result);
	ASSERT_TRUE(exists(self->ls.name));
	ASSERT_FALSE(exists("unprivileged"));
}

/* The node's mode is the only guard: who was handed a descriptor may lock. */
TEST_F(lockspaces, unprivileged_locking)
{
	int fd = open_lockspace(self->ls.name, O_NONBLOCK);
	pid_t child = spawn();

	if (!child) {
		int id;

		if (setresuid(65534, 65534, 65534))
			_exit(1);
		id = lock(fd, EX, 0, "r");
		_exit(strcmp(hear(fd, id), "granted") ? 2 : 0);
	}
	ASSERT_EQ(0, expect_child(child));
	ASSERT_TAKEN(fd, "r", CR);
}

TEST_HARNESS_MAIN
