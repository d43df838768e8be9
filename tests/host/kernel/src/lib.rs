// SPDX-License-Identifier: GPL-2.0

//! As much of the kernel's `kernel` crate as the safe rooms use, on top of the standard library,
//! so that the very same files meet unit tests, a reference model and tools that only run on the
//! host. Names and signatures follow the kernel's; what is not needed is not here.
//!
//! Allocations can be made to fail: [`alloc::fail_after`].

pub mod alloc;
pub mod error;

/// The names that the kernel's prelude brings in.
pub mod prelude {
    pub use crate::alloc::{
        Flags,
        KBox,
        KVVec,
        KVec,
        GFP_KERNEL,
        GFP_KERNEL_ACCOUNT,
        GFP_NOWAIT, //
    };
    pub use crate::error::{
        code::*,
        Error,
        Result, //
    };
    pub use zerocopy::{
        FromBytes,
        IntoBytes, //
    };
}
