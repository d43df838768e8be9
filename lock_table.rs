// SPDX-License-Identifier: GPL-2.0

//! The lock manager: resources, their locks, and the rules of granting.
//!
//! A table is one shard of a lockspace. It knows names, modes, queues and value blocks; it knows
//! neither devices nor user pointers nor waiting. Whoever wants a lock is a client; what is to be
//! told goes to the client's [`Owner`]. All methods run under the shard's lock, none sleeps but to
//! allocate, and all that can fail is done before anything changes: a request that returns an
//! error has done nothing.
//!
//! Resources and locks are slots of slabs, linked by index:
//!
//! ```text
//! directory -> Resource -> granted    (newest first)
//!                       -> converting (in the order of asking)
//!                       -> waiting    (in the order of asking)
//! Client -> owned       (oldest first)      every queue entry is a Lock
//! ```
//!
//! A resource counts the modes that are held on it, so a conflict is found without walking a
//! queue. What only matters once somebody has been refused - the two queues of those who wait, and
//! who was already told of whom - is in a [`Contention`] of its own, made with the first refusal.
//!
//! The rules are those of fs/dlm on a single node, to the order of the records; comments name the
//! rule where it is not evident. "The rule of PR and CW" stands for: these two modes block each
//! other, but neither is stronger, so comparisons of strength do not apply between them.

use crate::{
    directory::{
        Directory,
        Named,
        Place, //
    },
    list::{
        Links,
        List,
        Through, //
    },
    slab::{
        Slab,
        NONE, //
    },
    terms::{
        transfer,
        Flags,
        Mode,
        ModeCounts,
        ModeSet,
        Status,
        StatusFlags,
        Transfer,
        Value,
        NAME_MAX, //
    },
};
use kernel::prelude::*;

/// Where the owner of a lock keeps what it needs to tell about it; opaque to the table.
pub(crate) type Ticket = u32;

/// A lock's id, as programs know it: 1 to 2^31 - 1.
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
/// `open` and `change` may allocate and fail; the others do neither: they use what was set aside.
pub(crate) trait Owner {
    /// The user's side of a request.
    type Change;

    /// Sets aside all that a new lock's completion, with a value block if `value`, and its
    /// blocking notifications will need.
    fn open(&self, change: &Self::Change, value: bool) -> Result<Ticket>;

    /// The same for a further operation; the ticket that it returns replaces the old one.
    fn change(
        &self,
        ticket: Ticket,
        change: &Self::Change,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket>;

    /// An operation has ended.
    fn complete(&self, ticket: Ticket, completion: Completion<'_>);

    /// The lock is in the way of a request for `mode`. Between two completions each mode is told
    /// at most once.
    fn block(&self, ticket: Ticket, id: LockId, mode: Mode);

    /// The lock is gone without a completion.
    fn close(&self, ticket: Ticket);
}

/// What a LOCK request asks of the table, be it for a new lock or a conversion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) mode: Mode,
    pub(crate) flags: Flags,
    /// The requester wants to be told when the lock is in somebody's way.
    pub(crate) listens: bool,
    /// The requesting thread, for those who look at the table.
    pub(crate) pid: u32,
}

impl Ask {
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

/// How slots become lock ids: `[form | generation | slot | shard]` in 31 bits.
///
/// The first 2^20 slots of a shard, the ones in use unless the shard is huge, have a short slot
/// number and so a long generation; a stale id is refused until the slot has been given out as
/// often as the generation counts. Slots above have two bits of generation. Slot numbers start at
/// 1, so no id is 0.
#[derive(Clone, Copy)]
pub(crate) struct IdSpace {
    shard: u32,
    shard_bits: u32,
}

impl IdSpace {
    const SHORT_BITS: u32 = 20;
    const SHORT_SLOTS: u32 = 1 << Self::SHORT_BITS;
    const LONG_GENERATION_BITS: u32 = 2;

    /// The ids of shard number `shard` of `1 << shard_bits`; at most 64 shards.
    pub(crate) const fn new(shard: u32, shard_bits: u32) -> Self {
        IdSpace { shard, shard_bits }
    }

    /// The shard that an id belongs to.
    pub(crate) const fn shard_of(id: LockId, shard_bits: u32) -> u32 {
        id & ((1 << shard_bits) - 1)
    }

    /// Bits above the shard's, without the form bit.
    const fn width(self) -> u32 {
        30 - self.shard_bits
    }

    const fn long_bits(self) -> u32 {
        self.width() - Self::LONG_GENERATION_BITS
    }

    /// Slots below this have an id.
    const fn limit(self) -> u32 {
        Self::SHORT_SLOTS + (1 << self.long_bits()) - 1
    }

    fn encode(self, slot: u32, generation: u8) -> LockId {
        let number = slot + 1;
        let generation = u32::from(generation);
        let (form, bits, number) = if number < Self::SHORT_SLOTS {
            (0, Self::SHORT_BITS, number)
        } else {
            (1, self.long_bits(), number - Self::SHORT_SLOTS)
        };
        let generation = generation & ((1 << (self.width() - bits)) - 1);
        let above = (form << self.width()) | (generation << bits) | number;
        (above << self.shard_bits) | self.shard
    }

    /// The slot that an id of this shard names, whether or not it is stale.
    fn slot(self, id: LockId) -> Option<u32> {
        let above = id >> self.shard_bits;
        let number = match above >> self.width() {
            0 => above & (Self::SHORT_SLOTS - 1),
            1 => Self::SHORT_SLOTS + (above & ((1 << self.long_bits()) - 1)),
            _ => return None,
        };
        number.checked_sub(1)
    }
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

/// The last record that a lock's owner was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Nothing,
    Completion,
    Blocking(Mode),
}

struct Lock {
    queue: Links,
    owned: Links,
    resource: u32,
    client: u32,
    ticket: Ticket,
    pid: u32,
    flags: Flags,
    /// The lock's value buffer, in `LockTable::values`; it has one from its first VALBLK on.
    value: u32,
    state: State,
    granted: Option<Mode>,
    /// What a converting or waiting lock asks for.
    requested: Mode,
    /// The mode in which the last completion left it.
    completed: Option<Mode>,
    last: Last,
    /// The strongest mode that it was told to be in the way of; NL: none since it was granted.
    told: Mode,
    status: StatusFlags,
    listens: bool,
    /// Telling it again by the rule of PR and CW would do nothing: see [`Contention::settled`].
    quiet: bool,
}

impl Lock {
    fn new(resource: u32, client: u32, ticket: Ticket, value: u32, ask: &Ask) -> Self {
        Lock {
            queue: Links::NEW,
            owned: Links::NEW,
            resource,
            client,
            ticket,
            pid: ask.pid,
            flags: ask.flags,
            value,
            state: State::Loose,
            granted: None,
            requested: ask.mode,
            completed: None,
            last: Last::Nothing,
            told: Mode::Nl,
            status: StatusFlags::default(),
            listens: ask.listens,
            quiet: false,
        }
    }
}

struct ByQueue;
struct ByOwner;

impl Through<Lock> for ByQueue {
    fn links(lock: &Lock) -> &Links {
        &lock.queue
    }

