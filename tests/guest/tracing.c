// SPDX-License-Identifier: GPL-2.0
/*
 * What tracepoints tell, by tracefs, as fs/dlm's do: but for what becomes of a user's lock, which
 * those tell with the status where the flags belong, and the flags where the status does.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "dlm_test.h"
#include "extended.h"

#define TRACEFS		"/sys/kernel/tracing"

/*
 * A buffer of our own, and what is switched on is so only there. To know the names of processes, the
 * kernel would also trace its scheduler, and to that end patch code that all processors run: emulated
 * ones may go on with what is no longer there. The next call overwrites it.
 */
static const char *instance(const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), TRACEFS "/instances/test_%s/%s", prefix(), file);
	return path;
}

static const char *const events[] = {
	"dlm_lock_start", "dlm_lock_end", "dlm_unlock_start", "dlm_unlock_end", "dlm_ast", "dlm_bast",
};

/* With devices of other names there may be fs/dlm, whose events have its own. */
static const char *system_name(void)
{
	return strcmp(prefix(), "dlm") ? "dlm_device" : "dlm";
}

static const char *event_file(const char *event, const char *file)
{
	char path[200];

	snprintf(path, sizeof(path), "events/%s/%s/%s", system_name(), event, file);
	return instance(path);
}

static void switch_all(const char *on)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		put(event_file(events[i], "enable"), on);
}

FIXTURE(tracing) { struct lockspace ls; int fd, other, locks; uint32_t ids[26]; };

FIXTURE_SETUP(tracing)
{
	if (access(TRACEFS "/instances", F_OK))
		SKIP(return, "this kernel does not trace");
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	self->other = open_lockspace(self->ls.name, O_NONBLOCK);
	ASSERT_GE(self->fd, 0);
	ASSERT_GE(self->other, 0);
	ASSERT_TRUE(put(TRACEFS "/options/record-cmd", "0"));
	rmdir(instance(""));
	ASSERT_EQ(0, mkdir(instance(""), 0700));
	switch_all("1");
}

FIXTURE_TEARDOWN(tracing)
{
	switch_all("0");
	EXPECT_EQ(0, rmdir(instance("")));
	EXPECT_EQ(0, lockspace_teardown(&self->ls));
}

/* ---- What is told ------------------------------------------------------------------------------ */

