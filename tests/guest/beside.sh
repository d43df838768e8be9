#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# beside.sh ours|theirs|alone - try this module beside the kernel's own dlm, which
# needs devices of other names, in a guest where the one named is loaded already;
# alone: ours, with the names of theirs.

set -eu

fail() {
	echo "beside.sh: $*"
	dmesg | tail -n 5
	exit 1
}

# What the module said itself: the kernel has something to say of any such module.
said() { dmesg | grep 'dlm_device: ' | grep -v taint; }
logged() { said | wc -l; }

# refused WHY COMMAND... - it loads nothing, which takes one line to explain
refused() {
	why=$1 before=$(logged)
	shift
	! "$@" 2>refusal || fail "$* succeeds"
	[ $(($(logged) - before)) = 1 ] || fail "$(($(logged) - before)) lines say why $* is refused"
	said | tail -n 1 | grep -q "$why" || fail "the log does not say $why"
}

refused_as_invalid() {
	refused '.' insmod ./dlm_device.ko "prefix=$1"
	grep -q Invalid refusal || fail "prefix=$1: $(cat refusal)"
}

# There is nothing of it left behind, or half made.
gone() {
	for path in "/dev/$1-"* "/dev/$1_"* "/sys/kernel/debug/$1" /sys/module/dlm_device \
		/sys/kernel/tracing/events/dlm_device; do
		[ ! -e "$path" ] || fail "there still is $path"
	done
}

# load PREFIX - load it with these names of devices, and look for them
load() {
	insmod ./dlm_device.ko "prefix=$1" || fail "it cannot be loaded with prefix=$1"
	for path in "/dev/$1-control" "/dev/$1-monitor" "/sys/kernel/debug/$1" \
		/sys/kernel/tracing/events/dlm_device; do
		[ -e "$path" ] || fail "there is no $path"
	done
	[ "$(cat /sys/module/dlm_device/parameters/prefix)" = "$1" ] || fail "the parameter is not shown"
	[ "$(stat -c %a /sys/module/dlm_device/parameters/prefix)" = 444 ] || fail "the parameter can be changed"
}

# Each of the two works, also while the other is at it.
both_work() {
	for program in granting lockspaces tracing; do
		DLM_REFERENCE=1 "./$program" >theirs &
		DLM_PREFIX=mine "./$program" >ours || fail "$(grep -v '^ok' ours)"
		wait $! || fail "$(grep -v '^ok' theirs)"
	done
	DLM_PREFIX=mine ./fdinfo >ours || fail "$(grep -v '^ok' ours)"
}

# long N - a prefix of so many letters
long() { printf "%$1s" '' | tr ' ' m; }

case $1 in
theirs)
	refused 'the kernel.s own dlm is loaded' insmod ./dlm_device.ko
	refused 'the kernel.s own dlm is loaded' insmod ./dlm_device.ko prefix=dlm
	for prefix in '' . mi.ne mi/ne 'mi!ne' mine: 'mi%ne' "$(printf 'm\303\256ne')" "$(long 33)" \
		"$(long 255)"; do
		refused_as_invalid "$prefix"
	done
	for prefix in m mine-2_X "$(long 32)"; do
		load "$prefix"
		rmmod dlm_device
		gone "$prefix"
	done
	load mine
	both_work
	rmmod dlm_device
	gone mine
	for program in granting tracing; do
		DLM_REFERENCE=1 "./$program" >theirs || fail "$(grep -v '^ok' theirs)"
	done
	;;
ours)
	modprobe configfs
	mount -t configfs configfs /sys/kernel/config
	modprobe dlm
	dlm-node
	both_work
	;;
alone)
	for module in dlm gfs2; do
		refused 'the kernel.s own dlm, and what needs it, cannot be loaded' modprobe "$module"
		grep -q busy refusal || fail "$module: $(cat refusal)"
	done
	./granting >ours || fail "$(grep -v '^ok' ours)"
	rmmod dlm_device
	modprobe gfs2 || fail "gfs2 cannot be loaded afterwards"
	;;
esac
