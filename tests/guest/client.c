// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "client.h"

const char *const mode_name[MODES] = { "NL", "CR", "CW", "PR", "PW", "EX" };

/* ---- Requests ---------------------------------------------------------------------------- */

static struct request new_request(int command)
{
	struct request r = { .size = REQUEST_SIZE };

	r.req.version[0] = DLM_DEVICE_VERSION_MAJOR;
	r.req.version[1] = DLM_DEVICE_VERSION_MINOR;
	r.req.version[2] = DLM_DEVICE_VERSION_PATCH;
	r.req.cmd = command;
	r.req.is64bit = sizeof(void *) == 8;
	return r;
}

struct request lock_request(int mode, uint32_t flags, const char *name)
{
	struct request r = new_request(DLM_USER_LOCK);

	r.req.i.lock.mode = mode;
	r.req.i.lock.flags = flags & ~WITH_BAST;
	r.req.i.lock.castaddr = CAST;
	r.req.i.lock.castparam = CASTPARAM;
	r.req.i.lock.bastaddr = flags & WITH_BAST ? BAST : NULL;
	r.req.i.lock.bastparam = BASTPARAM;
	r.req.i.lock.lksb = LKSB;
	r.req.i.lock.namelen = strlen(name);
	memcpy(r.req.i.lock.name, name, strlen(name));
	r.size += strlen(name);
	return r;
}

struct request convert_request(int id, int mode, uint32_t flags)
{
	struct request r = lock_request(mode, flags | DLM_LKF_CONVERT, "");

	r.req.i.lock.lkid = id;
	return r;
}

/* libdlm leaves the other fields of an unlock uninitialised: so do we. */
struct request unlock_request(int id, uint32_t flags)
{
	struct request r = new_request(DLM_USER_UNLOCK);

	memset(&r.req.i.lock, 0xee, sizeof(r.req.i.lock));
	r.req.i.lock.lkid = id;
	r.req.i.lock.flags = flags;
	r.req.i.lock.castparam = NULL;
	r.req.i.lock.lksb = LKSB;
	return r;
}

/* The same but for the command. */
struct request deadlock_request(int id, uint32_t flags)
{
	struct request r = unlock_request(id, flags);

	r.req.cmd = DLM_USER_DEADLOCK;
	return r;
}

struct request purge_request(int nodeid, int pid)
{
	struct request r = new_request(DLM_USER_PURGE);

	r.req.i.purge.nodeid = nodeid;
	r.req.i.purge.pid = pid;
	return r;
}

struct request lockspace_request(int command, const char *name, int minor, uint32_t flags)
{
	struct request r = new_request(command);

	r.req.i.lspace.flags = flags;
	r.req.i.lspace.minor = minor;
	strcpy(r.req.i.lspace.name, name);
	r.size += strlen(name);
	return r;
}

struct request with_value(struct request r, const char *value)
{
	memset(r.req.i.lock.lvb, 0, sizeof(r.req.i.lock.lvb));
	memcpy(r.req.i.lock.lvb, value, strlen(value));
	return r;
}

int submit(int fd, struct request r)
{
	int n = write(fd, r.bytes, r.size);

	return n < 0 ? -errno : n;
}

int lock(int fd, int mode, uint32_t flags, const char *name)
{
	return submit(fd, lock_request(mode, flags, name));
}

int convert(int fd, int id, int mode, uint32_t flags)
{
	return submit(fd, convert_request(id, mode, flags));
}

int unlock(int fd, int id, uint32_t flags)
{
	return submit(fd, unlock_request(id, flags));
}

int deadlock(int fd, int id, uint32_t flags)
{
	return submit(fd, deadlock_request(id, flags));
}

int adopt(int fd, int mode, uint32_t flags, const char *name)
{
	return lock(fd, mode, flags | DLM_LKF_ORPHAN, name);
}

int purge(int fd, int pid)
{
	return submit(fd, purge_request(0, pid));
}

