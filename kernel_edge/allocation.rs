// SPDX-License-Identifier: GPL-2.0

//! Memory that programs have the module take: how it is asked for, and when it is refused.
//!
//! Any program that may use a lockspace can ask for as many locks as it likes, and what they take is
//! no part of what the OOM killer sees of it: the killer would go for others first. So nothing that a
//! request asks for calls the killer, and nothing new is given out while the machine has little left.

use super::time::coarse_time;
use core::mem::{
    size_of,
    transmute, //
};
use kernel::{
    alloc::Flags,
    bindings,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// How memory is taken for a request where no lock is held: it is charged to the program's memory
/// cgroup and waited for, but if there is none the request is `ENOMEM`, and nobody is killed for it.
pub(crate) fn on_request() -> Flags {
    const RETRY_MAYFAIL: u32 = 1 << bindings::___GFP_RETRY_MAYFAIL_BIT;
    const FLAGS: Flags =
        flags(bindings::GFP_KERNEL_ACCOUNT | bindings::__GFP_NOWARN | RETRY_MAYFAIL);
    FLAGS
}

/// Flags that the kernel crate has no name for, by their bits.
const fn flags(bits: u32) -> Flags {
    const _: () = assert!(size_of::<Flags>() == size_of::<u32>());
    // SAFETY: Flags are nothing but a `u32`, of which every value is valid: they can be combined, and
    // complemented, by all operators of bits.
    unsafe { transmute::<u32, Flags>(bits) }
}

/// This part of the machine's memory is left to others.
const RESERVE_PART: usize = 32;

/// But no more than so many bytes.
const RESERVE_MAX: usize = 256 << 20;

/// When there was last found to be enough.
static ENOUGH_AT: Atomic<u32> = Atomic::new(0);

/// `ENOMEM` while less memory than the reserve is available on the machine. To know that costs more
/// than a lock, so while there is enough it is found out once in each step of the coarse time.
#[inline(always)]
pub(crate) fn check_reserve() -> Result {
    let now = coarse_time();
    if ENOUGH_AT.load(Relaxed) == now {
        Ok(())
    } else {
        look_at_reserve(now)
    }
}

#[cold]
fn look_at_reserve(now: u32) -> Result {
    let mut machine = bindings::sysinfo::default();
    // SAFETY: It can be written.
    unsafe { bindings::si_meminfo(&mut machine) };
    // SAFETY: May be called at any time.
    let available = unsafe { bindings::si_mem_available() };
    let total = machine.totalram.saturating_mul(machine.mem_unit as usize);
    let available = usize::try_from(available)
        .unwrap_or(0)
        .saturating_mul(kernel::page::PAGE_SIZE);
    if available < (total / RESERVE_PART).min(RESERVE_MAX) {
        return Err(ENOMEM);
    }
    ENOUGH_AT.store(now, Relaxed);
    Ok(())
}

/// More memory than most requests take, in bytes.
const ROOM: usize = 1 << 14;

/// Others may use up the room that has been made, or it was too little: so often it is made again,
/// twice as much each time.
const ATTEMPTS: usize = 10;

/// Tries again what has ended with `error`, if that is for want of memory, which was only taken if it
/// was there at once. Before, it is waited for until there is some; no lock may be held. `ENOMEM`, and
/// what `attempt` returns.
#[cold]
pub(crate) fn retry_with_memory<R>(mut error: Error, attempt: impl Fn() -> Result<R>) -> Result<R> {
    for doubled in 0..ATTEMPTS {
        if error != ENOMEM {
            break;
        }
        check_reserve()?;
        drop(KVVec::<u8>::with_capacity(ROOM << doubled, on_request())?);
        match attempt() {
            Err(again) => error = again,
            result => return result,
        }
    }
    Err(error)
}
