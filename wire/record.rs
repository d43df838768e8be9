// SPDX-License-Identifier: GPL-2.0

//! Records to bytes, and what a program gives to get back with them.

use super::{
    layout::{
        Given,
        RawResult,
        RawResult32,
        Width, //
    },
    VERSION, //
};
use crate::terms::{
    Mode,
    Status,
    StatusFlags,
    Value,
    IN_PROGRESS,
    VALUE_LEN, //
};
use core::mem::size_of;
use kernel::prelude::*;

/// The program's side of a lock: what it gave to get back with every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) cast_address: u64,
    pub(crate) cast_parameter: u64,
    pub(crate) blocking_address: u64,
    pub(crate) blocking_parameter: u64,
    /// The address of the program's `struct dlm_lksb`.
    pub(crate) lksb: u64,
    /// The transaction that the lock belongs to, for those who look.
    pub(crate) xid: u64,
}

impl From<&Given> for User {
    #[inline(always)]
    fn from(given: &Given) -> Self {
        User {
            cast_address: given.castaddr,
            cast_parameter: given.castparam,
            blocking_address: given.bastaddr,
            blocking_parameter: given.bastparam,
            lksb: given.lksb,
            xid: given.xid,
        }
    }
}

/// What a request puts in the place of a lock's [`User`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// A LOCK request replaces all of it.
    Replace(&'a Given),
    /// An unlock or a cancel replaces the status block, and the parameter unless it is 0.
    Finish(&'a Given),
}

impl Change<'_> {
    /// The program's side after the change.
    #[inline(always)]
    pub(crate) fn apply(&self, before: User) -> User {
        let mut user = before;
        self.apply_to(&mut user);
        user
    }

    #[inline(always)]
    pub(crate) fn apply_to(&self, user: &mut User) {
        match *self {
            Change::Replace(given) => *user = given.into(),
            Change::Finish(given) => {
                if given.castparam != 0 {
                    user.cast_parameter = given.castparam;
                }
                user.lksb = given.lksb;
            }
        }
    }

    /// Whether the program wants to be told when its lock is in somebody's way.
    #[inline(always)]
    pub(crate) fn listens(&self) -> bool {
        matches!(self, Change::Replace(given) if given.bastaddr != 0)
    }
}

/// Something to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News<'a> {
    /// An operation has begun to wait, and the program did not learn that, or the id, otherwise.
    Acknowledgement,
    /// An operation has ended.
    Completion {
        status: Status,
        flags: StatusFlags,
        value: Option<&'a Value>,
    },
    /// The lock is in the way of a request for `mode`. `pending`: an operation on the lock itself
    /// has not ended yet, as far as the program was told.
    Blocking { mode: Mode, pending: bool },
}

/// A record: news about a lock, with what its program wants to get back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) id: u32,
    pub(crate) user: &'a User,
    pub(crate) news: News<'a>,
}

/// What a record without a value block takes.
const RECORD_MIN: usize = size_of::<RawResult>();

const RECORD_MIN_32: usize = size_of::<RawResult32>();

/// The most that a record takes.
const RECORD_MAX: usize = record_length(Width::Bits64, true);

/// A record as a program reads it.
pub(crate) struct RecordBytes {
    bytes: [u8; RECORD_MAX],
    length: usize,
}

impl RecordBytes {
    pub(crate) fn of(record: &Record<'_>, width: Width) -> Self {
        let length = record.length(width);
        let mut bytes = [0; RECORD_MAX];
        record.write(&mut bytes, width, length);
        RecordBytes { bytes, length }
    }

    pub(crate) fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The least that a read of a record needs room for.
pub(crate) const fn record_min(width: Width) -> usize {
    record_length(width, false)
}

/// How many bytes a record takes.
pub(crate) const fn record_length(width: Width, has_value: bool) -> usize {
    let result = match width {
        Width::Bits32 => RECORD_MIN_32,
        Width::Bits64 => RECORD_MIN,
    };
    if has_value {
        result + VALUE_LEN
    } else {
        result
    }
}

impl Record<'_> {
    /// The value block that it returns, if it does.
    #[inline(always)]
    pub(crate) fn value(&self) -> Option<&Value> {
        match self.news {
            News::Completion { value, .. } => value,
            News::Acknowledgement | News::Blocking { .. } => None,
        }
    }

    /// How many bytes the record takes.
    #[inline(always)]
    pub(crate) fn length(&self, width: Width) -> usize {
        record_length(width, self.value().is_some())
    }

    /// Lets `read` see the record as a program reads it.
    #[inline(always)]
    pub(crate) fn show<R>(&self, width: Width, read: impl FnOnce(&[u8]) -> R) -> R {
        if width == Width::Bits64 && self.value().is_none() {
            // By far the most.
            read(self.result(RECORD_MIN).as_bytes())
        } else {
            read(RecordBytes::of(self, width).get())
        }
    }

    /// Writes the record, of this length, where there must be room for it.
    fn write(&self, place: &mut [u8], width: Width, length: usize) {
        let result = self.result(length);
        let _ = match width {
            Width::Bits64 => result.write_to_prefix(place).ok(),
            Width::Bits32 => result.narrow().write_to_prefix(place).ok(),
        };
        if let Some(value) = self.value() {
            if let Some(place) = place.get_mut(length - VALUE_LEN..length) {
                place.copy_from_slice(value);
            }
        }
    }

    #[inline(always)]
    fn result(&self, length: usize) -> RawResult {
        let user = self.user;
        let ast = (user.cast_address, user.cast_parameter);
        let ((astaddr, astparam), sb_status, sb_flags, bast_mode) = match self.news {
            News::Acknowledgement => (ast, IN_PROGRESS, 0, 0),
            News::Completion { status, flags, .. } => (ast, status.number(), flags.0, 0),
            News::Blocking { mode, pending } => {
                let bast = (user.blocking_address, user.blocking_parameter);
                let status = if pending { IN_PROGRESS } else { 0 };
                (bast, status, 0, mode as u8)
            }
        };
        RawResult {
            version: VERSION,
            length: length as u32,
            astaddr,
            astparam,
            user_lksb: user.lksb,
            sb_status,
            sb_lkid: self.id,
            sb_flags: u64::from_ne_bytes([sb_flags, 0, 0, 0, 0, 0, 0, 0]),
            sb_lvbptr: 0,
            bast_mode: u32::from_ne_bytes([bast_mode, 0, 0, 0]),
            lvb_offset: self
                .value()
                .map_or(0, |value| (length - value.len()) as u32),
        }
    }
}