int create_lockspace(int control, const char *name, uint32_t flags)
{
	return submit(control, lockspace_request(DLM_USER_CREATE_LOCKSPACE, name, 0, flags));
}

int remove_lockspace(int control, int minor, uint32_t flags)
{
	return submit(control, lockspace_request(DLM_USER_REMOVE_LOCKSPACE, "", minor, flags));
}

/* ---- Records ----------------------------------------------------------------------------- */

#define EINPROG	0x10003		/* libdlm's: the operation is still in progress */

int read_record(int fd, struct record *record)
{
	int n;

	memset(record, 0xff, sizeof(*record));
	n = read(fd, record, sizeof(*record));
	return n < 0 ? -errno : n;
}

static bool all_zero(const void *from, const void *to)
{
	for (const char *p = from; p < (const char *)to; p++)
		if (*p)
			return false;
	return true;
}

const char *fault(const struct record *record, int length, int id)
{
	const struct dlm_lock_result *r = &record->result;
	bool bast = r->bast_mode;

	if (r->length != (uint32_t)length)
		return "length is not what read() returned";
	if (r->version[0] != 6 || r->version[1] != 0 || r->version[2] != 2)
		return "strange version";
	if (!all_zero(&r->lksb.sb_flags + 1, &r->bast_mode) || !all_zero(r->unused, &r->lvb_offset))
		return "padding or sb_lvbptr not zero";
	if (r->lvb_offset ? r->lvb_offset != sizeof(*r) || length != sizeof(*record)
			  : length != sizeof(*r))
		return "lvb_offset and length do not match";
	if (r->lksb.sb_lkid != (uint32_t)id)
		return "not this lock's record";
	if (r->user_lksb != LKSB || r->user_astaddr != (bast ? BAST : CAST) ||
	    r->user_astparam != (bast ? BASTPARAM : CASTPARAM))
		return "not the user's pointers";
	if (bast && (r->lksb.sb_flags || r->lvb_offset || r->bast_mode >= MODES ||
		     (r->lksb.sb_status && r->lksb.sb_status != -EINPROG)))
		return "malformed blocking record";
	if (r->lksb.sb_flags & ~(DLM_SBF_DEMOTED | DLM_SBF_VALNOTVALID | DLM_SBF_ALTMODE))
		return "unknown sb_flags";
	return NULL;
}

static const char *status_name(int status)
{
	switch (status) {
	case 0:
		return "granted";
	case -DLM_ECANCEL:
		return "ECANCEL";
	case -DLM_EUNLOCK:
		return "EUNLOCK";
	case -EINPROG:
		return "EINPROG";
	}
	return strerrorname_np(-status) ?: "unknown status";
}

static const char *say(const char *format, ...)
{
	static __thread char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return text;
}

const char *describe(const struct record *record, int length, int id)
{
	const struct dlm_lock_result *r = &record->result;
	bool has_value = r->lvb_offset;

	if (length == -EAGAIN)
		return "nothing";
	if (length < 0)
		return say("read: %s", strerrorname_np(-length));
	if (fault(record, length, id))
		return fault(record, length, id);
	if (r->bast_mode) {
		return say("blocks %s%s", mode_name[r->bast_mode],
			   r->lksb.sb_status ? " while pending" : "");
	}
	return say("%s%s%s%s%s%.*s%s", status_name(r->lksb.sb_status),
		   r->lksb.sb_flags & DLM_SBF_DEMOTED ? " demoted" : "",
		   r->lksb.sb_flags & DLM_SBF_ALTMODE ? " altmode" : "",
		   r->lksb.sb_flags & DLM_SBF_VALNOTVALID ? " invalid" : "",
		   has_value ? " \"" : "", has_value ? DLM_USER_LVB_LEN : 0, record->value,
		   has_value ? "\"" : "");
}