    fn links_mut(lock: &mut Lock) -> &mut Links {
        &mut lock.queue
    }
}

impl Through<Lock> for ByOwner {
    fn links(lock: &Lock) -> &Links {
        &lock.owned
    }

    fn links_mut(lock: &mut Lock) -> &mut Links {
        &mut lock.owned
    }
}

/// Up to this length a name is stored in place.
const SHORT_NAME: usize = 30;

enum Name {
    Short(u8, [u8; SHORT_NAME]),
    Long(KBox<(u8, [u8; NAME_MAX])>),
}

impl Name {
    fn new(name: &[u8]) -> Result<Name> {
        let length = u8::try_from(name.len()).map_err(|_| EINVAL)?;
        if name.len() <= SHORT_NAME {
            return Ok(Name::Short(length, padded(name)));
        }
        if name.len() > NAME_MAX {
            return Err(EINVAL);
        }
        let bytes = (length, padded(name));
        Ok(Name::Long(KBox::new(bytes, GFP_KERNEL_ACCOUNT)?))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Name::Short(length, bytes) => &bytes[..usize::from(*length)],
            Name::Long(long) => &long.1[..usize::from(long.0)],
        }
    }
}

fn padded<const N: usize>(name: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(name) {
        *to = *from;
    }
    bytes
}

struct Resource {
    name: Name,
    place: Place,
    granted: List<ByQueue>,
    /// The granted modes of the locks on the granted and on the converting queue.
    held: ModeCounts,
    /// The value block, in `LockTable::values`, from the first write on.
    value: u32,
    /// It was invalidated and not written since.
    value_invalid: bool,
    contention: Option<KBox<Contention>>,
}

impl Named for Resource {
    fn name(&self) -> &[u8] {
        self.name.bytes()
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn place_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

impl Resource {
    fn is_unused(&self) -> bool {
        self.granted.is_empty() && self.contention.as_ref().is_none_or(|c| c.is_empty())
    }

    /// The modes held by all but a lock that holds `own` itself.
    fn held_by_others(&self, own: Option<Mode>) -> ModeSet {
        let mut held = self.held.present();
        if let Some(own) = own {
            if self.held.of(own) == 1 {
                held.remove(own);
            }
        }
        held
    }

    fn queue_mut(&mut self, state: State) -> Option<&mut List<ByQueue>> {
        let contention = self.contention.as_mut();
        match state {
            State::Loose => None,
            State::Granted => Some(&mut self.granted),
            State::Converting => contention.map(|queues| &mut queues.converting),
            State::Waiting => contention.map(|queues| &mut queues.waiting),
        }
    }

    /// Where it is counted what a granted lock was told, and the mode under which.
    fn tellers(&mut self, lock: &Lock) -> Option<(&mut Contention, Mode)> {
        match (&mut self.contention, lock.state, lock.granted) {
            (Some(contention), State::Granted, Some(held)) => Some((contention, held)),
            _ => None,
        }
    }

    /// Counts a lock on the queue of its state.
    fn count_in(&mut self, lock: &mut Lock) {
        if let Some(held) = lock.granted {
            self.held.add(held);
        }
        if let Some((contention, held)) = self.tellers(lock) {
            contention.add_holder(lock, held);
        }
        let Some(contention) = &mut self.contention else {
            return;
        };
        match lock.state {
            State::Converting => {
                contention.converting_for.add(lock.requested);
                contention.irregular += u32::from(Contention::is_irregular(lock));
            }
            State::Waiting => {
                contention.waiting_for.add(lock.requested);
                contention.unordered += u32::from(lock.flags.any(Flags::NOORDER));
            }
            State::Loose | State::Granted => {}
        }
    }

    /// The opposite of [`Self::count_in`].
    fn count_out(&mut self, lock: &mut Lock) {
        if lock.state == State::Loose {
            return;
        }
        if let Some(held) = lock.granted {
            self.held.sub(held);
        }
        if let Some((contention, held)) = self.tellers(lock) {
            contention.remove_holder(lock, held);
        }
        let Some(contention) = &mut self.contention else {
            return;
        };
        match lock.state {
            State::Converting => {
                contention.converting_for.sub(lock.requested);
                contention.irregular -= u32::from(Contention::is_irregular(lock));
            }
            State::Waiting => {
                contention.waiting_for.sub(lock.requested);
                contention.unordered -= u32::from(lock.flags.any(Flags::NOORDER));
            }
            State::Loose | State::Granted => {}
        }
    }
}

/// What a resource needs once somebody has been refused.
struct Contention {
    converting: List<ByQueue>,
    waiting: List<ByQueue>,
    converting_for: ModeCounts,
    waiting_for: ModeCounts,
    /// Converting locks that did not simply join the end of the queue or that may leave it out of
    /// turn; see [`LockTable::grant_conversions`].
    irregular: u32,
    /// Waiting locks that may be granted out of turn (NOORDER).
    unordered: u32,
    /// The granted locks of each mode, by the strongest mode they were told of.
    told: [ModeCounts; Mode::COUNT],
    /// By the rule of PR and CW the holders of a mode are told again with every change, and
    /// nearly always it comes to nothing because it is what they heard last. So this remembers,
    /// for each mode, the demand that was last put to all its holders, and `restless` how many of
    /// them would not be indifferent to hearing it again.
    settled: [Option<Demand>; Mode::COUNT],
    restless: ModeCounts,
}

impl Contention {
    fn new() -> Self {
        Contention {
            converting: List::new(),
            waiting: List::new(),
            converting_for: ModeCounts::default(),
            waiting_for: ModeCounts::default(),
            irregular: 0,
            unordered: 0,
            told: [ModeCounts::default(); Mode::COUNT],
            settled: [None; Mode::COUNT],
            restless: ModeCounts::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.converting.is_empty() && self.waiting.is_empty()
    }

    fn add_holder(&mut self, lock: &mut Lock, held: Mode) {
        self.told[held as usize].add(lock.told);
        self.restless.add(held);
        lock.quiet = false;
    }

    fn remove_holder(&mut self, lock: &mut Lock, held: Mode) {
        self.set_quiet(lock, held, false);
        self.restless.sub(held);
        self.told[held as usize].sub(lock.told);
    }

    fn set_told(&mut self, lock: &mut Lock, held: Mode, told: Mode) {
        self.told[held as usize].sub(lock.told);
        lock.told = told;
        self.told[held as usize].add(told);
        self.set_quiet(lock, held, false);
    }

    fn set_quiet(&mut self, lock: &mut Lock, held: Mode, quiet: bool) {
        if lock.quiet == quiet {
            return;
        }
        lock.quiet = quiet;
        if quiet {
            self.restless.sub(held);
        } else {
            self.restless.add(held);
        }
    }

    fn is_irregular(lock: &Lock) -> bool {
        let irregular = Flags::HEADQUE.with(Flags::NODLCKWT).with(Flags::NOORDER);
        lock.flags.any(irregular)
    }

    /// How many holders of `mode` a demand has to be put to.
    fn audience(&self, mode: Mode, demand: Demand) -> u32 {
        if demand.crossing && self.settled[mode as usize] == Some(demand) {
            return self.restless.of(mode);
        }
        Mode::ALL
            .into_iter()
            .filter(|told| demand.concerns(*told))
            .map(|told| self.told[mode as usize].of(told))
            .sum()
    }
}

/// What is asked of the holders of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Demand {
    /// The mode that they are told of.
    mode: Mode,
    /// What counts as told from then on.
    level: Mode,
    /// By the rule of PR and CW: put to each who was not told of EX.
    crossing: bool,
}

impl Demand {
    /// Whether it is put to a holder who was told of `told` before.
    fn concerns(self, told: Mode) -> bool {
        if self.crossing {
            told < Mode::Ex
        } else {
            told < self.level
        }
    }
}

/// On whose behalf holders are told that they are in the way.
#[derive(Clone, Copy)]
enum Blocked {
    /// Of one request, just refused.
    Request(Mode),
    /// Of all who wait, after a change: the strongest mode that is waited for, and whether CW is.
    Queues { strongest: Mode, cw: bool },
}

impl Blocked {
    fn demand(self, held: Mode) -> Option<Demand> {
        match self {
            Blocked::Request(mode) => held.conflicts().contains(mode).then_some(Demand {
                mode,
                level: mode,
                crossing: held.crosses(mode),
            }),
            Blocked::Queues { strongest, cw } if cw && held == Mode::Pr => Some(Demand {
                mode: if strongest == Mode::Pr {
                    Mode::Cw
                } else {
                    strongest
                },
                level: strongest,
                crossing: true,
            }),
            Blocked::Queues { strongest, .. } => {
                held.conflicts().contains(strongest).then_some(Demand {
                    mode: strongest,
                    level: strongest,
                    crossing: false,
                })
            }
        }
    }
}

/// Where a lock stands that wants to be granted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It asks now.
    New,
    /// It is at the head of its queue.
    First,
    /// It is behind others.
    Behind,
}

/// A lock's part in a decision.
#[derive(Clone, Copy)]
struct Candidate {
    granted: Option<Mode>,
    requested: Mode,
    flags: Flags,
}

impl Candidate {
    fn new(granted: Option<Mode>, ask: &Ask) -> Self {
        Candidate {
            granted,
            requested: ask.mode,
            flags: ask.flags,
        }
    }

