// SPDX-License-Identifier: GPL-2.0

//! Slots addressed by index, in chunks that come from and go back to the system one by one.
//!
//! Locks, resources and records live in slabs instead of being reference counted: whoever knows
//! an index reaches the slot in two steps, and who may know it is a rule of the structure that
//! owns the slab. A slab takes no lock of its own; it is guarded by whatever guards its owner.
//!
//! An index is only ever made by [`Slab::insert`] and [`Slab::vacancy`]. Looking up by
//! [`Slab::get`] is for indices that came from outside; `slab[index]` is for the owner's own links.

use kernel::prelude::*;

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

/// A growable set of slots.
pub(crate) struct Slab<T> {
    chunks: KVVec<Chunk<T>>,
    /// Chunks that have memory and a free slot, a list through `Chunk::next` and `Chunk::prev`. All
    /// but the first can give out a slot in their round.
    open: u32,
    last_open: u32,
    /// Chunks whose memory went back to the system, a list through `Chunk::next`.
    bare: u32,
    /// The chunk that is kept although it is empty, so that a slab at the brink does not ask the
    /// system for memory with every operation. The first chunk, being small, is kept anyway.
    spare: u32,
    used: u32,
    /// How many slots have memory.
    capacity: u32,
    /// In which round the first chunk begins; others begin in the next one.
    first_round: Round,
}

/// Chunks give out their slots in rounds, each slot at most once a round.
#[derive(Clone, Copy)]
struct Round {
    number: u32,
    /// Bit n: slot n can still come.
    ahead: u64,
}

impl Round {
    const FIRST: Round = Round::numbered(0);

    const fn numbered(number: u32) -> Self {
        let ahead = u64::MAX;
        Round { number, ahead }
    }

    const fn next(self) -> Self {
        Round::numbered(self.number.wrapping_add(1))
    }
}

struct Chunk<T> {
    slots: KVec<Option<T>>,
    /// Bit n: there is a slot n.
    all: u64,
    /// Bit n: slot n is used.
    taken: u64,
    /// Outlives the memory.
    round: Round,
    next: u32,
    prev: u32,
}

/// So many slots, all free, and a bit for each.
fn free_slots<T>(count: usize) -> Result<(KVec<Option<T>>, u64)> {
    let mut slots = KVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    for _ in 0..count {
        // Cheaper than to push, and there is room.
        slots.push_within_capacity(None).map_err(|_| ENOMEM)?;
    }
    Ok((slots, u64::MAX >> (u64::BITS - count as u32)))
}

