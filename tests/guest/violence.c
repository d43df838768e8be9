// SPDX-License-Identifier: GPL-2.0
/*
 * violence OPERATIONS [SEED] - eight processes do everything at random on 64 names, while one is
 * killed every second, a lockspace in use is taken away by force, and rmmod is tried.
 *
 * They share memory in which each says what it holds: after it has read that it was granted a
 * mode, and until before it writes what gives it up. Whoever is granted something looks there
 * whether anybody holds what is incompatible; so both sides of an overlap would have to miss the
 * other. Each process counts the completions of each of its requests. At the end all let go, and
 * whoever waits must be granted what it waits for; then nothing may be left.
 *
 * DLM_MODULE is the file to load the module from again.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <kselftest.h>
#include "client.h"

enum { WORKERS = 8, KEPT_NAMES = 40, DOOMED_NAMES = 16, WILD_NAMES = 4, ORPHAN_NAMES = 4 };
enum { WATCHED = KEPT_NAMES + DOOMED_NAMES, WILD_IDS = 64 };

/* Two lockspaces, of which the second is taken away again and again. */
enum space { KEPT, DOOMED, SPACES };
static const char *const space_name[SPACES] = { "kept", "doomed" };

#define NOTHING	(-1)

/* ---- What is shared --------------------------------------------------------------------------- */

static struct shared {
	long wanted;
	atomic_long done, grants, refusals, cancellations, adoptions, cut_off, hangups;
	/* No new requests. */
	atomic_bool stop;
	atomic_bool blamed;
	char blame[256];
	/* Odd while a lockspace is replaced, or a process and what it claimed. */
	atomic_uint generation[SPACES];
	atomic_uint life[WORKERS];
	_Atomic uint64_t claims[WORKERS][WATCHED];
	atomic_int wild_ids[WILD_IDS];
} *shared;

/* Says, once, what is wrong; all end. */
static void blame(const char *format, ...)
{
	va_list args;

	if (!atomic_exchange(&shared->blamed, true)) {
		va_start(args, format);
		vsnprintf(shared->blame, sizeof(shared->blame), format, args);
		va_end(args);
	}
	atomic_store(&shared->stop, true);
	_exit(1);
}

static void settled(atomic_uint *counter, bool is_settled)
{
	if ((atomic_load(counter) % 2 == 0) != is_settled)
		atomic_fetch_add(counter, 1);
}

/* ---- Chance ----------------------------------------------------------------------------------- */

static unsigned short chance[3];

static void seed(long from)
{
	memcpy(chance, &from, sizeof(chance));
}

static int below(int bound)
{
	return nrand48(chance) % bound;
}

static bool once_in(int times)
{
	return below(times) == 0;
}

static void dawdle(void)
{
	for (int i = below(20); i; i--)
		sched_yield();
}

/* ---- Claims: what this process says it holds ---------------------------------------------------- */

/*
 * In one word for each process and name: how many locks in each mode, eight bits each, and above
 * them of which generation of the lockspace.
 */
static int self;

static bool compatible(int a, int b)
{
	static const unsigned char with[MODES] = { 0x3f, 0x1f, 0x07, 0x0b, 0x03, 0x01 };

	return with[a] >> b & 1;
}

/* The most that whoever holds either of two modes holds for certain. */
static int common(int a, int b)
{
	if ((a == PR && b == CW) || (a == CW && b == PR))
		return CR;
	return a < b ? a : b;
}

static int count(uint64_t word, int mode)
{
	return word >> 8 * mode & 0xff;
}

static unsigned int generation_of(uint64_t word)
{
	return word >> 48;
}

static uint64_t changed(uint64_t word, int mode, int by)
{
	return mode == NOTHING ? word : word + ((uint64_t)by << 8 * mode);
}

static void change_claim(int name, unsigned int generation, int from, int to)
{
	uint64_t word = atomic_load(&shared->claims[self][name]);

	if (generation_of(word) != (generation & 0xffff))
		word = (uint64_t)generation << 48;
	word = changed(changed(word, from, -1), to, 1);
	atomic_store(&shared->claims[self][name], word);
}

static void drop_claims(int worker)
{
	for (int name = 0; name < WATCHED; name++)
		atomic_store(&shared->claims[worker][name], 0);
}

