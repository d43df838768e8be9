// SPDX-License-Identifier: GPL-2.0

//! The queue of an open file: its records, waited and polled for, and read one by one.
//!
//! What the records are and in which order they come is the part of `records`; `names` is for those
//! who trace. A [`Queue`] guards them, and wakes who waits for them.
//!
//! Locking: one mutex guards all of a queue. It is taken under a shard's lock, never the other way
//! round, and while it is held the user's memory is touched only if that is there at once. Else a
//! record that is being read is taken out, and put back if the copy fails. With several readers at
//! once of one file, whose copies fail, records may change places by that; one reader has them in
//! order whatever fails.
//!
//! Waking: a record wakes all who poll, but of the readers that sleep only one, however many there are.
//! So whenever there are records, a reader is on its way to them: one that has been woken, or one that
//! is in [`Queue::read`]. Whoever leaves records behind there wakes the next.
//!
//! The end: once the lockspace has been removed nothing more is told, but what was told before is read
//! first. Then every read is `ENODEV`; but a record that one reader has taken out and cannot copy may
//! come back after others have heard that. Programs that ignore that and read again, as libdlm's receiving
//! thread does, would keep a processor busy, so from the [`PROMPT_ENDS`]th on it takes a while.

mod names;
pub(crate) mod records;

use self::{
    names::Names,
    records::{
        Delivery,
        Entry,
        Records,
        Taken, //
    },
};
use crate::{
    engine::{
        Completion,
        LockId,
        Occasion,
        Owner,
        Ticket, //
    },
    kernel_edge::{
        on_request,
        pause,
        rest,
        trace,
        Destination,
        Patience, //
    },
    terms::Mode,
    wire::{
        Change,
        Dialect,
        Record,
        Width, //
    },
};
use kernel::{
    bindings,
    fs::File,
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        poll::{
            PollCondVarBox,
            PollTable, //
        },
        Arc,
        CondVar,
        Mutex, //
    },
};

/// So many reads of a file whose lockspace is gone are answered at once.
const PROMPT_ENDS: u32 = 16;

/// How long the next one takes, in milliseconds; each one after it twice as long as the one before, up
/// to so many times.
const LATE_END_MS: u32 = 50;
const LATEST_END: u32 = 8;

struct Inner {
    records: Records,
    /// For those who trace.
    names: Names,
    /// How the file is read.
    dialect: Dialect,
    /// The lockspace is gone: nothing will be told any more.
    hung_up: bool,
    /// How often a reader was told so.
    ends: u32,
}

impl Inner {
    /// Takes the first record out, if there is one, and copies it to the program if that can be done
    /// at once. `EINVAL` if there is not enough room.
    #[inline(always)]
    fn take(&mut self, destination: &mut impl Destination) -> Result<Option<Taken>> {
        let width = self.dialect.width();
        let room = destination.len();
        if trace::is_on() {
            self.trace_first(room, width);
        }
        self.records
            .take(room, width, AtOnce { width, destination })
    }

    /// Shows the record that is read next to those who trace.
    #[cold]
    fn trace_first(&mut self, room: usize, width: Width) {
        if let Some((entry, record)) = self.records.first(room, width) {
            self.names.tell(entry, &record);
        }
    }

    /// A record has been lined up, about the lock of this id, on a resource of this name.
    #[inline(always)]
    fn lined_up<'n>(&mut self, id: LockId, name: impl FnOnce() -> &'n [u8]) {
        if trace::is_on() {
            self.names.keep(self.records.last(), id, name());
        }
    }
}

/// Tells records that can be copied without sleeping.
struct AtOnce<'a, D> {
    width: Width,
    destination: &'a mut D,
}

impl<D: Destination> Delivery for AtOnce<'_, D> {
    #[inline(always)]
    fn deliver(&mut self, record: &Record<'_>) -> bool {
        record.show(self.width, |bytes| self.destination.copy_at_once(bytes))
    }
}

