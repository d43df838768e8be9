// SPDX-License-Identifier: GPL-2.0

//! Slots addressed by index, in chunks that come from and go back to the system one by one.
//!
//! Locks, resources and records live in slabs instead of being reference counted: whoever knows
//! an index reaches the slot in two steps, and who may know it is a rule of the structure that
//! owns the slab. A slab takes no lock of its own; it is guarded by whatever guards its owner.
//!
//! A value can leave a note in its slot, for who comes there next, as long as the memory stays.
//!
//! An index is only ever made by [`Slab::insert`] and [`Slab::vacancy`]. Looking up by
//! [`Slab::get`] is for indices that came from outside; `slab[index]` is for the owner's own links.

use kernel::{
    alloc::Flags,
    prelude::*, //
};

use core::ops::{
    Index,
    IndexMut, //
};

/// No slot: the end of a list, an empty field.
pub(crate) const NONE: u32 = u32::MAX;

/// Bits of an index that select the slot inside its chunk: a chunk has no more slots than a word
/// has bits.
const SLOT_BITS: u32 = u64::BITS.ilog2();

/// What a full-grown chunk may take, in bytes: sizes that the system gives out whole.
const CHUNK_BYTES: [usize; 2] = [4096, 2048];

/// The first chunk is small, so that a thousand nearly idle slabs stay small too.
const FIRST_CHUNK_SLOTS: usize = 8;

/// How many chunks are given up before others may run.
const CHUNKS_IN_ONE_GO: usize = 64;

/// How many slots of `size` bytes a full-grown chunk has: as many as leave the least unused.
const fn chunk_slots(size: usize) -> usize {
    let [large, small] = [fitting(CHUNK_BYTES[0], size), fitting(CHUNK_BYTES[1], size)];
    if CHUNK_BYTES[0] * small <= CHUNK_BYTES[1] * large {
        large
    } else {
        small
    }
}

const fn fitting(bytes: usize, size: usize) -> usize {
    const MOST: usize = 1 << SLOT_BITS;
    match bytes.checked_div(size) {
        Some(0) => 1,
        Some(number) if number < MOST => number,
        _ => MOST,
    }
}

/// How memory is taken while locks are held: if it is there at once. Who holds none can wait for some
/// and try again, as `retry_with_memory` at the kernel's edge does, so nobody else has to.
#[inline(always)]
pub(crate) fn at_once() -> Flags {
    (GFP_KERNEL_ACCOUNT & !GFP_KERNEL) | GFP_NOWAIT
}

/// A growable set of slots for `T`, which leave notes `N` behind.
pub(crate) struct Slab<T, N = ()> {
    chunks: KVVec<Chunk<T, N>>,
    /// Chunks that have memory and a free slot, a list through `Chunk::next` and `Chunk::prev`.
    open: u32,
    /// Chunks whose memory went back to the system, a list through `Chunk::next`.
    bare: u32,
    /// The chunk that is kept although it is empty, so that a slab at the brink does not ask the
    /// system for memory with every operation. The first chunk, being small, is kept anyway.
    spare: u32,
    used: u32,
}

/// What is left in a slot; the default says nothing.
pub(crate) trait Note: Copy + Default {
    /// Whether the slots of a chunk are given out in turn, so that none comes again at once if there
    /// are others.
    const IN_TURN: bool;
}

impl Note for () {
    const IN_TURN: bool = false;
}

enum Slot<T, N> {
    Used(T),
    Free(N),
}

