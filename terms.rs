// SPDX-License-Identifier: GPL-2.0

//! The words of lock management: modes, flags, statuses, and the two matrices.
//!
//! Every other room uses these; nothing here depends on a kernel object, a user pointer or a
//! byte layout. The numbers are those of `include/uapi/linux/dlmconstants.h`, because programs
//! pass them in and read them back.

use core::mem::size_of;

/// Length of a value block, in bytes (`DLM_USER_LVB_LEN`).
pub(crate) const VALUE_LEN: usize = 32;

/// Longest resource name, in bytes (`DLM_RESNAME_MAXLEN`). Names are binary.
pub(crate) const NAME_MAX: usize = 64;

/// A copy of a resource's name, which outlives the resource.
pub(crate) struct NameCopy {
    length: usize,
    bytes: [u8; NAME_MAX],
}

impl NameCopy {
    pub(crate) fn new(name: &[u8]) -> Self {
        let mut copy = NameCopy {
            length: name.len(),
            bytes: [0; NAME_MAX],
        };
        for (to, from) in copy.bytes.iter_mut().zip(name) {
            *to = *from;
        }
        copy
    }

    pub(crate) fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The content of a value block.
pub(crate) type Value = [u8; VALUE_LEN];

/// The six lock modes of VMS, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Null: a placeholder that keeps the resource and its value block alive.
    Nl = 0,
    /// Concurrent read.
    Cr = 1,
    /// Concurrent write.
    Cw = 2,
    /// Protected read, the classic shared lock.
    Pr = 3,
    /// Protected write, the classic update lock.
    Pw = 4,
    /// Exclusive.
    Ex = 5,
}

/// What happens to a value block when a lock goes from one mode to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// The resource's value is returned to the lock.
    Read,
    /// The lock's value is written to the resource.
    Write,
    /// Nothing moves.
    Nothing,
}

impl Mode {
    /// How many modes there are.
    pub(crate) const COUNT: usize = 6;

    /// All modes, weakest first.
    pub(crate) const ALL: [Mode; Mode::COUNT] =
        [Mode::Nl, Mode::Cr, Mode::Cw, Mode::Pr, Mode::Pw, Mode::Ex];

    /// The mode of a number from a program; `None` above 5.
    pub(crate) fn new(number: u8) -> Option<Mode> {
        Some(match number {
            0 => Mode::Nl,
            1 => Mode::Cr,
            2 => Mode::Cw,
            3 => Mode::Pr,
            4 => Mode::Pw,
            5 => Mode::Ex,
            _ => return None,
        })
    }

    /// The modes that cannot be held beside this one. The relation is symmetric.
    ///
    /// Source: the compatibility matrix of VMS, as in `fs/dlm/lock.c`.
    #[inline(always)]
    pub(crate) const fn conflicts(self) -> ModeSet {
        const CONFLICTS: [ModeSet; Mode::COUNT] = [
            ModeSet(0b00_0000),
            ModeSet(0b10_0000),
            ModeSet(0b11_1000),
            ModeSet(0b11_0100),
            ModeSet(0b11_1100),
            ModeSet(0b11_1110),
        ];
        CONFLICTS[self as usize]
    }

    /// Whether both modes can be held at the same time.
    pub(crate) const fn compatible(self, other: Mode) -> bool {
        !self.conflicts().contains(other)
    }

    /// Whether the pair is PR and CW: neither is stronger than the other, so rules that think in
    /// rising modes treat it apart.
    pub(crate) fn crosses(self, other: Mode) -> bool {
        matches!((self, other), (Mode::Pr, Mode::Cw) | (Mode::Cw, Mode::Pr))
    }

    /// Whether a conversion between these modes may carry QUECVT: only those that gain rights.
    pub(crate) fn may_queue_conversion(self, to: Mode) -> bool {
        to > self || (self, to) == (Mode::Pr, Mode::Cw)
    }
}

/// Where the value block goes when a lock granted in `from` (`None`: not yet) is granted in `to`.
///
/// Source: `dlm_lvb_operations` in `fs/dlm/lock.c`, of which this is the rule.
pub(crate) fn transfer(from: Option<Mode>, to: Mode) -> Transfer {
    match from {
        None => Transfer::Read,
        Some(from) if from >= Mode::Pw && to <= from => Transfer::Write,
        Some(from) if to >= from => Transfer::Read,
        Some(_) => Transfer::Nothing,
    }
}

/// A set of modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModeSet(u8);

