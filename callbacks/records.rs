// SPDX-License-Identifier: GPL-2.0

//! The records of one open file: what its locks have to tell and in which order, before anybody
//! waits for it.
//!
//! There is a slot for each lock of the file, with what the program gave to get back and what it
//! has not been told yet. The slot is made by the `write()` that asks, so delivering never
//! allocates and never fails. As long as nothing untold stands in a slot, further operations on the
//! lock use it again; otherwise they get a new one, and the old one goes when it has been read. So
//! a record always shows what the program had given when the event happened.
//!
//! ```text
//! first -> (slot, completion) -> (slot, blocking PR) -> (slot, completion) -> ...
//! ```
//!
//! The order of reading is a list through the slots: each has one link for its completion and one
//! for each mode that it can be blocking, which is all that can be untold at once.
//!
//! No lock is taken here and nobody is woken: that is the queue's part, in `callbacks`.

use crate::{
    engine::{
        Completion,
        LockId,
        Occasion,
        Ticket, //
    },
    storage::slab::{
        Slab,
        NONE, //
    },
    terms::{
        Mode,
        Status,
        StatusFlags,
        Value, //
    },
    wire::{
        record_length,
        Change,
        News,
        Record,
        RecordBytes,
        User,
        Width, //
    },
};
use kernel::prelude::*;

/// The most slots that a queue can have: an [`Entry`] keeps three bits for its kind.
const SLOT_LIMIT: u32 = 1 << 29;

/// What can be told about a slot: the numbers of modes stand for blocking records. Blocking NL does
/// not exist, so its place is the completion's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind(u8);

impl Kind {
    const COMPLETION: Kind = Kind(Mode::Nl as u8);
    const ACKNOWLEDGEMENT: Kind = Kind(Mode::COUNT as u8);
    const COUNT: usize = Mode::COUNT + 1;

    fn blocking(mode: Mode) -> Self {
        Kind(mode as u8)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Default)]
struct Kinds(u8);

impl Kinds {
    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << (kind.0 & 7);
    }

    fn remove(&mut self, kind: Kind) {
        self.0 &= !(1 << (kind.0 & 7));
    }
}

/// One thing that is to be told: a kind of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry(u32);

impl Entry {
    const END: Entry = Entry(NONE);

    fn new(slot: u32, kind: Kind) -> Self {
        Entry((slot << 3) | u32::from(kind.0))
    }

    fn slot(self) -> u32 {
        self.0 >> 3
    }

    fn kind(self) -> Kind {
        Kind((self.0 & 7) as u8)
    }
}

/// A record that has been taken out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) entry: Entry,
    /// Its length in bytes.
    pub(crate) length: usize,
    /// It has reached the program.
    pub(crate) told: bool,
}

/// Who tells records. A method can be made to be inlined always, which a closure cannot.
pub(crate) trait Delivery {
    /// Tells a record. Returns whether it has reached the program.
    fn deliver(&mut self, record: &Record<'_>) -> bool;
}

impl<F: FnMut(&Record<'_>) -> bool> Delivery for F {
    fn deliver(&mut self, record: &Record<'_>) -> bool {
        self(record)
    }
}

/// Tells a record that is not of the usual kind: out of the way of those that are.
#[inline(never)]
fn deliver_other(delivery: &mut impl Delivery, record: &Record<'_>) -> bool {
    delivery.deliver(record)
}

struct Slot {
    user: User,
    id: LockId,
    /// Room for a returned value block, in `Records::values`.
    value: u32,
    /// While an operation waits: another slot, for what the lock blocks before it ends.
    spare: u32,
    /// What is read after each of this slot's entries.
    next: [Entry; Kind::COUNT],
    untold: Kinds,
    status: Status,
    flags: StatusFlags,
    /// The completion returns the value block.
    returns_value: bool,
    /// When these blocking records are read, an operation on the lock has begun whose completion
    /// comes later.
    overtaken: bool,
    /// No lock refers to it any more.
    retired: bool,
}

impl Slot {
    #[inline(always)]
    fn new(user: User, value: u32) -> Self {
        Slot {
            user,
            id: 0,
            value,
            spare: NONE,
            next: [Entry::END; Kind::COUNT],
            untold: Kinds::default(),
            status: Status::Granted,
            flags: StatusFlags::default(),
            returns_value: false,
            overtaken: false,
            retired: false,
        }
    }

