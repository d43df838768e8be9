#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# lvmlockd.sh - Debian's lvmlockd on one machine, with the dlm that this module stands for, and
# LVM's commands in a shared volume group. In a guest with the package lvm2-lockd.
#
# No cluster's daemon runs. What lvmlockd wants from one it reads where fs/dlm has it, in configfs:
# the cluster's name, and, to remove a group, which nodes use it. The daemon would also tell
# lvmlockd --adopt=1 which lockspaces there are; without it, LVM's commands must ask to adopt.

set -eu

fail() {
	echo "lvmlockd.sh: $*"
	cat log
	tail -n 20 daemon.log
	exit 1
}

# must, must_not COMMAND... - what it says is for whoever looks for a failure's reason
must() { "$@" >log 2>&1 || fail "$* failed"; }
must_not() { ! "$@" >log 2>&1 || fail "$* succeeded"; }

# held MODE - so is the one lock there is of a logical volume
held() {
	dlm_tool lockdump lvm_vg >log || fail "no locks are listed"
	[ "$(grep -v 'VGLK' log | sed 's/.* gr \(..\) .*/\1/' | xargs)" = "$1" ] || fail "the volume's lock is not $1"
}

start_daemon() {
	lvmlockd -D >>daemon.log 2>&1 &
	daemon=$!
	until lvmlockctl --info >log 2>&1; do sleep 0.1; done
}

modprobe -a configfs loop dm-mod
mount -t tmpfs none /sys/kernel/config
cluster=/sys/kernel/config/dlm/cluster
mkdir -p $cluster/spaces/lvm_vg/nodes/1 /run/lvm /run/lock/lvm /etc/lvm
echo one >$cluster/cluster_name
cat >/etc/lvm/lvm.conf <<-END
	global { use_lvmlockd = 1 use_lvmpolld = 0 }
	activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
	devices { obtain_device_list_from_udev = 0 use_devicesfile = 0 }
	backup { backup = 0 archive = 0 }
END
cd /tmp
truncate -s 100M disk
losetup /dev/loop0 disk

start_daemon
must vgcreate --shared --lock-type dlm vg /dev/loop0
[ -c /dev/dlm_lvm_global ] && [ -c /dev/dlm_lvm_vg ] || fail "there is no lockspace"

# A volume is locked as it is activated.
must lvcreate -n one -L 8M vg
held EX
must lvchange -an vg/one
held ''
must lvchange -asy vg/one
held PR
must_not lvextend -L +4M vg/one
must lvchange -an vg/one
must lvchange -aey vg/one
must lvextend -L +4M vg/one
must lvcreate -s -n snap -L 4M vg/one
must lvremove -y vg/snap

# Commands that change the group at the same time take turns.
jobs=
for i in 1 2 3 4 5 6 7 8; do
	lvcreate -an -n "p$i" -l 1 vg >"log.$i" 2>&1 &
	jobs="$jobs $!"
done
for job in $jobs; do wait "$job" || fail "$(cat log.*)"; done
[ "$(lvs --noheadings -o name vg 2>log | wc -l)" = 9 ] || fail "a volume is missing"

# The daemon dies. Its locks are orphans; the next one adopts them.
kill -9 $daemon
wait $daemon 2>log || true
held EX
start_daemon
must vgchange --lock-start --lockopt adoptls vg
must lvchange -aey --lockopt adoptlv vg/one
held EX
must lvchange -an vg/one
held ''

must vgchange -an vg
must vgchange --lock-stop vg
[ ! -e /dev/dlm_lvm_vg ] || fail "the lockspace is still there"
must vgchange --lock-start vg
must lvremove -fy vg
must vgremove vg
lvmlockctl --stop-lockspaces
lvmlockctl --quit
wait $daemon || fail "lvmlockd ended with status $?"
for node in /dev/dlm_*; do
	[ ! -e "$node" ] || fail "$node is left"
done
rmmod dlm_device || fail "the module is in use"
