// SPDX-License-Identifier: GPL-2.0

//! What the table is made of: locks, resources, and what a resource counts.

use super::{
    blocking::Demand,
    granting::{
        Candidate,
        Search, //
    },
    idle::Seat,
    Ask,
    LockId,
    Ticket, //
};
use crate::{
    storage::{
        directory::{
            Named,
            Place, //
        },
        list::{
            Links,
            List,
            Through, //
        },
        slab::{
            at_once,
            Note,
            Slab,
            Vacancy,
            NONE, //
        },
    },
    terms::{
        Flags,
        Mode,
        ModeCounts,
        ModeSet,
        Reply,
        StatusFlags,
        NAME_MAX, //
    },
};
use kernel::prelude::*;

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
    pub(super) fn waits(self) -> bool {
        matches!(self, State::Converting | State::Waiting)
    }
}

/// The last record that a lock's owner was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Nothing,
    Completion,
    Blocking(Mode),
}

pub(super) struct Lock {
    pub(super) id: LockId,
    pub(super) queue: Links,
    pub(super) owned: Links,
    pub(super) resource: u32,
    pub(super) client: u32,
    pub(super) ticket: Ticket,
    pub(super) pid: u32,
    /// When it joined its queue.
    pub(super) since: u32,
    pub(super) flags: Flags,
    /// The lock's value buffer, in `LockTable::values`; it has one from its first VALBLK on.
    pub(super) value: u32,
    pub(super) state: State,
    pub(super) granted: Option<Mode>,
    /// What a converting or waiting lock asks for.
    pub(super) requested: Mode,
    /// The mode in which the last completion left it.
    pub(super) completed: Option<Mode>,
    pub(super) last: Last,
    /// The strongest mode that it was told to be in the way of; NL: none since it was granted.
    pub(super) told: Mode,
    pub(super) status: StatusFlags,
    pub(super) marks: Marks,
}

/// What is true of a lock, each in a bit.
#[derive(Clone, Copy)]
pub(super) struct Marks(u8);

impl Marks {
    /// Its owner wants to be told when it is in somebody's way.
    pub(super) const LISTENS: Marks = Marks(1);
    /// While converting: the queue's order is not plain because of it; see
    /// [`Contention::is_irregular`].
    pub(super) const IRREGULAR: Marks = Marks(2);
    /// Telling it again by the rule of PR and CW would do nothing: see [`Contention::settled`].
    pub(super) const QUIET: Marks = Marks(4);
    /// While converting: it does not ask for what it asked for when it was queued.
    pub(super) const UNSETTLED: Marks = Marks(8);

    fn new(listens: bool) -> Self {
        Marks(u8::from(listens))
    }

    #[inline(always)]
    pub(super) fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    #[inline(always)]
    pub(super) fn put(&mut self, mark: Marks, set: bool) {
        self.0 &= !mark.0;
        if set {
            self.0 |= mark.0;
        }
    }
}

/// What a lock is tied to.
pub(super) struct Ties {
    pub(super) id: LockId,
    pub(super) resource: u32,
    pub(super) client: u32,
    pub(super) value: u32,
    pub(super) state: State,
    pub(super) queue: Links,
    pub(super) owned: Links,
}

/// The locks of a table.
pub(super) type Locks = Slab<Lock, LastId>;

/// What a lock leaves in its slot: its id, or 0 where there has been none.
#[derive(Clone, Copy, Default)]
pub(super) struct LastId(pub(super) LockId);

impl Note for LastId {
    /// So that stale ids last longer.
    const IN_TURN: bool = true;
}

/// What has been set aside for a new lock.
pub(super) struct Berth {
    pub(super) vacancy: Vacancy<LastId>,
    pub(super) id: LockId,
    /// Its value buffer, or `NONE`.
    pub(super) value: u32,
}

impl Lock {
    /// A lock on none of its resource's queues.
    #[inline(always)]
    pub(super) fn new(
        berth: &Berth,
        owned: Links,
        resource: u32,
        client: u32,
        ticket: Ticket,
        ask: Ask,
    ) -> Self {
        Lock {
            id: berth.id,
            queue: Links::NEW,
            owned,
            resource,
            client,
            ticket,
            pid: ask.pid,
            since: 0,
            flags: ask.flags,
            value: berth.value,
            state: State::Loose,
            granted: None,
            requested: ask.mode,
            completed: None,
            last: Last::Nothing,
            told: Mode::Nl,
            status: StatusFlags::default(),
            marks: Marks::new(ask.listens),
        }
    }
}

