// SPDX-License-Identifier: GPL-2.0

//! Looking over a whole table, one item at a time, while it changes in between.
//!
//! A cursor is known to the table, which moves it on when what it stands at goes away. So a
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
        Item,
        LockInfo,
        Owner,
        ResourceInfo,
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

/// Where a cursor stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Before the first resource whose number is not below this one.
    Before(u32),
    /// At a resource; its locks come next.
    Resource(u32),
    /// At a lock that is on one of its resource's queues.
    Lock(u32),
}

/// Somebody who looks a table over.
pub(super) struct Cursor {
    position: Position,
    /// What is there has been seen, and is passed when the cursor moves on.
    seen: bool,
}

impl Cursor {
    fn at(position: Position) -> Self {
        Cursor {
            position,
            seen: false,
        }
    }
}

impl<O: Owner> LockTable<O> {
    /// Lets somebody look the table over, from its beginning.
    pub(crate) fn add_cursor(&mut self) -> Result<u32> {
        let cursors = match &mut self.cursors {
            Some(cursors) => cursors,
            None => self.cursors.insert(KBox::new(Slab::new(), at_once())?),
        };
        cursors.insert(Cursor::at(Position::Before(0)), NONE)
    }

    pub(crate) fn remove_cursor(&mut self, cursor: u32) {
        if let Some(cursors) = &mut self.cursors {
            cursors.erase(cursor);
            if cursors.is_empty() {
                self.cursors = None;
            }
        }
    }

    fn cursor_mut(&mut self, cursor: u32) -> Option<&mut Cursor> {
        self.cursors.as_mut()?.get_mut(cursor)
    }

    /// What the cursor stands at; `None` at the end of the table.
    pub(crate) fn survey(&mut self, cursor: u32) -> Option<Item<'_>> {
        let mut position = self.cursor_mut(cursor)?.position;
        if let Position::Before(number) = position {
            let mut next = self.resources.next_used(number)?;
            while self.resources[next].idle_slot.is_assigned() {
                next = self.resources.next_used(next + 1)?;
            }
            position = Position::Resource(next);
        }
        *self.cursor_mut(cursor)? = Cursor {
            position,
            seen: true,
        };
        match position {
            Position::Before(_) => None,
            Position::Resource(resource) => Some(Item::Resource(self.see_resource(resource))),
            Position::Lock(lock) => Some(Item::Lock(self.see_lock(lock))),
        }
    }

    /// Moves the cursor on to the next item, unless what has been seen has gone since, and the
    /// cursor is at the next item already.
    pub(crate) fn move_on(&mut self, cursor: u32) {
        if let Some(Cursor {
            position,
            seen: true,
        }) = self.cursor_mut(cursor)
        {
            let position = *position;
            self.lead_on(cursor, position);
        }
    }

    /// Moves a cursor to what comes after this.
    fn lead_on(&mut self, cursor: u32, position: Position) {
        let next = self.after(position);
        if let Some(cursor) = self.cursor_mut(cursor) {
            *cursor = Cursor::at(next);
        }
    }

    /// Whether somebody looks on.
    #[inline(always)]
    pub(super) fn has_cursors(&self) -> bool {
        self.cursors.is_some()
    }

    /// Moves on whoever stands at what is about to leave its place.
    #[inline(always)]
    pub(super) fn step_aside(&mut self, leaving: Position) {
        if self.has_cursors() {
            self.pass_by(leaving);
        }
    }

    /// The same for a lock that goes to one of its resource's queues, if it leaves its place by that.
    #[cold]
    pub(super) fn clear_the_way(&mut self, lock: u32, to: State) {
        let resource = &self.resources[self.locks[lock].resource];
        if !resource.keeps_place(lock, to) {
            self.pass_by(Position::Lock(lock));
        }
    }

    #[cold]
    fn pass_by(&mut self, leaving: Position) {
        let mut at = 0;
        while let Some(cursor) = self.next_cursor(at) {
            if self
                .cursor_mut(cursor)
                .is_some_and(|it| it.position == leaving)
            {
                self.lead_on(cursor, leaving);
            }
            at = cursor + 1;
        }
    }

    fn next_cursor(&self, at: u32) -> Option<u32> {
        self.cursors.as_ref()?.next_used(at)
    }

    fn after(&self, position: Position) -> Position {
        match position {
            Position::Before(_) => position,
            Position::Resource(resource) => self.queue_from(resource, State::Granted),
            Position::Lock(lock) => match List::<ByQueue>::next(&self.locks, lock) {
                Some(next) => Position::Lock(next),
                None => self.after_queue(self.locks[lock].resource, self.locks[lock].state),
            },
        }
    }

    /// The first lock on this queue of a resource or those after it.
    fn queue_from(&self, resource: u32, state: State) -> Position {
        match self.first(resource, state) {
            Some(lock) => Position::Lock(lock),
            None => self.after_queue(resource, state),
        }
    }

    fn after_queue(&self, resource: u32, state: State) -> Position {
        match state {
            State::Granted => self.queue_from(resource, State::Converting),
            State::Converting => self.queue_from(resource, State::Waiting),
            State::Waiting | State::Loose => Position::Before(resource + 1),
        }
    }

    /// The locks of a client, the oldest first.
    pub(crate) fn locks_of(&self, client: u32) -> impl Iterator<Item = LockInfo<'_>> {
        let client = self.clients.get(client);
        let first = client.and_then(|client| client.owned.first());
        let next = |at: &u32| List::<ByOwner>::next(&self.locks, *at);
        successors(first, next).map(|lock| self.see_lock(lock))
    }

    fn see_resource(&self, number: u32) -> ResourceInfo<'_> {
        let resource = &self.resources[number];
        ResourceInfo {
            number,
            name: resource.name.bytes(),
            value: self
                .values
                .get(resource.value)
                .filter(|_| resource.value_written),
            value_invalid: resource.value_invalid,
        }
    }

    fn see_lock(&self, lock: u32) -> LockInfo<'_> {
        let lock = &self.locks[lock];
        let client = self.clients.get(lock.client);
        LockInfo {
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