    /// What is told of that kind.
    #[inline(always)]
    fn record<'a>(&'a self, kind: Kind, values: &'a Slab<Value>) -> Record<'a> {
        if kind == Kind::COMPLETION {
            self.completion(self.returns_value.then(|| values.get(self.value)).flatten())
        } else {
            self.notification(kind)
        }
    }

    /// The end of the operation, with this value block.
    #[inline(always)]
    fn completion<'a>(&'a self, value: Option<&'a Value>) -> Record<'a> {
        Record {
            id: self.id,
            user: &self.user,
            news: News::Completion {
                status: self.status,
                flags: self.flags,
                value,
            },
        }
    }

    /// What is no completion.
    fn notification(&self, kind: Kind) -> Record<'_> {
        let blocking = |mode| News::Blocking {
            mode,
            pending: self.overtaken,
        };
        Record {
            id: self.id,
            user: &self.user,
            news: Mode::new(kind.0).map_or(News::Acknowledgement, blocking),
        }
    }

    /// The operation has ended; unless it is silent, that is to be told next.
    #[inline(always)]
    fn end(&mut self, completion: &Completion<'_>) {
        self.id = completion.id;
        self.status = completion.status;
        self.flags = completion.flags;
        self.returns_value = completion.value.is_some();
        self.retired = completion.last;
        if !completion.silent {
            self.await_telling(Kind::COMPLETION);
        }
    }

    /// This has been told. Returns whether that was all, and no lock will have more to tell.
    #[inline(always)]
    fn strike_off(&mut self, kind: Kind) -> bool {
        self.untold.remove(kind);
        self.retired && self.untold.is_empty()
    }

    /// There is nothing to tell, and nothing has been set aside for an operation that waits.
    #[inline(always)]
    fn is_idle(&self) -> bool {
        self.untold.is_empty() && self.spare == NONE
    }

    #[inline(always)]
    fn await_telling(&mut self, kind: Kind) {
        self.untold.insert(kind);
        if let Some(next) = self.next.get_mut(usize::from(kind.0)) {
            *next = Entry::END;
        }
    }

    #[inline(always)]
    fn next(&self, kind: Kind) -> Entry {
        let next = self.next.get(usize::from(kind.0));
        next.copied().unwrap_or(Entry::END)
    }
}

/// The records of an open file that are untold, and room for those that may come.
pub(crate) struct Records {
    slots: Slab<Slot>,
    values: Slab<Value>,
    first: Entry,
    last: Entry,
    /// How many there are from `first` to `last`.
    waiting: u32,
}

impl Records {
    pub(crate) const fn new() -> Self {
        Records {
            slots: Slab::new(),
            values: Slab::new(),
            first: Entry::END,
            last: Entry::END,
            waiting: 0,
        }
    }

    // What locks have to tell: see `engine::Owner`.

