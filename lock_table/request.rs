// SPDX-License-Identifier: GPL-2.0

//! The first stage of a lock's life: a request for a new one is granted at once, queued or refused.

use super::{
    decision::{
        Candidate,
        Turn,
        Verdict, //
    },
    demand::Blocked,
    lock::{
        IdleSlot,
        Last,
        Lock,
        Reservation, //
    },
    resource::Resource,
    values::Exchange,
    LockTable, //
};
use crate::{
    engine::{
        Ask,
        Completion,
        LockId,
        Occasion,
        Outcome,
        Owner,
        State, //
    },
    storage::slab::NONE,
    terms::{
        Flags,
        Mode,
        Reply,
        Status,
        StatusFlags, //
    },
};
use kernel::prelude::*;

impl<O: Owner> LockTable<O> {
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
            Some((resource, found)) if found.idle_slot.is_assigned() => {
                self.admit(resource, client, ask, change, ask.mode, false)
            }
            Some((resource, _)) => self.request_on(resource, client, ask, change),
        }
    }

    /// The first lock on a resource, which is made for it: nobody is in its way.
    pub(super) fn request_first(
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

    pub(super) fn request_on(
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
        let reserved = self.reserve(ask)?;
        let owning = &mut self.clients[client];
        // Nobody can be in the way before he is granted.
        let occasion = Occasion::Operation { waits: false };
        let value = ask.flags.any(Flags::VALBLK);
        let opened = owning.owner.open(change, occasion, value);
        let ticket = opened.inspect_err(|_| self.values.give_back(reserved.value))?;
        let lock = reserved.vacancy.index;
        let owned = owning.expect(&mut self.locks, lock);
        let entry = Lock::new(&reserved, owned, resource, client, ticket, ask);
        self.locks.fill(reserved.vacancy, || entry);
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
        Ok((reserved.id, Outcome::Told))
    }

    /// A new lock that is granted at once.
    #[inline(always)]
    pub(super) fn admit(
        &mut self,
        place: u32,
        client: u32,
        ask: Ask,
        change: O::Change<'_>,
        mode: Mode,
        alternative: bool,
    ) -> Result<(LockId, Outcome)> {
        let reserved = self.reserve(ask)?;
        let resource = &mut self.resources[place];
        let mut status = StatusFlags::default();
        if alternative {
            status.set(StatusFlags::ALTMODE);
        }
        let silent = ask.reply == Reply::Return && !alternative && !ask.flags.any(Flags::VALBLK);
        let mut value = None;
        if reserved.value != NONE {
            let exchange = Exchange::new(reserved.value, ask.flags, None, mode);
            status.set(exchange.carry_out(resource, &mut self.values));
            value = self.values.get(reserved.value);
        }
        let completion = Completion {
            id: reserved.id,
            status: Status::Granted,
            flags: status,
            value,
            last: false,
            silent,
        };
        let owning = &mut self.clients[client];
        let name = || resource.name.bytes();
        let answered = owning.owner.answer(change, completion, name);
        let ticket = answered.inspect_err(|_| self.values.give_back(reserved.value))?;
        let queue = resource.expect(&mut self.locks, reserved.vacancy.index, mode);
        let owned = owning.expect(&mut self.locks, reserved.vacancy.index);
        let now = self.now;
        let lock = || Lock {
            queue,
            state: State::Granted,
            since: now,
            granted: Some(mode),
            completed: Some(mode),
            last: Last::Completion,
            status,
            ..Lock::new(&reserved, owned, place, client, ticket, ask)
        };
        resource.count_in(self.locks.fill(reserved.vacancy, lock));
        if resource.idle_slot.is_assigned() {
            self.idle.leave(resource.idle_slot);
            resource.idle_slot = IdleSlot::NONE;
        }
        Ok((reserved.id, Outcome::new(silent)))
    }

    /// The id that the next new lock will have. `ENOMEM`: there is no room for one.
    pub(crate) fn next_id(&mut self) -> Result<LockId> {
        let vacancy = self.locks.vacancy(|| self.ids.limit())?;
        let made = self.made.wrapping_add(1);
        Ok(self.ids.issue(vacancy.index, vacancy.note.0, made))
    }

    /// Tells that an operation has to wait, if that is wanted.
    pub(super) fn acknowledge(&self, lock: u32, ask: Ask) {
        let entry = &self.locks[lock];
        if ask.acknowledge {
            if let Some(client) = self.clients.get(entry.client) {
                client.owner.acknowledge(entry.ticket, entry.id);
            }
        }
    }

    /// Sets aside what a new lock needs: its slot, and a value buffer if it asks for one.
    #[inline(always)]
    pub(super) fn reserve(&mut self, ask: Ask) -> Result<Reservation> {
        let vacancy = self.locks.vacancy(|| self.ids.limit())?;
        self.made = self.made.wrapping_add(1);
        Ok(Reservation {
            vacancy,
            id: self.ids.issue(vacancy.index, vacancy.note.0, self.made),
            value: self.values.room(ask.flags.any(Flags::VALBLK))?,
        })
    }
}
