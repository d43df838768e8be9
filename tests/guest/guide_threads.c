// SPDX-License-Identifier: GPL-2.0
/* Stepping down with libdlm, whose own thread makes the callbacks. cc guide_threads.c -pthread -ldlm */
#include <stdint.h>
#include <sys/types.h>
#include <libdlm.h>
#include <err.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static sem_t wanted;

/* Called in libdlm's thread: only wakes whoever is to step down. */
static void in_the_way(void *arg)
{
	(void)arg;
	sem_post(&wanted);
}

/* Wait for a lock, or for another mode of one that we have. */
static void become(dlm_lshandle_t ls, struct dlm_lksb *lksb, int mode, uint32_t flags)
{
	if (dlm_ls_lock_wait(ls, mode, lksb, flags, "disk", 4, 0, NULL, in_the_way, NULL))
		err(1, "dlm_ls_lock_wait");
	if (lksb->sb_status)
		errx(1, "refused: %d", lksb->sb_status);
}

static void leave(dlm_lshandle_t ls, struct dlm_lksb *lksb)
{
	if (dlm_ls_unlock_wait(ls, lksb->sb_lkid, 0, lksb) || lksb->sb_status != EUNLOCK)
		errx(1, "not unlocked: %d", lksb->sb_status);
}

/* Another process wants the lock. */
static int other(void)
{
	dlm_lshandle_t ls = dlm_open_lockspace("guide");
	struct dlm_lksb lksb = { };

	if (!ls || dlm_ls_pthread_init(ls))
		err(1, "lockspace");
	become(ls, &lksb, LKM_EXMODE, 0);
	printf("now they have it\n");
	leave(ls, &lksb);
	return 0;
}

int main(void)
{
	dlm_lshandle_t ls = dlm_create_lockspace("guide", 0600);
	struct dlm_lksb lksb = { };
	int status = 1;
	pid_t child;

	if (!ls || dlm_ls_pthread_init(ls) || sem_init(&wanted, 0, 0))
		err(1, "lockspace");
	become(ls, &lksb, LKM_EXMODE, 0);
	printf("we have it\n");
	fflush(stdout);
	child = fork();
	if (!child)
		return other();

	sem_wait(&wanted);
	become(ls, &lksb, LKM_NLMODE, LKF_CONVERT);
	waitpid(child, &status, 0);
	leave(ls, &lksb);
	return dlm_release_lockspace("guide", ls, 0) || status;
}