/* Somebody's claim, other than the one this is about, that excludes mode; or NOTHING. */
static int excluding(int worker, int name, unsigned int generation, int mode)
{
	uint64_t word = atomic_load(&shared->claims[worker][name]);

	if (worker == self)
		word = changed(word, mode, -1);
	if (generation_of(word) != (generation & 0xffff))
		return NOTHING;
	for (int other = NL; other < MODES; other++)
		if (count(word, other) && !compatible(mode, other))
			return other;
	return NOTHING;
}

/* What a process claimed that is being killed means nothing. */
static void check_alone(int name, unsigned int generation, int mode)
{
	for (int worker = 0; worker < WORKERS; worker++) {
		unsigned int life = atomic_load(&shared->life[worker]);
		int other = excluding(worker, name, generation, mode);

		if (other != NOTHING && life % 2 == 0 && life == atomic_load(&shared->life[worker]))
			blame("name %d: process %d was granted %s while process %d held %s", name, self,
			      mode_name[mode], worker, mode_name[other]);
	}
}

/* ---- Sessions and their locks -------------------------------------------------------------------- */

struct session {
	int fd;
	enum space space;
	unsigned int generation;
};

struct lock {
	/* 0: there is none. */
	int id;
	struct session *session;
	int name;
	/* Held for certain, and claimed: less than that while a conversion is under way. */
	int granted, claimed;
	/* What a grant will mean, plain and with SBF_ALTMODE. */
	int asked, alternative;
	/* Waits for the completion of a request, of an unlock. */
	bool pending, ending;
	/* How many requests there were. */
	int requests;
};

enum { SESSIONS = 3, LOCKS = 24 };
static struct session sessions[SESSIONS] = { { .space = KEPT }, { .space = KEPT }, { .space = DOOMED } };
static struct lock locks[LOCKS];

static int no_record(int fd)
{
	struct record record;

	return read_record(fd, &record) == -EAGAIN;
}

static const char *name_of(int name)
{
	static char text[8];

	snprintf(text, sizeof(text), "n%d", name);
	return text;
}

/* A descriptor of a lockspace that is there, and of which generation it is. */
static int open_space(enum space space, int flags, unsigned int *generation)
{
	for (;; sched_yield()) {
		int fd;

		*generation = atomic_load(&shared->generation[space]);
		if (*generation % 2)
			continue;
		fd = open_lockspace(space_name[space], flags);
		if (*generation == atomic_load(&shared->generation[space])) {
			if (fd < 0)
				blame("process %d cannot open lockspace %s: %m", self, space_name[space]);
			return fd;
		}
		close(fd);
	}
}

static void claim(struct lock *lock, int mode)
{
	if (mode == lock->claimed)
		return;
	change_claim(lock->name, lock->session->generation, lock->claimed, mode);
	lock->claimed = mode;
}

static void forget(struct lock *lock)
{
	claim(lock, NOTHING);
	lock->id = 0;
}

/* Before what takes all locks of a session away. */
static void forget_session(struct session *session)
{
	for (struct lock *lock = locks; lock < locks + LOCKS; lock++)
		if (lock->id && lock->session == session)
			forget(lock);
}

static void reopen(struct session *session)
{
	forget_session(session);
	close(session->fd);
	session->fd = open_space(session->space, O_NONBLOCK, &session->generation);
}

/* Whether a request went well; it may not where the lockspace has been taken away. */
static bool accepted(struct session *session, int result)
{
	if (result >= 0)
		return true;
	if (result != -ENODEV || session->space != DOOMED)
		blame("process %d: a request in lockspace %s failed: %s", self, space_name[session->space],
		      strerrorname_np(-result));
	atomic_fetch_add(&shared->hangups, 1);
	reopen(session);
	return false;
}

static void granted(struct lock *lock, bool alternative)
{
	lock->granted = alternative ? lock->alternative : lock->asked;
	atomic_fetch_add(&shared->grants, 1);
	if (lock->ending)
		return;
	claim(lock, lock->granted);
	check_alone(lock->name, lock->session->generation, lock->granted);
}