/// The record queue of an open file.
#[pin_data]
pub(crate) struct Queue {
    /// Of the file, among all that there have been.
    number: u64,
    #[pin]
    inner: Mutex<Inner>,
    /// The dialect in it, to see without the mutex that nothing is new.
    noted: Atomic<u32>,
    /// Nobody will read any more, so what locks still had to tell goes with the queue. Whoever looks
    /// with the mutex held finds the records still whole if this is not set.
    closed: Atomic<bool>,
    /// How many readers sleep, and [`POLLED`]; changes with the mutex held.
    waiting: Atomic<u32>,
    /// Where readers sleep, to be woken one by one.
    #[pin]
    readers: CondVar,
    /// Where pollers wait; freed with a grace period, as polling needs.
    pollers: PollCondVarBox,
}

/// Somebody has polled, so may be waiting at any time.
const POLLED: u32 = 1 << 31;

/// So many records are read, or forgotten, in one go, at most, with the queue locked.
const BATCH: usize = 16;

impl Queue {
    pub(crate) fn new(number: u64, lockspace: u32) -> Result<Arc<Queue>> {
        let pollers = PollCondVarBox::new(c"dlm_device::pollers", kernel::static_lock_class!())?;
        let inner = Inner {
            records: Records::new(),
            names: Names::new(lockspace),
            dialect: Dialect::PLAIN,
            hung_up: false,
            ends: 0,
        };
        Arc::pin_init(
            pin_init!(Queue {
                number,
                inner <- new_mutex!(inner, "dlm_device::Queue"),
                noted: Atomic::new(Dialect::PLAIN.0),
                closed: Atomic::new(false),
                waiting: Atomic::new(0),
                readers <- new_condvar!("dlm_device::readers"),
                pollers,
            }),
            on_request(),
        )
    }

    /// Reads a record, or, if the reader takes several, as many as there are and fit. Returns how
    /// many bytes they are.
    ///
    /// `EINVAL` if the first is longer than what there is room for (it stays), `EAGAIN` if there is
    /// none and the reader does not wait for one, `ERESTARTSYS` for a signal, `EFAULT`; `ENODEV` if
    /// there is none and the lockspace is gone.
    #[inline(always)]
    pub(crate) fn read(
        &self,
        destination: &mut impl Destination,
        patience: Patience,
    ) -> Result<usize> {
        let mut inner = self.inner.lock();
        let mut total = 0;
        let mut batch = BATCH;
        let outcome = loop {
            match inner.take(destination) {
                Ok(Some(taken)) if taken.told => {
                    total += taken.length;
                    if !inner.dialect.is_extended() {
                        break Ok(total);
                    }
                    batch -= 1;
                    if batch == 0 {
                        drop(inner);
                        let killed = pause().is_err();
                        inner = self.inner.lock();
                        if killed {
                            break Ok(total);
                        }
                        batch = BATCH;
                    }
                }
                Ok(Some(taken)) => {
                    let several = inner.dialect.is_extended();
                    let told;
                    (inner, told) = self.tell_slowly(inner, taken.entry, destination);
                    match told {
                        Ok(()) => total += taken.length,
                        Err(_) if total > 0 => break Ok(total),
                        Err(error) => break Err(error),
                    }
                    if !several {
                        break Ok(total);
                    }
                }
                Ok(None) | Err(_) if total > 0 => break Ok(total),
                Err(error) => break Err(error),
                Ok(None) if inner.hung_up => return Err(self.end(inner, patience)),
                Ok(None) if patience != Patience::UntilHeard => break Err(EAGAIN),
                Ok(None) => {
                    if let Err(error) = self.sleep(&mut inner) {
                        break Err(error);
                    }
                }
            }
        };
        self.pass_on(inner);
        outcome
    }

