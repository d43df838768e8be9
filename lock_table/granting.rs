// SPDX-License-Identifier: GPL-2.0

//! The rules of granting: who may have what he asks for, now or after others have let go.

use super::{
    blocking::notify,
    decision::{
        Candidate,
        Search,
        Turn,
        Verdict,
        Wanted, //
    },
    demand::Blocked,
    lock::{
        ByQueue,
        Lock, //
    },
    resource::{
        name_of,
        Resource, //
    },
    LockTable, //
};
use crate::{
    engine::{
        Owner,
        State, //
    },
    storage::{
        list::List,
        slab::Slab, //
    },
    terms::{
        Flags,
        Mode,
        ModeCounts,
        ModeSet,
        Status,
        StatusFlags,
        Value, //
    },
};

/// What one walk over the converting queue came to.
#[derive(Default)]
struct Pass {
    granted: bool,
    demoted: bool,
    deadlocks: bool,
    /// What is still waited for.
    wanted: Wanted,
    /// CW was waited for at the time of an earlier walk of the same search. That makes the holders
    /// hear of it once, as in fs/dlm, but nobody need be waiting for it any more.
    cw_before: bool,
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

impl Resource {
    /// Whether a lock can be granted as it asks. `deadlock`: its conversion, if it has to wait,
    /// is part of a conversion deadlock.
    #[inline(always)]
    pub(super) fn decide(&self, candidate: Candidate, turn: Turn, deadlock: bool) -> Verdict {
        if self.grantable(candidate, turn) {
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
            Some(other) if self.grantable(other, turn) => Verdict::Grant {
                mode: other.requested,
                alternative: true,
            },
            _ => Verdict::Wait,
        }
    }