/* All of a file of the kernel's. The next call overwrites it. */
static const char *content(const char *path)
{
	static char text[1 << 16];
	size_t length = 0;
	FILE *f = fopen(path, "re");

	if (f) {
		length = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[length] = 0;
	return text;
}

static void forget(void)
{
	close(open(instance("trace"), O_WRONLY | O_TRUNC | O_CLOEXEC));
}

/* The first lock that is told of is a, the next b. */
static char letter_of(FIXTURE_DATA(tracing) *self, uint32_t id)
{
	int i = 0;

	while (i < self->locks && self->ids[i] != id)
		i++;
	if (i == self->locks && i < 26)
		self->ids[self->locks++] = id;
	return 'a' + i;
}

/*
 * What was told since the last time, a line each. A line ends as it does in the trace, but begins
 * like "lock_start a" instead of "dlm_lock_start: ls_id=10 lkb_id=4711"; of another lockspace it is
 * left as it is.
 */
static const char *trace(FIXTURE_DATA(tracing) *self)
{
	static char words[1 << 16];
	char *to = words, *end = words + sizeof(words);
	const char *line = content(instance("trace"));

	*words = 0;
	for (; *line; line = strchr(line, '\n') + 1) {
		const char *event = strstr(line, ": dlm_");
		unsigned lockspace, id;
		char name[20];
		int at = 0, length;

		if (*line == '#' || !event)
			continue;
		sscanf(event, ": dlm_%19[a-z_]: ls_id=%u lkb_id=%x%n", name, &lockspace, &id, &at);
		if (at && (reference() || lockspace == (unsigned)self->ls.minor))
			to += snprintf(to, end - to, "%s %c", name, letter_of(self, id));
		else
			at = 0;
		length = strcspn(event + at, "\n") + 1;
		to += snprintf(to, end - to, "%.*s", length, event + at);
	}
	forget();
	return words;
}

static const char *formatted(const char *format, ...)
{
	static char text[1 << 12];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return text;
}

#define ASSERT_TRACE(...)	ASSERT_STREQ(formatted(__VA_ARGS__), trace(self))

/* What fs/dlm makes of a status as flags, one byte of it. */
#define GRANTED		"sb_flags= sb_status=0"
#define UNLOCKED	DIFFERS("sb_flags= sb_status=-65538", "sb_flags=VALNOTVALID|ALTMODE|0xf8 sb_status=0")
#define CANCELLED	DIFFERS("sb_flags= sb_status=-65537", "sb_flags=DEMOTED|VALNOTVALID|ALTMODE|0xf8 sb_status=0")
#define REFUSED		DIFFERS("sb_flags= sb_status=-11", "sb_flags=DEMOTED|ALTMODE|0xf0 sb_status=0")
#define DEADLOCKED	DIFFERS("sb_flags= sb_status=-35", "sb_flags=DEMOTED|ALTMODE|0xd8 sb_status=0")

/* ---- Formats ----------------------------------------------------------------------------------- */

#define FIELD(type, name, offset, size, is_signed) \
	"\tfield:" type " " name ";\toffset:" #offset ";\tsize:" #size ";\tsigned:" #is_signed ";\n"
#define OF_LOCK		FIELD("__u32", "ls_id", 8, 4, 0) FIELD("__u32", "lkb_id", 12, 4, 0)
#define OF_NAME(offset)	FIELD("__data_loc unsigned char[]", "res_name", offset, 4, 0)

#define IN_MODE		"__print_symbolic(REC->mode, { (-1), \"IV\"}, { 0, \"NL\"}, { 1, \"CR\"}, " \
			"{ 2, \"CW\"}, { 3, \"PR\"}, { 4, \"PW\"}, { 5, \"EX\"})"
#define IN_FLAGS	"__print_flags(REC->flags, \"|\", { 0x00000001, \"NOQUEUE\" }, " \
			"{ 0x00000002, \"CANCEL\" }, { 0x00000004, \"CONVERT\" }, " \
			"{ 0x00000008, \"VALBLK\" }, { 0x00000010, \"QUECVT\" }, " \
			"{ 0x00000020, \"IVVALBLK\" }, { 0x00000040, \"CONVDEADLK\" }, " \
			"{ 0x00000080, \"PERSISTENT\" }, { 0x00000100, \"NODLCKWT\" }, " \
			"{ 0x00000200, \"NODLCKBLK\" }, { 0x00000400, \"EXPEDITE\" }, " \
			"{ 0x00000800, \"NOQUEUEBAST\" }, { 0x00001000, \"HEADQUE\" }, " \
			"{ 0x00002000, \"NOORDER\" }, { 0x00004000, \"ORPHAN\" }, " \
			"{ 0x00008000, \"ALTPR\" }, { 0x00010000, \"ALTCW\" }, " \
			"{ 0x00020000, \"FORCEUNLOCK\" }, { 0x00040000, \"TIMEOUT\" })"
#define IN_SB_FLAGS	"__print_flags(REC->sb_flags, \"|\", { 0x01, \"DEMOTED\" }, " \
			"{ 0x02, \"VALNOTVALID\" }, { 0x04, \"ALTMODE\" })"
#define IN_NAME		"__print_hex_str(__get_dynamic_array(res_name), __get_dynamic_array_len(res_name))"
#define PRINT(text, ...) \
	"\nprint fmt: \"ls_id=%u lkb_id=%x " text "\", REC->ls_id, REC->lkb_id, " __VA_ARGS__ "\n"

static const char *const formats[] = {
	/* dlm_lock_start */
	OF_LOCK FIELD("int", "mode", 16, 4, 1) FIELD("__u32", "flags", 20, 4, 0) OF_NAME(24)
	PRINT("mode=%s flags=%s res_name=%s", IN_MODE ", " IN_FLAGS ", " IN_NAME),
	/* dlm_lock_end */
	OF_LOCK FIELD("int", "mode", 16, 4, 1) FIELD("__u32", "flags", 20, 4, 0)
	FIELD("int", "error", 24, 4, 1) OF_NAME(28)
	PRINT("mode=%s flags=%s error=%d res_name=%s",
	      IN_MODE ", " IN_FLAGS ", REC->error, " IN_NAME),
	/* dlm_unlock_start */
	OF_LOCK FIELD("__u32", "flags", 16, 4, 0) OF_NAME(20)
	PRINT("flags=%s res_name=%s", IN_FLAGS ", " IN_NAME),
	/* dlm_unlock_end */
	OF_LOCK FIELD("__u32", "flags", 16, 4, 0) FIELD("int", "error", 20, 4, 1) OF_NAME(24)
	PRINT("flags=%s error=%d res_name=%s", IN_FLAGS ", REC->error, " IN_NAME),
	/* dlm_ast */
	OF_LOCK FIELD("__u8", "sb_flags", 16, 1, 0) FIELD("int", "sb_status", 20, 4, 1) OF_NAME(24)
	PRINT("sb_flags=%s sb_status=%d res_name=%s",
	      IN_SB_FLAGS ", REC->sb_status, " IN_NAME),
	/* dlm_bast */
	OF_LOCK FIELD("int", "mode", 16, 4, 1) OF_NAME(20)
	PRINT("mode=%s res_name=%s", IN_MODE ", " IN_NAME),
};

/* Behind what the fields of all events are. */
TEST_F(tracing, formats)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		const char *format = content(event_file(events[i], "format"));
		const char *fields = strstr(format, "\n\n");

		ASSERT_NE(NULL, fields) TH_LOG("no format of %s", events[i]);
		ASSERT_STREQ(formats[i], fields + 2);
	}
}

