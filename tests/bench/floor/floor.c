// SPDX-License-Identifier: GPL-2.0
/*
 * A device that does nothing, /dev/bench-floor: what any lock manager's system calls cost at least.
 * A write copies a request in, a read copies a record out, both of the sizes that fs/dlm's
 * interface has, and there is always something to read.
 */
#include <linux/dlm_device.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uio.h>

struct request {
	struct dlm_write_request header;
	char name[DLM_RESNAME_MAXLEN];
};

static ssize_t floor_write(struct kiocb *kiocb, struct iov_iter *from)
{
	struct request request;
	size_t count = iov_iter_count(from);

	if (count > sizeof(request))
		return -EINVAL;
	if (!copy_from_iter_full(&request, count, from))
		return -EFAULT;
	/* The compiler must not find out that nobody looks at it. */
	barrier_data(&request);
	return 1;
}

static ssize_t floor_read(struct kiocb *kiocb, struct iov_iter *to)
{
	struct dlm_lock_result result = { .length = sizeof(result) };

	if (iov_iter_count(to) < sizeof(result))
		return -EINVAL;
	if (copy_to_iter(&result, sizeof(result), to) != sizeof(result))
		return -EFAULT;
	return sizeof(result);
}

static __poll_t floor_poll(struct file *file, poll_table *table)
{
	return EPOLLIN | EPOLLRDNORM;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.write_iter = floor_write,
	.read_iter = floor_read,
	.poll = floor_poll,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "bench-floor",
	.fops = &operations,
};

module_misc_device(device);
MODULE_DESCRIPTION("The floor of dlm_device's benchmark: system calls that do nothing");
MODULE_LICENSE("GPL");
