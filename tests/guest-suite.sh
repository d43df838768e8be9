# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
#
# The suite of tests/run that works in the guest: builds what is in tests/guest,
# boots, and lets its run-tests run all programs that its run.list names.
# Their output is TAP; a program that prints none counts as one test. If the
# guest dies, the program it died of has failed and the rest runs in a new one.

# tally NAME STATUS SECONDS - count the finished program whose output is in its log
tally() {
	local name=$1 status=$2 log=$out/guest/$1.log
	local ok bad skipped planned faults line missing
	ok=$(grep -cE '^ok ' "$log") || true
	skipped=$(grep -cE '^ok .*# *SKIP' "$log") || true
	bad=$(grep -cE '^not ok ' "$log") || true
	faults=$(grep -cE '^@@fault ' "$log") || true
	planned=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$log" | sed -n 1p)
	missing=$((${planned:-0} - ok - bad))
	if [ $missing -gt 0 ]; then
		echo "@@fault $missing of its tests did not report" >>"$log"
		faults=$((faults + 1)) bad=$((bad + missing - 1))
	elif [ "$status" != 0 ] && [ "$status" != 4 ] && [ $((bad + faults)) = 0 ]; then
		echo "@@fault it returned status $status" >>"$log"
		faults=1
	elif [ $((ok + bad + faults)) = 0 ]; then
		[ "$status" = 4 ] && skipped=1
		ok=1
	fi
	passed=$((passed + ok - skipped)) failed=$((failed + bad + faults))
	printf '    %-16s %4d passed, %d failed%s in %s s\n' "$name" $((ok - skipped)) $((bad + faults)) \
		"$([ "$skipped" = 0 ] || echo ", $skipped skipped")" "$3"
	if [ $((bad + faults)) != 0 ]; then
		grep -E '^not ok |^@@fault |^# +[^ ]+:[0-9]+:' "$log" | sed 's/^@@fault /not ok: /; s/^/    | /' | head -n 60
		echo "    The whole log: $log"
	fi
}

# follow - read what the guest prints, sort it into logs, tally what ends.
# Takes a program off the list in todo when it begins.
follow() {
	local line name='' rest log=/dev/null
	while IFS= read -r line; do
		case $line in
		'@@begin '*)
			name=${line#* }
			log=$out/guest/$name.log
			: >"$log"
			sed -i 1d "$out/guest/next"
			;;
		'@@end '*)
			read -r _ _ rest <<<"$line"
			# shellcheck disable=SC2086
			tally "$name" $rest
			name=
			;;
		*) printf '%s\n' "$line" >>"$log" ;;
		esac
	done
	if [ -n "$name" ]; then
		echo "@@fault the guest died, or was given up, in it" >>"$log"
		tally "$name" 0 '?'
	fi
}

# make_programs TARGET... - of what tests/guest/Makefile builds
make_programs() {
	local log=$out/guest/build.log
	in_root -- make -j2 -C "$top/tests/guest" OUT="$bin" KSRC=/kernel VIOLENCE="${VIOLENCE:-$violence}" \
		LOADS="${LOADS:-$loads}" "$@" >>"$log" 2>&1 </dev/null && return
	failure "the guest's programs do not build"
	tail -n 30 "$log" | sed 's/^/    | /'
	echo "    The whole log: $log"
	return 1
}

# cases_of PROGRAM - the names of its cases, as the harness lists them: behind fixture and variant,
# which stand alone in lines that end with a space.
cases_of() {
	in_root -- timeout 10 "$bin/$1" -l 2>&1 </dev/null |
		awk '/^# FIXTURE / { listing = 1; next } listing && !/^-/ && !/ $/ { print $NF }'
}

# is_there WORD - whether this word of TEST names a program, or as PROGRAM:CASE a case of one
is_there() {
	local program=${1%%:*} cases
	if ! grep -q "^$program " "$bin/run.list"; then
		failure "TEST=$1: there is no such program; there are: $(cut -d' ' -f1 "$bin/run.list" | xargs)"
		return 1
	fi
	make_programs "$bin/$program" || return 1
	[ "$1" != "$program" ] || return 0
	cases=$(cases_of "$program") || true
	if [ -z "$cases" ]; then
		failure "TEST=$1: $program is one test, it has no cases"
		return 1
	elif ! grep -qxF -- "${1#*:}" <<<"$cases"; then
		failure "TEST=$1: $program has no such case; it has: $(xargs <<<"$cases")"
		return 1
	fi
}

# chosen - of the programs listed on standard input those that TEST names; the harness is told the
# cases to run.
chosen() {
	local name command word is_chosen
	while read -r name command; do
		is_chosen=
		for word in $TEST; do
			case $word in
			"$name") is_chosen=yes ;;
			"$name":*) is_chosen=yes command+=" -t ${word#*:}" ;;
			esac
		done
		[ -z "$is_chosen" ] || echo "$name $command"
	done
}

# build_programs - and list in next what is to be run
build_programs() {
	local word
	make_programs "$bin/run.list" || return 1
	if [ -z "${TEST:-}" ]; then
		make_programs all || return 1
		cp "$bin/run.list" "$out/guest/next"
	else
		for word in $TEST; do is_there "$word" || return 1; done
		chosen <"$bin/run.list" >"$out/guest/next"
	fi
}

# Runs what next lists, in as many guests as it takes.
run_programs() {
	local left rc before_vm
	cp "$top/tests/guest/run-tests" "$here/complaints.patterns" "$here/full-cgroups.awk" "$bin/"
	while [ -s "$out/guest/next" ]; do
		left=$(wc -l <"$out/guest/next")
		cp "$out/guest/next" "$bin/todo"
		before_vm=$failed
		rc=0
		follow < <(rc=0; DIR=$bin RUN='sh run-tests' TIMEOUT=${TIMEOUT:-$((3600 * patience))} "$here/vm" 2>"$out/guest/vm.log" || rc=$?
			echo $rc >"$out/guest/status")
		rc=$(cat "$out/guest/status")
		if [ "$rc" != 0 ] && [ "$failed" = "$before_vm" ]; then
			failure "the guest ended with status $rc"
			sed 's/^/    | /' "$out/guest/vm.log"
		fi
		if [ "$(wc -l <"$out/guest/next")" = "$left" ]; then
			[ "$failed" != "$before_vm" ] || failure "the guest ran nothing"
			break
		fi
	done
}

suite_guest() {
	local bin=$out/guest/bin
	rm -rf "$out/guest"
	mkdir -p "$bin"
	build_programs || return 0
	if [ "${MODULE:-dlm_device}" = dlm_device ] && ! "$here/module"; then
		failure "there is no module to test"
		return
	fi
	run_programs
}
