// SPDX-License-Identifier: GPL-2.0

//! The local engine: resources, their locks, and the rules of granting, for one machine.
//!
//! A table is one shard of a lockspace. It knows names, modes, queues and value blocks; it knows
//! neither devices nor user pointers nor waiting. Whoever wants a lock is a client; what is to be
//! told goes to the client's [`Owner`]. All methods run under the shard's lock, none sleeps, and all
//! that can fail is done before anything changes: a request that returns an error has done nothing,
//! but for two, as in fs/dlm: `EBUSY` has replaced the user's side, and a refusal that is returned may
//! have told the holders (NOQUEUEBAST).
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
//! Which stage of an operation is where:
//!
//! | stage | file |
//! |---|---|
//! | a request for a new lock is granted, queued or refused | `request` |
//! | a lock asks for another mode | `convert` |
//! | a lock is given up, or what it waits for is taken back | `unlock` |
//! | locks outlive their client, and are adopted or purged | `orphans` |
//! | the lockspace goes, with all that is in it | `ending` |
//! | who can be granted: now, or after others have let go | `granting`, on the grounds in `decision` |
//! | who is told of an end, or to be in whose way | `blocking`, as `demand` says |
//! | what becomes of the value block | `values` |
//! | who is woken, and how often | `clients` |
//! | a lock moves from queue to queue, and ends | here |
//!
//! Under them are the things themselves: `lock`, `resource` with its `contention`, `id`; `idle` keeps
//! resources that have just lost their last lock. `survey` is for those who look on.
//!
//! The rules are those of fs/dlm on a single node, to the order of the records. What every request
//! comes by has few callers and is always inlined, here and in the rooms around: the call would cost as
//! much as what is done.

// The paths are spelled out because the host's tests include this file from elsewhere.
#[path = "lock_table/blocking.rs"]
mod blocking;
#[path = "lock_table/clients.rs"]
mod clients;
#[path = "lock_table/contention.rs"]
mod contention;
#[path = "lock_table/convert.rs"]
mod convert;
#[path = "lock_table/decision.rs"]
mod decision;
#[path = "lock_table/demand.rs"]
mod demand;
#[path = "lock_table/ending.rs"]
mod ending;
#[path = "lock_table/granting.rs"]
mod granting;
#[path = "lock_table/id.rs"]
mod id;
#[path = "lock_table/idle.rs"]
mod idle;
#[path = "lock_table/lock.rs"]
mod lock;
#[path = "lock_table/orphans.rs"]
mod orphans;
#[path = "lock_table/request.rs"]
mod request;
#[path = "lock_table/resource.rs"]
mod resource;
#[path = "lock_table/survey.rs"]
mod survey;
#[path = "lock_table/unlock.rs"]
mod unlock;
#[path = "lock_table/values.rs"]
mod values;

pub(crate) use self::{
    id::IdSpace,
    orphans::Purge, //
};

use self::{
    clients::Clients,
    idle::Idle,
    lock::{
        ByOwner,
        LastId,
        Lock,
        Locks,
        Marks, //
    },
    resource::Resource,
    survey::{
        Cursor,
        Position, //
    },
};
use crate::{
    engine::{
        Holdings,
        LockId,
        Owner,
        State, //
    },
    storage::{
        directory::Directory,
        list::List,
        slab::Slab, //
    },
    terms::{
        Flags,
        Mode,
        Value, //
    },
};
use kernel::prelude::*;

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
    cursors: Option<KBox<Slab<Cursor>>>,
    now: u32,
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
            cursors: None,
            now: 0,
        }
    }

    /// Tells the time, in whatever measure the caller likes: it is what [`LockInfo::since`] is
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

    // The state of a lock.

    #[inline(always)]
    fn find(&self, id: LockId) -> Result<u32> {
        let lock = self.ids.slot(id).ok_or(ENOENT)?;
        match self.locks.get(lock) {
            Some(entry) if entry.id == id => Ok(lock),
            _ => Err(ENOENT),
        }
    }

    /// The name of a lock's resource. `ENOENT`.
    pub(crate) fn name_of(&self, id: LockId) -> Result<&[u8]> {
        let lock = &self.locks[self.find(id)?];
        Ok(self.resources[lock.resource].name.bytes())
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
        if self.has_cursors() {
            self.clear_the_way(lock, to);
        }
        let entry = &mut self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        resource.count_out(entry);
        let from = core::mem::replace(&mut entry.state, to);
        entry.marks.put(Marks::REQUEST_CHANGED, false);
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
        self.step_aside(Position::Resource(resource));
        self.resources.erase(before);
    }

    /// After a lock has ended on a resource that has been contended: others may be granted.
    fn grant_after_end(&mut self, resource: u32) {
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

    /// Ends a lock. If it was on a queue, others may have what it held, and a resource that is not
    /// needed any more becomes one of the idle.
    #[inline(always)]
    fn end(&mut self, lock: u32) {
        self.step_aside(Position::Lock(lock));
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
            self.grant_after_end(ties.resource);
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
}

#[cfg(test)]
#[path = "tests/host/src/inspect.rs"]
pub(crate) mod inspect;
