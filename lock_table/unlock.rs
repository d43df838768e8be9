// SPDX-License-Identifier: GPL-2.0

//! Giving a lock up, and taking back what it waits for.

use super::{
    resource::name_of,
    LockTable, //
};
use crate::{
    engine::{
        check_unlock,
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
        StatusFlags,
        Value, //
    },
};
use kernel::prelude::*;

impl<O: Owner> LockTable<O> {
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
        let (owner, ticket, resource) = (entry.client, entry.ticket, entry.resource);
        let silent = entry.reply_to(by, reply) == Reply::Return;
        let flags = entry.flags.with(flags);
        let writes =
            entry.granted >= Some(Mode::Pw) && flags.any(Flags::VALBLK.with(Flags::IVVALBLK));
        if writes && entry.value != NONE && flags.write_value() {
            self.prepare_value(resource)?;
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
            let name = name_of(&self.resources, resource);
            client.owner.conclude(ticket, change, completion, name)?;
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
            return self.change(lock, change, Occasion::UserSideOnly, false);
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
    pub(super) fn withdraw(&mut self, lock: u32, status: Status) {
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

    /// Replaces the user's side of a lock, for an unlock or a cancel.
    pub(super) fn change(
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
}
