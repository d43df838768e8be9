// SPDX-License-Identifier: GPL-2.0

//! Conversions: a lock asks for another mode, and keeps the one it has until it gets that.

use super::{
    decision::{
        Candidate,
        Turn,
        Verdict, //
    },
    demand::Blocked,
    lock::{
        Last,
        Marks, //
    },
    resource::{
        clear_told_crossing,
        name_of, //
    },
    values::fill_buffer,
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
use kernel::prelude::*;

impl<O: Owner> LockTable<O> {
    /// Asks for another mode of a lock. `value` goes to the lock's value buffer, if it has one.
    /// `by`: the client that asks, if it has ever had a lock in this table; it matters only if the
    /// reply is to be returned.
    ///
    /// `ENOENT`: no such lock; `EBUSY`: it is not granted, or converting already, but the user's
    /// side is replaced all the same, as fs/dlm does; `EINVAL`, `ENOMEM`; and if the reply is to
    /// be returned, `EAGAIN` and `EDEADLK`.
    #[inline(always)]
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
            self.redirect(lock, ask, value, change, Occasion::UserSideOnly)?;
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

    /// Whether there is such a lock: `ENOENT` if not.
    pub(crate) fn check(&self, id: LockId) -> Result {
        self.find(id).map(drop)
    }

    /// Refuses a conversion by an error, if it is to be refused and the requester wants that.
    pub(super) fn return_refusal(&mut self, lock: u32, verdict: Verdict, ask: Ask) -> Result {
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
    pub(super) fn convert_at_once(
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
            let name = name_of(&self.resources, resource);
            entry.ticket = client
                .owner
                .conclude(entry.ticket, change, completion, name)?;
            entry.completed = Some(mode);
            entry.last = Last::Completion;
        }
        entry.flags = ask.flags;
        entry.status = status;
        entry.requested = ask.mode;
        entry.pid = ask.pid;
        entry.marks.put(Marks::LISTENS, ask.listens);
        clear_told_crossing(&mut self.resources, entry);
        self.place(lock, mode, |entry, resource, values| {
            if ask.flags.any(Flags::IVVALBLK) {
                entry.move_value(resource, values, mode);
            }
        });
        self.grant_pending(resource, Some(lock));
        Ok(Outcome::new(silent))
    }

    pub(super) fn carry_out_conversion(&mut self, lock: u32, verdict: Verdict, ask: Ask) {
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

    /// The same for a conversion, with all that a conversion replaces: it may give the lock a
    /// value buffer, and fills it.
    pub(super) fn redirect(
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
        clear_told_crossing(&mut self.resources, entry);
        Ok(())
    }
}
