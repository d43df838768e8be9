// SPDX-License-Identifier: GPL-2.0

//! Lock ids: which lock they name, and how stale ones are known.

use super::LockId;

/// How slots become lock ids: `[form | generation | slot | shard]` in 31 bits.
///
/// The generation is the round in which the slab gave out the slot, so a stale id is refused until
/// as many rounds have passed as the generation counts. The first 2^17 slots of a shard, the ones
/// in use unless the shard is huge, have a short slot number and so a long generation (11 bits
/// with 4 shards, and a round is 8 locks at least); slots above have two bits of it. Slot numbers
/// start at 1, so no id is 0.
#[derive(Clone, Copy)]
pub(crate) struct IdSpace {
    pub(super) shard: u32,
    pub(super) shard_bits: u32,
}

impl IdSpace {
    const SHORT_BITS: u32 = 17;
    const SHORT_SLOTS: u32 = 1 << Self::SHORT_BITS;
    const LONG_GENERATION_BITS: u32 = 2;

    /// The ids of shard number `shard` of `1 << shard_bits`; at most 64 shards.
    pub(crate) const fn new(shard: u32, shard_bits: u32) -> Self {
        IdSpace { shard, shard_bits }
    }

    /// The shard that an id belongs to.
    pub(crate) const fn shard_of(id: LockId, shard_bits: u32) -> u32 {
        id & ((1 << shard_bits) - 1)
    }

    /// Bits above the shard's, without the form bit.
    const fn width(self) -> u32 {
        30 - self.shard_bits
    }

    const fn long_bits(self) -> u32 {
        self.width() - Self::LONG_GENERATION_BITS
    }

    /// Slots below this have an id.
    pub(super) const fn limit(self) -> u32 {
        Self::SHORT_SLOTS + (1 << self.long_bits()) - 1
    }

    pub(super) fn encode(self, slot: u32, generation: u32) -> LockId {
        let number = slot + 1;
        let (form, bits, number) = if number < Self::SHORT_SLOTS {
            (0, Self::SHORT_BITS, number)
        } else {
            (1, self.long_bits(), number - Self::SHORT_SLOTS)
        };
        let generation = generation & ((1 << (self.width() - bits)) - 1);
        let above = (form << self.width()) | (generation << bits) | number;
        (above << self.shard_bits) | self.shard
    }

    /// The slot that an id of this shard names, whether or not it is stale.
    pub(super) fn slot(self, id: LockId) -> Option<u32> {
        let above = id >> self.shard_bits;
        let number = match above >> self.width() {
            0 => above & (Self::SHORT_SLOTS - 1),
            1 => Self::SHORT_SLOTS + (above & ((1 << self.long_bits()) - 1)),
            _ => return None,
        };
        number.checked_sub(1)
    }
}
