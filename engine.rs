// SPDX-License-Identifier: GPL-2.0

//! The contract between whoever asks for locks, whoever decides, and whoever is told.
//!
//! `lockspace` asks ([`Ask`]), an engine decides - `lock_table` for the locks of one machine - and
//! tells the lock's [`Owner`], which `callbacks` is. Engines and owners know this contract and never
//! each other. What people can see of an engine ([`Item`]) is here for the same reason.

use crate::terms::{
    Flags,
    Mode,
    Reply,
    Status,
    StatusFlags,
    Value, //
};
use core::ops::AddAssign;
use kernel::prelude::*;

/// Where the owner of a lock keeps what it needs to tell about it; opaque to the table.
pub(crate) type Ticket = u32;

/// A lock's id, as programs know it: more than 0, and less than 2^31 - 4096.
pub(crate) type LockId = u32;

/// What a LOCK request asks of the table, be it for a new lock or a conversion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) mode: Mode,
    pub(crate) flags: Flags,
    pub(crate) reply: Reply,
    /// The requester wants to be told that a new lock has to wait, and its id; and that a conversion
    /// has to, whose end was to be returned.
    pub(crate) acknowledge: bool,
    /// The requester wants to be told when the lock is in somebody's way.
    pub(crate) listens: bool,
    /// The requesting thread, for those who look at the table.
    pub(crate) pid: u32,
}

impl Ask {
    /// Whether a refusal changes nothing, and is told by an error.
    pub(crate) fn returns_refusal(&self) -> bool {
        self.reply == Reply::Return && self.flags.any(Flags::NOQUEUE)
    }

    /// Which flags do not go together, in a request for a new lock.
    pub(crate) fn check_request(&self) -> Result {
        let f = self.flags;
        if f.any(Flags::QUECVT.with(Flags::CONVDEADLK)) {
            return Err(EINVAL);
        }
        if f.any(Flags::EXPEDITE) && (f.any(Flags::NOQUEUE) || self.mode != Mode::Nl) {
            return Err(EINVAL);
        }
        self.check_common()
    }

    /// The same for a conversion from `granted`, if the lock is granted at all.
    pub(crate) fn check_conversion(&self, granted: Option<Mode>) -> Result {
        let f = self.flags;
        if f.any(Flags::EXPEDITE) {
            return Err(EINVAL);
        }
        if f.any(Flags::CONVDEADLK) && f.any(Flags::NOQUEUE) {
            return Err(EINVAL);
        }
        if let Some(granted) = granted {
            if f.any(Flags::QUECVT) && !granted.may_queue_conversion(self.mode) {
                return Err(EINVAL);
            }
        }
        self.check_common()
    }

    fn check_common(&self) -> Result {
        if self.flags.any(Flags::CANCEL) {
            return Err(EINVAL);
        }
        Ok(())
    }
}

/// Which flags may come with an unlock or a cancel.
pub(crate) fn check_unlock(flags: Flags) -> Result {
    let known = Flags::CANCEL
        .with(Flags::VALBLK)
        .with(Flags::IVVALBLK)
        .with(Flags::FORCEUNLOCK);
    if flags.without(known) != Flags::default() {
        return Err(EINVAL);
    }
    if flags.any(Flags::CANCEL) && flags.any(Flags::FORCEUNLOCK) {
        return Err(EINVAL);
    }
    Ok(())
}

/// What is left to hear of a request that has been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its end, or all that it did.
    Told,
    /// Nothing: it has succeeded, as [`Reply::Return`] asks for.
    Done,
}

impl Outcome {
    pub(crate) fn new(silent: bool) -> Self {
        if silent {
            Outcome::Done
        } else {
            Outcome::Told
        }
    }
}

/// What becomes of the PERSISTENT locks of a client that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They become orphans, but for what they were waiting for.
    Orphaned,
    /// They go like all others.
    Freed,
}

/// On which of its resource's queues a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// On none: being made or unmade.
    Loose,
    Granted,
    Converting,
    Waiting,
}

impl State {
    #[inline(always)]
    pub(crate) fn waits(self) -> bool {
        matches!(self, State::Converting | State::Waiting)
    }
}

/// The end of an operation.
pub(crate) struct Completion<'a> {
    pub(crate) id: LockId,
    pub(crate) status: Status,
    pub(crate) flags: StatusFlags,
    /// The value block, if one is returned.
    pub(crate) value: Option<&'a Value>,
    /// The lock has ceased to exist: nothing more will be told through this ticket.
    pub(crate) last: bool,
    /// It need not be told: the requester has it from elsewhere.
    pub(crate) silent: bool,
}

/// Why an owner is asked to change what it keeps for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// An operation begins; it will end with a completion. `waits`: possibly later, and blocking
    /// notifications may come before it.
    Operation { waits: bool },
    /// The request is refused or void, but has replaced the user's side all the same.
    UserSideOnly,
}

/// Who is told what becomes of a lock.
///
/// An owner sets aside all that it will need when it is asked to ([`Self::open`], [`Self::change`],
/// and what is provided by them): only there it may allocate, and fail. All else neither allocates nor
/// fails nor sleeps, but for the owner's own lock.
///
/// An engine may call an owner from any thread and at any time, also when no request is being carried
/// out, with locks of its own held or without: the local engine holds the shard's. So no owner may call
/// an engine. Of one lock it is told by one thread at a time, in the order in which things happened.
///
/// What is told comes with `name`, which finds the name of the lock's resource, for who wants it.
pub(crate) trait Owner {
    /// The user's side of a request.
    type Change<'a>: Copy;

