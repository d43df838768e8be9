// SPDX-License-Identifier: GPL-2.0

//! Looking over what there is, item by item, while it is in use: the locks of a lockspace, its open
//! files, and either of all lockspaces.
//!
//! No lock is held between two items, and no memory is needed for them, however many there are.

use super::{
    local::Table,
    member::Opener,
    Lockspace,
    Node,
    Registry, //
};
use crate::{
    engine::{
        Holdings,
        Item, //
    },
    kernel_edge::retry_with_memory,
    storage::slab::NONE, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Going through things of one kind in a lockspace, from the first on.
pub(crate) trait Walk: Send {
    fn begin(lockspace: Arc<Lockspace>) -> Self;

    /// Whether there is an item here or further on. Only `ENOMEM` can go wrong.
    fn more(&mut self) -> Result<bool>;

    fn move_on(&mut self);
}

/// Going through the resources of a lockspace, and the locks of each.
pub(crate) struct Survey {
    lockspace: Arc<Lockspace>,
    shard: u32,
    /// Known to the table of that shard, unless `NONE`.
    cursor: u32,
}

impl Survey {
    /// The name of the lockspace.
    pub(crate) fn lockspace(&self) -> &[u8] {
        self.lockspace.name()
    }

    /// In which shard the item is.
    pub(crate) fn shard(&self) -> u32 {
        self.shard
    }

    pub(crate) fn rewind(&mut self) {
        self.leave();
        self.shard = 0;
    }

    /// A cursor in the shard, unless the lockspace is gone.
    fn enter(&self) -> Result<u32> {
        let add = || {
            self.in_shard(|table, _| table.add_cursor())
                .unwrap_or(Ok(NONE))
        };
        add().or_else(|error| retry_with_memory(error, add))
    }

    /// Shows the item to `f`, if it is still there.
    pub(crate) fn see(&self, f: impl FnOnce(Item<'_>)) {
        self.in_shard(|table, cursor| table.survey(cursor).map(f));
    }

    fn leave(&mut self) {
        self.in_shard(|table, cursor| table.remove_cursor(cursor));
        self.cursor = NONE;
    }

    /// `None` once the lockspace is gone.
    fn in_shard<R>(&self, f: impl FnOnce(&mut Table, u32) -> R) -> Option<R> {
        let look = |table: &mut Table| Ok(f(table, self.cursor));
        self.lockspace.with_shard(self.shard, look).ok()
    }
}

impl Walk for Survey {
    fn begin(lockspace: Arc<Lockspace>) -> Self {
        Survey {
            lockspace,
            shard: 0,
            cursor: NONE,
        }
    }

    fn more(&mut self) -> Result<bool> {
        while (self.shard as usize) < self.lockspace.local().count() as usize {
            if self.cursor == NONE {
                self.cursor = self.enter()?;
            }
            let look = |table: &mut Table, cursor| table.survey(cursor).is_some();
            if self.in_shard(look) == Some(true) {
                return Ok(true);
            }
            self.leave();
            self.shard += 1;
        }
        Ok(false)
    }

    fn move_on(&mut self) {
        self.in_shard(|table, cursor| table.move_on(cursor));
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Going through the open files of a lockspace, the oldest first.
pub(crate) struct Opened {
    lockspace: Arc<Lockspace>,
    /// The number of the file, or one that is not above that of the next.
    at: u64,
}

/// An open file.
pub(crate) struct FileInfo<'a> {
    pub(crate) number: u64,
    /// The name of its lockspace.
    pub(crate) lockspace: &'a [u8],
    pub(crate) opener: Opener,
    pub(crate) holdings: Holdings,
    /// How many records wait to be read.
    pub(crate) records: u32,
}

impl Opened {
    /// Shows the file to `f`, if it is still there.
    pub(crate) fn see(&self, f: impl FnOnce(FileInfo<'_>)) {
        let member = self.lockspace.member_from(self.at);
        let Some(member) = member.filter(|member| member.number() == self.at) else {
            return;
        };
        f(FileInfo {
            number: self.at,
            lockspace: self.lockspace.name(),
            opener: member.opener,
            holdings: member.holdings(&self.lockspace),
            records: member.queue.len(),
        });
    }
}

impl Walk for Opened {
    fn begin(lockspace: Arc<Lockspace>) -> Self {
        Opened { lockspace, at: 0 }
    }

    fn more(&mut self) -> Result<bool> {
        let next = self.lockspace.member_from(self.at);
        if let Some(member) = &next {
            self.at = member.number();
        }
        Ok(next.is_some())
    }

    fn move_on(&mut self) {
        self.at += 1;
    }
}

/// Going through things of one kind in all lockspaces, in the order of their numbers.
pub(crate) struct Tour<D: Node, W> {
    registry: Arc<Registry<D>>,
    /// In the lockspace that has been come to, if any.
    walk: Option<W>,
    /// The number from which on the next is looked for.
    next: u32,
}

impl<D: Node, W: Walk> Tour<D, W> {
    pub(crate) fn new(registry: Arc<Registry<D>>) -> Self {
        Tour {
            registry,
            walk: None,
            next: 0,
        }
    }

    pub(crate) fn rewind(&mut self) {
        self.walk = None;
        self.next = 0;
    }

    /// Whether there is an item here or further on. Only `ENOMEM` can go wrong.
    pub(crate) fn more(&mut self) -> Result<bool> {
        loop {
            if let Some(walk) = &mut self.walk {
                if walk.more()? {
                    return Ok(true);
                }
            }
            self.walk = None;
            let Some((number, lockspace)) = self.registry.lockspace_from(self.next) else {
                return Ok(false);
            };
            self.next = number + 1;
            self.walk = Some(W::begin(lockspace));
        }
    }

    /// Where the item is.
    pub(crate) fn walk(&self) -> Option<&W> {
        self.walk.as_ref()
    }

    pub(crate) fn move_on(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.move_on();
        }
    }
}
