// SPDX-License-Identifier: GPL-2.0

//! What a lock is made of, and the lists that it is on.

use crate::{
    engine::{
        Ask,
        LockId,
        State,
        Ticket, //
    },
    storage::{
        list::{
            Links,
            Through, //
        },
        slab::{
            Note,
            Slab,
            Vacancy,
            NONE, //
        },
    },
    terms::{
        Flags,
        Mode,
        Reply,
        StatusFlags, //
    },
};

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
    /// Telling it again by the rule of PR and CW would do nothing: see [`Contention::last_crossing`].
    pub(super) const TOLD_CROSSING: Marks = Marks(4);
    /// While converting: it does not ask for what it asked for when it was queued.
    pub(super) const REQUEST_CHANGED: Marks = Marks(8);

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
pub(super) struct Reservation {
    pub(super) vacancy: Vacancy<LastId>,
    pub(super) id: LockId,
    /// Its value buffer, or `NONE`.
    pub(super) value: u32,
}

impl Lock {
    /// A lock on none of its resource's queues.
    #[inline(always)]
    pub(super) fn new(
        reserved: &Reservation,
        owned: Links,
        resource: u32,
        client: u32,
        ticket: Ticket,
        ask: Ask,
    ) -> Self {
        Lock {
            id: reserved.id,
            queue: Links::NEW,
            owned,
            resource,
            client,
            ticket,
            pid: ask.pid,
            since: 0,
            flags: ask.flags,
            value: reserved.value,
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

/// Where a resource is among them, if it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct IdleSlot(pub(super) u8);

impl IdleSlot {
    pub(super) const NONE: IdleSlot = IdleSlot(u8::MAX);

    #[inline(always)]
    pub(super) fn is_assigned(self) -> bool {
        self != IdleSlot::NONE
    }
}
