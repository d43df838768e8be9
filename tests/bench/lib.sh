# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154
#
# What the scripts of this folder share: the benchmark's programs, and how they are built. Sourced,
# behind tools/lib.sh.

source=$top/tests/bench
out=$build/bench
shared=$out/guest

report() {
	in_root -- "$out/report/debug/bench_report" --cases "$source/cases.toml" "$@"
}

build_report() {
	in_root -- cargo build --manifest-path "$source/report/Cargo.toml" --target-dir "$out/report"
}

build_guest() {
	in_root -- make -C "$source/guest" OUT="$shared"
	cp "$source"/guest/run-* "$shared/"
	SRC=$source/floor COPY=$out/floor LOG=$out/floor.log "$here/module"
	cp "$out/floor/floor.ko" "$shared/"
}

prepare() {
	root=$("$here/buildroot")
	kernel=$("$here/kernel")
	mkdir -p "$shared"
	step bench-report "building the benchmark's report" build_report
}

# Once, however often it is asked for.
prepare_guest() {
	[ -z "${guest_is_ready:-}" ] || return 0
	step bench-guest "building the benchmark" build_guest
	guest_is_ready=1
}