impl ModeSet {
    pub(crate) const fn contains(self, mode: Mode) -> bool {
        self.0 & (1 << mode as u8) != 0
    }

    pub(crate) fn insert(&mut self, mode: Mode) {
        self.0 |= 1 << mode as u8;
    }

    pub(crate) fn remove(&mut self, mode: Mode) {
        self.0 &= !(1 << mode as u8);
    }

    pub(crate) const fn intersects(self, other: ModeSet) -> bool {
        self.0 & other.0 != 0
    }

    /// The strongest mode of the set.
    pub(crate) fn highest(self) -> Option<Mode> {
        let zeros = self.0.leading_zeros() as u8;
        Mode::new((u8::BITS as u8 - 1).wrapping_sub(zeros))
    }

    /// The modes of the set, weakest first.
    pub(crate) fn modes(self) -> impl Iterator<Item = Mode> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let next = Mode::new(left.trailing_zeros() as u8)?;
            left &= left - 1;
            Some(next)
        })
    }
}

/// How many locks there are of each mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModeCounts {
    /// Bytes, because a resource would have gaps with aligned numbers.
    numbers: [[u8; size_of::<u32>()]; Mode::COUNT],
    present: ModeSet,
}

impl ModeCounts {
    /// That many of one mode, and none of the others.
    pub(crate) fn only(mode: Mode, number: u32) -> Self {
        let mut counts = ModeCounts::default();
        counts.set(mode, number);
        if number > 0 {
            counts.present.insert(mode);
        }
        counts
    }

    #[inline(always)]
    pub(crate) fn of(&self, mode: Mode) -> u32 {
        u32::from_ne_bytes(self.numbers[mode as usize])
    }

    #[inline(always)]
    fn set(&mut self, mode: Mode, number: u32) {
        self.numbers[mode as usize] = number.to_ne_bytes();
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, mode: Mode) {
        self.set(mode, self.of(mode) + 1);
        self.present.insert(mode);
    }

    #[inline(always)]
    pub(crate) fn sub(&mut self, mode: Mode) {
        let number = self.of(mode) - 1;
        self.set(mode, number);
        if number == 0 {
            self.present.remove(mode);
        }
    }

    /// The modes of which there is at least one.
    pub(crate) fn present(&self) -> ModeSet {
        self.present
    }
}

/// The flags of a request, as in `DLM_LKF_*`. Bits without a name here are carried and ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u32);

impl Flags {
    pub(crate) const NOQUEUE: Flags = Flags(0x0000_0001);
    pub(crate) const CANCEL: Flags = Flags(0x0000_0002);
    pub(crate) const CONVERT: Flags = Flags(0x0000_0004);
    pub(crate) const VALBLK: Flags = Flags(0x0000_0008);
    pub(crate) const QUECVT: Flags = Flags(0x0000_0010);
    pub(crate) const IVVALBLK: Flags = Flags(0x0000_0020);
    pub(crate) const CONVDEADLK: Flags = Flags(0x0000_0040);
    pub(crate) const PERSISTENT: Flags = Flags(0x0000_0080);
    pub(crate) const NODLCKWT: Flags = Flags(0x0000_0100);
    pub(crate) const EXPEDITE: Flags = Flags(0x0000_0400);
    pub(crate) const NOQUEUEBAST: Flags = Flags(0x0000_0800);
    pub(crate) const HEADQUE: Flags = Flags(0x0000_1000);
    pub(crate) const NOORDER: Flags = Flags(0x0000_2000);
    pub(crate) const ORPHAN: Flags = Flags(0x0000_4000);
    pub(crate) const ALTPR: Flags = Flags(0x0000_8000);
    pub(crate) const ALTCW: Flags = Flags(0x0001_0000);
    pub(crate) const FORCEUNLOCK: Flags = Flags(0x0002_0000);

    /// Whether any of `flags` is set.
    pub(crate) const fn any(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// Whether a value block is written, where the mode allows it, and not invalidated.
    pub(crate) const fn write_value(self) -> bool {
        self.any(Flags::VALBLK) && !self.any(Flags::IVVALBLK)
    }

    pub(crate) const fn with(self, flags: Flags) -> Flags {
        Flags(self.0 | flags.0)
    }

    pub(crate) const fn without(self, flags: Flags) -> Flags {
        Flags(self.0 & !flags.0)
    }
}

/// The flags of a completion, as in `DLM_SBF_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusFlags(pub(crate) u8);

impl StatusFlags {
    /// A conversion deadlock was resolved by lowering the granted mode to NL.
    pub(crate) const DEMOTED: StatusFlags = StatusFlags(0x01);
    /// The resource's value block was invalidated and not written since.
    pub(crate) const VALNOTVALID: StatusFlags = StatusFlags(0x02);
    /// Granted in the alternative mode of ALTPR or ALTCW.
    pub(crate) const ALTMODE: StatusFlags = StatusFlags(0x04);