    /// Sets aside all that a lock's completion, with a value block if `value`, and its blocking
    /// notifications will need. The lock may be a new one, whose request is the operation, or one
    /// that comes from somebody else, perhaps in the middle of one.
    fn open(&self, change: Self::Change<'_>, occasion: Occasion, value: bool) -> Result<Ticket>;

    /// Like [`Self::open`] for a further operation; the ticket that it returns replaces the old
    /// one.
    fn change(
        &self,
        ticket: Ticket,
        change: Self::Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket>;

    /// The request for a new lock ends at once: [`Self::open`] and [`Self::complete`] in one, which an
    /// owner can do for less.
    fn answer<'n>(
        &self,
        change: Self::Change<'_>,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> Result<Ticket> {
        let at_once = Occasion::Operation { waits: false };
        let ticket = self.open(change, at_once, completion.value.is_some())?;
        self.complete_and_wake(ticket, completion, name);
        Ok(ticket)
    }

    /// A further operation ends at once: [`Self::change`] and [`Self::complete`] in one, which an owner
    /// can do for less.
    fn conclude<'n>(
        &self,
        ticket: Ticket,
        change: Self::Change<'_>,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> Result<Ticket> {
        let at_once = Occasion::Operation { waits: false };
        let ticket = self.change(ticket, change, at_once, completion.value.is_some())?;
        self.complete_and_wake(ticket, completion, name);
        Ok(ticket)
    }

    /// An operation, just begun, waits: a record tells that, and the lock's id.
    fn acknowledge(&self, ticket: Ticket, id: LockId);

    /// An operation has ended. Returns whether somebody may be waiting to hear that.
    fn complete<'n>(
        &self,
        ticket: Ticket,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> bool;

    /// For an operation that tells nothing else.
    fn complete_and_wake<'n>(
        &self,
        ticket: Ticket,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) {
        if self.complete(ticket, completion, name) {
            self.wake();
        }
    }

    /// The lock is in the way of a request for `mode`. Between two completions each mode is told
    /// at most once. Returns the same.
    fn block<'n>(
        &self,
        ticket: Ticket,
        id: LockId,
        mode: Mode,
        name: impl FnOnce() -> &'n [u8],
    ) -> bool;

    /// Wakes who may be waiting to hear what was told by [`Self::complete`] and [`Self::block`]. The
    /// others do so themselves: an operation does not tell much by them.
    fn wake(&self);

    /// The lock is gone without a completion.
    fn close(&self, ticket: Ticket);

    /// The transaction that the program says the lock belongs to, for those who look.
    fn transaction(&self, ticket: Ticket) -> u64;

    /// Which of all owners it is, for those who look.
    fn number(&self) -> u64;
}

/// What a cursor sees.
pub(crate) enum Item<'a> {
    Resource(ResourceInfo<'a>),
    Lock(LockInfo<'a>),
}

/// A resource; its locks follow: granted, converting, waiting.
pub(crate) struct ResourceInfo<'a> {
    /// Which it is, among those of the same table at the same time.
    pub(crate) number: u32,
    pub(crate) name: &'a [u8],
    /// The value block, if it has been written.
    pub(crate) value: Option<&'a Value>,
    pub(crate) value_invalid: bool,
}

/// A lock.
pub(crate) struct LockInfo<'a> {
    pub(crate) id: LockId,
    /// The number of its owner; an orphan has none.
    pub(crate) owner: Option<u64>,
    /// The name of its resource.
    pub(crate) name: &'a [u8],
    /// The thread that asked for it.
    pub(crate) pid: u32,
    /// What the requester gave as transaction; 0 for an orphan.
    pub(crate) transaction: u64,
    pub(crate) flags: Flags,
    pub(crate) state: State,
    pub(crate) granted: Option<Mode>,
    /// What it waits for.
    pub(crate) requested: Option<Mode>,
    /// The mode that its owner was last told to be in the way of.
    pub(crate) blocked: Option<Mode>,
    /// When it joined its queue, in the caller's measure of time.
    pub(crate) since: u32,
}

/// How many locks somebody has, by what they are doing.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) all: u32,
    pub(crate) converting: u32,
    pub(crate) waiting: u32,
}

impl Holdings {
    pub(crate) fn granted(&self) -> u32 {
        self.all - self.converting - self.waiting
    }

    /// The count of those in this state, if that is waiting at all.
    #[inline(always)]
    fn who_wait(&mut self, state: State) -> Option<&mut u32> {
        match state {
            State::Converting => Some(&mut self.converting),
            State::Waiting => Some(&mut self.waiting),
            State::Granted | State::Loose => None,
        }
    }

    /// Counts a lock that goes from one state to another.
    #[inline(always)]
    pub(crate) fn shift(&mut self, from: State, to: State) {
        if let Some(fellows) = self.who_wait(from) {
            *fellows -= 1;
        }
        if let Some(fellows) = self.who_wait(to) {
            *fellows += 1;
        }
    }
}

impl AddAssign for Holdings {
    fn add_assign(&mut self, more: Self) {
        self.all += more.all;
        self.converting += more.converting;
        self.waiting += more.waiting;
    }
}

/// How many locks the end of a lockspace has cut off, by what they were doing.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct CutOff {
    /// Granted, and somebody's.
    pub(crate) holders: u32,
    /// Waiting or converting: told that the lockspace was removed.
    pub(crate) waiters: u32,
    /// Left behind by their file, in whatever state.
    pub(crate) orphans: u32,
}

impl AddAssign for CutOff {
    fn add_assign(&mut self, more: Self) {
        self.holders += more.holders;
        self.waiters += more.waiters;
        self.orphans += more.orphans;
    }
}
