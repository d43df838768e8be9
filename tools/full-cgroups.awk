# SPDX-License-Identifier: GPL-2.0
#
# Prints a kernel log, less what looks like a complaint but is none: when a memory cgroup is full,
# which the tests see to, the kernel reports it with a call trace. Only the line "Call Trace:" goes,
# and only once it is certain that it is not the whole machine that is out of memory.

function release(from) {
	for (; from <= held; from++)
		print line[from]
	held = 0
}

/ invoked oom-killer: / { reporting = 1 }

held || (reporting && /Call Trace:/) {
	line[++held] = $0
	if (/memory: usage .* limit /) {
		reporting = 0
		release(2)
	} else if (/Mem-Info:/) {
		reporting = 0
		release(1)
	}
	next
}

{ print }

END { release(1) }
