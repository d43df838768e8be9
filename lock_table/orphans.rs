// SPDX-License-Identifier: GPL-2.0

//! Locks that outlive their client: how they become orphans, and are adopted or purged.

use super::{
    decision::{
        Candidate,
        Verdict, //
    },
    lock::{
        ByOwner,
        ByQueue,
        Lock,
        Marks, //
    },
    resource::{
        clear_told_crossing,
        Resource, //
    },
    LockTable, //
};
use crate::{
    engine::{
        Ask,
        Fate,
        LockId,
        Occasion,
        Owner,
        State, //
    },
    storage::{
        directory::Directory,
        list::List,
        slab::NONE, //
    },
    terms::{
        Flags,
        Mode,
        Status,
        StatusFlags, //
    },
};
use core::iter::successors;
use kernel::prelude::*;

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
            Occasion::UserSideOnly
        };
        let has_buffer = self.locks[lock].value != NONE;
        let owner = &self.clients[client].owner;
        let ticket = owner.open(change, occasion, has_buffer)?;
        self.orphans.remove(&mut self.locks, lock);
        let entry = &mut self.locks[lock];
        clear_told_crossing(&mut self.resources, entry);
        if converting {
            self.resources[resource].request_changed(entry);
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
    pub(super) fn find_orphan(&self, resource: u32, mode: Option<Mode>) -> Result<u32> {
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
    pub(super) fn holders(&self, resource: u32) -> impl Iterator<Item = u32> + '_ {
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
            let nobody_waits = invalidate_value(&mut self.resources, entry);
            self.end(lock);
            if !nobody_waits {
                break;
            }
        }
        true
    }

    pub(super) fn is_older(&self, orphan: u32, other: u32) -> bool {
        self.orphan_age(&self.locks[orphan]) > self.orphan_age(&self.locks[other])
    }

    /// How many have become orphans since this one did, with itself.
    pub(super) fn orphan_age(&self, orphan: &Lock) -> u32 {
        self.next_orphan.wrapping_sub(orphan.ticket)
    }

    pub(super) fn is_orphan(&self, lock: u32, number: u32) -> bool {
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
                let nobody_waits = invalidate_value(&mut self.resources, entry);
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
    pub(super) fn orphan(&mut self, lock: u32) -> bool {
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
}

/// Somebody goes and leaves this lock behind, to be freed as by an unlock with IVVALBLK: what a PW
/// or EX holder was writing then is not to be trusted. Returns whether that lets nobody else in.
#[inline(always)]
fn invalidate_value(resources: &mut Directory<Resource>, lock: &Lock) -> bool {
    let resource = &mut resources[lock.resource];
    resource.value_invalid |= lock.granted >= Some(Mode::Pw);
    resource.nobody_waits()
}
