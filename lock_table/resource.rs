// SPDX-License-Identifier: GPL-2.0

//! What the table is made of: locks, resources, and what a resource counts.

use super::{
    contention::Contention,
    decision::Search,
    lock::{
        ByQueue,
        IdleSlot,
        Lock,
        Locks,
        Marks, //
    },
};
use crate::{
    engine::State,
    storage::{
        directory::{
            Directory,
            Named,
            Place, //
        },
        list::{
            Links,
            List, //
        },
        slab::{
            at_once,
            NONE, //
        },
    },
    terms::{
        Mode,
        ModeCounts,
        ModeSet,
        NAME_MAX, //
    },
};
use kernel::prelude::*;

/// Up to this length a name is stored in place.
const SHORT_NAME: usize = 30;

pub(super) enum Name {
    Short(u8, [u8; SHORT_NAME]),
    Long(KVec<u8>),
}

impl Name {
    pub(super) fn new(name: &[u8]) -> Result<Name> {
        match name.len() {
            length @ ..=SHORT_NAME => Ok(Name::Short(length as u8, padded(name))),
            length @ ..=NAME_MAX => {
                let mut bytes = KVec::with_capacity(length, at_once())?;
                bytes.extend_from_slice(name, at_once())?;
                Ok(Name::Long(bytes))
            }
            _ => Err(EINVAL),
        }
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Name::Short(length, bytes) => &bytes[..usize::from(*length)],
            Name::Long(bytes) => bytes,
        }
    }
}

fn padded(name: &[u8]) -> [u8; SHORT_NAME] {
    let mut bytes = [0; SHORT_NAME];
    if let Some(start) = bytes.get_mut(..name.len()) {
        start.copy_from_slice(name);
    }
    bytes
}

pub(super) struct Resource {
    pub(super) name: Name,
    pub(super) place: Place,
    pub(super) granted: List<ByQueue>,
    /// The granted modes of the locks on the granted and on the converting queue.
    pub(super) held: ModeCounts,
    /// Room for the value block, in `LockTable::values`: set aside by who may write it.
    pub(super) value: u32,
    /// There is a value block: it has been written.
    pub(super) value_written: bool,
    /// It was invalidated and not written since.
    pub(super) value_invalid: bool,
    /// Without locks, it is kept for a while.
    pub(super) idle_slot: IdleSlot,
    pub(super) contention: Option<KBox<Contention>>,
}