    /// The same with the other mode that ALTPR or ALTCW allows.
    fn alternative(self) -> Option<Candidate> {
        let flags = self.flags;
        let requested = if flags.any(Flags::ALTPR) && self.requested != Mode::Pr {
            Mode::Pr
        } else if flags.any(Flags::ALTCW) && self.requested != Mode::Cw {
            Mode::Cw
        } else {
            return None;
        };
        Some(Candidate { requested, ..self })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Granted in this mode, which is not the requested one if `alternative`.
    Grant { mode: Mode, alternative: bool },
    /// A conversion deadlock, to be resolved by giving up the granted mode.
    Demote,
    /// A conversion deadlock.
    Deadlock,
    /// It has to wait.
    Wait,
}

/// Somebody who has locks in this table.
struct Client<O> {
    owner: O,
    owned: List<ByOwner>,
}

/// One shard of a lockspace.
pub(crate) struct LockTable<O> {
    ids: IdSpace,
    locks: Slab<Lock>,
    resources: Directory<Resource>,
    values: Slab<Value>,
    clients: Slab<Client<O>>,
}

impl<O: Owner> LockTable<O> {
    pub(crate) const fn new(ids: IdSpace) -> Self {
        LockTable {
            ids,
            locks: Slab::new(),
            resources: Directory::new(),
            values: Slab::new(),
            clients: Slab::new(),
        }
    }

    /// Whether there is no lock at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// Makes room for the locks of somebody new.
    pub(crate) fn add_client(&mut self, owner: O) -> Result<u32> {
        let client = Client {
            owner,
            owned: List::new(),
        };
        self.clients.insert(client, NONE)
    }

    /// Ends a client that has no locks any more; the owner is returned, to be dropped where no
    /// lock is held.
    pub(crate) fn remove_client(&mut self, client: u32) -> Option<O> {
        let client = self.clients.remove(client)?;
        Some(client.owner)
    }

    // Requests.

    /// Asks for a new lock on the resource `name`, whose keyed hash is `hash`.
    ///
    /// The answer comes as a completion; `EINVAL` and `ENOMEM` come at once.
    pub(crate) fn request(
        &mut self,
        client: u32,
        hash: u32,
        name: &[u8],
        ask: &Ask,
        change: &O::Change,
    ) -> Result<LockId> {
        ask.check_request()?;
        let resource = match self.resources.find(hash, name) {
            Some(resource) => resource,
            None => self.new_resource(hash, name)?,
        };
        let result = self.request_on(resource, client, ask, change);
        if result.is_err() {
            self.drop_if_unused(resource);
        }
        result
    }

