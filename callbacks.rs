// SPDX-License-Identifier: GPL-2.0

//! The queue of an open file: its records, waited and polled for, and read one by one.
//!
//! What the records are and in which order they come is the part of `records`. A [`Queue`] guards
//! them, and wakes who waits for them.
//!
//! Locking: one mutex guards all of a queue. It is taken under a shard's lock, never the other way
//! round, and it is never held while the user's memory is touched: a record that is being read is
//! taken out, and put back if the copy fails. With several readers at once of one file, whose
//! copies fail, records may change places by that; one reader has them in order whatever fails.

use crate::{
    lock_table::{
        Completion,
        LockId,
        Occasion,
        Owner,
        Ticket, //
    },
    records::{
        Entry,
        Records, //
    },
    terms::Mode,
    wire::{
        Change,
        Record,
        RecordBuffer,
        Width, //
    },
};
use kernel::{
    bindings,
    fs::File,
    new_mutex,
    prelude::*,
    sync::{
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
    width: Width,
    /// How many may be waiting: readers that sleep, and one for all who poll.
    waiting: u32,
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

impl Queue {
    pub(crate) fn new() -> Result<Arc<Queue>> {
        let readable = PollCondVarBox::new(c"dlm_device::readable", kernel::static_lock_class!())?;
        let inner = Inner {
            records: Records::new(),
            width: Width::Bits64,
            waiting: 0,
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

    /// Takes the first record out and puts it into `buffer`, to be followed by [`Self::told`] or
    /// [`Self::untold`].
    ///
    /// `EINVAL` if it is longer than `room` (it stays), `EAGAIN` if there is none and `wait` is
    /// not set, `ERESTARTSYS` for a signal, `ENODEV` if the lockspace is gone.
    #[inline]
    pub(crate) fn take(&self, buffer: &mut RecordBuffer, room: usize, wait: bool) -> Result<Entry> {
        let mut inner = self.inner.lock();
        loop {
            if inner.hung_up {
                return Err(ENODEV);
            }
            let width = inner.width;
            let put = |record: &Record, length| buffer.put(record, width, length);
            if let Some((entry, ())) = inner.records.take(room, width, put)? {
                return Ok(entry);
            }
            if !wait {
                return Err(EAGAIN);
            }
            self.sleep(&mut inner)?;
        }
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

    /// The record has reached the program.
    #[inline]
    pub(crate) fn told(&self, entry: Entry) {
        self.inner.lock().records.told(entry);
    }

    /// It has not: it is the first again, even if another reader has meanwhile taken what came
    /// after it.
    pub(crate) fn untold(&self, entry: Entry) {
        let mut inner = self.inner.lock();
        inner.records.untold(entry);
        self.wake(inner);
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

    /// A 32-bit program has written to the file: from now on that is how it is read, too.
    #[cold]
    pub(crate) fn narrow(&self) {
        self.inner.lock().width = Width::Bits32;
    }

    /// How many records wait to be read.
    pub(crate) fn len(&self) -> u32 {
        self.inner.lock().records.len()
    }

    /// Forgets what was not told yet, as if it had been.
    pub(crate) fn forget(&self) {
        while self.inner.lock().records.forget_first() {}
    }

    /// The lockspace is gone: nothing will be told any more, and nobody need wait for it.
    pub(crate) fn hang_up(&self) {
        self.inner.lock().hung_up = true;
        self.readable.notify_all();
    }

    /// Lets go of the queue and then wakes who waits for it, who could do nothing before.
    #[inline(always)]
    fn wake(&self, inner: Guard<'_, Inner, MutexBackend>) {
        let wanted = inner.waiting > 0;
        drop(inner);
        if wanted {
            self.readable.notify_all();
        }
    }
}

impl Owner for Arc<Queue> {
    type Change = Change;

    fn open(&self, change: &Change, occasion: Occasion, value: bool) -> Result<Ticket> {
        self.inner.lock().records.open(change, occasion, value)
    }

    #[inline(always)]
    fn answer(&self, change: &Change, completion: Completion<'_>) -> Result<Ticket> {
        let mut inner = self.inner.lock();
        let ticket = inner.records.answer(change, completion)?;
        self.wake(inner);
        Ok(ticket)
    }

    #[inline(always)]
    fn conclude(
        &self,
        ticket: Ticket,
        change: &Change,
        completion: Completion<'_>,
    ) -> Result<Ticket> {
        let mut inner = self.inner.lock();
        let ticket = inner.records.conclude(ticket, change, completion)?;
        self.wake(inner);
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
        inner.records.change(ticket, change, occasion, value)
    }

    fn complete(&self, ticket: Ticket, completion: Completion<'_>) {
        let mut inner = self.inner.lock();
        inner.records.complete(ticket, completion);
        self.wake(inner);
    }

    fn block(&self, ticket: Ticket, id: LockId, mode: Mode) {
        let mut inner = self.inner.lock();
        inner.records.block(ticket, id, mode);
        self.wake(inner);
    }

    fn close(&self, ticket: Ticket) {
        self.inner.lock().records.close(ticket);
    }

    fn transaction(&self, ticket: Ticket) -> u64 {
        self.inner.lock().records.transaction(ticket)
    }
}
