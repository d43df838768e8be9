// SPDX-License-Identifier: GPL-2.0

//! The end of a table's lockspace: whoever still waits is told, nobody is granted anything.

use super::LockTable;
use crate::{
    engine::{
        CutOff,
        Owner, //
    },
    terms::{
        Status,
        StatusFlags, //
    },
};

impl<O: Owner> LockTable<O> {
    /// Cuts off up to `budget` locks, from slot `next` on, which it moves: an operation that waits ends
    /// with [`Status::Removed`], and of the others' locks the owner keeps only what is untold. Returns
    /// whether to go on. Nothing but [`Self::dismantle`] may be asked of the table any more.
    pub(crate) fn cut_off(&mut self, next: &mut u32, budget: u32) -> (CutOff, bool) {
        let mut cut_off = CutOff::default();
        let mut go_on = true;
        for _ in 0..budget {
            let Some(lock) = self.locks.next_used(*next) else {
                go_on = false;
                break;
            };
            *next = lock + 1;
            *self.cut_off_one(lock, &mut cut_off) += 1;
        }
        self.clients.end_round();
        (cut_off, go_on)
    }

    /// Returns the count that the lock belongs to.
    fn cut_off_one<'a>(&mut self, lock: u32, cut_off: &'a mut CutOff) -> &'a mut u32 {
        let entry = &mut self.locks[lock];
        let Some(client) = self.clients.get(entry.client) else {
            return &mut cut_off.orphans;
        };
        if !entry.state.waits() {
            client.owner.close(entry.ticket);
            return &mut cut_off.holders;
        }
        entry.status = StatusFlags::default();
        self.report(lock, Status::Removed);
        &mut cut_off.waiters
    }
}
