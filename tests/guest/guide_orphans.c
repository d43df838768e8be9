// SPDX-License-Identifier: GPL-2.0
/* Locks that outlive their process: guide_orphans leave|adopt|purge. cc guide_orphans.c */
#include "guide.h"

/* A lock that stays when we are gone. */
static int leave(int fd)
{
	struct record record;

	if (ask_lock(fd, DLM_LOCK_EX, DLM_LKF_PERSISTENT, "disk", NULL) < 0)
		err(1, "lock");
	hear(fd, &record, -1);
	return record.result.lksb.sb_status != 0;
}

/* The lock that somebody before us has left is ours: no record says so, the call does. */
static int adopt(int fd)
{
	int id = ask_lock(fd, DLM_LOCK_EX, DLM_LKF_ORPHAN | DLM_LKF_PERSISTENT, "disk", NULL);
	struct record record;

	if (id < 0)
		err(1, "nothing to adopt");
	printf("adopted %x\n", id);
	ask_unlock(fd, id, 0, NULL);
	hear(fd, &record, -1);
	return record.result.lksb.sb_status != -DLM_EUNLOCK;
}

/* Free what this process has left; with 0, what all have. */
static int purge(int fd, int pid)
{
	struct request r = new_request(DLM_USER_PURGE);

	r.fixed.i.purge.pid = pid;
	return write(fd, &r, sizeof(r.fixed));
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int fd = open_lockspace("guide");

	if (fd < 0)
		err(1, "/dev/dlm_guide");
	if (!strcmp(what, "leave"))
		return leave(fd);
	if (!strcmp(what, "adopt"))
		return adopt(fd);
	if (!strcmp(what, "purge"))
		return purge(fd, argc > 2 ? atoi(argv[2]) : 0);
	errx(2, "leave, adopt or purge?");
}
