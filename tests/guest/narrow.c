// SPDX-License-Identifier: GPL-2.0
/*
 * Requests and records of 32-bit programs, made by hand in this one, which is not.
 *
 * An i386 program's request is 100 bytes and the name: that is what the programs compiled for it
 * try (their names end in -32). fs/dlm takes it to be 104, as it is where 64-bit numbers are
 * aligned to 8; the name begins at 100 all the same. Here it is 104, as long as all it has room
 * for, and every other size.
 */
#include "dlm_test.h"

#pragma pack(4)
struct request32 {
	uint32_t version[3];
	uint8_t cmd, is64bit, unused[2];
	union {
		struct {
			uint8_t mode, namelen;
			uint16_t unused;
			uint32_t flags, lkid, parent;
			uint64_t xid, timeout;
			uint32_t castparam, castaddr, bastparam, bastaddr, lksb;
			char lvb[DLM_USER_LVB_LEN];
			char name[];
		} lock;
		struct { int32_t nodeid, pid; } purge;
		struct { uint32_t flags, minor; char name[]; } lspace;
	};
};

struct record32 {
	uint32_t version[3], length;
	uint32_t user_astaddr, user_astparam, user_lksb;
	uint32_t sb_status, sb_lkid;
	uint8_t sb_flags, sb_padding[3];
	uint32_t sb_lvbptr;
	uint8_t bast_mode, unused[3];
	uint32_t lvb_offset;
	char value[DLM_USER_LVB_LEN];
};
#pragma pack()

#define REQUEST	104

_Static_assert(sizeof(struct request32) == 100, "an i386 program's request");
_Static_assert(offsetof(struct request32, lock.castparam) == 48, "pointers follow");
_Static_assert(offsetof(struct request32, lock.name) == 100, "the name follows");
_Static_assert(offsetof(struct record32, value) == 52, "the value block follows");

#define RECORD	offsetof(struct record32, value)

/* ---- This program's requests as 32-bit ones, 32-bit records as this program's --------------- */

static uint32_t cut(const void *pointer)
{
	return (uintptr_t)pointer;
}

static struct request narrow(struct request wide)
{
	struct request r = { .size = wide.size - sizeof(wide.req) + REQUEST };
	struct request32 *to = (void *)r.bytes;
	const struct dlm_lock_params *lock = &wide.req.i.lock;

	memcpy(to->version, wide.req.version, sizeof(to->version));
	to->cmd = wide.req.cmd;
	switch (wide.req.cmd) {
	case DLM_USER_CREATE_LOCKSPACE:
	case DLM_USER_REMOVE_LOCKSPACE:
		to->lspace.flags = wide.req.i.lspace.flags;
		to->lspace.minor = wide.req.i.lspace.minor;
		strcpy(to->lspace.name, wide.req.i.lspace.name);
		return r;
	case DLM_USER_PURGE:
		to->purge.nodeid = wide.req.i.purge.nodeid;
		to->purge.pid = wide.req.i.purge.pid;
		return r;
	}
	to->lock.mode = lock->mode;
	to->lock.namelen = lock->namelen;
	to->lock.flags = lock->flags;
	to->lock.lkid = lock->lkid;
	to->lock.xid = lock->xid;
	to->lock.castparam = cut(lock->castparam);
	to->lock.castaddr = cut(lock->castaddr);
	to->lock.bastparam = cut(lock->bastparam);
	to->lock.bastaddr = cut(lock->bastaddr);
	to->lock.lksb = cut(lock->lksb);
	memcpy(to->lock.lvb, lock->lvb, sizeof(to->lock.lvb));
	memset(to->lock.name, 0xee, r.size - sizeof(*to));
	if (wide.req.cmd == DLM_USER_LOCK)
		memcpy(to->lock.name, lock->name, lock->namelen);
	return r;
}

static void *pointer(uint32_t bits)
{
	return (void *)(uintptr_t)bits;
}