/* ---- Operations and records ---------------------------------------------------------------------- */

TEST_F(tracing, lock_and_unlock)
{
	int id = lock(self->fd, EX, 0, "disk");

	ASSERT_TRACE("lock_start a mode=EX flags= res_name=6469736b\n"
		     "lock_end a mode=EX flags= error=0 res_name=6469736b\n");
	ASSERT_EQ((uint32_t)id, self->ids[0]);
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_TRACE("ast a %s res_name=6469736b\n", GRANTED);
	ASSERT_EQ(0, unlock(self->fd, id, 0));
	ASSERT_TRACE("unlock_start a flags= res_name=6469736b\n"
		     "unlock_end a flags= error=0 res_name=6469736b\n");
	ASSERT_HEAR(self->fd, id, "EUNLOCK");
	ASSERT_TRACE("ast a %s res_name=6469736b\n", UNLOCKED);
	ASSERT_HEAR(self->fd, id, "nothing");
	ASSERT_TRACE("");
}

/* The lockspace's number here is that of its device, which is in the names of no file. */
TEST_F(tracing, lockspaces)
{
	int second, fd, id;
	char expected[100];

	SKIP_ON_REFERENCE("has numbers that the cluster's daemon gives");
	second = create_lockspace(self->ls.control, "second", DLM_LSFL_NEWEXCL);
	ASSERT_GT(second, 0);
	fd = open_lockspace("second", O_NONBLOCK);
	id = lock(fd, EX, 0, "r");
	snprintf(expected, sizeof(expected),
		 ": dlm_lock_start: ls_id=%d lkb_id=%x mode=EX flags= res_name=72\n", second, id);
	ASSERT_EQ(0, strncmp(expected, trace(self), strlen(expected)));
	ASSERT_HEAR(fd, id, "granted");
	snprintf(expected, sizeof(expected),
		 ": dlm_ast: ls_id=%d lkb_id=%x sb_flags= sb_status=0 res_name=72\n", second, id);
	ASSERT_STREQ(expected, trace(self));
	close(fd);
	ASSERT_EQ(0, remove_lockspace(self->ls.control, second, 0));
}

TEST_F(tracing, conversions)
{
	int id = HOLD(self->fd, NL, 0, "r");

	HOLD(self->other, CR, 0, "r");
	trace(self);
	CONVERT(self->fd, id, PW, DLM_LKF_HEADQUE, "granted");
	ASSERT_TRACE("lock_start a mode=PW flags=CONVERT|HEADQUE res_name=72\n"
		     "lock_end a mode=PW flags=CONVERT|HEADQUE error=0 res_name=72\n"
		     "ast a %s res_name=72\n", GRANTED);
	CONVERT(self->fd, id, EX, DLM_LKF_NOQUEUE, "EAGAIN");
	ASSERT_TRACE("lock_start a mode=EX flags=NOQUEUE|CONVERT res_name=72\n"
		     "lock_end a mode=EX flags=NOQUEUE|CONVERT error=0 res_name=72\n"
		     "ast a %s res_name=72\n", REFUSED);
}

