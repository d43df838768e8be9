/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tables of locks in debugfs, as rows. NAME_locks has a line for each lock; NAME_all one for
 * each resource, perhaps one for its value block, and one for each of its locks.
 */
#ifndef TABLES_H
#define TABLES_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include "client.h"

enum table { LOCKS, ALL };

struct row {
	int id, nodeid, remid, pid;
	unsigned long long xid;
	uint32_t exflags, flags;
	int status, granted, requested;
	long long microseconds;		/* in its queue; only in LOCKS */
	int length;			/* of the name as it is said to be */
	char name[DLM_RESNAME_MAXLEN + 1];
	bool has_value;			/* only in ALL */
	unsigned char value[DLM_USER_LVB_LEN];
};

struct reader {
	enum table table;
	FILE *file;
	char *line;
	size_t room;
	struct row row;		/* in ALL its resource precedes it */
	char fault[200];	/* the first line that was not understood, and why */
};

static inline const char *table_path(const char *lockspace, const char *suffix)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s_%s", prefix(), lockspace, suffix);
	return path;
}

static inline FILE *open_table(const char *lockspace, const char *suffix)
{
	return fopen(table_path(lockspace, suffix), "re");
}

/* Of those that are about all lockspaces. */
static inline FILE *open_common(const char *table)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", prefix(), table);
	return fopen(path, "re");
}

static inline struct reader read_table(enum table table, const char *lockspace)
{
	struct reader reader = {
		.table = table,
		.file = open_table(lockspace, table == LOCKS ? "locks" : "all"),
	};

	if (!reader.file)
		snprintf(reader.fault, sizeof(reader.fault), "cannot be opened: %m");
	return reader;
}

static inline bool misread(struct reader *r, const char *why)
{
	if (!*r->fault)
		snprintf(r->fault, sizeof(r->fault), "%s: %s", why, r->line);
	return false;
}

/* Of what stands between the quotes, as the tools do it, but for quotes in the name itself. */
static inline bool read_lock(struct reader *r)
{
	static const char header[] = "id nodeid remid pid xid exflags flags sts grmode rqmode "
				     "time_ms r_nodeid r_len r_name";
	struct row *row = &r->row;
	int at = 0, r_nodeid;
	size_t length;

	if (!strcmp(r->line, header))
		return false;
	*row = (struct row) { 0 };
	if (sscanf(r->line, "%x %d %x %d %llu %x %x %d %d %d %lld %d %d \"%n", (unsigned *)&row->id,
		   &row->nodeid, (unsigned *)&row->remid, &row->pid, &row->xid, &row->exflags,
		   &row->flags, &row->status, &row->granted, &row->requested, &row->microseconds,
		   &r_nodeid, &row->length, &at) != 13 || !at || r_nodeid)
		return misread(r, "no lock");
	length = strlen(r->line + at);
	if (!length-- || r->line[at + length] != '"' || length > DLM_RESNAME_MAXLEN)
		return misread(r, "no name");
	memcpy(row->name, r->line + at, length);
	return true;
}

/* Of count pairs of digits, each after a space. */
static inline bool read_hex(const char *from, void *to, int count)
{
	unsigned char *byte = to;
	int used = 0;

	for (; count; count--, from += used)
		if (sscanf(from, " %2hhx%n", byte++, &used) != 1 || used != 3)
			return false;
	return !*from;
}

static inline bool read_resource(struct reader *r)
{
	struct row *row = &r->row;
	int at = 0, nodeid;

	*row = (struct row) { 0 };
	if (sscanf(r->line, "rsb %*s %d %*x %*x %*d %*d %*u %d %n", &nodeid, &row->length, &at) != 2 ||
	    !at || nodeid || row->length > DLM_RESNAME_MAXLEN)
		return misread(r, "no resource");
	if (!strncmp(r->line + at, "hex", 3)) {
		if (!read_hex(r->line + at + 3, row->name, row->length))
			misread(r, "no name");
	} else if (!strncmp(r->line + at, "str ", 4) &&
		   strlen(r->line + at + 4) == (size_t)row->length) {
		memcpy(row->name, r->line + at + 4, row->length);
	} else {
		misread(r, "no name");
	}
	return false;
}

static inline bool read_all(struct reader *r)
{
	static const char header[] = "rsb ptr nodeid first_lkid flags !root_list_empty "
				     "!recover_list_empty recover_locks_count len";
	struct row *row = &r->row;
	int at = 0;

	if (!strcmp(r->line, header))
		return false;
	if (!strncmp(r->line, "rsb ", 4))
		return read_resource(r);
	if (sscanf(r->line, "lvb %*u 32%n", &at) == 0 && at) {
		row->has_value = read_hex(r->line + at, row->value, sizeof(row->value));
		return row->has_value ? false : misread(r, "no value block");
	}
	if (sscanf(r->line, "lkb %x %d %x %d %llu %x %x %d %d %d %*d 0 0 %*u %*u %*u%n",
		   (unsigned *)&row->id, &row->nodeid, (unsigned *)&row->remid, &row->pid, &row->xid,
		   &row->exflags, &row->flags, &row->status, &row->granted, &row->requested,
		   &at) != 10 || !at || r->line[at])
		return misread(r, "no lock");
	return true;
}

/* The next lock's row, or NULL. */
static inline const struct row *next_row(struct reader *r)
{
	ssize_t length;

	while (!*r->fault && (length = getline(&r->line, &r->room, r->file)) > 0) {
		if (r->line[--length] != '\n') {
			misread(r, "no line");
			break;
		}
		r->line[length] = 0;
		if (r->table == LOCKS ? read_lock(r) : read_all(r))
			return &r->row;
	}
	return NULL;
}

static inline void close_table(struct reader *r)
{
	if (r->file)
		fclose(r->file);
	free(r->line);
}

/* "granted EX", "PR converting to EX", "waiting for EX", or what makes no sense. */
static inline const char *state_of(const struct row *row)
{
	static char text[80];
	bool holds = row->granted >= 0 && row->granted < MODES;
	bool asks = row->requested >= 0 && row->requested < MODES;

	if (row->status == 2 && holds && row->requested == -1)
		snprintf(text, sizeof(text), "granted %s", mode_name[row->granted]);
	else if (row->status == 3 && holds && asks)
		snprintf(text, sizeof(text), "%s converting to %s", mode_name[row->granted],
			 mode_name[row->requested]);
	else if (row->status == 1 && row->granted == -1 && asks)
		snprintf(text, sizeof(text), "waiting for %s", mode_name[row->requested]);
	else
		snprintf(text, sizeof(text), "status %d, modes %d and %d", row->status, row->granted,
			 row->requested);
	return text;
}

#endif
