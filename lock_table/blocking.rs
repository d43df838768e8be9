// SPDX-License-Identifier: GPL-2.0

//! Telling: completions, and who is told to be in whose way.
//!
//! "The rule of PR and CW" stands for: these two modes block each other, but neither is stronger,
//! so comparisons of strength do not apply between them.

use super::{
    clients::Clients,
    demand::{
        Blocked,
        Demand,
        Demands, //
    },
    lock::{
        ByQueue,
        Last,
        Lock,
        Marks, //
    },
    resource::{
        clear_told_crossing,
        name_of,
        Resource, //
    },
    LockTable, //
};
use crate::{
    engine::{
        Ask,
        Completion,
        Owner,
        State, //
    },
    storage::list::List,
    terms::{
        transfer,
        Flags,
        Mode,
        Status,
        Transfer, //
    },
};

/// Tells the owner that its lock is in the way of `mode`, unless that is no news.
pub(super) fn notify<'n, O: Owner>(
    clients: &mut Clients<O>,
    lock: &mut Lock,
    mode: Mode,
    name: impl FnOnce() -> &'n [u8],
) {
    let harmless = lock
        .completed
        .is_some_and(|completed| completed.compatible(mode));
    let repeated = match lock.last {
        Last::Blocking(before) => before == mode || (before > mode && before > Mode::Pr),
        _ => false,
    };
    if !lock.marks.has(Marks::LISTENS) || harmless || repeated {
        return;
    }
    clients.tell(lock.client, |owner| {
        lock.last = Last::Blocking(mode);
        owner.block(lock.ticket, lock.id, mode, name)
    });
}

impl Resource {
    /// Whether a demand has to be put to this holder of `held`.
    fn concerns(&self, demand: Demand, lock: &Lock, held: Mode) -> bool {
        match &self.contention {
            Some(contention)
                if demand.crossing && contention.last_crossing[held as usize] == Some(demand) =>
            {
                !lock.marks.has(Marks::TOLD_CROSSING)
            }
            _ => demand.concerns(lock.told),
        }
    }
}

impl<O: Owner> LockTable<O> {
    /// Ends an operation.
    pub(super) fn complete(&mut self, lock: u32, status: Status) {
        self.report(lock, status);
        self.clients.end_round();
    }

    /// The same, perhaps of one of many: it is for the caller to end the round.
    pub(super) fn report(&mut self, lock: u32, status: Status) {
        let entry = &mut self.locks[lock];
        clear_told_crossing(&mut self.resources, entry);
        self.clients.tell(entry.client, |owner| {
            let returned = status == Status::Granted
                && entry
                    .granted
                    .is_some_and(|mode| transfer(entry.completed, mode) != Transfer::Write);
            entry.completed = entry.granted;
            entry.last = Last::Completion;
            let completion = Completion {
                id: entry.id,
                status,
                flags: entry.status,
                value: if returned {
                    self.values.get(entry.value)
                } else {
                    None
                },
                last: status.ends_life(entry.granted),
                silent: false,
            };
            let name = name_of(&self.resources, entry.resource);
            owner.complete(entry.ticket, completion, name)
        });
    }

    /// Tells the holders that they are in the way.
    pub(super) fn block(&mut self, resource: u32, blocked: Blocked) {
        self.tell_blocking(resource, blocked);
        self.clients.end_round();
    }