    fn request_on(
        &mut self,
        resource: u32,
        client: u32,
        ask: &Ask,
        change: &O::Change,
    ) -> Result<LockId> {
        let verdict = self.decide(resource, Candidate::new(None, ask), Turn::New, false);
        self.prepare_refusal(resource, verdict, ask.flags)?;
        let lock = self.new_lock(resource, client, ask, change)?;
        let id = self.id(lock);
        match verdict {
            Verdict::Grant { mode, alternative } => {
                self.grant(lock, mode, alternative);
                self.complete(lock, Status::Granted);
            }
            _ if ask.flags.any(Flags::NOQUEUE) => {
                self.complete(lock, Status::WouldWait);
                self.refuse(resource, None, ask);
                self.free(lock);
            }
            _ => {
                self.enqueue(lock, State::Waiting);
                self.block(resource, Blocked::Request(ask.mode), None);
            }
        }
        Ok(id)
    }

    /// Whether there is such a lock: `ENOENT` if not.
    pub(crate) fn check(&self, id: LockId) -> Result {
        self.find(id).map(drop)
    }

    /// Asks for another mode of a lock. `value` goes to the lock's value buffer, if it has one.
    ///
    /// `ENOENT`: no such lock; `EBUSY`: it is not granted, or converting already, but the user's
    /// side is replaced all the same, as fs/dlm does; `EINVAL`, `ENOMEM`.
    pub(crate) fn convert(
        &mut self,
        id: LockId,
        ask: &Ask,
        value: &Value,
        change: &O::Change,
    ) -> Result {
        let lock = self.find(id)?;
        let state = self.locks[lock].state;
        let granted = match state {
            State::Granted => self.locks[lock].granted,
            _ => None,
        };
        ask.check_conversion(granted)?;
        let Some(granted) = granted else {
            self.redirect(lock, ask, value, change, Occasion::Aside)?;
            return Err(EBUSY);
        };
        let resource = self.locks[lock].resource;
        let candidate = Candidate::new(Some(granted), ask);
        let deadlock = self.deadlocks_now(resource, candidate);
        let verdict = self.decide(resource, candidate, Turn::New, deadlock);
        self.prepare_refusal(resource, verdict, ask.flags)?;
        let spare = self.prepare_write(resource, candidate, verdict)?;
        let waits = !ask.flags.any(Flags::NOQUEUE);
        if let Err(error) = self.redirect(lock, ask, value, change, Occasion::Operation { waits }) {
            self.values.remove(spare);
            return Err(error);
        }
        if spare != NONE {
            self.resources[resource].value = spare;
        }
        let entry = &mut self.locks[lock];
        entry.flags = ask.flags;
        entry.status = StatusFlags::default();
        entry.requested = ask.mode;
        entry.pid = ask.pid;
        self.carry_out_conversion(lock, verdict, ask);
        Ok(())
    }

    fn carry_out_conversion(&mut self, lock: u32, verdict: Verdict, ask: &Ask) {
        let resource = self.locks[lock].resource;
        match verdict {
            Verdict::Grant { mode, alternative } => {
                self.grant(lock, mode, alternative);
                self.complete(lock, Status::Granted);
                self.grant_pending(resource);
                return;
            }
            Verdict::Deadlock if !ask.flags.any(Flags::NODLCKWT) => {
                self.complete(lock, Status::Deadlock);
                return;
            }
            Verdict::Demote => {
                self.demote(lock);
                self.grant_conversions(resource);
                let candidate = self.candidate(lock);
                if self.grantable(resource, candidate, Turn::New) {
                    self.grant(lock, candidate.requested, false);
                    self.complete(lock, Status::Granted);
                    self.grant_pending(resource);
                    return;
                }
            }
            Verdict::Deadlock | Verdict::Wait => {}
        }
        if ask.flags.any(Flags::NOQUEUE) {
            self.complete(lock, Status::WouldWait);
            self.refuse(resource, Some(lock), ask);
        } else {
            self.dequeue(lock);
            self.enqueue(lock, State::Converting);
            self.block(resource, Blocked::Request(ask.mode), None);
        }
    }

    /// Gives a lock up, in whatever state it is. `ENOENT`, `EINVAL`, `ENOMEM`.
    pub(crate) fn unlock(
        &mut self,
        id: LockId,
        flags: Flags,
        value: &Value,
        change: &O::Change,
    ) -> Result {
        let lock = self.find(id)?;
        check_unlock(flags)?;
        let resource = self.locks[lock].resource;
        let entry = &self.locks[lock];
        let flags = entry.flags.with(flags);
        let spare = if entry.granted >= Some(Mode::Pw) && self.writes(lock, flags) {
            self.prepare_value(resource)?
        } else {
            NONE
        };
        let occasion = Occasion::Operation { waits: false };
        let changed = self.change(lock, change, occasion, false);
        if let Err(error) = changed {
            self.values.remove(spare);
            return Err(error);
        }
        if spare != NONE {
            self.resources[resource].value = spare;
        }
        self.fill_buffer(lock, value);
        self.locks[lock].flags = flags;
        self.locks[lock].status = StatusFlags::default();
        self.write_on_unlock(lock);
        self.dequeue(lock);
        self.locks[lock].granted = None;
        self.complete(lock, Status::Unlocked);
        self.free(lock);
        self.settle(resource);
        Ok(())
    }

    /// Takes back what a lock waits for. A granted lock has nothing to cancel: that succeeds, and
    /// there is no completion. `ENOENT`, `EINVAL`, `ENOMEM`.
    pub(crate) fn cancel(&mut self, id: LockId, flags: Flags, change: &O::Change) -> Result {
        let lock = self.find(id)?;
        check_unlock(flags)?;
        if self.locks[lock].state == State::Granted {
            return self.change(lock, change, Occasion::Aside, false);
        }
        let waits = false;
        self.change(lock, change, Occasion::Operation { waits }, false)?;
        self.locks[lock].flags = self.locks[lock].flags.with(flags);
        self.locks[lock].status = StatusFlags::default();
        self.withdraw(lock);
        Ok(())
    }

    /// Ends a lock's waiting: a conversion goes back to its granted mode, a request is gone.
    fn withdraw(&mut self, lock: u32) {
        let resource = self.locks[lock].resource;
        let conversion = self.locks[lock].state == State::Converting;
        self.dequeue(lock);
        if conversion {
            self.enqueue(lock, State::Granted);
        }
        self.complete(lock, Status::Cancelled);
        if !conversion {
            self.free(lock);
        }
        self.settle(resource);
    }

