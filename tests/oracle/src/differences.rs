// SPDX-License-Identifier: GPL-2.0

//! All that keeps a deliberate difference out of a comparison.
//!
//! Each is a [`Row`] of the table in doc/differences.md. Most are avoided: a step that would meet
//! one is sent in another way, or not at all, and its answer says so. The rest are smoothed out in
//! what was heard. Both happen on both kernels alike, and no more than what is known demands.

use crate::{
    abi::Record,
    known::{invalid_conversion, invalid_unlock, Granted, Known, Lock},
    language::{Ask, Name, Step, What},
    terms::*,
    transcript::Heard,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    AdoptedExpedited,
    AlternativeIsHeld,
    BlockedWhilePending,
    BusyGetsBuffer,
    CancelledTwice,
    DeadlockOfGranted,
    ForcedRequest,
    InvalidChanges,
    OrderOfResources,
    OrphanUnlocked,
    OtherNode,
    QueuedWrongly,
    RefusalLingers,
    StaleId,
    ValueOutlives,
    WaitingOrphan,
}

impl Row {
    pub const ALL: [Row; 16] = [
        Row::AdoptedExpedited,
        Row::AlternativeIsHeld,
        Row::BlockedWhilePending,
        Row::BusyGetsBuffer,
        Row::CancelledTwice,
        Row::DeadlockOfGranted,
        Row::ForcedRequest,
        Row::InvalidChanges,
        Row::OrderOfResources,
        Row::OrphanUnlocked,
        Row::OtherNode,
        Row::QueuedWrongly,
        Row::RefusalLingers,
        Row::StaleId,
        Row::ValueOutlives,
        Row::WaitingOrphan,
    ];

    /// The row's first cell.
    pub fn title(self) -> &'static str {
        match self {
            Row::AdoptedExpedited => "adopting, with EXPEDITE, an orphan that converts",
            Row::CancelledTwice => "cancelling a lock whose conversion was cancelled before",
            Row::AlternativeIsHeld => "a conversion by ALTPR or ALTCW to the mode that the lock holds, granted after waiting",
            Row::BlockedWhilePending => "a blocking record read while an operation of that lock is pending",
            Row::BusyGetsBuffer => "a conversion with VALBLK, refused with EBUSY, of a lock without a value buffer",
            Row::DeadlockOfGranted => "DEADLOCK on a granted lock",
            Row::ForcedRequest => "a lock requested with FORCEUNLOCK",
            Row::InvalidChanges => "a conversion, unlock or cancel refused with EINVAL",
            Row::OrderOfResources => "the order of what one close() or PURGE causes on different resources",
            Row::OrphanUnlocked => "unlocking an orphan by its id",
            Row::OtherNode => "PURGE for another node",
            Row::QueuedWrongly => "QUECVT where the mode does not allow it",
            Row::RefusalLingers => "a conversion refused for NOQUEUE",
            Row::StaleId => "a lock id that is no longer valid",
            Row::ValueOutlives => "an invalid value block whose last lock goes",
            Row::WaitingOrphan => "a PERSISTENT request that waits when its file is closed",
        }
    }
}

/// How a step is sent.
pub struct Sent {
    /// What is sent, if anything is.
    pub what: Option<What>,
    /// With the addresses that the lock has already.
    pub same_addresses: bool,
    /// What made it differ from what the program says.
    pub rows: Vec<Row>,
}

impl Sent {
    pub fn as_it_is(what: &What) -> Self {
        Sent {
            what: Some(what.clone()),
            same_addresses: false,
            rows: Vec::new(),
        }
    }

    fn not(row: Row) -> Self {
        Sent {
            what: None,
            same_addresses: false,
            rows: vec![row],
        }
    }

    fn ask(&mut self) -> Option<&mut Ask> {
        self.what.as_mut()?.ask_mut()
    }

    /// Takes away flags, if they are there.
    fn without(&mut self, flags: u32, row: Row) {
        if let Some(ask) = self.ask().filter(|ask| ask.flags & flags != 0) {
            ask.flags &= !flags;
            self.rows.push(row);
        }
    }
}

