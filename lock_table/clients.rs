// SPDX-License-Identifier: GPL-2.0

//! Those who have locks in a table, and when they are woken.

use super::lock::{
    ByOwner,
    Locks, //
};
use crate::{
    engine::{
        Holdings,
        Owner,
        State, //
    },
    storage::{
        list::{
            Links,
            List, //
        },
        slab::{
            Slab,
            NONE, //
        },
    },
};
use core::ops::{
    Deref,
    DerefMut, //
};
use kernel::prelude::*;

/// Somebody who has locks in this table.
pub(super) struct Client<O> {
    pub(super) owner: O,
    pub(super) owned: List<ByOwner>,
    pub(super) holdings: Holdings,
    /// The round in which he was last woken at once. Numbers come again: who then seems to have been
    /// is woken when the round ends.
    woken: u32,
    /// He is to be woken when the round ends; and who is, too.
    is_due: bool,
    due_before: u32,
}

impl<O> Client<O> {
    /// Makes room for a lock that is about to be made as number `index`.
    #[inline(always)]
    pub(super) fn expect(&mut self, locks: &mut Locks, index: u32) -> Links {
        self.holdings.all += 1;
        self.owned.expect_back(locks, index)
    }
}

/// All clients of a table.
pub(super) struct Clients<O> {
    all: Slab<Client<O>>,
    /// An operation tells all that it has to in one round, or a few. However much that is, a client is
    /// woken twice in each, at most: at once, and when it ends. To wake costs as much as there are
    /// who wait.
    round: u32,
    /// The last who was told something after he was woken; the others hang on him.
    due: u32,
}

impl<O> Clients<O> {
    pub(super) const fn new() -> Self {
        Clients {
            all: Slab::new(),
            round: 0,
            due: NONE,
        }
    }

    pub(super) fn add(&mut self, owner: O) -> Result<u32> {
        let client = Client {
            owner,
            owned: List::new(),
            holdings: Holdings::default(),
            woken: 0,
            is_due: false,
            due_before: NONE,
        };
        self.all.insert(client, NONE)
    }

    /// Counts a lock in this state as no longer its client's, which is returned; an orphan has none.
    #[inline(always)]
    pub(super) fn disown(&mut self, client: u32, state: State) -> Option<&mut Client<O>> {
        let client = self.all.get_mut(client)?;
        client.holdings.all -= 1;
        client.holdings.shift(state, State::Loose);
        Some(client)
    }
}

impl<O: Owner> Clients<O> {
    /// Tells the owner of a lock something, by `tell`, which returns whether somebody may be waiting
    /// for that. An orphan has no owner.
    #[inline(always)]
    pub(super) fn tell(&mut self, client: u32, tell: impl FnOnce(&O) -> bool) {
        let Some(told) = self.all.get_mut(client) else {
            return;
        };
        if !tell(&told.owner) {
            return;
        }
        if told.woken != self.round {
            told.woken = self.round;
            told.owner.wake();
        } else if !told.is_due {
            told.is_due = true;
            told.due_before = core::mem::replace(&mut self.due, client);
        }
    }

    /// Wakes those who were told something since they were woken.
    #[inline(always)]
    pub(super) fn end_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        while self.due != NONE {
            self.wake_due();
        }
    }

    #[cold]
    fn wake_due(&mut self) {
        let client = &mut self.all[self.due];
        client.is_due = false;
        self.due = client.due_before;
        client.owner.wake();
    }
}

impl<O> Deref for Clients<O> {
    type Target = Slab<Client<O>>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<O> DerefMut for Clients<O> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.all
    }
}