static void completed(struct lock *lock, const struct dlm_lksb *result)
{
	int status = result->sb_status;

	if (status == -DLM_EUNLOCK) {
		if (!lock->ending)
			blame("process %d: lock %x was unlocked, which nobody asked for", self, lock->id);
		forget(lock);
		return;
	}
	if (!lock->pending)
		blame("process %d: lock %x got a completion (%d) that it did not wait for", self, lock->id, status);
	lock->pending = false;
	if (status == -ENODEV && lock->session->space == DOOMED) {
		atomic_fetch_add(&shared->cut_off, 1);
		forget(lock);
		return;
	}
	if (!status) {
		granted(lock, result->sb_flags & DLM_SBF_ALTMODE);
		return;
	}
	if (status != -EAGAIN && status != -EDEADLK && status != -DLM_ECANCEL)
		blame("process %d: lock %x got status %d", self, lock->id, status);
	atomic_fetch_add(status == -DLM_ECANCEL ? &shared->cancellations : &shared->refusals, 1);
	if (lock->granted == NOTHING)
		forget(lock);
	else if (!lock->ending)
		claim(lock, lock->granted);
}

static struct lock *find(struct session *session, int id)
{
	for (struct lock *lock = locks; lock < locks + LOCKS; lock++)
		if (lock->id == id && lock->session == session)
			return lock;
	return NULL;
}

/* ---- Requests -------------------------------------------------------------------------------------- */

static uint32_t some(uint32_t flag, int times)
{
	return once_in(times) ? flag : 0;
}

static uint32_t some_flags(void)
{
	return some(WITH_BAST, 2) | some(DLM_LKF_NOQUEUE, 3) | some(DLM_LKF_VALBLK, 4) | some(DLM_LKF_HEADQUE, 8) |
	       some(DLM_LKF_NOORDER, 8) | some(DLM_LKF_NOQUEUEBAST, 8);
}

/* At most one of the alternatives, so that it is known which was granted. */
static uint32_t some_alternative(struct lock *lock)
{
	switch (below(8)) {
	case 0:
		lock->alternative = PR;
		return DLM_LKF_ALTPR;
	case 1:
		lock->alternative = CW;
		return DLM_LKF_ALTCW;
	}
	lock->alternative = lock->asked;
	return 0;
}

static void make_request(struct lock *lock)
{
	struct session *session = &sessions[below(SESSIONS)];
	uint32_t flags;
	int id;

	lock->session = session;
	lock->name = session->space == KEPT ? below(KEPT_NAMES) : KEPT_NAMES + below(DOOMED_NAMES);
	lock->granted = lock->claimed = NOTHING;
	lock->asked = below(MODES);
	lock->pending = lock->ending = false;
	flags = some_flags() | some_alternative(lock);
	if (lock->asked == NL && !(flags & DLM_LKF_NOQUEUE))
		flags |= some(DLM_LKF_EXPEDITE, 4);
	id = submit(session->fd, lock_request(lock->asked, flags, name_of(lock->name)));
	if (!accepted(session, id))
		return;
	lock->id = id;
	lock->pending = true;
	lock->requests++;
}

/* The conversions for which QUECVT is allowed; but from NL, which may be a guess. */
static bool may_queue(int from, int to)
{
	return from != NL && (to > from || (from == PR && to == CW));
}

static void make_conversion(struct lock *lock)
{
	struct session *session = lock->session;
	uint32_t flags;
	int least;

	lock->asked = below(MODES);
	flags = some_flags() | some_alternative(lock);
	least = common(common(lock->granted, lock->asked), lock->alternative);
	if (may_queue(lock->granted, lock->asked))
		flags |= some(DLM_LKF_QUECVT, 4);
	if (!(flags & DLM_LKF_NOQUEUE) && once_in(4)) {
		/* It may be demoted, of which there is no word if it is cancelled. */
		flags |= DLM_LKF_CONVDEADLK;
		lock->granted = least = NL;
	} else {
		flags |= some(DLM_LKF_NODLCKWT, 8);
	}
	claim(lock, least);
	lock->pending = accepted(session, convert(session->fd, lock->id, lock->asked, flags));
	lock->requests++;
}

/* A request that has failed, of which we have yet to hear, has no lock any more. */
static bool found(struct lock *lock, int result)
{
	return !(result == -ENOENT && lock->pending && lock->granted == NOTHING) && accepted(lock->session, result);
}