/* Of a read's n bytes; returns what n were of the wider record. */
static int widen(struct record *to, const struct record32 *from, int n)
{
	const int wider = sizeof(to->result) - RECORD;
	struct dlm_lock_result *r = &to->result;

	memset(to, 0, sizeof(*to));
	if (n < 0)
		return n;
	memcpy(r->version, from->version, sizeof(r->version));
	r->length = from->length + wider;
	r->user_astaddr = pointer(from->user_astaddr);
	r->user_astparam = pointer(from->user_astparam);
	r->user_lksb = pointer(from->user_lksb);
	r->lksb.sb_status = from->sb_status;
	r->lksb.sb_lkid = from->sb_lkid;
	r->lksb.sb_flags = from->sb_flags;
	memcpy(&r->lksb.sb_flags + 1, from->sb_padding, sizeof(from->sb_padding));
	r->lksb.sb_lvbptr = pointer(from->sb_lvbptr);
	r->bast_mode = from->bast_mode;
	memcpy(r->unused, from->unused, sizeof(r->unused));
	r->lvb_offset = from->lvb_offset ? from->lvb_offset + wider : 0;
	memcpy(to->value, from->value, sizeof(to->value));
	return n + wider;
}

static const char *hear32(int fd, int id)
{
	struct record32 narrow;
	struct record record;
	int n;

	memset(&narrow, 0xff, sizeof(narrow));
	if (!poll_now(fd, POLLIN))
		return "nothing";
	n = read(fd, &narrow, sizeof(narrow));
	n = widen(&record, &narrow, n < 0 ? -errno : n);
	return describe(&record, n, id);
}

#define ASSERT_HEAR32(fd, id, words)	ASSERT_STREQ(words, hear32(fd, id))

/* ---- Every command ---------------------------------------------------------------------------- */

/* fd is the 32-bit program's, other is not. */
LOCKSPACE_FIXTURE(narrow)

#define SUBMIT32(request)	submit(self->fd, narrow(request))

#define LOCK32(mode, flags, name, words) \
({ \
	int _id = SUBMIT32(lock_request(mode, flags, name)); \
	ASSERT_GT(_id, 0); \
	ASSERT_HEAR32(self->fd, _id, words); \
	_id; \
})

TEST_F(narrow, lock_convert_unlock)
{
	int id = LOCK32(PR, 0, "resource", "granted");

	ASSERT_TAKEN(self->other, "resource", EX);
	ASSERT_EQ(0, SUBMIT32(convert_request(id, EX, 0)));
	ASSERT_HEAR32(self->fd, id, "granted");
	LOCK32(PR, DLM_LKF_NOQUEUE, "resource", "EAGAIN");
	ASSERT_EQ(0, SUBMIT32(unlock_request(id, 0)));
	ASSERT_HEAR32(self->fd, id, "EUNLOCK");
	ASSERT_FREE(self->other, "resource", EX);
	ASSERT_EQ(-ENOENT, SUBMIT32(unlock_request(id, 0)));
}

