// SPDX-License-Identifier: GPL-2.0
/*
 * What any lock manager's system calls cost at least, as two devices. Their writes copy a request
 * in, their reads copy a record out, both of the sizes that fs/dlm's interface has.
 *
 * /dev/bench-floor does nothing else. There is always something to read.
 *
 * /dev/bench-baton hands one lock over. Asking for EX gets it in turn, everything else lets go
 * of it; both are told when it is so. Its holder is told that somebody else asks for it, if its
 * request gave an address for that. No modes, names, ids, value blocks or memory.
 */
#include <linux/dlm_device.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uio.h>
#include <linux/wait.h>

struct request {
	struct dlm_write_request header;
	char name[DLM_RESNAME_MAXLEN];
};

static int copy_request(struct request *request, struct iov_iter *from)
{
	size_t count = iov_iter_count(from);

	if (count < sizeof(request->header) || count > sizeof(*request))
		return -EINVAL;
	if (!copy_from_iter_full(request, count, from))
		return -EFAULT;
	/* The compiler must not find out who looks at it, and how little. */
	barrier_data(request);
	return 0;
}

static ssize_t copy_record(struct iov_iter *to)
{
	struct dlm_lock_result result = { .length = sizeof(result) };

	if (iov_iter_count(to) < sizeof(result))
		return -EINVAL;
	if (copy_to_iter(&result, sizeof(result), to) != sizeof(result))
		return -EFAULT;
	return sizeof(result);
}

/* ---- Nothing ------------------------------------------------------------------------------- */

static ssize_t nothing_write(struct kiocb *kiocb, struct iov_iter *from)
{
	struct request request;

	return copy_request(&request, from) ?: 1;
}

static ssize_t nothing_read(struct kiocb *kiocb, struct iov_iter *to)
{
	return copy_record(to);
}

static const struct file_operations nothing_operations = {
	.owner = THIS_MODULE,
	.write_iter = nothing_write,
	.read_iter = nothing_read,
	.llseek = noop_llseek,
};

static struct miscdevice nothing = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "bench-floor",
	.fops = &nothing_operations,
};

/* ---- The baton ----------------------------------------------------------------------------- */

struct runner {
	wait_queue_head_t readable;
	struct list_head waiting;	/* in line, behind others; or empty */
	unsigned int records;
	bool wants_asking;
};

/* Guards these, and all runners. */
static DEFINE_SPINLOCK(baton_lock);
static struct runner *holder;
static LIST_HEAD(line);

static void tell(struct runner *runner)
{
	runner->records++;
	wake_up_interruptible(&runner->readable);
}

static void pass_on(void)
{
	holder = list_first_entry_or_null(&line, struct runner, waiting);
	if (holder) {
		list_del_init(&holder->waiting);
		tell(holder);
	}
}

static void want(struct runner *runner)
{
	list_add_tail(&runner->waiting, &line);
	if (!holder)
		pass_on();
	else if (holder->wants_asking)
		tell(holder);
}

static void let_go(struct runner *runner)
{
	if (holder == runner)
		pass_on();
	tell(runner);
}

static ssize_t baton_write(struct kiocb *kiocb, struct iov_iter *from)
{
	struct runner *runner = kiocb->ki_filp->private_data;
	struct request request;
	int error = copy_request(&request, from);
	bool is_lock = request.header.cmd == DLM_USER_LOCK;

	if (error)
		return error;
	spin_lock(&baton_lock);
	if (is_lock)
		runner->wants_asking = request.header.i.lock.bastaddr;
	if (is_lock && request.header.i.lock.mode == DLM_LOCK_EX)
		want(runner);
	else
		let_go(runner);
	spin_unlock(&baton_lock);
	return 1;
}

static bool take_record(struct runner *runner)
{
	bool taken;

	spin_lock(&baton_lock);
	taken = runner->records;
	runner->records -= taken;
	spin_unlock(&baton_lock);
	return taken;
}

static ssize_t baton_read(struct kiocb *kiocb, struct iov_iter *to)
{
	struct runner *runner = kiocb->ki_filp->private_data;
	int error = wait_event_interruptible(runner->readable, take_record(runner));

	return error ?: copy_record(to);
}

static __poll_t baton_poll(struct file *file, poll_table *table)
{
	struct runner *runner = file->private_data;

	poll_wait(file, &runner->readable, table);
	return READ_ONCE(runner->records) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int baton_open(struct inode *inode, struct file *file)
{
	struct runner *runner = kzalloc(sizeof(*runner), GFP_KERNEL);

	if (!runner)
		return -ENOMEM;
	init_waitqueue_head(&runner->readable);
	INIT_LIST_HEAD(&runner->waiting);
	file->private_data = runner;
	return 0;
}

static int baton_release(struct inode *inode, struct file *file)
{
	struct runner *runner = file->private_data;

	spin_lock(&baton_lock);
	list_del_init(&runner->waiting);
	if (holder == runner)
		pass_on();
	spin_unlock(&baton_lock);
	kfree(runner);
	return 0;
}

static const struct file_operations baton_operations = {
	.owner = THIS_MODULE,
	.open = baton_open,
	.release = baton_release,
	.write_iter = baton_write,
	.read_iter = baton_read,
	.poll = baton_poll,
	.llseek = noop_llseek,
};

static struct miscdevice baton = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "bench-baton",
	.fops = &baton_operations,
};

/* -------------------------------------------------------------------------------------------- */

static int __init floor_init(void)
{
	int error = misc_register(&nothing);

	if (error)
		return error;
	error = misc_register(&baton);
	if (error)
		misc_deregister(&nothing);
	return error;
}

static void __exit floor_exit(void)
{
	misc_deregister(&baton);
	misc_deregister(&nothing);
}

module_init(floor_init);
module_exit(floor_exit);
MODULE_DESCRIPTION("The floor of dlm_device's benchmark: system calls that do nothing, or almost");
MODULE_LICENSE("GPL");