    /// Sets aside what a lock will need. An error has done nothing.
    pub(crate) fn open(
        &mut self,
        change: Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket> {
        let user = change.apply(User::default());
        let spare = self.renew_spare(NONE, user, occasion)?;
        let ticket = self.add(user, value).inspect_err(|_| self.free(spare))?;
        self.slots[ticket].spare = spare;
        Ok(ticket)
    }

    /// The request for a new lock has ended at once. An error has done nothing.
    #[inline(always)]
    pub(crate) fn answer(
        &mut self,
        change: Change<'_>,
        completion: Completion<'_>,
    ) -> Result<Ticket> {
        let room = self.values.room(completion.value.is_some())?;
        let vacant = self.slots.vacancy(|| SLOT_LIMIT);
        let vacancy = vacant.inspect_err(|_| self.values.give_back(room))?;
        let slot = || Slot::new(change.apply(User::default()), room);
        self.slots.fill(vacancy, slot).end(&completion);
        let ticket = vacancy.index;
        self.keep_value(room, completion.value);
        self.tell(ticket, &completion);
        Ok(ticket)
    }

    /// A further operation has ended at once. An error has done nothing.
    #[inline(always)]
    pub(crate) fn conclude(
        &mut self,
        ticket: Ticket,
        change: Change<'_>,
        completion: Completion<'_>,
    ) -> Result<Ticket> {
        if completion.silent && completion.last && self.free_if(ticket, |slot| slot.is_idle()) {
            return Ok(ticket);
        }
        let slot = &mut self.slots[ticket];
        if slot.is_idle() && completion.value.is_none() {
            change.apply_to(&mut slot.user);
            slot.end(&completion);
            self.tell(ticket, &completion);
            return Ok(ticket);
        }
        let occasion = if completion.silent {
            // Its end is known before anything that is untold is read.
            Occasion::UserSideOnly
        } else {
            Occasion::Operation { waits: false }
        };
        let ticket = self.change(ticket, change, occasion, completion.value.is_some())?;
        self.complete(ticket, completion);
        Ok(ticket)
    }

    /// The same for a further operation, or for what only replaces the user's side.
    pub(crate) fn change(
        &mut self,
        ticket: Ticket,
        change: Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket> {
        let slot = &self.slots[ticket];
        let user = change.apply(slot.user);
        if slot.is_idle() && (!value || slot.value != NONE) {
            return self.change_idle(ticket, user, occasion);
        }
        let old = slot.spare;
        let spare = self.renew_spare(old, user, occasion)?;
        let renewed = self.renew(ticket, user, value);
        let current = renewed.inspect_err(|_| {
            if spare != old {
                self.free(spare);
            }
        })?;
        if spare != old && old != NONE {
            self.retire(old);
        }
        let slot = &mut self.slots[current];
        slot.user = user;
        slot.spare = spare;
        if let Some(spare) = self.slots.get_mut(spare) {
            // An old one that is left as it is tells what it was made for.
            if spare.untold.is_empty() {
                spare.user = user;
            }
        }
        if current != ticket {
            self.slots[ticket].overtaken |= occasion != Occasion::UserSideOnly;
            self.retire(ticket);
        }
        Ok(current)
    }

    /// The same where there is nothing untold, and no room to be made for a value.
    #[inline(always)]
    fn change_idle(&mut self, ticket: Ticket, user: User, occasion: Occasion) -> Result<Ticket> {
        let spare = if occasion == (Occasion::Operation { waits: true }) {
            self.add_spare(user)?
        } else {
            NONE
        };
        let slot = &mut self.slots[ticket];
        slot.user = user;
        slot.spare = spare;
        Ok(ticket)
    }

    /// An operation has ended.
    pub(crate) fn complete(&mut self, ticket: Ticket, completion: Completion<'_>) {
        let slot = &mut self.slots[ticket];
        slot.end(&completion);
        let spare = core::mem::replace(&mut slot.spare, NONE);
        let room = slot.value;
        self.keep_value(room, completion.value);
        if spare != NONE {
            self.retire(spare);
        }
        self.tell(ticket, &completion);
    }

    /// An operation waits, and the program has not been told that, or the id, otherwise.
    pub(crate) fn acknowledge(&mut self, ticket: Ticket, id: LockId) {
        let slot = &mut self.slots[ticket];
        slot.id = id;
        slot.await_telling(Kind::ACKNOWLEDGEMENT);
        self.append(Entry::new(ticket, Kind::ACKNOWLEDGEMENT));
    }

    /// Lines up a completion that stands in its slot. One that is silent leaves nothing, and if it
    /// is the last, not even the slot.
    #[inline(always)]
    fn tell(&mut self, ticket: Ticket, completion: &Completion<'_>) {
        if !completion.silent {
            self.append(Entry::new(ticket, Kind::COMPLETION));
        } else if completion.last {
            self.retire(ticket);
        }
    }

    fn keep_value(&mut self, room: u32, value: Option<&Value>) {
        if let Some(value) = value {
            if let Some(room) = self.values.get_mut(room) {
                *room = *value;
            }
        }
    }

    /// The lock is in the way of a request for `mode`.
    pub(crate) fn block(&mut self, ticket: Ticket, id: LockId, mode: Mode) {
        let ticket = match self.slots[ticket].spare {
            NONE => ticket,
            spare => spare,
        };
        let slot = &mut self.slots[ticket];
        slot.id = id;
        slot.await_telling(Kind::blocking(mode));
        self.append(Entry::new(ticket, Kind::blocking(mode)));
    }

    /// The lock is gone without a completion.
    pub(crate) fn close(&mut self, ticket: Ticket) {
        let spare = core::mem::replace(&mut self.slots[ticket].spare, NONE);
        if spare != NONE {
            self.retire(spare);
        }
        self.retire(ticket);
    }

    /// The transaction that the program says the lock belongs to.
    pub(crate) fn transaction(&self, ticket: Ticket) -> u64 {
        self.slots.get(ticket).map_or(0, |slot| slot.user.xid)
    }

    // What the program reads.

    /// Whether there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.first == Entry::END
    }

    /// How many records wait to be read.
    pub(crate) fn len(&self) -> u32 {
        self.waiting
    }

    /// The record that was lined up last, if it is untold.
    pub(crate) fn last(&self) -> Entry {
        self.last
    }

    /// The record that [`Self::take`] takes out with as much room.
    pub(crate) fn first(&self, room: usize, width: Width) -> Option<(Entry, Record<'_>)> {
        let entry = self.first;
        if entry == Entry::END {
            return None;
        }
        let record = self.slots[entry.slot()].record(entry.kind(), &self.values);
        (record.length(width) <= room).then_some((entry, record))
    }

    /// Takes the first record out, if there is one, and has it told. If it does not reach the program
    /// by that, it is to be followed by [`Self::told`] or [`Self::untold`]. `EINVAL` if it is longer
    /// than `room`: it stays.
    #[inline(always)]
    pub(crate) fn take(
        &mut self,
        room: usize,
        width: Width,
        mut delivery: impl Delivery,
    ) -> Result<Option<Taken>> {
        let entry = self.first;
        if entry == Entry::END {
            return Ok(None);
        }
        let mut taken = Err(EINVAL);
        let take = |slot: &mut Slot| {
            let kind = entry.kind();
            let has_value = kind == Kind::COMPLETION && slot.returns_value;
            let length = record_length(width, has_value);
            if length > room {
                return None;
            }
            let told = if kind == Kind::COMPLETION && !has_value {
                // Nearly all are such. Their layout is compiled without asking what they are.
                delivery.deliver(&slot.completion(None))
            } else {
                deliver_other(&mut delivery, &slot.record(kind, &self.values))
            };
            self.first = slot.next(kind);
            self.waiting -= 1;
            taken = Ok(Some(Taken {
                entry,
                length,
                told,
            }));
            (told && slot.strike_off(kind)).then_some(slot.value)
        };
        if let Some(value) = self.slots.erase_if(entry.slot(), take) {
            self.values.give_back(value);
        }
        taken
    }

    /// The bytes of a record that has been taken out.
    pub(crate) fn bytes(&self, entry: Entry, width: Width) -> RecordBytes {
        let slot = &self.slots[entry.slot()];
        RecordBytes::of(&slot.record(entry.kind(), &self.values), width)
    }

    /// The record has reached the program.
    #[inline(always)]
    pub(crate) fn told(&mut self, entry: Entry) {
        self.free_if(entry.slot(), |slot| slot.strike_off(entry.kind()));
    }

    /// It has not: it is the first again.
    pub(crate) fn untold(&mut self, entry: Entry) {
        self.push_front(entry);
    }

    /// Drops the first record. Returns whether there was one.
    pub(crate) fn forget_first(&mut self) -> bool {
        matches!(
            self.take(usize::MAX, Width::Bits64, |_: &Record<'_>| true),
            Ok(Some(_))
        )
    }

    /// Gives up all of them, some at a time, until it returns false.
    pub(crate) fn dismantle(&mut self) -> bool {
        self.first = Entry::END;
        self.waiting = 0;
        self.slots.dismantle() || self.values.dismantle()
    }

    // Slots.

    /// A new slot, with room for a value block if `value`.
    fn add(&mut self, user: User, value: bool) -> Result<u32> {
        let room = self.values.room(value)?;
        let inserted = self.slots.insert(Slot::new(user, room), SLOT_LIMIT);
        inserted.inspect_err(|_| self.values.give_back(room))
    }

    /// The slot for a lock's next operation: the same, unless something untold stands in it.
    fn renew(&mut self, ticket: u32, user: User, value: bool) -> Result<u32> {
        let slot = &self.slots[ticket];
        if !slot.untold.is_empty() {
            return self.add(user, value);
        }
        if value && slot.value == NONE {
            self.slots[ticket].value = self.values.room(true)?;
        }
        Ok(ticket)
    }

    /// The spare slot after a change, which is `old` unless that cannot serve: something that was
    /// given before stands in it. No operation that cannot wait needs one; what stands in `old`
    /// then goes with [`Self::complete`].
    fn renew_spare(&mut self, old: u32, user: User, occasion: Occasion) -> Result<u32> {
        let wanted = match occasion {
            Occasion::Operation { waits } => waits,
            Occasion::UserSideOnly => old != NONE,
        };
        let serves = self.slots.get(old).is_some_and(|old| old.untold.is_empty());
        if !wanted || serves {
            return Ok(old);
        }
        self.add_spare(user)
    }

    /// A slot for what a lock is told while its operation waits.
    fn add_spare(&mut self, user: User) -> Result<u32> {
        let vacancy = self.slots.vacancy(|| SLOT_LIMIT)?;
        let slot = || Slot {
            overtaken: true,
            ..Slot::new(user, NONE)
        };
        self.slots.fill(vacancy, slot);
        Ok(vacancy.index)
    }

    /// No lock refers to the slot any more; it goes at once, or when it has been read.
    #[inline(always)]
    fn retire(&mut self, ticket: u32) {
        self.free_if(ticket, |slot| {
            slot.retired = true;
            slot.untold.is_empty()
        });
    }

    #[inline(always)]
    fn free(&mut self, ticket: u32) {
        self.free_if(ticket, |_| true);
    }

    /// Drops a slot, with its room for a value block, if `look` finds that it can go. Returns
    /// whether it did.
    #[inline(always)]
    fn free_if(&mut self, ticket: u32, look: impl FnOnce(&mut Slot) -> bool) -> bool {
        let value = self
            .slots
            .erase_if(ticket, |slot| look(slot).then_some(slot.value));
        value.map(|value| self.values.give_back(value)).is_some()
    }

    // The order of reading.

    #[inline(always)]
    fn set_next(&mut self, entry: Entry, next: Entry) {
        let slot = &mut self.slots[entry.slot()];
        if let Some(place) = slot.next.get_mut(usize::from(entry.kind().0)) {
            *place = next;
        }
    }

    /// Puts an entry that is untold, with nothing behind it, at the end.
    #[inline(always)]
    fn append(&mut self, entry: Entry) {
        if self.first == Entry::END {
            self.first = entry;
        } else {
            self.set_next(self.last, entry);
        }
        self.last = entry;
        self.waiting += 1;
    }

    fn push_front(&mut self, entry: Entry) {
        self.set_next(entry, self.first);
        if self.first == Entry::END {
            self.last = entry;
        }
        self.first = entry;
        self.waiting += 1;
    }

    /// How many slots and rooms for value blocks there are.
    #[cfg(test)]
    pub(crate) fn used(&self) -> (u32, u32) {
        (self.slots.len(), self.values.len())
    }

    #[cfg(test)]
    pub(crate) fn layout() -> crate::storage::slab::Layout {
        Slab::<Slot>::layout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        terms::VALUE_LEN,
        wire::{
            layout::Given,
            record_min, //
        },
    };
    use kernel::alloc::fail_after;

    const ID: LockId = 7;
    const WAITS: Occasion = Occasion::Operation { waits: true };
    const ENDS: Occasion = Occasion::Operation { waits: false };

    /// One that is told from others by its number.
    fn replace(number: u64) -> Change<'static> {
        Change::Replace(Box::leak(Box::new(Given {
            xid: 0,
            timeout: 0,
            castparam: number,
            castaddr: 0,
            bastparam: 0,
            bastaddr: 0,
            lksb: 0,
        })))
    }

    fn ended(status: Status, value: Option<&Value>) -> Completion<'_> {
        Completion {
            id: ID,
            status,
            flags: StatusFlags::default(),
            value,
            last: status == Status::Unlocked,
            silent: false,
        }
    }

