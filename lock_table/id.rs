// SPDX-License-Identifier: GPL-2.0

//! Lock ids: which lock they name, and how stale ones are known.

use super::LockId;

/// How slots become lock ids: `[form | generation | slot | shard]` in 31 bits.
///
/// The generation is the round in which the slab gave out the slot, so a stale id is refused until
/// as many rounds have passed as the generation counts. The first 2^17 slots of a shard, the ones
/// in use unless the shard is huge, have a short slot number and so a long generation (11 bits
/// with 4 shards); slots above have two bits of it. The fewer there are, the more slots are kept
/// free, so that rounds last longer: see [`Self::rest`]. Slot numbers start at 1, so no id is 0.
#[derive(Clone, Copy)]
pub(crate) struct IdSpace {
    shard: u16,
    shard_bits: u8,
    /// What [`Self::rest`] is as long as all ids have the long generation.
    short_rest: u8,
}

impl IdSpace {
    /// A stale id is refused until so many other locks have been made in its shard, unless memory
    /// is short.
    pub(crate) const LIFETIME: u32 = 1024;

    const SHORT_BITS: u32 = 17;
    const SHORT_SLOTS: u32 = 1 << Self::SHORT_BITS;

    /// Set for slots from `SHORT_SLOTS` on. All bits of an id but this one are below it.
    const FORM: LockId = 1 << 30;

    /// Where the generation of those begins.
    const LONG_BITS: u32 = 28;

    /// Ids are below this: a program may be given one with a further bit set, and must be able to
    /// tell that, in an `int`, from an error number.
    const END: LockId = (1 << 31) - 4096;

    /// The ids of shard number `shard` of `1 << shard_bits`; at most 64 shards.
    pub(crate) const fn new(shard: u32, shard_bits: u32) -> Self {
        IdSpace {
            shard: shard as u16,
            shard_bits: shard_bits as u8,
            short_rest: Self::rest_for(Self::FORM.ilog2() - Self::SHORT_BITS - shard_bits) as u8,
        }
    }

    /// How many slots have to be free while all that were ever used are below `end`, if an id is to
    /// be stale for its lifetime. With that, every other round of a slot gives out so many at least.
    #[inline(always)]
    pub(super) const fn rest(self, end: u32) -> u32 {
        if end < Self::SHORT_SLOTS {
            self.short_rest as u32
        } else {
            Self::rest_for(Self::FORM.ilog2() - Self::LONG_BITS)
        }
    }

    /// The same for a generation of so many bits.
    const fn rest_for(generation_bits: u32) -> u32 {
        match (2 * Self::LIFETIME).wrapping_shr(generation_bits) {
            0 => 1,
            rest => rest,
        }
    }

    /// The shard that an id belongs to.
    pub(crate) const fn shard_of(id: LockId, shard_bits: u32) -> u32 {
        id & (1u32.wrapping_shl(shard_bits) - 1)
    }

    const fn bits(self) -> u32 {
        self.shard_bits as u32
    }

    /// Slots below this have an id.
    pub(super) const fn limit(self) -> u32 {
        let long = Self::END & ((1 << Self::LONG_BITS) - 1);
        Self::SHORT_SLOTS + long.wrapping_shr(self.bits()) - 1
    }

    #[inline(always)]
    pub(super) const fn encode(self, slot: u32, generation: u32) -> LockId {
        let number = slot.wrapping_add(1);
        if number >= Self::SHORT_SLOTS {
            return self.encode_long(number - Self::SHORT_SLOTS, generation);
        }
        let generation = generation.wrapping_shl(Self::SHORT_BITS);
        let place = (generation | number).wrapping_shl(self.bits());
        (place & (Self::FORM - 1)) | self.shard as u32
    }

    #[cold]
    const fn encode_long(self, number: u32, generation: u32) -> LockId {
        let generation = (generation << Self::LONG_BITS) & (Self::FORM - 1);
        let place = number.wrapping_shl(self.bits()) | self.shard as u32;
        Self::FORM | generation | place
    }

    /// The slot that an id of this shard names, whether or not it is stale.
    #[inline(always)]
    pub(super) const fn slot(self, id: LockId) -> Option<u32> {
        let number = if id & Self::FORM == 0 {
            id.wrapping_shr(self.bits()) & (Self::SHORT_SLOTS - 1)
        } else {
            let place = id & ((1 << Self::LONG_BITS) - 1);
            Self::SHORT_SLOTS + place.wrapping_shr(self.bits())
        };
        number.checked_sub(1)
    }
}
