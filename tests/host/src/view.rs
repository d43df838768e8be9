// SPDX-License-Identifier: GPL-2.0

//! What a table and its model are compared by. Locks go by number: the order of asking.

use crate::terms::{
    Mode,
    Value, //
};

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Completion {
        client: usize,
        lock: u32,
        user: u32,
        status: i32,
        flags: u8,
        value: Option<Value>,
        last: bool,
    },
    Blocking {
        client: usize,
        lock: u32,
        user: u32,
        mode: Mode,
    },
    /// An operation has to wait.
    Acknowledgement { client: usize, lock: u32, user: u32 },
    /// The lock went with its client.
    Gone { client: usize, user: u32 },
}

/// What the last record of a lock was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    Completion,
    Blocking(Mode),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockView {
    pub(crate) number: u32,
    /// Nobody, if it is an orphan.
    pub(crate) client: Option<usize>,
    /// Which operation's user arguments it has, unless it is an orphan.
    pub(crate) user: Option<u32>,
    pub(crate) pid: u32,
    pub(crate) flags: u32,
    pub(crate) status: u8,
    pub(crate) listens: bool,
    pub(crate) granted: Option<Mode>,
    pub(crate) requested: Option<Mode>,
    pub(crate) completed: Option<Mode>,
    pub(crate) told: Mode,
    pub(crate) heard: Heard,
    pub(crate) buffer: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceView {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Option<Value>,
    pub(crate) invalid: bool,
    pub(crate) granted: Vec<LockView>,
    pub(crate) converting: Vec<LockView>,
    pub(crate) waiting: Vec<LockView>,
}
