// SPDX-License-Identifier: GPL-2.0

//! Looking over a whole table, one item at a time, while it changes in between.
//!
//! A surveyor is known to the table, which moves it on when what it stands at goes away. So a
//! survey never holds anything up for longer than an item takes, needs no memory however large the
//! table, and sees each lock that stays where it is exactly once.

use super::{
    lock::{
        ByOwner,
        ByQueue,
        Last, //
    },
    LockTable, //
};
use crate::{
    engine::{
        LockSight,
        Owner,
        ResourceSight,
        Sight,
        State, //
    },
    storage::{
        list::List,
        slab::{
            at_once,
            Slab,
            NONE, //
        },
    },
};
use core::iter::successors;
use kernel::prelude::*;

/// Where a surveyor stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// Before the first resource whose number is not below this one.
    Before(u32),
    /// At a resource; its locks come next.
    Resource(u32),
    /// At a lock that is on one of its resource's queues.
    Lock(u32),
}

/// Somebody who looks a table over.
pub(super) struct Surveyor {
    stand: Stand,
    /// What is there has been seen, and is passed when the surveyor moves on.
    seen: bool,
}

impl Surveyor {
    fn at(stand: Stand) -> Self {
        Surveyor { stand, seen: false }
    }
}

impl<O: Owner> LockTable<O> {
    /// Lets somebody look the table over, from its beginning.
    pub(crate) fn add_surveyor(&mut self) -> Result<u32> {
        let surveyors = match &mut self.surveyors {
            Some(surveyors) => surveyors,
            None => self.surveyors.insert(KBox::new(Slab::new(), at_once())?),
        };
        surveyors.insert(Surveyor::at(Stand::Before(0)), NONE)
    }

    pub(crate) fn remove_surveyor(&mut self, surveyor: u32) {
        if let Some(surveyors) = &mut self.surveyors {
            surveyors.erase(surveyor);
            if surveyors.is_empty() {
                self.surveyors = None;
            }
        }
    }

    fn surveyor_mut(&mut self, surveyor: u32) -> Option<&mut Surveyor> {
        self.surveyors.as_mut()?.get_mut(surveyor)
    }

    /// What the surveyor stands at; `None` at the end of the table.
    pub(crate) fn survey(&mut self, surveyor: u32) -> Option<Sight<'_>> {
        let mut stand = self.surveyor_mut(surveyor)?.stand;
        if let Stand::Before(number) = stand {
            let mut next = self.resources.next_used(number)?;
            while self.resources[next].seat.is_taken() {
                next = self.resources.next_used(next + 1)?;
            }
            stand = Stand::Resource(next);
        }
        *self.surveyor_mut(surveyor)? = Surveyor { stand, seen: true };
        match stand {
            Stand::Before(_) => None,
            Stand::Resource(resource) => Some(Sight::Resource(self.see_resource(resource))),
            Stand::Lock(lock) => Some(Sight::Lock(self.see_lock(lock))),
        }
    }

    /// Moves the surveyor on to the next item, unless what has been seen has gone since, and the
    /// surveyor is at the next item already.
    pub(crate) fn move_on(&mut self, surveyor: u32) {
        if let Some(Surveyor { stand, seen: true }) = self.surveyor_mut(surveyor) {
            let stand = *stand;
            self.lead_on(surveyor, stand);
        }
    }

    /// Moves a surveyor to what comes after this.
    fn lead_on(&mut self, surveyor: u32, stand: Stand) {
        let next = self.after(stand);
        if let Some(surveyor) = self.surveyor_mut(surveyor) {
            *surveyor = Surveyor::at(next);
        }
    }

    /// Whether somebody looks on.
    #[inline(always)]
    pub(super) fn is_surveyed(&self) -> bool {
        self.surveyors.is_some()
    }

    /// Moves on whoever stands at what is about to leave its place.
    #[inline(always)]
    pub(super) fn step_aside(&mut self, leaving: Stand) {
        if self.is_surveyed() {
            self.pass_by(leaving);
        }
    }

    /// The same for a lock that goes to one of its resource's queues, if it leaves its place by that.
    #[cold]
    pub(super) fn clear_the_way(&mut self, lock: u32, to: State) {
        let resource = &self.resources[self.locks[lock].resource];
        if !resource.keeps_place(lock, to) {
            self.pass_by(Stand::Lock(lock));
        }
    }

    #[cold]
    fn pass_by(&mut self, leaving: Stand) {
        let mut at = 0;
        while let Some(surveyor) = self.next_surveyor(at) {
            if self
                .surveyor_mut(surveyor)
                .is_some_and(|it| it.stand == leaving)
            {
                self.lead_on(surveyor, leaving);
            }
            at = surveyor + 1;
        }
    }

    fn next_surveyor(&self, at: u32) -> Option<u32> {
        self.surveyors.as_ref()?.next_used(at)
    }

    fn after(&self, stand: Stand) -> Stand {
        match stand {
            Stand::Before(_) => stand,
            Stand::Resource(resource) => self.queue_from(resource, State::Granted),
            Stand::Lock(lock) => match List::<ByQueue>::next(&self.locks, lock) {
                Some(next) => Stand::Lock(next),
                None => self.after_queue(self.locks[lock].resource, self.locks[lock].state),
            },
        }
    }

    /// The first lock on this queue of a resource or those after it.
    fn queue_from(&self, resource: u32, state: State) -> Stand {
        match self.first(resource, state) {
            Some(lock) => Stand::Lock(lock),
            None => self.after_queue(resource, state),
        }
    }

    fn after_queue(&self, resource: u32, state: State) -> Stand {
        match state {
            State::Granted => self.queue_from(resource, State::Converting),
            State::Converting => self.queue_from(resource, State::Waiting),
            State::Waiting | State::Loose => Stand::Before(resource + 1),
        }
    }

    /// The locks of a client, the oldest first.
    pub(crate) fn locks_of(&self, client: u32) -> impl Iterator<Item = LockSight<'_>> {
        let client = self.clients.get(client);
        let first = client.and_then(|client| client.owned.first());
        let next = |at: &u32| List::<ByOwner>::next(&self.locks, *at);
        successors(first, next).map(|lock| self.see_lock(lock))
    }

    fn see_resource(&self, number: u32) -> ResourceSight<'_> {
        let resource = &self.resources[number];
        ResourceSight {
            number,
            name: resource.name.bytes(),
            value: self
                .values
                .get(resource.value)
                .filter(|_| resource.value_written),
            value_invalid: resource.value_invalid,
        }
    }

    fn see_lock(&self, lock: u32) -> LockSight<'_> {
        let lock = &self.locks[lock];
        let client = self.clients.get(lock.client);
        LockSight {
            id: lock.id,
            owner: client.map(|client| client.owner.number()),
            name: self.resources[lock.resource].name.bytes(),
            pid: lock.pid,
            transaction: client.map_or(0, |client| client.owner.transaction(lock.ticket)),
            flags: lock.flags,
            state: lock.state,
            granted: lock.granted,
            requested: (lock.state != State::Granted).then_some(lock.requested),
            blocked: match lock.last {
                Last::Blocking(mode) => Some(mode),
                Last::Nothing | Last::Completion => None,
            },
            since: lock.since,
        }
    }
}