/// How a step has to be sent so that no row is met.
pub fn avoid(step: &Step, known: &Known) -> Sent {
    let lock = step.what.lock().and_then(|label| known.lock(label));
    let mut sent = Sent::as_it_is(&step.what);
    match (&step.what, lock) {
        (What::Adopt { name, ask, .. }, _) => {
            sent.without(FORCEUNLOCK, Row::ForcedRequest);
            if may_convert(known, name) {
                sent.without(EXPEDITE, Row::AdoptedExpedited);
                match ask.mode {
                    PR => sent.without(ALTPR, Row::AlternativeIsHeld),
                    CW => sent.without(ALTCW, Row::AlternativeIsHeld),
                    _ => {}
                }
            }
        }
        (What::Lock { .. }, _) => {
            sent.without(FORCEUNLOCK, Row::ForcedRequest);
        }
        (What::Purge { node: 2.., .. }, _) => return Sent::not(Row::OtherNode),
        (What::Purge { .. }, _) | (_, None) => {}
        (_, Some(lock)) if known.stale(lock) => return Sent::not(Row::StaleId),
        (What::Convert { ask, .. }, Some(lock)) => {
            sent.without(FORCEUNLOCK, Row::ForcedRequest);
            if invalid_conversion(ask) {
                return invalid(sent, lock);
            }
            conversion(&mut sent, ask, lock, known);
        }
        (What::Unlock { .. }, Some(lock)) if lock.is_orphan() => {
            return Sent::not(Row::OrphanUnlocked)
        }
        (What::Unlock { ask, .. }, Some(lock)) if invalid_unlock(ask.flags) => {
            return invalid(sent, lock);
        }
        (What::Cancel { ask, .. }, Some(lock)) if invalid_unlock(ask.flags | CANCEL) => {
            return invalid(sent, lock);
        }
        (What::Deadlock { ask, .. }, _) if invalid_unlock(ask.flags) => {}
        (What::Cancel { .. } | What::Deadlock { .. }, Some(lock)) if lock.stopped => {
            return Sent::not(Row::CancelledTwice);
        }
        (What::Deadlock { ask, .. }, Some(lock)) if ask.flags & CANCEL == 0 => {
            if !waits(lock, known) {
                if let Some(ask) = sent.ask() {
                    ask.flags |= CANCEL;
                }
                sent.rows.push(Row::DeadlockOfGranted);
            }
        }
        _ => {}
    }
    sent
}

/// Whether a conversion of an orphan may wait on the resource.
fn may_convert(known: &Known, name: &Name) -> bool {
    let resource = known.known_resource(name);
    let mut orphans = known.owned(None);
    orphans.any(|lock| lock.granted == Granted::Unsure && Some(lock.resource) == resource)
}

/// The file to be read before a step is sent, for what its lock is granted decides how.
pub fn read_first(step: &Step, known: &Known) -> Option<usize> {
    let lock = known.lock(step.what.lock()?)?;
    let unread = |file: &usize| known.is_open(*file) && !known.files[*file].quiet;
    let file = lock.owner.filter(unread)?;
    let asked = match &step.what {
        What::Convert { ask, .. } if lock.settled().is_none() => {
            ask.flags & (QUECVT | ALTPR | ALTCW) != 0 || ask.flags & VALBLK != 0 && !lock.has_value
        }
        What::Deadlock { ask, .. } => ask.flags & CANCEL == 0,
        _ => false,
    };
    (asked && !known.stale(lock)).then_some(file)
}

