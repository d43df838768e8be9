// SPDX-License-Identifier: GPL-2.0
/* What write() refuses, with which error, and that nothing has changed then. */
#include <stddef.h>
#include <sys/mman.h>
#include "dlm_test.h"

LOCKSPACE_FIXTURE(errors)

/* Nobody heard of it, and there is no lock on the resource that the tests name. */
#define ASSERT_NOTHING_HAPPENED(fd) \
do { \
	ASSERT_HEAR(fd, 0, "nothing"); \
	ASSERT_FREE(fd, "r", EX); \
} while (0)

/* ---- EINVAL on lock: one variant for each rule -------------------------------------------- */

LOCKSPACE_FIXTURE(invalid)
FIXTURE_VARIANT(invalid) { int mode; uint32_t flags; };
#define INVALID(name, mode, flags)	FIXTURE_VARIANT_ADD(invalid, name) { mode, flags }
INVALID(mode_6, 6, 0);
INVALID(mode_255, 255, 0);
INVALID(cancel, EX, DLM_LKF_CANCEL);
INVALID(quecvt_without_convert, EX, DLM_LKF_QUECVT);
INVALID(convdeadlk_without_convert, EX, DLM_LKF_CONVDEADLK);
INVALID(expedite_with_quecvt, NL, DLM_LKF_EXPEDITE | DLM_LKF_QUECVT);
INVALID(expedite_with_noqueue, NL, DLM_LKF_EXPEDITE | DLM_LKF_NOQUEUE);
INVALID(expedite_cr, CR, DLM_LKF_EXPEDITE);
INVALID(expedite_cw, CW, DLM_LKF_EXPEDITE);
INVALID(expedite_pr, PR, DLM_LKF_EXPEDITE);
INVALID(expedite_pw, PW, DLM_LKF_EXPEDITE);
INVALID(expedite_ex, EX, DLM_LKF_EXPEDITE);

TEST_F(invalid, request)
{
	ASSERT_EQ(-EINVAL, lock(self->fd, variant->mode, variant->flags, "r"));
	ASSERT_NOTHING_HAPPENED(self->fd);
}

LOCKSPACE_FIXTURE(invalid_conversion)
FIXTURE_VARIANT(invalid_conversion) { int mode; uint32_t flags; };
#define INVALID_CONVERSION(name, mode, flags) \
	FIXTURE_VARIANT_ADD(invalid_conversion, name) { mode, flags }
INVALID_CONVERSION(mode_6, 6, 0);
INVALID_CONVERSION(mode_255, 255, 0);
INVALID_CONVERSION(cancel, NL, DLM_LKF_CANCEL);
INVALID_CONVERSION(convdeadlk_with_noqueue, NL, DLM_LKF_CONVDEADLK | DLM_LKF_NOQUEUE);
INVALID_CONVERSION(expedite, NL, DLM_LKF_EXPEDITE);

TEST_F(invalid_conversion, changes_nothing)
{
	int id = HOLD(self->fd, EX, 0, "r");

	ASSERT_EQ(-EINVAL, convert(self->fd, id, variant->mode, variant->flags));
	ASSERT_HEAR(self->fd, id, "nothing");
	ASSERT_TAKEN(self->other, "r", CR);
	CONVERT(self->fd, id, NL, 0, "granted");
	ASSERT_FREE(self->other, "r", EX);
}

/* QUECVT goes upwards only, and between PR and CW. */
LOCKSPACE_FIXTURE(quecvt)
FIXTURE_VARIANT(quecvt) { int held; const char *allows; };
FIXTURE_VARIANT_ADD(quecvt, NL) { NL, "011111" };
FIXTURE_VARIANT_ADD(quecvt, CR) { CR, "001111" };
FIXTURE_VARIANT_ADD(quecvt, CW) { CW, "000111" };
FIXTURE_VARIANT_ADD(quecvt, PR) { PR, "001011" };
FIXTURE_VARIANT_ADD(quecvt, PW) { PW, "000001" };
FIXTURE_VARIANT_ADD(quecvt, EX) { EX, "000000" };

TEST_F(quecvt, conversion)
{
	for (int mode = NL; mode <= EX; mode++) {
		bool allowed = variant->allows[mode] == '1';
		int id = HOLD(self->fd, variant->held, 0, mode_name[mode]);

		EXPECT_EQ(allowed ? 0 : -EINVAL, convert(self->fd, id, mode, DLM_LKF_QUECVT))
			TH_LOG("%s to %s", mode_name[variant->held], mode_name[mode]);
		EXPECT_HEAR(self->fd, id, allowed ? "granted" : "nothing");
	}
}

