// SPDX-License-Identifier: GPL-2.0

//! The tracepoints of `trace.h`. The kernel's `declare_trace!` knows those that were there when the
//! kernel was built, so this is the same for a module's own.

use kernel::ffi::c_int;

/// What all of them tell.
#[derive(Clone, Copy)]
pub(crate) struct Lock<'a> {
    /// The minor number of its lockspace's device.
    pub(crate) lockspace: u32,
    pub(crate) id: u32,
    /// The name of its resource.
    pub(crate) name: &'a [u8],
}

/// Whether somebody traces. Costs a jump that is not taken; or, where kernels cannot patch their code,
/// a look at a counter.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    #[cfg(CONFIG_TRACEPOINTS)]
    // SAFETY: It is a static key, which C defines.
    return unsafe { kernel::jump_label::static_branch_unlikely!(dlm_device_traced, Switch, key) };
    #[cfg(not(CONFIG_TRACEPOINTS))]
    false
}

/// A `struct static_key_false`, as the macro wants it.
#[cfg(CONFIG_TRACEPOINTS)]
#[repr(C)]
struct Switch {
    key: kernel::bindings::static_key_false,
}

#[cfg(CONFIG_TRACEPOINTS)]
extern "C" {
    static dlm_device_traced: Switch;
}

/// Makes functions that call those which the macros of `trace.h` have made. Where the kernel has no
/// tracepoints they do nothing.
macro_rules! tracepoints {
    ($($(#[$doc:meta])* $name:ident = $event:ident($($field:ident: $type:ty),*);)*) => {
        #[cfg(CONFIG_TRACEPOINTS)]
        extern "C" {
            $(fn $event(
                lockspace: u32,
                id: u32,
                name: *const u8,
                length: usize,
                $($field: $type),*
            );)*
        }
        $(
            $(#[$doc])*
            #[cold]
            pub(crate) fn $name(lock: Lock<'_>, $($field: $type),*) {
                let Lock { lockspace, id, name } = lock;
                #[cfg(CONFIG_TRACEPOINTS)]
                // SAFETY: The name can be read, and is copied.
                unsafe {
                    $event(lockspace, id, name.as_ptr(), name.len(), $($field),*)
                };
                #[cfg(not(CONFIG_TRACEPOINTS))]
                let _ = (lockspace, id, name, $($field),*);
            }
        )*
    };
}

tracepoints! {
    /// A new lock is requested, or a conversion.
    lock_start = rust_do_trace_dlm_lock_start(mode: c_int, flags: u32);
    /// The request has been made, or has ended with this error number.
    lock_end = rust_do_trace_dlm_lock_end(mode: c_int, flags: u32, error: c_int);
    /// A lock is to be unlocked, or cancelled.
    unlock_start = rust_do_trace_dlm_unlock_start(flags: u32);
    /// That has been done, or has ended with this error number.
    unlock_end = rust_do_trace_dlm_unlock_end(flags: u32, error: c_int);
    /// The program is told that an operation has ended.
    ast = rust_do_trace_dlm_ast(status_flags: u8, status: c_int);
    /// The program is told that its lock is in the way of a request for this mode.
    bast = rust_do_trace_dlm_bast(mode: c_int);
}
