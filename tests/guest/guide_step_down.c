// SPDX-License-Identifier: GPL-2.0
/*
 * Two processes count together in the value block of one lock. Each keeps the lock until the other
 * wants it. On the bare interface: cc guide_step_down.c
 */
#include <sys/wait.h>
#include "guide.h"

enum { WORK = 200, NOTHING = -1 };

struct our_lock {
	int fd, id;
	int asked;		/* the mode that we have asked for, or NOTHING */
	int wanted;		/* the mode that somebody waits for because of us, or NOTHING */
	union {
		int count;
		char bytes[DLM_USER_LVB_LEN];
	} value;
};

/* Take note of a record. Whose it is its token says. */
static void note(const struct record *record)
{
	const struct dlm_lock_result *result = &record->result;
	struct our_lock *lock = result->user_astparam;

	if (result->bast_mode) {
		lock->wanted = result->bast_mode;
		return;
	}
	if (result->lksb.sb_status)
		errx(1, "refused: %d", result->lksb.sb_status);
	/* What stood in others' way was the mode before. Who minds this one will say so. */
	lock->asked = lock->wanted = NOTHING;
	if (result->lvb_offset)
		memcpy(&lock->value, (const char *)record + result->lvb_offset, sizeof(lock->value));
}

/* Wait until what we have asked for is granted. */
static void await_grant(struct our_lock *lock)
{
	struct record record;

	while (lock->asked != NOTHING && hear(lock->fd, &record, -1))
		note(&record);
}

static void change_mode(struct our_lock *lock, int mode)
{
	lock->asked = mode;
	if (ask_convert(lock->fd, lock->id, mode, DLM_LKF_VALBLK, &lock->value, lock))
		err(1, "convert");
	await_grant(lock);
}

/* How often we had to step down. */
static int count_together(struct our_lock *lock)
{
	struct record record;
	int left = WORK, stepped_down = 0;

	while (left) {
		change_mode(lock, DLM_LOCK_EX);
		do {
			lock->value.count++;		/* the work that the lock protects */
			left--;
			if (hear(lock->fd, &record, 1))
				note(&record);
		} while (left && lock->wanted == NOTHING);
		stepped_down += lock->wanted != NOTHING;
		change_mode(lock, DLM_LOCK_NL);
	}
	return stepped_down;
}

/* NL is in nobody's way. While we have it the resource stays, and its value block with it. */
static void join(struct our_lock *lock)
{
	lock->fd = open_lockspace("guide");
	lock->asked = DLM_LOCK_NL;
	lock->wanted = NOTHING;
	lock->id = ask_lock(lock->fd, DLM_LOCK_NL, DLM_LKF_VALBLK, "counter", lock);
	if (lock->id < 0)
		err(1, "lock");
	await_grant(lock);
}

int main(void)
{
	int minor = create_lockspace("guide"), status = 1, begin[2], stepped_down;
	struct our_lock lock = { };
	char byte = 0;
	pid_t child;

	if (minor < 0 || pipe(begin))
		err(1, "lockspace");
	child = fork();
	join(&lock);
	if ((child ? read(begin[0], &byte, 1) : write(begin[1], &byte, 1)) != 1)
		err(1, "begin together");

	stepped_down = count_together(&lock);
	printf("%s stepped down %d times\n", child ? "parent" : "child", stepped_down);
	if (!child)
		return stepped_down == 0;
	waitpid(child, &status, 0);

	change_mode(&lock, DLM_LOCK_PR);
	printf("counted to %d\n", lock.value.count);
	close(lock.fd);
	remove_lockspace(minor);
	return status || stepped_down == 0 || lock.value.count != 2 * WORK;
}