TEST_F(narrow, names)
{
	static const char name[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	for (size_t length = 0; length <= DLM_RESNAME_MAXLEN; length++) {
		LOCK32(EX, 0, name + DLM_RESNAME_MAXLEN - length, "granted");
		ASSERT_TAKEN(self->other, name + DLM_RESNAME_MAXLEN - length, CR);
	}
}

TEST_F(narrow, values)
{
	int id = LOCK32(EX, DLM_LKF_VALBLK, "r", "granted \"\"");

	ASSERT_EQ(0, SUBMIT32(with_value(convert_request(id, PR, DLM_LKF_VALBLK), "value")));
	ASSERT_HEAR32(self->fd, id, "granted");
	LOCK(self->other, PR, DLM_LKF_VALBLK, "r", "granted \"value\"");
	LOCK32(PR, DLM_LKF_VALBLK, "r", "granted \"value\"");
}

TEST_F(narrow, blocking)
{
	int id = LOCK32(PR, WITH_BAST, "r", "granted");
	int waiter = WAIT(self->other, EX, 0, "r");

	ASSERT_HEAR32(self->fd, id, "blocks EX");
	ASSERT_EQ(0, SUBMIT32(unlock_request(id, 0)));
	ASSERT_HEAR32(self->fd, id, "EUNLOCK");
	ASSERT_HEAR(self->other, waiter, "granted");
}

TEST_F(narrow, cancel_and_deadlock)
{
	int id;

	HOLD(self->other, EX, 0, "r");
	id = LOCK32(EX, 0, "r", "nothing");
	ASSERT_EQ(0, SUBMIT32(unlock_request(id, DLM_LKF_CANCEL)));
	ASSERT_HEAR32(self->fd, id, "ECANCEL");
	id = LOCK32(EX, 0, "r", "nothing");
	ASSERT_EQ(0, SUBMIT32(deadlock_request(id, 0)));
	ASSERT_HEAR32(self->fd, id, "EDEADLK");
}

TEST_F(narrow, orphans)
{
	int id = HOLD(self->other, EX, DLM_LKF_PERSISTENT, "r");

	HOLD(self->other, EX, DLM_LKF_PERSISTENT, "s");
	close(self->other);
	ASSERT_EQ(id, SUBMIT32(lock_request(EX, DLM_LKF_ORPHAN, "r")));
	ASSERT_HEAR32(self->fd, id, "nothing");
	ASSERT_EQ(0, SUBMIT32(purge_request(1, 0)));
	LOCK32(CR, DLM_LKF_NOQUEUE, "r", "EAGAIN");
	LOCK32(EX, DLM_LKF_NOQUEUE, "s", "granted");
	ASSERT_EQ(0, SUBMIT32(purge_request(0, gettid())));
	LOCK32(EX, DLM_LKF_NOQUEUE, "r", "granted");
}

TEST_F(narrow, lockspaces)
{
	char name[DLM_LOCKSPACE_LEN];
	int minor, fd;

	snprintf(name, sizeof(name), "%sx", self->ls.name);
	minor = submit(self->ls.control, narrow(lockspace_request(DLM_USER_CREATE_LOCKSPACE, name, 0,
								  DLM_LSFL_NEWEXCL)));
	ASSERT_GT(minor, 0);
	fd = open_lockspace(name, O_NONBLOCK);
	ASSERT_GE(fd, 0);
	close(fd);
	ASSERT_EQ(0, submit(self->ls.control, narrow(lockspace_request(DLM_USER_REMOVE_LOCKSPACE, "",
								       minor, 0))));
	ASSERT_EQ(-1, open_lockspace(name, O_NONBLOCK));
}

/* ---- Whose records are narrow ---------------------------------------------------------------- */

TEST_F(narrow, descriptors_that_saw_no_such_request_are_not_affected)
{
	int id = HOLD(self->other, PR, WITH_BAST, "r");

	LOCK32(PR, 0, "r", "granted");
	ASSERT_EQ(0, SUBMIT32(convert_request(id, CR, WITH_BAST)));
	ASSERT_HEAR(self->other, id, "granted");
	LOCK(self->other, CR, DLM_LKF_VALBLK, "r", "granted \"\"");
}

/* One such request, even of another program that has it open, and all of its records are. */
TEST_F(narrow, once_is_for_good)
{
	int early = lock(self->fd, PR, DLM_LKF_VALBLK, "r");
	int id = SUBMIT32(lock_request(PR, 0, "r"));
	int late = lock(self->fd, PR, DLM_LKF_VALBLK, "r");

	ASSERT_HEAR32(self->fd, early, "granted \"\"");
	ASSERT_HEAR32(self->fd, id, "granted");
	ASSERT_HEAR32(self->fd, late, "granted \"\"");
}

TEST_F(narrow, failing_requests_count_too)
{
	int id = lock(self->fd, PR, 0, "r");

	ASSERT_EQ(-ENOENT, SUBMIT32(unlock_request(0, 0)));
	ASSERT_HEAR32(self->fd, id, "granted");
}

/* It counts when a record is handed out, also to who has been waiting for it since before. */
TEST_F(narrow, a_reader_that_waits_already)
{
	int fd = open_lockspace(self->ls.name, 0);
	pid_t child = spawn();

	if (!child) {
		struct record32 narrow;

		_exit(read(fd, &narrow, sizeof(narrow)));
	}
	ASSERT_TRUE(asleep(child));
	ASSERT_GT(submit(fd, narrow(lock_request(EX, 0, "r"))), 0);
	ASSERT_EQ((int)RECORD, expect_child(child));
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

TEST_F(narrow, reads_of_every_size)
{
	int id = SUBMIT32(lock_request(NL, DLM_LKF_VALBLK, "r"));
	char unwritten[200];

	memset(unwritten, 0xff, sizeof(unwritten));
	for (size_t size = 0; size < sizeof(unwritten); size++) {
		size_t needed = reference() ? RECORD : sizeof(struct record32);
		char buffer[sizeof(unwritten)];
		ssize_t n;

		if (reference() && size >= RECORD && size < sizeof(struct record32))
			continue;	/* the value is lost */
		memset(buffer, 0xff, sizeof(buffer));
		n = read(self->fd, buffer, size);
		if (size == sizeof(struct dlm_device_version)) {
			ASSERT_EQ((ssize_t)size, n);
		} else if (size < needed) {
			ASSERT_EQ(-1, n) TH_LOG("%zu bytes", size);
			ASSERT_EQ(EINVAL, errno);
			n = 0;
		} else {
			struct record record;

			ASSERT_EQ((ssize_t)sizeof(struct record32), n) TH_LOG("%zu bytes", size);
			n = widen(&record, (void *)buffer, n);
			ASSERT_STREQ("granted \"\"", describe(&record, n, id));
			n = sizeof(struct record32);
			ASSERT_EQ(0, SUBMIT32(convert_request(id, NL, DLM_LKF_VALBLK)));
		}
		ASSERT_EQ(0, memcmp(unwritten, buffer + n, sizeof(buffer) - n))
			TH_LOG("%zu bytes", size);
	}
}

TEST_F(narrow, reads_without_a_value)
{
	int id = SUBMIT32(lock_request(NL, 0, "r"));
	struct record32 narrow;
	struct record record;
	int n;

	ASSERT_EQ(-1, read(self->fd, &narrow, RECORD - 1));
	ASSERT_EQ(EINVAL, errno);
	n = read(self->fd, &narrow, RECORD);
	ASSERT_EQ((int)RECORD, n);
	ASSERT_STREQ("granted", describe(&record, widen(&record, &narrow, n), id));
}

/* A name ends where the request ends; shorter than its structure, a request is none. */
TEST_F(narrow, requests_of_every_size)
{
	struct request whole = narrow(lock_request(EX, 0, ""));
	char buffer[300];

	SKIP_ON_REFERENCE("reads beyond the request");
	memset(buffer, 'n', sizeof(buffer));
	memcpy(buffer, whole.bytes, sizeof(struct request32));
	for (size_t size = 0; size <= sizeof(buffer); size++) {
		for (int namelen = 0; namelen <= DLM_RESNAME_MAXLEN + 1; namelen++) {
			bool good = size >= 100 + (size_t)namelen && size <= REQUEST_MAX &&
				    namelen <= DLM_RESNAME_MAXLEN;
			int id;

			buffer[offsetof(struct request32, lock.namelen)] = namelen;
			id = write(self->fd, buffer, size);
			if (good) {
				ASSERT_GT(id, 0) TH_LOG("%zu bytes, name of %d", size, namelen);
				ASSERT_HEAR32(self->fd, id, "granted");
				ASSERT_EQ(0, SUBMIT32(unlock_request(id, 0)));
				ASSERT_HEAR32(self->fd, id, "EUNLOCK");
			} else {
				ASSERT_EQ(-1, id) TH_LOG("%zu bytes, name of %d", size, namelen);
				ASSERT_EQ(EINVAL, errno);
			}
		}
	}
}

TEST_F(narrow, refused)
{
	struct request r = narrow(lock_request(EX, 0, "r"));

	((struct request32 *)r.bytes)->lock.castaddr = 0;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	r = narrow(lock_request(EX, 0, "r"));
	((struct request32 *)r.bytes)->lock.lksb = 0;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	r = narrow(lock_request(EX, 0, "r"));
	((struct request32 *)r.bytes)->version[0] = 5;
	ASSERT_EQ(-EBADE, submit(self->fd, r));
	for (int command = 0; command <= UINT8_MAX; command++) {
		if (command && command <= DLM_USER_DEADLOCK && command != DLM_USER_QUERY)
			continue;
		r = narrow(lock_request(EX, 0, "r"));
		((struct request32 *)r.bytes)->cmd = command;
		ASSERT_EQ(-EINVAL, submit(self->fd, r)) TH_LOG("command %d", command);
	}
	ASSERT_EQ(-EINVAL, submit(self->ls.control,
				  narrow(lock_request(EX, 0, "r"))));
	ASSERT_FREE(self->other, "r", EX);
}

TEST_HARNESS_MAIN