TEST_F(tracing, a_refused_request)
{
	HOLD(self->other, EX, 0, "r");
	trace(self);
	LOCK(self->fd, PR, DLM_LKF_NOQUEUE, "r", "EAGAIN");
	ASSERT_TRACE("lock_start b mode=PR flags=NOQUEUE res_name=72\n"
		     "lock_end b mode=PR flags=NOQUEUE error=0 res_name=72\n"
		     "ast b %s res_name=72\n", REFUSED);
}

TEST_F(tracing, waiting_and_blocking)
{
	int holder = HOLD(self->fd, EX, WITH_BAST, "r"), waiter;

	trace(self);
	waiter = lock(self->other, PR, 0, "r");
	ASSERT_TRACE("lock_start b mode=PR flags= res_name=72\n"
		     "lock_end b mode=PR flags= error=0 res_name=72\n");
	ASSERT_HEAR(self->fd, holder, "blocks PR");
	ASSERT_TRACE("bast a mode=PR res_name=72\n");
	ASSERT_EQ(0, convert(self->fd, holder, NL, 0));
	ASSERT_TRACE("lock_start a mode=NL flags=CONVERT res_name=72\n"
		     "lock_end a mode=NL flags=CONVERT error=0 res_name=72\n");
	ASSERT_HEAR(self->other, waiter, "granted");
	ASSERT_HEAR(self->fd, holder, "granted");
	ASSERT_TRACE("ast b %s res_name=72\nast a %s res_name=72\n", GRANTED, GRANTED);
	close(self->fd);
	close(self->other);
	ASSERT_TRACE("");
}

TEST_F(tracing, who_is_gone_is_told_nothing)
{
	int waiter;

	HOLD(self->fd, EX, WITH_BAST, "r");
	waiter = WAIT(self->other, PR, 0, "r");
	trace(self);
	close(self->fd);
	ASSERT_TRACE("");
	ASSERT_HEAR(self->other, waiter, "granted");
	ASSERT_TRACE("ast b %s res_name=72\n", GRANTED);
}

TEST_F(tracing, cancels)
{
	int waiter;

	HOLD(self->other, EX, 0, "r");
	for (int i = 0; i < 2; i++) {
		waiter = WAIT(self->fd, PR, 0, "r");
		trace(self);
		if (i) {
			ASSERT_EQ(0, deadlock(self->fd, waiter, 0));
			ASSERT_HEAR(self->fd, waiter, "EDEADLK");
			ASSERT_TRACE("unlock_start %1$c flags= res_name=72\n"
				     "unlock_end %1$c flags= error=0 res_name=72\n"
				     "ast %1$c %2$s res_name=72\n", letter_of(self, waiter), DEADLOCKED);
		} else {
			CANCEL(self->fd, waiter);
			ASSERT_TRACE("unlock_start b flags=CANCEL res_name=72\n"
				     "unlock_end b flags=CANCEL error=0 res_name=72\n"
				     "ast b %s res_name=72\n", CANCELLED);
		}
	}
}