fn conversion(sent: &mut Sent, ask: &Ask, lock: &Lock, known: &Known) {
    let settled = lock.settled();
    if settled.is_none() && !lock.has_value {
        sent.without(VALBLK, Row::BusyGetsBuffer);
    }
    // It is busy, so nothing else counts.
    if lock.certain() && waits(lock, known) {
        return;
    }
    if !settled.is_some_and(|mode| may_queue(mode, ask.mode)) {
        sent.without(QUECVT, Row::QueuedWrongly);
    }
    // Else it waits for nothing, or its mode is granted at once.
    let flags = sent.ask().map_or(0, |ask| ask.flags);
    if flags & NOQUEUE == 0 && flags & (QUECVT | NODLCKWT) != 0 {
        for (flag, mode) in [(ALTPR, PR), (ALTCW, CW)] {
            if settled.is_none_or(|settled| settled == mode) {
                sent.without(flag, Row::AlternativeIsHeld);
            }
        }
    }
}

/// Whether it is known to wait: all has been read, but not the end of what was asked.
fn waits(lock: &Lock, known: &Known) -> bool {
    let quiet = lock.owner.is_some_and(|file| known.files[file].quiet);
    quiet && lock.pending()
}

/// It is to have no effect, so what it brings has to be what is there.
fn invalid(mut sent: Sent, lock: &Lock) -> Sent {
    if lock.has_value && lock.settled().is_none() {
        return Sent::not(Row::InvalidChanges);
    }
    if !lock.has_value {
        sent.without(VALBLK, Row::InvalidChanges);
    }
    sent.same_addresses = true;
    sent
}

/// Whether a lock on this resource could meet what an invalid value block has left behind.
pub fn value_outlives(known: &Known, resource: usize) -> bool {
    known.resources[resource].invalidated && !known.has_certain_lock(resource)
}

/// Whether what a step causes comes in an order that is not told: then everything is read before
/// it and after.
pub fn order_is_open(known: &Known) -> bool {
    known.has_several_resources()
}

/// Puts what such a step has caused in order.
pub fn order_by_resource(heard: &mut [Heard], known: &Known) {
    heard.sort_by_key(|heard| heard.lock.map(|lock| known.locks[lock].resource));
}

/// Whether a file has to be read before it goes: a lock may wait, or what is lost may depend
/// on an order that is not told.
pub fn reads_before_close(known: &Known, file: usize) -> bool {
    known.resources.iter().any(|resource| resource.refusals)
        || known
            .owned(Some(file))
            .any(|lock| lock.flags & PERSISTENT != 0)
}

/// The locks that have to be cancelled before their file goes.
pub fn haunting(known: &Known, file: usize) -> Vec<String> {
    let waits = |lock: &&Lock| lock.flags & PERSISTENT != 0 && lock.granted == Granted::Never;
    let waiting = known.owned(Some(file)).filter(waits);
    waiting.map(|lock| lock.label.clone()).collect()
}

/// The status of a blocking record, without what dlm_device adds to it when, and only when, an
/// operation of that lock is pending. (Or, for all that is known, may be.) It is not added to what
/// was unread when the lock was cancelled.
pub fn blocking_status(record: &Record, lock: Option<&Lock>, ours: bool) -> i32 {
    let pending = lock.is_some_and(Lock::pending);
    let may_be_pending = pending || lock.is_some_and(|lock| lock.vague);
    match record.status {
        status if ours && may_be_pending && status == -EINPROG => 0,
        0 if ours && pending && !lock.is_some_and(|lock| lock.cancelled) => -1,
        status => status,
    }
}

/// Puts the blocking records of one resource in order that were read from one file without a
/// completion in between, if a refused conversion may have changed their order.
pub fn order_blocking(heard: &mut [&mut Heard], known: &Known) {
    let resource = |heard: &Heard| {
        let lock = heard.lock.filter(|_| heard.record.bast_mode != 0)?;
        let resource = known.locks[lock].resource;
        known.resources[resource].refusals.then_some(resource)
    };
    for run in heard.chunk_by_mut(|one, other| resource(one) == resource(other)) {
        if resource(run[0]).is_none() {
            continue;
        }
        let mut sorted: Vec<Heard> = run.iter().map(|one| (**one).clone()).collect();
        sorted.sort_by_key(|one| one.lock);
        for (place, one) in run.iter_mut().zip(sorted) {
            **place = Heard {
                elsewhere: place.elsewhere,
                ..one
            };
        }
    }
}
