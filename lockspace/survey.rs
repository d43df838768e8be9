// SPDX-License-Identifier: GPL-2.0

//! Looking over what there is in a lockspace, item by item, while it is in use.

use super::{
    Lockspace,
    Table, //
};
use crate::{kernel_edge::insist, lock_table::survey::Sight, slab::NONE};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Looking over all that a lockspace holds, item by item, while it is in use.
pub(crate) struct Survey {
    lockspace: Arc<Lockspace>,
    shard: u32,
    /// Known to the table of that shard, unless `NONE`.
    surveyor: u32,
}

impl Survey {
    pub(crate) fn new(lockspace: Arc<Lockspace>) -> Self {
        Survey {
            lockspace,
            shard: 0,
            surveyor: NONE,
        }
    }

    /// In which shard the item is.
    pub(crate) fn shard(&self) -> u32 {
        self.shard
    }

    pub(crate) fn rewind(&mut self) {
        self.leave();
        self.shard = 0;
    }

    /// Whether there is an item here or further on. Only `ENOMEM` can go wrong.
    pub(crate) fn more(&mut self) -> Result<bool> {
        while (self.shard as usize) < self.lockspace.shards.len() {
            if self.surveyor == NONE {
                self.surveyor = self.enter()?;
            }
            let look = |table: &mut Table, surveyor| table.survey(surveyor).is_some();
            if self.in_shard(look) == Some(true) {
                return Ok(true);
            }
            self.leave();
            self.shard += 1;
        }
        Ok(false)
    }

    /// A surveyor in the shard, unless the lockspace is gone.
    fn enter(&self) -> Result<u32> {
        let add = || {
            self.in_shard(|table, _| table.add_surveyor())
                .unwrap_or(Ok(NONE))
        };
        add().or_else(|error| insist(error, add))
    }

    /// Shows the item to `f`, if it is still there.
    pub(crate) fn see(&self, f: impl FnOnce(Sight<'_>)) {
        self.in_shard(|table, surveyor| table.survey(surveyor).map(f));
    }

    pub(crate) fn move_on(&mut self) {
        self.in_shard(|table, surveyor| table.move_on(surveyor));
    }

    fn leave(&mut self) {
        self.in_shard(|table, surveyor| table.remove_surveyor(surveyor));
        self.surveyor = NONE;
    }

    /// `None` once the lockspace is gone.
    fn in_shard<R>(&self, f: impl FnOnce(&mut Table, u32) -> R) -> Option<R> {
        let look = |table: &mut Table| Ok(f(table, self.surveyor));
        self.lockspace.with_shard(self.shard, look).ok()
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        self.leave();
    }
}