    /// A record in short: the user's side, then the status, or the mode and whether an operation
    /// is pending.
    #[derive(Debug, PartialEq, Eq)]
    enum Told {
        Ended(u64, Status),
        Blocks(u64, Mode, bool),
        Begun(u64),
    }

    use Told::{
        Begun,
        Blocks,
        Ended, //
    };

    fn short(record: &Record<'_>) -> Told {
        let number = record.user.cast_parameter;
        match record.news {
            News::Completion { status, .. } => Ended(number, status),
            News::Blocking { mode, pending } => Blocks(number, mode, pending),
            News::Acknowledgement => Begun(number),
        }
    }

    impl Records {
        /// A lock that was granted, and the program knows.
        fn granted(number: u64) -> (Records, Ticket) {
            let mut records = Records::new();
            let ticket = records.open(replace(number), ENDS, false).unwrap();
            records.grant(ticket);
            assert_eq!(records.read(), [Ended(number, Status::Granted)]);
            (records, ticket)
        }

        fn begin(&mut self, ticket: Ticket, number: u64, occasion: Occasion) -> Ticket {
            self.change(ticket, replace(number), occasion, false)
                .unwrap()
        }

        fn grant(&mut self, ticket: Ticket) {
            self.complete(ticket, ended(Status::Granted, None));
        }