static const char *hear_within(int fd, int id, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct record record;

	if (!poll(&p, 1, ms))
		return "nothing";
	return describe(&record, read_record(fd, &record), id);
}

const char *hear(int fd, int id)
{
	return hear_within(fd, id, 0);
}

const char *await(int fd, int id)
{
	return hear_within(fd, id, PATIENCE_MS);
}

int poll_now(int fd, int events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) < 0 ? -errno : p.revents;
}

/* ---- Lockspaces, the module, processes, the reference -------------------------------------------------- */

#define MAX_CHILDREN	64

static pid_t children[MAX_CHILDREN];
static int nr_children;

const char *prefix(void)
{
	return getenv("DLM_PREFIX") ?: "dlm";
}

const char *device(const char *rest)
{
	static _Thread_local char path[PATH_MAX];

	snprintf(path, sizeof(path), "/dev/%s%s", prefix(), rest);
	return path;
}

int open_control(void)
{
	return open(device("-control"), O_RDWR | O_CLOEXEC);
}

int open_lockspace(const char *name, int flags)
{
	char rest[sizeof("_") + DLM_LOCKSPACE_LEN];

	snprintf(rest, sizeof(rest), "_%s", name);
	return open(device(rest), O_RDWR | O_CLOEXEC | flags);
}

int lockspace_setup(struct lockspace *ls)
{
	snprintf(ls->name, sizeof(ls->name), "test%d", getpid());
	ls->control = open_control();
	if (ls->control < 0)
		return -errno;
	ls->minor = create_lockspace(ls->control, ls->name, DLM_LSFL_NEWEXCL);
	return ls->minor < 0 ? ls->minor : 0;
}

/*
 * fs/dlm does not remove a lockspace while a descriptor is open, so first close whatever the test
 * or a child of it may have left behind. Being gone already is fine.
 */
int lockspace_teardown(struct lockspace *ls)
{
	int error;

	while (nr_children) {
		kill(children[--nr_children], SIGKILL);
		waitpid(children[nr_children], NULL, 0);
	}
	close_range(3, ~0U, 0);
	ls->control = open_control();
	do
		error = remove_lockspace(ls->control, ls->minor, DLM_USER_LSFLG_FORCEFREE);
	while (!error);
	return error == -ENOENT ? 0 : error;
}

int load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;

	close(fd);
	return result;
}

int unload_module(void)
{
	return syscall(SYS_delete_module, DIFFERS("dlm_device", "dlm"), O_NONBLOCK) ? -errno : 0;
}

/* A child process is born: for whom it is, and for its parent. */
static pid_t bring_up(pid_t parent, pid_t child)
{
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		nr_children = 0;
	} else if (child > 0 && nr_children < MAX_CHILDREN) {
		children[nr_children++] = child;
	}
	return child;
}

pid_t spawn(void)
{
	pid_t parent = getpid();

	return bring_up(parent, fork());
}

pid_t spawn_as(pid_t id)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&id,
		.set_tid_size = 1,
	};
	pid_t parent = getpid();

	return bring_up(parent, syscall(SYS_clone3, &args, sizeof(args)));
}

int expect_child(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		return -1;
	for (int i = 0; i < nr_children; i++)
		if (children[i] == child)
			children[i] = children[--nr_children];
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	close(fd);
	return done;
}

const char *numbered(const char *what, int number)
{
	static char name[32];

	snprintf(name, sizeof(name), "%s%d", what, number);
	return name;
}

int64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t now_ms(void)
{
	return nanoseconds() / 1000000;
}

bool asleep(pid_t child)
{
	int64_t deadline = now_ms() + PATIENCE_MS;
	char path[32], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", child);
	while (state != 'S' && now_ms() < deadline) {
		FILE *f = fopen(path, "r");

		if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = 0;
		if (f)
			fclose(f);
		sched_yield();
	}
	return state == 'S';
}

bool reference(void)
{
	const char *value = getenv("DLM_REFERENCE");

	return value && *value && *value != '0';
}