static void make_unlock(struct lock *lock)
{
	uint32_t flags = some(DLM_LKF_FORCEUNLOCK, 4) | some(DLM_LKF_VALBLK, 4) | some(DLM_LKF_IVVALBLK, 8);
	int result;

	claim(lock, NOTHING);
	result = unlock(lock->session->fd, lock->id, flags);
	if (found(lock, result))
		lock->ending = true;
}

/* ---- Hearing --------------------------------------------------------------------------------------- */

/* What must fail, and not take a record along. */
static void misuse(int fd)
{
	char version[12], tiny[40] = "";
	void *volatile nowhere = (void *)8;

	if (read(fd, version, sizeof(version)) != sizeof(version) || read(fd, tiny, sizeof(tiny)) >= 0 ||
	    read(fd, nowhere, sizeof(struct record)) >= 0 || write(fd, tiny, sizeof(tiny)) >= 0)
		blame("process %d: a call went well that could not", self);
}

static void get_out_of_the_way(struct lock *lock)
{
	if (lock->pending || lock->ending)
		return;
	if (once_in(2))
		make_unlock(lock);
	else
		make_conversion(lock);
}

/* Hears one record, and does about it what there is to do. */
static bool listen_once(struct session *session)
{
	struct record record;
	struct lock *lock;
	int id, n;

	n = read_record(session->fd, &record);
	if (n == -EAGAIN || !accepted(session, n))
		return false;
	id = record.result.lksb.sb_lkid;
	if (fault(&record, n, id))
		blame("process %d: a record of lock %x: %s", self, id, fault(&record, n, id));
	lock = find(session, id);
	if (!lock)
		blame("process %d: a record of lock %x, which it has not", self, id);
	if (!record.result.bast_mode)
		completed(lock, &record.result.lksb);
	else if (once_in(2))
		get_out_of_the_way(lock);
	return true;
}

static bool listen_to_all(void)
{
	bool heard = false;

	for (struct session *session = sessions; session < sessions + SESSIONS; session++)
		while (listen_once(session))
			heard = true;
	return heard;
}

/* What is cancelled has its completion, that of the cancel or one from before, at once. */
static void make_cancel(struct lock *lock)
{
	int fd = lock->session->fd, id = lock->id, requests = lock->requests;
	bool pending = lock->pending;

	found(lock, once_in(4) ? deadlock(fd, id, 0) : unlock(fd, id, DLM_LKF_CANCEL));
	if (!pending)
		return;
	listen_to_all();
	if (lock->id == id && lock->requests == requests && lock->pending)
		blame("process %d: the completion of a request for lock %x, now cancelled, is lost", self, id);
}

/* ---- What is not watched: orphans, other people's locks, lockspaces that come and go ---------------- */

static const char *other_name(const char *kind, int names)
{
	static char text[8];

	snprintf(text, sizeof(text), "%s%d", kind, below(names));
	return text;
}

static void leave_an_orphan(void)
{
	unsigned int generation;
	int fd = open_space(KEPT, O_NONBLOCK, &generation);

	if (lock(fd, below(MODES), DLM_LKF_PERSISTENT | some(DLM_LKF_NOQUEUE, 2), other_name("o", ORPHAN_NAMES)) <= 0)
		blame("process %d: a persistent request failed", self);
	close(fd);
}

/* An orphan is adopted by one. */
static void adopt_an_orphan(void)
{
	unsigned int generation;
	int fd = open_space(KEPT, O_NONBLOCK, &generation);
	int id = adopt(fd, below(MODES), 0, other_name("o", ORPHAN_NAMES));

	if (id > 0) {
		atomic_fetch_add(&shared->adoptions, 1);
		if (unlock(fd, id, 0) || strcmp(hear(fd, id), "EUNLOCK") || !no_record(fd))
			blame("process %d: the orphan %x is not ours alone", self, id);
	} else if (id != -ENOENT && id != -EAGAIN) {
		blame("process %d: adopting failed: %s", self, strerrorname_np(-id));
	}
	if (once_in(4) && purge(fd, 0))
		blame("process %d: purging failed", self);
	close(fd);
}

/* Anybody may do anything with these locks, so anything may come of it. */
static int wild = -1;

