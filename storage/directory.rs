// SPDX-License-Identifier: GPL-2.0

//! Finding things by name: a hash table that grows and shrinks one bucket at a time.
//!
//! Linear hashing: with every insertion at most one bucket is split, with every removal a few
//! are merged, so no operation ever pays for a rehash of the whole table, however large it is,
//! and the memory of the buckets follows the number of entries in both directions. The hash comes
//! from the caller, keyed, so that programs cannot choose names that meet in one bucket.

use crate::storage::slab::{
    at_once,
    Slab,
    NONE, //
};
use kernel::prelude::*;

/// Buckets that need not be allocated.
const FIRST: usize = 16;

/// Buckets that are allocated together.
const SEGMENT: usize = 64;

/// Buckets are taken away once there are more than so many for each entry, so many at a time. Most
/// of them are empty then, which makes it cheap.
const SPARSE: u32 = 8;

/// What the directory keeps in each entry.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    hash: u32,
    /// The next entry in the same bucket.
    next: u32,
}

impl Place {
    pub(crate) const fn new(hash: u32) -> Self {
        Place { hash, next: NONE }
    }
}

/// Something that has a name.
pub(crate) trait Named {
    fn name(&self) -> &[u8];
    fn place(&self) -> &Place;
    fn place_mut(&mut self) -> &mut Place;
}

/// A slab of named entries, with the buckets that lead to them.
pub(crate) struct Directory<T> {
    entries: Slab<T>,
    /// The first buckets, and the others.
    first: [u32; FIRST],
    segments: KVVec<KBox<[u32; SEGMENT]>>,
    buckets: u32,
    /// The bits of a hash that may count: as many as it takes to number the buckets.
    mask: u32,
}

impl<T: Named> Directory<T> {
    pub(crate) const fn new() -> Self {
        Directory {
            entries: Slab::new(),
            first: [NONE; FIRST],
            segments: KVVec::new(),
            buckets: 0,
            mask: 0,
        }
    }

    /// The first entry at or after `index`, for walks that let go of the directory in between.
    pub(crate) fn next_used(&self, index: u32) -> Option<u32> {
        self.entries.next_used(index)
    }

    /// The entry of that name, with its index.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u32, name: &[u8]) -> Option<(u32, &T)> {
        let mut at = *self.bucket(self.bucket_of(hash));
        while at != NONE {
            let entry = &self.entries[at];
            if entry.place().hash == hash && entry.name() == name {
                return Some((at, entry));
            }
            at = entry.place().next;
        }
        None
    }

    /// Adds an entry, whose name must not be there yet, and returns its index. `ENOMEM`: it has not
    /// been added.
    #[inline(always)]
    pub(crate) fn insert(&mut self, mut entry: T) -> Result<u32> {
        if self.entries.len() >= self.buckets {
            self.split()?;
        }
        let vacancy = self.entries.vacancy(|| NONE)?;
        let Place { hash, next } = entry.place_mut();
        let bucket = self.bucket_of(*hash);
        *next = core::mem::replace(self.bucket_mut(bucket), vacancy.index);
        self.entries.fill(vacancy, || entry);
        Ok(vacancy.index)
    }

    /// Gives back memory that is there for entries to come.
    pub(crate) fn trim(&mut self) {
        self.entries.trim();
        if self.entries.is_empty() {
            self.segments = KVVec::new();
            self.buckets = 0;
            self.mask = 0;
        }
    }

    /// Gives up all entries, some at a time, until it returns false; nothing may be looked up any
    /// more.
    pub(crate) fn dismantle(&mut self) -> bool {
        self.entries.dismantle()
    }

    /// Drops an entry, if there is one.
    #[inline(always)]
    pub(crate) fn erase(&mut self, index: u32) {
        let Some(Place { hash, next }) = self.entries.erase_with(index, |entry| *entry.place())
        else {
            return;
        };
        let bucket = self.bucket_of(hash);
        let head = self.bucket_mut(bucket);
        if *head == index {
            *head = next;
        } else {
            let head = *head;
            self.unlink_behind(head, index, next);
        }
        if self.is_sparse() {
            self.shrink();
        }
    }

    /// With `buckets` buckets, those below the largest power of two not above it are addressed by
    /// one bit less, unless they have been split already.
    #[inline(always)]
    fn bucket_of(&self, hash: u32) -> u32 {
        let bucket = hash & self.mask;
        if bucket < self.buckets {
            bucket
        } else {
            hash & (self.mask >> 1)
        }
    }

    #[inline(always)]
    fn bucket(&self, number: u32) -> &u32 {
        match self.first.get(number as usize) {
            Some(bucket) => bucket,
            None => {
                let (segment, place) = segment_of(number);
                &self.segments[segment][place]
            }
        }
    }

    #[inline(always)]
    fn bucket_mut(&mut self, number: u32) -> &mut u32 {
        match self.first.get_mut(number as usize) {
            Some(bucket) => bucket,
            None => {
                let (segment, place) = segment_of(number);
                &mut self.segments[segment][place]
            }
        }
    }

    fn link(&mut self, index: u32, bucket: u32) {
        let head = self.bucket_mut(bucket);
        let next = core::mem::replace(head, index);
        self.entries[index].place_mut().next = next;
    }

    /// Takes an entry out of its bucket, of which it is not the first.
    fn unlink_behind(&mut self, first: u32, index: u32, next: u32) {
        let mut at = first;
        while at != NONE {
            let place = self.entries[at].place_mut();
            if place.next == index {
                place.next = next;
                return;
            }
            at = place.next;
        }
    }

    /// Adds a bucket, and moves to it what now belongs there.
    fn split(&mut self) -> Result {
        let new = self.buckets;
        if new as usize == FIRST + self.segments.len() * SEGMENT {
            let segment = KBox::new([NONE; SEGMENT], at_once())?;
            self.segments.push(segment, at_once())?;
        }
        self.buckets = new + 1;
        self.mask |= new;
        if new > 0 {
            self.redistribute(sibling(new));
        }
        Ok(())
    }

    /// Whether there are too many buckets. So many as a segment has are kept.
    #[inline(always)]
    fn is_sparse(&self) -> bool {
        self.buckets > SEGMENT as u32 && self.entries.len() < self.buckets / SPARSE
    }

    /// Follows the entries, by and by.
    #[cold]
    fn shrink(&mut self) {
        for _ in 0..SPARSE {
            if self.is_sparse() {
                self.merge();
            }
        }
    }

    /// Takes away the last bucket, and moves what it had to where it belongs now.
    fn merge(&mut self) {
        let last = self.buckets - 1;
        let mut at = core::mem::replace(self.bucket_mut(last), NONE);
        self.buckets = last;
        if last.is_power_of_two() {
            self.mask = last - 1;
        }
        while at != NONE {
            let next = self.entries[at].place().next;
            self.link(at, sibling(last));
            at = next;
        }
        if last as usize + SEGMENT == FIRST + self.segments.len() * SEGMENT {
            self.segments.pop();
        }
    }

    fn redistribute(&mut self, from: u32) {
        let mut at = core::mem::replace(self.bucket_mut(from), NONE);
        while at != NONE {
            let Place { hash, next } = *self.entries[at].place();
            self.link(at, self.bucket_of(hash));
            at = next;
        }
    }
}

