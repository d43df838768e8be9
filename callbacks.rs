// SPDX-License-Identifier: GPL-2.0

//! The queue of an open file: its records, waited and polled for, and read one by one.
//!
//! What the records are and in which order they come is the part of `records`. A [`Queue`] guards
//! them, and wakes who waits for them.
//!
//! Locking: one mutex guards all of a queue. It is taken under a shard's lock, never the other way
//! round, and while it is held the user's memory is touched only if that is there at once. Else a
//! record that is being read is taken out, and put back if the copy fails. With several readers at
//! once of one file, whose copies fail, records may change places by that; one reader has them in
//! order whatever fails.

use crate::{
    kernel_edge::{
        pause,
        Destination, //
    },
    lock_table::{
        Completion,
        LockId,
        Occasion,
        Owner,
        Ticket, //
    },
    records::{
        Entry,
        Records,
        Taken,
        Teller, //
    },
    terms::Mode,
    wire::{
        Change,
        Manner,
        Record,
        Width, //
    },
};
use kernel::{
    bindings,
    fs::File,
    new_mutex,
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
        Mutex, //
    },
};

struct Inner {
    records: Records,
    /// How the file is read.
    manner: Manner,
    /// How many may be waiting: readers that sleep, and one for all who poll.
    waiting: u32,
    /// Somebody has polled, so may be waiting at any time.
    polled: bool,
    /// The lockspace is gone.
    hung_up: bool,
}

impl Inner {
    /// Whether somebody may be waiting for a record.
    fn is_awaited(&self) -> bool {
        self.waiting > 0
    }

    /// Takes the first record out, if there is one, and copies it to the program if that can be done
    /// at once. `EINVAL` if there is not enough room, `ENODEV`.
    #[inline(always)]
    fn take(&mut self, destination: &mut impl Destination) -> Result<Option<Taken>> {
        if self.hung_up {
            return Err(ENODEV);
        }
        let width = self.manner.width();
        let room = destination.len();
        self.records
            .take(room, width, AtOnce { width, destination })
    }
}

/// Tells records that can be copied without sleeping.
struct AtOnce<'a, D> {
    width: Width,
    destination: &'a mut D,
}

impl<D: Destination> Teller for AtOnce<'_, D> {
    #[inline(always)]
    fn tell(&mut self, record: &Record<'_>) -> bool {
        record.show(self.width, |bytes| self.destination.copy_at_once(bytes))
    }
}

/// The record queue of an open file.
#[pin_data]
pub(crate) struct Queue {
    #[pin]
    inner: Mutex<Inner>,
    /// The manner in it, to see without the mutex that nothing is new.
    heeded: Atomic<u32>,
    /// Nobody will read any more, so what locks still had to tell goes with the queue.
    closed: Atomic<bool>,
    /// Where readers and pollers wait; freed with a grace period, as polling needs.
    readable: PollCondVarBox,
}

/// So many records are read, or forgotten, in one go, at most, with the queue locked.
const BATCH: usize = 16;

