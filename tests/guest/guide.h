/* SPDX-License-Identifier: GPL-2.0 */
/* The bare interface in a few functions, for the programs of doc/guide.md. */
#ifndef GUIDE_H
#define GUIDE_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dlm_device.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A request: what all of them have, and a name behind it. */
struct request {
	struct dlm_write_request fixed;
	char name[DLM_RESNAME_MAXLEN];
};

static inline struct request new_request(int command)
{
	struct request r = { .fixed = { .version = { 6, 0, 2 }, .cmd = command } };

	r.fixed.is64bit = sizeof(long) == 8;
	return r;
}

/*
 * What the kernel only gives back, as libdlm's addresses: the token comes with every record of
 * the lock, the others must not be 0. Without a bastaddr nobody says that the lock is in the way.
 */
static inline void give_token(struct request *r, void *token)
{
	r->fixed.i.lock.castparam = token;
	r->fixed.i.lock.castaddr = (void *)1;
	r->fixed.i.lock.bastparam = token;
	r->fixed.i.lock.bastaddr = (void *)1;
	r->fixed.i.lock.lksb = (void *)1;
}

/* A new lock. Returns its id, or -1 and errno. */
static inline int ask_lock(int fd, int mode, uint32_t flags, const char *name, void *token)
{
	struct request r = new_request(DLM_USER_LOCK);
	size_t length = strlen(name);

	if (length > sizeof(r.name)) {
		errno = EINVAL;
		return -1;
	}
	give_token(&r, token);
	r.fixed.i.lock.mode = mode;
	r.fixed.i.lock.flags = flags;
	r.fixed.i.lock.namelen = length;
	memcpy(r.name, name, length);
	return write(fd, &r, sizeof(r.fixed) + length);
}

/* Another mode for a lock that we have. The value block counts with DLM_LKF_VALBLK only. */
static inline int ask_convert(int fd, int id, int mode, uint32_t flags, const void *value,
			      void *token)
{
	struct request r = new_request(DLM_USER_LOCK);

	give_token(&r, token);
	r.fixed.i.lock.mode = mode;
	r.fixed.i.lock.flags = flags | DLM_LKF_CONVERT;
	r.fixed.i.lock.lkid = id;
	if (value)
		memcpy(r.fixed.i.lock.lvb, value, DLM_USER_LVB_LEN);
	return write(fd, &r, sizeof(r.fixed));
}

/* The end of a lock, or with DLM_LKF_CANCEL of its waiting. */
static inline int ask_unlock(int fd, int id, uint32_t flags, void *token)
{
	struct request r = new_request(DLM_USER_UNLOCK);

	give_token(&r, token);
	r.fixed.i.lock.flags = flags;
	r.fixed.i.lock.lkid = id;
	return write(fd, &r, sizeof(r.fixed));
}

/* A record: what all of them have, and perhaps a value block behind it. */
struct record {
	struct dlm_lock_result result;
	char value[DLM_USER_LVB_LEN];
};

/* Wait for the next record, at most so many milliseconds; with -1, however long it takes. */
static inline bool hear(int fd, struct record *record, int milliseconds)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, milliseconds) != 1)
		return false;
	if (read(fd, record, sizeof(*record)) < 0)
		err(1, "read");
	return true;
}

/* Creating and removing lockspaces takes CAP_SYS_ADMIN. */
static inline int control(struct request *r, size_t length)
{
	int fd = open("/dev/dlm-control", O_RDWR | O_CLOEXEC);
	int result = fd < 0 ? -1 : write(fd, r, length);
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
	return result;
}

/* Returns the minor number of its device, by which it is removed. */
static inline int create_lockspace(const char *name)
{
	struct request r = new_request(DLM_USER_CREATE_LOCKSPACE);
	char *to = (char *)&r + offsetof(struct dlm_write_request, i.lspace.name);

	memcpy(to, name, strnlen(name, DLM_LOCKSPACE_LEN + 1));
	return control(&r, sizeof(r));
}

static inline int open_lockspace(const char *name)
{
	char path[sizeof("/dev/dlm_") + DLM_LOCKSPACE_LEN];

	snprintf(path, sizeof(path), "/dev/dlm_%s", name);
	return open(path, O_RDWR | O_CLOEXEC);
}

static inline int remove_lockspace(int minor)
{
	struct request r = new_request(DLM_USER_REMOVE_LOCKSPACE);

	r.fixed.i.lspace.minor = minor;
	return control(&r, sizeof(r.fixed));
}

#endif
