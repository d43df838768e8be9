// SPDX-License-Identifier: GPL-2.0

//! What is asked of those who hold a resource, on behalf of those who wait for it.

use crate::terms::Mode;

/// What is asked of the holders of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// The mode that they are told of.
    pub(super) mode: Mode,
    /// What counts as told from then on.
    pub(super) level: Mode,
    /// By the rule of PR and CW: put to each who was not told of EX.
    pub(super) crossing: bool,
}

impl Demand {
    /// Whether it is put to a holder who was told of `told` before.
    pub(super) fn concerns(self, told: Mode) -> bool {
        if self.crossing {
            told < Mode::Ex
        } else {
            told < self.level
        }
    }
}

/// What is asked of the holders of each mode.
pub(super) type Demands = [Option<Demand>; Mode::COUNT];

/// On whose behalf holders are told that they are in the way.
#[derive(Clone, Copy)]
pub(super) enum Blocked {
    /// Of one request, just refused. `by`: the lock that asked, if it is a holder itself; it is
    /// not told.
    Request { mode: Mode, by: Option<u32> },
    /// Of all who wait, after a change: the strongest mode that is waited for, and whether CW is.
    /// `latest`: the lock that has changed, if it was granted.
    Queues {
        strongest: Mode,
        cw: bool,
        latest: Option<u32>,
    },
}

impl Blocked {
    pub(super) fn demand(self, held: Mode) -> Option<Demand> {
        match self {
            Blocked::Request { mode, .. } => held.conflicts().contains(mode).then_some(Demand {
                mode,
                level: mode,
                crossing: held.crosses(mode),
            }),
            Blocked::Queues { strongest, cw, .. } if cw && held == Mode::Pr => Some(Demand {
                mode: if strongest == Mode::Pr {
                    Mode::Cw
                } else {
                    strongest
                },
                level: strongest,
                crossing: true,
            }),
            Blocked::Queues { strongest, .. } => {
                held.conflicts().contains(strongest).then_some(Demand {
                    mode: strongest,
                    level: strongest,
                    crossing: false,
                })
            }
        }
    }
}
