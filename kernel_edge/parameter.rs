// SPDX-License-Identifier: GPL-2.0

//! The module parameter `prefix`. `module!` knows numbers only, so this is what C's
//! `module_param_string` comes to.

use core::ptr::from_ref;
use kernel::{
    bindings,
    module_param::KernelParam,
    prelude::*,
    str::as_char_ptr_in_const_context, //
};

/// What fits, with the NUL; what is allowed is for the reader to say, who can explain it.
const ROOM: usize = 256;

static mut VALUE: [u8; ROOM] = {
    let mut value = [0; ROOM];
    [value[0], value[1], value[2]] = *b"dlm";
    value
};

#[repr(transparent)]
struct Place(bindings::kparam_string);

// SAFETY: It is not changed, and only the kernel follows what it points to.
unsafe impl Sync for Place {}

static PLACE: Place = Place(bindings::kparam_string {
    maxlen: ROOM as u32,
    string: (&raw mut VALUE).cast(),
});

#[link_section = "__param"]
#[used(compiler)]
static PARAMETER: KernelParam = KernelParam::new(bindings::kernel_param {
    name: as_char_ptr_in_const_context(if cfg!(MODULE) {
        c"prefix"
    } else {
        c"dlm_device.prefix"
    }),
    #[cfg(MODULE)]
    mod_: &raw mut bindings::__this_module,
    #[cfg(not(MODULE))]
    mod_: core::ptr::null_mut(),
    ops: &raw const bindings::param_ops_string,
    perm: 0o444,
    level: -1,
    flags: 0,
    __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 {
        str_: from_ref(&PLACE).cast(),
    },
});

/// Adds a line to what `modinfo` tells, which for a part of the kernel itself names the module.
macro_rules! modinfo {
    ($line:literal) => {
        const _: () = {
            const LINE: &str = if cfg!(MODULE) {
                concat!($line, "\0")
            } else {
                concat!("dlm_device.", $line, "\0")
            };
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static BYTES: [u8; LINE.len()] = match LINE.as_bytes().first_chunk() {
                Some(bytes) => *bytes,
                None => [0; LINE.len()],
            };
        };
    };
}

modinfo!("parmtype=prefix:string");
modinfo!(
    "parm=prefix:what the names of the devices begin with, up to 32 letters, digits, _ or - (dlm)"
);

/// The value of the parameter.
pub(crate) fn prefix() -> &'static CStr {
    // SAFETY: The kernel has written the value, a string with its NUL, before it called the
    // module, and as the file in sysfs cannot be written, nobody changes it.
    unsafe { CStr::from_char_ptr((&raw const VALUE).cast()) }
}
