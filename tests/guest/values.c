// SPDX-License-Identifier: GPL-2.0
/*
 * Value blocks: when a resource's value comes back with a grant, when an operation writes it, and
 * when it is marked as not to be trusted ("invalid", in the words of a record).
 */
#include "dlm_test.h"

#define VALBLK		DLM_LKF_VALBLK
#define IVVALBLK	DLM_LKF_IVVALBLK

/* ---- Phrases ----------------------------------------------------------------------------- */

#define CONVERT_VALUE(fd, id, mode, flags, value, words) \
do { \
	ASSERT_EQ(0, submit(fd, with_value(convert_request(id, mode, flags), value))); \
	ASSERT_HEAR(fd, id, words) \
		TH_LOG("converting to %s", mode_name[mode]); \
} while (0)

#define UNLOCK_VALUE(fd, id, flags, value) \
do { \
	int _lock = (id); \
	ASSERT_EQ(0, submit(fd, with_value(unlock_request(_lock, flags), value))); \
	ASSERT_HEAR(fd, _lock, "EUNLOCK"); \
} while (0)

/* A resource with the value "old", kept by an NL lock, the result. */
#define VALUED(fd, name) \
({ \
	int _keeper = HOLD(fd, EX, 0, name); \
	CONVERT_VALUE(fd, _keeper, NL, VALBLK, "old", "granted"); \
	_keeper; \
})

/* The same, and invalid. */
#define INVALIDATED(fd, name) \
({ \
	int _valued = VALUED(fd, name); \
	CONVERT(fd, _valued, EX, VALBLK, "granted \"old\""); \
	CONVERT(fd, _valued, NL, IVVALBLK, "granted"); \
	_valued; \
})

/* What a reader of the value hears. */
#define ASSERT_VALUE(fd, name, words) \
	UNLOCK(fd, LOCK(fd, NL, VALBLK | DLM_LKF_EXPEDITE, name, words))

/* ---- The matrix: granted mode by requested mode --------------------------------------------- */

LOCKSPACE_FIXTURE(matrix)

/* '1': the value is returned. '0': it is written. '-': neither. */
FIXTURE_VARIANT(matrix) { int granted; const char *cells; };
FIXTURE_VARIANT_ADD(matrix, NL) { NL, "111111" };
FIXTURE_VARIANT_ADD(matrix, CR) { CR, "-11111" };
FIXTURE_VARIANT_ADD(matrix, CW) { CW, "--1111" };
FIXTURE_VARIANT_ADD(matrix, PR) { PR, "---111" };
FIXTURE_VARIANT_ADD(matrix, PW) { PW, "000001" };
FIXTURE_VARIANT_ADD(matrix, EX) { EX, "000000" };

struct cell {
	const char *returned, *written, *neither;
};

/*
 * Convert, with the value "new", a lock that has a buffer for values. The record says one thing for
 * each kind of cell, and so does a reader of the resource afterwards.
 */
static void each_cell(struct __test_metadata *_metadata, int fd, int granted, const char *cells,
		      bool invalid, uint32_t flags, struct cell record, struct cell reader)
{
	for (int mode = NL; mode <= EX; mode++) {
		const char *name = mode_name[mode];
		char cell = cells[mode];
		int id;

		if (invalid)
			INVALIDATED(fd, name);
		else
			VALUED(fd, name);
		id = LOCK(fd, granted, VALBLK, name,
			  invalid ? "granted invalid \"old\"" : "granted \"old\"");
		CONVERT_VALUE(fd, id, mode, flags, "new", cell == '1' ? record.returned :
				cell == '0' ? record.written : record.neither);
		ASSERT_VALUE(fd, name, cell == '1' ? reader.returned :
			     cell == '0' ? reader.written : reader.neither);
	}
}

#define EACH_CELL(invalid, flags, ...) \
	each_cell(_metadata, self->fd, variant->granted, variant->cells, invalid, flags, \
		  __VA_ARGS__)
#define CELLS(...)	((struct cell) { __VA_ARGS__ })

#define OLD		"granted \"old\""
#define NEW		"granted \"new\""
#define INVALID_OLD	"granted invalid \"old\""
#define INVALID_NEW	"granted invalid \"new\""

TEST_F(matrix, valblk)
{
	EACH_CELL(false, VALBLK, CELLS(OLD, "granted", NEW), CELLS(OLD, NEW, OLD));
}

/* The lock's buffer takes in and gives back what the caller sends, past the resource. */
TEST_F(matrix, without_valblk)
{
	EACH_CELL(false, 0, CELLS(NEW, "granted", NEW), CELLS(OLD, OLD, OLD));
}

TEST_F(matrix, ivvalblk)
{
	EACH_CELL(false, IVVALBLK, CELLS(NEW, "granted", NEW), CELLS(OLD, INVALID_OLD, OLD));
}

TEST_F(matrix, valblk_and_ivvalblk)
{
	EACH_CELL(false, VALBLK | IVVALBLK, CELLS(OLD, "granted", NEW),
		  CELLS(OLD, INVALID_OLD, OLD));
}

