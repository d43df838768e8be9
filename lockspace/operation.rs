// SPDX-License-Identifier: GPL-2.0

//! What tracepoints tell, when there is somebody who traces: of operations when they begin and when
//! they end, of records when they are read, as fs/dlm does.
//!
//! All that is done here is done by those who are traced; who is not asks [`is_on`] and goes on.

pub(crate) use crate::kernel_edge::trace::is_on;

use crate::{
    callbacks::records::Entry,
    engine::{
        LockId,
        Outcome, //
    },
    kernel_edge::trace::{
        self,
        Lock, //
    },
    storage::slab::at_once,
    terms::{
        Flags,
        Mode,
        Status,
        StatusFlags,
        NAME_MAX, //
    },
    wire::{
        News,
        Record, //
    },
};
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
};

/// A copy of a resource's name, which outlives that.
struct Name {
    length: usize,
    bytes: [u8; NAME_MAX],
}

impl Name {
    fn new(name: &[u8]) -> Self {
        let mut copy = Name {
            length: name.len(),
            bytes: [0; NAME_MAX],
        };
        for (to, from) in copy.bytes.iter_mut().zip(name) {
            *to = *from;
        }
        copy
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What kind of operation it is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A new lock or a conversion. The mode is `None` if the program gave none that there is.
    Lock(Option<Mode>),
    /// An unlock or a cancel.
    Unlock,
}

/// What an operation returns.
pub(crate) trait Answer: Copy {
    /// Whether it is all that the program hears of the operation's end.
    fn is_all(self) -> bool;
}

impl Answer for () {
    fn is_all(self) -> bool {
        false
    }
}

impl Answer for Outcome {
    fn is_all(self) -> bool {
        self == Outcome::Done
    }
}

impl Answer for (LockId, Outcome) {
    fn is_all(self) -> bool {
        self.1.is_all()
    }
}

/// An operation that is traced, and has not ended.
pub(crate) struct Operation {
    lockspace: u32,
    id: LockId,
    name: Name,
    kind: Kind,
    flags: Flags,
}

impl Operation {
    /// Begins one on the lock of that id, on the resource of that name, in the lockspace whose device
    /// has that minor number.
    #[cold]
    pub(crate) fn start(
        lockspace: u32,
        id: LockId,
        name: &[u8],
        kind: Kind,
        flags: Flags,
    ) -> Operation {
        let operation = Operation {
            lockspace,
            id,
            name: Name::new(name),
            kind,
            flags,
        };
        let lock = operation.lock();
        match kind {
            Kind::Lock(mode) => trace::lock_start(lock, number(mode), flags.0),
            Kind::Unlock => trace::unlock_start(lock, flags.0),
        }
        operation
    }

    /// Ends one, if it is traced; the locked table is let go of before.
    #[inline(always)]
    pub(crate) fn end<T, R: Answer>(
        operation: Option<Operation>,
        table: T,
        result: Result<R>,
    ) -> Result<R> {
        if let Some(operation) = operation {
            drop(table);
            operation.tell(result.map(Answer::is_all));
        }
        result
    }

    /// Tells its end, which the program hears from what `write()` returns, if that `is_all`.
    #[cold]
    fn tell(&self, is_all: Result<bool>) {
        let (lock, flags) = (self.lock(), self.flags.0);
        let error = is_all.map_or_else(Error::to_errno, |_| 0);
        let status = match self.kind {
            Kind::Lock(mode) => {
                trace::lock_end(lock, number(mode), flags, error);
                Status::Granted
            }
            Kind::Unlock => {
                trace::unlock_end(lock, flags, error);
                Status::Unlocked
            }
        };
        if is_all == Ok(true) {
            trace::ast(lock, StatusFlags::default().0, status.number());
        }
    }

    fn lock(&self) -> Lock<'_> {
        Lock {
            lockspace: self.lockspace,
            id: self.id,
            name: self.name.get(),
        }
    }
}

/// `DLM_LOCK_*`.
fn number(mode: Option<Mode>) -> i32 {
    mode.map_or(-1, |mode| mode as i32)
}

/// The names of the resources that the untold records of a file are about: a record has none, and
/// its lock may be gone before it is read.
pub(crate) struct Names {
    lockspace: u32,
    kept: RBTree<Entry, (LockId, Name)>,
}

/// So many names are given up in one go.
const BATCH: usize = 64;

impl Names {
    /// Of a file of the lockspace whose device has this minor number.
    pub(crate) fn new(lockspace: u32) -> Self {
        Names {
            lockspace,
            kept: RBTree::new(),
        }
    }

    /// Keeps the name for a record that has been lined up. Without memory it does not.
    #[cold]
    pub(crate) fn keep(&mut self, entry: Entry, id: LockId, name: &[u8]) {
        if let Ok(node) = RBTreeNode::new(entry, (id, Name::new(name)), at_once()) {
            self.kept.insert(node);
        }
    }

    /// The program reads a record. It is shown without a name if it was lined up before somebody traced,
    /// or was shown before and could not be read; a name that is still there from then is that of its own
    /// lock only.
    pub(crate) fn tell(&mut self, entry: Entry, record: &Record<'_>) {
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
    pub(crate) fn dismantle(&mut self) -> bool {
        for _ in 0..BATCH {
            match self.kept.cursor_front_mut() {
                Some(first) => drop(first.remove_current()),
                None => return false,
            }
        }
        true
    }
}
