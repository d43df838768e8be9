// SPDX-License-Identifier: GPL-2.0

//! The kernel's edge: what the `kernel` crate does not offer yet, each raw call behind one safe
//! function. All `unsafe` of the module is here and in the rooms below: `allocation` is about memory
//! that programs have us take, `memory` about their own; `device` is a misc device, `exclusion` keeps
//! another module out, `listing` has files in debugfs, `pacing` lets others run in the middle of long
//! work, `parameter` is the module's parameter, `time` the clock of locks, `trace` tracepoints.

mod allocation;
mod device;
mod exclusion;
mod listing;
mod memory;
mod pacing;
mod parameter;
mod time;
pub(crate) mod trace;

pub(crate) use self::{
    allocation::{
        check_reserve,
        on_request,
        retry_with_memory, //
    },
    device::{
        data,
        minor,
        patience,
        Device,
        Patience,
        Registration, //
    },
    exclusion::Exclusion,
    listing::{
        write_bytes,
        Folder,
        Listing,
        ListingFile, //
    },
    memory::{
        Destination,
        Source, //
    },
    pacing::{
        pause,
        reschedule,
        rest, //
    },
    parameter::prefix,
    time::{
        coarse_time,
        microseconds_since,
        nanoseconds_at, //
    },
};

use kernel::{
    bindings,
    prelude::*, //
};

/// Whether the calling thread may administer the system.
pub(crate) fn is_administrator() -> bool {
    // SAFETY: Only looks at the current task, in process context.
    unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as kernel::ffi::c_int) }
}

/// What a process is called, zeros behind it: that can be anything but a zero.
pub(crate) type Command = [u8; bindings::TASK_COMM_LEN as usize];

/// What the calling process is called at this moment.
pub(crate) fn command_of_caller() -> Command {
    let caller = kernel::current!();
    let leader = caller.group_leader();
    // SAFETY: The leader exists as long as the caller. His name may be changed meanwhile, so that part of
    // the old one and part of the new are read, but it is made of bytes, which may have any value.
    unsafe { (&raw const (*leader.as_ptr()).comm).read_volatile() }
}

/// Whether the kernel, or a module that is loaded, exports this symbol.
pub(crate) fn is_exported(symbol: &CStr) -> bool {
    // SAFETY: The name is a valid string.
    let found = !unsafe { bindings::__symbol_get(symbol.as_char_ptr()) }.is_null();
    if found {
        // SAFETY: As above; this gives back the reference that was just taken.
        unsafe { bindings::__symbol_put(symbol.as_char_ptr()) };
    }
    found
}

/// Hashes names in a way that nobody outside can predict (the kernel's hsiphash).
pub(crate) struct Hasher(bindings::hsiphash_key_t);

impl Hasher {
    pub(crate) fn new() -> Self {
        let mut key = bindings::hsiphash_key_t::default();
        let bytes = core::mem::size_of_val(&key.key);
        // SAFETY: The pointer is valid for writing the length given.
        unsafe { bindings::get_random_bytes(key.key.as_mut_ptr().cast(), bytes) };
        Hasher(key)
    }

    pub(crate) fn hash(&self, name: &[u8]) -> u32 {
        // SAFETY: The pointers are valid for reading the length given, and a key.
        unsafe { bindings::__hsiphash_unaligned(name.as_ptr().cast(), name.len(), &self.0) }
    }
}

/// Whether a message may go to the log now, or there have been too many.
pub(crate) fn may_log() -> bool {
    // SAFETY: The name is a static string.
    unsafe { bindings::__printk_ratelimit(c"dlm_device".as_char_ptr()) != 0 }
}