    /// Copies a record that has been taken out to where the program's memory has to be fetched
    /// first. `EFAULT`: it is the first again, even if another reader has meanwhile taken what came
    /// after it.
    #[cold]
    fn tell_slowly<'a>(
        &'a self,
        inner: Guard<'a, Inner, MutexBackend>,
        entry: Entry,
        destination: &mut impl Destination,
    ) -> (Guard<'a, Inner, MutexBackend>, Result) {
        let bytes = inner.records.bytes(entry, inner.dialect.width());
        drop(inner);
        let told = destination.copy(bytes.get()) == bytes.get().len();
        let mut inner = self.inner.lock();
        if told {
            inner.records.told(entry);
            return (inner, Ok(()));
        }
        inner.records.untold(entry);
        // It was not there for pollers to see.
        if self.waiting.load(Relaxed) & POLLED != 0 {
            self.pollers.notify_all();
        }
        (inner, Err(EFAULT))
    }

    /// Waits for records. `ERESTARTSYS` for a signal, also if there is a record by now: whoever is
    /// interrupted may be about to die, or to be stopped, and others may be waiting for it.
    #[cold]
    fn sleep(&self, inner: &mut Guard<'_, Inner, MutexBackend>) -> Result {
        self.change_waiting(|waiting| waiting.wrapping_add(1));
        let interrupted = self.readers.wait_interruptible(inner);
        self.change_waiting(|waiting| waiting.wrapping_sub(1));
        if interrupted {
            return Err(ERESTARTSYS);
        }
        Ok(())
    }

    /// The mutex is held.
    fn change_waiting(&self, change: impl FnOnce(u32) -> u32) {
        self.waiting
            .store(change(self.waiting.load(Relaxed)), Relaxed);
    }

    /// A reader leaves: if there are still records, the next of those who sleep is woken.
    #[inline(always)]
    fn pass_on(&self, inner: Guard<'_, Inner, MutexBackend>) {
        let sleepers = self.waiting.load(Relaxed) & !POLLED;
        let is_left = sleepers != 0 && !inner.records.is_empty();
        drop(inner);
        if is_left {
            self.readers.notify_one();
        }
    }

    /// Tells a reader that there will never be anything to read: `ENODEV`, at once the first times.
    #[cold]
    fn end(&self, mut inner: Guard<'_, Inner, MutexBackend>, patience: Patience) -> Error {
        let late = inner.ends.checked_sub(PROMPT_ENDS);
        inner.ends = inner.ends.saturating_add(1);
        drop(inner);
        if let (Some(late), true) = (late, patience != Patience::Never) {
            rest(LATE_END_MS * 1u32.checked_shl(late).unwrap_or(LATEST_END).min(LATEST_END));
        }
        ENODEV
    }

    /// What poll reports, in its flags. After the end there is always something to read, its error:
    /// so who only waits for that reads it, and is slowed down there.
    pub(crate) fn poll(&self, file: &File, table: PollTable<'_>) -> u32 {
        table.register_wait(file, &self.pollers);
        let inner = self.inner.lock();
        self.change_waiting(|waiting| waiting | POLLED);
        let readable = bindings::POLLIN | bindings::POLLRDNORM;
        if inner.hung_up {
            readable | bindings::POLLHUP | bindings::POLLERR
        } else if !inner.records.is_empty() {
            readable
        } else {
            0
        }
    }

    /// A program has written to the file in this dialect: from now on that is how it is read, too.
    pub(crate) fn note_dialect(&self, dialect: Dialect) {
        if !Dialect(self.noted.load(Relaxed)).includes(dialect) {
            let mut inner = self.inner.lock();
            inner.dialect = inner.dialect.and(dialect);
            self.noted.store(inner.dialect.0, Relaxed);
        }
    }

    /// How many records wait to be read.
    pub(crate) fn len(&self) -> u32 {
        self.inner.lock().records.len()
    }

    /// Forgets what was not told yet, as if it had been: some records at a time, until it returns
    /// false.
    pub(crate) fn forget(&self) -> bool {
        let mut inner = self.inner.lock();
        (0..BATCH).all(|_| inner.records.forget_first())
    }

    /// The file is being closed.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// No lock can tell anything here any more, and nobody is to read what was told: gives up the
    /// records, some at a time, until it returns false.
    pub(crate) fn dismantle(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.records.dismantle() || inner.names.dismantle()
    }

    /// The lockspace is gone: nothing will be told any more, and nobody need wait for it.
    pub(crate) fn hang_up(&self) {
        self.inner.lock().hung_up = true;
        self.readers.notify_all();
        self.pollers.notify_all();
    }

    /// Whether somebody may be waiting for a record. Who begins to after it was told sees it.
    #[inline(always)]
    fn is_awaited(&self) -> bool {
        self.waiting.load(Relaxed) != 0
    }

    /// Wakes who waits for a record that has come: one of those who sleep, and all who poll.
    #[cold]
    fn wake_for_one(&self) {
        let waiting = self.waiting.load(Relaxed);
        if waiting & !POLLED != 0 {
            self.readers.notify_one();
        }
        if waiting & POLLED != 0 {
            self.pollers.notify_all();
        }
    }

    /// Lets go of the queue and then wakes who waits for it, who could do nothing before.
    #[inline(always)]
    fn announce(&self, inner: Guard<'_, Inner, MutexBackend>) {
        drop(inner);
        if self.is_awaited() {
            self.wake_for_one();
        }
    }

    #[inline(always)]
    fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }
}

