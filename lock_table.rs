// SPDX-License-Identifier: GPL-2.0

//! The lock manager: resources, their locks, and the rules of granting.
//!
//! A table is one shard of a lockspace. It knows names, modes, queues and value blocks; it knows
//! neither devices nor user pointers nor waiting. Whoever wants a lock is a client; what is to be
//! told goes to the client's [`Owner`]. All methods run under the shard's lock, none sleeps but to
//! allocate, and all that can fail is done before anything changes: a request that returns an
//! error has done nothing, but for two, as in fs/dlm: `EBUSY` has replaced the user's side, and a
//! refusal that is returned may have told the holders (NOQUEUEBAST).
//!
//! Resources and locks are slots of slabs, linked by index:
//!
//! ```text
//! directory -> Resource -> granted    (newest first, but NL last)
//!                       -> converting (in the order of asking)
//!                       -> waiting    (in the order of asking)
//! Client -> owned       (oldest first)      every queue entry is a Lock
//! ```
//!
//! A resource counts the modes that are held on it, so a conflict is found without walking a
//! queue. What only matters once somebody has been refused - the two queues of those who wait, and
//! who was already told of whom - is in a `Contention` of its own, made with the first refusal.
//!
//! What every request comes by has few callers and is always inlined, here and in the rooms around:
//! the call would cost as much as what is done.
//!
//! The rules are those of fs/dlm on a single node, to the order of the records. Here are the
//! requests; `granting`, `blocking` and `values` have the rules, `resource` what they work on, and
//! `survey` is for those who look on.

// The paths are spelled out because the host's tests include this file from elsewhere.
#[path = "lock_table/blocking.rs"]
mod blocking;
#[path = "lock_table/clients.rs"]
mod clients;
#[path = "lock_table/ending.rs"]
mod ending;
#[path = "lock_table/granting.rs"]
mod granting;
#[path = "lock_table/id.rs"]
mod id;
#[path = "lock_table/idle.rs"]
mod idle;
#[path = "lock_table/resource.rs"]
mod resource;
#[path = "lock_table/survey.rs"]
pub(crate) mod survey;
#[path = "lock_table/values.rs"]
mod values;

pub(crate) use self::{
    clients::Holdings,
    ending::CutOff,
    id::IdSpace,
    resource::State, //
};

use self::{
    blocking::Blocked,
    clients::Clients,
    granting::{
        Candidate,
        Turn,
        Verdict, //
    },
    idle::{
        Idle,
        Seat, //
    },
    resource::{
        Berth,
        ByOwner,
        ByQueue,
        Last,
        LastId,
        Lock,
        Locks,
        Marks,
        Resource, //
    },
    survey::{
        Stand,
        Surveyor, //
    },
    values::{
        fill_buffer,
        Exchange, //
    },
};
use crate::{
    storage::{
        directory::Directory,
        list::List,
        slab::{
            Slab,
            NONE, //
        },
    },
    terms::{
        transfer,
        Flags,
        Mode,
        Reply,
        Status,
        StatusFlags,
        Transfer,
        Value, //
    },
};
use core::iter::successors;
use kernel::prelude::*;

/// Where the owner of a lock keeps what it needs to tell about it; opaque to the table.
pub(crate) type Ticket = u32;

/// A lock's id, as programs know it: more than 0, and less than 2^31 - 4096.
pub(crate) type LockId = u32;

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

/// What is left to hear of a request that has been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its end, or all that it did.
    Told,
    /// Nothing: it has succeeded, as [`Reply::Return`] asks for.
    Done,
}

impl Outcome {
    fn new(silent: bool) -> Self {
        if silent {
            Outcome::Done
        } else {
            Outcome::Told
        }
    }
}

/// Why an owner is asked to change what it keeps for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// An operation begins; it will end with a completion. `waits`: possibly later, and blocking
    /// notifications may come before it.
    Operation { waits: bool },
    /// The request is refused or void, but has replaced the user's side all the same.
    Aside,
}

/// Who is told what becomes of a lock.
///
/// `open`, `answer`, `change` and `conclude` may allocate and fail; the others do neither: they use
/// what was set aside.
pub(crate) trait Owner {
    /// The user's side of a request.
    type Change<'a>: Copy;