    /// The order of granting; the first rule that matches decides.
    pub(super) fn grantable(&self, candidate: Candidate, turn: Turn) -> bool {
        let flags = candidate.flags;
        // Only for a new request is it certain that it asks for NL: whoever adopts a lock that
        // converts can give it any flags.
        if flags.any(Flags::EXPEDITE) && candidate.granted.is_none() {
            return true;
        }
        if self
            .held_by_others(candidate.granted)
            .intersects(candidate.requested.conflicts())
        {
            return false;
        }
        let Some(contention) = &self.contention else {
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

    /// Whether one can be granted that waits behind others.
    fn lets_pass(&self) -> bool {
        let held = self.held.present();
        let mut modes = match &self.contention {
            Some(contention) => contention.unordered.present().modes(),
            None => return false,
        };
        modes.any(|mode| !held.intersects(mode.conflicts()))
    }

    /// Whether a conversion that is asked for now would have to wait for somebody who, being on
    /// the converting queue before it, waits for it.
    #[inline(always)]
    pub(super) fn deadlocks_now(&self, candidate: Candidate) -> bool {
        let (Some(granted), Some(contention)) = (candidate.granted, &self.contention) else {
            return false;
        };
        !candidate.flags.any(Flags::NOQUEUE)
            && granted
                .conflicts()
                .intersects(contention.converting_for.present())
    }
}

impl<O: Owner> LockTable<O> {
    /// After anything that may let others in: grants what can be granted, and tells the holders
    /// of those who still wait.
    ///
    /// `latest`: the lock that has changed, if it was granted.
    pub(super) fn grant_pending(&mut self, resource: u32, latest: Option<u32>) {
        if self.resources[resource].contention.is_none() {
            return;
        }
        let mut wanted = self.grant_conversions(resource);
        self.grant_waiting(resource);
        if let Some(contention) = &self.resources[resource].contention {
            wanted = wanted.and(Wanted::new(&contention.waiting_for));
        }
        if let Some(strongest) = wanted.strongest {
            let blocked = Blocked::Queues {
                strongest,
                cw: wanted.cw,
                latest,
            };
            self.block(resource, blocked);
        } else {
            self.clients.end_round();
        }
    }

    /// Grants conversions, and returns what is still waited for. The round goes on.
    ///
    /// As long as every lock simply joined the end of the queue, none of them is in the way of one
    /// ahead of it (it would not have been let in), and only the head can be granted: so it is
    /// enough to look there. Locks that break this are counted, and cost a walk, unless all that has
    /// happened since the last is that some have gone.
    pub(super) fn grant_conversions(&mut self, resource: u32) -> Wanted {
        let contention = match &self.resources[resource].contention {
            Some(contention) if !contention.converting.is_empty() => contention,
            _ => return Wanted::default(),
        };
        let pass = match contention.search {
            Search::Done { wanted, .. } => return wanted,
            _ if contention.irregular == 0 => self.grant_first_conversions(resource),
            Search::HeadDue if self.grantable_head(resource, State::Converting).is_none() => {
                self.grant_first_conversions(resource)
            }
            Search::HeadDue | Search::Due => self.grant_irregular_conversions(resource),
        };
        if let Some(contention) = &mut self.resources[resource].contention {
            contention.search = Search::Done {
                wanted: pass.wanted,
                deadlocks: pass.deadlocks,
            };
        }
        Wanted {
            cw: pass.wanted.cw | pass.cw_before,
            ..pass.wanted
        }
    }

    /// Grants conversions in the order of their queue, where none of them is in a deadlock.
    fn grant_first_conversions(&mut self, resource: u32) -> Pass {
        self.grant_heads(resource, State::Converting);
        let contention = self.resources[resource].contention.as_ref();
        Pass {
            wanted: contention.map_or_else(Wanted::default, |c| Wanted::new(&c.converting_for)),
            ..Pass::default()
        }
    }

    /// The head of a queue, and how it can be granted, if it can.
    #[inline(always)]
    fn grantable_head(&self, resource: u32, state: State) -> Option<(u32, Mode, bool)> {
        let entry = &self.resources[resource];
        let head = entry.first(state)?;
        match entry.decide(Candidate::of(&self.locks[head]), Turn::First, false) {
            Verdict::Grant { mode, alternative } => Some((head, mode, alternative)),
            _ => None,
        }
    }

    /// Grants the head of a queue, as long as there is one that can be.
    fn grant_heads(&mut self, resource: u32, state: State) {
        while let Some((head, mode, alternative)) = self.grantable_head(resource, state) {
            self.grant(head, mode, alternative);
            self.report(head, Status::Granted);
        }
    }

    /// The same by walking the queue, again after each walk that granted something, and once more
    /// after the first that demoted a lock.
    fn grant_irregular_conversions(&mut self, resource: u32) -> Pass {
        let mut cw_before = false;
        let mut may_repeat_for_demotion = true;
        loop {
            let pass = self.walk_conversions(resource);
            let repeats_for_demotion = pass.demoted && may_repeat_for_demotion;
            if !pass.granted && !repeats_for_demotion {
                return Pass { cw_before, ..pass };
            }
            may_repeat_for_demotion &= pass.granted;
            cw_before |= pass.wanted.cw;
        }
    }

    fn walk_conversions(&mut self, resource: u32) -> Pass {
        let mut pass = Pass::default();
        let mut rivals = self.rivals(resource);
        let mut at = self.first(resource, State::Converting);
        while let Some(lock) = at {
            at = List::<ByQueue>::next(&self.locks, lock);
            let candidate = Candidate::of(&self.locks[lock]);
            // Only an adopter can give a lock that converts already the flag NOQUEUE.
            let deadlock = rivals.deadlocks(candidate) && !candidate.flags.any(Flags::NOQUEUE);
            let turn = if self.first(resource, State::Converting) == Some(lock) {
                Turn::First
            } else {
                Turn::Behind
            };
            match self.resources[resource].decide(candidate, turn, deadlock) {
                Verdict::Grant { mode, alternative } => {
                    self.grant(lock, mode, alternative);
                    self.report(lock, Status::Granted);
                    pass.granted = true;
                    continue;
                }
                Verdict::Demote => {
                    self.demote(lock);
                    pass.demoted = true;
                }
                Verdict::Deadlock => self.warn_itself(lock),
                Verdict::Wait => pass.wanted = pass.wanted.and(Wanted::one(candidate.requested)),
            }
            pass.deadlocks |= deadlock;
            rivals.ahead.insert(candidate.requested);
        }
        pass
    }

    fn rivals(&self, resource: u32) -> Rivals {
        let mut rivals = Rivals::default();
        let mut at = self.first(resource, State::Converting);
        while let Some(lock) = at {
            let candidate = Candidate::of(&self.locks[lock]);
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
            let name = name_of(&self.resources, entry.resource);
            notify(&mut self.clients, entry, mode, name);
        }
    }

    /// Grants requests: the first as long as they can be, and then those who may come before
    /// others (NOORDER), which takes a walk if there is one that can.
    fn grant_waiting(&mut self, resource: u32) {
        if self.first(resource, State::Waiting).is_none() {
            return;
        }
        self.grant_heads(resource, State::Waiting);
        let mut passable = self.resources[resource].lets_pass();
        let mut at = self.first(resource, State::Waiting);
        while let (true, Some(lock)) = (passable, at) {
            let candidate = Candidate::of(&self.locks[lock]);
            let verdict = self.resources[resource].decide(candidate, Turn::Behind, false);
            at = List::<ByQueue>::next(&self.locks, lock);
            if let Verdict::Grant { mode, alternative } = verdict {
                self.grant(lock, mode, alternative);
                self.report(lock, Status::Granted);
                passable = self.resources[resource].lets_pass();
            }
        }
    }

    pub(super) fn grant(&mut self, lock: u32, mode: Mode, alternative: bool) {
        self.place(lock, mode, |entry, resource, values| {
            if alternative {
                entry.status.set(StatusFlags::ALTMODE);
            }
            entry.move_value(resource, values, mode);
        });
    }

    /// Puts a lock where it belongs among the granted, with this mode from now on. Before the mode
    /// changes comes `exchange`: what the value block does.
    #[inline(always)]
    pub(super) fn place(
        &mut self,
        lock: u32,
        mode: Mode,
        exchange: impl FnOnce(&mut Lock, &mut Resource, &mut Slab<Value>),
    ) {
        let entry = &mut self.locks[lock];
        // A lock that keeps its mode keeps its place.
        if entry.state == State::Granted && entry.granted == Some(mode) {
            let resource = &mut self.resources[entry.resource];
            exchange(entry, resource, &mut self.values);
            return resource.set_told(entry, Mode::Nl);
        }
        self.shift(lock, State::Granted, |entry, resource, values| {
            exchange(entry, resource, values);
            entry.granted = Some(mode);
            entry.told = Mode::Nl;
        });
    }

    /// Lowers a lock's granted mode to NL where it stands.
    pub(super) fn demote(&mut self, lock: u32) {
        let entry = &mut self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        resource.count_out(entry);
        entry.granted = Some(Mode::Nl);
        entry.status.set(StatusFlags::DEMOTED);
        resource.count_in(entry);
    }
}
