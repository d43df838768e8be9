// SPDX-License-Identifier: GPL-2.0

//! Those who have locks in a table, and who of them is to be woken.

use super::{
    resource::{
        ByOwner,
        Locks,
        State, //
    },
    Owner, //
};
use crate::{
    list::{
        Links,
        List, //
    },
    slab::{
        Slab,
        NONE, //
    },
};
use core::ops::{
    AddAssign,
    Deref,
    DerefMut, //
};
use kernel::prelude::*;

/// Somebody who has locks in this table.
pub(super) struct Client<O> {
    pub(super) owner: O,
    pub(super) owned: List<ByOwner>,
    pub(super) holdings: Holdings,
    /// To be woken; and who is, too, and was told something before.
    is_stirred: bool,
    stirred_before: u32,
}

impl<O> Client<O> {
    /// Makes room for a lock that is about to be made as number `index`.
    #[inline(always)]
    pub(super) fn expect(&mut self, locks: &mut Locks, index: u32) -> Links {
        self.holdings.all += 1;
        self.owned.expect_back(locks, index)
    }
}

/// How many locks somebody has, by what they are doing.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) all: u32,
    pub(crate) converting: u32,
    pub(crate) waiting: u32,
}

impl Holdings {
    pub(crate) fn granted(&self) -> u32 {
        self.all - self.converting - self.waiting
    }

    /// The count of those in this state, if that is waiting at all.
    #[inline(always)]
    fn who_wait(&mut self, state: State) -> Option<&mut u32> {
        match state {
            State::Converting => Some(&mut self.converting),
            State::Waiting => Some(&mut self.waiting),
            State::Granted | State::Loose => None,
        }
    }

    /// Counts a lock that goes from one state to another.
    #[inline(always)]
    pub(super) fn shift(&mut self, from: State, to: State) {
        if let Some(fellows) = self.who_wait(from) {
            *fellows -= 1;
        }
        if let Some(fellows) = self.who_wait(to) {
            *fellows += 1;
        }
    }
}

impl AddAssign for Holdings {
    fn add_assign(&mut self, more: Self) {
        self.all += more.all;
        self.converting += more.converting;
        self.waiting += more.waiting;
    }
}

/// All clients of a table.
pub(super) struct Clients<O> {
    all: Slab<Client<O>>,
    /// The last who was told something that he may be waiting for, and has not been woken; the
    /// others hang on him. However much an operation tells them, each is woken once: that costs as
    /// much as there are who wait.
    stirred: u32,
}

impl<O> Clients<O> {
    pub(super) const fn new() -> Self {
        Clients {
            all: Slab::new(),
            stirred: NONE,
        }
    }

    pub(super) fn add(&mut self, owner: O) -> Result<u32> {
        let client = Client {
            owner,
            owned: List::new(),
            holdings: Holdings::default(),
            is_stirred: false,
            stirred_before: NONE,
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

    /// Tells the owner of a lock something, by `tell`, which returns whether somebody may be waiting
    /// for that. An orphan has no owner.
    #[inline(always)]
    pub(super) fn tell(&mut self, client: u32, tell: impl FnOnce(&O) -> bool) {
        let Some(told) = self.all.get_mut(client) else {
            return;
        };
        if tell(&told.owner) && !told.is_stirred {
            told.is_stirred = true;
            told.stirred_before = core::mem::replace(&mut self.stirred, client);
        }
    }
}

impl<O: Owner> Clients<O> {
    /// Wakes those who may be waiting for what they were told.
    #[inline(always)]
    pub(super) fn wake(&mut self) {
        while self.stirred != NONE {
            self.wake_last();
        }
    }

    #[inline(never)]
    fn wake_last(&mut self) {
        let client = &mut self.all[self.stirred];
        client.is_stirred = false;
        self.stirred = client.stirred_before;
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