impl<T, N> Slot<T, N> {
    #[inline(always)]
    fn value(&self) -> Option<&T> {
        match self {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    #[inline(always)]
    fn value_mut(&mut self) -> Option<&mut T> {
        match self {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// Drops the value, if there is one in which `look` sees something, and leaves a note.
    #[inline(always)]
    fn leave<R>(&mut self, note: N, look: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
        let seen = look(self.value_mut()?)?;
        *self = Slot::Free(note);
        Some(seen)
    }
}

struct Chunk<T, N> {
    slots: KVec<Slot<T, N>>,
    /// Bit n: there is a slot n.
    all: u64,
    /// Bit n: slot n is used.
    taken: u64,
    /// Where slots are given out in turn: bit n, it is slot n's turn before the first slot's.
    ahead: u64,
    next: u32,
    prev: u32,
}

/// So many slots, all free, and a bit for each.
fn free_slots<T, N: Note>(count: usize) -> Result<(KVec<Slot<T, N>>, u64)> {
    let mut slots = KVec::with_capacity(count, at_once())?;
    for _ in 0..count {
        // Cheaper than to push, and there is room.
        let free = Slot::Free(N::default());
        slots.push_within_capacity(free).map_err(|_| ENOMEM)?;
    }
    Ok((slots, u64::MAX >> (u64::BITS - count as u32)))
}

impl<T, N: Note> Chunk<T, N> {
    fn new(count: usize) -> Result<Self> {
        let (slots, all) = free_slots(count)?;
        Ok(Chunk {
            slots,
            all,
            taken: 0,
            ahead: u64::MAX,
            next: NONE,
            prev: NONE,
        })
    }

    /// Gives the chunk memory again.
    fn refill(&mut self, count: usize) -> Result {
        (self.slots, self.all) = free_slots(count)?;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.taken == self.all
    }

    /// The free slot whose turn it is; there must be a free one. `number` is the chunk's.
    #[inline(always)]
    fn vacancy(&self, number: u32) -> Vacancy<N> {
        let free = self.all & !self.taken;
        let ahead = free & self.ahead;
        let next = if N::IN_TURN && ahead != 0 {
            ahead
        } else {
            free
        };
        let slot = next.trailing_zeros();
        let note = match self.slots.get(slot as usize) {
            Some(Slot::Free(note)) => *note,
            _ => N::default(),
        };
        Vacancy {
            index: (number << SLOT_BITS) | slot,
            note,
            is_last: free == 1u64.wrapping_shl(slot),
        }
    }

    /// Uses a vacancy of this chunk, and returns the value where it is now.
    #[inline(always)]
    fn take(&mut self, vacancy: Vacancy<N>, make: impl FnOnce() -> T) -> &mut T {
        let slot = slot_of(vacancy.index);
        let bit = 1 << slot;
        self.taken |= bit;
        if N::IN_TURN {
            self.ahead = (u64::MAX << slot) ^ bit;
        }
        let place = &mut self.slots[slot];
        *place = Slot::Used(make());
        match place {
            Slot::Used(value) => value,
            Slot::Free(_) => vacant(),
        }
    }

    #[inline(always)]
    fn free(&mut self, slot: usize) -> Freed {
        let was_full = self.is_full();
        self.taken &= !(1 << slot);
        Freed {
            was_full,
            is_empty: self.taken == 0,
        }
    }
}

/// What has become of a chunk, one of whose slots is free again.
struct Freed {
    was_full: bool,
    is_empty: bool,
}

/// A free slot, to be used by [`Slab::fill`] before anything else is put into the slab or taken out.
#[derive(Clone, Copy)]
pub(crate) struct Vacancy<N> {
    pub(crate) index: u32,
    /// What was left there by who had the slot before; the default if nobody had it, since it has
    /// memory.
    pub(crate) note: N,
    /// It is its chunk's only one.
    is_last: bool,
}

fn chunk_of(index: u32) -> usize {
    (index >> SLOT_BITS) as usize
}

fn slot_of(index: u32) -> usize {
    (index & ((1 << SLOT_BITS) - 1)) as usize
}

impl<T, N> Slab<T, N> {
    pub(crate) const fn new() -> Self {
        Slab {
            chunks: KVVec::new(),
            open: NONE,
            bare: NONE,
            spare: NONE,
            used: 0,
        }
    }
}

impl<T, N: Note> Slab<T, N> {
    const CHUNK_SLOTS: usize = chunk_slots(core::mem::size_of::<Slot<T, N>>());

    /// How many slots are used.
    pub(crate) fn len(&self) -> u32 {
        self.used
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Puts `value` into a free slot below `limit` and returns its index.
    ///
    /// `ENOMEM` without memory or free index; nothing has changed then but, perhaps, the slab's
    /// spare room.
    #[inline(always)]
    pub(crate) fn insert(&mut self, value: T, limit: u32) -> Result<u32> {
        let vacancy = self.vacancy(|| limit)?;
        self.fill(vacancy, || value);
        Ok(vacancy.index)
    }

    /// Sees to it that there is a free slot below `limit`, which is asked for if memory is needed, for
    /// a value that can only be made when its index is known, and when all else has succeeded. Errors
    /// are those of [`Self::insert`].
    #[inline(always)]
    pub(crate) fn vacancy(&mut self, limit: impl FnOnce() -> u32) -> Result<Vacancy<N>> {
        if self.open == NONE {
            self.grow(limit())?;
        }
        let number = self.open;
        Ok(self.chunks[number as usize].vacancy(number))
    }

    /// Puts a value into a free slot, where it is made, and returns it there.
    #[inline(always)]
    pub(crate) fn fill(&mut self, vacancy: Vacancy<N>, make: impl FnOnce() -> T) -> &mut T {
        let number = vacancy.index >> SLOT_BITS;
        if vacancy.is_last {
            self.close(number);
        }
        if self.spare == number {
            self.spare = NONE;
        }
        self.used += 1;
        self.chunks[number as usize].take(vacancy, make)
    }

    /// Empties a slot and returns what was in it; `None` if it was empty or is none.
    #[inline(always)]
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        self.vacate(index, |place| {
            place.value()?;
            match core::mem::replace(place, Slot::Free(N::default())) {
                Slot::Used(value) => Some(value),
                Slot::Free(_) => None,
            }
        })
    }

    /// Empties a slot, unless it is empty or none, and drops what was in it.
    #[inline(always)]
    pub(crate) fn erase(&mut self, index: u32) {
        self.erase_leaving(index, N::default());
    }

    /// The same, and leaves a note there.
    #[inline(always)]
    pub(crate) fn erase_leaving(&mut self, index: u32, note: N) {
        self.vacate(index, |place| place.leave(note, |_| Some(())));
    }

    /// Empties a slot and drops what was in it, after a last look.
    #[inline(always)]
    pub(crate) fn erase_with<R>(
        &mut self,
        index: u32,
        look: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        self.erase_if(index, |value| Some(look(value)))
    }

    /// The same, but only if there is something to return then.
    #[inline(always)]
    pub(crate) fn erase_if<R>(
        &mut self,
        index: u32,
        look: impl FnOnce(&mut T) -> Option<R>,
    ) -> Option<R> {
        self.vacate(index, |place| place.leave(N::default(), look))
    }

    /// Lets `leave` make a slot free, unless it returns nothing.
    #[inline(always)]
    fn vacate<R>(
        &mut self,
        index: u32,
        leave: impl FnOnce(&mut Slot<T, N>) -> Option<R>,
    ) -> Option<R> {
        let (chunk, slot) = self.chunk_with(index)?;
        let seen = leave(chunk.slots.get_mut(slot)?)?;
        let freed = chunk.free(slot);
        self.take_back(index >> SLOT_BITS, freed);
        Some(seen)
    }

    #[inline(always)]
    fn chunk_with(&mut self, index: u32) -> Option<(&mut Chunk<T, N>, usize)> {
        if index == NONE {
            return None;
        }
        Some((self.chunks.get_mut(chunk_of(index))?, slot_of(index)))
    }

    /// A slot of a chunk has become free.
    #[inline(always)]
    fn take_back(&mut self, number: u32, freed: Freed) {
        self.used -= 1;
        if freed.was_full {
            self.reopen(number);
        }
        if freed.is_empty {
            self.retire(number);
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.chunks
            .get(chunk_of(index))?
            .slots
            .get(slot_of(index))?
            .value()
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.chunks
            .get_mut(chunk_of(index))?
            .slots
            .get_mut(slot_of(index))?
            .value_mut()
    }

    /// The first used slot at or after `index`, for walks that let go of the slab in between.
    pub(crate) fn next_used(&self, index: u32) -> Option<u32> {
        let mut number = chunk_of(index);
        let mut skip = slot_of(index) as u32;
        while let Some(chunk) = self.chunks.get(number) {
            let rest = chunk.taken & (u64::MAX << skip);
            if rest != 0 {
                return Some(((number as u32) << SLOT_BITS) | rest.trailing_zeros());
            }
            number += 1;
            skip = 0;
        }
        None
    }

    #[cold]
    fn grow(&mut self, limit: u32) -> Result {
        let reused = self.bare != NONE;
        let number = if reused {
            self.bare
        } else {
            self.chunks.len() as u32
        };
        if number >= limit >> SLOT_BITS {
            return Err(ENOMEM);
        }
        let count = if number == 0 {
            FIRST_CHUNK_SLOTS
        } else {
            Self::CHUNK_SLOTS
        };
        if reused {
            self.chunks[number as usize].refill(count)?;
            self.bare = self.chunks[number as usize].next;
        } else {
            let chunk = Chunk::new(count)?;
            self.chunks.push(chunk, at_once())?;
        }
        self.reopen(number);
        // Empty so far; the first is never the spare one.
        self.spare = if number == 0 { NONE } else { number };
        Ok(())
    }

    fn reopen(&mut self, number: u32) {
        let first = self.open;
        if first != NONE {
            self.chunks[first as usize].prev = number;
        }
        let chunk = &mut self.chunks[number as usize];
        chunk.next = first;
        chunk.prev = NONE;
        self.open = number;
    }

    fn close(&mut self, number: u32) {
        let Chunk { next, prev, .. } = self.chunks[number as usize];
        if prev == NONE {
            self.open = next;
        } else {
            self.chunks[prev as usize].next = next;
        }
        if next != NONE {
            self.chunks[next as usize].prev = prev;
        }
    }

    /// A chunk has become empty: it becomes the spare one, or, if there is one, its memory goes
    /// back. The first, being small, stays.
    #[inline(always)]
    fn retire(&mut self, number: u32) {
        if number == 0 {
            return;
        }
        if self.spare == NONE {
            self.spare = number;
        } else {
            self.strip(number);
        }
    }

    /// Gives back memory that is not used, when no more is likely to come. Of an empty slab all goes.
    pub(crate) fn trim(&mut self) {
        // To give back nothing is not free either.
        if self.chunks.is_empty() {
            return;
        }
        if self.used == 0 {
            *self = Slab::new();
        } else if self.spare != NONE {
            let spare = core::mem::replace(&mut self.spare, NONE);
            self.strip(spare);
        }
    }

    /// Gives up all that is in it, some chunks at a time, until it returns false; nothing may be
    /// looked up in between.
    pub(crate) fn dismantle(&mut self) -> bool {
        for _ in 0..CHUNKS_IN_ONE_GO {
            if self.chunks.pop().is_none() {
                // As in `trim`.
                if self.chunks.capacity() > 0 {
                    *self = Slab::new();
                }
                return false;
            }
        }
        true
    }

    fn strip(&mut self, number: u32) {
        self.close(number);
        let chunk = &mut self.chunks[number as usize];
        chunk.slots = KVec::new();
        chunk.all = 0;
        chunk.next = self.bare;
        self.bare = number;
    }
}

/// Slots that most owners of a slab need for few of their things: taking and giving back one is a
/// call, and out of the way of all that need none.
impl<T: Default, N: Note> Slab<T, N> {
    /// A slot for something that comes later, if it is `wanted`; else none.
    #[inline(always)]
    pub(crate) fn room(&mut self, wanted: bool) -> Result<u32> {
        if wanted {
            self.make_room()
        } else {
            Ok(NONE)
        }
    }

    #[inline(never)]
    fn make_room(&mut self) -> Result<u32> {
        self.insert(T::default(), NONE)
    }

    /// Gives such a slot back, if it is one.
    #[inline(always)]
    pub(crate) fn give_back(&mut self, room: u32) {
        if room != NONE {
            self.clear_room(room);
        }
    }

    #[inline(never)]
    fn clear_room(&mut self, room: u32) {
        self.erase(room);
    }
}

impl<T, N: Note> Index<u32> for Slab<T, N> {
    type Output = T;

    /// # Panics
    ///
    /// If the slot is empty: the index was not one of the owner's own links.
    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        match self.get(index) {
            Some(value) => value,
            None => vacant(),
        }
    }
}

impl<T, N: Note> IndexMut<u32> for Slab<T, N> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        match self.get_mut(index) {
            Some(value) => value,
            None => vacant(),
        }
    }
}

#[cold]
fn vacant() -> ! {
    panic!("a link leads to an empty slot")
}

/// What the slots of a slab take, for the tests that hold it to that.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) slot: usize,
    /// How many of them are in a full-grown chunk, what the system gives for it, and what the slab
    /// keeps of it.
    pub(crate) slots: usize,
    pub(crate) chunk: usize,
    pub(crate) header: usize,
}

#[cfg(test)]
impl Layout {
    /// What a slot costs in a slab that is full.
    pub(crate) fn each(&self) -> f64 {
        (self.chunk + self.header) as f64 / self.slots as f64
    }
}

#[cfg(test)]
impl<T, N: Note> Slab<T, N> {
    pub(crate) fn layout() -> Layout {
        let slot = core::mem::size_of::<Slot<T, N>>();
        let sizes = CHUNK_BYTES.into_iter();
        let fitting = sizes.filter(|bytes| *bytes >= slot * Self::CHUNK_SLOTS);
        Layout {
            slot,
            slots: Self::CHUNK_SLOTS,
            chunk: fitting.min().unwrap(),
            header: core::mem::size_of::<Chunk<T, N>>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u32 = 1 << 20;

    impl Note for u32 {
        const IN_TURN: bool = true;
    }

    fn chunks_with_memory<T, N>(slab: &Slab<T, N>) -> usize {
        slab.chunks.iter().filter(|c| !c.slots.is_empty()).count()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut slab = Slab::<u64>::new();
        let all: Vec<u32> = (0..1000u64)
            .map(|n| slab.insert(n, LIMIT).unwrap())
            .collect();
        assert_eq!(slab.len(), 1000);
        for (n, index) in all.iter().enumerate() {
            assert_eq!(slab[*index], n as u64);
        }
        for (n, index) in all.iter().enumerate() {
            assert_eq!(slab.remove(*index), Some(n as u64));
            assert_eq!(slab.remove(*index), None);
            assert!(slab.get(*index).is_none());
        }
        assert!(slab.is_empty());
    }

    #[test]
    fn memory_goes_back() {
        let mut slab = Slab::<u64>::new();
        let all: Vec<u32> = (0..10_000u64)
            .map(|n| slab.insert(n, LIMIT).unwrap())
            .collect();
        assert!(chunks_with_memory(&slab) > 70);
        for index in all {
            slab.remove(index);
        }
        assert_eq!(chunks_with_memory(&slab), 2);
        for _ in 0..2 {
            slab.trim();
            assert_eq!(chunks_with_memory(&slab), 0);
        }
        for n in 0..10_000u64 {
            slab.insert(n, LIMIT).unwrap();
        }
        assert_eq!(slab.len(), 10_000);
    }

    #[test]
    fn everything_goes_some_at_a_time() {
        let mut slab = Slab::<u64>::new();
        for n in 0..10_000u64 {
            slab.insert(n, LIMIT).unwrap();
        }
        let chunks = slab.chunks.len();
        let steps = core::iter::from_fn(|| slab.dismantle().then_some(())).count();
        assert!(steps > 1);
        assert_eq!(steps, chunks / CHUNKS_IN_ONE_GO);
        assert!(slab.is_empty() && slab.insert(1, LIMIT).is_ok());
    }

    #[test]
    fn one_slot_at_the_brink_keeps_its_chunk() {
        let mut slab = Slab::<u64>::new();
        for n in 0..FIRST_CHUNK_SLOTS as u64 {
            slab.insert(n, LIMIT).unwrap();
        }
        for n in 0..1000 {
            let index = slab.insert(n, LIMIT).unwrap();
            slab.remove(index);
            assert_eq!(chunks_with_memory(&slab), 2);
        }
    }

    #[test]
    fn chunks_waste_little() {
        for size in 8..200 {
            let slots = chunk_slots(size);
            let taken = CHUNK_BYTES
                .into_iter()
                .filter(|bytes| *bytes >= slots * size)
                .min();
            let unused = taken.unwrap() - slots * size;
            assert!(size < 30 || 10 * unused <= taken.unwrap(), "{size}");
        }
        assert_eq!(chunk_slots(33), 62);
    }

    #[test]
    fn notes_are_found_while_the_memory_stays() {
        let mut slab: Slab<u64, u32> = Slab::new();
        let mut left = std::collections::HashMap::new();
        let mut held = std::collections::VecDeque::new();
        let mut found = 0;
        for n in 1..20_000 {
            let vacancy = slab.vacancy(|| LIMIT).unwrap();
            if vacancy.note != 0 {
                assert_eq!(left.get(&vacancy.index), Some(&vacancy.note));
                found += 1;
            }
            slab.fill(vacancy, || u64::from(n));
            held.push_back(vacancy.index);
            // Sometimes few are held, so that chunks lose their memory, sometimes many.
            while held.len() > (n as usize * 7) % 500 {
                let index = held.pop_front().unwrap();
                slab.erase_leaving(index, n);
                left.insert(index, n);
            }
        }
        assert!((1000..19_000).contains(&found), "{found}");
    }

    #[test]
    fn slots_come_in_turn() {
        let mut slab = Slab::<u64, u32>::new();
        slab.insert(0u64, LIMIT).unwrap();
        let mut before = 0;
        for n in 1..100 {
            let index = slab.insert(n, LIMIT).unwrap();
            assert_eq!(index, 1 + before % (FIRST_CHUNK_SLOTS as u32 - 1));
            slab.remove(index);
            before = index;
        }
    }

    #[test]
    fn the_limit_is_an_error() {
        let mut slab = Slab::<()>::new();
        let limit = 1 << (SLOT_BITS + 1);
        let mut count = 0;
        while slab.insert((), limit).is_ok() {
            count += 1;
        }
        assert_eq!(slab.len(), count);
        assert!(count > FIRST_CHUNK_SLOTS as u32);
    }

    #[test]
    fn walks_find_every_used_slot() {
        let mut slab = Slab::<u64>::new();
        let all: Vec<u32> = (0..300u64)
            .map(|n| slab.insert(n, LIMIT).unwrap())
            .collect();
        for index in all.iter().step_by(3) {
            slab.remove(*index);
        }
        let mut seen = Vec::new();
        let mut at = 0;
        while let Some(index) = slab.next_used(at) {
            seen.push(index);
            at = index + 1;
        }
        assert_eq!(seen.len(), slab.len() as usize);
        assert!(seen.iter().all(|index| slab.get(*index).is_some()));
    }
}
