// SPDX-License-Identifier: GPL-2.0

//! The time that locks keep: coarse, and cheap to ask for.

use kernel::bindings;

/// The time since an arbitrary moment in the past, in steps of a few milliseconds: cheap to ask
/// for. What is older than 2^32 steps looks younger, that is, after 198 days where the kernel's clock
/// ticks 250 times a second, after 49 where it does 1,000 times.
pub(crate) fn coarse_time() -> u32 {
    ticks() as u32
}

fn ticks() -> u64 {
    // SAFETY: Aligned and of the machine's word size, it can be read at any time.
    unsafe { (&raw const bindings::jiffies_64).read_volatile() }
}

/// How long ago that was.
pub(crate) fn microseconds_since(time: u32) -> u64 {
    microseconds(age(ticks(), time))
}

/// How long that was after the system started, in nanoseconds.
pub(crate) fn nanoseconds_at(time: u32) -> u64 {
    // The kernel begins to count five minutes before 32 bits are full.
    const START: u32 = (300 * (1_000_000 / STEP)).wrapping_neg();
    let now = ticks();
    let running = now.wrapping_sub(u64::from(START));
    microseconds(running.saturating_sub(age(now, time))) * 1000
}

fn age(now: u64, time: u32) -> u64 {
    u64::from((now as u32).wrapping_sub(time))
}

/// Of the coarse time, in microseconds.
const STEP: u32 = bindings::HZ_TO_USEC_NUM / bindings::HZ_TO_USEC_DEN;

fn microseconds(steps: u64) -> u64 {
    steps * u64::from(STEP)
}