    /// Frees up to `budget` locks of a client whose file is closing; nobody is told of the locks
    /// themselves. Returns whether there are more.
    pub(crate) fn release(&mut self, client: u32, budget: u32) -> bool {
        for _ in 0..budget {
            let Some(client) = self.clients.get(client) else {
                return false;
            };
            let Some(lock) = client.owned.first() else {
                return false;
            };
            self.abandon(lock);
        }
        true
    }

    /// Frees a lock as by an unlock with IVVALBLK: what a PW or EX holder was writing when it went
    /// away is not to be trusted.
    fn abandon(&mut self, lock: u32) {
        let resource = self.locks[lock].resource;
        let flags = Flags::FORCEUNLOCK.with(Flags::IVVALBLK);
        self.locks[lock].flags = self.locks[lock].flags.with(flags);
        self.write_on_unlock(lock);
        self.dequeue(lock);
        let Lock { client, ticket, .. } = self.locks[lock];
        self.clients[client].owner.close(ticket);
        self.free(lock);
        self.settle(resource);
    }

    // Deciding.

    fn candidate(&self, lock: u32) -> Candidate {
        let lock = &self.locks[lock];
        Candidate {
            granted: lock.granted,
            requested: lock.requested,
            flags: lock.flags,
        }
    }

    /// Whether a lock can be granted as it asks. `deadlock`: its conversion, if it has to wait,
    /// is part of a conversion deadlock.
    fn decide(
        &self,
        resource: u32,
        candidate: Candidate,
        turn: Turn,
        deadlock: bool,
    ) -> Verdict {
        if self.grantable(resource, candidate, turn) {
            return Verdict::Grant {
                mode: candidate.requested,
                alternative: false,
            };
        }
        if deadlock {
            return if candidate.flags.any(Flags::CONVDEADLK) {
                Verdict::Demote
            } else {
                Verdict::Deadlock
            };
        }
        match candidate.alternative() {
            Some(other) if self.grantable(resource, other, turn) => Verdict::Grant {
                mode: other.requested,
                alternative: true,
            },
            _ => Verdict::Wait,
        }
    }

    /// The order of granting; the first rule that matches decides.
    fn grantable(&self, resource: u32, candidate: Candidate, turn: Turn) -> bool {
        let resource = &self.resources[resource];
        let flags = candidate.flags;
        if flags.any(Flags::EXPEDITE) {
            return true;
        }
        if resource
            .held_by_others(candidate.granted)
            .intersects(candidate.requested.conflicts())
        {
            return false;
        }
        let Some(contention) = &resource.contention else {
            return true;
        };
        let no_conversions = contention.converting.is_empty();
        match (candidate.granted, turn) {
            (Some(_), Turn::New) => !flags.any(Flags::QUECVT) || no_conversions,
            _ if flags.any(Flags::NOORDER) => true,
            (Some(_), turn) => turn == Turn::First,
            (None, Turn::New) => contention.is_empty(),
            (None, turn) => no_conversions && turn == Turn::First,
        }
    }

    /// Whether a conversion that is asked for now would have to wait for somebody who, being on
    /// the converting queue before it, waits for it.
    fn deadlocks_now(&self, resource: u32, candidate: Candidate) -> bool {
        let (Some(granted), Some(contention)) =
            (candidate.granted, &self.resources[resource].contention)
        else {
            return false;
        };
        !candidate.flags.any(Flags::NOQUEUE)
            && granted
                .conflicts()
                .intersects(contention.converting_for.present())
    }

    // Granting what can be granted.

    /// After anything that may let others in: grants what can be granted, and tells the holders
    /// of those who still wait.
    fn grant_pending(&mut self, resource: u32) {
        if self.resources[resource].contention.is_none() {
            return;
        }
        let (mut strongest, mut cw) = self.grant_conversions(resource);
        self.grant_waiting(resource);
        if let Some(contention) = &self.resources[resource].contention {
            let waited_for = contention.waiting_for.present();
            strongest = strongest.max(waited_for.highest());
            cw |= waited_for.contains(Mode::Cw);
        }
        if let Some(strongest) = strongest {
            self.block(resource, Blocked::Queues { strongest, cw }, None);
        }
    }

    /// Grants conversions, and returns the strongest mode that is still waited for, and whether
    /// CW is.
    ///
    /// As long as every lock simply joined the end of the queue, none of them is in the way of one
    /// ahead of it (it would not have been let in), and only the head can be granted: so it is
    /// enough to look there. HEADQUE, NODLCKWT and NOORDER break that, and cost a walk.
    fn grant_conversions(&mut self, resource: u32) -> (Option<Mode>, bool) {
        let Some(contention) = &self.resources[resource].contention else {
            return (None, false);
        };
        if contention.irregular > 0 {
            return self.grant_irregular_conversions(resource);
        }
        while let Some(head) = self.first(resource, State::Converting) {
            if !self.try_grant(head, Turn::First) {
                break;
            }
        }
        match &self.resources[resource].contention {
            Some(contention) => {
                let wanted = contention.converting_for.present();
                (wanted.highest(), wanted.contains(Mode::Cw))
            }
            None => (None, false),
        }
    }

    /// The same by walking the queue, again after each walk that granted something, and once more
    /// after the first that demoted a lock.
    fn grant_irregular_conversions(&mut self, resource: u32) -> (Option<Mode>, bool) {
        let mut cw = false;
        let mut may_repeat_for_demotion = true;
        loop {
            let pass = self.walk_conversions(resource);
            cw |= pass.cw;
            if pass.granted {
                continue;
            }
            if pass.demoted && may_repeat_for_demotion {
                may_repeat_for_demotion = false;
                continue;
            }
            return (pass.strongest, cw);
        }
    }