impl Named for Resource {
    #[inline(always)]
    fn name(&self) -> &[u8] {
        self.name.bytes()
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn place_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

impl Resource {
    /// A resource without locks. `EINVAL` for a name that is too long, `ENOMEM`.
    pub(super) fn new(name: &[u8], hash: u32) -> Result<Self> {
        Ok(Resource {
            name: Name::new(name)?,
            place: Place::new(hash),
            granted: List::new(),
            held: ModeCounts::default(),
            value: NONE,
            value_written: false,
            value_invalid: false,
            idle_slot: IdleSlot::NONE,
            contention: None,
        })
    }

    /// Makes room for a lock that is about to be made as number `index`, granted in `mode`. NL is in
    /// nobody's way: behind the others it lengthens no search for those who are.
    #[inline(always)]
    pub(super) fn expect(&mut self, locks: &mut Locks, index: u32, mode: Mode) -> Links {
        if mode == Mode::Nl {
            self.granted.expect_back(locks, index)
        } else {
            self.granted.expect_front(locks, index)
        }
    }

    /// The last lock has gone, and with it the value block. Returns what room there was for one.
    #[inline(always)]
    pub(super) fn end(&mut self, idle_slot: IdleSlot) -> u32 {
        self.idle_slot = idle_slot;
        self.value_written = false;
        self.value_invalid = false;
        core::mem::replace(&mut self.value, NONE)
    }

    pub(super) fn is_unused(&self) -> bool {
        self.granted.is_empty() && self.contention.as_ref().is_none_or(|c| c.is_empty())
    }

    /// Makes it ready for those who have to wait. `ENOMEM`.
    #[cold]
    pub(super) fn contend(&mut self) -> Result {
        let contention = KBox::new(Contention::new(&self.held), at_once())?;
        self.contention = Some(contention);
        Ok(())
    }

    /// Whether nobody waits: what happens to its locks concerns no others.
    #[inline(always)]
    pub(super) fn nobody_waits(&self) -> bool {
        self.contention
            .as_ref()
            .is_none_or(|queues| queues.is_empty())
    }

    /// The modes held by all but a lock that holds `own` itself.
    pub(super) fn held_by_others(&self, own: Option<Mode>) -> ModeSet {
        let mut held = self.held.present();
        if let Some(own) = own {
            if self.held.of(own) == 1 {
                held.remove(own);
            }
        }
        held
    }

    /// Whether a lock stays where it is when it goes to the queue of this state.
    #[inline(always)]
    pub(super) fn keeps_place(&self, lock: u32, to: State) -> bool {
        to == State::Granted && self.granted.is_only(lock)
    }

    /// The first lock on the queue of this state.
    #[inline(always)]
    pub(super) fn first(&self, state: State) -> Option<u32> {
        let contention = self.contention.as_ref();
        match state {
            State::Loose => None,
            State::Granted => self.granted.first(),
            State::Converting => contention.and_then(|queues| queues.converting.first()),
            State::Waiting => contention.and_then(|queues| queues.waiting.first()),
        }
    }

    #[inline(always)]
    pub(super) fn queue_mut(&mut self, state: State) -> Option<&mut List<ByQueue>> {
        let contention = self.contention.as_mut();
        match state {
            State::Loose => None,
            State::Granted => Some(&mut self.granted),
            State::Converting => contention.map(|queues| &mut queues.converting),
            State::Waiting => contention.map(|queues| &mut queues.waiting),
        }
    }

    /// Where it is counted what a granted lock was told, and the mode under which.
    #[inline(always)]
    pub(super) fn contended_holder(&mut self, lock: &Lock) -> Option<(&mut Contention, Mode)> {
        match (&mut self.contention, lock.state, lock.granted) {
            (Some(contention), State::Granted, Some(held)) => Some((contention, held)),
            _ => None,
        }
    }

    /// Counts a lock on the queue of its state.
    #[inline(always)]
    pub(super) fn count_in(&mut self, lock: &mut Lock) {
        if let Some(held) = lock.granted {
            self.held.add(held);
        }
        if let Some((contention, held)) = self.contended_holder(lock) {
            contention.add_holder(lock, held);
        }
        if let Some(contention) = &mut self.contention {
            contention.count_in(lock);
        }
    }

    /// The opposite of [`Self::count_in`].
    #[inline(always)]
    pub(super) fn count_out(&mut self, lock: &mut Lock) {
        if lock.state == State::Loose {
            return;
        }
        if let Some(held) = lock.granted {
            self.held.sub(held);
        }
        if self.contention.is_some() {
            self.count_out_of_contention(lock);
        }
    }

    fn count_out_of_contention(&mut self, lock: &mut Lock) {
        if let Some((contention, held)) = self.contended_holder(lock) {
            contention.remove_holder(lock, held);
        }
        // With two others left, a mode is held by somebody else whoever asks.
        let still_held = lock
            .granted
            .is_none_or(|held| held == Mode::Nl || self.held.of(held) > 1);
        if let Some(contention) = &mut self.contention {
            contention.count_out(lock);
        }
        if !still_held {
            self.search_again();
        }
    }

    /// The strongest mode that a lock was told of is this one now.
    pub(super) fn set_told(&mut self, lock: &mut Lock, told: Mode) {
        match self.contended_holder(lock) {
            Some((contention, held)) => contention.set_told(lock, held, told),
            None => {
                lock.told = told;
                self.search_again();
            }
        }
    }

    /// Remembers whether telling a lock again would do nothing.
    pub(super) fn set_told_crossing(&mut self, lock: &mut Lock, told: bool) {
        if let Some((contention, held)) = self.contended_holder(lock) {
            contention.set_told_crossing(lock, held, told);
        }
    }

    /// What a converting lock asks for is about to become other than when it was queued; whether its
    /// place is in order does not show any more.
    pub(super) fn request_changed(&mut self, lock: &mut Lock) {
        if let Some(contention) = &mut self.contention {
            contention.irregular += u32::from(!lock.marks.has(Marks::IRREGULAR));
            contention.search = Search::Due;
            lock.marks.put(Marks::IRREGULAR, true);
            lock.marks.put(Marks::REQUEST_CHANGED, true);
        }
    }

    /// Something has changed because of which a converting lock may be granted, or tell itself that
    /// it is in the way.
    pub(super) fn search_again(&mut self) {
        if let Some(contention) = &mut self.contention {
            contention.search = Search::Due;
        }
    }
}

/// Finds the name of a resource, once that is asked for.
#[inline(always)]
pub(super) fn name_of<'n>(
    resources: &'n Directory<Resource>,
    resource: u32,
) -> impl FnOnce() -> &'n [u8] {
    move || resources[resource].name.bytes()
}

/// Something changed: it may mean something to the lock again to be told by the rule of PR and CW.
#[inline(always)]
pub(super) fn clear_told_crossing(resources: &mut Directory<Resource>, lock: &mut Lock) {
    if lock.marks.has(Marks::TOLD_CROSSING) {
        resources[lock.resource].set_told_crossing(lock, false);
    }
}