static void be_wild(void)
{
	int id = atomic_load(&shared->wild_ids[below(WILD_IDS)]);
	unsigned int generation;
	struct record record;

	if (once_in(200))
		close(wild), wild = -1;
	if (wild < 0)
		wild = open_space(KEPT, O_NONBLOCK, &generation);
	switch (below(5)) {
	case 0:
		id = lock(wild, below(MODES), some_flags(), other_name("w", WILD_NAMES));
		atomic_store(&shared->wild_ids[below(WILD_IDS)], id);
		break;
	case 1:
		convert(wild, id, below(MODES), some_flags() | some(DLM_LKF_CONVDEADLK, 4));
		break;
	case 2:
		unlock(wild, id, some(DLM_LKF_FORCEUNLOCK, 2));
		break;
	case 3:
		unlock(wild, id, DLM_LKF_CANCEL);
		break;
	case 4:
		deadlock(wild, id, 0);
	}
	while (read_record(wild, &record) > 0)
		;
}

/* What people can see, whatever is going on. */
static void look(int fd)
{
	static const char *const table[] = {
		"kept_locks", "kept_all", "doomed_locks", "doomed_all", "shared_locks", "owners", "files",
	};
	char path[64], text[4096];
	int file;

	if (once_in(2))
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	else
		snprintf(path, sizeof(path), "/sys/kernel/debug/dlm/%s",
			 table[below(sizeof(table) / sizeof(*table))]);
	file = open(path, O_RDONLY | O_CLOEXEC);
	while (read(file, text, sizeof(text)) > 0 && !once_in(20))
		;
	close(file);
}

/* A use for each who creates it; those of the killed remain. */
static void share_a_lockspace(void)
{
	int control = open_control();
	int minor = create_lockspace(control, "shared", 0);
	int fd = open_lockspace("shared", O_NONBLOCK);
	int result;

	if (minor <= 0 || fd < 0 || lock(fd, below(MODES), some_flags(), "r") <= 0)
		blame("process %d cannot use the lockspace that it has created", self);
	if (once_in(2))
		close(fd), fd = -1;
	result = remove_lockspace(control, minor, 0);
	if (result && result != -EBUSY)
		blame("process %d cannot remove the lockspace that it has created: %s", self, strerrorname_np(-result));
	close(fd);
	close(control);
}

/* ---- Blocked calls whose descriptor is closed ------------------------------------------------------- */

struct blocked {
	int fd;
	bool polls;
	atomic_bool over;
};

static void *block(void *argument)
{
	struct blocked *blocked = argument;
	struct pollfd p = { .fd = blocked->fd, .events = POLLIN };
	struct record record;

	if (blocked->polls)
		poll(&p, 1, -1);
	else
		read_record(blocked->fd, &record);
	atomic_store(&blocked->over, true);
	return NULL;
}

static void interrupt(int signal)
{
	(void)signal;
}

/* By another thread, which the call outlasts until it is interrupted; or with its process. */
static void close_while_blocked(void)
{
	enum space space = below(SPACES);
	unsigned int generation;
	struct blocked blocked = { .fd = open_space(space, 0, &generation), .polls = once_in(2) };
	pthread_t thread;
	pid_t child;

	if (once_in(2))
		lock(blocked.fd, below(MODES), 0, name_of(space == KEPT ? below(KEPT_NAMES) : KEPT_NAMES));
	if (once_in(2)) {
		if (pthread_create(&thread, NULL, block, &blocked))
			blame("process %d cannot start a thread", self);
		dawdle();
		close(blocked.fd);
		while (!atomic_load(&blocked.over)) {
			pthread_kill(thread, SIGUSR1);
			sched_yield();
		}
		pthread_join(thread, NULL);
	} else {
		child = spawn();
		if (!child) {
			block(&blocked);
			_exit(0);
		}
		close(blocked.fd);
		dawdle();
		kill(child, SIGKILL);
		expect_child(child);
	}
}

/* ---- A process -------------------------------------------------------------------------------------- */

static void do_with(struct lock *lock)
{
	if (!lock->id)
		make_request(lock);
	else if (lock->ending)
		return;
	else if (once_in(6))
		make_cancel(lock);
	else if (lock->pending ? once_in(8) : once_in(2))
		make_unlock(lock);
	else if (!lock->pending)
		make_conversion(lock);
}