impl Queue {
    pub(crate) fn new() -> Result<Arc<Queue>> {
        let readable = PollCondVarBox::new(c"dlm_device::readable", kernel::static_lock_class!())?;
        let inner = Inner {
            records: Records::new(),
            manner: Manner::PLAIN,
            waiting: 0,
            polled: false,
            hung_up: false,
        };
        Arc::pin_init(
            pin_init!(Queue {
                inner <- new_mutex!(inner, "dlm_device::Queue"),
                heeded: Atomic::new(Manner::PLAIN.0),
                closed: Atomic::new(false),
                readable,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Reads a record, or, if the reader takes several, as many as there are and fit. Returns how
    /// many bytes they are.
    ///
    /// `EINVAL` if the first is longer than what there is room for (it stays), `EAGAIN` if there is
    /// none and `wait` is not set, `ERESTARTSYS` for a signal, `ENODEV` if the lockspace is gone,
    /// `EFAULT`.
    #[inline(always)]
    pub(crate) fn read(&self, destination: &mut impl Destination, wait: bool) -> Result<usize> {
        let mut inner = self.inner.lock();
        let mut total = 0;
        let mut batch = BATCH;
        loop {
            match inner.take(destination) {
                Ok(Some(taken)) if taken.told => {
                    total += taken.length;
                    if !inner.manner.is_extended() {
                        return Ok(total);
                    }
                    batch -= 1;
                    if batch == 0 {
                        drop(inner);
                        if pause().is_err() {
                            return Ok(total);
                        }
                        inner = self.inner.lock();
                        batch = BATCH;
                    }
                }
                Ok(Some(taken)) => {
                    let several = inner.manner.is_extended();
                    match self.tell_slowly(inner, taken.entry, destination) {
                        Ok(guard) => inner = guard,
                        Err(_) if total > 0 => return Ok(total),
                        Err(error) => return Err(error),
                    }
                    total += taken.length;
                    if !several {
                        return Ok(total);
                    }
                }
                Ok(None) | Err(_) if total > 0 => return Ok(total),
                Err(error) => return Err(error),
                Ok(None) if wait => self.sleep(&mut inner)?,
                Ok(None) => return Err(EAGAIN),
            }
        }
    }

    /// Copies a record that has been taken out to where the program's memory has to be fetched
    /// first. `EFAULT`: it is the first again, even if another reader has meanwhile taken what came
    /// after it. `ENODEV`.
    #[cold]
    fn tell_slowly<'a>(
        &'a self,
        inner: Guard<'a, Inner, MutexBackend>,
        entry: Entry,
        destination: &mut impl Destination,
    ) -> Result<Guard<'a, Inner, MutexBackend>> {
        let bytes = inner.records.bytes(entry, inner.manner.width());
        drop(inner);
        let told = destination.copy(bytes.get()) == bytes.get().len();
        let mut inner = self.inner.lock();
        match (told, inner.hung_up) {
            (true, false) => inner.records.told(entry),
            (false, false) => {
                inner.records.untold(entry);
                self.announce(inner);
                return Err(EFAULT);
            }
            // The records may be gone with the lockspace.
            (true, true) => {}
            (false, true) => return Err(ENODEV),
        }
        Ok(inner)
    }

    /// Waits for records; `ERESTARTSYS` if there is nothing but a signal.
    #[cold]
    fn sleep(&self, inner: &mut Guard<'_, Inner, MutexBackend>) -> Result {
        inner.waiting += 1;
        let interrupted = self.readable.wait_interruptible(inner);
        inner.waiting -= 1;
        if interrupted && inner.records.is_empty() && !inner.hung_up {
            return Err(ERESTARTSYS);
        }
        Ok(())
    }

    /// What poll reports, in its flags.
    pub(crate) fn poll(&self, file: &File, table: PollTable<'_>) -> u32 {
        table.register_wait(file, &self.readable);
        let mut inner = self.inner.lock();
        if !inner.polled {
            inner.polled = true;
            inner.waiting += 1;
        }
        if inner.hung_up {
            bindings::POLLHUP | bindings::POLLERR
        } else if !inner.records.is_empty() {
            bindings::POLLIN | bindings::POLLRDNORM
        } else {
            0
        }
    }

    /// A program has written to the file in this manner: from now on that is how it is read, too.
    pub(crate) fn heed(&self, manner: Manner) {
        if !Manner(self.heeded.load(Relaxed)).includes(manner) {
            let mut inner = self.inner.lock();
            inner.manner = inner.manner.and(manner);
            self.heeded.store(inner.manner.0, Relaxed);
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
        self.inner.lock().records.dismantle()
    }

    /// The lockspace is gone: nothing will be told any more, and nobody need wait for it.
    pub(crate) fn hang_up(&self) {
        self.inner.lock().hung_up = true;
        self.readable.notify_all();
    }

    /// Lets go of the queue and then wakes who waits for it, who could do nothing before.
    #[inline(always)]
    fn announce(&self, inner: Guard<'_, Inner, MutexBackend>) {
        let awaited = inner.is_awaited();
        drop(inner);
        if awaited {
            self.readable.notify_all();
        }
    }
}

impl Owner for Arc<Queue> {
    type Change<'a> = Change<'a>;

    fn open(&self, change: Change<'_>, occasion: Occasion, value: bool) -> Result<Ticket> {
        self.inner.lock().records.open(change, occasion, value)
    }

    #[inline(always)]
    fn answer(&self, change: Change<'_>, completion: Completion<'_>) -> Result<Ticket> {
        let silent = completion.silent;
        let mut inner = self.inner.lock();
        let ticket = inner.records.answer(change, completion)?;
        if !silent {
            self.announce(inner);
        }
        Ok(ticket)
    }

    #[inline(always)]
    fn conclude(
        &self,
        ticket: Ticket,
        change: Change<'_>,
        completion: Completion<'_>,
    ) -> Result<Ticket> {
        let silent = completion.silent;
        let mut inner = self.inner.lock();
        let ticket = inner.records.conclude(ticket, change, completion)?;
        if !silent {
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

    fn complete(&self, ticket: Ticket, completion: Completion<'_>) -> bool {
        let mut inner = self.inner.lock();
        inner.records.complete(ticket, completion);
        inner.is_awaited()
    }

    fn block(&self, ticket: Ticket, id: LockId, mode: Mode) -> bool {
        let mut inner = self.inner.lock();
        inner.records.block(ticket, id, mode);
        inner.is_awaited()
    }

    fn wake(&self) {
        self.readable.notify_all();
    }

    #[inline(always)]
    fn close(&self, ticket: Ticket) {
        if !self.closed.load(Relaxed) {
            self.inner.lock().records.close(ticket);
        }
    }

    fn transaction(&self, ticket: Ticket) -> u64 {
        self.inner.lock().records.transaction(ticket)
    }
}