TEST_F(tracing, errors)
{
	int id = HOLD(self->fd, PR, 0, "r"), waiter;

	HOLD(self->other, PR, 0, "r");
	trace(self);
	ASSERT_EQ(-EINVAL, lock(self->fd, EX, DLM_LKF_QUECVT, "s"));
	ASSERT_TRACE("lock_start c mode=EX flags=QUECVT res_name=73\n"
		     "lock_end c mode=EX flags=QUECVT error=-22 res_name=73\n");
	ASSERT_EQ(-EINVAL, convert(self->fd, id, EX, DLM_LKF_EXPEDITE));
	ASSERT_TRACE("lock_start a mode=EX flags=CONVERT|EXPEDITE res_name=72\n"
		     "lock_end a mode=EX flags=CONVERT|EXPEDITE error=-22 res_name=72\n");
	ASSERT_EQ(-EINVAL, convert(self->fd, id, 9, 0));
	ASSERT_TRACE("lock_start a mode=%1$s flags=CONVERT res_name=72\n"
		     "lock_end a mode=%1$s flags=CONVERT error=-22 res_name=72\n", DIFFERS("IV", "0x9"));
	ASSERT_EQ(-EINVAL, unlock(self->fd, id, DLM_LKF_NOQUEUE));
	ASSERT_TRACE("unlock_start a flags=NOQUEUE res_name=72\n"
		     "unlock_end a flags=NOQUEUE error=-22 res_name=72\n");
	waiter = WAIT(self->fd, EX, 0, "r");
	letter_of(self, waiter);
	trace(self);
	ASSERT_EQ(-EBUSY, convert(self->fd, waiter, NL, 0));
	ASSERT_TRACE("lock_start %1$c mode=NL flags=CONVERT res_name=72\n"
		     "lock_end %1$c mode=NL flags=CONVERT error=-16 res_name=72\n",
		     letter_of(self, waiter));
}

/* Without a lock there is nothing to tell of. */
TEST_F(tracing, nothing)
{
	int id = HOLD(self->fd, EX, 0, "r");

	UNLOCK(self->fd, id);
	trace(self);
	ASSERT_EQ(-ENOENT, convert(self->fd, id, EX, 0));
	ASSERT_EQ(-ENOENT, unlock(self->fd, id, 0));
	ASSERT_EQ(-ENOENT, unlock(self->fd, id, DLM_LKF_CANCEL));
	ASSERT_EQ(-ENOENT, deadlock(self->fd, id, 0));
	ASSERT_EQ(-ENOENT, adopt(self->fd, EX, 0, "r"));
	ASSERT_EQ(0, purge(self->fd, 0));
	ASSERT_TRACE("");
}

TEST_F(tracing, modes_that_there_are_not)
{
	ASSERT_EQ(-EINVAL, lock(self->fd, 9, 0, "r"));
	ASSERT_TRACE("%s", DIFFERS("", "lock_start a mode=0x9 flags= res_name=72\n"
				   "lock_end a mode=0x9 flags= error=-22 res_name=72\n"));
}

TEST_F(tracing, names)
{
	char longest[DLM_RESNAME_MAXLEN + 1] = "";
	struct request r;
	int id;

	id = lock(self->fd, EX, 0, "");
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_TRACE("lock_start a mode=EX flags= res_name=\n"
		     "lock_end a mode=EX flags= error=0 res_name=\n"
		     "ast a %s res_name=\n", GRANTED);
	memset(longest, '\xff', sizeof(longest) - 1);
	id = lock(self->fd, EX, 0, longest);
	ASSERT_HEAR(self->fd, id, "granted");
	for (int i = 0; i < DLM_RESNAME_MAXLEN / 2; i++)
		memcpy(longest + 2 * i, "ff", 2);
	ASSERT_TRACE("lock_start b mode=EX flags= res_name=%1$s%1$s\n"
		     "lock_end b mode=EX flags= error=0 res_name=%1$s%1$s\n"
		     "ast b %2$s res_name=%1$s%1$s\n", longest, GRANTED);
	/* Zeros at its end do not count. */
	r = lock_request(EX, 0, "r12");
	memcpy(r.req.i.lock.name, "r\0\0", 3);
	id = submit(self->fd, r);
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_TRACE("lock_start c mode=EX flags= res_name=72%1$s\n"
		     "lock_end c mode=EX flags= error=0 res_name=72%1$s\n"
		     "ast c %2$s res_name=72%1$s\n", DIFFERS("", "0000"), GRANTED);
}

TEST_F(tracing, flags_of_completions)
{
	HOLD(self->other, PR, 0, "r");
	trace(self);
	LOCK(self->fd, EX, DLM_LKF_ALTPR, "r", "granted altmode");
	ASSERT_TRACE("lock_start b mode=EX flags=ALTPR res_name=72\n"
		     "lock_end b mode=EX flags=ALTPR error=0 res_name=72\n"
		     "ast b %s res_name=72\n",
		     DIFFERS("sb_flags=ALTMODE sb_status=0", "sb_flags= sb_status=4"));
}