    fn walk_conversions(&mut self, resource: u32) -> Pass {
        let mut pass = Pass::default();
        let mut rivals = self.rivals(resource);
        let mut at = self.first(resource, State::Converting);
        while let Some(lock) = at {
            at = List::<ByQueue>::next(&self.locks, lock);
            let candidate = self.candidate(lock);
            let deadlock = rivals.deadlocks(candidate);
            let turn = if self.first(resource, State::Converting) == Some(lock) {
                Turn::First
            } else {
                Turn::Behind
            };
            match self.decide(resource, candidate, turn, deadlock) {
                Verdict::Grant { mode, alternative } => {
                    self.grant(lock, mode, alternative);
                    self.complete(lock, Status::Granted);
                    pass.granted = true;
                    continue;
                }
                Verdict::Demote => {
                    self.demote(lock);
                    pass.demoted = true;
                }
                Verdict::Deadlock => self.warn_itself(lock),
                Verdict::Wait => {
                    pass.strongest = pass.strongest.max(Some(candidate.requested));
                    pass.cw |= candidate.requested == Mode::Cw;
                }
            }
            rivals.ahead.insert(candidate.requested);
        }
        pass
    }

    fn rivals(&self, resource: u32) -> Rivals {
        let mut rivals = Rivals::default();
        let mut at = self.first(resource, State::Converting);
        while let Some(lock) = at {
            let candidate = self.candidate(lock);
            if let Some(granted) = candidate.granted {
                rivals.behind[granted as usize].add(candidate.requested);
            }
            at = List::<ByQueue>::next(&self.locks, lock);
        }
        rivals
    }

    /// A converting lock with NODLCKWT is in a deadlock: it is told of its own request, to
    /// convert down.
    fn warn_itself(&mut self, lock: u32) {
        let entry = &mut self.locks[lock];
        if entry.flags.any(Flags::NODLCKWT) && entry.told < entry.requested {
            entry.told = entry.requested;
            let mode = entry.requested;
            self.notify(lock, mode);
        }
    }

    fn grant_waiting(&mut self, resource: u32) {
        let Some(contention) = &self.resources[resource].contention else {
            return;
        };
        if contention.unordered > 0 {
            return self.walk_waiting(resource);
        }
        while let Some(head) = self.first(resource, State::Waiting) {
            if !self.try_grant(head, Turn::First) {
                break;
            }
        }
    }

    fn walk_waiting(&mut self, resource: u32) {
        let mut at = self.first(resource, State::Waiting);
        while let Some(lock) = at {
            at = List::<ByQueue>::next(&self.locks, lock);
            let turn = if self.first(resource, State::Waiting) == Some(lock) {
                Turn::First
            } else {
                Turn::Behind
            };
            self.try_grant(lock, turn);
        }
    }

    /// Grants a queued lock that is in no deadlock, if its turn has come.
    fn try_grant(&mut self, lock: u32, turn: Turn) -> bool {
        let candidate = self.candidate(lock);
        match self.decide(self.locks[lock].resource, candidate, turn, false) {
            Verdict::Grant { mode, alternative } => {
                self.grant(lock, mode, alternative);
                self.complete(lock, Status::Granted);
                true
            }
            _ => false,
        }
    }

    fn grant(&mut self, lock: u32, mode: Mode, alternative: bool) {
        if alternative {
            self.locks[lock].status.set(StatusFlags::ALTMODE);
        }
        self.move_value(lock, mode);
        // A lock that keeps its mode keeps its place among the granted.
        let stays = self.locks[lock].state == State::Granted
            && self.locks[lock].granted == Some(mode);
        if !stays {
            self.dequeue(lock);
            self.locks[lock].granted = Some(mode);
            self.locks[lock].told = Mode::Nl;
            self.enqueue(lock, State::Granted);
        } else {
            self.set_told(lock, Mode::Nl);
        }
    }

    /// Lowers a lock's granted mode to NL where it stands.
    fn demote(&mut self, lock: u32) {
        let entry = &mut self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        resource.count_out(entry);
        entry.granted = Some(Mode::Nl);
        entry.status.set(StatusFlags::DEMOTED);
        resource.count_in(entry);
    }

    // Value blocks.

    /// Whether an operation with these flags writes the lock's buffer where the matrix says so.
    fn writes(&self, lock: u32, flags: Flags) -> bool {
        flags.any(Flags::VALBLK) && !flags.any(Flags::IVVALBLK) && self.locks[lock].value != NONE
    }

    /// A value block for the resource, if it has none: to be attached, or given back.
    fn prepare_value(&mut self, resource: u32) -> Result<u32> {
        if self.resources[resource].value == NONE {
            self.values.insert(Value::default(), NONE)
        } else {
            Ok(NONE)
        }
    }

    /// The same for a conversion, if it will write.
    fn prepare_write(
        &mut self,
        resource: u32,
        candidate: Candidate,
        verdict: Verdict,
    ) -> Result<u32> {
        let flags = candidate.flags;
        match verdict {
            Verdict::Grant { mode, .. }
                if transfer(candidate.granted, mode) == Transfer::Write
                    && flags.any(Flags::VALBLK)
                    && !flags.any(Flags::IVVALBLK) =>
            {
                self.prepare_value(resource)
            }
            _ => Ok(NONE),
        }
    }

    fn fill_buffer(&mut self, lock: u32, value: &Value) {
        if let Some(buffer) = self.values.get_mut(self.locks[lock].value) {
            *buffer = *value;
        }
    }

    fn copy_value(&mut self, from: u32, to: u32) {
        if let Some(value) = self.values.get(from).copied() {
            if let Some(target) = self.values.get_mut(to) {
                *target = value;
            }
        }
    }

    /// What the value block does when a lock is granted in `to`.
    fn move_value(&mut self, lock: u32, to: Mode) {
        let entry = &self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        let asked = entry.value != NONE && entry.flags.any(Flags::VALBLK);
        let (buffer, value) = (entry.value, resource.value);
        match transfer(entry.granted, to) {
            Transfer::Read if !asked || value == NONE => return,
            Transfer::Read => self.copy_value(value, buffer),
            Transfer::Write if entry.flags.any(Flags::IVVALBLK) => {
                resource.value_invalid = true;
                return;
            }
            Transfer::Write if asked => {
                resource.value_invalid = false;
                self.copy_value(buffer, value);
                return;
            }
            Transfer::Write => return,
            Transfer::Nothing => {}
        }
        let entry = &mut self.locks[lock];
        if self.resources[entry.resource].value_invalid {
            entry.status.set(StatusFlags::VALNOTVALID);
        }
    }

