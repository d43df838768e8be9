// SPDX-License-Identifier: GPL-2.0

//! The memory of programs: where what they write is, and where what they read goes.
//!
//! It comes in two forms. `read()` and `write()` name one piece of memory, `readv()`, `writev()`
//! and io_uring give an `iov_iter`, which costs a hundred instructions more to make and to follow.
//! A [`Source`] or a [`Destination`] is either, so whoever moves bytes is written once.

use super::on_request;
use core::{
    mem::MaybeUninit,
    sync::atomic::{
        compiler_fence,
        Ordering::SeqCst, //
    },
};
use kernel::{
    bindings,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*,
    uaccess::UserPtr,
};

/// What a program writes.
pub(crate) trait Source {
    /// How many bytes there are.
    fn len(&self) -> usize;

    /// Copies bytes until `out` is full, and returns those; fewer if that is all, or if the
    /// program's memory cannot be read.
    fn copy<'a>(&'a mut self, out: &'a mut [MaybeUninit<u8>]) -> &'a [u8];

    /// Copies all bytes, or those before the first that cannot be read. `ENOMEM`.
    fn copy_all(&mut self) -> Result<KVVec<u8>>;
}

/// Where a program reads to.
pub(crate) trait Destination {
    /// How many bytes there is room for.
    fn len(&self) -> usize;

    /// Copies `bytes`, and returns how many; fewer if there is no more room, or if the program's
    /// memory cannot be written.
    fn copy(&mut self, bytes: &[u8]) -> usize;

    /// Copies all of `bytes` if that can be done at once: without sleeping, so with locks held.
    /// Returns whether it was; if not, it is as if it had not been tried.
    fn copy_at_once(&mut self, bytes: &[u8]) -> bool;
}

impl Source for IovIterSource<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn copy<'a>(&'a mut self, out: &'a mut [MaybeUninit<u8>]) -> &'a [u8] {
        self.copy_from_iter_raw(out)
    }

    fn copy_all(&mut self) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::new();
        self.copy_from_iter_vec(&mut bytes, on_request())?;
        Ok(bytes)
    }
}

impl Destination for IovIterDest<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn copy(&mut self, bytes: &[u8]) -> usize {
        self.copy_to_iter(bytes)
    }

    fn copy_at_once(&mut self, bytes: &[u8]) -> bool {
        let copied = without_faults(|| self.copy_to_iter(bytes));
        if copied != bytes.len() {
            // SAFETY: That is by how much it has just been advanced.
            unsafe { self.revert(copied) };
        }
        copied == bytes.len()
    }
}

/// One piece of a program's memory.
pub(super) struct Piece {
    start: UserPtr,
    length: usize,
}

impl Piece {
    #[inline(always)]
    pub(super) fn new(start: UserPtr, length: usize) -> Self {
        Piece { start, length }
    }

    #[inline(always)]
    fn advance(&mut self, bytes: usize) {
        self.start = self.start.wrapping_byte_add(bytes);
        self.length = self.length.saturating_sub(bytes);
    }
}

// The kernel crate's own reader and writer of a `UserSlice` check at every call that the kernel's
// side of the copy is one object, which Rust knows already.

impl Source for Piece {
    #[inline(always)]
    fn len(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn copy<'a>(&'a mut self, out: &'a mut [MaybeUninit<u8>]) -> &'a [u8] {
        let length = out.len().min(self.length);
        let to = out.as_mut_ptr();
        // SAFETY: `out` can be written for `length` bytes, and what is read is checked to be the
        // program's.
        let left =
            unsafe { bindings::_copy_from_user(to.cast(), self.start.as_const_ptr(), length) };
        let copied = length - left as usize;
        self.advance(copied);
        // SAFETY: `_copy_from_user` has written all `length` bytes, zeros for those that could not
        // be read, of which these are the first.
        unsafe { core::slice::from_raw_parts(to.cast(), copied) }
    }

    fn copy_all(&mut self) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::with_capacity(self.length, on_request())?;
        let copied = Source::copy(self, bytes.spare_capacity_mut()).len();
        // SAFETY: `copy` has written so many bytes at the beginning of the spare capacity.
        unsafe { bytes.inc_len(copied) };
        Ok(bytes)
    }
}

impl Destination for Piece {
    #[inline(always)]
    fn len(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn copy(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(self.length);
        let to = self.start.as_mut_ptr();
        // SAFETY: `bytes` can be read for `length` bytes, and what is written is checked to be the
        // program's.
        let left = unsafe { bindings::_copy_to_user(to, bytes.as_ptr().cast(), length) };
        let copied = length - left as usize;
        self.advance(copied);
        copied
    }

    #[inline(always)]
    fn copy_at_once(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.length {
            return false;
        }
        let to = self.start.as_mut_ptr();
        let left = without_faults(|| {
            // SAFETY: `bytes` can be read, and what is written is checked to be the program's.
            unsafe { bindings::_copy_to_user(to, bytes.as_ptr().cast(), bytes.len()) }
        });
        let copied = left == 0;
        if copied {
            self.advance(bytes.len());
        }
        copied
    }
}

/// Lets `access` touch a program's memory, but not fetch a page of it that is not there: that fails
/// instead. It is what C's `pagefault_disable` and `pagefault_enable`, which are inline functions,
/// do to the current thread; `copy_to_user_nofault` checks so much that it costs four times as
/// much.
#[inline(always)]
fn without_faults<R>(access: impl FnOnce() -> R) -> R {
    let current = kernel::current!().as_ptr();
    let count = |change: fn(i32) -> i32| {
        // SAFETY: Only the current thread ever touches this of its own task.
        let depth = unsafe { &raw mut (*current).pagefault_disabled };
        // SAFETY: As above. Volatile, so that it stays on its side of `access`.
        unsafe { depth.write_volatile(change(depth.read_volatile())) };
        compiler_fence(SeqCst);
    };
    count(|depth| depth.wrapping_add(1));
    let result = access();
    compiler_fence(SeqCst);
    count(|depth| depth.wrapping_sub(1));
    result
}