impl Owner for Arc<Queue> {
    type Change<'a> = Change<'a>;

    fn open(&self, change: Change<'_>, occasion: Occasion, value: bool) -> Result<Ticket> {
        self.inner.lock().records.open(change, occasion, value)
    }

    #[inline(always)]
    fn answer<'n>(
        &self,
        change: Change<'_>,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> Result<Ticket> {
        let (id, silent) = (completion.id, completion.silent);
        let mut inner = self.inner.lock();
        let ticket = inner.records.answer(change, completion)?;
        if !silent {
            inner.lined_up(id, name);
            self.announce(inner);
        }
        Ok(ticket)
    }

    #[inline(always)]
    fn conclude<'n>(
        &self,
        ticket: Ticket,
        change: Change<'_>,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> Result<Ticket> {
        let (id, silent) = (completion.id, completion.silent);
        let mut inner = self.inner.lock();
        let ticket = inner.records.conclude(ticket, change, completion)?;
        if !silent {
            inner.lined_up(id, name);
            self.announce(inner);
        }
        Ok(ticket)
    }

    fn change(
        &self,
        ticket: Ticket,
        change: Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket> {
        let mut inner = self.inner.lock();
        inner.records.change(ticket, change, occasion, value)
    }

    fn acknowledge(&self, ticket: Ticket, id: LockId) {
        let mut inner = self.inner.lock();
        inner.records.acknowledge(ticket, id);
        self.announce(inner);
    }

    fn complete<'n>(
        &self,
        ticket: Ticket,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> bool {
        let id = completion.id;
        let mut inner = self.inner.lock();
        if self.is_closed() {
            return false;
        }
        inner.records.complete(ticket, completion);
        inner.lined_up(id, name);
        self.is_awaited()
    }

    fn block<'n>(
        &self,
        ticket: Ticket,
        id: LockId,
        mode: Mode,
        name: impl FnOnce() -> &'n [u8],
    ) -> bool {
        let mut inner = self.inner.lock();
        inner.records.block(ticket, id, mode);
        inner.lined_up(id, name);
        drop(inner);
        self.is_awaited()
    }

    fn wake(&self) {
        self.wake_for_one();
    }

    #[inline(always)]
    fn close(&self, ticket: Ticket) {
        if self.is_closed() {
            return;
        }
        let mut inner = self.inner.lock();
        // At the end of a lockspace, its files may be closed at the same time.
        if !self.is_closed() {
            inner.records.close(ticket);
        }
    }

    fn transaction(&self, ticket: Ticket) -> u64 {
        self.inner.lock().records.transaction(ticket)
    }

    fn number(&self) -> u64 {
        self.number
    }
}
