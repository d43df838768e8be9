// SPDX-License-Identifier: GPL-2.0

//! The engine of a lockspace whose locks are all of this machine: shards, each a [`LockTable`] under a
//! mutex of its own. A resource is in the shard that its name hashes to, and a lock id says in which
//! shard its lock is, so an operation takes one shard's lock.

use crate::{
    callbacks::Queue,
    engine::{
        CutOff,
        LockId, //
    },
    kernel_edge::{
        on_request,
        reschedule,
        Hasher, //
    },
    lock_table::{
        IdSpace,
        LockTable, //
    },
    storage::slab::at_once, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    },
};

/// At most this many shards, whatever the number of processors.
pub(super) const MAX_SHARD_BITS: u32 = 6;

/// How many shards a lockspace has, as a power of two: two for each processor.
pub(crate) fn shard_bits() -> u32 {
    let wanted = kernel::cpu::nr_cpu_ids().saturating_mul(2);
    wanted.next_power_of_two().ilog2().min(MAX_SHARD_BITS)
}

pub(super) type Table = LockTable<Arc<Queue>>;

#[pin_data]
pub(super) struct Shard {
    #[pin]
    pub(super) table: Mutex<Table>,
}

/// How many locks are freed in one go, with the shard locked.
pub(super) const BATCH: u32 = 64;

/// The shards of a lockspace, and who belongs in which.
pub(super) struct Local {
    /// Its own, so that programs cannot choose names that meet in one bucket.
    hasher: Hasher,
    shard_bits: u32,
    /// Each is made for the first lock that belongs there.
    shards: KVec<SetOnce<Pin<KBox<Shard>>>>,
}

impl Local {
    pub(super) fn new() -> Result<Self> {
        let shard_bits = shard_bits();
        let mut shards = KVec::with_capacity(1 << shard_bits, on_request())?;
        for _ in 0..1 << shard_bits {
            shards.push(SetOnce::new(), on_request())?;
        }
        Ok(Local {
            hasher: Hasher::new(),
            shard_bits,
            shards,
        })
    }

    /// How many shards there may be.
    pub(super) fn count(&self) -> u32 {
        self.shards.len() as u32
    }

    /// The shards that have been made.
    fn made_shards(&self) -> impl Iterator<Item = &Shard> {
        let shards = self.shards.iter();
        shards.filter_map(|shard| Some(&**shard.as_ref()?))
    }

    pub(super) fn has_locks(&self) -> bool {
        let mut shards = self.made_shards();
        shards.any(|shard| !shard.table.lock().is_empty())
    }

    /// Ends all that waits, and lets go of the records' side of all other locks; no lock may be held.
    pub(super) fn cut_off(&self) -> CutOff {
        let mut cut_off = CutOff::default();
        for shard in self.made_shards() {
            let mut next = 0;
            loop {
                let (more, go_on) = shard.table.lock().cut_off(&mut next, BATCH);
                cut_off += more;
                if !go_on {
                    break;
                }
                reschedule();
            }
        }
        cut_off
    }

    /// Frees all locks; no lock may be held.
    pub(super) fn clear(&self) {
        for shard in self.made_shards() {
            // Nobody will look for an id there.
            let empty = LockTable::new(IdSpace::new(0, self.shard_bits));
            let mut table = core::mem::replace(&mut *shard.table.lock(), empty);
            while table.dismantle() {
                reschedule();
            }
        }
    }

    /// Makes a shard, unless somebody else has; it is for the caller that nobody does so meanwhile.
    #[cold]
    pub(super) fn make_shard(&self, number: u32) -> Result<&Shard> {
        let place = self.shards.get(number as usize).ok_or(EINVAL)?;
        if place.as_ref().is_none() {
            let table = LockTable::new(IdSpace::new(number, self.shard_bits));
            let shard = pin_init!(Shard {
                table <- new_mutex!(table, "dlm_device::Shard"),
            });
            place.populate(KBox::pin_init(shard, at_once())?);
        }
        Ok(place.as_ref().ok_or(ENOMEM)?)
    }

    #[inline(always)]
    pub(super) fn shard(&self, number: u32) -> Option<&Shard> {
        Some(&**self.shards.get(number as usize)?.as_ref()?)
    }

    /// In which shard a name belongs, and its hash there.
    #[inline(always)]
    pub(super) fn place(&self, name: &[u8]) -> (u32, u32) {
        let hash = self.hasher.hash(name);
        let shard = hash & (1u32.wrapping_shl(self.shard_bits) - 1);
        (shard, hash.wrapping_shr(self.shard_bits))
    }

    pub(super) fn shard_of_id(&self, id: LockId) -> u32 {
        IdSpace::shard_of(id, self.shard_bits)
    }
}
