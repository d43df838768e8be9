#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# udev.sh - Debian 13 becomes one with dlm_device as README says. Then libdlm finds its devices, and
# udev leaves alone who may use them. In a guest with the packages udev and dlm-controld.

set -eu

fail() {
	echo "udev.sh: $*"
	cat log
	ls -l /dev/dlm* /dev/misc
	exit 1
}

# must COMMAND... - what it says is for whoever looks for a failure's reason
must() { "$@" >log 2>&1 || fail "$* failed"; }

# mode_is MODE LOCKSPACE
mode_is() { [ "$(stat -c %a "/dev/dlm_$2")" = "$1" ] || fail "dlm_$2 has another mode than $1"; }

# As on any machine, but for what the guest's init has instead of udev; dlm-controld comes later.
theirs=/usr/lib/udev/rules.d/51-dlm.rules
rm /dev/misc
mv $theirs .
mkdir -p /etc/udev/rules.d
echo users:x:100: >>/etc/group
must /usr/lib/systemd/systemd-udevd --daemon

# README, from here
cp tools/udev/51-dlm-device.rules /etc/udev/rules.d/
udevadm control --reload
insmod dlm_device.ko

must ./example
grep -q 'given up' log || fail "the example had no lock"
[ ! -e /dev/dlm_example ] || fail "the example's lockspace is still there"

mv "${theirs##*/}" $theirs
ln -s /dev/null /etc/udev/rules.d/51-dlm.rules

cp example.rules /etc/udev/rules.d/60-dlm-local.rules
# to here; and links by other rules, to compare.
echo 'KERNEL=="dlm_*", SYMLINK+="others/%k"' >/etc/udev/rules.d/50-others.rules
must udevadm control --reload
must ./udev
must ./libdlm_lt

# Why dlm-controld's rules are put out of force
must dlm_tool join -m 600 ours
mode_is 600 ours
rm /etc/udev/rules.d/51-dlm.rules
must udevadm control --reload
must udevadm trigger --subsystem-match=misc
must udevadm settle
mode_is 660 ours
must dlm_tool leave ours

must udevadm control --exit
rmmod dlm_device || fail "the module is in use"