/// In which segment a bucket is that is not among the first, and where there.
#[inline(always)]
fn segment_of(number: u32) -> (usize, usize) {
    let number = number as usize - FIRST;
    (number / SEGMENT, number % SEGMENT)
}

/// The bucket that a bucket was split from: the same number without its highest bit.
fn sibling(bucket: u32) -> u32 {
    bucket & (u32::MAX / 2).wrapping_shr(bucket.leading_zeros())
}

impl<T> core::ops::Index<u32> for Directory<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        &self.entries[index]
    }
}

impl<T> core::ops::IndexMut<u32> for Directory<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.entries[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry {
        place: Place,
        name: Vec<u8>,
    }

    impl Named for Entry {
        fn name(&self) -> &[u8] {
            &self.name
        }

        fn place(&self) -> &Place {
            &self.place
        }

        fn place_mut(&mut self) -> &mut Place {
            &mut self.place
        }
    }

    /// Poor on purpose: the low bits repeat, so buckets are uneven.
    fn hash(n: u32) -> u32 {
        n.wrapping_mul(0x9e37_79b1) >> 7
    }

    fn entry(n: u32) -> Entry {
        Entry {
            place: Place::new(hash(n)),
            name: n.to_string().into_bytes(),
        }
    }

    #[inline(always)]
    fn find(directory: &Directory<Entry>, n: u32) -> Option<u32> {
        let found = directory.find(hash(n), n.to_string().as_bytes())?;
        Some(found.0)
    }

    #[test]
    fn everything_is_found_at_every_size() {
        let mut directory = Directory::new();
        let mut indices = Vec::new();
        for n in 0..2000 {
            assert_eq!(find(&directory, n), None);
            indices.push(directory.insert(entry(n)).unwrap());
            assert_eq!(find(&directory, n), Some(indices[n as usize]));
            assert_eq!(find(&directory, n / 2), Some(indices[n as usize / 2]));
        }
        for n in 0..2000 {
            directory.erase(indices[n as usize]);
            assert_eq!(find(&directory, n), None);
            let later = n + (1999 - n) / 2;
            assert_eq!(find(&directory, later).is_some(), later != n);
        }
    }

    #[test]
    fn buckets_follow_the_entries() {
        let mut directory = Directory::new();
        let all: Vec<u32> = (0..5000)
            .map(|n| directory.insert(entry(n)).unwrap())
            .collect();
        assert_eq!(directory.buckets, 5000);
        for index in all {
            directory.erase(index);
        }
        assert_eq!(directory.segments.len(), 1);
    }

    #[test]
    fn equal_hashes_are_told_apart() {
        let mut directory = Directory::new();
        let twin = |name: &[u8]| Entry {
            place: Place::new(7),
            name: name.to_vec(),
        };
        let a = directory.insert(twin(b"a")).unwrap();
        let b = directory.insert(twin(b"b\0")).unwrap();
        let find = |directory: &Directory<Entry>, name: &[u8]| Some(directory.find(7, name)?.0);
        assert_eq!(find(&directory, b"a"), Some(a));
        assert_eq!(find(&directory, b"b\0"), Some(b));
        assert_eq!(find(&directory, b"b"), None);
        directory.erase(a);
        assert_eq!(find(&directory, b"b\0"), Some(b));
    }
}
