// SPDX-License-Identifier: GPL-2.0

//! Operations as fs/dlm shows them to those who trace: when they begin, and when they end.
//!
//! All that is done here is done by those who are traced; who is not asks
//! [`is_on`](trace::is_on) and goes on.

use crate::{
    engine::{
        LockId,
        Outcome, //
    },
    kernel_edge::trace::{
        self,
        Lock, //
    },
    terms::{
        Flags,
        Mode,
        NameCopy,
        Status,
        StatusFlags, //
    },
};
use kernel::prelude::*;

/// What kind of operation it is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A new lock or a conversion. The mode is `None` if the program gave none that there is.
    Lock(Option<Mode>),
    /// An unlock or a cancel.
    Unlock,
}

/// What an operation returns.
pub(super) trait Answer: Copy {
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
pub(super) struct Operation {
    lockspace: u32,
    id: LockId,
    name: NameCopy,
    kind: Kind,
    flags: Flags,
}

impl Operation {
    /// Begins one on the lock of that id, on the resource of that name, in the lockspace whose device
    /// has that minor number.
    #[cold]
    pub(super) fn start(
        lockspace: u32,
        id: LockId,
        name: &[u8],
        kind: Kind,
        flags: Flags,
    ) -> Operation {
        let operation = Operation {
            lockspace,
            id,
            name: NameCopy::new(name),
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
    pub(super) fn end<T, R: Answer>(
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