    pub(crate) fn set(&mut self, flag: StatusFlags) {
        self.0 |= flag.0;
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// Granted.
    Granted = 0,
    /// NOQUEUE, and it would have had to wait.
    WouldWait = 1,
    /// The conversion would have made a conversion deadlock.
    Deadlock = 2,
    /// Cancelled; a conversion goes back to its granted mode.
    Cancelled = 3,
    /// Unlocked: the lock is gone.
    Unlocked = 4,
    /// The lockspace was removed while the operation waited; the lock is gone.
    Removed = 5,
}

impl Status {
    /// The number in the completion record, as programs know it: 0 or a negative error.
    #[inline(always)]
    pub(crate) const fn number(self) -> i32 {
        const NUMBERS: [i32; 6] = [0, -11, -35, -0x10001, -0x10002, -19];
        NUMBERS[self as usize]
    }

    /// Whether the lock ceases to exist, given the mode in which it is left granted.
    pub(crate) fn ends_life(self, granted: Option<Mode>) -> bool {
        match self {
            Status::Granted => false,
            Status::Unlocked | Status::Removed => true,
            Status::WouldWait | Status::Deadlock | Status::Cancelled => granted.is_none(),
        }
    }
}

/// How a request that ends at once is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// By a record, as always.
    Record,
    /// By what `write()` returns, if that can say it all. It cannot if there is a value block to
    /// return, or a flag to show.
    Return,
}

/// An operation of the lock is pending (libdlm's `EINPROG`). In a blocking record because libdlm
/// copies the status over the caller's, and a 0 would wake a synchronous call too early; and alone
/// in an acknowledgement.
pub(crate) const IN_PROGRESS: i32 = -0x10003;

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrices of dlm-semantics.md, as printed there.
    const COMPATIBLE: [&str; 6] = ["111111", "111110", "111000", "110100", "110000", "100000"];
    const TRANSFERS: [&str; 7] = [
        "111111", "111111", "-11111", "--1111", "---111", "000001", "000000",
    ];
    const QUEUED_CONVERSIONS: [&str; 6] =
        ["011111", "001111", "000111", "001011", "000001", "000000"];

    fn cell(row: &str, column: Mode) -> char {
        row.chars().nth(column as usize).unwrap()
    }

    #[test]
    fn compatibility_is_the_matrix() {
        for a in Mode::ALL {
            for b in Mode::ALL {
                let wanted = cell(COMPATIBLE[a as usize], b) == '1';
                assert_eq!(a.compatible(b), wanted, "{a:?} beside {b:?}");
                assert_eq!(a.compatible(b), b.compatible(a));
            }
        }
    }

    #[test]
    fn transfer_is_the_matrix() {
        for (row, from) in TRANSFERS
            .iter()
            .zip([None].into_iter().chain(Mode::ALL.map(Some)))
        {
            for to in Mode::ALL {
                let wanted = match cell(row, to) {
                    '1' => Transfer::Read,
                    '0' => Transfer::Write,
                    _ => Transfer::Nothing,
                };
                assert_eq!(transfer(from, to), wanted, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn queued_conversions_are_the_matrix() {
        for from in Mode::ALL {
            for to in Mode::ALL {
                let wanted = cell(QUEUED_CONVERSIONS[from as usize], to) == '1';
                assert_eq!(from.may_queue_conversion(to), wanted, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn sets_and_counts_agree() {
        let mut counts = ModeCounts::default();
        assert_eq!(counts.present(), ModeSet::default());
        assert_eq!(counts.present().highest(), None);
        counts.add(Mode::Cw);
        counts.add(Mode::Ex);
        counts.add(Mode::Ex);
        assert_eq!(counts.present().highest(), Some(Mode::Ex));
        assert!(counts.present().modes().eq([Mode::Cw, Mode::Ex]));
        counts.sub(Mode::Ex);
        counts.sub(Mode::Ex);
        assert_eq!(counts.present().highest(), Some(Mode::Cw));
    }
}
