// SPDX-License-Identifier: GPL-2.0
/* Lockspaces: creating, sharing, removing, and what is left to those who have one open then. */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
	static const char *const names[] = { "\xc3\xa9", "\xff", "with a space", "a.b-c_d" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int minor = create_lockspace(self->ls.control, names[i], DLM_LSFL_NEWEXCL);

		ASSERT_GT(minor, 0) TH_LOG("\"%s\"", names[i]);
		ASSERT_TRUE(exists(names[i])) TH_LOG("\"%s\"", names[i]);
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
	static const char *const names[] = { "/", "a/b", "!", "a!b", "a\nb", "\x7f" };

	SKIP_ON_REFERENCE("accepts them");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_EQ(-EINVAL, create_lockspace(self->ls.control, names[i], 0));
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

/* Creating and removing takes CAP_SYS_ADMIN, whoever opened the device. */
TEST_F(lockspaces, unprivileged)
{
	pid_t child = spawn();

	if (!child) {
		if (setresuid(65534, 65534, 65534))
			_exit(1);
		if (create_lockspace(self->ls.control, "unprivileged", 0) != -EPERM)
			_exit(2);
		if (create_lockspace(self->ls.control, "", 0) != -EPERM)
			_exit(7);
		if (create_lockspace(self->ls.control, self->ls.name, 0) != -EPERM)
			_exit(3);
		if (remove_lockspace(self->ls.control, self->ls.minor, FORCE) != -EPERM)
			_exit(4);
		if (open_control() >= 0 || errno != EACCES)
			_exit(5);
		if (open_lockspace(self->ls.name, 0) >= 0 || errno != EACCES)
			_exit(6);
		_exit(0);
	}
	ASSERT_EQ(0, expect_child(child));
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

/* ---- Removed under those who have it open: fs/dlm waits for them instead ------------------- */

FIXTURE(removed) { struct lockspace ls; int fd, id; };

FIXTURE_SETUP(removed)
{
	SKIP_ON_REFERENCE("waits for every descriptor");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, 0);
	self->id = HOLD(self->fd, EX, WITH_BAST, "r");
}

FIXTURE_TEARDOWN(removed)
{
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
}

#define ASSERT_REMOVED(flags) \
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, flags))

TEST_F(removed, descriptors_are_dead)
{
	struct record record;

	ASSERT_REMOVED(FORCE);
	ASSERT_FALSE(exists(self->ls.name));
	EXPECT_EQ(-ENODEV, read_record(self->fd, &record));
	EXPECT_EQ(-ENODEV, lock(self->fd, EX, 0, "s"));
	EXPECT_EQ(-ENODEV, convert(self->fd, self->id, NL, 0));
	EXPECT_EQ(-ENODEV, unlock(self->fd, self->id, 0));
	EXPECT_EQ(POLLHUP, poll_now(self->fd, POLLIN) & POLLHUP);
	EXPECT_EQ(0, close(self->fd));
}

TEST_F(removed, without_locks_no_force_is_needed)
{
	struct record record;

	ASSERT_EQ(0, unlock(self->fd, self->id, 0));
	ASSERT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	ASSERT_REMOVED(0);
	/* What was there to read is gone with it. */
	EXPECT_EQ(-ENODEV, read_record(self->fd, &record));
}

TEST_F(removed, epoll_tells)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(0);

	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->fd, &event));
	ASSERT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	ASSERT_REMOVED(FORCE);
	ASSERT_EQ(1, epoll_wait(epoll, &event, 1, 0));
	ASSERT_EQ(EPOLLHUP, event.events & EPOLLHUP);
}

TEST_F(removed, blocked_reader_is_woken)
{
	pid_t child = spawn();

	if (!child) {
		struct record record;
		int fd = open_lockspace(self->ls.name, 0);

		lock(fd, EX, 0, "r");
		_exit(read_record(fd, &record) == -ENODEV ? 0 : 1);
	}
	ASSERT_AWAIT(self->fd, self->id, "blocks EX");
	ASSERT_TRUE(asleep(child));
	ASSERT_REMOVED(FORCE);
	ASSERT_EQ(0, expect_child(child));
}

TEST_F(removed, blocked_poll_is_woken)
{
	pid_t child = spawn();

	if (!child) {
		int fd = open_lockspace(self->ls.name, 0);
		struct pollfd p = { .fd = fd, .events = POLLIN };

		lock(fd, EX, 0, "r");
		_exit(poll(&p, 1, PATIENCE_MS) == 1 && p.revents & POLLHUP ? 0 : 1);
	}
	ASSERT_AWAIT(self->fd, self->id, "blocks EX");
	ASSERT_TRUE(asleep(child));
	ASSERT_REMOVED(FORCE);
	ASSERT_EQ(0, expect_child(child));
}

/* A read into memory that has to be fetched first, for longer than the lockspace is there. */
struct slow_read {
	struct lockspace *ls;
	int fd, result;
	void *memory;
};

static void *read_slowly(void *data)
{
	struct slow_read *slow = data;

	slow->result = read(slow->fd, slow->memory, sizeof(struct record));
	if (slow->result < 0)
		slow->result = -errno;
	return NULL;
}

/* Returns whether all was as it had to be for there to be a result. */
static bool remove_meanwhile(struct slow_read *slow, bool is_memory)
{
	struct uffdio_api api = { .api = UFFD_API };
	int faults = syscall(SYS_userfaultfd, O_CLOEXEC), size = getpagesize();
	struct uffdio_register all = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zeros = { };
	struct uffd_msg fault;
	pthread_t reader;

	slow->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	all.range = (struct uffdio_range){ (uintptr_t)slow->memory, size };
	zeros.range = all.range;
	if (ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &all) ||
	    pthread_create(&reader, NULL, read_slowly, slow) ||
	    read(faults, &fault, sizeof(fault)) != sizeof(fault) ||
	    remove_lockspace(slow->ls->control, slow->ls->minor, FORCE))
		return false;
	if (is_memory ? ioctl(faults, UFFDIO_ZEROPAGE, &zeros) :
			munmap(slow->memory, size) || ioctl(faults, UFFDIO_WAKE, &all.range))
		return false;
	return !pthread_join(reader, NULL) && !close(faults);
}

TEST_F(removed, a_slow_reader_gets_its_record)
{
	struct slow_read slow = { .ls = &self->ls, .fd = self->fd };
	int id = lock(self->fd, EX, 0, "s");

	ASSERT_TRUE(remove_meanwhile(&slow, true));
	EXPECT_STREQ("granted", describe(slow.memory, slow.result, id));
	EXPECT_EQ(0, close(self->fd));
}

TEST_F(removed, a_slow_reader_without_memory_does_not)
{
	struct slow_read slow = { .ls = &self->ls, .fd = self->fd };

	lock(self->fd, EX, 0, "s");
	ASSERT_TRUE(remove_meanwhile(&slow, false));
	EXPECT_EQ(-ENODEV, slow.result);
	EXPECT_EQ(0, close(self->fd));
}

/* A new lockspace of that name has nothing to do with the old descriptors. */
TEST_F(removed, the_name_is_free_again)
{
	int fd;

	ASSERT_REMOVED(FORCE);
	self->ls.minor = create_lockspace(self->ls.control, self->ls.name, DLM_LSFL_NEWEXCL);
	ASSERT_GT(self->ls.minor, 0);
	fd = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_FREE(fd, "r", EX);
	EXPECT_EQ(-ENODEV, lock(self->fd, EX, 0, "r"));
	EXPECT_EQ(0, close(self->fd));
	ASSERT_FREE(fd, "r", EX);
}

TEST_HARNESS_MAIN
