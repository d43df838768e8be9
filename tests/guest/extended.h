/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What requests of version 6.1 have beyond include/uapi/linux/dlm_device.h: see doc/extensions.md.
 */
#ifndef EXTENDED_H
#define EXTENDED_H

#include "client.h"

/* A flag of LOCK and UNLOCK: return the end of the operation from the write. */
#define DLM_LKF_RETURN	0x80000000

/* Set in what write() returned: the end is still to come, or is in a record. */
#define PENDING		0x80000000

/* The status of an acknowledgement. */
#define EINPROG		0x10003

/* Whose locks a PURGE ends; what its thread's id says, if neither. Behind struct dlm_purge_params. */
#define PURGE_ORPHANS	1
#define PURGE_OWN	2

/* The first request of a write that follows; the length is where the header has unused bytes. */
static inline struct request extended(struct request r)
{
	uint16_t length = r.size;

	r.req.version[1] = 1;
	memcpy(r.req.unused, &length, sizeof(length));
	return r;
}

static inline struct request returning(struct request r)
{
	r.req.i.lock.flags |= DLM_LKF_RETURN;
	return extended(r);
}

static inline struct request scoped_purge(uint32_t whose, int pid)
{
	struct request r = purge_request(0, pid);

	memcpy(r.bytes + 24, &whose, sizeof(whose));
	return extended(r);
}

/* Requests for one write. */
struct series {
	size_t size;
	char bytes[65536 + 200];
};

static inline void add(struct series *series, struct request r)
{
	r = extended(r);
	memcpy(series->bytes + series->size, r.bytes, r.size);
	series->size += r.size;
}

static inline const struct dlm_lock_result *result_at(const char *bytes, int at)
{
	return (const struct dlm_lock_result *)(bytes + at);
}

#endif
