// SPDX-License-Identifier: GPL-2.0

//! Lock ids: which lock they name, and how stale ones are known.

use super::LockId;

/// How slots become lock ids: `[form | generation | slot | shard]` in 31 bits.
///
/// The generation tells apart the locks that have one slot after the other: a stale id is refused
/// until the slot has had as many others as there are generations. A slot that is new, or whose
/// memory went back in between, begins with the generation that counts the locks of the shard, so
/// its lock is told apart from those made lately.
///
/// Ids of the first slots, the ones in use unless the lockspace is huge, have a short place (slot
/// and shard) and 11 bits of generation; those above have two bits of it. Slot numbers start at 1, so
/// no id is 0.
#[derive(Clone, Copy)]
pub(crate) struct IdSpace {
    shard: u16,
    shard_bits: u8,
}

impl IdSpace {
    /// Bits of a short place, below its generation.
    const SHORT_BITS: u32 = 19;

    /// Bits of a long one.
    const LONG_BITS: u32 = 28;

    /// Set in an id with a long place. All its other bits are below this.
    const FORM: LockId = 1 << 30;

    /// Ids are below this: a program may be given one with a further bit set, and must be able to
    /// tell that, in an `int`, from an error number.
    const END: LockId = (1 << 31) - 4096;

    /// How many generations there are of a lock with a short place.
    #[cfg(test)]
    pub(crate) const GENERATIONS: u32 = Self::FORM >> Self::SHORT_BITS;

    /// The ids of shard number `shard` of `1 << shard_bits`; at most 64 shards.
    pub(crate) const fn new(shard: u32, shard_bits: u32) -> Self {
        IdSpace {
            shard: shard as u16,
            shard_bits: shard_bits as u8,
        }
    }

    /// The shard that an id belongs to.
    pub(crate) const fn shard_of(id: LockId, shard_bits: u32) -> u32 {
        id & (1u32.wrapping_shl(shard_bits) - 1)
    }

    const fn bits(self) -> u32 {
        self.shard_bits as u32
    }

    /// Slot numbers below this have a short place.
    const fn short_numbers(self) -> u32 {
        (1u32 << Self::SHORT_BITS).wrapping_shr(self.bits())
    }

    /// Slots below this have an id.
    pub(super) const fn limit(self) -> u32 {
        let long = Self::END & ((1 << Self::LONG_BITS) - 1);
        self.short_numbers() + long.wrapping_shr(self.bits()) - 1
    }

    /// The id of a new lock, whose slot had `last` before, or 0; `made`: how many locks have been
    /// made.
    #[inline(always)]
    pub(super) const fn issue(self, slot: u32, last: LockId, made: u32) -> LockId {
        if last != 0 {
            return Self::following(last);
        }
        self.encode(slot, made)
    }

    /// The id of the same slot in the next generation.
    #[inline(always)]
    const fn following(last: LockId) -> LockId {
        if last & Self::FORM != 0 {
            return Self::following_long(last);
        }
        // What is carried out of the highest generation is lost.
        last.wrapping_add(1 << Self::SHORT_BITS) & (Self::FORM - 1)
    }

    #[cold]
    const fn following_long(last: LockId) -> LockId {
        Self::FORM | (last.wrapping_add(1 << Self::LONG_BITS) & (Self::FORM - 1))
    }

    const fn encode(self, slot: u32, generation: u32) -> LockId {
        let number = slot.wrapping_add(1);
        let (form, number, bits) = if number < self.short_numbers() {
            (0, number, Self::SHORT_BITS)
        } else {
            (Self::FORM, number - self.short_numbers(), Self::LONG_BITS)
        };
        let place = number.wrapping_shl(self.bits()) | self.shard as u32;
        form | (generation.wrapping_shl(bits) & (Self::FORM - 1)) | place
    }

    /// The slot that an id of this shard names, whether or not it is stale.
    #[inline(always)]
    pub(super) const fn slot(self, id: LockId) -> Option<u32> {
        let number = if id & Self::FORM == 0 {
            (id & ((1 << Self::SHORT_BITS) - 1)).wrapping_shr(self.bits())
        } else {
            let place = id & ((1 << Self::LONG_BITS) - 1);
            self.short_numbers() + place.wrapping_shr(self.bits())
        };
        number.checked_sub(1)
    }
}
