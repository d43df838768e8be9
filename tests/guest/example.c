// SPDX-License-Identifier: GPL-2.0
/* A lock by way of libdlm, and a value that stays with it. cc example.c -pthread -ldlm */
#include <stdint.h>
#include <sys/types.h>
#include <libdlm.h>
#include <stdio.h>
#include <string.h>

/* Called in libdlm's thread while our lock is in somebody's way: time to think of letting go. */
static void in_the_way(void *name)
{
	printf("somebody waits for %s\n", (char *)name);
}

int main(void)
{
	char value[DLM_LVB_LEN] = "";
	struct dlm_lksb lock = { .sb_lvbptr = value };
	dlm_lshandle_t ls = dlm_create_lockspace("example", 0600);

	if (!ls || dlm_ls_pthread_init(ls)) {
		perror("example: lockspace");
		return 1;
	}

	/* Wait for the lock. What the last holder left in its value block comes with it. */
	if (dlm_ls_lock_wait(ls, LKM_EXMODE, &lock, LKF_VALBLK, "disk", strlen("disk"), 0,
			     "disk", in_the_way, NULL) || lock.sb_status)
		return 1;
	printf("lock %x on disk is ours, its value is \"%s\"\n", lock.sb_lkid, value);

	/* Leave word for the next one, and let others read while we do. */
	strcpy(value, "clean");
	if (dlm_ls_lock_wait(ls, LKM_PRMODE, &lock, LKF_CONVERT | LKF_VALBLK, NULL, 0, 0,
			     "disk", in_the_way, NULL) || lock.sb_status)
		return 1;
	printf("shared now\n");

	if (dlm_ls_unlock_wait(ls, lock.sb_lkid, 0, &lock) || lock.sb_status != EUNLOCK)
		return 1;
	printf("given up\n");
	return dlm_release_lockspace("example", ls, 0) != 0;
}
