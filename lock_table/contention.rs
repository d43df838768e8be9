// SPDX-License-Identifier: GPL-2.0

//! What a resource counts once somebody has been refused on it: the queues of those who wait, and who
//! was already told of whom.

use super::{
    decision::{
        Candidate,
        Search, //
    },
    demand::Demand,
    lock::{
        ByQueue,
        Lock,
        Marks, //
    },
};
use crate::{
    engine::State,
    storage::list::List,
    terms::{
        Flags,
        Mode,
        ModeCounts, //
    },
};

/// The modes in which a waiting lock may be granted before others that came before it.
fn out_of_turn(lock: &Lock, mut count: impl FnMut(Mode)) {
    if lock.flags.any(Flags::NOORDER) {
        let candidate = Candidate::of(lock);
        count(candidate.requested);
        if let Some(other) = candidate.alternative() {
            count(other.requested);
        }
    }
}

/// What a resource needs once somebody has been refused.
///
/// # Invariants
///
/// Whenever no operation is under way (`check_contention` in the host's tests looks, after every step of
/// every random program):
///
/// - `converting_held`, `converting_for` and `waiting_for` count exactly the locks of their queues, by the
///   mode that they hold or ask for.
/// - `irregular` counts the converting locks with [`Marks::IRREGULAR`]. If it is 0, no converting lock has
///   NOORDER, and none holds a mode that conflicts with what one ahead of it asks for: so only the head
///   can be granted.
/// - `unordered` counts, by mode, what waiting locks with NOORDER ask for, or would take instead.
/// - `told` counts the granted locks of each mode by what they were told, and `untold_crossing` those
///   without [`Marks::TOLD_CROSSING`]. A lock that has this mark is granted, and to put
///   `last_crossing` of its mode to it again would change nothing.
pub(super) struct Contention {
    pub(super) converting: List<ByQueue>,
    pub(super) waiting: List<ByQueue>,
    /// The granted and the requested modes of those who convert.
    pub(super) converting_held: ModeCounts,
    pub(super) converting_for: ModeCounts,
    pub(super) waiting_for: ModeCounts,
    /// Converting locks that are [`Marks::IRREGULAR`].
    pub(super) irregular: u32,
    /// The modes in which waiting locks could be granted that may be out of turn (NOORDER).
    pub(super) unordered: ModeCounts,
    /// What is known of who can be granted of those who convert.
    pub(super) search: Search,
    /// The granted locks of each mode, by the strongest mode they were told of.
    pub(super) told: [ModeCounts; Mode::COUNT],
    /// By the rule of PR and CW the holders of a mode are told again with every change, and
    /// nearly always it comes to nothing because it is what they heard last. So this remembers,
    /// for each mode, the demand that was last put to all its holders, and `untold_crossing` how many of
    /// them it would mean something to, to be told it again.
    pub(super) last_crossing: [Option<Demand>; Mode::COUNT],
    pub(super) untold_crossing: ModeCounts,
}

impl Contention {
    /// For a resource where nobody has been refused, and so nobody told of anything, yet; its
    /// granted locks hold the modes `held`.
    pub(super) fn new(held: &ModeCounts) -> Self {
        Contention {
            converting: List::new(),
            waiting: List::new(),
            converting_held: ModeCounts::default(),
            converting_for: ModeCounts::default(),
            waiting_for: ModeCounts::default(),
            irregular: 0,
            unordered: ModeCounts::default(),
            search: Search::Due,
            told: Mode::ALL.map(|mode| ModeCounts::only(Mode::Nl, held.of(mode))),
            last_crossing: [None; Mode::COUNT],
            untold_crossing: *held,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.converting.is_empty() && self.waiting.is_empty()
    }

    /// Counts a lock that joins one of the queues of those who wait.
    #[inline(always)]
    pub(super) fn count_in(&mut self, lock: &mut Lock) {
        match lock.state {
            State::Converting => {
                let irregular = self.is_irregular(lock);
                lock.marks.put(Marks::IRREGULAR, irregular);
                self.irregular += u32::from(irregular);
                self.converting_for.add(lock.requested);
                if let Some(held) = lock.granted {
                    self.converting_held.add(held);
                }
                self.search = Search::Due;
            }
            State::Waiting => {
                self.waiting_for.add(lock.requested);
                out_of_turn(lock, |mode| self.unordered.add(mode));
            }
            State::Loose | State::Granted => {}
        }
    }

    #[inline(always)]
    pub(super) fn count_out(&mut self, lock: &Lock) {
        match lock.state {
            State::Converting => {
                self.irregular -= u32::from(lock.marks.has(Marks::IRREGULAR));
                self.converting_for.sub(lock.requested);
                if let Some(held) = lock.granted {
                    self.converting_held.sub(held);
                }
                self.search = self.search.without_one();
            }
            State::Waiting => {
                self.waiting_for.sub(lock.requested);
                out_of_turn(lock, |mode| self.unordered.sub(mode));
            }
            State::Loose | State::Granted => {}
        }
    }

    pub(super) fn add_holder(&mut self, lock: &mut Lock, held: Mode) {
        self.told[held as usize].add(lock.told);
        self.untold_crossing.add(held);
        lock.marks.put(Marks::TOLD_CROSSING, false);
    }

    pub(super) fn remove_holder(&mut self, lock: &mut Lock, held: Mode) {
        self.set_told_crossing(lock, held, false);
        self.untold_crossing.sub(held);
        self.told[held as usize].sub(lock.told);
    }

    pub(super) fn set_told(&mut self, lock: &mut Lock, held: Mode, told: Mode) {
        self.told[held as usize].sub(lock.told);
        lock.told = told;
        self.told[held as usize].add(told);
        self.set_told_crossing(lock, held, false);
    }

    pub(super) fn set_told_crossing(&mut self, lock: &mut Lock, held: Mode, told: bool) {
        if lock.marks.has(Marks::TOLD_CROSSING) == told {
            return;
        }
        lock.marks.put(Marks::TOLD_CROSSING, told);
        if told {
            self.untold_crossing.sub(held);
        } else {
            self.untold_crossing.add(held);
        }
    }

    /// Whether a lock that joins the converting queue now breaks what makes it enough to look at
    /// the queue's head: that nobody is granted out of turn, and nobody is in the way of one
    /// ahead of him.
    fn is_irregular(&self, lock: &Lock) -> bool {
        let ahead_of_blockers = lock.flags.any(Flags::HEADQUE)
            && lock
                .requested
                .conflicts()
                .intersects(self.converting_held.present());
        let blocks_one_ahead = lock
            .granted
            .is_some_and(|held| held.conflicts().intersects(self.converting_for.present()));
        lock.marks.has(Marks::REQUEST_CHANGED)
            || lock.flags.any(Flags::NOORDER)
            || ahead_of_blockers
            || blocks_one_ahead
    }

    /// How many holders of `mode` a demand has to be put to.
    pub(super) fn to_be_told(&self, mode: Mode, demand: Demand) -> u32 {
        if demand.crossing && self.last_crossing[mode as usize] == Some(demand) {
            return self.untold_crossing.of(mode);
        }
        Mode::ALL
            .into_iter()
            .filter(|told| demand.concerns(*told))
            .map(|told| self.told[mode as usize].of(told))
            .sum()
    }
}
