// SPDX-License-Identifier: GPL-2.0
/* A first lock, on the bare interface. cc guide_first.c */
#include "guide.h"

int main(void)
{
	int minor = create_lockspace("guide");
	int fd = open_lockspace("guide");
	struct record record;
	int id;

	if (minor < 0 || fd < 0)
		err(1, "lockspace");

	id = ask_lock(fd, DLM_LOCK_EX, 0, "disk", NULL);
	if (id < 0)
		err(1, "lock");
	hear(fd, &record, -1);
	if (record.result.lksb.sb_status)
		errx(1, "refused: %d", record.result.lksb.sb_status);
	printf("lock %x on disk is ours\n", id);

	if (ask_unlock(fd, id, 0, NULL))
		err(1, "unlock");
	hear(fd, &record, -1);
	if (record.result.lksb.sb_status != -DLM_EUNLOCK)
		errx(1, "not unlocked: %d", record.result.lksb.sb_status);
	printf("given up\n");

	close(fd);
	return remove_lockspace(minor) != 0;
}