/* ---- EINVAL on unlock --------------------------------------------------------------------- */

TEST_F(errors, unlock_flags)
{
	const uint32_t allowed = DLM_LKF_CANCEL | DLM_LKF_VALBLK | DLM_LKF_IVVALBLK |
				 DLM_LKF_FORCEUNLOCK;
	int id = HOLD(self->fd, EX, 0, "r");

	for (int bit = 0; bit < 32; bit++) {
		if (allowed & 1U << bit)
			continue;
		EXPECT_EQ(-EINVAL, unlock(self->fd, id, 1U << bit)) TH_LOG("bit %d", bit);
		EXPECT_EQ(-EINVAL, unlock(self->fd, id, 1U << bit | DLM_LKF_CANCEL))
			TH_LOG("bit %d", bit);
	}
	EXPECT_EQ(-EINVAL, unlock(self->fd, id, DLM_LKF_CANCEL | DLM_LKF_FORCEUNLOCK));
	ASSERT_HEAR(self->fd, id, "nothing");
	ASSERT_TAKEN(self->fd, "r", CR);
	UNLOCK(self->fd, id);
}

/* ---- EINVAL: fields ----------------------------------------------------------------------- */

TEST_F(errors, no_castaddr)
{
	struct request r = lock_request(EX, 0, "r");

	r.req.i.lock.castaddr = NULL;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	ASSERT_NOTHING_HAPPENED(self->fd);
}

TEST_F(errors, no_lksb)
{
	struct request r = lock_request(EX, 0, "r");

	r.req.i.lock.lksb = NULL;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	ASSERT_NOTHING_HAPPENED(self->fd);
}

TEST_F(errors, conversion_without_castaddr_or_lksb)
{
	int id = HOLD(self->fd, EX, 0, "r");
	struct request r = convert_request(id, NL, 0);

	r.req.i.lock.castaddr = NULL;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	r = convert_request(id, NL, 0);
	r.req.i.lock.lksb = NULL;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	ASSERT_TAKEN(self->fd, "r", CR);
}

TEST_F(errors, name_too_long)
{
	struct request r = lock_request(EX, 0, "r");

	r.size = REQUEST_MAX;
	for (int length = DLM_RESNAME_MAXLEN + 1; length <= UINT8_MAX; length++) {
		r.req.i.lock.namelen = length;
		ASSERT_EQ(-EINVAL, submit(self->fd, r)) TH_LOG("namelen %d", length);
	}
	ASSERT_NOTHING_HAPPENED(self->fd);
}

TEST_F(errors, name_longer_than_the_request)
{
	struct request r = lock_request(EX, 0, "r");

	SKIP_ON_REFERENCE("reads beyond the request");
	r.req.i.lock.namelen = 2;
	ASSERT_EQ(-EINVAL, submit(self->fd, r));
	ASSERT_NOTHING_HAPPENED(self->fd);
}

/* ---- Versions, commands, devices ---------------------------------------------------------- */

/* As long as a 32-bit program's, a request that says it is a 64-bit one is too short. */
TEST_F(errors, cut_off_requests)
{
	int id = HOLD(self->fd, EX, 0, "r");
	struct request requests[] = {
		lock_request(EX, 0, ""), convert_request(id, NL, 0), unlock_request(id, 0),
		unlock_request(id, DLM_LKF_CANCEL), deadlock_request(id, 0),
	};

	SKIP_ON_REFERENCE("reads beyond the request");
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		requests[i].req.is64bit = 1;
		for (requests[i].size = 100; requests[i].size < 120; requests[i].size++) {
			ASSERT_EQ(-EINVAL, submit(self->fd, requests[i]))
				TH_LOG("request %zu, %zu bytes", i, requests[i].size);
		}
	}
	UNLOCK(self->fd, id);
	ASSERT_NOTHING_HAPPENED(self->fd);
}