        fn unlock(&mut self, ticket: Ticket, number: u64) {
            let ticket = self.begin(ticket, number, ENDS);
            self.complete(ticket, ended(Status::Unlocked, None));
        }

        /// The first record, which does not reach the program yet, and what `look` sees in it.
        fn first_out<R>(&mut self, look: impl Fn(&Record<'_>) -> R) -> Option<(Entry, R)> {
            let mut seen = None;
            let tell = |record: &Record<'_>| {
                seen = Some(look(record));
                false
            };
            let taken = self.take(usize::MAX, Width::Bits64, tell).unwrap()?;
            Some((taken.entry, seen.unwrap()))
        }

        fn read_one(&mut self) -> Option<Told> {
            let (entry, told) = self.first_out(short)?;
            self.told(entry);
            Some(told)
        }

        fn read(&mut self) -> Vec<Told> {
            core::iter::from_fn(|| self.read_one()).collect()
        }
    }

    #[test]
    fn records_come_in_the_order_of_what_happened() {
        let mut records = Records::new();
        let a = records.open(replace(1), ENDS, false).unwrap();
        let b = records.open(replace(2), ENDS, false).unwrap();
        records.grant(b);
        records.block(b, ID, Mode::Pr);
        records.grant(a);
        records.block(b, ID, Mode::Ex);
        assert!(!records.is_empty());
        assert_eq!(
            records.read(),
            [
                Ended(2, Status::Granted),
                Blocks(2, Mode::Pr, false),
                Ended(1, Status::Granted),
                Blocks(2, Mode::Ex, false),
            ]
        );
        assert!(records.is_empty());
    }

