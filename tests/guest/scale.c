// SPDX-License-Identifier: GPL-2.0
/* Many of everything. */
#include <sys/resource.h>
#include "dlm_test.h"

LOCKSPACE_FIXTURE(scale)

enum { LOCKSPACES = 1000, LOCKS = 100000, WAITERS = 10000 };

TEST_F_TIMEOUT(scale, lockspaces, 300)
{
	const struct rlimit files = { 4 * LOCKSPACES, 4 * LOCKSPACES };
	static int minors[LOCKSPACES], fds[LOCKSPACES];

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	for (int i = 0; i < LOCKSPACES; i++) {
		minors[i] = create_lockspace(self->ls.control, numbered("many", i), DLM_LSFL_NEWEXCL);
		ASSERT_GT(minors[i], 0) TH_LOG("lockspace %d", i);
		fds[i] = open_lockspace(numbered("many", i), O_NONBLOCK);
		ASSERT_GE(fds[i], 0) TH_LOG("lockspace %d", i);
		HOLD(fds[i], EX, 0, "r");
	}
	for (int i = 0; i < LOCKSPACES; i++)
		ASSERT_TAKEN(fds[i], "r", CR);
	for (int i = 0; i < LOCKSPACES; i++) {
		close(fds[i]);
		ASSERT_EQ(0, remove_lockspace(self->ls.control, minors[i], 0));
	}
}

TEST_F_TIMEOUT(scale, locks_on_one_descriptor, 120)
{
	for (int i = 0; i < LOCKS; i++)
		HOLD(self->other, EX, 0, numbered("lock", i));
	for (int i = 0; i < LOCKS; i += LOCKS / 100)
		ASSERT_TAKEN(self->fd, numbered("lock", i), CR);
	close(self->other);
	for (int i = 0; i < LOCKS; i += LOCKS / 100)
		ASSERT_FREE(self->fd, numbered("lock", i), EX);
	close(self->fd);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
}

TEST_F_TIMEOUT(scale, locks_and_their_unlocks, 120)
{
	static int ids[LOCKS];

	for (int i = 0; i < LOCKS; i++)
		ids[i] = HOLD(self->fd, EX, 0, numbered("lock", i));
	for (int i = 0; i < LOCKS; i++)
		UNLOCK(self->fd, ids[i]);
}

/* Records wait for as long as nobody reads them, in order, and none is lost. */
TEST_F_TIMEOUT(scale, unread_records, 120)
{
	static int ids[LOCKS];

	for (int i = 0; i < LOCKS; i++)
		ids[i] = lock(self->fd, EX, 0, numbered("lock", i));
	for (int i = 0; i < LOCKS / 2; i++) {
		ASSERT_HEAR(self->fd, ids[i], "granted")
			TH_LOG("record %d", i);
	}
	close(self->fd);
	ASSERT_FREE(self->other, "lock0", EX);
}

TEST_F_TIMEOUT(scale, waiters_on_one_resource, 120)
{
	static int ids[WAITERS];
	int waiters = DIFFERS(WAITERS, WAITERS / 10);	/* fs/dlm walks the queue for each */

	ids[0] = HOLD(self->fd, EX, 0, "r");
	for (int i = 1; i < waiters; i++)
		ids[i] = WAIT(self->fd, EX, 0, "r");
	for (int i = 1; i < waiters; i++) {
		UNLOCK(self->fd, ids[i - 1]);
		ASSERT_HEAR(self->fd, ids[i], "granted");
	}
}

/* A close that has to grant one waiter after another, and one that has all of them to withdraw. */
TEST_F_TIMEOUT(scale, close_with_waiters, 120)
{
	int waiters = DIFFERS(WAITERS, WAITERS / 10);
	int last;

	HOLD(self->other, EX, 0, "r");
	for (int i = 1; i < waiters; i++)
		WAIT(self->other, EX, 0, "r");
	last = WAIT(self->fd, EX, 0, "r");
	close(self->other);
	ASSERT_HEAR(self->fd, last, "granted");
}

TEST_HARNESS_MAIN
