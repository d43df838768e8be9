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
    kernel_edge::Destination,
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
        Manner,
        Record,
        RecordBuffer,
        RECORD_MAX, //
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

/// A record that is being read.
pub(crate) struct Taken {
    /// It has not reached the program yet: this is for [`Queue::told`] or [`Queue::untold`].
    pub(crate) untold: Option<Entry>,
    /// The reader takes as many as fit.
    pub(crate) extended: bool,
}

/// So many records are read at once, at most, and so many bytes.
const BATCH: usize = 16;
const BATCH_BYTES: usize = 1024;

/// Records that are being read together.
pub(crate) struct Batch {
    buffer: RecordBuffer<BATCH_BYTES>,
    entries: [(Entry, usize); BATCH],
    count: usize,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Batch {
            buffer: RecordBuffer::new(),
            entries: [(Entry::END, 0); BATCH],
            count: 0,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// The records, with their lengths.
    fn taken(&self) -> &[(Entry, usize)] {
        self.entries.get(..self.count).unwrap_or_default()
    }

    /// Takes in what `next` puts into the buffer, given how much room there is, until it has nothing
    /// more for that, or the batch is full. `room`: how much there is for the batch.
    #[inline(always)]
    fn fill(
        &mut self,
        room: usize,
        mut next: impl FnMut(usize, &mut RecordBuffer<BATCH_BYTES>) -> Option<(Entry, usize)>,
    ) {
        let mut left = room.min(BATCH_BYTES);
        for place in &mut self.entries {
            let Some((entry, length)) = next(left, &mut self.buffer) else {
                return;
            };
            *place = (entry, length);
            left = left.saturating_sub(length);
            self.count += 1;
        }
    }

    fn take_back(&mut self, mut what: impl FnMut(Entry)) {
        for (entry, _) in self.taken() {
            what(*entry);
        }
        self.count = 0;
        self.buffer.clear();
    }
}

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

    /// Takes the first record out, by way of `buffer`, and copies it to the program unless that
    /// would sleep.
    ///
    /// `EINVAL` if it is longer than `room` (it stays), `EAGAIN` if there is none and `wait` is
    /// not set, `ERESTARTSYS` for a signal, `ENODEV` if the lockspace is gone.
    #[inline(always)]
    pub(crate) fn take(
        &self,
        buffer: &mut RecordBuffer<RECORD_MAX>,
        destination: &mut impl Destination,
        wait: bool,
    ) -> Result<Taken> {
        let room = destination.len();
        let mut inner = self.inner.lock();
        loop {
            if inner.hung_up {
                return Err(ENODEV);
            }
            let (width, extended) = (inner.manner.width(), inner.manner.is_extended());
            let put = |record: &Record<'_>, length| buffer.set(record, width, length);
            if let Some((entry, ())) = inner.records.take(room, width, put)? {
                let copied = destination.copy_at_once(buffer.bytes());
                if copied {
                    inner.records.told(entry);
                }
                let untold = (!copied).then_some(entry);
                return Ok(Taken { untold, extended });
            }
            if !wait {
                return Err(EAGAIN);
            }
            self.sleep(&mut inner)?;
        }
    }

    /// Takes out what comes next and fits into `room` and into `batch`; what was in that before has
    /// reached the program.
    pub(crate) fn take_more(&self, batch: &mut Batch, room: usize) {
        let mut inner = self.inner.lock();
        batch.take_back(|entry| inner.records.told(entry));
        if inner.hung_up {
            return;
        }
        let width = inner.manner.width();
        batch.fill(room, |left, buffer| {
            let put = |record: &Record<'_>, length| {
                buffer.add(record, width, length);
                length
            };
            inner.records.take(left, width, put).ok().flatten()
        });
    }

    /// Only so many bytes of what is in `batch` have reached the program. Returns how many make up
    /// whole records; the others are the first again.
    pub(crate) fn untold_behind(&self, batch: &mut Batch, copied: usize) -> usize {
        let mut inner = self.inner.lock();
        let mut end = batch.buffer.bytes().len();
        for (entry, length) in batch.taken().iter().rev() {
            if end > copied {
                inner.records.untold(*entry);
                end -= length;
            } else {
                inner.records.told(*entry);
            }
        }
        batch.take_back(|_| ());
        self.wake(inner);
        end
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

    /// No lock can tell anything here any more: gives up the records, some at a time, until it
    /// returns false.
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
    fn wake(&self, inner: Guard<'_, Inner, MutexBackend>) {
        let wanted = inner.waiting > 0;
        drop(inner);
        if wanted {
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
            self.wake(inner);
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
            self.wake(inner);
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
        self.wake(inner);
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
