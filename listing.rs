// SPDX-License-Identifier: GPL-2.0

//! What people can see: the tables in debugfs, and what is told about an open file.
//!
//! There are four tables for each lockspace, in the formats of `fs/dlm/debug_fs.c`, so that `dlm_tool
//! lockdump` and `lockdebug` read them. What only a cluster has is 0, which is what fs/dlm shows
//! on a single node too. A resource without locks has nothing to show, not even a value block, and
//! nobody waits for other nodes, so two of the tables are empty.
//!
//! What fs/dlm does not tell, who keeps a lock, is in `owners`: tables of all lockspaces together,
//! since a file in debugfs takes a kilobyte.

mod line;
mod owners;

pub(crate) use self::owners::{
    describe,
    Files,
    Owners, //
};

use crate::{
    engine::{
        Item,
        LockInfo,
        ResourceInfo,
        State, //
    },
    kernel_edge::{
        microseconds_since,
        nanoseconds_at,
        write_bytes,
        Listing, //
    },
    lockspace::{
        Lockspace,
        Survey,
        Walk, //
    },
    terms::{
        Mode,
        VALUE_LEN, //
    },
};
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::ArcBorrow, //
};

/// Which of the tables of a lockspace it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All locks, for `lockdump`.
    Locks,
    /// All resources, each with its locks, for `lockdebug`.
    All,
    /// Resources without locks.
    Toss,
    /// Locks that wait for another node.
    Waiters,
}

impl Kind {
    pub(crate) const ALL: &'static [Kind] = &[Kind::Locks, Kind::All, Kind::Toss, Kind::Waiters];

    /// What follows the lockspace's name in the name of the file.
    pub(crate) fn suffix(self) -> &'static [u8] {
        match self {
            Kind::Locks => b"_locks",
            Kind::All => b"_all",
            Kind::Toss => b"_toss",
            Kind::Waiters => b"_waiters",
        }
    }

    fn heading(self) -> &'static [u8] {
        match self {
            Kind::Locks => {
                b"id nodeid remid pid xid exflags flags sts grmode rqmode time_ms r_nodeid r_len \
                  r_name\n"
            }
            Kind::All => {
                b"rsb ptr nodeid first_lkid flags !root_list_empty !recover_list_empty \
                  recover_locks_count len\n"
            }
            Kind::Toss | Kind::Waiters => b"",
        }
    }
}

/// One reading of a table of a lockspace.
pub(crate) struct Table {
    kind: Kind,
    survey: Survey,
}

impl Listing for Table {
    type Subject = Lockspace;
    type Kind = Kind;

    fn open(lockspace: ArcBorrow<'_, Lockspace>, kind: &'static Kind) -> Self {
        Table {
            kind: *kind,
            survey: Survey::begin(lockspace.into()),
        }
    }

    fn heading(&self) -> &'static [u8] {
        self.kind.heading()
    }

    fn rewind(&mut self) {
        self.survey.rewind();
    }

    fn more(&mut self) -> Result<bool> {
        match self.kind {
            Kind::Locks | Kind::All => self.survey.more(),
            Kind::Toss | Kind::Waiters => Ok(false),
        }
    }

    fn show(&self, out: &SeqFile) {
        let (kind, shard) = (self.kind, self.survey.shard());
        self.survey.see(|sight| match (kind, sight) {
            (Kind::Locks, Item::Lock(lock)) => list_lock(out, &lock),
            (Kind::All, Item::Lock(lock)) => detail_lock(out, &lock),
            (Kind::All, Item::Resource(resource)) => detail_resource(out, shard, &resource),
            _ => {}
        });
    }

    fn pass(&mut self) {
        self.survey.move_on();
    }
}

/// `DLM_LKSTS_*`.
fn state_number(state: State) -> u32 {
    match state {
        State::Loose => 0,
        State::Waiting => 1,
        State::Granted => 2,
        State::Converting => 3,
    }
}

/// `DLM_LOCK_*`, of which -1 is none.
fn mode_number(mode: Option<Mode>) -> i32 {
    mode.map_or(-1, |mode| mode as i32)
}

/// What both tables begin a lock with.
fn begin_lock(out: &SeqFile, lock: &LockInfo<'_>) {
    seq_print!(
        out,
        "{:x} 0 0 {} {} {:x} 0 {} {} {}",
        lock.id,
        lock.pid,
        lock.transaction,
        lock.flags.0,
        state_number(lock.state),
        mode_number(lock.granted),
        mode_number(lock.requested),
    );
}

fn list_lock(out: &SeqFile, lock: &LockInfo<'_>) {
    begin_lock(out, lock);
    let time = microseconds_since(lock.since);
    seq_print!(out, " {time} 0 {} \"", lock.name.len());
    write_line_safe(out, lock.name);
    write_bytes(out, b"\"\n");
}

fn detail_lock(out: &SeqFile, lock: &LockInfo<'_>) {
    write_bytes(out, b"lkb ");
    begin_lock(out, lock);
    let since = nanoseconds_at(lock.since);
    seq_print!(out, " {} 0 0 0 {since} 0\n", mode_number(lock.blocked));
}

/// The number of the resource stands where fs/dlm shows an address. Value blocks have no sequence
/// numbers.
fn detail_resource(out: &SeqFile, shard: u32, resource: &ResourceInfo<'_>) {
    const VALUE_INVALID: u32 = 1 << 1;
    const HASHED: u32 = 1 << 9;
    let number = (u64::from(shard) << 32) + u64::from(resource.number) + 1;
    let flags = if resource.value_invalid {
        HASHED | VALUE_INVALID
    } else {
        HASHED
    };
    let length = resource.name.len();
    seq_print!(out, "rsb {number:016x} 0 0 {flags:x} 0 0 0 {length} ");
    let printable = |byte: &u8| matches!(byte, b' '..=b'~');
    if resource.name.iter().all(printable) {
        write_bytes(out, b"str ");
        write_bytes(out, resource.name);
    } else {
        write_bytes(out, b"hex");
        write_hex(out, resource.name);
    }
    if let Some(value) = resource.value {
        seq_print!(out, "\nlvb 0 {VALUE_LEN}");
        write_hex(out, value);
    }
    write_bytes(out, b"\n");
}

fn write_hex(out: &SeqFile, bytes: &[u8]) {
    for byte in bytes {
        seq_print!(out, " {byte:02x}");
    }
}

/// Writes a name of as many characters as it has: a dot stands for each that would break the line.
fn write_line_safe(out: &SeqFile, name: &[u8]) {
    let odd = |byte: &u8| byte.is_ascii_control() || *byte == b'"';
    write_replacing(out, name, odd, |_| write_bytes(out, b"."));
}

/// Writes bytes as they are, but lets `replace` write the `odd` ones.
fn write_replacing(out: &SeqFile, bytes: &[u8], odd: impl Fn(&u8) -> bool, replace: impl Fn(u8)) {
    for part in bytes.split_inclusive(&odd) {
        match part {
            [plain @ .., last] if odd(last) => {
                write_bytes(out, plain);
                replace(*last);
            }
            plain => write_bytes(out, plain),
        }
    }
}