/* Only a write makes it valid again. */
TEST_F(matrix, valblk_on_invalid)
{
	EACH_CELL(true, VALBLK, CELLS(INVALID_OLD, "granted", INVALID_NEW),
		  CELLS(INVALID_OLD, NEW, INVALID_OLD));
}

/* The flag goes with a value that is returned; where nothing happens it is said all the same. */
TEST_F(matrix, without_valblk_on_invalid)
{
	EACH_CELL(true, 0, CELLS(NEW, "granted", INVALID_NEW),
		  CELLS(INVALID_OLD, INVALID_OLD, INVALID_OLD));
}

/*
 * An unlock goes by its own flags and by those of the lock, thus of the request or of the last
 * conversion.
 */
TEST_F(matrix, unlock)
{
	static const struct { uint32_t lock, unlock; const char *words; } cases[] = {
		{ 0, 0, OLD }, { 0, VALBLK, NEW }, { VALBLK, 0, NEW }, { VALBLK, VALBLK, NEW },
		{ 0, IVVALBLK, INVALID_OLD }, { IVVALBLK, 0, INVALID_OLD },
		{ VALBLK, IVVALBLK, INVALID_OLD }, { IVVALBLK, VALBLK, INVALID_OLD },
		{ 0, VALBLK | DLM_LKF_FORCEUNLOCK, NEW },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool writes = variant->granted >= PW;
		char name[] = { 'a' + i, 0 };
		int id;

		VALUED(self->fd, name);
		id = LOCK(self->fd, NL, VALBLK, name, OLD);
		CONVERT_VALUE(self->fd, id, variant->granted, cases[i].lock, "new",
			      cases[i].lock & VALBLK ? OLD : NEW);
		UNLOCK_VALUE(self->fd, id, cases[i].unlock, "new");
		ASSERT_VALUE(self->fd, name, writes ? cases[i].words : OLD);
	}
}

/* The row of the matrix for new requests: all modes are given the value, none sets it. */
TEST_F(matrix, request)
{
	int id;

	VALUED(self->fd, "r");
	id = submit(self->fd, with_value(lock_request(variant->granted, VALBLK, "r"), "new"));
	ASSERT_HEAR(self->fd, id, OLD);
	ASSERT_VALUE(self->fd, "r", OLD);
	CONVERT_VALUE(self->fd, id, NL, 0, "new", variant->granted < PW ? NEW : "granted");
	LOCK(self->fd, variant->granted, 0, "r", "granted");
	ASSERT_VALUE(self->fd, "r", OLD);
}

/* ---- A lock's buffer --------------------------------------------------------------------- */

LOCKSPACE_FIXTURE(values)

TEST_F(values, none_without_a_buffer)
{
	int fd = self->fd;
	int id;

	VALUED(fd, "r");
	id = HOLD(fd, NL, 0, "r");
	CONVERT_VALUE(fd, id, EX, 0, "new", "granted");
	CONVERT_VALUE(fd, id, NL, 0, "new", "granted");
	ASSERT_VALUE(fd, "r", OLD);
}

TEST_F(values, a_conversion_brings_one)
{
	int fd = self->fd;
	int id;

	VALUED(fd, "r");
	id = HOLD(fd, PR, 0, "r");
	CONVERT_VALUE(fd, id, PR, VALBLK, "new", OLD);
}

/* Also one that is refused because the lock is busy. In fs/dlm an unlock does not know it yet. */
TEST_F(values, a_busy_conversion_brings_one)
{
	int fd = self->fd;
	int holder, id;

	VALUED(fd, "r");
	holder = HOLD(fd, EX, 0, "r");
	id = WAIT(fd, EX, 0, "r");
	ASSERT_EQ(-EBUSY, convert(fd, id, NL, VALBLK));
	UNLOCK(fd, holder);
	ASSERT_HEAR(fd, id, "granted \"\"");
	UNLOCK_VALUE(fd, id, VALBLK, "new");
	ASSERT_VALUE(fd, "r", DIFFERS(NEW, OLD));
}

/* An unlock does not: then there is nothing to write. */
TEST_F(values, an_unlock_does_not)
{
	int fd = self->fd;
	int id;

	VALUED(fd, "r");
	id = HOLD(fd, EX, 0, "r");
	UNLOCK_VALUE(fd, id, VALBLK, "new");
	ASSERT_VALUE(fd, "r", OLD);
}

/* A waiter is given the value at the time of its grant. */
TEST_F(values, handed_over)
{
	int fd = self->fd;
	int holder = LOCK(fd, EX, VALBLK, "r", "granted \"\"");
	int waiter = WAIT(self->other, EX, VALBLK, "r");

	UNLOCK_VALUE(fd, holder, VALBLK, "new");
	ASSERT_HEAR(self->other, waiter, NEW);
}

TEST_F(values, handed_over_to_a_conversion)
{
	int fd = self->fd;
	int waiter = LOCK(self->other, NL, VALBLK, "r", "granted \"\"");
	int holder = LOCK(fd, EX, VALBLK, "r", "granted \"\"");

	CONVERT(self->other, waiter, PR, VALBLK, "nothing");
	CONVERT_VALUE(fd, holder, PR, VALBLK, "new", "granted");
	ASSERT_HEAR(self->other, waiter, NEW);
}

