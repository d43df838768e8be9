# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the scripts of this folder and those of tests/ share: where things are, how
# a long step is shown and logged, how something slow is made once and kept, and
# how a command runs inside the build root. Sourced, never run.

set -euo pipefail
shopt -s inherit_errexit

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
here=$top/tools
build=$top/build

# A relative XDG_CACHE_HOME is to be ignored, says its specification.
case ${XDG_CACHE_HOME:-} in
/*) cache=$XDG_CACHE_HOME/dlm_device ;;
*) cache=${HOME:?neither XDG_CACHE_HOME nor HOME is set}/.cache/dlm_device ;;
esac
logs=$cache/logs

say() { printf '%s\n' "$*" >&2; }
fail() {
	printf 'error: %s\n' "$@" >&2
	exit 1
}

# choose_kernel - what the kernel that KERNEL names needs: the folder where the module is built for
# it, the guest's megabytes, how much longer than with Debian's all may take, and for how many
# operations of violence and how many loads of the module the tests then have time. ACPI's tables of
# interrupts, which nobody needs, would take the debug kernel a minute to interpret.
choose_kernel() {
	boot_options=
	case ${KERNEL:-} in
	'') workshop=$top memory=1024 patience=1 violence=2000000 loads=200 ;;
	debug) workshop=$build/debug memory=2048 patience=6 violence=200000 loads=20 boot_options=pci=noacpi ;;
	*) fail "KERNEL=$KERNEL: debug, or nothing for Debian's kernel, is wanted" ;;
	esac
}

# hash_of FILE... - twelve hex digits that stand for their content
hash_of() { cat -- "$@" | sha256sum | cut -c1-12; }

# step LOG WHAT COMMAND... - run a long command (or function), output to $logs/LOG.
# Must not stand in a condition: bash would then ignore errors inside COMMAND.
step() {
	local log=$logs/$1.log what=$2 start=$SECONDS rc
	shift 2
	mkdir -p "$logs"
	printf '==> %s ...\n' "$what" >&2
	set +e
	(set -e && "$@") >"$log" 2>&1 </dev/null
	rc=$?
	set -e
	if [ $rc -ne 0 ]; then
		say "error: this step failed (status $rc) after $((SECONDS - start)) s: $what"
		tail -n 15 "$log" | sed 's/^/    | /' >&2
		say "The whole log: $log"
		say "Running the same command again starts afresh from here."
		exit 1
	fi
	printf '    done in %d s\n' $((SECONDS - start)) >&2
}

# locked NAME COMMAND... - run COMMAND while no other run holds the lock NAME
locked() {
	local lock=$cache/locks/$1
	shift
	mkdir -p "$cache/locks"
	(
		exec 9>"$lock"
		if ! flock -n 9; then
			say "==> another run is at work on ${lock##*/}: waiting for it"
			flock 9
		fi
		"$@"
	)
}

# cached NAME KEY COMMAND... - print the folder $cache/NAME-KEY. If it is not
# there, COMMAND FOLDER.tmp makes it; only a complete one gets its name.
cached() {
	local entry=$cache/$1-$2
	shift 2
	[ -d "$entry" ] || locked "${entry##*/}" make_entry "$entry" "$@"
	printf '%s\n' "$entry"
}

make_entry() {
	local entry=$1
	shift
	if [ ! -d "$entry" ]; then
		rm -rf "$entry.tmp"
		mkdir -p "$entry.tmp"
		"$@" "$entry.tmp" >&2
		mv "$entry.tmp" "$entry"
	fi
}

# in_root [bwrap options] -- COMMAND... - run COMMAND inside the build root
# $root, in the folder $at or else the checkout's. The checkout and the cache are where they are outside; the kernel of
# $kernel, if set, is /kernel; the root itself cannot be written to.
in_root() {
	local -a view=() extra=()
	local d v certs
	while [ "$1" != -- ]; do
		extra+=("$1")
		shift
	done
	shift
	[ "$(id -u)" = 0 ] || view+=(--unshare-user --uid 0 --gid 0)
	view+=(--die-with-parent --tmpfs / --dev /dev --proc /proc --tmpfs /tmp --tmpfs /root)
	for d in usr etc var; do view+=(--ro-bind "$root/$d" "/$d"); done
	for d in "$root"/*; do
		[ ! -L "$d" ] || view+=(--symlink "$(readlink "$d")" "/${d##*/}")
	done
	view+=(--bind "$top" "$top" --bind "$cache" "$cache")
	[ -z "${kernel:-}" ] || view+=(--ro-bind "$kernel" /kernel)
	mkdir -p "$cache/cargo"
	view+=(--bind "$cache/cargo" /cargo)
	v=${CARGO_HOME:-${HOME:-/root}/.cargo}/config.toml
	[ ! -f "$v" ] || view+=(--ro-bind "$v" /cargo/config.toml)
	certs=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
	[ ! -f "$certs" ] || view+=(--ro-bind "$certs" /etc/ssl/certs/ca-certificates.crt)
	[ ! -f /etc/resolv.conf ] || view+=(--ro-bind "$(realpath /etc/resolv.conf)" /etc/resolv.conf)
	[ ! -f /etc/hosts ] || view+=(--ro-bind /etc/hosts /etc/hosts)

	view+=(--clearenv --setenv PATH /usr/lib/llvm-19/bin:/usr/sbin:/usr/bin
		--setenv HOME /root --setenv LANG C.UTF-8 --setenv CARGO_HOME /cargo
		--setenv SSL_CERT_FILE /etc/ssl/certs/ca-certificates.crt
		--setenv TERM "${TERM:-dumb}")
	for v in $(compgen -e); do
		case $v in
		http_proxy | https_proxy | no_proxy | all_proxy | HTTP_PROXY | HTTPS_PROXY | NO_PROXY | ALL_PROXY | \
			CARGO_HTTP_* | CARGO_NET_* | CARGO_REGISTR* | CARGO_SOURCE_* | RUST_BACKTRACE)
			view+=(--setenv "$v" "${!v}")
			;;
		esac
	done
	bwrap "${view[@]}" --chdir "${at:-$top}" "${extra[@]}" "$@"
}

# apt_in_root [bwrap options] -- COMMAND... - the same with apt's lists and downloads kept in the
# cache, for apt-get and apt-cache. One at a time.
apt_in_root() {
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
	at=${at:-/} locked apt in_root --bind "$cache/apt/lists" /var/lib/apt/lists \
		--bind "$cache/apt/cache" /var/cache/apt "$@"
}

# apt_fresh DAYS - have apt's lists fetched again if they are older than that
apt_fresh() {
	local days=$1
	if [ -n "$(find "$cache/apt/fresh-${root##*/}" -newermt "-$days days" 2>/dev/null)" ]; then
		return
	fi
	step apt-update "fetching Debian's package lists" apt_in_root -- apt-get -q -o APT::Sandbox::User=root \
		-o APT::Update::Error-Mode=any update
	touch "$cache/apt/fresh-${root##*/}"
}
