// SPDX-License-Identifier: GPL-2.0

//! Records as fs/dlm shows them to those who trace: when they are read, each with the name of its
//! lock's resource. Nothing is kept, and nothing is done here, unless somebody traces.

use super::records::Entry;
use crate::{
    engine::LockId,
    kernel_edge::trace::{
        self,
        Lock, //
    },
    storage::slab::at_once,
    terms::NameCopy,
    wire::{
        News,
        Record, //
    },
};
use kernel::rbtree::{
    RBTree,
    RBTreeNode, //
};

/// The names of the resources that the untold records of a file are about: a record has none, and
/// its lock may be gone before it is read.
pub(super) struct Names {
    lockspace: u32,
    kept: RBTree<Entry, (LockId, NameCopy)>,
}

/// So many names are given up in one go.
const BATCH: usize = 64;

impl Names {
    /// Of a file of the lockspace whose device has this minor number.
    pub(super) fn new(lockspace: u32) -> Self {
        Names {
            lockspace,
            kept: RBTree::new(),
        }
    }

    /// Keeps the name for a record that has been lined up. Without memory it does not.
    #[cold]
    pub(super) fn keep(&mut self, entry: Entry, id: LockId, name: &[u8]) {
        if let Ok(node) = RBTreeNode::new(entry, (id, NameCopy::new(name)), at_once()) {
            self.kept.insert(node);
        }
    }

    /// The program reads a record. It is shown without a name if it was lined up before somebody traced,
    /// or was shown before and could not be read; a name that is still there from then is that of its own
    /// lock only.
    pub(super) fn tell(&mut self, entry: Entry, record: &Record<'_>) {
        let kept = self.kept.remove(&entry);
        let name = match &kept {
            Some((id, name)) if *id == record.id => name.get(),
            _ => &[],
        };
        let lock = Lock {
            lockspace: self.lockspace,
            id: record.id,
            name,
        };
        match record.news {
            News::Completion { status, flags, .. } => trace::ast(lock, flags.0, status.number()),
            News::Blocking { mode, .. } => trace::bast(lock, mode as i32),
            News::Acknowledgement => {}
        }
    }

    /// Nothing is to be told any more: gives up names, some at a time, until it returns false.
    pub(super) fn dismantle(&mut self) -> bool {
        for _ in 0..BATCH {
            match self.kept.cursor_front_mut() {
                Some(first) => drop(first.remove_current()),
                None => return false,
            }
        }
        true
    }
}