    /// What the value block does when a lock goes.
    fn write_on_unlock(&mut self, lock: u32) {
        let entry = &self.locks[lock];
        if entry.granted < Some(Mode::Pw) {
            return;
        }
        let resource = &mut self.resources[entry.resource];
        if entry.flags.any(Flags::IVVALBLK) {
            resource.value_invalid = true;
        } else if entry.flags.any(Flags::VALBLK) && entry.value != NONE {
            resource.value_invalid = false;
            let (buffer, value) = (entry.value, resource.value);
            self.copy_value(buffer, value);
        }
    }

    // Telling owners.

    fn complete(&mut self, lock: u32, status: Status) {
        let id = self.id(lock);
        self.disturb(lock);
        let entry = &mut self.locks[lock];
        let returned = status == Status::Granted
            && entry
                .granted
                .is_some_and(|mode| transfer(entry.completed, mode) != Transfer::Write);
        entry.completed = entry.granted;
        entry.last = Last::Completion;
        let completion = Completion {
            id,
            status,
            flags: entry.status,
            value: if returned {
                self.values.get(entry.value)
            } else {
                None
            },
            last: status.ends_life(entry.granted),
        };
        self.clients[entry.client]
            .owner
            .complete(entry.ticket, completion);
    }

    /// Tells the owner that its lock is in the way of `mode`, unless that is no news.
    fn notify(&mut self, lock: u32, mode: Mode) {
        let id = self.id(lock);
        let entry = &mut self.locks[lock];
        let harmless = entry
            .completed
            .is_some_and(|completed| completed.compatible(mode));
        let repeated = match entry.last {
            Last::Blocking(before) => before == mode || (before > mode && before > Mode::Pr),
            _ => false,
        };
        if !entry.listens || harmless || repeated {
            return;
        }
        entry.last = Last::Blocking(mode);
        self.clients[entry.client]
            .owner
            .block(entry.ticket, id, mode);
    }

    /// Tells the holders that they are in the way; `except` is the requester itself.
    fn block(&mut self, resource: u32, blocked: Blocked, except: Option<u32>) {
        let entry = &self.resources[resource];
        let Some(contention) = &entry.contention else {
            return;
        };
        let mut demands = [None; Mode::COUNT];
        let mut left = 0;
        for held in Mode::ALL {
            if let Some(demand) = blocked.demand(held) {
                let audience = contention.audience(held, demand);
                demands[held as usize] = (audience > 0).then_some(demand);
                left += audience;
            }
        }
        // Newest first: whoever was granted since the last time is near the head.
        let mut at = entry.granted.first();
        while let (Some(lock), 1..) = (at, left) {
            at = List::<ByQueue>::next(&self.locks, lock);
            let Some(held) = self.locks[lock].granted else {
                continue;
            };
            let Some(demand) = demands[held as usize] else {
                continue;
            };
            if self.is_in_audience(resource, lock, held, demand) {
                left -= 1;
                if except != Some(lock) {
                    self.put(lock, demand);
                }
            }
        }
        self.settle_demands(resource, &demands);
        if let Some(lock) = except {
            self.disturb(lock);
        }
    }

    fn is_in_audience(&self, resource: u32, lock: u32, held: Mode, demand: Demand) -> bool {
        let lock = &self.locks[lock];
        match &self.resources[resource].contention {
            Some(contention)
                if demand.crossing && contention.settled[held as usize] == Some(demand) =>
            {
                !lock.quiet
            }
            _ => demand.concerns(lock.told),
        }
    }

    /// Remembers which demands by the rule of PR and CW have been put to all holders of a mode.
    fn settle_demands(&mut self, resource: u32, demands: &[Option<Demand>; Mode::COUNT]) {
        let Some(contention) = &mut self.resources[resource].contention else {
            return;
        };
        for (settled, demand) in contention.settled.iter_mut().zip(demands) {
            if demand.is_some_and(|demand| demand.crossing) {
                *settled = *demand;
            }
        }
    }

    /// Puts a demand to one holder.
    fn put(&mut self, lock: u32, demand: Demand) {
        if demand.concerns(self.locks[lock].told) {
            self.set_told(lock, demand.level);
            self.notify(lock, demand.mode);
        }
        if demand.crossing {
            self.quieten(lock);
        }
    }

    /// A refused NOQUEUE request may want the holders to be told all the same (NOQUEUEBAST), and
    /// then those who are converting too.
    fn refuse(&mut self, resource: u32, lock: Option<u32>, ask: &Ask) {
        if !ask.flags.any(Flags::NOQUEUEBAST) {
            return;
        }
        let blocked = Blocked::Request(ask.mode);
        self.block(resource, blocked, lock);
        let mut at = self.first(resource, State::Converting);
        while let Some(lock) = at {
            at = List::<ByQueue>::next(&self.locks, lock);
            let demand = self.locks[lock]
                .granted
                .and_then(|held| blocked.demand(held));
            if let Some(demand) = demand {
                self.put(lock, demand);
            }
        }
    }

    // The state of a lock.

    fn id(&self, lock: u32) -> LockId {
        self.ids.encode(lock, self.locks.uses(lock))
    }

    fn find(&self, id: LockId) -> Result<u32> {
        let lock = self.ids.slot(id).ok_or(ENOENT)?;
        self.locks.get(lock).ok_or(ENOENT)?;
        if self.id(lock) != id {
            return Err(ENOENT);
        }
        Ok(lock)
    }

    fn first(&self, resource: u32, state: State) -> Option<u32> {
        let resource = &self.resources[resource];
        let contention = resource.contention.as_ref();
        match state {
            State::Loose => None,
            State::Granted => resource.granted.first(),
            State::Converting => contention.and_then(|queues| queues.converting.first()),
            State::Waiting => contention.and_then(|queues| queues.waiting.first()),
        }
    }

    /// Puts a loose lock on one of its resource's queues. For the queues of those who wait,
    /// [`Self::prepare_refusal`] has made room.
    fn enqueue(&mut self, lock: u32, state: State) {
        let entry = &mut self.locks[lock];
        entry.state = state;
        let resource = &mut self.resources[entry.resource];
        resource.count_in(entry);
        let first = state == State::Granted || entry.flags.any(Flags::HEADQUE);
        let Some(queue) = resource.queue_mut(state) else {
            return;
        };
        if first {
            queue.push_front(&mut self.locks, lock);
        } else {
            queue.push_back(&mut self.locks, lock);
        }
    }

