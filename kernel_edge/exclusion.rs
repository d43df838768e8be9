// SPDX-License-Identifier: GPL-2.0

//! Keeping another module out, by what the kernel's module loader tells before it starts one.

use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    prelude::*,
    types::Opaque, //
};

/// As long as this lives, the module of a certain name cannot be loaded: that is `EBUSY`.
///
/// # Invariants
///
/// `notifier` is in the module loader's list, and calls [`Self::refuse`].
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(crate) struct Exclusion {
    #[pin]
    notifier: Opaque<bindings::notifier_block>,
    module: &'static CStr,
    explain: fn(),
}

// SAFETY: The list may be changed on any thread, and what is in it besides does not change.
unsafe impl Send for Exclusion {}
// SAFETY: Nothing can be changed by a reference to it.
unsafe impl Sync for Exclusion {}

impl Exclusion {
    /// Keeps `module` out from now on; if it is loaded, it stays. Each try to load it calls
    /// `explain`.
    pub(crate) fn new(module: &'static CStr, explain: fn()) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            module,
            explain,
            // Last, because from then on it is called.
            notifier <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                let notifier = bindings::notifier_block {
                    notifier_call: Some(Self::refuse),
                    ..Default::default()
                };
                // SAFETY: `slot` can be written.
                unsafe { slot.write(notifier) };
                // SAFETY: `slot` holds an initialised notifier, which stays pinned, and in no other
                // list, until `drop` takes it out of this one.
                to_result(unsafe { bindings::register_module_notifier(slot) })
            }),
        })
    }

    /// # Safety
    ///
    /// Called by the module loader, with the notifier of an `Exclusion` and a module.
    unsafe extern "C" fn refuse(
        notifier: *mut bindings::notifier_block,
        event: c_ulong,
        module: *mut c_void,
    ) -> c_int {
        // SAFETY: It is the first field of an `Exclusion`, which is `repr(C)`, was complete when the
        // notifier came into the list, and cannot go while the loader is calling.
        let exclusion = unsafe { &*notifier.cast::<Self>() };
        let module = module.cast::<bindings::module>();
        // SAFETY: The module is there during the call, and its name ends with a NUL.
        let name = unsafe { CStr::from_char_ptr((*module).name.as_ptr()) };
        let is_coming = event == bindings::module_state_MODULE_STATE_COMING as c_ulong;
        if !is_coming || name != exclusion.module {
            return bindings::NOTIFY_DONE as c_int;
        }
        (exclusion.explain)();
        refuse(EBUSY)
    }
}

#[pinned_drop]
impl PinnedDrop for Exclusion {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants it is in the list. When this returns, it is not, and nobody
        // is calling it. There is no other error than that it was not there.
        unsafe { bindings::unregister_module_notifier(self.notifier.get()) };
    }
}

/// The `notifier_from_errno` of C.
fn refuse(error: Error) -> c_int {
    bindings::NOTIFY_STOP_MASK as c_int | (bindings::NOTIFY_OK as c_int - error.to_errno())
}