static void do_something(void)
{
	struct session *session = &sessions[below(SESSIONS)];

	switch (below(1000)) {
	case 0 ... 1:
		close_while_blocked();
		break;
	case 2 ... 3:
		share_a_lockspace();
		break;
	case 4 ... 6:
		reopen(session);
		break;
	case 7 ... 8:
		forget_session(session);
		accepted(session, purge(session->fd, gettid()));
		break;
	case 9 ... 20:
		leave_an_orphan();
		break;
	case 21 ... 32:
		adopt_an_orphan();
		break;
	case 33 ... 40:
		if (session->space == KEPT)
			misuse(session->fd);
		break;
	case 41 ... 43:
		look(session->fd);
		break;
	case 44 ... 90:
		be_wild();
		break;
	default:
		do_with(&locks[below(LOCKS)]);
	}
	if (!once_in(3))
		listen_to_all();
}

/* Lets go of what it has. Nobody asks for anything new, so what is asked for is granted. */
static bool let_go(void)
{
	bool left = false;

	for (struct lock *lock = locks; lock < locks + LOCKS; lock++) {
		if (lock->id && !lock->pending && !lock->ending)
			make_unlock(lock);
		left = left || lock->id;
	}
	return left;
}

/* Two that are in each other's way by their own wish (NODLCKWT) would wait for ever. */
static void cancel_conversions(void)
{
	for (struct lock *lock = locks; lock < locks + LOCKS; lock++)
		if (lock->id && lock->pending && lock->granted != NOTHING)
			make_cancel(lock);
}

static void settle(void)
{
	struct pollfd p[SESSIONS];
	int idle = 0;

	while (let_go()) {
		if (listen_to_all()) {
			idle = 0;
			continue;
		}
		for (int i = 0; i < SESSIONS; i++)
			p[i] = (struct pollfd){ .fd = sessions[i].fd, .events = POLLIN };
		if (poll(p, SESSIONS, 100))
			continue;
		cancel_conversions();
		if (++idle * 100 < 3 * PATIENCE_MS)
			continue;
		for (struct lock *lock = locks; lock < locks + LOCKS; lock++)
			if (lock->id)
				blame("process %d: lock %x on name %d waits for ever, for its %s", self, lock->id,
				      lock->name, lock->ending ? "unlock" : mode_name[lock->asked]);
	}
}

static void work(int worker, long from)
{
	struct sigaction action = { .sa_handler = interrupt };

	self = worker;
	seed(from);
	sigaction(SIGUSR1, &action, NULL);
	for (struct session *session = sessions; session < sessions + SESSIONS; session++)
		session->fd = open_space(session->space, O_NONBLOCK, &session->generation);
	while (!atomic_load(&shared->stop)) {
		do_something();
		if (atomic_fetch_add(&shared->done, 1) >= shared->wanted)
			atomic_store(&shared->stop, true);
	}
	settle();
	_exit(0);
}

/* ---- Who watches over them ----------------------------------------------------------------------------- */

static pid_t workers[WORKERS];
static int minors[SPACES];
static int control;
static int kills, removals, refused_unloads;
static long first_seed, processes;

static void start(int worker)
{
	workers[worker] = fork();
	if (!workers[worker])
		work(worker, first_seed + processes);
	processes++;
}

/* When it can be waited for its descriptors are closed, and so nothing is held that it claimed. */
static void kill_one(void)
{
	int worker = below(WORKERS);

	settled(&shared->life[worker], false);
	kill(workers[worker], SIGKILL);
	waitpid(workers[worker], NULL, 0);
	drop_claims(worker);
	settled(&shared->life[worker], true);
	start(worker);
	kills++;
}

static bool replace_lockspace(void)
{
	bool done;

	settled(&shared->generation[DOOMED], false);
	done = remove_lockspace(control, minors[DOOMED], DLM_USER_LSFLG_FORCEFREE) == 0;
	minors[DOOMED] = create_lockspace(control, space_name[DOOMED], DLM_LSFL_NEWEXCL);
	settled(&shared->generation[DOOMED], true);
	removals++;
	return done && minors[DOOMED] > 0;
}

static bool oversee(void)
{
	struct timespec quarter = { .tv_nsec = 250000000 };
	bool well = true;

	for (int tick = 0; !atomic_load(&shared->stop) && well; tick++) {
		nanosleep(&quarter, NULL);
		well = unload_module() == -EWOULDBLOCK;
		refused_unloads++;
		if (tick % 2)
			well = well && replace_lockspace();
		if (tick % 4 == 3)
			kill_one();
	}
	atomic_store(&shared->stop, true);
	return well;
}

