// SPDX-License-Identifier: GPL-2.0

//! What is decided when a lock is to be granted: on what grounds, and with what outcome.

use super::lock::Lock;
use crate::{
    engine::Ask,
    terms::{
        transfer,
        Flags,
        Mode,
        ModeCounts,
        Transfer, //
    },
};

/// Where a lock stands that wants to be granted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It asks now.
    New,
    /// It is at the head of its queue.
    First,
    /// It is behind others.
    Behind,
}

/// A lock's part in a decision.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) granted: Option<Mode>,
    pub(super) requested: Mode,
    pub(super) flags: Flags,
}

impl Candidate {
    pub(super) fn new(granted: Option<Mode>, ask: Ask) -> Self {
        Candidate {
            granted,
            requested: ask.mode,
            flags: ask.flags,
        }
    }

    /// A lock with what it holds, what it asks for, and the flags of its last request.
    #[inline(always)]
    pub(super) fn of(lock: &Lock) -> Self {
        Candidate {
            granted: lock.granted,
            requested: lock.requested,
            flags: lock.flags,
        }
    }

    /// Whether a conversion on which this is the verdict writes the value block, now or when its
    /// turn comes. One that has to wait for the very mode it asks for does not: what gives up
    /// the right to write is granted at once.
    pub(super) fn may_write(self, verdict: Verdict) -> bool {
        let mode = match verdict {
            Verdict::Grant { mode, .. } => Some(mode),
            _ => self.alternative().map(|other| other.requested),
        };
        self.flags.write_value()
            && mode.is_some_and(|mode| transfer(self.granted, mode) == Transfer::Write)
    }

    /// The same with the other mode that ALTPR or ALTCW allows.
    pub(super) fn alternative(self) -> Option<Candidate> {
        let flags = self.flags;
        let requested = if flags.any(Flags::ALTPR) && self.requested != Mode::Pr {
            Mode::Pr
        } else if flags.any(Flags::ALTCW) && self.requested != Mode::Cw {
            Mode::Cw
        } else {
            return None;
        };
        Some(Candidate { requested, ..self })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Granted in this mode, which is not the requested one if `alternative`.
    Grant { mode: Mode, alternative: bool },
    /// A conversion deadlock, to be resolved by giving up the granted mode.
    Demote,
    /// A conversion deadlock.
    Deadlock,
    /// It has to wait.
    Wait,
}

/// What those on a queue wait for: the strongest mode, and whether CW is among them.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) strongest: Option<Mode>,
    pub(super) cw: bool,
}

impl Wanted {
    pub(super) fn new(modes: &ModeCounts) -> Self {
        Wanted {
            strongest: modes.present().highest(),
            cw: modes.present().contains(Mode::Cw),
        }
    }

    pub(super) fn one(mode: Mode) -> Self {
        Wanted {
            strongest: Some(mode),
            cw: mode == Mode::Cw,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Wanted {
            strongest: self.strongest.max(other.strongest),
            cw: self.cw | other.cw,
        }
    }
}

/// What is known of who can be granted on a converting queue.
#[derive(Clone, Copy)]
pub(super) enum Search {
    /// Nothing, since something has changed.
    Due,
    /// Only the head can be, and only if it has just become that: since the last search, by which
    /// nobody was in a deadlock, some have gone.
    HeadDue,
    /// Nobody can be.
    Done { wanted: Wanted, deadlocks: bool },
}

impl Search {
    /// One of those who convert has gone: the others, in no deadlock if they were in none, are as
    /// before, if what he held is held by others still.
    pub(super) fn without_one(self) -> Self {
        match self {
            Search::Done {
                deadlocks: false, ..
            } => Search::HeadDue,
            Search::Done { .. } => Search::Due,
            due => due,
        }
    }
}
