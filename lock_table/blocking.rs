// SPDX-License-Identifier: GPL-2.0

//! Telling: completions, and who is told to be in whose way.
//!
//! "The rule of PR and CW" stands for: these two modes block each other, but neither is stronger,
//! so comparisons of strength do not apply between them.

use super::{
    resource::{
        ByQueue,
        Last,
        State, //
    },
    Ask,
    Completion,
    LockTable,
    Owner, //
};
use crate::{
    list::List,
    terms::{
        transfer,
        Flags,
        Mode,
        Status,
        Transfer, //
    },
};

/// What is asked of the holders of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// The mode that they are told of.
    pub(super) mode: Mode,
    /// What counts as told from then on.
    pub(super) level: Mode,
    /// By the rule of PR and CW: put to each who was not told of EX.
    pub(super) crossing: bool,
}

impl Demand {
    /// Whether it is put to a holder who was told of `told` before.
    pub(super) fn concerns(self, told: Mode) -> bool {
        if self.crossing {
            told < Mode::Ex
        } else {
            told < self.level
        }
    }
}

/// On whose behalf holders are told that they are in the way.
#[derive(Clone, Copy)]
pub(super) enum Blocked {
    /// Of one request, just refused.
    Request(Mode),
    /// Of all who wait, after a change: the strongest mode that is waited for, and whether CW is.
    Queues { strongest: Mode, cw: bool },
}

impl Blocked {
    pub(super) fn demand(self, held: Mode) -> Option<Demand> {
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

impl<O: Owner> LockTable<O> {
    pub(super) fn complete(&mut self, lock: u32, status: Status) {
        self.disturb(lock);
        let entry = &mut self.locks[lock];
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
        };
        self.clients[entry.client]
            .owner
            .complete(entry.ticket, completion);
    }

    /// Tells the owner that its lock is in the way of `mode`, unless that is no news.
    pub(super) fn notify(&mut self, lock: u32, mode: Mode) {
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
            .block(entry.ticket, entry.id, mode);
    }

    /// Tells the holders that they are in the way; `except` is the requester itself.
    pub(super) fn block(&mut self, resource: u32, blocked: Blocked, except: Option<u32>) {
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

    pub(super) fn is_in_audience(
        &self,
        resource: u32,
        lock: u32,
        held: Mode,
        demand: Demand,
    ) -> bool {
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
    pub(super) fn settle_demands(
        &mut self,
        resource: u32,
        demands: &[Option<Demand>; Mode::COUNT],
    ) {
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
    pub(super) fn put(&mut self, lock: u32, demand: Demand) {
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
    pub(super) fn refuse(&mut self, resource: u32, lock: Option<u32>, ask: &Ask) {
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
}
