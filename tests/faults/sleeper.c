// SPDX-License-Identifier: GPL-2.0
/*
 * sleeper - sleeps where it is forbidden, and refuses to stay: a fault for faults, which no
 * test module of the kernel's commits.
 */
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched.h>

static int __init sleeper_init(void)
{
	preempt_disable();
	might_sleep();
	preempt_enable();
	return -EAGAIN;
}
module_init(sleeper_init);

MODULE_DESCRIPTION("Sleeps where it is forbidden");
MODULE_LICENSE("GPL");