    /// Sets aside all that a lock's completion, with a value block if `value`, and its blocking
    /// notifications will need. The lock may be a new one, whose request is the operation, or one
    /// that comes from somebody else, perhaps in the middle of one.
    fn open(&self, change: Self::Change<'_>, occasion: Occasion, value: bool) -> Result<Ticket>;

    /// The request for a new lock ends at once: [`Self::open`] and [`Self::complete`] in one.
    fn answer(&self, change: Self::Change<'_>, completion: Completion<'_>) -> Result<Ticket>;

    /// A further operation ends at once: [`Self::change`] and [`Self::complete`] in one.
    fn conclude(
        &self,
        ticket: Ticket,
        change: Self::Change<'_>,
        completion: Completion<'_>,
    ) -> Result<Ticket>;

    /// Like [`Self::open`] for a further operation; the ticket that it returns replaces the old
    /// one.
    fn change(
        &self,
        ticket: Ticket,
        change: Self::Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket>;

    /// An operation, just begun, waits: a record tells that, and the lock's id.
    fn acknowledge(&self, ticket: Ticket, id: LockId);

    /// An operation has ended. Returns whether somebody may be waiting to hear that.
    fn complete(&self, ticket: Ticket, completion: Completion<'_>) -> bool;

    /// The lock is in the way of a request for `mode`. Between two completions each mode is told
    /// at most once. Returns the same.
    fn block(&self, ticket: Ticket, id: LockId, mode: Mode) -> bool;

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
    fn returns_refusal(&self) -> bool {
        self.reply == Reply::Return && self.flags.any(Flags::NOQUEUE)
    }

    /// Which flags do not go together, in a request for a new lock.
    fn check_request(&self) -> Result {
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
    fn check_conversion(&self, granted: Option<Mode>) -> Result {
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
fn check_unlock(flags: Flags) -> Result {
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

/// Something changed that may make a lock hear what it was deaf to.
#[inline(always)]
fn disturb(resources: &mut Directory<Resource>, lock: &mut Lock) {
    if lock.marks.has(Marks::QUIET) {
        resources[lock.resource].set_quiet(lock, false);
    }
}

/// Somebody goes and leaves this lock behind, to be freed as by an unlock with IVVALBLK: what a PW
/// or EX holder was writing then is not to be trusted. Returns whether that lets nobody else in.
#[inline(always)]
fn distrust(resources: &mut Directory<Resource>, lock: &Lock) -> bool {
    let resource = &mut resources[lock.resource];
    resource.value_invalid |= lock.granted >= Some(Mode::Pw);
    resource.nobody_waits()
}

/// One shard of a lockspace.
pub(crate) struct LockTable<O> {
    ids: IdSpace,
    locks: Locks,
    /// How many were ever made.
    made: u32,
    resources: Directory<Resource>,
    values: Slab<Value>,
    clients: Clients<O>,
    /// Locks that have outlived their client, in the order in which they lost it; in its place
    /// they have `NONE`, and as ticket their number in this order.
    orphans: List<ByOwner>,
    next_orphan: u32,
    idle: Idle,
    /// Hardly ever somebody looks on.
    surveyors: Option<KBox<Slab<Surveyor>>>,
    now: u32,
}

/// What becomes of the PERSISTENT locks of a client that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They become orphans, but for what they were waiting for.
    Orphaned,
    /// They go like all others.
    Freed,
}

/// How far a purge has come.
#[derive(Default)]
pub(crate) struct Purge {
    /// The last orphan that it has left alone, and its number. Should that go in between, the purge
    /// begins again.
    last: Option<(u32, u32)>,
    /// The number of the first that is none of its business, because it became one later.
    end: Option<u32>,
}

impl<O: Owner> LockTable<O> {
    pub(crate) const fn new(ids: IdSpace) -> Self {
        LockTable {
            ids,
            locks: Slab::new(),
            made: 0,
            resources: Directory::new(),
            values: Slab::new(),
            clients: Clients::new(),
            orphans: List::new(),
            next_orphan: 0,
            idle: Idle::new(),
            surveyors: None,
            now: 0,
        }
    }

    /// Tells the time, in whatever measure the caller likes: it is what [`LockSight::since`] is
    /// in.
    pub(crate) fn set_time(&mut self, now: u32) {
        self.now = now;
    }

    /// Whether there is no lock at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// Makes room for the locks of somebody new.
    pub(crate) fn add_client(&mut self, owner: O) -> Result<u32> {
        self.clients.add(owner)
    }

    /// Ends a client that has no locks any more, and gives back memory that was there for more; the
    /// owner is returned, to be dropped where no lock is held.
    pub(crate) fn remove_client(&mut self, client: u32) -> Option<O> {
        let client = self.clients.remove(client)?;
        if self.locks.is_empty() {
            for resource in self.idle.drain() {
                self.resources.erase(resource);
            }
        }
        self.locks.trim();
        self.resources.trim();
        self.values.trim();
        self.clients.trim();
        Some(client.owner)
    }

    /// Gives up all locks, some at a time, until it returns false; nobody is told, and nothing else
    /// may be asked of the table any more.
    pub(crate) fn dismantle(&mut self) -> bool {
        self.locks.dismantle() || self.resources.dismantle() || self.values.dismantle()
    }

    /// What a client has in this table.
    pub(crate) fn holdings(&self, client: u32) -> Holdings {
        let client = self.clients.get(client);
        client.map_or_else(Holdings::default, |client| client.holdings)
    }

    // Requests.

    /// Asks for a new lock on the resource `name`, whose keyed hash is `hash`.
    ///
    /// The answer comes as a completion; `EINVAL` and `ENOMEM` come at once.
    #[inline(always)]
    pub(crate) fn request(
        &mut self,
        client: u32,
        hash: u32,
        name: &[u8],
        ask: Ask,
        change: O::Change<'_>,
    ) -> Result<(LockId, Outcome)> {
        ask.check_request()?;
        match self.resources.find(hash, name) {
            None => self.request_first(hash, name, client, ask, change),
            Some((resource, found)) if found.seat.is_taken() => {
                self.admit(resource, client, ask, change, ask.mode, false)
            }
            Some((resource, _)) => self.request_on(resource, client, ask, change),
        }
    }

    /// The first lock on a resource, which is made for it: nobody is in its way.
    fn request_first(
        &mut self,
        hash: u32,
        name: &[u8],
        client: u32,
        ask: Ask,
        change: O::Change<'_>,
    ) -> Result<(LockId, Outcome)> {
        let resource = self.resources.insert(Resource::new(name, hash)?)?;
        self.admit(resource, client, ask, change, ask.mode, false)
            .inspect_err(|_| self.resources.erase(resource))
    }

    fn request_on(
        &mut self,
        resource: u32,
        client: u32,
        ask: Ask,
        change: O::Change<'_>,
    ) -> Result<(LockId, Outcome)> {
        let candidate = Candidate::new(None, ask);
        let verdict = self.resources[resource].decide(candidate, Turn::New, false);
        if let Verdict::Grant { mode, alternative } = verdict {
            return self.admit(resource, client, ask, change, mode, alternative);
        }
        self.prepare_refusal(resource, ask.flags)?;
        if ask.returns_refusal() {
            self.refuse(resource, None, ask);
            return Err(EAGAIN);
        }
        let berth = self.berth(ask)?;
        let owning = &mut self.clients[client];
        // Nobody can be in the way before he is granted.
        let occasion = Occasion::Operation { waits: false };
        let value = ask.flags.any(Flags::VALBLK);
        let opened = owning.owner.open(change, occasion, value);
        let ticket = opened.inspect_err(|_| self.values.give_back(berth.value))?;
        let lock = berth.vacancy.index;
        let owned = owning.expect(&mut self.locks, lock);
        let entry = Lock::new(&berth, owned, resource, client, ticket, ask);
        self.locks.fill(berth.vacancy, || entry);
        if ask.flags.any(Flags::NOQUEUE) {
            self.complete(lock, Status::WouldWait);
            self.refuse(resource, None, ask);
            self.end(lock);
        } else {
            self.acknowledge(lock, ask);
            self.shift(lock, State::Waiting, |_, _, _| ());
            let mode = ask.mode;
            self.block(resource, Blocked::Request { mode, by: None });
        }
        Ok((berth.id, Outcome::Told))
    }

    /// A new lock that is granted at once.
    #[inline(always)]
    fn admit(
        &mut self,
        place: u32,
        client: u32,
        ask: Ask,
        change: O::Change<'_>,
        mode: Mode,
        alternative: bool,
    ) -> Result<(LockId, Outcome)> {
        let berth = self.berth(ask)?;
        let resource = &mut self.resources[place];
        let mut status = StatusFlags::default();
        if alternative {
            status.set(StatusFlags::ALTMODE);
        }
        let silent = ask.reply == Reply::Return && !alternative && !ask.flags.any(Flags::VALBLK);
        let mut value = None;
        if berth.value != NONE {
            let exchange = Exchange::new(berth.value, ask.flags, None, mode);
            status.set(exchange.carry_out(resource, &mut self.values));
            value = self.values.get(berth.value);
        }
        let completion = Completion {
            id: berth.id,
            status: Status::Granted,
            flags: status,
            value,
            last: false,
            silent,
        };
        let owning = &mut self.clients[client];
        let answered = owning.owner.answer(change, completion);
        let ticket = answered.inspect_err(|_| self.values.give_back(berth.value))?;
        let queue = resource.expect(&mut self.locks, berth.vacancy.index, mode);
        let owned = owning.expect(&mut self.locks, berth.vacancy.index);
        let now = self.now;
        let lock = || Lock {
            queue,
            state: State::Granted,
            since: now,
            granted: Some(mode),
            completed: Some(mode),
            last: Last::Completion,
            status,
            ..Lock::new(&berth, owned, place, client, ticket, ask)
        };
        resource.count_in(self.locks.fill(berth.vacancy, lock));
        if resource.seat.is_taken() {
            self.idle.leave(resource.seat);
            resource.seat = Seat::NONE;
        }
        Ok((berth.id, Outcome::new(silent)))
    }

    /// Whether there is such a lock: `ENOENT` if not.
    pub(crate) fn check(&self, id: LockId) -> Result {
        self.find(id).map(drop)
    }

    /// Asks for another mode of a lock. `value` goes to the lock's value buffer, if it has one.
    /// `by`: the client that asks, if it has ever had a lock in this table; it matters only if the
    /// reply is to be returned.
    ///
    /// `ENOENT`: no such lock; `EBUSY`: it is not granted, or converting already, but the user's
    /// side is replaced all the same, as fs/dlm does; `EINVAL`, `ENOMEM`; and if the reply is to
    /// be returned, `EAGAIN` and `EDEADLK`.
    pub(crate) fn convert(
        &mut self,
        id: LockId,
        by: u32,
        ask: Ask,
        value: &Value,
        change: O::Change<'_>,
    ) -> Result<Outcome> {
        let lock = self.find(id)?;
        let entry = &self.locks[lock];
        let resource = entry.resource;
        let ask = Ask {
            reply: entry.reply_to(by, ask.reply),
            ..ask
        };
        let has_values = entry.value != NONE || ask.flags.any(Flags::VALBLK);
        let granted = entry.granted.filter(|_| entry.state == State::Granted);
        ask.check_conversion(granted)?;
        let Some(granted) = granted else {
            self.redirect(lock, ask, value, change, Occasion::Aside)?;
            return Err(EBUSY);
        };
        let candidate = Candidate::new(Some(granted), ask);
        let place = &self.resources[resource];
        let verdict = place.decide(candidate, Turn::New, place.deadlocks_now(candidate));
        match verdict {
            Verdict::Grant { mode, alternative } if !has_values => {
                return self.convert_at_once(lock, ask, change, mode, alternative);
            }
            Verdict::Grant { .. } => {}
            _ => {
                self.prepare_refusal(resource, ask.flags)?;
                self.return_refusal(lock, verdict, ask)?;
            }
        }
        if candidate.may_write(verdict) {
            self.prepare_value(resource)?;
        }
        let granted = matches!(verdict, Verdict::Grant { .. });
        let waits = !granted && !ask.flags.any(Flags::NOQUEUE);
        self.redirect(lock, ask, value, change, Occasion::Operation { waits })?;
        let entry = &mut self.locks[lock];
        entry.flags = ask.flags;
        entry.status = StatusFlags::default();
        entry.requested = ask.mode;
        entry.pid = ask.pid;
        self.carry_out_conversion(lock, verdict, ask);
        // Of an orphan's nobody else will hear.
        let entry = &self.locks[lock];
        let granted = entry.client == NONE && entry.state == State::Granted;
        Ok(Outcome::new(granted && ask.reply == Reply::Return))
    }

    /// Refuses a conversion by an error, if it is to be refused and the requester wants that.
    fn return_refusal(&mut self, lock: u32, verdict: Verdict, ask: Ask) -> Result {
        if ask.returns_refusal() {
            self.refuse(self.locks[lock].resource, Some(lock), ask);
            return Err(EAGAIN);
        }
        let waits = ask.flags.any(Flags::NODLCKWT) || ask.reply == Reply::Record;
        if verdict == Verdict::Deadlock && !waits {
            return Err(EDEADLK);
        }
        Ok(())
    }

    /// A conversion that is granted at once, of a lock without value buffer.
    fn convert_at_once(
        &mut self,
        lock: u32,
        ask: Ask,
        change: O::Change<'_>,
        mode: Mode,
        alternative: bool,
    ) -> Result<Outcome> {
        let entry = &mut self.locks[lock];
        let resource = entry.resource;
        let mut status = StatusFlags::default();
        if alternative {
            status.set(StatusFlags::ALTMODE);
        }
        if transfer(entry.granted, mode) == Transfer::Nothing
            && self.resources[resource].value_invalid
        {
            status.set(StatusFlags::VALNOTVALID);
        }
        let nothing_else = status == StatusFlags::default() || entry.client == NONE;
        let silent = ask.reply == Reply::Return && nothing_else;
        if let Some(client) = self.clients.get(entry.client) {
            let completion = Completion {
                id: entry.id,
                status: Status::Granted,
                flags: status,
                value: None,
                last: false,
                silent,
            };
            entry.ticket = client.owner.conclude(entry.ticket, change, completion)?;
            entry.completed = Some(mode);
            entry.last = Last::Completion;
        }
        entry.flags = ask.flags;
        entry.status = status;
        entry.requested = ask.mode;
        entry.pid = ask.pid;
        entry.marks.put(Marks::LISTENS, ask.listens);
        disturb(&mut self.resources, entry);
        self.place(lock, mode, |entry, resource, values| {
            if ask.flags.any(Flags::IVVALBLK) {
                entry.move_value(resource, values, mode);
            }
        });
        self.grant_pending(resource, Some(lock));
        Ok(Outcome::new(silent))
    }

    fn carry_out_conversion(&mut self, lock: u32, verdict: Verdict, ask: Ask) {
        let resource = self.locks[lock].resource;
        match verdict {
            Verdict::Grant { mode, alternative } => {
                self.grant(lock, mode, alternative);
                self.complete(lock, Status::Granted);
                self.grant_pending(resource, Some(lock));
                return;
            }
            Verdict::Deadlock if !ask.flags.any(Flags::NODLCKWT) => {
                self.complete(lock, Status::Deadlock);
                return;
            }
            Verdict::Demote => {
                self.demote(lock);
                self.grant_conversions(resource);
                let candidate = Candidate::of(&self.locks[lock]);
                if self.resources[resource].grantable(candidate, Turn::New) {
                    self.grant(lock, candidate.requested, false);
                    self.complete(lock, Status::Granted);
                    self.grant_pending(resource, Some(lock));
                    return;
                }
            }
            Verdict::Deadlock | Verdict::Wait => {}
        }
        if ask.flags.any(Flags::NOQUEUE) {
            self.complete(lock, Status::WouldWait);
            self.refuse(resource, Some(lock), ask);
        } else {
            if ask.reply == Reply::Return {
                self.acknowledge(lock, ask);
            }
            self.shift(lock, State::Converting, |_, _, _| ());
            let mode = ask.mode;
            self.block(resource, Blocked::Request { mode, by: None });
        }
    }

    /// Tells that an operation has to wait, if that is wanted.
    fn acknowledge(&self, lock: u32, ask: Ask) {
        let entry = &self.locks[lock];
        if ask.acknowledge {
            if let Some(client) = self.clients.get(entry.client) {
                client.owner.acknowledge(entry.ticket, entry.id);
            }
        }
    }

    /// Gives a lock up, in whatever state it is. `by` as for [`Self::convert`]. `ENOENT`, `EINVAL`,
    /// `ENOMEM`.
    #[inline(always)]
    pub(crate) fn unlock(
        &mut self,
        id: LockId,
        by: u32,
        flags: Flags,
        reply: Reply,
        value: &Value,
        change: O::Change<'_>,
    ) -> Result<Outcome> {
        let lock = self.find(id)?;
        check_unlock(flags)?;
        let entry = &self.locks[lock];
        let (owner, ticket) = (entry.client, entry.ticket);
        let silent = entry.reply_to(by, reply) == Reply::Return;
        let flags = entry.flags.with(flags);
        let writes =
            entry.granted >= Some(Mode::Pw) && flags.any(Flags::VALBLK.with(Flags::IVVALBLK));
        if writes && entry.value != NONE && flags.write_value() {
            self.prepare_value(entry.resource)?;
        }
        if let Some(client) = self.clients.get(owner) {
            let completion = Completion {
                id,
                status: Status::Unlocked,
                flags: StatusFlags::default(),
                value: None,
                last: true,
                silent,
            };
            client.owner.conclude(ticket, change, completion)?;
        }
        if writes {
            self.write_on_unlock(lock, flags, value);
        }
        self.end(lock);
        Ok(Outcome::new(silent))
    }

    /// Takes back what a lock waits for. A granted lock has nothing to cancel: that succeeds, and
    /// there is no completion. `ENOENT`, `EINVAL`, `ENOMEM`.
    pub(crate) fn cancel(&mut self, id: LockId, flags: Flags, change: O::Change<'_>) -> Result {
        let lock = self.find(id)?;
        check_unlock(flags)?;
        if self.locks[lock].state == State::Granted {
            return self.change(lock, change, Occasion::Aside, false);
        }
        let waits = false;
        self.change(lock, change, Occasion::Operation { waits }, false)?;
        self.locks[lock].flags = self.locks[lock].flags.with(flags);
        self.locks[lock].status = StatusFlags::default();
        self.withdraw(lock, Status::Cancelled);
        Ok(())
    }

    /// Cancels a lock that somebody outside has found to be in a deadlock: the same, but the
    /// completion says so, and the user's side stays. `ENOENT`, `EINVAL`.
    pub(crate) fn cancel_deadlocked(&mut self, id: LockId, flags: Flags) -> Result {
        let lock = self.find(id)?;
        check_unlock(flags)?;
        let entry = &mut self.locks[lock];
        if entry.state != State::Granted {
            entry.flags = entry.flags.with(flags);
            entry.status = StatusFlags::default();
            self.withdraw(lock, Status::Deadlock);
        }
        Ok(())
    }

    /// Ends a lock's waiting: a conversion goes back to its granted mode, a request is gone.
    fn withdraw(&mut self, lock: u32, status: Status) {
        let resource = self.locks[lock].resource;
        if self.locks[lock].state == State::Converting {
            self.shift(lock, State::Granted, |_, _, _| ());
            self.complete(lock, status);
            self.grant_pending(resource, None);
        } else {
            self.complete(lock, status);
            self.end(lock);
        }
    }

    /// Makes an orphan with this name and mode the client's own, without a completion.
    ///
    /// `EAGAIN`: there are orphans, but none in this mode; `ENOENT`: there are none; `ENOMEM`.
    pub(crate) fn adopt(
        &mut self,
        client: u32,
        hash: u32,
        name: &[u8],
        mode: Option<Mode>,
        ask: Ask,
        change: O::Change<'_>,
    ) -> Result<LockId> {
        let (resource, _) = self.resources.find(hash, name).ok_or(ENOENT)?;
        let lock = self.find_orphan(resource, mode)?;
        let converting = self.locks[lock].state == State::Converting;
        let candidate = Candidate {
            flags: ask.flags,
            ..Candidate::of(&self.locks[lock])
        };
        if converting && candidate.may_write(Verdict::Wait) {
            self.prepare_value(resource)?;
        }
        let occasion = if converting {
            Occasion::Operation { waits: true }
        } else {
            Occasion::Aside
        };
        let has_buffer = self.locks[lock].value != NONE;
        let owner = &self.clients[client].owner;
        let ticket = owner.open(change, occasion, has_buffer)?;
        self.orphans.remove(&mut self.locks, lock);
        let entry = &mut self.locks[lock];
        disturb(&mut self.resources, entry);
        if converting {
            self.resources[resource].unsettle(entry);
        }
        entry.client = client;
        entry.ticket = ticket;
        entry.flags = ask.flags;
        entry.marks.put(Marks::LISTENS, ask.listens);
        entry.pid = ask.pid;
        let id = entry.id;
        self.own(lock);
        Ok(id)
    }

    /// The orphan that has been one for longest. Looks at those who hold something of the resource
    /// and, at the same time, at all orphans, the oldest first: there may be many of either.
    fn find_orphan(&self, resource: u32, mode: Option<Mode>) -> Result<u32> {
        let mut found: Option<u32> = None;
        let mut others = false;
        let none_fits = |others| if others { EAGAIN } else { ENOENT };
        let next_orphan = |at: &u32| List::<ByOwner>::next(&self.locks, *at);
        let mut orphans = successors(self.orphans.first(), next_orphan);
        for lock in self.holders(resource) {
            let orphan = orphans.next().ok_or(none_fits(others))?;
            for lock in [orphan, lock] {
                let entry = &self.locks[lock];
                if entry.client != NONE || entry.resource != resource {
                    continue;
                }
                others |= entry.granted != mode;
                if entry.granted == mode && found.is_none_or(|found| self.is_older(lock, found)) {
                    found = Some(lock);
                }
            }
            if found == Some(orphan) {
                break;
            }
        }
        found.ok_or(none_fits(others))
    }

    /// Those who hold something of a resource.
    fn holders(&self, resource: u32) -> impl Iterator<Item = u32> + '_ {
        let next = |at: &u32| List::<ByQueue>::next(&self.locks, *at);
        let queues = [State::Granted, State::Converting].into_iter();
        queues.flat_map(move |state| successors(self.first(resource, state), next))
    }

    /// Frees orphans, all or those that thread `pid` asked for; looks at up to `budget` of them,
    /// fewer where that may let others in. Returns whether to go on, then with the same
    /// `progress`.
    pub(crate) fn purge(&mut self, pid: Option<u32>, progress: &mut Purge, budget: u32) -> bool {
        let mut at = match progress.last {
            Some((lock, number)) if self.is_orphan(lock, number) => {
                List::<ByOwner>::next(&self.locks, lock)
            }
            _ => self.orphans.first(),
        };
        let end = *progress.end.get_or_insert(self.next_orphan);
        for _ in 0..budget {
            let Some(lock) = at else {
                return false;
            };
            at = List::<ByOwner>::next(&self.locks, lock);
            let entry = &self.locks[lock];
            if self.orphan_age(entry) <= self.next_orphan.wrapping_sub(end) {
                return false;
            }
            if pid.is_some_and(|pid| entry.pid != pid) {
                progress.last = Some((lock, entry.ticket));
                continue;
            }
            let nobody_waits = distrust(&mut self.resources, entry);
            self.end(lock);
            if !nobody_waits {
                break;
            }
        }
        true
    }

    fn is_older(&self, orphan: u32, other: u32) -> bool {
        self.orphan_age(&self.locks[orphan]) > self.orphan_age(&self.locks[other])
    }

    /// How many have become orphans since this one did, with itself.
    fn orphan_age(&self, orphan: &Lock) -> u32 {
        self.next_orphan.wrapping_sub(orphan.ticket)
    }

    fn is_orphan(&self, lock: u32, number: u32) -> bool {
        let entry = self.locks.get(lock);
        entry.is_some_and(|entry| entry.client == NONE && entry.ticket == number)
    }

    /// Lets go of up to `budget` locks of a client, fewer where that may let others in; nobody is
    /// told of the locks themselves. Returns whether to go on.
    pub(crate) fn release(&mut self, client: u32, fate: Fate, budget: u32) -> bool {
        for _ in 0..budget {
            let Some(client) = self.clients.get(client) else {
                return false;
            };
            let Some(lock) = client.owned.first() else {
                return false;
            };
            let entry = &self.locks[lock];
            let nobody_waits = if fate == Fate::Orphaned && entry.flags.any(Flags::PERSISTENT) {
                self.orphan(lock)
            } else {
                client.owner.close(entry.ticket);
                let nobody_waits = distrust(&mut self.resources, entry);
                self.end(lock);
                nobody_waits
            };
            if !nobody_waits {
                break;
            }
        }
        true
    }

    /// Makes a lock an orphan; what it was waiting for is cancelled. Returns whether that lets nobody
    /// else in.
    fn orphan(&mut self, lock: u32) -> bool {
        let entry = &self.locks[lock];
        let nobody_waits = self.resources[entry.resource].nobody_waits();
        if let Some(client) = self.clients.disown(entry.client, entry.state) {
            client.owner.close(entry.ticket);
            client.owned.remove(&mut self.locks, lock);
        }
        let entry = &mut self.locks[lock];
        entry.client = NONE;
        entry.ticket = self.next_orphan;
        self.next_orphan = self.next_orphan.wrapping_add(1);
        self.orphans.push_back(&mut self.locks, lock);
        if self.locks[lock].state != State::Granted {
            self.locks[lock].status = StatusFlags::default();
            self.withdraw(lock, Status::Cancelled);
        }
        nobody_waits
    }

    // The state of a lock.

    #[inline(always)]
    fn find(&self, id: LockId) -> Result<u32> {
        let lock = self.ids.slot(id).ok_or(ENOENT)?;
        match self.locks.get(lock) {
            Some(entry) if entry.id == id => Ok(lock),
            _ => Err(ENOENT),
        }
    }

    fn first(&self, resource: u32, state: State) -> Option<u32> {
        self.resources[resource].first(state)
    }

    /// Moves a lock from where it is to one of its resource's queues; the only holder who stays one
    /// keeps its place. For the queues of those who wait, [`Self::prepare_refusal`] has made room.
    /// `change` sees the lock on the way, counted nowhere, with its new state.
    #[inline(always)]
    fn shift(
        &mut self,
        lock: u32,
        to: State,
        change: impl FnOnce(&mut Lock, &mut Resource, &mut Slab<Value>),
    ) {
        if self.is_surveyed() {
            self.clear_the_way(lock, to);
        }
        let entry = &mut self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        resource.count_out(entry);
        let from = core::mem::replace(&mut entry.state, to);
        entry.marks.put(Marks::UNSETTLED, false);
        entry.since = self.now;
        change(entry, resource, &mut self.values);
        resource.count_in(entry);
        if resource.keeps_place(lock, to) {
            return;
        }
        // NL is in nobody's way: behind the others it lengthens no search for those who are.
        let first = match to {
            State::Granted => entry.granted != Some(Mode::Nl),
            _ => entry.flags.any(Flags::HEADQUE),
        };
        let before = entry.queue;
        if from.waits() || to.waits() {
            if let Some(client) = self.clients.get_mut(entry.client) {
                client.holdings.shift(from, to);
            }
        }
        if let Some(queue) = resource.queue_mut(from) {
            queue.close_gap(&mut self.locks, before);
        }
        if let Some(queue) = resource.queue_mut(to) {
            queue.push(&mut self.locks, lock, first);
        }
    }

    // Making and unmaking. What can fail comes before what cannot.

    /// A resource has become one of the idle, in the place of another one, if that is one.
    #[inline(always)]
    fn lay_aside(&mut self, resource: u32, before: u32) {
        self.step_aside(Stand::Resource(resource));
        self.resources.erase(before);
    }

    /// After a lock has ended on a resource that has been contended: others may be granted.
    fn settle(&mut self, resource: u32) {
        self.grant_pending(resource, None);
        let entry = &mut self.resources[resource];
        if entry.is_unused() {
            entry.contention = None;
            let before = self.idle.enter(resource, entry, &mut self.values);
            self.lay_aside(resource, before);
        }
    }

    /// Makes the resource ready for what a verdict other than a grant will need.
    #[inline(always)]
    fn prepare_refusal(&mut self, resource: u32, flags: Flags) -> Result {
        let silent = flags.any(Flags::NOQUEUE) && !flags.any(Flags::NOQUEUEBAST);
        let resource = &mut self.resources[resource];
        if silent || resource.contention.is_some() {
            Ok(())
        } else {
            resource.contend()
        }
    }

    /// Sets aside what a new lock needs: its slot, and a value buffer if it asks for one.
    #[inline(always)]
    fn berth(&mut self, ask: Ask) -> Result<Berth> {
        let vacancy = self.locks.vacancy(|| self.ids.limit())?;
        self.made = self.made.wrapping_add(1);
        Ok(Berth {
            vacancy,
            id: self.ids.issue(vacancy.index, vacancy.note.0, self.made),
            value: self.values.room(ask.flags.any(Flags::VALBLK))?,
        })
    }

    /// Ends a lock. If it was on a queue, others may have what it held, and a resource that is not
    /// needed any more becomes one of the idle.
    #[inline(always)]
    fn end(&mut self, lock: u32) {
        self.step_aside(Stand::Lock(lock));
        let Some(entry) = self.locks.get_mut(lock) else {
            return;
        };
        let ties = entry.ties();
        let resource = &mut self.resources[ties.resource];
        resource.count_out(entry);
        if let Some(others) = resource.queue_mut(ties.state) {
            others.close_gap(&mut self.locks, ties.queue);
        }
        let others = match self.clients.disown(ties.client, ties.state) {
            Some(client) => &mut client.owned,
            None => &mut self.orphans,
        };
        others.close_gap(&mut self.locks, ties.owned);
        self.locks.erase_leaving(lock, LastId(ties.id));
        self.values.give_back(ties.value);
        if ties.state == State::Loose {
            return;
        }
        if resource.contention.is_some() {
            self.settle(ties.resource);
        } else if resource.granted.is_empty() {
            let before = self.idle.enter(ties.resource, resource, &mut self.values);
            self.lay_aside(ties.resource, before);
        }
    }

    /// Makes a lock its client's own.
    fn own(&mut self, lock: u32) {
        let client = &mut self.clients[self.locks[lock].client];
        client.owned.push_back(&mut self.locks, lock);
        client.holdings.all += 1;
        client.holdings.shift(State::Loose, self.locks[lock].state);
    }

    /// Replaces the user's side of a lock, for an unlock or a cancel.
    fn change(
        &mut self,
        lock: u32,
        change: O::Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result {
        let entry = &mut self.locks[lock];
        if let Some(client) = self.clients.get(entry.client) {
            entry.ticket = client.owner.change(entry.ticket, change, occasion, value)?;
        }
        Ok(())
    }

    /// The same for a conversion, with all that a conversion replaces: it may give the lock a
    /// value buffer, and fills it.
    fn redirect(
        &mut self,
        lock: u32,
        ask: Ask,
        value: &Value,
        change: O::Change<'_>,
        occasion: Occasion,
    ) -> Result {
        let entry = &mut self.locks[lock];
        let has_buffer = entry.value != NONE;
        let wants_buffer = ask.flags.any(Flags::VALBLK);
        let buffer = self.values.room(wants_buffer && !has_buffer)?;
        if let Some(client) = self.clients.get(entry.client) {
            let has_value = has_buffer || wants_buffer;
            let changed = client
                .owner
                .change(entry.ticket, change, occasion, has_value);
            entry.ticket = changed.inspect_err(|_| self.values.give_back(buffer))?;
        }
        if buffer != NONE {
            entry.value = buffer;
        }
        fill_buffer(&mut self.values, entry.value, value);
        entry.marks.put(Marks::LISTENS, ask.listens);
        disturb(&mut self.resources, entry);
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/host/src/inspect.rs"]
pub(crate) mod inspect;
