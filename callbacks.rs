// SPDX-License-Identifier: GPL-2.0

//! The records of one open file: kept in order, read one by one, waited and polled for.
//!
//! A [`Queue`] keeps a slot for each lock of its file, with what the program gave to get back and
//! what it has not been told yet. The slot is made by the `write()` that asks, so delivering never
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
//! Locking: one mutex guards all of a queue. It is taken under a shard's lock, never the other way
//! round, and it is never held while the user's memory is touched: a record that is being read is
//! taken out, and put back if the copy fails.

use crate::{
    lock_table::{
        Completion,
        LockId,
        Occasion,
        Owner,
        Ticket, //
    },
    slab::{
        Slab,
        NONE, //
    },
    terms::{
        Mode,
        ModeSet,
        Status,
        StatusFlags,
        Value, //
    },
    wire::{
        Change,
        News,
        Record,
        User, //
    },
};
use kernel::{
    bindings,
    fs::File,
    new_mutex,
    prelude::*,
    sync::{
        poll::{
            PollCondVarBox,
            PollTable, //
        },
        Arc,
        Mutex, //
    },
};

/// The most slots that a queue can have: an [`Entry`] keeps three bits for its kind.
const SLOT_LIMIT: u32 = 1 << 29;

/// One thing that can be told about a slot. Blocking NL does not exist, so its place is the
/// completion's.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u32);

const COMPLETION: Mode = Mode::Nl;

impl Entry {
    const END: Entry = Entry(NONE);

    fn new(slot: u32, kind: Mode) -> Self {
        Entry((slot << 3) | kind as u32)
    }

    fn slot(self) -> u32 {
        self.0 >> 3
    }

    fn kind(self) -> Mode {
        Mode::new((self.0 & 7) as u8).unwrap_or(COMPLETION)
    }
}

struct Slot {
    user: User,
    id: LockId,
    /// Room for a returned value block, in `Inner::values`.
    value: u32,
    /// While an operation may wait: another slot, for what the lock blocks before it ends.
    spare: u32,
    /// What is read after each of this slot's entries.
    next: [Entry; Mode::COUNT],
    untold: ModeSet,
    status: Status,
    flags: StatusFlags,
    /// The completion returns the value block.
    returns_value: bool,
    /// An operation has begun and not ended.
    pending: bool,
    /// When these blocking records are read, an operation on the lock has begun whose completion
    /// comes later.
    overtaken: bool,
    /// No lock refers to it any more.
    retired: bool,
}

impl Slot {
    fn new(user: User) -> Self {
        Slot {
            user,
            id: 0,
            value: NONE,
            spare: NONE,
            next: [Entry::END; Mode::COUNT],
            untold: ModeSet::default(),
            status: Status::Granted,
            flags: StatusFlags::default(),
            returns_value: false,
            pending: false,
            overtaken: false,
            retired: false,
        }
    }
}

struct Inner {
    slots: Slab<Slot>,
    values: Slab<Value>,
    first: Entry,
    last: Entry,
    /// Readers that sleep.
    sleepers: u32,
    /// Somebody has polled, so may be waiting at any time.
    polled: bool,
    /// The lockspace is gone.
    hung_up: bool,
}

/// The record queue of an open file.
#[pin_data]
pub(crate) struct Queue {
    #[pin]
    inner: Mutex<Inner>,
    /// Where readers and pollers wait; freed with a grace period, as polling needs.
    readable: PollCondVarBox,
}

/// A record that is being read.
pub(crate) struct Taken {
    pub(crate) record: Record,
    entry: Entry,
}

