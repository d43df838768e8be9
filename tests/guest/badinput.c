// SPDX-License-Identifier: GPL-2.0
/* Requests of every size and of random bytes, and reads of every size. */
#include <sys/param.h>
#include "dlm_test.h"

LOCKSPACE_FIXTURE(badinput)

#define LARGEST		300

/* ---- Sizes ------------------------------------------------------------------------------- */

/* A good request, cut off or drawn out to every size. What follows it is its name. */
TEST_F(badinput, requests_of_every_size)
{
	struct request whole = lock_request(EX, DLM_LKF_NOQUEUE, "");
	char buffer[LARGEST];

	memset(buffer, 'n', sizeof(buffer));
	for (size_t size = 0; size <= LARGEST; size++) {
		bool good = size >= REQUEST_SIZE && size <= REQUEST_MAX;
		size_t name = good ? size - REQUEST_SIZE : 1;
		int n;

		if (reference() && size >= 104 && size < REQUEST_SIZE)
			continue;	/* enough for a 32-bit request, so it reads on beyond the end */
		whole.req.i.lock.namelen = MIN(name, DLM_RESNAME_MAXLEN);
		memcpy(buffer, whole.bytes, REQUEST_SIZE);
		n = write(self->fd, buffer, size);
		if (good) {
			ASSERT_GT(n, 0) TH_LOG("%zu bytes", size);
			ASSERT_HEAR(self->fd, n, "granted");
			UNLOCK(self->fd, n);
		} else {
			ASSERT_EQ(-1, n) TH_LOG("%zu bytes", size);
			ASSERT_EQ(EINVAL, errno);
		}
	}
	ASSERT_HEAR(self->fd, 0, "nothing");
}

/* All bytes equal are no request at any size: the size is wrong, or else the version is. */
TEST_F(badinput, all_bytes_equal)
{
	char buffer[LARGEST];

	for (int byte = 0; byte <= UINT8_MAX; byte += 0x33) {
		memset(buffer, byte, sizeof(buffer));
		for (size_t size = 0; size <= LARGEST; size++) {
			bool good = size >= REQUEST_SIZE && size <= REQUEST_MAX;
			bool maybe = size >= 100 && size < REQUEST_SIZE;	/* if it were 32-bit */

			ASSERT_EQ(-1, write(self->fd, buffer, size));
			ASSERT_TRUE(errno == (good ? EBADE : EINVAL) || (maybe && errno == EBADE))
				TH_LOG("%zu bytes of %#x: %s", size, byte, strerror(errno));
			ASSERT_EQ(-1, write(self->ls.control, buffer, size));
			ASSERT_TRUE(errno == (good ? EBADE : EINVAL) || (maybe && errno == EBADE))
				TH_LOG("%zu bytes of %#x: %s", size, byte, strerror(errno));
		}
	}
}

/* Not a byte is written beyond the size of a read, nor by one that is refused. */
static void read_every_size(struct __test_metadata *_metadata, int fd, uint32_t flags,
			    size_t needed, const char *words)
{
	int id = lock(fd, NL, flags, "r");
	char unwritten[2 * LARGEST];

	memset(unwritten, 0xff, sizeof(unwritten));
	for (size_t size = 0; size <= LARGEST; size++) {
		bool version = size == sizeof(struct dlm_device_version);
		char buffer[sizeof(unwritten)];
		ssize_t n;

		if (reference() && size >= 52 && size < needed)
			continue;	/* enough for a 32-bit record, so it writes on beyond the end */
		memset(buffer, 0xff, sizeof(buffer));
		n = read(fd, buffer, size);
		if (version) {
			ASSERT_EQ((ssize_t)size, n);
		} else if (size < needed) {
			ASSERT_EQ(-1, n) TH_LOG("%zu bytes", size);
			ASSERT_EQ(EINVAL, errno);
			n = 0;
		} else {
			ASSERT_EQ((ssize_t)needed, n) TH_LOG("%zu bytes", size);
			ASSERT_STREQ(words, describe((void *)buffer, n, id));
			ASSERT_EQ(0, convert(fd, id, NL, flags));
		}
		ASSERT_EQ(0, memcmp(unwritten, buffer + n, sizeof(buffer) - n))
			TH_LOG("%zu bytes", size);
	}
}

TEST_F(badinput, reads_of_every_size)
{
	read_every_size(_metadata, self->fd, 0, sizeof(struct dlm_lock_result), "granted");
}

TEST_F(badinput, reads_of_every_size_with_a_value)
{
	read_every_size(_metadata, self->fd, DLM_LKF_VALBLK, sizeof(struct record),
			"granted \"\"");
}