impl Lock {
    #[inline(always)]
    pub(super) fn ties(&self) -> Ties {
        Ties {
            id: self.id,
            resource: self.resource,
            client: self.client,
            value: self.value,
            state: self.state,
            queue: self.queue,
            owned: self.owned,
        }
    }

    /// How a request is answered that wants to be answered like that, and comes from client `by`:
    /// who has a lock hears by record what others do to it. Of an orphan nobody else would hear.
    #[inline(always)]
    pub(super) fn reply_to(&self, by: u32, wanted: Reply) -> Reply {
        if self.client == by || self.client == NONE {
            wanted
        } else {
            Reply::Record
        }
    }
}

pub(super) struct ByQueue;

pub(super) struct ByOwner;

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

pub(super) enum Name {
    Short(u8, [u8; SHORT_NAME]),
    Long(KVec<u8>),
}

impl Name {
    pub(super) fn new(name: &[u8]) -> Result<Name> {
        match name.len() {
            length @ ..=SHORT_NAME => Ok(Name::Short(length as u8, padded(name))),
            length @ ..=NAME_MAX => {
                let mut bytes = KVec::with_capacity(length, at_once())?;
                bytes.extend_from_slice(name, at_once())?;
                Ok(Name::Long(bytes))
            }
            _ => Err(EINVAL),
        }
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Name::Short(length, bytes) => &bytes[..usize::from(*length)],
            Name::Long(bytes) => bytes,
        }
    }
}

fn padded(name: &[u8]) -> [u8; SHORT_NAME] {
    let mut bytes = [0; SHORT_NAME];
    if let Some(start) = bytes.get_mut(..name.len()) {
        start.copy_from_slice(name);
    }
    bytes
}

pub(super) struct Resource {
    pub(super) name: Name,
    pub(super) place: Place,
    pub(super) granted: List<ByQueue>,
    /// The granted modes of the locks on the granted and on the converting queue.
    pub(super) held: ModeCounts,
    /// Room for the value block, in `LockTable::values`: set aside by who may write it.
    pub(super) value: u32,
    /// There is a value block: it has been written.
    pub(super) value_written: bool,
    /// It was invalidated and not written since.
    pub(super) value_invalid: bool,
    /// Without locks, it is kept for a while.
    pub(super) seat: Seat,
    pub(super) contention: Option<KBox<Contention>>,
}

impl Named for Resource {
    #[inline(always)]
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
    /// A resource without locks. `EINVAL` for a name that is too long, `ENOMEM`.
    pub(super) fn new(name: &[u8], hash: u32) -> Result<Self> {
        Ok(Resource {
            name: Name::new(name)?,
            place: Place::new(hash),
            granted: List::new(),
            held: ModeCounts::default(),
            value: NONE,
            value_written: false,
            value_invalid: false,
            seat: Seat::NONE,
            contention: None,
        })
    }

    /// Makes room for a lock that is about to be made as number `index`, granted in `mode`. NL is in
    /// nobody's way: behind the others it lengthens no search for those who are.
    #[inline(always)]
    pub(super) fn expect(&mut self, locks: &mut Locks, index: u32, mode: Mode) -> Links {
        if mode == Mode::Nl {
            self.granted.expect_back(locks, index)
        } else {
            self.granted.expect_front(locks, index)
        }
    }

    /// The last lock has gone, and with it the value block. Returns what room there was for one.
    #[inline(always)]
    pub(super) fn end(&mut self, seat: Seat) -> u32 {
        self.seat = seat;
        self.value_written = false;
        self.value_invalid = false;
        core::mem::replace(&mut self.value, NONE)
    }

    pub(super) fn is_unused(&self) -> bool {
        self.granted.is_empty() && self.contention.as_ref().is_none_or(|c| c.is_empty())
    }

    /// Makes it ready for those who have to wait. `ENOMEM`.
    #[cold]
    pub(super) fn contend(&mut self) -> Result {
        let contention = KBox::new(Contention::new(&self.held), at_once())?;
        self.contention = Some(contention);
        Ok(())
    }

    /// Whether nobody waits: what happens to its locks concerns no others.
    #[inline(always)]
    pub(super) fn nobody_waits(&self) -> bool {
        self.contention
            .as_ref()
            .is_none_or(|queues| queues.is_empty())
    }

    /// The modes held by all but a lock that holds `own` itself.
    pub(super) fn held_by_others(&self, own: Option<Mode>) -> ModeSet {
        let mut held = self.held.present();
        if let Some(own) = own {
            if self.held.of(own) == 1 {
                held.remove(own);
            }
        }
        held
    }

    /// Whether a lock stays where it is when it goes to the queue of this state.
    #[inline(always)]
    pub(super) fn keeps_place(&self, lock: u32, to: State) -> bool {
        to == State::Granted && self.granted.is_only(lock)
    }