TEST_F(errors, versions)
{
	static const struct { uint32_t version[3]; int error; } versions[] = {
		{ { 0, 0, 0 }, -EBADE }, { { 5, 0, 2 }, -EBADE }, { { 7, 0, 2 }, -EBADE },
		{ { 6, 2, 2 }, -EBADE }, { { 6, UINT32_MAX, 2 }, -EBADE },
		{ { UINT32_MAX, 0, 0 }, -EBADE }, { { 0x06000000, 0, 2 }, -EBADE },
		{ { 6, 0, 0 }, 0 }, { { 6, 0, 2 }, 0 }, { { 6, 0, UINT32_MAX }, 0 },
	};
	int id = HOLD(self->fd, NL, 0, "r");

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		struct request r = convert_request(id, NL, 0);

		memcpy(r.req.version, versions[i].version, sizeof(r.req.version));
		EXPECT_EQ(versions[i].error, submit(self->fd, r))
			TH_LOG("%u.%u.%u", r.req.version[0], r.req.version[1], r.req.version[2]);
		EXPECT_HEAR(self->fd, id, versions[i].error ? "nothing" : "granted");
	}
}

/* Commands are 1 to 7, except 3, which once was. The version is looked at before the command. */
TEST_F(errors, unknown_commands)
{
	for (int command = 0; command <= UINT8_MAX; command++) {
		struct request r = lock_request(EX, 0, "r");

		if (command && command <= DLM_USER_DEADLOCK && command != DLM_USER_QUERY)
			continue;
		r.req.cmd = command;
		EXPECT_EQ(-EINVAL, submit(self->fd, r)) TH_LOG("command %d", command);
		EXPECT_EQ(-EINVAL, submit(self->ls.control, r)) TH_LOG("command %d", command);
		r.req.version[0] = 0;
		EXPECT_EQ(-EBADE, submit(self->fd, r)) TH_LOG("command %d", command);
	}
	ASSERT_NOTHING_HAPPENED(self->fd);
}

TEST_F(errors, no_locking_on_the_control_device)
{
	struct request r = lock_request(EX, 0, "r");

	EXPECT_EQ(-EINVAL, submit(self->ls.control, r));
	EXPECT_EQ(-EINVAL, unlock(self->ls.control, 1, 0));
	r.req.cmd = DLM_USER_PURGE;
	EXPECT_EQ(-EINVAL, submit(self->ls.control, r));
	r.req.cmd = DLM_USER_DEADLOCK;
	EXPECT_EQ(-EINVAL, submit(self->ls.control, r));
	ASSERT_NOTHING_HAPPENED(self->fd);
}

TEST_F(errors, no_lockspaces_on_a_lockspace_device)
{
	EXPECT_EQ(-EINVAL, create_lockspace(self->fd, "t", 0));
	EXPECT_EQ(-EINVAL, create_lockspace(self->fd, self->ls.name, 0));
	EXPECT_EQ(-EINVAL, remove_lockspace(self->fd, self->ls.minor, DLM_USER_LSFLG_FORCEFREE));
	EXPECT_EQ(-1, open_lockspace("t", 0));
	ASSERT_NOTHING_HAPPENED(self->fd);
}

/* ---- EFAULT ------------------------------------------------------------------------------- */

/* The last bytes of a readable page; the page behind it is not. */
static char *before_a_hole(struct __test_metadata *_metadata, size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mprotect(map + page, page, PROT_NONE));
	return map + page - size;
}

TEST_F(errors, unreadable_request)
{
	struct request r = lock_request(EX, 0, "r");

	for (size_t readable = 0; readable < r.size; readable++) {
		char *buffer = before_a_hole(_metadata, readable);

		memcpy(buffer, r.bytes, readable);
		ASSERT_EQ(-1, write(self->fd, buffer, r.size));
		ASSERT_EQ(EFAULT, errno) TH_LOG("%zu bytes readable", readable);
	}
	ASSERT_EQ(-1, write(self->fd, NULL, r.size));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(-1, write(self->ls.control, NULL, r.size));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_NOTHING_HAPPENED(self->fd);
}

TEST_F(errors, the_size_is_looked_at_first)
{
	static const size_t sizes[] = { 0, 1, 99, REQUEST_MAX + 1, 1 << 20 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(-1, write(self->fd, NULL, sizes[i]));
		ASSERT_EQ(EINVAL, errno) TH_LOG("%zu bytes", sizes[i]);
	}
}

TEST_F(errors, readable_to_its_last_byte)
{
	struct request r = lock_request(EX, 0, "r");
	char *buffer = memcpy(before_a_hole(_metadata, r.size), r.bytes, r.size);
	int id = write(self->fd, buffer, r.size);

	ASSERT_GT(id, 0);
	ASSERT_HEAR(self->fd, id, "granted");
}

TEST_HARNESS_MAIN
