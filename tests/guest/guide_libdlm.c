// SPDX-License-Identifier: GPL-2.0
/*
 * Two processes count together in the value block of one lock. Each keeps the lock until the other
 * wants it. With libdlm, and no threads: cc guide_libdlm.c -ldlm_lt
 */
#include <stdint.h>
#include <sys/types.h>
#include <libdlm.h>
#include <err.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORK = 200 };

struct our_lock {
	dlm_lshandle_t ls;
	struct dlm_lksb lksb;
	bool pending;		/* we have asked, and are not answered */
	bool wanted;		/* somebody waits because of us */
	union {
		int count;
		char bytes[DLM_LVB_LEN];
	} value;
};

/* Called while dlm_dispatch() runs: what we have asked for is granted, or refused. */
static void completed(void *arg)
{
	struct our_lock *lock = arg;

	if (lock->lksb.sb_status)
		errx(1, "refused: %d", lock->lksb.sb_status);
	/* What stood in others' way was the mode before. Who minds this one will say so. */
	lock->pending = lock->wanted = false;
}

/* Called while dlm_dispatch() runs: what we hold is in somebody's way. */
static void in_the_way(void *arg)
{
	struct our_lock *lock = arg;

	lock->wanted = true;
}

/* Wait for callbacks, at most so many milliseconds, and let them be made. */
static void listen_for(struct our_lock *lock, int milliseconds)
{
	struct pollfd p = { .fd = dlm_ls_get_fd(lock->ls), .events = POLLIN };

	if (poll(&p, 1, milliseconds) == 1 && dlm_dispatch(p.fd))
		err(1, "dlm_dispatch");
}

static void ask(struct our_lock *lock, int mode, uint32_t flags, const char *name, int length)
{
	lock->lksb.sb_lvbptr = lock->value.bytes;
	lock->pending = true;
	if (dlm_ls_lock(lock->ls, mode, &lock->lksb, flags | LKF_VALBLK, name, length, 0,
			completed, lock, in_the_way, NULL))
		err(1, "dlm_ls_lock");
	while (lock->pending)
		listen_for(lock, -1);
}

static void change_mode(struct our_lock *lock, int mode)
{
	ask(lock, mode, LKF_CONVERT, NULL, 0);
}

/* How often we had to step down. */
static int count_together(struct our_lock *lock)
{
	int left = WORK, stepped_down = 0;

	while (left) {
		change_mode(lock, LKM_EXMODE);
		do {
			lock->value.count++;		/* the work that the lock protects */
			left--;
			listen_for(lock, 1);
		} while (left && !lock->wanted);
		stepped_down += lock->wanted;
		change_mode(lock, LKM_NLMODE);
	}
	return stepped_down;
}

int main(void)
{
	dlm_lshandle_t ls = dlm_create_lockspace("guide", 0600);
	int status = 1, begin[2], stepped_down;
	struct our_lock lock = { };
	char byte = 0;
	pid_t child;

	if (!ls || pipe(begin))
		err(1, "lockspace");
	child = fork();
	/* A handle, and the descriptor in it, is not shared with another process. */
	lock.ls = child ? ls : dlm_open_lockspace("guide");
	if (!lock.ls)
		err(1, "dlm_open_lockspace");
	ask(&lock, LKM_NLMODE, 0, "counter", 7);
	if ((child ? read(begin[0], &byte, 1) : write(begin[1], &byte, 1)) != 1)
		err(1, "begin together");

	stepped_down = count_together(&lock);
	printf("%s stepped down %d times\n", child ? "parent" : "child", stepped_down);
	if (!child)
		return stepped_down == 0;
	waitpid(child, &status, 0);

	change_mode(&lock, LKM_PRMODE);
	printf("counted to %d\n", lock.value.count);
	if (dlm_release_lockspace("guide", ls, 0))
		err(1, "dlm_release_lockspace");
	return status || stepped_down == 0 || lock.value.count != 2 * WORK;
}