impl Queue {
    pub(crate) fn new() -> Result<Arc<Queue>> {
        let readable = PollCondVarBox::new(c"dlm_device::readable", kernel::static_lock_class!())?;
        let inner = Inner {
            slots: Slab::new(),
            values: Slab::new(),
            first: Entry::END,
            last: Entry::END,
            sleepers: 0,
            polled: false,
            hung_up: false,
        };
        Arc::pin_init(
            pin_init!(Queue {
                inner <- new_mutex!(inner, "dlm_device::Queue"),
                readable,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Takes the first record out, to be followed by [`Self::told`] or [`Self::untold`].
    ///
    /// `EINVAL` if it is longer than `room` (it stays), `EAGAIN` if there is none and `wait` is
    /// not set, `ERESTARTSYS` for a signal, `ENODEV` if the lockspace is gone.
    pub(crate) fn take(&self, room: usize, wait: bool) -> Result<Taken> {
        let mut inner = self.inner.lock();
        loop {
            if inner.hung_up {
                return Err(ENODEV);
            }
            if let Some(record) = inner.peek() {
                if record.length() > room {
                    return Err(EINVAL);
                }
                let entry = inner.pop();
                return Ok(Taken { record, entry });
            }
            if !wait {
                return Err(EAGAIN);
            }
            inner.sleepers += 1;
            let interrupted = self.readable.wait_interruptible(&mut inner);
            inner.sleepers -= 1;
            if interrupted && inner.first == Entry::END && !inner.hung_up {
                return Err(ERESTARTSYS);
            }
        }
    }

    /// The record has reached the program.
    pub(crate) fn told(&self, taken: Taken) {
        self.inner.lock().told(taken.entry);
    }

    /// It has not: it is the first again.
    pub(crate) fn untold(&self, taken: Taken) {
        let mut inner = self.inner.lock();
        inner.push_front(taken.entry);
        self.wake(&inner);
    }

    /// What poll reports, in its flags.
    pub(crate) fn poll(&self, file: &File, table: PollTable<'_>) -> u32 {
        table.register_wait(file, &self.readable);
        let mut inner = self.inner.lock();
        inner.polled = true;
        if inner.hung_up {
            bindings::POLLHUP | bindings::POLLERR
        } else if inner.first != Entry::END {
            bindings::POLLIN | bindings::POLLRDNORM
        } else {
            0
        }
    }

    /// The lockspace is gone: nothing will be told any more, and nobody need wait for it.
    pub(crate) fn hang_up(&self) {
        self.inner.lock().hung_up = true;
        self.readable.notify_all();
    }

    fn wake(&self, inner: &Inner) {
        if inner.polled || inner.sleepers > 0 {
            self.readable.notify_all();
        }
    }

    fn deliver(&self, inner: &mut Inner, entry: Entry) {
        inner.push_back(entry);
        self.wake(inner);
    }
}

impl Owner for Arc<Queue> {
    type Change = Change;

    fn open(&self, change: &Change, value: bool) -> Result<Ticket> {
        let mut inner = self.inner.lock();
        let ticket = inner.add(change.apply(User::default()), value)?;
        inner.slots[ticket].pending = true;
        Ok(ticket)
    }

    fn change(
        &self,
        ticket: Ticket,
        change: &Change,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket> {
        let mut inner = self.inner.lock();
        let user = change.apply(inner.slots[ticket].user);
        let begins = matches!(occasion, Occasion::Operation { .. });
        let current = inner.renew(ticket, user, value)?;
        let waits = occasion == Occasion::Operation { waits: true };
        if let Err(error) = inner.renew_spare(current, user, waits) {
            if current != ticket {
                inner.free(current);
            }
            return Err(error);
        }
        inner.slots[current].user = user;
        if begins {
            inner.slots[current].pending = true;
        }
        if current != ticket {
            inner.slots[ticket].overtaken |= begins;
            inner.retire(ticket);
        }
        Ok(current)
    }

    fn complete(&self, ticket: Ticket, completion: Completion<'_>) {
        let mut inner = self.inner.lock();
        let slot = &mut inner.slots[ticket];
        slot.id = completion.id;
        slot.status = completion.status;
        slot.flags = completion.flags;
        slot.returns_value = completion.value.is_some();
        slot.pending = false;
        let (room, spare) = (slot.value, core::mem::replace(&mut slot.spare, NONE));
        if let (Some(value), Some(room)) = (completion.value, inner.values.get_mut(room)) {
            *room = *value;
        }
        if spare != NONE {
            inner.retire(spare);
        }
        self.deliver(&mut inner, Entry::new(ticket, COMPLETION));
        if completion.last {
            inner.retire(ticket);
        }
    }

    fn block(&self, ticket: Ticket, id: LockId, mode: Mode) {
        let mut inner = self.inner.lock();
        let slot = &inner.slots[ticket];
        let ticket = if slot.pending && slot.spare != NONE {
            slot.spare
        } else {
            ticket
        };
        inner.slots[ticket].id = id;
        self.deliver(&mut inner, Entry::new(ticket, mode));
    }

    fn close(&self, ticket: Ticket) {
        let mut inner = self.inner.lock();
        let spare = core::mem::replace(&mut inner.slots[ticket].spare, NONE);
        if spare != NONE {
            inner.retire(spare);
        }
        inner.retire(ticket);
    }
}

impl Inner {
    /// A new slot, with room for a value block if `value`.
    fn add(&mut self, user: User, value: bool) -> Result<u32> {
        let room = self.add_value(value)?;
        let mut slot = Slot::new(user);
        slot.value = room;
        let inserted = self.slots.insert(slot, SLOT_LIMIT);
        if inserted.is_err() {
            self.values.remove(room);
        }
        inserted
    }

    fn add_value(&mut self, wanted: bool) -> Result<u32> {
        if wanted {
            self.values.insert(Value::default(), NONE)
        } else {
            Ok(NONE)
        }
    }

    /// The slot for a lock's next operation: the same, unless something untold stands in it.
    fn renew(&mut self, ticket: u32, user: User, value: bool) -> Result<u32> {
        let slot = &self.slots[ticket];
        if !slot.untold.is_empty() {
            return self.add(user, value);
        }
        if value && slot.value == NONE {
            self.slots[ticket].value = self.add_value(true)?;
        }
        Ok(ticket)
    }

    /// Sees to it that a pending operation that `waits` has a spare slot, one in which nothing
    /// stands that was given before.
    fn renew_spare(&mut self, ticket: u32, user: User, waits: bool) -> Result {
        let old = self.slots[ticket].spare;
        let usable = self
            .slots
            .get(old)
            .is_some_and(|spare| spare.untold.is_empty());
        if usable {
            self.slots[old].user = user;
        } else if waits || old != NONE {
            let spare = self.add(user, false)?;
            self.slots[spare].overtaken = true;
            self.slots[ticket].spare = spare;
            if old != NONE {
                self.retire(old);
            }
        }
        Ok(())
    }

    /// No lock refers to the slot any more; it goes at once, or when it has been read.
    fn retire(&mut self, ticket: u32) {
        let slot = &mut self.slots[ticket];
        slot.retired = true;
        if slot.untold.is_empty() {
            self.free(ticket);
        }
    }

    fn free(&mut self, ticket: u32) {
        if let Some(slot) = self.slots.remove(ticket) {
            self.values.remove(slot.value);
        }
    }

    fn next_mut(&mut self, entry: Entry) -> &mut Entry {
        &mut self.slots[entry.slot()].next[entry.kind() as usize]
    }

    fn push_back(&mut self, entry: Entry) {
        self.slots[entry.slot()].untold.insert(entry.kind());
        *self.next_mut(entry) = Entry::END;
        if self.first == Entry::END {
            self.first = entry;
        } else {
            *self.next_mut(self.last) = entry;
        }
        self.last = entry;
    }

    fn push_front(&mut self, entry: Entry) {
        *self.next_mut(entry) = self.first;
        if self.first == Entry::END {
            self.last = entry;
        }
        self.first = entry;
    }

    /// Takes the first entry off the list; it stays untold.
    fn pop(&mut self) -> Entry {
        let entry = self.first;
        self.first = *self.next_mut(entry);
        entry
    }

    fn peek(&self) -> Option<Record> {
        let entry = self.first;
        if entry == Entry::END {
            return None;
        }
        let slot = &self.slots[entry.slot()];
        let news = match entry.kind() {
            COMPLETION => News::Completion {
                status: slot.status,
                flags: slot.flags,
                value: self
                    .values
                    .get(slot.value)
                    .filter(|_| slot.returns_value)
                    .copied(),
            },
            mode => News::Blocking {
                mode,
                pending: slot.overtaken,
            },
        };
        Some(Record {
            id: slot.id,
            user: slot.user,
            news,
        })
    }

    fn told(&mut self, entry: Entry) {
        let slot = &mut self.slots[entry.slot()];
        slot.untold.remove(entry.kind());
        if slot.retired && slot.untold.is_empty() {
            self.free(entry.slot());
        }
    }
}
