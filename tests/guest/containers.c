// SPDX-License-Identifier: GPL-2.0
/* Programs in namespaces of their own, as containers are: what they are called, and what they may. */
#include <sched.h>
#include "dlm_test.h"
#include "tables.h"

LOCKSPACE_FIXTURE(containers)

/*
 * A child that is the first process of a new PID namespace, and ends with what the body returns.
 * Its pid out here, or -1 if there are no such namespaces.
 */
static pid_t contained(int (*body)(const char *lockspace), const char *lockspace)
{
	pid_t child;

	if (unshare(CLONE_NEWPID))
		return -1;
	child = fork();
	if (!child)
		_exit(getpid() == 1 ? body(lockspace) : 100);
	return child;
}

static int leave_a_lock(const char *lockspace)
{
	return lock(open_lockspace(lockspace, O_NONBLOCK), EX, DLM_LKF_PERSISTENT, "r") <= 0;
}

/* Tables and PURGE know a program by the id that it has outside of all containers. */
TEST_F(containers, pids_are_those_outside)
{
	pid_t child = contained(leave_a_lock, self->ls.name);
	struct reader reader;
	const struct row *row;

	if (child < 0)
		SKIP(return, "no PID namespaces");
	ASSERT_EQ(0, expect_child(child));
	reader = read_table(LOCKS, self->ls.name);
	row = next_row(&reader);
	ASSERT_NE(NULL, row);
	EXPECT_EQ(child, row->pid);
	close_table(&reader);
	ASSERT_EQ(0, purge(self->fd, 1));
	ASSERT_TAKEN(self->fd, "r", CR);
	ASSERT_EQ(0, purge(self->fd, child));
	ASSERT_FREE(self->fd, "r", EX);
}

/* So who purges by the id that it has inside means somebody else. */
static int purge_itself(const char *lockspace)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK);
	int id = lock(fd, EX, 0, "r");

	if (purge(fd, getpid()))
		return 1;
	return strcmp(hear(fd, id), "granted") ? 2 : 0;
}

TEST_F(containers, purge_by_the_id_inside)
{
	pid_t child = contained(purge_itself, self->ls.name);

	if (child < 0)
		SKIP(return, "no PID namespaces");
	ASSERT_EQ(0, expect_child(child));
}

/* Who is root in a user namespace only may neither create nor remove. */
TEST_F(containers, root_inside)
{
	int control = self->ls.control;
	pid_t child = spawn();

	if (!child) {
		if (unshare(CLONE_NEWUSER))
			_exit(100);
		if (create_lockspace(control, "inside", 0) != -EPERM)
			_exit(1);
		if (remove_lockspace(control, self->ls.minor, 0) != -EPERM)
			_exit(2);
		_exit(lock(self->fd, EX, 0, "r") > 0 ? 0 : 3);
	}
	switch (expect_child(child)) {
	case 100:
		SKIP(return, "no user namespaces");
	case 0:
		break;
	default:
		ASSERT_TRUE(false);
	}
}

TEST_HARNESS_MAIN