static bool all_ended_well(void)
{
	bool well = true;
	int status;

	for (int worker = 0; worker < WORKERS; worker++) {
		waitpid(workers[worker], &status, 0);
		well = well && WIFEXITED(status) && !WEXITSTATUS(status);
	}
	return well;
}

/* ---- What is left ------------------------------------------------------------------------------------- */

/* What the killed have started may take a moment to go after them. */
static int patiently(int (*try)(void))
{
	struct timespec moment = { .tv_nsec = 20000000 };
	int result;

	for (int i = 0; i < PATIENCE_MS / 20; i++) {
		result = try();
		if (result != -EBUSY && result != -EWOULDBLOCK)
			return result;
		nanosleep(&moment, NULL);
	}
	return result;
}

static int remove_kept(void)
{
	int fd = open_lockspace(space_name[KEPT], O_NONBLOCK);
	int error = purge(fd, 0);

	close(fd);
	return error ?: remove_lockspace(control, minors[KEPT], 0);
}

static int remove_doomed(void)
{
	return remove_lockspace(control, minors[DOOMED], 0);
}

/* As often as those who created it were killed. */
static int remove_shared(void)
{
	int minor = create_lockspace(control, "shared", 0);
	int result;

	do
		result = remove_lockspace(control, minor, 0);
	while (!result);
	return result == -ENOENT ? 0 : result;
}

static long unreclaimable_kb(void)
{
	char line[128];
	long sum = 0, kb;
	FILE *file = fopen("/proc/meminfo", "r");

	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "SUnreclaim: %ld", &kb) == 1 || sscanf(line, "VmallocUsed: %ld", &kb) == 1)
			sum += kb;
	fclose(file);
	return sum;
}

static void prepare(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	control = open_control();
	for (enum space space = 0; space < SPACES; space++) {
		minors[space] = create_lockspace(control, space_name[space], DLM_LSFL_NEWEXCL);
		if (minors[space] <= 0)
			ksft_exit_fail_msg("cannot create lockspace %s\n", space_name[space]);
	}
}

/* Not tight: the kernel's leak detector, where there is one, looks closer. */
#define TOLERATED_KB	8192

int main(int argc, char **argv)
{
	const char *module = getenv("DLM_MODULE");
	long before = unreclaimable_kb(), after;

	ksft_print_header();
	if (argc < 2 || !module)
		ksft_exit_fail_msg("usage: DLM_MODULE=file violence OPERATIONS [SEED]\n");
	ksft_set_plan(5);
	first_seed = argc > 2 ? atol(argv[2]) : time(NULL);
	seed(first_seed);
	prepare();
	shared->wanted = atol(argv[1]);
	ksft_print_msg("%ld operations, seed %ld\n", shared->wanted, first_seed);
	for (int worker = 0; worker < WORKERS; worker++)
		start(worker);

	ksft_test_result(oversee(), "the module stays, lockspaces in use can be taken away\n");
	ksft_test_result(all_ended_well(), "no incompatible modes were held at once, each request had one completion\n");
	if (shared->blamed)
		ksft_print_msg("%s\n", shared->blame);
	ksft_print_msg("%ld operations, %ld grants, %ld refusals, %ld cancellations, %ld adoptions, %ld cut off, %ld hangups, "
		       "%d kills, %d forced removals, %d refused unloads\n", shared->done, shared->grants,
		       shared->refusals, shared->cancellations, shared->adoptions, shared->cut_off, shared->hangups, kills, removals,
		       refused_unloads);

	ksft_test_result(!patiently(remove_kept) && !patiently(remove_doomed) && !patiently(remove_shared),
			 "no lock is left\n");
	close(control);
	ksft_test_result(!patiently(unload_module) && access("/dev/dlm-control", F_OK), "no lockspace is left\n");
	after = unreclaimable_kb();
	ksft_print_msg("memory: %ld kB before, %ld kB after\n", before, after);
	ksft_test_result(after - before < TOLERATED_KB, "no memory is left\n");
	if (load_module(module))
		ksft_print_msg("the module does not load again\n");
	ksft_finished();
}