TEST_F(values, all_of_its_bytes)
{
	static const char full[] = "0123456789abcdef0123456789ABCDEF";
	int id = LOCK(self->fd, EX, VALBLK, "r", "granted \"\"");

	CONVERT_VALUE(self->fd, id, NL, VALBLK, full, "granted");
	ASSERT_VALUE(self->fd, "r", "granted \"0123456789abcdef0123456789ABCDEF\"");
}

/* Only grants carry a value. */
TEST_F(values, none_in_other_completions)
{
	int fd = self->fd;
	int first, second;

	VALUED(fd, "r");
	first = LOCK(fd, PR, VALBLK, "r", OLD);
	second = LOCK(fd, PR, VALBLK, "r", OLD);
	CONVERT(fd, first, EX, VALBLK | DLM_LKF_NOQUEUE, "EAGAIN");
	CONVERT(fd, first, EX, VALBLK, "nothing");
	CONVERT(fd, second, EX, VALBLK, "EDEADLK");
	CANCEL(fd, first);
	LOCK(fd, EX, VALBLK | DLM_LKF_NOQUEUE, "r", "EAGAIN");
	UNLOCK_VALUE(fd, second, VALBLK, "new");
}

/* Demoted to NL, it is given the value as from NL. */
TEST_F(values, after_demotion)
{
	int fd = self->fd;
	int first, second;

	VALUED(fd, "r");
	first = HOLD(fd, PR, 0, "r");
	second = LOCK(fd, PR, VALBLK, "r", OLD);
	CONVERT(fd, first, CW, 0, "nothing");
	ASSERT_EQ(0, submit(fd, with_value(convert_request(second, CW, VALBLK |
					   DLM_LKF_CONVDEADLK), "new")));
	ASSERT_HEAR(fd, first, "granted");
	ASSERT_HEAR(fd, second, "granted demoted \"old\"");
}

/* ---- Life and validity ------------------------------------------------------------------- */

TEST_F(values, freed_with_the_last_lock)
{
	int keeper = VALUED(self->fd, "r");

	ASSERT_VALUE(self->fd, "r", OLD);
	UNLOCK(self->fd, keeper);
	ASSERT_VALUE(self->fd, "r", "granted \"\"");
}

TEST_F(values, one_for_each_resource)
{
	VALUED(self->fd, "r");
	ASSERT_VALUE(self->fd, "s", "granted \"\"");
}

/* Invalid though nothing was ever written: not said where there is no value to return. */
TEST_F(values, invalid_without_a_value)
{
	int fd = self->fd;
	int id = HOLD(fd, EX, 0, "r");

	CONVERT(fd, id, PR, IVVALBLK, "granted");
	LOCK(fd, CR, VALBLK, "r", "granted \"\"");
	CONVERT(fd, id, NL, 0, "granted invalid");
}

TEST_F(values, valid_again_after_a_write)
{
	int fd = self->fd;
	int id = INVALIDATED(fd, "r");

	ASSERT_VALUE(fd, "r", INVALID_OLD);
	CONVERT_VALUE(fd, id, PW, 0, "", "granted \"\"");
	ASSERT_VALUE(fd, "r", INVALID_OLD);
	UNLOCK_VALUE(fd, LOCK(fd, NL, VALBLK, "r", INVALID_OLD), VALBLK, "new");
	ASSERT_VALUE(fd, "r", INVALID_OLD);
	CONVERT_VALUE(fd, id, CR, VALBLK, "new", "granted");
	ASSERT_VALUE(fd, "r", NEW);
}

TEST_F(values, valid_again_after_an_unlock_that_writes)
{
	int fd = self->fd;
	int id;

	INVALIDATED(fd, "r");
	id = LOCK(fd, PW, VALBLK, "r", INVALID_OLD);
	UNLOCK_VALUE(fd, id, VALBLK, "new");
	ASSERT_VALUE(fd, "r", NEW);
}

/* ---- Reading a value --------------------------------------------------------------------- */

/* A read that has no room for the value is refused, and loses nothing. */
TEST_F(values, too_small_a_read)
{
	char buffer[sizeof(struct record)];
	int id;

	SKIP_ON_REFERENCE("leaves out the value");
	VALUED(self->fd, "r");
	id = lock(self->fd, PR, VALBLK, "r");
	for (size_t size = sizeof(struct dlm_lock_result); size < sizeof(buffer); size++) {
		ASSERT_EQ(-1, read(self->fd, buffer, size)) TH_LOG("%zu bytes", size);
		ASSERT_EQ(EINVAL, errno);
	}
	ASSERT_HEAR(self->fd, id, OLD);
}

/* Without a value, the same read does. */
TEST_F(values, small_read_of_a_small_record)
{
	struct record record;
	int id;

	VALUED(self->fd, "r");
	id = lock(self->fd, PR, 0, "r");
	ASSERT_EQ((ssize_t)sizeof(record.result),
		  read(self->fd, &record, sizeof(record.result)));
	ASSERT_STREQ("granted", describe(&record, sizeof(record.result), id));
}

TEST_HARNESS_MAIN