impl<T> Chunk<T> {
    fn new(count: usize, round: Round) -> Result<Self> {
        let (slots, all) = free_slots(count)?;
        Ok(Chunk {
            slots,
            all,
            taken: 0,
            round,
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

    fn free_slots(&self) -> u64 {
        self.all & !self.taken
    }

    /// Whether none of its free slots can come in this round.
    fn has_ended_round(&self) -> bool {
        self.free_slots() & self.round.ahead == 0
    }

    /// The next free slot of the round, if there is one. `number` is the chunk's.
    #[inline(always)]
    fn vacancy(&self, number: u32) -> Option<Vacancy> {
        let free = self.free_slots();
        let ahead = free & self.round.ahead;
        if ahead == 0 {
            return None;
        }
        Some(Vacancy {
            index: (number << SLOT_BITS) | ahead.trailing_zeros(),
            round: self.round.number,
            is_last: free & free.wrapping_sub(1) == 0,
        })
    }

    /// Uses a vacancy of this chunk, and returns the value where it is now.
    #[inline(always)]
    fn take(&mut self, vacancy: Vacancy, value: T) -> &mut T {
        let slot = slot_of(vacancy.index);
        let bit = 1 << slot;
        self.taken |= bit;
        self.round.ahead = (u64::MAX << slot) ^ bit;
        self.slots[slot].insert(value)
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
pub(crate) struct Vacancy {
    pub(crate) index: u32,
    /// In which round the index is given out. None comes twice in the same round.
    pub(crate) round: u32,
    /// It is its chunk's only one.
    is_last: bool,
}

fn chunk_of(index: u32) -> usize {
    (index >> SLOT_BITS) as usize
}

fn slot_of(index: u32) -> usize {
    (index & ((1 << SLOT_BITS) - 1)) as usize
}

impl<T> Slab<T> {
    const CHUNK_SLOTS: usize = chunk_slots(core::mem::size_of::<Option<T>>());

    pub(crate) const fn new() -> Self {
        Slab::beginning_in(Round::FIRST)
    }

    const fn beginning_in(first_round: Round) -> Self {
        Slab {
            chunks: KVVec::new(),
            open: NONE,
            last_open: NONE,
            bare: NONE,
            spare: NONE,
            used: 0,
            capacity: 0,
            first_round,
        }
    }

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
        let vacancy = self.vacancy(limit)?;
        self.fill(vacancy, value);
        Ok(vacancy.index)
    }

    /// All indices that have been given out are below this.
    #[inline(always)]
    pub(crate) fn end(&self) -> u32 {
        (self.chunks.len() as u32) << SLOT_BITS
    }

    /// Sees to it that there is a free slot below `limit`, for a value that can only be made when
    /// its index is known, and when all else has succeeded. Errors are those of [`Self::insert`].
    #[inline(always)]
    pub(crate) fn vacancy(&mut self, limit: u32) -> Result<Vacancy> {
        self.rested_vacancy(limit, 1)
    }

    /// The same, where an index shall not come again in the same round soon: if there is memory for
    /// that, from one round to the one after the next `rest` slots are given out at least.
    #[inline(always)]
    pub(crate) fn rested_vacancy(&mut self, limit: u32, rest: u32) -> Result<Vacancy> {
        if self.capacity - self.used < rest {
            self.replenish(limit)?;
        }
        let number = self.open;
        match self.chunks[number as usize].vacancy(number) {
            Some(vacancy) => Ok(vacancy),
            None => self.vacancy_of_next_round(rest),
        }
    }

    /// Grows, although there may be free slots; that it cannot is an error only if there are none.
    #[cold]
    fn replenish(&mut self, limit: u32) -> Result {
        match self.grow(limit) {
            Err(error) if self.open == NONE => Err(error),
            _ => Ok(()),
        }
    }

    /// The first open chunk has ended its round. If it has too few free slots to give its index a
    /// rest, others come first.
    #[cold]
    fn vacancy_of_next_round(&mut self, rest: u32) -> Result<Vacancy> {
        let chunk = &mut self.chunks[self.open as usize];
        chunk.round = chunk.round.next();
        if chunk.free_slots().count_ones() < rest {
            self.move_to_back(self.open);
        }
        let number = self.open;
        self.chunks[number as usize].vacancy(number).ok_or(ENOMEM)
    }

    /// Puts a value into a free slot, and returns it there.
    #[inline(always)]
    pub(crate) fn fill(&mut self, vacancy: Vacancy, value: T) -> &mut T {
        let number = vacancy.index >> SLOT_BITS;
        if vacancy.is_last {
            self.close(number);
        }
        if self.spare == number {
            self.spare = NONE;
        }
        self.used += 1;
        self.chunks[number as usize].take(vacancy, value)
    }

    /// Empties a slot and returns what was in it; `None` if it was empty or is none.
    #[inline(always)]
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let (chunk, slot) = self.chunk_with(index)?;
        let value = chunk.slots.get_mut(slot)?.take()?;
        let freed = chunk.free(slot);
        self.take_back(index >> SLOT_BITS, freed);
        Some(value)
    }

    /// Empties a slot, unless it is empty or none, and drops what was in it.
    #[inline(always)]
    pub(crate) fn erase(&mut self, index: u32) {
        self.erase_with(index, |_| ());
    }

    /// The same, after a last look at what is dropped.
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
        let (chunk, slot) = self.chunk_with(index)?;
        let place = chunk.slots.get_mut(slot)?;
        let seen = look(place.as_mut()?)?;
        *place = None;
        let freed = chunk.free(slot);
        self.take_back(index >> SLOT_BITS, freed);
        Some(seen)
    }

    #[inline(always)]
    fn chunk_with(&mut self, index: u32) -> Option<(&mut Chunk<T>, usize)> {
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
            .as_ref()
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.chunks
            .get_mut(chunk_of(index))?
            .slots
            .get_mut(slot_of(index))?
            .as_mut()
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
            let round = if number == 0 {
                self.first_round
            } else {
                self.first_round.next()
            };
            let chunk = Chunk::new(count, round)?;
            self.chunks.push(chunk, GFP_KERNEL_ACCOUNT)?;
        }
        self.capacity += count as u32;
        self.reopen(number);
        // Empty so far; the first is never the spare one.
        self.spare = if number == 0 { NONE } else { number };
        Ok(())
    }

    /// A chunk has free slots again: it comes first, or, with the next round, last.
    fn reopen(&mut self, number: u32) {
        let chunk = &mut self.chunks[number as usize];
        if chunk.has_ended_round() {
            chunk.round = chunk.round.next();
            self.append(number);
            return;
        }
        let first = self.open;
        if let Some(chunk) = self.chunks.get_mut(first as usize) {
            if chunk.has_ended_round() {
                chunk.round = chunk.round.next();
                self.move_to_back(first);
            }
        }
        self.prepend(number);
    }

    fn prepend(&mut self, number: u32) {
        self.insert_between(NONE, number, self.open);
    }

    fn append(&mut self, number: u32) {
        self.insert_between(self.last_open, number, NONE);
    }

    fn move_to_back(&mut self, number: u32) {
        self.close(number);
        self.append(number);
    }

    fn insert_between(&mut self, prev: u32, number: u32, next: u32) {
        self.join(prev, number);
        self.join(number, next);
    }

    /// Takes a chunk off the list of those that are open.
    fn close(&mut self, number: u32) {
        let Chunk { next, prev, .. } = self.chunks[number as usize];
        self.join(prev, next);
    }

    /// Makes two open chunks neighbours; `NONE` stands before the first and behind the last.
    #[inline(always)]
    fn join(&mut self, prev: u32, next: u32) {
        match self.chunks.get_mut(prev as usize) {
            Some(chunk) => chunk.next = next,
            None => self.open = next,
        }
        match self.chunks.get_mut(next as usize) {
            Some(chunk) => chunk.prev = prev,
            None => self.last_open = prev,
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

    /// Gives back memory that is not used, when no more is likely to come. Of an empty slab all goes;
    /// what comes later comes later in the round, or in later ones.
    pub(crate) fn trim(&mut self) {
        // To give back nothing is not free either.
        if self.chunks.is_empty() {
            return;
        }
        if self.used == 0 {
            *self = Slab::beginning_in(self.round_of_first());
        } else if self.spare != NONE {
            let spare = core::mem::replace(&mut self.spare, NONE);
            self.strip(spare);
        }
    }

    /// In which round the first chunk can go on when the others begin anew in the next.
    fn round_of_first(&self) -> Round {
        let mut rounds = self.chunks.iter().map(|chunk| chunk.round);
        let first = rounds.next().unwrap_or(self.first_round);
        let later = rounds.map(|round| round.number).max();
        match later {
            Some(later) if later > first.number => Round::numbered(later),
            _ => first,
        }
    }

    /// Gives up all that is in it, some chunks at a time, until it returns false; nothing may be
    /// looked up in between.
    pub(crate) fn dismantle(&mut self, chunks: usize) -> bool {
        for _ in 0..chunks {
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
        self.capacity -= chunk.all.count_ones();
        chunk.slots = KVec::new();
        chunk.all = 0;
        chunk.next = self.bare;
        self.bare = number;
    }
}

impl<T: Default> Slab<T> {
    /// A slot for something that comes later, if it is `wanted`; else none.
    #[inline]
    pub(crate) fn room(&mut self, wanted: bool) -> Result<u32> {
        if wanted {
            self.insert(T::default(), NONE)
        } else {
            Ok(NONE)
        }
    }
}

impl<T> Index<u32> for Slab<T> {
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

impl<T> IndexMut<u32> for Slab<T> {
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
impl<T> Slab<T> {
    pub(crate) fn layout() -> Layout {
        let slot = core::mem::size_of::<Option<T>>();
        let sizes = CHUNK_BYTES.into_iter();
        let fitting = sizes.filter(|bytes| *bytes >= slot * Self::CHUNK_SLOTS);
        Layout {
            slot,
            slots: Self::CHUNK_SLOTS,
            chunk: fitting.min().unwrap(),
            header: core::mem::size_of::<Chunk<T>>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u32 = 1 << 20;

    fn chunks_with_memory<T>(slab: &Slab<T>) -> usize {
        slab.chunks.iter().filter(|c| !c.slots.is_empty()).count()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut slab = Slab::new();
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
        let mut slab = Slab::new();
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
        let mut slab = Slab::new();
        for n in 0..1000u64 {
            slab.insert(n, LIMIT).unwrap();
        }
        let chunks = slab.chunks.len();
        let steps = core::iter::from_fn(|| slab.dismantle(3).then_some(())).count();
        assert_eq!(steps, chunks / 3);
        assert!(slab.is_empty() && slab.insert(1, LIMIT).is_ok());
    }

    #[test]
    fn one_slot_at_the_brink_keeps_its_chunk() {
        let mut slab = Slab::new();
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
    fn no_index_comes_twice_in_a_round() {
        let mut slab = Slab::new();
        let mut seen = std::collections::HashSet::new();
        let mut held = std::collections::VecDeque::new();
        let mut rounds = 0;
        for n in 0..20_000u64 {
            let vacancy = slab.vacancy(LIMIT).unwrap();
            let Vacancy { index, round, .. } = vacancy;
            slab.fill(vacancy, n);
            assert!(seen.insert((index, round)));
            rounds = rounds.max(round);
            held.push_back(index);
            // Sometimes few are held, so that chunks lose their memory, sometimes many.
            while held.len() > (n as usize * 7) % 500 {
                slab.remove(held.pop_front().unwrap());
            }
            slab.trim();
        }
        assert!(rounds > 10);
    }

    #[test]
    fn the_limit_is_an_error() {
        let mut slab = Slab::new();
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
        let mut slab = Slab::new();
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
