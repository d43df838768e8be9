// SPDX-License-Identifier: GPL-2.0

//! Lock ids: which lock they name, and how stale ones are known.

use crate::engine::LockId;

/// How slots become lock ids: `[form | generation | slot | shard]` in 31 bits.
///
/// The generation tells apart the locks that have one slot after the other: a stale id is refused
/// until there were as many as there are generations. A slot that is new, or whose memory went back
/// in between, begins with any.
///
/// The fewer bits are needed for the place, which is slot and shard, the more are left for the
/// generation. Slot numbers start at 1, so no id is 0.
#[derive(Clone, Copy)]
pub(crate) struct IdSpace {
    shard: u16,
    shard_bits: u8,
}

/// A form that ids have.
struct Form {
    /// The bits that say so.
    tag: LockId,
    /// How many bits of generation and place are below them.
    bits: u32,
    /// How many of these are of the place.
    place_bits: u32,
}

impl Form {
    /// For the slots that are in use unless the lockspace is large; 2,048 generations.
    const USUAL: Form = Form {
        tag: 0,
        bits: 30,
        place_bits: 19,
    };

    /// For those above; 64 generations.
    const LARGE: Form = Form {
        tag: 0b10 << 29,
        bits: 29,
        place_bits: 23,
    };

    /// For all others; 2 generations.
    const HUGE: Form = Form {
        tag: 0b11 << 29,
        bits: 29,
        place_bits: 28,
    };

    const fn of(id: LockId) -> Form {
        if id < Self::LARGE.tag {
            Self::USUAL
        } else if id < Self::HUGE.tag {
            Self::LARGE
        } else {
            Self::HUGE
        }
    }

    /// Slot numbers of this form are below this, counted from the first.
    const fn numbers(&self, shard_bits: u32) -> u32 {
        (1u32 << self.place_bits).wrapping_shr(shard_bits)
    }

    #[inline(always)]
    const fn place(&self, id: LockId) -> u32 {
        id & ((1 << self.place_bits) - 1)
    }

    const fn id(&self, generation: u32, place: u32) -> LockId {
        let generation = generation.wrapping_shl(self.place_bits);
        self.tag | (generation & ((1 << self.bits) - 1)) | place
    }

    /// The id of the same place in the next generation. What is carried out of the highest one is
    /// lost.
    #[inline(always)]
    const fn following(&self, last: LockId) -> LockId {
        self.tag | (last.wrapping_add(1 << self.place_bits) & ((1 << self.bits) - 1))
    }
}

impl IdSpace {
    /// Ids are below this: a program may be given one with a further bit set, and must be able to
    /// tell that, in an `int`, from an error number.
    const END: LockId = (1 << 31) - 4096;

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

    /// Slot numbers from this on are large, and those from the other one on are huge.
    const fn borders(self) -> (u32, u32) {
        let large = Form::USUAL.numbers(self.bits());
        (large, large + Form::LARGE.numbers(self.bits()))
    }

    /// Slots below this have an id.
    #[inline(always)]
    pub(super) const fn limit(self) -> u32 {
        let (_, huge) = self.borders();
        huge + Form::HUGE.place(Self::END).wrapping_shr(self.bits()) - 1
    }

    /// The id of a new lock, whose slot had `last` before, or 0; `made`: how many locks have been
    /// made.
    #[inline(always)]
    pub(super) const fn issue(self, slot: u32, last: LockId, made: u32) -> LockId {
        if last == 0 {
            self.first(slot, made)
        } else if last < Form::LARGE.tag {
            Form::USUAL.following(last)
        } else {
            Form::of(last).following(last)
        }
    }

    /// The first id of a slot.
    const fn first(self, slot: u32, generation: u32) -> LockId {
        let number = slot.wrapping_add(1);
        let (large, huge) = self.borders();
        let (form, number) = if number < large {
            (Form::USUAL, number)
        } else if number < huge {
            (Form::LARGE, number - large)
        } else {
            (Form::HUGE, number - huge)
        };
        form.id(
            generation,
            number.wrapping_shl(self.bits()) | self.shard as u32,
        )
    }

    /// The slot that an id of this shard names, whether or not it is stale.
    #[inline(always)]
    pub(super) const fn slot(self, id: LockId) -> Option<u32> {
        let number = if id < Form::LARGE.tag {
            Form::USUAL.place(id).wrapping_shr(self.bits())
        } else {
            self.number_above(id)
        };
        number.checked_sub(1)
    }

    /// The slot number of an id that has not the usual form.
    #[cold]
    const fn number_above(self, id: LockId) -> u32 {
        let (large, huge) = self.borders();
        let before = if id < Form::HUGE.tag { large } else { huge };
        before + Form::of(id).place(id).wrapping_shr(self.bits())
    }
}
