/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The bare interface, for tests: requests, records in words, lockspaces, processes.
 *
 * A write() does all the work of its operation. After it the records it caused are there, or they
 * will never come: hear() does not wait. await() is for what another process has yet to do, and
 * gives up after ten seconds.
 *
 * The devices' names begin with DLM_PREFIX in the environment, or else dlm.
 *
 * With DLM_REFERENCE=1 in the environment the tests run against fs/dlm, which is what they
 * were checked with. Where this module differs on purpose they ask reference().
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <fcntl.h>
#include <linux/dlm_device.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { NL, CR, CW, PR, PW, EX, MODES };
extern const char *const mode_name[MODES];

#define PATIENCE_MS	10000

/* ---- Requests ---------------------------------------------------------------------------- */

/* These user pointers stand in every request that is not given others. They are only tokens. */
#define CAST		((void *)0xca57000)
#define CASTPARAM	((void *)0xca57001)
#define BAST		((void *)0xba57000)
#define BASTPARAM	((void *)0xba57001)
#define LKSB		((void *)0x1c5b000)

/* Not sent: makes a request carry BAST. Without it, no blocking notification is asked for. */
#define WITH_BAST	0x40000000

/* Without a name. fs/dlm takes a 32-bit request for four bytes longer than i386 makes it. */
#define REQUEST_SIZE \
	(sizeof(struct dlm_write_request) + (reference() && sizeof(void *) == 4 ? 4 : 0))

/* What write() takes at most, whoever writes: a 64-bit program's request with the longest name. */
#define REQUEST_MAX	(120 + DLM_RESNAME_MAXLEN)

struct request {
	size_t size;
	union {
		struct dlm_write_request req;
		char bytes[REQUEST_MAX];
	};
};

struct request lock_request(int mode, uint32_t flags, const char *name);
struct request convert_request(int id, int mode, uint32_t flags);
struct request unlock_request(int id, uint32_t flags);
struct request deadlock_request(int id, uint32_t flags);
struct request purge_request(int nodeid, int pid);
struct request lockspace_request(int command, const char *name, int minor, uint32_t flags);
struct request with_value(struct request request, const char *value);

/* All of these return what write() does, or a negative errno. */
int submit(int fd, struct request request);
int lock(int fd, int mode, uint32_t flags, const char *name);
int convert(int fd, int id, int mode, uint32_t flags);
int unlock(int fd, int id, uint32_t flags);
int deadlock(int fd, int id, uint32_t flags);
int adopt(int fd, int mode, uint32_t flags, const char *name);
int purge(int fd, int pid);
int create_lockspace(int control, const char *name, uint32_t flags);
int remove_lockspace(int control, int minor, uint32_t flags);

/* ---- Records ----------------------------------------------------------------------------- */

struct record {
	struct dlm_lock_result result;
	char value[DLM_USER_LVB_LEN];
};

/* What read() says, or a negative errno. What it leaves alone in the record stays 0xff. */
int read_record(int fd, struct record *record);

/* The first rule this record breaks of those that hold for every record, or NULL. */
const char *fault(const struct record *record, int length, int id);

/*
 * A record in words: "granted", "granted demoted", "granted \"value\"", "EAGAIN", "EINPROG",
 * "blocks PR", "blocks PR while pending", ... A record that is not the given lock's, or breaks a
 * rule that every record must keep, says that instead.
 */
const char *describe(const struct record *record, int length, int id);

/* The next record in words; "nothing" if there is none. */
const char *hear(int fd, int id);
const char *await(int fd, int id);

/* What poll() says at once. */
int poll_now(int fd, int events);

/* ---- Lockspaces, the module, processes, the reference -------------------------------------------------- */

struct lockspace {
	int control, minor;
	char name[32];
};

/* "/dev/PREFIXrest" */
const char *device(const char *rest);
const char *prefix(void);
int lockspace_setup(struct lockspace *ls);
int lockspace_teardown(struct lockspace *ls);
int open_control(void);
int open_lockspace(const char *name, int flags);

/* The module, from its file; unloading fails with EWOULDBLOCK while it is in use. */
int load_module(const char *path);
int unload_module(void);

/*
 * A child process. It must end with _exit() and must not use the harness; expect_child() waits
 * for it and returns its exit status, or -1 for a signal.
 */
pid_t spawn(void);
/* The same, of this id, which nobody may have; or -1. */
pid_t spawn_as(pid_t id);
int expect_child(pid_t child);
/* Wait until the child sleeps in a system call. */
bool asleep(pid_t child);

/* "what7"; the next call overwrites it. */
const char *numbered(const char *what, int number);

/* On the clock that only goes forward. */
int64_t nanoseconds(void);

/* Write into a file of the kernel's; whether that went well. */
bool put(const char *path, const char *text);

bool reference(void);
#define DIFFERS(ours, theirs)	(reference() ? (theirs) : (ours))

#endif