    /// The first lock on the queue of this state.
    #[inline(always)]
    pub(super) fn first(&self, state: State) -> Option<u32> {
        let contention = self.contention.as_ref();
        match state {
            State::Loose => None,
            State::Granted => self.granted.first(),
            State::Converting => contention.and_then(|queues| queues.converting.first()),
            State::Waiting => contention.and_then(|queues| queues.waiting.first()),
        }
    }

    #[inline(always)]
    pub(super) fn queue_mut(&mut self, state: State) -> Option<&mut List<ByQueue>> {
        let contention = self.contention.as_mut();
        match state {
            State::Loose => None,
            State::Granted => Some(&mut self.granted),
            State::Converting => contention.map(|queues| &mut queues.converting),
            State::Waiting => contention.map(|queues| &mut queues.waiting),
        }
    }

    /// Where it is counted what a granted lock was told, and the mode under which.
    #[inline(always)]
    pub(super) fn tellers(&mut self, lock: &Lock) -> Option<(&mut Contention, Mode)> {
        match (&mut self.contention, lock.state, lock.granted) {
            (Some(contention), State::Granted, Some(held)) => Some((contention, held)),
            _ => None,
        }
    }

    /// Counts a lock on the queue of its state.
    #[inline(always)]
    pub(super) fn count_in(&mut self, lock: &mut Lock) {
        if let Some(held) = lock.granted {
            self.held.add(held);
        }
        if let Some((contention, held)) = self.tellers(lock) {
            contention.add_holder(lock, held);
        }
        if let Some(contention) = &mut self.contention {
            contention.count_in(lock);
        }
    }

    /// The opposite of [`Self::count_in`].
    #[inline(always)]
    pub(super) fn count_out(&mut self, lock: &mut Lock) {
        if lock.state == State::Loose {
            return;
        }
        if let Some(held) = lock.granted {
            self.held.sub(held);
        }
        if self.contention.is_some() {
            self.count_out_of_contention(lock);
        }
    }

    fn count_out_of_contention(&mut self, lock: &mut Lock) {
        if let Some((contention, held)) = self.tellers(lock) {
            contention.remove_holder(lock, held);
        }
        // With two others left, a mode is held by somebody else whoever asks.
        let still_held = lock
            .granted
            .is_none_or(|held| held == Mode::Nl || self.held.of(held) > 1);
        if let Some(contention) = &mut self.contention {
            contention.count_out(lock);
        }
        if !still_held {
            self.search_again();
        }
    }

    /// The strongest mode that a lock was told of is this one now.
    pub(super) fn set_told(&mut self, lock: &mut Lock, told: Mode) {
        match self.tellers(lock) {
            Some((contention, held)) => contention.set_told(lock, held, told),
            None => {
                lock.told = told;
                self.search_again();
            }
        }
    }

    /// Remembers whether telling a lock again would do nothing.
    pub(super) fn set_quiet(&mut self, lock: &mut Lock, quiet: bool) {
        if let Some((contention, held)) = self.tellers(lock) {
            contention.set_quiet(lock, held, quiet);
        }
    }

    /// What a converting lock asks for is about to become other than when it was queued; whether its
    /// place is in order does not show any more.
    pub(super) fn unsettle(&mut self, lock: &mut Lock) {
        if let Some(contention) = &mut self.contention {
            contention.irregular += u32::from(!lock.marks.has(Marks::IRREGULAR));
            contention.search = Search::Due;
            lock.marks.put(Marks::IRREGULAR, true);
            lock.marks.put(Marks::UNSETTLED, true);
        }
    }

    /// Something has changed because of which a converting lock may be granted, or tell itself that
    /// it is in the way.
    pub(super) fn search_again(&mut self) {
        if let Some(contention) = &mut self.contention {
            contention.search = Search::Due;
        }
    }
}

/// The modes in which a waiting lock may be granted before others that came before it.
fn out_of_turn(lock: &Lock, mut count: impl FnMut(Mode)) {
    if lock.flags.any(Flags::NOORDER) {
        let candidate = Candidate::of(lock);
        count(candidate.requested);
        if let Some(other) = candidate.alternative() {
            count(other.requested);
        }
    }
}