    /// Takes a lock off its queue, if it is on one.
    fn dequeue(&mut self, lock: u32) {
        let entry = &mut self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        resource.count_out(entry);
        let state = core::mem::replace(&mut entry.state, State::Loose);
        if let Some(queue) = resource.queue_mut(state) {
            queue.remove(&mut self.locks, lock);
        }
    }

    fn set_told(&mut self, lock: u32, told: Mode) {
        let entry = &mut self.locks[lock];
        match self.resources[entry.resource].tellers(entry) {
            Some((contention, held)) => contention.set_told(entry, held, told),
            None => entry.told = told,
        }
    }

    /// Something changed that may make a lock hear what it was deaf to.
    fn disturb(&mut self, lock: u32) {
        let entry = &mut self.locks[lock];
        if let Some((contention, held)) = self.resources[entry.resource].tellers(entry) {
            contention.set_quiet(entry, held, false);
        }
    }

    fn quieten(&mut self, lock: u32) {
        let entry = &mut self.locks[lock];
        if let Some((contention, held)) = self.resources[entry.resource].tellers(entry) {
            contention.set_quiet(entry, held, true);
        }
    }

    // Making and unmaking. What can fail comes before what cannot.

    fn new_resource(&mut self, hash: u32, name: &[u8]) -> Result<u32> {
        self.resources.insert(Resource {
            name: Name::new(name)?,
            place: Place::new(hash),
            granted: List::new(),
            held: ModeCounts::default(),
            value: NONE,
            value_invalid: false,
            contention: None,
        })
    }

    fn drop_if_unused(&mut self, resource: u32) {
        if !self.resources[resource].is_unused() {
            return;
        }
        if let Some(resource) = self.resources.remove(resource) {
            self.values.remove(resource.value);
        }
    }

    /// After a lock has left its queue: others may be granted, or the resource is not needed.
    fn settle(&mut self, resource: u32) {
        self.grant_pending(resource);
        self.drop_if_unused(resource);
    }

    /// Makes the resource ready for what a verdict other than a grant will need.
    fn prepare_refusal(&mut self, resource: u32, verdict: Verdict, flags: Flags) -> Result {
        let refused = !matches!(verdict, Verdict::Grant { .. });
        let silent = flags.any(Flags::NOQUEUE) && !flags.any(Flags::NOQUEUEBAST);
        if !refused || silent || self.resources[resource].contention.is_some() {
            return Ok(());
        }
        let mut contention = KBox::new(Contention::new(), GFP_KERNEL_ACCOUNT)?;
        let mut at = self.first(resource, State::Granted);
        while let Some(lock) = at {
            at = List::<ByQueue>::next(&self.locks, lock);
            let entry = &mut self.locks[lock];
            if let Some(held) = entry.granted {
                contention.add_holder(entry, held);
            }
        }
        self.resources[resource].contention = Some(contention);
        Ok(())
    }

    fn new_lock(
        &mut self,
        resource: u32,
        client: u32,
        ask: &Ask,
        change: &O::Change,
    ) -> Result<u32> {
        let wants_value = ask.flags.any(Flags::VALBLK);
        let value = self.new_buffer(wants_value)?;
        let owner = &self.clients[client].owner;
        let inserted = owner.open(change, wants_value).and_then(|ticket| {
            let lock = Lock::new(resource, client, ticket, value, ask);
            self.locks
                .insert(lock, self.ids.limit())
                .inspect_err(|_| owner.close(ticket))
        });
        match inserted {
            Ok(lock) => {
                let owned = &mut self.clients[client].owned;
                owned.push_back(&mut self.locks, lock);
            }
            Err(_) => {
                self.values.remove(value);
            }
        }
        inserted
    }

    fn new_buffer(&mut self, wanted: bool) -> Result<u32> {
        if wanted {
            self.values.insert(Value::default(), NONE)
        } else {
            Ok(NONE)
        }
    }

    fn free(&mut self, lock: u32) {
        let Lock { client, value, .. } = self.locks[lock];
        self.clients[client].owned.remove(&mut self.locks, lock);
        self.values.remove(value);
        self.locks.remove(lock);
    }

    /// Replaces the user's side of a lock, for an unlock or a cancel.
    fn change(
        &mut self,
        lock: u32,
        change: &O::Change,
        occasion: Occasion,
        value: bool,
    ) -> Result {
        let entry = &mut self.locks[lock];
        let owner = &self.clients[entry.client].owner;
        entry.ticket = owner.change(entry.ticket, change, occasion, value)?;
        Ok(())
    }

    /// The same for a conversion, with all that a conversion replaces: it may give the lock a
    /// value buffer, and fills it.
    fn redirect(
        &mut self,
        lock: u32,
        ask: &Ask,
        value: &Value,
        change: &O::Change,
        occasion: Occasion,
    ) -> Result {
        let has_buffer = self.locks[lock].value != NONE;
        let wants_buffer = ask.flags.any(Flags::VALBLK);
        let buffer = self.new_buffer(wants_buffer && !has_buffer)?;
        if let Err(error) = self.change(lock, change, occasion, has_buffer || wants_buffer) {
            self.values.remove(buffer);
            return Err(error);
        }
        if buffer != NONE {
            self.locks[lock].value = buffer;
        }
        self.fill_buffer(lock, value);
        self.locks[lock].listens = ask.listens;
        self.disturb(lock);
        Ok(())
    }
}

/// What one walk over the converting queue came to.
#[derive(Default)]
struct Pass {
    granted: bool,
    demoted: bool,
    /// What is still waited for.
    strongest: Option<Mode>,
    cw: bool,
}

/// The other locks of a converting queue, as seen from one of them during a walk.
#[derive(Default)]
struct Rivals {
    /// What those ahead ask for.
    ahead: ModeSet,
    /// What those behind ask for, by the mode that they hold.
    behind: [ModeCounts; Mode::COUNT],
}

impl Rivals {
    /// Takes the next lock out of those behind, and tells whether it is in a deadlock: it is in
    /// the way of one ahead, or it and one behind are in each other's way.
    fn deadlocks(&mut self, candidate: Candidate) -> bool {
        let Some(granted) = candidate.granted else {
            return false;
        };
        self.behind[granted as usize].sub(candidate.requested);
        let blocks = granted.conflicts();
        blocks.intersects(self.ahead)
            || Mode::ALL.into_iter().any(|held| {
                held.conflicts().contains(candidate.requested)
                    && blocks.intersects(self.behind[held as usize].present())
            })
    }
}
