// SPDX-License-Identifier: GPL-2.0
/*
 * Who may use a lockspace, and by which links libdlm finds it, where udev looks after /dev. udev.sh
 * prepares what this needs.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "dlm_test.h"

/* What libdlm's header would have of the kernel's, is there already. */
#define BUILDING_LIBDLM
#include <libdlm.h>

#define USERS	100
#define NOBODY	65534

/* Run a command, and let udev do what it causes. */
static bool settled(const char *command)
{
	return !system(command) && !system("udevadm settle");
}

/* What udev hears now and then of devices that have been there for long. */
static const char *const events[] = {
	"udevadm trigger --subsystem-match=misc --action=change",
	"udevadm trigger --subsystem-match=misc --action=add",
};

static const char *path_in(const char *folder, const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/dlm_%s", folder, name);
	return path;
}

static const char *node(const char *name)
{
	return path_in("/dev", name);
}

/* "UID:GID MODE" of the lockspace's node */
static const char *access_to(const char *name)
{
	static char text[64];
	struct stat st = { };

	if (stat(node(name), &st))
		return "nothing";
	snprintf(text, sizeof(text), "%d:%d %o", st.st_uid, st.st_gid, st.st_mode & 07777);
	return text;
}

#define ASSERT_LASTS(access, name) \
do { \
	for (size_t _i = 0; _i < ARRAY_SIZE(events); _i++) { \
		ASSERT_TRUE(settled(events[_i])); \
		ASSERT_STREQ(access, access_to(name)) TH_LOG("%s", events[_i]); \
	} \
} while (0)

FIXTURE(udev) { struct lockspace ls; };

FIXTURE_SETUP(udev)
{
	ASSERT_EQ(0, lockspace_setup(&self->ls));
	ASSERT_TRUE(settled("true"));
}

FIXTURE_TEARDOWN(udev) { EXPECT_EQ(0, lockspace_teardown(&self->ls)); }

/* ---- Owner, group and mode --------------------------------------------------------------- */

TEST_F(udev, owner_group_and_mode_last)
{
	ASSERT_STREQ("0:0 600", access_to(self->ls.name));
	ASSERT_EQ(0, chown(node(self->ls.name), NOBODY, USERS));
	ASSERT_EQ(0, chmod(node(self->ls.name), 0664));
	ASSERT_LASTS("65534:100 664", self->ls.name);
	/* And when it hears of all devices */
	ASSERT_TRUE(settled("udevadm trigger"));
	ASSERT_STREQ("65534:100 664", access_to(self->ls.name));
}

TEST(a_mode_asked_for_at_creation_lasts)
{
	dlm_lshandle_t ls = dlm_create_lockspace("created", 0640), again;

	ASSERT_NE(NULL, ls);
	ASSERT_STREQ("0:0 640", access_to("created"));
	ASSERT_LASTS("0:0 640", "created");

	/* It is asked for by everybody who creates the lockspace. */
	again = dlm_create_lockspace("created", 0664);
	ASSERT_NE(NULL, again);
	ASSERT_LASTS("0:0 664", "created");
	ASSERT_EQ(0, dlm_release_lockspace("created", again, 0));
	ASSERT_EQ(0, dlm_release_lockspace("created", ls, 0));
	ASSERT_STREQ("nothing", access_to("created"));
}

/* As example.rules says, but for the mode that the lockspace's creator asks for. */
TEST(a_rule_decides_from_the_start)
{
	static const char rule[] = "0:100 660";
	dlm_lshandle_t ls = dlm_create_lockspace("example", 0);

	ASSERT_NE(NULL, ls);
	ASSERT_STREQ(rule, access_to("example"));
	ASSERT_EQ(0, dlm_release_lockspace("example", ls, 0));

	ls = dlm_create_lockspace("example", 0600);
	ASSERT_NE(NULL, ls);
	ASSERT_STREQ("0:100 600", access_to("example"));
	ASSERT_LASTS(rule, "example");
	ASSERT_EQ(0, dlm_release_lockspace("example", ls, 0));
}

/* ---- An ordinary user of libdlm ---------------------------------------------------------- */

static bool can_lock(dlm_lshandle_t ls)
{
	struct dlm_lksb lksb = { };

	return !dlm_ls_pthread_init(ls) &&
	       !dlm_ls_lock_wait(ls, LKM_EXMODE, &lksb, 0, "r", 1, 0, NULL, NULL, NULL) &&
	       !lksb.sb_status &&
	       !dlm_ls_unlock_wait(ls, lksb.sb_lkid, 0, &lksb) && lksb.sb_status == EUNLOCK;
}

