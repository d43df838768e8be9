// SPDX-License-Identifier: GPL-2.0
/*
 * demo - the main job, watched: a lockspace made through libdlm, and three
 * processes that lock one resource in it.
 *
 * The director (the first process) tells the players what to do, one thing at
 * a time, and hears of everything that happens to them: what each call returned
 * and every callback libdlm delivered, with the content of the lock status block
 * and the time. What is printed is what was heard; what is required is checked
 * on the same data, and the first thing missing, wrong or out of order ends the
 * demo with status 1.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libdlm.h>

#define SPACE "demo"
#define RESOURCE "book"
#define NODE "/dev/misc/dlm_" SPACE

enum { PATIENCE_MS = 20000, QUIET_MS = 300 };

enum kind { RETURNED, COMPLETED, BLOCKING };

/* What a player reports: one thing that happened to it, and when. */
struct event {
	enum kind kind;
	int value; /* RETURNED: 0 or errno; COMPLETED: the status */
	unsigned int lkid;
	bool stale; /* the value block is marked not valid */
	char text[DLM_LVB_LEN];
	int64_t ns;
};

/* What a player is told to do with its one lock. */
struct order {
	bool unlock;
	int mode;
	unsigned int flags;
	char text[DLM_LVB_LEN];
};

struct player {
	const char *name;
	pid_t pid;
	int orders, events;
};

static int64_t began;

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/*
 * ---- a player: a program that does as told, through libdlm. Orders come in on
 * its standard input, reports go out on its standard output. ----
 */

static struct dlm_lksb lksb;
static char lvb[DLM_LVB_LEN];

static void report(enum kind kind, int value)
{
	struct event e = { .kind = kind, .value = value, .lkid = lksb.sb_lkid, .ns = now() };

	e.stale = lksb.sb_flags & DLM_SBF_VALNOTVALID;
	memcpy(e.text, lvb, sizeof(lvb));
	if (write(STDOUT_FILENO, &e, sizeof(e)) != sizeof(e))
		err(1, "report");
}

static void completion(void *unused)
{
	(void)unused;
	report(COMPLETED, lksb.sb_status);
}

static void blocking(void *unused)
{
	(void)unused;
	report(BLOCKING, 0);
}

static void obey(dlm_lshandle_t space, const struct order *o)
{
	int rc;

	if (o->flags & LKF_VALBLK)
		memcpy(lvb, o->text, sizeof(lvb));
	if (o->unlock)
		rc = dlm_ls_unlock(space, lksb.sb_lkid, o->flags, &lksb, NULL);
	else
		rc = dlm_ls_lock(space, o->mode, &lksb, o->flags, RESOURCE, strlen(RESOURCE), 0, completion,
				 NULL, blocking, NULL);
	report(RETURNED, rc ? errno : 0);
}

static int play(void)
{
	struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };
	dlm_lshandle_t space;
	struct order o;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	lksb.sb_lvbptr = lvb;
	space = dlm_open_lockspace(SPACE);
	if (!space)
		err(1, "dlm_open_lockspace");
	fds[1].fd = dlm_ls_get_fd(space);

	while (poll(fds, 2, -1) > 0) {
		if (fds[1].revents && dlm_dispatch(fds[1].fd))
			err(1, "dlm_dispatch");
		if (fds[0].revents) {
			if (read(STDIN_FILENO, &o, sizeof(o)) != sizeof(o))
				return 0;
			obey(space, &o);
		}
	}
	err(1, "poll");
}

/* ---- the director ---- */

