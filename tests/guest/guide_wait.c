// SPDX-License-Identifier: GPL-2.0
/* Not to wait, to wait, and to wait for a while. cc guide_wait.c */
#include "guide.h"

/* The next completion. That one of our locks is in somebody's way does not matter here. */
static bool completion(int fd, struct record *record, int milliseconds)
{
	while (hear(fd, record, milliseconds))
		if (!record->result.bast_mode)
			return true;
	return false;
}

/* 0, and the lock is ours; or -EAGAIN, and there is no lock. */
static int try_lock(int fd, int mode, const char *name, int *id)
{
	struct record record;

	*id = ask_lock(fd, mode, DLM_LKF_NOQUEUE, name, NULL);
	if (*id < 0)
		return -errno;
	completion(fd, &record, -1);
	return record.result.lksb.sb_status;
}

/* Withdraw a request. It may have been granted in the meantime: then 0. */
static int give_up(int fd, int id)
{
	struct record record;

	ask_unlock(fd, id, DLM_LKF_CANCEL, NULL);
	completion(fd, &record, -1);
	return record.result.lksb.sb_status;
}

/* 0, and the lock is ours; or -DLM_ECANCEL, and there is no lock. */
static int lock_within(int fd, int milliseconds, int mode, const char *name, int *id)
{
	struct record record;

	*id = ask_lock(fd, mode, 0, name, NULL);
	if (*id < 0)
		return -errno;
	if (completion(fd, &record, milliseconds))
		return record.result.lksb.sb_status;
	return give_up(fd, *id);
}

static void expect(const char *what, int wanted, int got)
{
	if (got != wanted)
		errx(1, "%s: %d instead of %d", what, got, wanted);
	printf("%s: %d\n", what, got);
}

int main(void)
{
	int minor = create_lockspace("guide");
	int ours = open_lockspace("guide"), theirs = open_lockspace("guide");
	struct record record;
	int held, id;

	if (minor < 0 || ours < 0 || theirs < 0)
		err(1, "lockspace");
	expect("they lock", 0, try_lock(theirs, DLM_LOCK_EX, "disk", &held));
	expect("we try", -EAGAIN, try_lock(ours, DLM_LOCK_PR, "disk", &id));
	expect("we wait for a while", -DLM_ECANCEL, lock_within(ours, 100, DLM_LOCK_PR, "disk", &id));

	/* They unlock just before we give up. */
	id = ask_lock(ours, DLM_LOCK_PR, 0, "disk", NULL);
	ask_unlock(theirs, held, 0, NULL);
	expect("we give up, too late", 0, give_up(ours, id));

	ask_unlock(ours, id, 0, NULL);
	completion(ours, &record, -1);
	expect("we unlock", -DLM_EUNLOCK, record.result.lksb.sb_status);
	close(ours);
	close(theirs);
	return remove_lockspace(minor) != 0;
}