/* ---- Random requests --------------------------------------------------------------------- */

enum { STORM = 100000, MAX_IDS = 4096 };

struct storm {
	uint64_t state;
	int ids[MAX_IDS];	/* probably locks */
	int nr_ids;
};

static uint64_t any(struct storm *s)
{
	s->state ^= s->state << 13;
	s->state ^= s->state >> 7;
	s->state ^= s->state << 17;
	return s->state;
}

static int below(struct storm *s, int limit)
{
	return any(s) % limit;
}

static void scribble(struct storm *s, void *buffer, size_t size)
{
	for (char *p = buffer; size--; p++)
		*p = any(s);
}

/* A lock of ours, or an id that nobody ever has: never somebody else's. */
static int any_id(struct storm *s)
{
	if (s->nr_ids && below(s, 8))
		return s->ids[below(s, s->nr_ids)];
	return any(s) | 1U << 31;
}

/* Few flags at a time, or most requests would be refused. */
static uint32_t any_flags(struct storm *s)
{
	uint32_t unwanted = 0;

	if (reference())	/* it WARNs of the one and forgets locks with the others */
		unwanted |= DLM_LKF_QUECVT | DLM_LKF_FORCEUNLOCK | DLM_LKF_PERSISTENT;
	return any(s) & any(s) & any(s) & any(s) & ~unwanted;
}

/* Anything but the user's pointers, which are the usual ones, so that records can be checked. */
static struct request nearly_good(struct storm *s)
{
	struct request r = lock_request(NL, 0, "");
	struct dlm_lock_params *lock = &r.req.i.lock;
	struct dlm_lock_params good = *lock;

	scribble(s, lock, sizeof(*lock));
	lock->castaddr = below(s, 50) ? good.castaddr : NULL;
	lock->lksb = below(s, 50) ? good.lksb : NULL;
	lock->bastaddr = below(s, 2) ? BAST : NULL;
	lock->castparam = good.castparam;
	lock->bastparam = good.bastparam;
	lock->mode = any(s) % (below(s, 20) ? MODES : 256);
	lock->flags = any_flags(s);
	lock->lkid = any_id(s);
	lock->namelen = below(s, 6);
	for (int i = 0; i < lock->namelen; i++)
		lock->name[i] = 'a' + below(s, 3);
	r.size += lock->namelen;
	switch (below(s, 8)) {
	case 0:
		break;
	case 1 ... 3:
		lock->flags |= DLM_LKF_CONVERT;
		break;
	case 4 ... 6:
		r.req.cmd = DLM_USER_UNLOCK;
		lock->lksb = good.lksb;
		if (below(s, 4))
			lock->flags &= DLM_LKF_VALBLK | DLM_LKF_CANCEL | DLM_LKF_FORCEUNLOCK;
		break;
	case 7:
		do
			r.req.cmd = below(s, 4) ? any(s) : DLM_USER_DEADLOCK;
		while (r.req.cmd == DLM_USER_LOCK || r.req.cmd == DLM_USER_UNLOCK);
		if (r.req.cmd == DLM_USER_PURGE || !below(s, 1000))
			return purge_request(below(s, reference() ? 2 : 3),
					     below(s, 2) ? gettid() : (int)any(s));
		break;
	}
	return r;
}

/* Random bytes throughout, sometimes with a version that lets the rest be looked at. */
static struct request noise(struct storm *s)
{
	struct request r = lock_request(NL, 0, "");
	size_t size = below(s, REQUEST_MAX + 1);

	if (below(s, 2)) {
		scribble(s, r.bytes, sizeof(r.bytes));
	} else {
		do
			r.req.cmd = any(s);
		while (r.req.cmd && r.req.cmd <= DLM_USER_DEADLOCK);
		scribble(s, &r.req.i, sizeof(r.bytes) - offsetof(struct dlm_write_request, i));
	}
	r.size = size;
	return r;
}

static void forget(struct storm *s, int id)
{
	for (int i = 0; i < s->nr_ids; i++)
		if (s->ids[i] == id)
			s->ids[i] = s->ids[--s->nr_ids];
}

static bool documented(const struct request *r, int result)
{
	switch (result) {
	case -EINVAL:
	case -EBADE:
	case -ENOENT:
		return true;
	case -EBUSY:
		return r->req.cmd == DLM_USER_LOCK && r->req.i.lock.flags & DLM_LKF_CONVERT;
	case 0:
		return r->req.cmd != DLM_USER_LOCK || r->req.i.lock.flags & DLM_LKF_CONVERT;
	}
	return result > 0 && r->req.cmd == DLM_USER_LOCK && !(r->req.i.lock.flags & DLM_LKF_CONVERT);
}