static void line(int64_t ns, const char *who, const char *fmt, ...)
{
	va_list ap;

	printf("%9.3f ms  %-9s", (ns - began) / 1e6, who);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void fail(const char *fmt, ...)
{
	va_list ap;

	printf("FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

static struct player hire(const char *name)
{
	struct player p = { .name = name };
	int orders[2], events[2];

	if (pipe2(orders, O_CLOEXEC) || pipe2(events, O_CLOEXEC))
		err(1, "pipe");
	p.pid = fork();
	if (p.pid < 0)
		err(1, "fork");
	if (!p.pid) {
		dup2(orders[0], STDIN_FILENO);
		dup2(events[1], STDOUT_FILENO);
		execl("/proc/self/exe", name, "play", NULL);
		err(1, "exec");
	}
	close(orders[0]);
	close(events[1]);
	p.orders = orders[1];
	p.events = events[0];
	line(now(), name, "is process %d", p.pid);
	return p;
}

static bool hear(struct player *p, struct event *e, int ms)
{
	struct pollfd fd = { .fd = p->events, .events = POLLIN };

	if (poll(&fd, 1, ms) <= 0)
		return false;
	if (read(p->events, e, sizeof(*e)) != sizeof(*e))
		fail("%s has gone", p->name);
	return true;
}

/*
 * The next thing that happens to p must be this; it is returned, and shown
 * unless it stands in parentheses.
 */
static struct event expect(struct player *p, enum kind kind, int value, const char *what)
{
	struct event e;

	if (!hear(p, &e, PATIENCE_MS))
		fail("%s: %s: nothing happened for %d s", p->name, what, PATIENCE_MS / 1000);
	if (e.kind != kind || e.value != value)
		fail("%s: %s: expected %s with %d, heard %s with %d", p->name, what,
		     kind == RETURNED ? "return" : kind == COMPLETED ? "completion" : "blocking callback", value,
		     e.kind == RETURNED ? "return" : e.kind == COMPLETED ? "completion" : "blocking callback",
		     e.value);
	if (kind != RETURNED && what[0] != '(')
		line(e.ns, p->name, "%s", what);
	return e;
}

static void expect_quiet(struct player *p, const char *why)
{
	struct event e;

	if (hear(p, &e, QUIET_MS))
		fail("%s: %s, but something happened (kind %d, value %d)", p->name, why, e.kind, e.value);
}

static void in_order(const char *what, int64_t first, int64_t then)
{
	if (first > then)
		fail("%s: happened %.3f ms too early", what, (first - then) / 1e6);
}

/* Have p make a call, which must be accepted; its time is when it began. */
static int64_t order(struct player *p, struct order o, const char *what)
{
	int64_t t = now();

	line(t, p->name, "%s", what);
	if (write(p->orders, &o, sizeof(o)) != sizeof(o))
		err(1, "order");
	expect(p, RETURNED, 0, what);
	return t;
}

static void check_space(void)
{
	struct stat st;
	uint32_t major, minor, patch;

	if (stat(NODE, &st) || !S_ISCHR(st.st_mode))
		fail("%s is no device: %s", NODE, strerror(errno));
	if (dlm_kernel_version(&major, &minor, &patch))
		fail("no kernel version: %s", strerror(errno));
	line(now(), "director", "dlm_create_lockspace(\"" SPACE "\"): " NODE " is there; the kernel speaks %u.%u.%u", major,
	     minor, patch);
}

static void value_is(const struct player *p, const struct event *e, const char *text)
{
	if (e->stale || strcmp(e->text, text))
		fail("%s: the value block should be \"%s\", is \"%.*s\"%s", p->name, text, DLM_LVB_LEN, e->text,
		     e->stale ? ", marked not valid" : "");
	line(e->ns, p->name, "finds \"%s\" in the value block", e->text);
}

int main(int argc, char **argv)
{
	struct order convert = { .flags = LKF_CONVERT | LKF_VALBLK };
	struct player a, b, c;
	dlm_lshandle_t space;
	struct event e, granted, demoted;
	int64_t t;
	int status;

	if (argc == 2 && !strcmp(argv[1], "play"))
		return play();

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	began = now();

	space = dlm_create_lockspace(SPACE, 0600);
	if (!space)
		fail("dlm_create_lockspace: %s", strerror(errno));
	check_space();
	a = hire("Ann");
	b = hire("Bob");
	c = hire("Cy");

	printf("\nTwo processes contend for one resource.\n");
	order(&a, (struct order){ .mode = LKM_EXMODE, .flags = LKF_VALBLK }, "asks for \"" RESOURCE "\" in mode EX");
	granted = expect(&a, COMPLETED, 0, "holds it");
	if (!granted.lkid)
		fail("a granted lock has no id");
	t = order(&b, (struct order){ .mode = LKM_PRMODE, .flags = LKF_VALBLK }, "asks for it in mode PR, to read");
	e = expect(&a, BLOCKING, 0, "hears that it is in somebody's way");
	in_order("the blocking callback", t, e.ns);
	expect_quiet(&b, "Ann holds it in EX, so Bob must wait");
	line(now(), b.name, "waits");

	printf("\nThe holder steps back, and leaves a note.\n");
	convert.mode = LKM_NLMODE;
	strcpy(convert.text, "read up to page 42");
	t = order(&a, convert, "writes \"read up to page 42\" into the value block and goes down to NL");
	demoted = expect(&a, COMPLETED, 0, "(the demotion)");
	if (demoted.lkid != granted.lkid)
		fail("the demotion changed the lock's id");
	e = expect(&b, COMPLETED, 0, "(the hand-over)");
	in_order("the hand-over", t, e.ns);
	/* Two processes tell of one moment: either may be the first. */
	if (demoted.ns <= e.ns)
		line(demoted.ns, a.name, "is at NL");
	line(e.ns, b.name, "holds it: the hand-over");
	value_is(&b, &e, "read up to page 42");
	if (demoted.ns > e.ns)
		line(demoted.ns, a.name, "is at NL");

	printf("\nNo waiting, please.\n");
	order(&c, (struct order){ .mode = LKM_EXMODE, .flags = LKF_NOQUEUE }, "asks for it in mode EX with NOQUEUE");
	expect(&c, COMPLETED, EAGAIN, "is refused: EAGAIN");
	expect_quiet(&b, "a refusal without NOQUEUEBAST concerns nobody");

	printf("\nUnlock.\n");
	order(&b, (struct order){ .unlock = true }, "unlocks");
	expect(&b, COMPLETED, EUNLOCK, "has no lock any more");

	printf("\nA holder is killed.\n");
	convert.mode = LKM_EXMODE;
	order(&a, convert, "goes up to EX again");
	expect(&a, COMPLETED, 0, "holds it");
	order(&c, (struct order){ .mode = LKM_EXMODE }, "asks for it in mode EX");
	expect(&a, BLOCKING, 0, "hears that it is in somebody's way, and does nothing about it");
	expect_quiet(&c, "Ann still holds it in EX, so Cy must wait");
	line(now(), c.name, "waits");
	t = now();
	line(t, "director", "kills Ann (SIGKILL)");
	if (kill(a.pid, SIGKILL) || waitpid(a.pid, &status, 0) != a.pid || !WIFSIGNALED(status))
		fail("Ann was not killed");
	e = expect(&c, COMPLETED, 0, "holds it: what the dead held goes to the next");
	in_order("the inheritance", t, e.ns);
	order(&c, (struct order){ .unlock = true }, "unlocks");
	expect(&c, COMPLETED, EUNLOCK, "has no lock any more");

	printf("\nAll go home.\n");
	expect_quiet(&b, "nothing was left for Bob to hear");
	close(b.orders);
	close(c.orders);
	if (waitpid(b.pid, &status, 0) != b.pid || status || waitpid(c.pid, &status, 0) != c.pid || status)
		fail("a player did not leave in good order");
	if (dlm_release_lockspace(SPACE, space, 0))
		fail("dlm_release_lockspace: %s", strerror(errno));
	if (!access(NODE, F_OK))
		fail("%s is still there", NODE);
	line(now(), "director", "dlm_release_lockspace(\"" SPACE "\"): " NODE " is gone");

	printf("\nDemo passed: lockspace, contention, blocking callback, demotion, hand-over, value block,\n"
	       "NOQUEUE refusal, unlock and the death of a holder were all observed.\n");
	return 0;
}
