// SPDX-License-Identifier: GPL-2.0

//! The layout of what programs write and read: the structures of `include/uapi/linux/dlm_device.h`, as
//! 64-bit and as 32-bit programs have them.

use super::REQUEST_MIN;
use crate::terms::Value;
use core::mem::{
    size_of,
    MaybeUninit, //
};
use kernel::prelude::*;
use zerocopy_derive::{
    Immutable,
    KnownLayout, //
};

/// How wide a program's addresses are, which makes for two layouts of what has addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Bits64,
    Bits32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct Header {
    pub(super) version: [u32; 3],
    pub(super) command: u8,
    pub(super) is64bit: u8,
    /// Of an extended request: how many bytes it takes, until the next one begins; 0 for all.
    pub(super) length: u16,
}

pub(super) mod command {
    pub(in crate::wire) const LOCK: u8 = 1;
    pub(in crate::wire) const UNLOCK: u8 = 2;
    pub(in crate::wire) const CREATE_LOCKSPACE: u8 = 4;
    pub(in crate::wire) const REMOVE_LOCKSPACE: u8 = 5;
    pub(in crate::wire) const PURGE: u8 = 6;
    pub(in crate::wire) const DEADLOCK: u8 = 7;
}

/// `struct dlm_lock_params`, but for the value block at its end; the name follows that. It is not
/// aligned, so that it can be looked at where the request was copied to.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(super) struct LockParams {
    pub(super) mode: u8,
    pub(super) namelen: u8,
    pub(super) unused: u16,
    pub(super) flags: u32,
    pub(super) lkid: u32,
    pub(super) parent: u32,
    pub(super) given: Given,
}

/// What a lock's program gives to get back with its records, in the order of the header file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub(crate) struct Given {
    pub(crate) xid: u64,
    pub(crate) timeout: u64,
    pub(crate) castparam: u64,
    pub(crate) castaddr: u64,
    pub(crate) bastparam: u64,
    pub(crate) bastaddr: u64,
    pub(crate) lksb: u64,
}

/// Where the parameters of a 32-bit program's request are put as a 64-bit program would have them.
pub(crate) struct Widened(MaybeUninit<LockParams>);

impl Widened {
    pub(crate) const fn new() -> Self {
        Widened(MaybeUninit::uninit())
    }
}

impl LockParams {
    /// The parameters of a lock request, the value block, and what follows them.
    #[inline(always)]
    pub(super) fn parse<'a>(
        body: &'a [u8],
        width: Width,
        widened: &'a mut Widened,
    ) -> Result<(&'a Self, &'a Value, &'a [u8])> {
        let (params, rest) = match width {
            Width::Bits64 => Self::ref_from_prefix(body).map_err(|_| EINVAL)?,
            Width::Bits32 => Self::widen(body, widened)?,
        };
        let (value, rest) = Value::ref_from_prefix(rest).map_err(|_| EINVAL)?;
        Ok((params, value, rest))
    }

    #[cold]
    fn widen<'a>(body: &'a [u8], widened: &'a mut Widened) -> Result<(&'a Self, &'a [u8])> {
        let (params, rest) = LockParams32::read_from_prefix(body).map_err(|_| EINVAL)?;
        Ok((widened.0.write(params.into()), rest))
    }
}

/// The same of a 32-bit program. The structure that an i386 compiler makes is 100 bytes long
/// altogether; the kernel's own idea of it, aligned to 8, is 104, but the name is at 100 in both.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed(4))]
pub(super) struct LockParams32 {
    pub(super) mode: u8,
    pub(super) namelen: u8,
    pub(super) unused: u16,
    pub(super) flags: u32,
    pub(super) lkid: u32,
    pub(super) parent: u32,
    pub(super) xid: u64,
    pub(super) timeout: u64,
    pub(super) castparam: u32,
    pub(super) castaddr: u32,
    pub(super) bastparam: u32,
    pub(super) bastaddr: u32,
    pub(super) lksb: u32,
}

impl From<LockParams32> for LockParams {
    fn from(params: LockParams32) -> Self {
        LockParams {
            mode: params.mode,
            namelen: params.namelen,
            unused: params.unused,
            flags: params.flags,
            lkid: params.lkid,
            parent: params.parent,
            given: Given {
                xid: params.xid,
                timeout: params.timeout,
                castparam: params.castparam.into(),
                castaddr: params.castaddr.into(),
                bastparam: params.bastparam.into(),
                bastaddr: params.bastaddr.into(),
                lksb: params.lksb.into(),
            },
        }
    }
}

/// `struct dlm_purge_params`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct PurgeParams {
    pub(super) nodeid: u32,
    pub(super) pid: u32,
}

/// What an extended purge says beside that, behind it: whose locks are meant.
pub(super) mod scope {
    /// What the thread's id says, as in version 6.0.
    pub(in crate::wire) const BY_THREAD: u32 = 0;
    pub(in crate::wire) const ORPHANS: u32 = 1;
    pub(in crate::wire) const OWN: u32 = 2;
}

/// `struct dlm_lspace_params`; the name follows.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct SpaceParams {
    pub(super) flags: u32,
    pub(super) minor: u32,
}

/// `struct dlm_lock_result`, to which a value block may be added. Bytes that C pads belong to the
/// word before them here, so that a record is stored in whole words.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RawResult {
    pub(super) version: [u32; 3],
    pub(super) length: u32,
    pub(super) astaddr: u64,
    pub(super) astparam: u64,
    pub(super) user_lksb: u64,
    pub(super) sb_status: i32,
    pub(super) sb_lkid: u32,
    /// A byte in C: this one's first.
    pub(super) sb_flags: u64,
    pub(super) sb_lvbptr: u64,
    /// A byte in C: this one's first.
    pub(super) bast_mode: u32,
    pub(super) lvb_offset: u32,
}

impl RawResult {
    /// The same for a 32-bit program, which gave addresses of 32 bits.
    pub(super) fn narrow(&self) -> RawResult32 {
        RawResult32 {
            version: self.version,
            length: self.length,
            astaddr: self.astaddr as u32,
            astparam: self.astparam as u32,
            user_lksb: self.user_lksb as u32,
            sb_status: self.sb_status,
            sb_lkid: self.sb_lkid,
            sb_flags: self.sb_flags.to_ne_bytes()[0],
            sb_padding: [0; 3],
            sb_lvbptr: 0,
            bast_mode: self.bast_mode,
            lvb_offset: self.lvb_offset,
        }
    }
}

/// The same for a 32-bit program.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RawResult32 {
    pub(super) version: [u32; 3],
    pub(super) length: u32,
    pub(super) astaddr: u32,
    pub(super) astparam: u32,
    pub(super) user_lksb: u32,
    pub(super) sb_status: i32,
    pub(super) sb_lkid: u32,
    pub(super) sb_flags: u8,
    pub(super) sb_padding: [u8; 3],
    pub(super) sb_lvbptr: u32,
    pub(super) bast_mode: u32,
    pub(super) lvb_offset: u32,
}

const _: () = {
    assert!(REQUEST_MIN == 100);
    assert!(size_of::<RawResult32>() == 52);
    assert!(size_of::<Header>() + size_of::<LockParams>() == 88);
    assert!(size_of::<RawResult>() == 72);
    assert!(core::mem::offset_of!(RawResult, sb_status) == 40);
    assert!(core::mem::offset_of!(RawResult, bast_mode) == 64);
};