    #[test]
    fn a_record_shows_what_was_given_when_it_happened() {
        let mut records = Records::new();
        let ticket = records.open(replace(1), ENDS, false).unwrap();
        records.grant(ticket);
        let ticket = records.begin(ticket, 2, WAITS);
        records.grant(ticket);
        records.block(ticket, ID, Mode::Cw);
        records.unlock(ticket, 3);
        assert_eq!(
            records.read(),
            [
                Ended(1, Status::Granted),
                Ended(2, Status::Granted),
                Blocks(2, Mode::Cw, true),
                Ended(3, Status::Unlocked),
            ]
        );
        assert_eq!(records.used(), (0, 0));
    }

    #[test]
    fn a_slot_in_which_nothing_stands_is_used_again() {
        let (mut records, ticket) = Records::granted(1);
        assert_eq!(records.begin(ticket, 2, ENDS), ticket);
        records.grant(ticket);
        assert_ne!(records.begin(ticket, 3, ENDS), ticket);
    }

    #[test]
    fn what_is_refused_as_busy_counts_from_then_on() {
        let (mut records, ticket) = Records::granted(1);
        let ticket = records.begin(ticket, 2, WAITS);
        records.block(ticket, ID, Mode::Pr);
        let ticket = records.begin(ticket, 3, Occasion::UserSideOnly);
        records.block(ticket, ID, Mode::Ex);
        records.grant(ticket);
        assert_eq!(
            records.read(),
            [
                Blocks(2, Mode::Pr, true),
                Blocks(3, Mode::Ex, true),
                Ended(3, Status::Granted),
            ]
        );
        assert_eq!(records.used(), (1, 0));
    }

