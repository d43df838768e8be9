// SPDX-License-Identifier: GPL-2.0

//! The kernel's fallible containers, on top of the standard library's.

use core::ops::{
    BitAnd,
    BitOr,
    Deref,
    DerefMut,
    Not, //
};
use std::cell::Cell;

#[derive(Clone, Copy)]
pub struct Flags;

pub const GFP_KERNEL: Flags = Flags;
pub const GFP_KERNEL_ACCOUNT: Flags = Flags;
pub const GFP_NOWAIT: Flags = Flags;

impl BitAnd for Flags {
    type Output = Self;

    fn bitand(self, _: Self) -> Self {
        self
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, _: Self) -> Self {
        self
    }
}

impl Not for Flags {
    type Output = Self;

    fn not(self) -> Self {
        self
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct AllocError;

thread_local! {
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has looked into a vector so far: a measure of work that, unlike time, is
/// the same with every run.
pub fn looks() -> u64 {
    LOOKS.with(Cell::get)
}

fn look() {
    LOOKS.with(|looks| looks.set(looks.get() + 1));
}

/// Lets the next `count` allocations of this thread succeed, and every one after them fail;
/// `None`: none fails.
pub fn fail_after(count: Option<usize>) {
    LEFT.with(|left| left.set(count));
}

fn allocate() -> Result<(), AllocError> {
    LEFT.with(|left| match left.get() {
        None => Ok(()),
        Some(0) => Err(AllocError),
        Some(count) => {
            left.set(Some(count - 1));
            Ok(())
        }
    })
}

/// A box whose making can fail.
#[derive(Debug)]
pub struct KBox<T>(Box<T>);

impl<T> KBox<T> {
    pub fn new(value: T, _flags: Flags) -> Result<Self, AllocError> {
        allocate()?;
        Ok(KBox(Box::new(value)))
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A vector whose growth can fail.
#[derive(Debug)]
pub struct KVec<T>(Vec<T>);

pub type KVVec<T> = KVec<T>;

impl<T> KVec<T> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        KVec(Vec::new())
    }

    pub fn with_capacity(capacity: usize, _flags: Flags) -> Result<Self, AllocError> {
        allocate()?;
        Ok(KVec(Vec::with_capacity(capacity)))
    }

    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Gives the value back if there is no room for it.
    pub fn push_within_capacity(&mut self, value: T) -> Result<(), T> {
        if self.0.len() == self.0.capacity() {
            return Err(value);
        }
        self.0.push(value);
        Ok(())
    }

    pub fn push(&mut self, value: T, _flags: Flags) -> Result<(), AllocError> {
        if self.0.len() == self.0.capacity() {
            allocate()?;
        }
        self.0.push(value);
        Ok(())
    }

    pub fn extend_from_slice(&mut self, other: &[T], _flags: Flags) -> Result<(), AllocError>
    where
        T: Clone,
    {
        if self.0.len() + other.len() > self.0.capacity() {
            allocate()?;
        }
        self.0.extend_from_slice(other);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        look();
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        look();
        &mut self.0
    }
}
