/* SPDX-License-Identifier: GPL-2.0 */
/* The kselftest harness, a lockspace for each test, and phrases that ask and hear. */
#ifndef DLM_TEST_H
#define DLM_TEST_H

#include <kselftest_harness.h>
#include "client.h"

/* A lockspace with two descriptors, thus two owners of locks. */
#define LOCKSPACE_FIXTURE(fixture) \
	FIXTURE(fixture) { struct lockspace ls; int fd, other; }; \
	FIXTURE_SETUP(fixture) \
	{ \
		ASSERT_EQ(0, lockspace_setup(&self->ls)); \
		self->fd = open_lockspace(self->ls.name, O_NONBLOCK); \
		self->other = open_lockspace(self->ls.name, O_NONBLOCK); \
		ASSERT_GE(self->fd, 0); \
		ASSERT_GE(self->other, 0); \
	} \
	FIXTURE_TEARDOWN(fixture) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

#define SKIP_ON_REFERENCE(why)	do { if (reference()) SKIP(return, why); } while (0)

#define ASSERT_HEAR(fd, id, words)	ASSERT_STREQ(words, hear(fd, id))
#define EXPECT_HEAR(fd, id, words)	EXPECT_STREQ(words, hear(fd, id))
#define ASSERT_AWAIT(fd, id, words)	ASSERT_STREQ(words, await(fd, id))

/* Hear that each of these is granted, in whatever order, and nothing else. */
#define ASSERT_GRANTED(fd, ids, count) \
do { \
	for (int _left = (count); _left; _left--) { \
		struct record _record; \
		int _n = read_record(fd, &_record), _at = 0; \
		int _id = _record.result.lksb.sb_lkid; \
\
		ASSERT_STREQ("granted", describe(&_record, _n, _id)); \
		while (_at < (count) && (ids)[_at] != _id) \
			_at++; \
		ASSERT_LT(_at, (count)); \
		(ids)[_at] = 0; \
	} \
	ASSERT_HEAR(fd, 0, "nothing"); \
} while (0)

/* Ask and hear. LOCK is the id. */
#define LOCK(fd, mode, flags, name, words) \
({ \
	int _id = lock(fd, mode, flags, name); \
	ASSERT_GT(_id, 0); \
	ASSERT_HEAR(fd, _id, words); \
	_id; \
})
#define HOLD(fd, mode, flags, name)	LOCK(fd, mode, flags, name, "granted")
#define WAIT(fd, mode, flags, name)	LOCK(fd, mode, flags, name, "nothing")

#define CONVERT(fd, id, mode, flags, words) \
do { \
	int _lock = (id); \
	ASSERT_EQ(0, convert(fd, _lock, mode, flags)); \
	ASSERT_HEAR(fd, _lock, words); \
} while (0)

#define UNLOCK_WITH(fd, id, flags, words) \
do { \
	int _lock = (id); \
	ASSERT_EQ(0, unlock(fd, _lock, flags)); \
	ASSERT_HEAR(fd, _lock, words); \
} while (0)
#define UNLOCK(fd, id)	UNLOCK_WITH(fd, id, 0, "EUNLOCK")
#define CANCEL(fd, id)	UNLOCK_WITH(fd, id, DLM_LKF_CANCEL, "ECANCEL")

/* Nothing stands on this resource, or nothing that would mind the mode. */
#define ASSERT_FREE(fd, name, mode)	UNLOCK(fd, HOLD(fd, mode, DLM_LKF_NOQUEUE, name))
#define ASSERT_TAKEN(fd, name, mode)	LOCK(fd, mode, DLM_LKF_NOQUEUE, name, "EAGAIN")

#endif