    #[test]
    fn the_same_mode_may_stand_before_and_after_a_completion() {
        let (mut records, ticket) = Records::granted(1);
        let ticket = records.begin(ticket, 2, WAITS);
        records.block(ticket, ID, Mode::Pr);
        records.block(ticket, ID, Mode::Ex);
        records.grant(ticket);
        records.block(ticket, ID, Mode::Pr);
        records.block(ticket, ID, Mode::Ex);
        assert_eq!(
            records.read(),
            [
                Blocks(2, Mode::Pr, true),
                Blocks(2, Mode::Ex, true),
                Ended(2, Status::Granted),
                Blocks(2, Mode::Pr, false),
                Blocks(2, Mode::Ex, false),
            ]
        );
    }

    #[test]
    fn a_blocking_record_is_pending_until_the_operation_after_it_is_told() {
        let (mut records, ticket) = Records::granted(1);
        records.block(ticket, ID, Mode::Cw);
        records.block(ticket, ID, Mode::Ex);
        assert_eq!(records.read_one(), Some(Blocks(1, Mode::Cw, false)));
        // The conversion begins, and even ends, before the second is read.
        let ticket = records.begin(ticket, 2, WAITS);
        records.grant(ticket);
        records.block(ticket, ID, Mode::Pr);
        assert_eq!(
            records.read(),
            [
                Blocks(1, Mode::Ex, true),
                Ended(2, Status::Granted),
                Blocks(2, Mode::Pr, false),
            ]
        );
    }

    #[test]
    fn ending_what_is_pending_needs_no_memory() {
        let (mut records, ticket) = Records::granted(1);
        let ticket = records.begin(ticket, 2, WAITS);
        records.block(ticket, ID, Mode::Pr);
        let before = records.used();
        // Not even room that is there already.
        assert_eq!(records.begin(ticket, 3, ENDS), ticket);
        assert_eq!(records.used(), before);
        records.complete(ticket, ended(Status::Cancelled, None));
        assert_eq!(
            records.read(),
            [Blocks(2, Mode::Pr, true), Ended(3, Status::Cancelled)]
        );
        assert_eq!(records.used(), (1, 0));
    }

    #[test]
    fn value_blocks_have_room_of_their_own() {
        let (old, new) = ([1; VALUE_LEN], [2; VALUE_LEN]);
        let mut records = Records::new();
        let ticket = records.open(replace(1), ENDS, true).unwrap();
        records.complete(ticket, ended(Status::Granted, Some(&old)));
        let ticket = records.change(ticket, replace(2), WAITS, true).unwrap();
        records.complete(ticket, ended(Status::Granted, Some(&new)));
        let ticket = records.change(ticket, replace(3), WAITS, true).unwrap();
        records.complete(ticket, ended(Status::WouldWait, None));
        records.close(ticket);
        for expected in [Some(old), Some(new), None] {
            let (entry, value) = records.first_out(|it| it.value().copied()).unwrap();
            assert_eq!(value, expected);
            records.told(entry);
        }
        assert_eq!(records.used(), (0, 0));
    }

    #[test]
    fn a_lock_gets_room_for_a_value_block_when_it_asks_for_one() {
        let (mut records, ticket) = Records::granted(1);
        assert_eq!(records.used(), (1, 0));
        let same = records.change(ticket, replace(2), ENDS, true);
        assert_eq!((same, records.used()), (Ok(ticket), (1, 1)));
        records.complete(ticket, ended(Status::Granted, Some(&[5; VALUE_LEN])));
        for width in [Width::Bits32, Width::Bits64] {
            let room = record_min(width) + VALUE_LEN;
            let refuse = |_: &Record<'_>| false;
            let refused = records.take(room - 1, width, refuse);
            assert!(matches!(refused, Err(EINVAL)));
            let taken = records.take(room, width, refuse).unwrap().unwrap();
            assert_eq!((taken.length, taken.told), (room, false));
            records.untold(taken.entry);
        }
        assert_eq!(records.read(), [Ended(2, Status::Granted)]);
    }

