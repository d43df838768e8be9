// SPDX-License-Identifier: GPL-2.0
/*
 * Defines the tracepoints of trace.h: what to the kernel are macros of C. Rust asks by one static
 * key whether there is anybody who traces, and only then calls.
 */
#include <linux/jump_label.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/trace_events.h>
#include <linux/uaccess.h>
#include <asm/syscall.h>
#include "trace.h"

/* Counts the tracepoints that are in use. */
DEFINE_STATIC_KEY_FALSE(dlm_device_traced);

int dlm_device_trace_begin(void)
{
	static_branch_inc(&dlm_device_traced);
	return 0;
}

void dlm_device_trace_end(void)
{
	static_branch_dec(&dlm_device_traced);
}

/*
 * Where the module's parameters are, if they can be found. The kernel registers a module's events
 * before it sets the parameters, which until then only the system call has that loads the module:
 * this is still within that.
 */
static const char __user *given_parameters(void)
{
	struct pt_regs *regs = task_pt_regs(current);
	unsigned long args[6];

	syscall_get_arguments(current, regs, args);
	switch (syscall_get_nr(current, regs)) {
	case __NR_init_module:
		return (const char __user *)args[2];
	case __NR_finit_module:
		return (const char __user *)args[1];
	default:
		return NULL;
	}
}

/* Whether these leave the devices the names of fs/dlm's. Changes them. */
static bool leave_prefix(char *parameters)
{
	bool left = true;
	char *name, *value;

	parameters = skip_spaces(parameters);
	while (*parameters) {
		parameters = next_arg(parameters, &name, &value);
		if (!strcmp(name, "--") && !value)
			break;
		if (!strcmp(name, "prefix"))
			left = value && !strcmp(value, "dlm");
	}
	return left;
}

/*
 * With devices of the names of fs/dlm's the events are in its system, too: it cannot be loaded
 * then. Otherwise it may be, with events of the same names, so their system is one of our own.
 */
static bool may_be_dlm(void)
{
	const char __user *given = __is_defined(MODULE) ? given_parameters() : NULL;
	char *parameters = given ? strndup_user(given, PAGE_SIZE) : NULL;
	bool left;

	if (IS_ERR_OR_NULL(parameters))
		return false;
	left = leave_prefix(parameters);
	kfree(parameters);
	return left;
}

static int init_event(struct trace_event_call *call)
{
	if (may_be_dlm())
		call->class->system = "dlm";
	return trace_event_raw_init(call);
}

/* The kernel's macros have no other place to ask for a system that is not a constant. */
#define trace_event_raw_init init_event
#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "trace.h"