/* Whether this lockspace is there, and an ordinary user can open it, lock in it and no more. */
static int as_nobody(const struct lockspace *ls)
{
	dlm_lshandle_t opened;

	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		return 1;
	opened = dlm_open_lockspace(ls->name);
	if (!opened)
		return errno == EACCES ? 2 : 3;
	if (!can_lock(opened))
		return 4;
	if (dlm_create_lockspace("nobodys", 0666) || errno != EPERM)
		return 5;
	if (dlm_create_lockspace(ls->name, 0666) || errno != EPERM)
		return 6;
	/* Whether it is removed, this does not say. */
	dlm_release_lockspace(ls->name, opened, 1);
	opened = dlm_open_lockspace(ls->name);
	if (!opened || !can_lock(opened))
		return 7;
	return remove_lockspace(open_control(), ls->minor, DLM_USER_LSFLG_FORCEFREE) == -EPERM ? 0 : 8;
}

TEST_F(udev, nobody_locks_where_the_mode_allows_it)
{
	static const struct { int mode, result; } tries[] = { { 0666, 0 }, { 0660, 2 } };

	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		pid_t child;

		ASSERT_EQ(0, chmod(node(self->ls.name), tries[i].mode));
		child = spawn();
		if (!child)
			_exit(as_nobody(&self->ls));
		ASSERT_EQ(tries[i].result, expect_child(child)) TH_LOG("%o", tries[i].mode);
	}
	ASSERT_STREQ("nothing", access_to("nobodys"));
}

/* ---- Names ------------------------------------------------------------------------------- */

static bool leads_to(const char *folder, const char *name, int lockspace)
{
	const char *path = path_in(folder, name);
	struct stat st;

	return !lstat(path, &st) && S_ISLNK(st.st_mode) &&
	       !stat(path, &st) && (int)minor(st.st_rdev) == lockspace;
}

/*
 * By our rules every lockspace has a link of its name, in /dev/misc. By others, which udev.sh has in
 * /dev/others, only one whose bytes are all kept by udev: it makes "_" of the rest, and of several
 * lockspaces that would have the same link, one has it.
 */
struct named {
	char name[16];
	bool is_kept;
	int minor;
};

static int all_kinds_of_names(struct named *all)
{
	static const struct named others[] = {
		{ .name = "a_line", .is_kept = true }, { .name = "e\xc3\xa0", .is_kept = true },
		{ .name = "\\x2f", .is_kept = true }, { .name = "e\xc3" }, { .name = "e\xa0" },
		{ .name = "e\x85" }, { .name = "e\xff" }, { .name = "%k" }, { .name = "$name" },
		{ .name = "\"quoted\"" },
	};
	int count = 0;

	for (int c = '"'; c <= '~'; c++) {
		if (strchr("/_", c))
			continue;
		snprintf(all[count].name, sizeof(all[count].name), "a%cz", c);
		all[count++].is_kept = isalnum(c) || strchr("#+-.:=@", c);
	}
	memcpy(all + count, others, sizeof(others));
	return count + ARRAY_SIZE(others);
}

TEST(a_link_has_the_name_of_its_lockspace)
{
	struct named all[128] = { };
	int count = all_kinds_of_names(all), control = open_control();

	for (struct named *l = all; l < all + count; l++) {
		l->minor = create_lockspace(control, l->name, DLM_LSFL_NEWEXCL);
		ASSERT_GT(l->minor, 0) TH_LOG("%s", l->name);
	}
	ASSERT_TRUE(settled("true"));
	for (struct named *l = all; l < all + count; l++) {
		EXPECT_TRUE(leads_to("/dev/misc", l->name, l->minor)) TH_LOG("%s", l->name);
		EXPECT_EQ(l->is_kept, leads_to("/dev/others", l->name, l->minor)) TH_LOG("%s", l->name);
	}
	for (struct named *l = all; l < all + count; l++)
		ASSERT_EQ(0, remove_lockspace(control, l->minor, 0));
	ASSERT_TRUE(settled("true"));
	for (struct named *l = all; l < all + count; l++) {
		EXPECT_NE(0, access(path_in("/dev/misc", l->name), F_OK)) TH_LOG("%s", l->name);
	}
}

TEST_HARNESS_MAIN
