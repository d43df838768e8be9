// SPDX-License-Identifier: GPL-2.0
/* Two that wait for each other, and a third who sees to it. cc guide_deadlock.c */
#include "guide.h"

static int status_of_next(int fd, int milliseconds)
{
	struct record record;

	while (hear(fd, &record, milliseconds))
		if (!record.result.bast_mode)
			return record.result.lksb.sb_status;
	return -ETIMEDOUT;
}

static void expect(const char *what, int wanted, int got)
{
	if (got != wanted)
		errx(1, "%s: %d instead of %d", what, got, wanted);
	printf("%s: %d\n", what, got);
}

/* End the waiting of a lock, whoever waits: its owner is told -EDEADLK. */
static int break_deadlock(int fd, int id)
{
	struct request r = new_request(DLM_USER_DEADLOCK);

	r.fixed.i.lock.lkid = id;
	return write(fd, &r, sizeof(r.fixed));
}

int main(void)
{
	int minor = create_lockspace("guide");
	int one = open_lockspace("guide"), two = open_lockspace("guide");
	int third = open_lockspace("guide"), a, waits;

	if (minor < 0 || one < 0 || two < 0 || third < 0)
		err(1, "lockspace");
	a = ask_lock(one, DLM_LOCK_EX, 0, "A", NULL);
	expect("one has A", 0, status_of_next(one, -1));
	ask_lock(two, DLM_LOCK_EX, 0, "B", NULL);
	expect("two has B", 0, status_of_next(two, -1));

	waits = ask_lock(one, DLM_LOCK_EX, 0, "B", NULL);
	ask_lock(two, DLM_LOCK_EX, 0, "A", NULL);
	expect("one waits", -ETIMEDOUT, status_of_next(one, 500));
	expect("two waits", -ETIMEDOUT, status_of_next(two, 500));

	expect("a third sees to it", 0, break_deadlock(third, waits));
	expect("one is not to have B", -EDEADLK, status_of_next(one, 0));
	ask_unlock(one, a, 0, NULL);
	expect("and gives up A", -DLM_EUNLOCK, status_of_next(one, -1));
	expect("two has A, too", 0, status_of_next(two, 0));

	close(one);
	close(two);
	close(third);
	return remove_lockspace(minor) != 0;
}