    /// The same, but it is for the caller to end the round.
    fn tell_blocking(&mut self, resource: u32, blocked: Blocked) {
        let entry = &self.resources[resource];
        let Some(contention) = &entry.contention else {
            return;
        };
        let mut demands = [None; Mode::COUNT];
        let mut to_tell = 0;
        let mut crossing = false;
        for held in entry.held.present().modes() {
            if let Some(demand) = blocked.demand(held) {
                let number = contention.to_be_told(held, demand);
                demands[held as usize] = (number > 0).then_some(demand);
                to_tell += number;
                crossing |= demand.crossing;
            }
        }
        match blocked {
            // A conversion in place leaves a lock where it was, which may be far from the head.
            Blocked::Queues {
                latest: Some(latest),
                ..
            } if to_tell == 1 && self.tell(resource, latest, &demands) => {}
            // Who asks is not told, but is counted among those who are to be.
            Blocked::Request { by: Some(by), .. } => {
                to_tell -= u32::from(self.concerned(resource, by, &demands).is_some());
                self.tell_holders(resource, to_tell, &demands, Some(by));
            }
            _ => self.tell_holders(resource, to_tell, &demands, None),
        }
        if crossing {
            self.remember_crossing(resource, &demands);
        }
        if let Blocked::Request { by: Some(lock), .. } = blocked {
            clear_told_crossing(&mut self.resources, &mut self.locks[lock]);
        }
    }

    /// Puts the demands to all whom they concern, but `except`. Who was granted since the last
    /// time is near the head, so the walk is short, however many hold.
    fn tell_holders(
        &mut self,
        resource: u32,
        mut to_tell: u32,
        demands: &Demands,
        except: Option<u32>,
    ) {
        let mut at = self.first(resource, State::Granted);
        while let (Some(lock), 1..) = (at, to_tell) {
            at = List::<ByQueue>::next(&self.locks, lock);
            if except != Some(lock) && self.tell(resource, lock, demands) {
                to_tell -= 1;
            }
        }
    }

    /// Puts the demand on its mode to one holder. Returns whether it had to be told.
    fn tell(&mut self, resource: u32, lock: u32, demands: &Demands) -> bool {
        let demand = self.concerned(resource, lock, demands);
        if let Some(demand) = demand {
            self.put(lock, demand);
        }
        demand.is_some()
    }

    /// The demand that is to be put to this lock, if it is to be told.
    #[inline(always)]
    fn concerned(&self, resource: u32, lock: u32, demands: &Demands) -> Option<Demand> {
        let entry = &self.locks[lock];
        let held = entry.granted.filter(|_| entry.state == State::Granted)?;
        let demand = demands[held as usize]?;
        let concerned = self.resources[resource].concerns(demand, entry, held);
        concerned.then_some(demand)
    }

    /// Remembers which demands by the rule of PR and CW have been put to all holders of a mode.
    fn remember_crossing(&mut self, resource: u32, demands: &Demands) {
        let Some(contention) = &mut self.resources[resource].contention else {
            return;
        };
        for (last_crossing, demand) in contention.last_crossing.iter_mut().zip(demands) {
            if demand.is_some_and(|demand| demand.crossing) {
                *last_crossing = *demand;
            }
        }
    }

    /// Puts a demand to one holder.
    #[inline(always)]
    pub(super) fn put(&mut self, lock: u32, demand: Demand) {
        let entry = &mut self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        if demand.concerns(entry.told) {
            resource.set_told(entry, demand.level);
            let name = || resource.name.bytes();
            notify(&mut self.clients, entry, demand.mode, name);
        }
        if demand.crossing {
            resource.set_told_crossing(entry, true);
        }
    }

    /// A refused NOQUEUE request may want the holders to be told all the same (NOQUEUEBAST), and
    /// then those who are converting too.
    pub(super) fn refuse(&mut self, resource: u32, lock: Option<u32>, ask: Ask) {
        if !ask.flags.any(Flags::NOQUEUEBAST) {
            return;
        }
        let blocked = Blocked::Request {
            mode: ask.mode,
            by: lock,
        };
        self.tell_blocking(resource, blocked);
        self.tell_converting(resource, blocked, ask.mode);
        self.clients.end_round();
    }

    /// Tells those who are converting that they are in the way of a request for `mode`.
    fn tell_converting(&mut self, resource: u32, blocked: Blocked, mode: Mode) {
        let in_the_way = self.resources[resource]
            .contention
            .as_ref()
            .is_some_and(|queues| {
                queues
                    .converting_held
                    .present()
                    .intersects(mode.conflicts())
            });
        if !in_the_way {
            return;
        }
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
}
