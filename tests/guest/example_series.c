// SPDX-License-Identifier: GPL-2.0
/* Many locks by few system calls, with requests of version 6.1. cc example_series.c */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/dlmconstants.h>
#include <linux/dlm_device.h>

enum { LOCKS = 32, RETURN = 1 << 31 };

static char series[1 << 16];
static size_t size;

/* Puts a request, with a name or "", behind the others. */
static void add(struct dlm_write_request request, const char *name)
{
	uint16_t length = sizeof(request) + strlen(name);

	request.version[0] = 6;
	request.version[1] = 1;
	request.is64bit = sizeof(long) == 8;
	request.i.lock.namelen = strlen(name);
	memcpy(request.unused, &length, sizeof(length));
	memcpy(series + size, &request, sizeof(request));
	memcpy(series + size + sizeof(request), name, strlen(name));
	size += length;
}

/* Asks for them all. */
static void ask(int fd, const char *what)
{
	int count = write(fd, series, size);

	if (count < 0)
		err(1, "%s", what);
	if (count < LOCKS)
		errx(1, "%s: the one after the first %d failed", what, count);
	size = 0;
}

static void lock_all(int fd, uint32_t ids[LOCKS])
{
	static char records[LOCKS * sizeof(struct dlm_lock_result)];
	struct dlm_write_request lock = { .cmd = DLM_USER_LOCK };
	ssize_t length, at;

	for (uintptr_t i = 0; i < LOCKS; i++) {
		char name[16];

		sprintf(name, "name %d", (int)i);
		lock.i.lock.mode = DLM_LOCK_EX;
		/* Only given back, but these two must not be null. */
		lock.i.lock.castaddr = lock.i.lock.lksb = (void *)1;
		lock.i.lock.castparam = (void *)i;
		add(lock, name);
	}
	ask(fd, "lock");
	length = read(fd, records, sizeof(records));
	if (length < 0)
		err(1, "read");
	for (at = 0; at < length; ) {
		struct dlm_lock_result *record = (void *)(records + at);

		if (record->lksb.sb_status)
			errx(1, "status %d", record->lksb.sb_status);
		ids[(uintptr_t)record->user_astparam] = record->lksb.sb_lkid;
		at += record->length;
	}
}

/* Nothing is to be read of these: that they are carried out is the answer. */
static void unlock_all(int fd, const uint32_t ids[LOCKS])
{
	struct dlm_write_request unlock = { .cmd = DLM_USER_UNLOCK };

	for (int i = 0; i < LOCKS; i++) {
		unlock.i.lock.lkid = ids[i];
		unlock.i.lock.flags = RETURN;
		add(unlock, "");
	}
	ask(fd, "unlock");
}

int main(void)
{
	static struct {
		struct dlm_write_request request;
		char rest[16];
	} create = { .request.version = { 6 }, .request.is64bit = sizeof(long) == 8 };
	int control = open("/dev/dlm-control", O_RDWR), minor, fd;
	uint32_t ids[LOCKS] = { 0 };

	create.request.cmd = DLM_USER_CREATE_LOCKSPACE;
	strcpy(create.request.i.lspace.name, "example_series");
	minor = write(control, &create, sizeof(create));
	fd = open("/dev/dlm_example_series", O_RDWR);
	if (minor < 0 || fd < 0)
		err(1, "lockspace");

	lock_all(fd, ids);
	printf("%d locks are ours, from %x to %x\n", LOCKS, ids[0], ids[LOCKS - 1]);
	unlock_all(fd, ids);
	printf("all given up\n");

	close(fd);
	create.request.cmd = DLM_USER_REMOVE_LOCKSPACE;
	create.request.i.lspace.minor = minor;
	return write(control, &create, sizeof(create)) != 0;
}
