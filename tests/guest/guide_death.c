// SPDX-License-Identifier: GPL-2.0
/* A process dies while it writes what a lock protects. cc guide_death.c */
#include <signal.h>
#include <sys/wait.h>
#include "guide.h"

enum { VALUE = 17 };

struct value {
	int number;
	char unused[DLM_USER_LVB_LEN - sizeof(int)];
};

/* Take the next completion of our only lock, which is to be granted. */
static struct record await_grant(int fd)
{
	struct record record;

	do {
		hear(fd, &record, -1);
	} while (record.result.bast_mode);
	if (record.result.lksb.sb_status)
		errx(1, "refused: %d", record.result.lksb.sb_status);
	return record;
}

static struct record change_mode(int fd, int id, int mode, const struct value *value)
{
	if (ask_convert(fd, id, mode, DLM_LKF_VALBLK, value, NULL))
		err(1, "convert");
	return await_grant(fd);
}

/* Unlock, and wait until it has happened. */
static void unlock(int fd, int id)
{
	struct record record;

	if (ask_unlock(fd, id, 0, NULL))
		err(1, "unlock");
	do {
		hear(fd, &record, -1);
	} while (record.result.lksb.sb_status != -DLM_EUNLOCK);
}

/* A process that has the lock, and is killed before it has written the next value. */
static void die_with_the_lock(void)
{
	pid_t child = fork();

	if (!child) {
		int fd = open_lockspace("guide");

		ask_lock(fd, DLM_LOCK_EX, DLM_LKF_VALBLK, "number", NULL);
		await_grant(fd);
		raise(SIGKILL);
	}
	waitpid(child, NULL, 0);
}

int main(void)
{
	int minor = create_lockspace("guide"), fd = open_lockspace("guide"), id;
	struct value value = { .number = VALUE };
	struct record record;

	if (minor < 0 || fd < 0)
		err(1, "lockspace");
	id = ask_lock(fd, DLM_LOCK_EX, DLM_LKF_VALBLK, "number", NULL);
	await_grant(fd);
	change_mode(fd, id, DLM_LOCK_NL, &value);

	die_with_the_lock();

	record = change_mode(fd, id, DLM_LOCK_EX, NULL);
	memcpy(&value, record.value, sizeof(value));
	if (record.result.lksb.sb_flags & DLM_SBF_VALNOTVALID) {
		printf("somebody died; the last value known is %d\n", value.number);
		value.number = VALUE + 1;	/* look at what the lock protects, and repair it */
	}
	change_mode(fd, id, DLM_LOCK_NL, &value);

	record = change_mode(fd, id, DLM_LOCK_PR, NULL);
	memcpy(&value, record.value, sizeof(value));
	printf("the value is %d again\n", value.number);
	unlock(fd, id);
	close(fd);
	remove_lockspace(minor);
	return value.number != VALUE + 1 || record.result.lksb.sb_flags;
}