    #[test]
    fn what_did_not_arrive_is_the_first_again() {
        let (mut records, ticket) = Records::granted(1);
        for mode in [Mode::Cw, Mode::Pw, Mode::Ex] {
            records.block(ticket, ID, mode);
        }
        let (first, _) = records.first_out(short).unwrap();
        records.untold(first);
        assert_eq!(records.read_one(), Some(Blocks(1, Mode::Cw, false)));
        // The last of all, while its lock goes.
        let (second, _) = records.first_out(short).unwrap();
        let (third, _) = records.first_out(short).unwrap();
        assert!(records.is_empty());
        records.close(ticket);
        records.untold(third);
        records.untold(second);
        assert_eq!(
            records.read(),
            [Blocks(1, Mode::Pw, false), Blocks(1, Mode::Ex, false)]
        );
        assert_eq!(records.used(), (0, 0));
    }

    #[test]
    fn records_outlive_their_lock_and_then_all_is_free() {
        let mut records = Records::new();
        let locks: Vec<_> = (0..100)
            .map(|n| records.open(replace(n), ENDS, n % 2 == 0).unwrap())
            .collect();
        for (n, ticket) in locks.into_iter().enumerate() {
            records.grant(ticket);
            let ticket = records.begin(ticket, 1000, WAITS);
            records.block(ticket, ID, Mode::Ex);
            match n % 3 {
                0 => records.close(ticket),
                1 => records.unlock(ticket, 1001),
                _ => records.complete(
                    ticket,
                    Completion {
                        last: true,
                        ..ended(Status::Cancelled, None)
                    },
                ),
            }
        }
        assert_eq!(records.read().len(), 34 * 2 + 66 * 3);
        assert_eq!(records.used(), (0, 0));
    }

    #[test]
    fn what_ends_in_silence_leaves_nothing() {
        let mut records = Records::new();
        let silent = |status| Completion {
            silent: true,
            ..ended(status, None)
        };
        let ticket = records.answer(replace(1), silent(Status::Granted)).unwrap();
        assert_eq!((records.read(), records.used()), (vec![], (1, 0)));
        // What was said before is still told, and as it was.
        records.block(ticket, ID, Mode::Pr);
        let same = records.conclude(ticket, replace(2), silent(Status::Granted));
        let ticket = same.unwrap();
        records.block(ticket, ID, Mode::Pr);
        records
            .conclude(ticket, replace(3), silent(Status::Unlocked))
            .unwrap();
        assert_eq!(
            records.read(),
            [Blocks(1, Mode::Pr, false), Blocks(2, Mode::Pr, false)]
        );
        assert_eq!(records.used(), (0, 0));
    }

    #[test]
    fn an_acknowledgement_comes_before_all_else_of_a_lock() {
        let mut records = Records::new();
        let ticket = records.open(replace(1), ENDS, false).unwrap();
        records.acknowledge(ticket, ID);
        records.grant(ticket);
        for mode in [Mode::Cr, Mode::Ex] {
            records.block(ticket, ID, mode);
        }
        records.unlock(ticket, 2);
        assert_eq!(
            records.read(),
            [
                Begun(1),
                Ended(1, Status::Granted),
                Blocks(1, Mode::Cr, true),
                Blocks(1, Mode::Ex, true),
                Ended(2, Status::Unlocked),
            ]
        );
        assert_eq!(records.used(), (0, 0));
    }

    #[test]
    fn without_memory_nothing_changes() {
        let mut records = Records::new();
        let mut tickets = Vec::new();
        // Up to the brink, where the next slot and the next value block need memory.
        fail_after(Some(4));
        while let Ok(ticket) = records.open(replace(1), ENDS, true) {
            tickets.push(ticket);
        }
        let ticket = tickets[0];
        records.grant(ticket);
        let before = records.used();
        for occasion in [WAITS, ENDS, Occasion::UserSideOnly] {
            let changed = records.change(ticket, replace(2), occasion, true);
            assert_eq!((changed, records.used()), (Err(ENOMEM), before));
        }
        fail_after(None);
        for ticket in tickets {
            records.close(ticket);
        }
        assert_eq!(records.read(), [Ended(1, Status::Granted)]);
        assert_eq!(records.used(), (0, 0));
    }
}