/// What a resource needs once somebody has been refused.
pub(super) struct Contention {
    pub(super) converting: List<ByQueue>,
    pub(super) waiting: List<ByQueue>,
    /// The granted and the requested modes of those who convert.
    pub(super) converting_held: ModeCounts,
    pub(super) converting_for: ModeCounts,
    pub(super) waiting_for: ModeCounts,
    /// Converting locks that are [`Marks::IRREGULAR`].
    pub(super) irregular: u32,
    /// The modes in which waiting locks could be granted that may be out of turn (NOORDER).
    pub(super) unordered: ModeCounts,
    /// What is known of who can be granted of those who convert.
    pub(super) search: Search,
    /// The granted locks of each mode, by the strongest mode they were told of.
    pub(super) told: [ModeCounts; Mode::COUNT],
    /// By the rule of PR and CW the holders of a mode are told again with every change, and
    /// nearly always it comes to nothing because it is what they heard last. So this remembers,
    /// for each mode, the demand that was last put to all its holders, and `restless` how many of
    /// them would not be indifferent to hearing it again.
    pub(super) settled: [Option<Demand>; Mode::COUNT],
    pub(super) restless: ModeCounts,
}

impl Contention {
    /// For a resource where nobody has been refused, and so nobody told of anything, yet; its
    /// granted locks hold the modes `held`.
    pub(super) fn new(held: &ModeCounts) -> Self {
        Contention {
            converting: List::new(),
            waiting: List::new(),
            converting_held: ModeCounts::default(),
            converting_for: ModeCounts::default(),
            waiting_for: ModeCounts::default(),
            irregular: 0,
            unordered: ModeCounts::default(),
            search: Search::Due,
            told: Mode::ALL.map(|mode| ModeCounts::only(Mode::Nl, held.of(mode))),
            settled: [None; Mode::COUNT],
            restless: *held,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.converting.is_empty() && self.waiting.is_empty()
    }

    /// Counts a lock that joins one of the queues of those who wait.
    #[inline(always)]
    fn count_in(&mut self, lock: &mut Lock) {
        match lock.state {
            State::Converting => {
                let irregular = self.is_irregular(lock);
                lock.marks.put(Marks::IRREGULAR, irregular);
                self.irregular += u32::from(irregular);
                self.converting_for.add(lock.requested);
                if let Some(held) = lock.granted {
                    self.converting_held.add(held);
                }
                self.search = Search::Due;
            }
            State::Waiting => {
                self.waiting_for.add(lock.requested);
                out_of_turn(lock, |mode| self.unordered.add(mode));
            }
            State::Loose | State::Granted => {}
        }
    }

    #[inline(always)]
    fn count_out(&mut self, lock: &Lock) {
        match lock.state {
            State::Converting => {
                self.irregular -= u32::from(lock.marks.has(Marks::IRREGULAR));
                self.converting_for.sub(lock.requested);
                if let Some(held) = lock.granted {
                    self.converting_held.sub(held);
                }
                self.search = self.search.without_one();
            }
            State::Waiting => {
                self.waiting_for.sub(lock.requested);
                out_of_turn(lock, |mode| self.unordered.sub(mode));
            }
            State::Loose | State::Granted => {}
        }
    }

    fn add_holder(&mut self, lock: &mut Lock, held: Mode) {
        self.told[held as usize].add(lock.told);
        self.restless.add(held);
        lock.marks.put(Marks::QUIET, false);
    }

    fn remove_holder(&mut self, lock: &mut Lock, held: Mode) {
        self.set_quiet(lock, held, false);
        self.restless.sub(held);
        self.told[held as usize].sub(lock.told);
    }

    pub(super) fn set_told(&mut self, lock: &mut Lock, held: Mode, told: Mode) {
        self.told[held as usize].sub(lock.told);
        lock.told = told;
        self.told[held as usize].add(told);
        self.set_quiet(lock, held, false);
    }

    pub(super) fn set_quiet(&mut self, lock: &mut Lock, held: Mode, quiet: bool) {
        if lock.marks.has(Marks::QUIET) == quiet {
            return;
        }
        lock.marks.put(Marks::QUIET, quiet);
        if quiet {
            self.restless.sub(held);
        } else {
            self.restless.add(held);
        }
    }

    /// Whether a lock that joins the converting queue now breaks what makes it enough to look at
    /// the queue's head: that nobody is granted out of turn, and nobody is in the way of one
    /// ahead of him.
    fn is_irregular(&self, lock: &Lock) -> bool {
        let ahead_of_blockers = lock.flags.any(Flags::HEADQUE)
            && lock
                .requested
                .conflicts()
                .intersects(self.converting_held.present());
        let blocks_one_ahead = lock
            .granted
            .is_some_and(|held| held.conflicts().intersects(self.converting_for.present()));
        lock.marks.has(Marks::UNSETTLED)
            || lock.flags.any(Flags::NOORDER)
            || ahead_of_blockers
            || blocks_one_ahead
    }

    /// How many holders of `mode` a demand has to be put to.
    pub(super) fn audience(&self, mode: Mode, demand: Demand) -> u32 {
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