/* ---- Where it is not that simple --------------------------------------------------------------------- */

/* It is shown before it is copied. If that fails it stays, and is shown again, without a name then. */
TEST_F(tracing, unreadable_records)
{
	void *hole = mmap(NULL, sizeof(struct record), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int id = lock(self->fd, EX, 0, "r");

	trace(self);
	ASSERT_EQ(-1, read(self->fd, hole, sizeof(struct record)));
	ASSERT_TRACE("ast a %s res_name=72\n", GRANTED);
	SKIP_ON_REFERENCE("loses the record");
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_TRACE("ast a %s res_name=\n", GRANTED);
}

/* Nobody has read anything if there is no room for it. */
TEST_F(tracing, too_small_a_read)
{
	char room[sizeof(struct dlm_lock_result)];
	int id = lock(self->fd, EX, DLM_LKF_VALBLK, "r");

	SKIP_ON_REFERENCE("loses the value block");
	trace(self);
	ASSERT_EQ(-1, read(self->fd, room, sizeof(room)));
	ASSERT_TRACE("");
	ASSERT_HEAR(self->fd, id, "granted \"\"");
	ASSERT_TRACE("ast a sb_flags= sb_status=0 res_name=72\n");
}

/* Who was asleep before is traced, too. */
TEST_F(tracing, sleepers)
{
	int holder = HOLD(self->other, EX, 0, "r"), fd = open_lockspace(self->ls.name, 0);
	pid_t child;

	switch_all("0");
	child = spawn();
	if (!child) {
		struct record record;
		int id = lock(fd, PR, 0, "r");

		_exit(strcmp("granted", describe(&record, read_record(fd, &record), id)) ? 1 : 0);
	}
	ASSERT_TRUE(asleep(child));
	switch_all("1");
	trace(self);
	ASSERT_EQ(0, unlock(self->other, holder, 0));
	ASSERT_EQ(0, expect_child(child));
	ASSERT_TRACE("unlock_start a flags= res_name=72\n"
		     "unlock_end a flags= error=0 res_name=72\n"
		     "ast b %s res_name=72\n", GRANTED);
}

/* What the write returns is told by no record. */
TEST_F(tracing, returned)
{
	int id;

	SKIP_ON_REFERENCE("knows only version 6.0");
	id = submit(self->fd, returning(lock_request(EX, 0, "r")));
	ASSERT_TRACE("lock_start a mode=EX flags= res_name=72\n"
		     "lock_end a mode=EX flags= error=0 res_name=72\n"
		     "ast a sb_flags= sb_status=0 res_name=72\n");
	ASSERT_EQ(-EAGAIN, submit(self->other, returning(lock_request(EX, DLM_LKF_NOQUEUE, "r"))));
	ASSERT_TRACE("lock_start b mode=EX flags=NOQUEUE res_name=72\n"
		     "lock_end b mode=EX flags=NOQUEUE error=-11 res_name=72\n");
	ASSERT_EQ(0, submit(self->fd, returning(convert_request(id, PR, 0))));
	ASSERT_TRACE("lock_start a mode=PR flags=CONVERT res_name=72\n"
		     "lock_end a mode=PR flags=CONVERT error=0 res_name=72\n"
		     "ast a sb_flags= sb_status=0 res_name=72\n");
	ASSERT_EQ(0, submit(self->fd, returning(unlock_request(id, 0))));
	ASSERT_TRACE("unlock_start a flags= res_name=72\n"
		     "unlock_end a flags= error=0 res_name=72\n"
		     "ast a sb_flags= sb_status=-65538 res_name=72\n");
	ASSERT_HEAR(self->fd, id, "nothing");
}

/* Several requests and records in a call, and an acknowledgement, which no event is about. */
TEST_F(tracing, series)
{
	static struct series series;
	char records[10 * sizeof(struct dlm_lock_result)];

	SKIP_ON_REFERENCE("knows only version 6.0");
	add(&series, lock_request(EX, WITH_BAST, "r"));
	add(&series, lock_request(PR, 0, "r"));
	ASSERT_EQ(2, write(self->fd, series.bytes, series.size));
	ASSERT_TRACE("lock_start a mode=EX flags= res_name=72\n"
		     "lock_end a mode=EX flags= error=0 res_name=72\n"
		     "lock_start b mode=PR flags= res_name=72\n"
		     "lock_end b mode=PR flags= error=0 res_name=72\n");
	ASSERT_EQ(3 * (int)sizeof(struct dlm_lock_result), read(self->fd, records, sizeof(records)));
	ASSERT_TRACE("ast a %s res_name=72\nbast a mode=PR res_name=72\n", GRANTED);
}

/*
 * A name is kept with the record, as the lock may be gone when that is read. What was there before
 * anybody traced is told without, and not with one that was kept before for another.
 */
TEST_F(tracing, switched_on_in_between)
{
	int id = lock(self->fd, EX, 0, "r");

	switch_all("0");
	ASSERT_HEAR(self->fd, id, "granted");
	UNLOCK(self->fd, id);
	id = lock(self->fd, EX, 0, "s");
	switch_all("1");
	trace(self);
	ASSERT_HEAR(self->fd, id, "granted");
	ASSERT_TRACE("ast %c %s res_name=%s\n", letter_of(self, id), GRANTED, DIFFERS("", "73"));
	UNLOCK(self->fd, id);
	ASSERT_TRACE("unlock_start %1$c flags= res_name=73\n"
		     "unlock_end %1$c flags= error=0 res_name=73\n"
		     "ast %1$c %2$s res_name=73\n", letter_of(self, id), UNLOCKED);
}

TEST_F(tracing, names_go_with_records_that_nobody_reads)
{
	for (int i = 0; i < 1000; i++)
		ASSERT_GT(lock(self->fd, EX, 0, numbered("r", i)), 0);
	for (int i = 0; i < 1000; i++)
		ASSERT_GT(lock(self->other, EX, 0, numbered("s", i)), 0);
	ASSERT_EQ(0, purge(self->other, gettid()));
	close(self->fd);
	self->fd = open_lockspace(self->ls.name, O_NONBLOCK);
	UNLOCK(self->fd, HOLD(self->fd, EX, 0, "r0"));
}

enum { PROCESSES = 2, SWITCHES = 40 };

static struct shared {
	atomic_bool stop;
	atomic_long rounds[PROCESSES];
} *shared;

static void lock_and_unlock(const char *lockspace, atomic_long *rounds)
{
	int fd = open_lockspace(lockspace, O_NONBLOCK);

	for (; !shared->stop; ++*rounds) {
		int id = lock(fd, PR, 0, "r");

		if (strcmp("granted", hear(fd, id)) || unlock(fd, id, 0) ||
		    strcmp("EUNLOCK", hear(fd, id)) || strcmp("nothing", hear(fd, id)))
			_exit(1);
	}
	_exit(0);
}

/* Until each has gone round, from beginning to end. */
static bool await_rounds(void)
{
	int64_t start = nanoseconds();

	for (int i = 0; i < PROCESSES; i++) {
		long wanted = shared->rounds[i] + 2;

		while (shared->rounds[i] < wanted) {
			if (nanoseconds() - start > PATIENCE_MS * 1000000ll)
				return false;
			sched_yield();
		}
	}
	return true;
}

/*
 * Both processes hear of each of their operations, whatever is traced. All are on one processor, because
 * of the emulated ones again.
 */
TEST_F_TIMEOUT(tracing, on_and_off, 180)
{
	pid_t children[PROCESSES];
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = spawn();
		if (!children[i])
			lock_and_unlock(self->ls.name, &shared->rounds[i]);
	}
	for (int i = 0; i < SWITCHES; i++) {
		switch_all(i % 2 ? "1" : "0");
		ASSERT_TRUE(await_rounds());
	}
	forget();
	ASSERT_TRUE(await_rounds());
	shared->stop = true;
	for (int i = 0; i < PROCESSES; i++)
		ASSERT_EQ(0, expect_child(children[i]));
	for (size_t i = 0; i < ARRAY_SIZE(events) - 1; i++) {
		EXPECT_NE(NULL, strstr(content(instance("trace")), events[i])) TH_LOG("no %s", events[i]);
	}
	forget();
}

TEST_HARNESS_MAIN
