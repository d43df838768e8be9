#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# guide_admin.sh - what doc/guide.md tells an administrator to type, typed, and what must come of
# it. Beside it, in the folder where it runs, is guide_orphans, the user whose locks are looked at.

set -eu

# shows WORD COMMAND... - its output has the word
shows() {
	word=$1
	shift
	"$@" >/tmp/guide.out 2>&1 || true
	grep -q -- "$word" /tmp/guide.out || {
		echo "$* shows no \"$word\":"
		cat /tmp/guide.out
		exit 1
	}
}

dlm_tool join guide

# Which lockspaces there are.
list() {
	ls /dev/dlm_*
	ls /sys/kernel/debug/dlm
	grep dlm_ /proc/misc
}
shows dlm_guide list
shows guide_locks list

# dlm_tool's own list is the cluster daemon's.
! dlm_tool ls || exit 1

# An orphan: its process is gone.
./guide_orphans leave &
pid=$!
wait $pid
shows "EX.* pid $pid .*disk" dlm_tool lockdump guide
[ ! -e /proc/$pid ]
./guide_orphans adopt
! ./guide_orphans adopt || exit 1

# One that is purged, by its process or whosever it is.
./guide_orphans leave &
pid=$!
wait $pid
./guide_orphans purge 1
./guide_orphans purge $pid

# Who has the lockspace open.
sleep 100 3<>/dev/dlm_guide &
sleeper=$!
openers() {
	for file in /proc/[0-9]*/fd/*; do
		[ "$(readlink "$file")" != /dev/dlm_guide ] || echo "$file"
	done
}
shows "/proc/$sleeper/fd/3" openers
shows "lockspace:.guide" cat "/proc/$sleeper/fdinfo/3"
kill $sleeper
wait $sleeper || true

dlm_tool leave guide
[ ! -e /dev/dlm_guide ]