TEST_F_TIMEOUT(badinput, random_requests, 120)
{
	static const char far_away[] = "a name that no random request comes upon";
	const char *seed = getenv("DLM_SEED");
	struct storm s = { .state = seed ? strtoull(seed, NULL, 0) : 20260707 };
	int bystander = HOLD(self->other, EX, WITH_BAST, far_away);
	int granted = 0;

	TH_LOG("DLM_SEED=%llu", (unsigned long long)s.state);
	for (int i = 0; i < STORM; i++) {
		struct request r = below(&s, 4) ? nearly_good(&s) : noise(&s);
		int result = submit(self->fd, r);
		struct record record;
		int n;

		ASSERT_TRUE(documented(&r, result))
			TH_LOG("request %d, command %d, flags %#x: %d", i, r.req.cmd,
			       r.req.i.lock.flags, result);
		if (result > 0 && s.nr_ids < MAX_IDS)
			s.ids[s.nr_ids++] = result;
		if (!result && r.req.cmd == DLM_USER_UNLOCK)
			forget(&s, r.req.i.lock.lkid);
		while ((n = read_record(self->fd, &record)) > 0) {
			ASSERT_STREQ("", fault(&record, n, record.result.lksb.sb_lkid) ?: "")
				TH_LOG("request %d", i);
			granted += !record.result.lksb.sb_status && !record.result.bast_mode;
		}
		ASSERT_EQ(-EAGAIN, n);
	}
	TH_LOG("%d grants, %d locks left", granted, s.nr_ids);

	/* The storm did something, but not to the bystander. */
	ASSERT_GT(granted, STORM / 100);
	ASSERT_HEAR(self->other, bystander, "nothing");
	ASSERT_TAKEN(self->other, far_away, CR);
	CONVERT(self->other, bystander, NL, 0, "granted");
	UNLOCK(self->other, bystander);
	close(self->fd);
	ASSERT_EQ(0, purge(self->other, 0));
	close(self->other);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, self->ls.minor, 0));
}

/* What a 32-bit program might send: the header is good, the rest is random. */
TEST_F(badinput, random_narrow_requests)
{
	static const char far_away[] = "a name that no random request comes upon";
	struct storm s = { .state = 2 };
	int bystander, granted = 0;

	SKIP_ON_REFERENCE("reads beyond the request");
	bystander = HOLD(self->other, EX, WITH_BAST, far_away);
	for (int i = 0; i < STORM; i++) {
		struct request r = lock_request(NL, 0, "");
		char record[LARGEST];
		int result;

		scribble(&s, &r.req.i, sizeof(r.bytes) - offsetof(struct dlm_write_request, i));
		r.req.is64bit = 0;
		r.req.cmd = below(&s, 2) ? DLM_USER_LOCK : below(&s, DLM_USER_DEADLOCK + 2);
		r.req.i.lock.mode %= MODES + 1;
		r.req.i.lock.namelen = below(&s, 3);
		r.req.i.lock.flags = any_flags(&s) & ~DLM_LKF_CONVERT;
		r.size = below(&s, 2 * LARGEST / 3);
		result = submit(self->fd, r);
		granted += result > 0;
		ASSERT_TRUE(documented(&r, result))
			TH_LOG("request %d, command %d, %zu bytes: %d", i, r.req.cmd, r.size, result);
		while (read(self->fd, record, sizeof(record)) > 0)
			;
		ASSERT_EQ(EAGAIN, errno);
	}
	ASSERT_GT(granted, STORM / 100);
	ASSERT_HEAR(self->other, bystander, "nothing");
	ASSERT_TAKEN(self->other, far_away, CR);
}

/* The control device refuses all of it: there is no locking there. */
TEST_F(badinput, random_requests_on_the_control_device)
{
	struct storm s = { .state = 1 };

	for (int i = 0; i < STORM / 10; i++) {
		struct request r = below(&s, 4) ? nearly_good(&s) : noise(&s);
		int result;

		if (r.req.cmd == DLM_USER_CREATE_LOCKSPACE || r.req.cmd == DLM_USER_REMOVE_LOCKSPACE)
			continue;
		result = submit(self->ls.control, r);
		ASSERT_TRUE(result == -EINVAL || result == -EBADE)
			TH_LOG("request %d, command %d: %d", i, r.req.cmd, result);
	}
	ASSERT_FREE(self->fd, "a", EX);
}

TEST_HARNESS_MAIN
