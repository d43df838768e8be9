// SPDX-License-Identifier: GPL-2.0

//! Resources without locks, which are kept for a while: locks often come and go on the same names.

use super::{
    lock::IdleSlot,
    resource::Resource, //
};
use crate::{
    storage::slab::{
        Slab,
        NONE, //
    },
    terms::Value, //
};

/// How many are kept, at most.
const KEPT: usize = 32;

/// The resources that were the last to lose their last lock, in the order in which they did.
pub(super) struct Idle {
    resources: [u32; KEPT],
    /// Who has been here for longest, and goes when the next one comes.
    oldest: u8,
}

impl Idle {
    pub(super) const fn new() -> Self {
        Idle {
            resources: [NONE; KEPT],
            oldest: 0,
        }
    }

    /// Takes a resource in, without its value block. Returns who has lost its slot: another
    /// resource or `NONE`.
    #[inline(always)]
    pub(super) fn enter(
        &mut self,
        resource: u32,
        entry: &mut Resource,
        values: &mut Slab<Value>,
    ) -> u32 {
        let idle_slot = IdleSlot(self.oldest);
        self.oldest = self.oldest.wrapping_add(1) % KEPT as u8;
        values.give_back(entry.end(idle_slot));
        self.replace(idle_slot, resource)
    }

    /// A resource has a lock again.
    #[inline(always)]
    pub(super) fn leave(&mut self, idle_slot: IdleSlot) {
        self.replace(idle_slot, NONE);
    }

    #[inline(always)]
    fn replace(&mut self, idle_slot: IdleSlot, resource: u32) -> u32 {
        let place = self.resources.get_mut(usize::from(idle_slot.0));
        place.map_or(NONE, |place| core::mem::replace(place, resource))
    }

    /// Lets go of all of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u32> {
        let resources = core::mem::replace(self, Idle::new()).resources;
        resources.into_iter().filter(|resource| *resource != NONE)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.resources.iter().filter(|it| **it != NONE).count()
    }

    #[cfg(test)]
    pub(super) fn at(&self, idle_slot: IdleSlot) -> u32 {
        self.resources[usize::from(idle_slot.0)]
    }
}
