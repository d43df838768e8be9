// SPDX-License-Identifier: GPL-2.0

//! How long work in the kernel goes on: it lets others run, and ends with its program.

use kernel::{
    bindings,
    prelude::*, //
};

/// Whether the calling thread has been killed, and will end as soon as it has left the kernel.
#[inline(always)]
fn is_dying() -> bool {
    const KILLED: usize = 1 << (bindings::SIGKILL - 1);
    // SAFETY: The current task exists; its signals may change at any time, but are a word here.
    let pending = unsafe {
        (&raw const (*kernel::current!().as_ptr()).pending.signal.sig[0]).read_volatile()
    };
    pending & KILLED != 0
}

/// Whether another thread is to run as soon as the calling one leaves the kernel.
#[cfg(all(CONFIG_ARCH_HAS_PREEMPT_LAZY, CONFIG_THREAD_INFO_IN_TASK))]
fn is_overdue() -> bool {
    // SAFETY: The current task exists; its flags may change at any time, but are a word.
    let flags =
        unsafe { (&raw const (*kernel::current!().as_ptr()).thread_info.flags).read_volatile() };
    flags & (1 << bindings::TIF_NEED_RESCHED_LAZY) != 0
}

/// Lets others run, in the middle of long work; no lock may be held. Kernels that preempt at any
/// time have no such call, and need none. By that of kernels that preempt lazily, others would wait for
/// the next tick but one.
pub(crate) fn reschedule() {
    #[cfg(all(CONFIG_ARCH_HAS_PREEMPT_LAZY, CONFIG_THREAD_INFO_IN_TASK))]
    if is_overdue() {
        // SAFETY: May be called wherever sleeping is allowed; the thread goes on when it is its turn.
        unsafe { bindings::schedule() };
    }
    #[cfg(any(not(CONFIG_PREEMPTION), CONFIG_PREEMPT_DYNAMIC))]
    // SAFETY: May be called wherever sleeping is allowed.
    unsafe {
        bindings::__cond_resched()
    };
}

/// Lets others run, in the middle of long work that a program has asked for; no lock may be held.
/// `EINTR` if the program has been killed.
pub(crate) fn pause() -> Result {
    reschedule();
    if is_dying() {
        return Err(EINTR);
    }
    Ok(())
}

/// Sleeps for so many milliseconds, or until a signal comes.
pub(crate) fn rest(milliseconds: u32) {
    let ticks = kernel::time::msecs_to_jiffies(milliseconds);
    // SAFETY: May be called wherever sleeping is allowed.
    unsafe { bindings::schedule_timeout_interruptible(ticks as kernel::ffi::c_long) };
}
