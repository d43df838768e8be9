// SPDX-License-Identifier: GPL-2.0

//! Bytes to requests.

use super::{
    layout::{
        command,
        scope,
        Header,
        LockParams,
        PurgeParams,
        SpaceParams,
        Widened,
        Width, //
    },
    record::Change,
    Dialect,
    REQUEST_MIN_64,
    SPACE_NAME_MAX, //
};
use crate::terms::{
    Flags,
    Mode,
    Reply,
    Value,
    NAME_MAX, //
};
use kernel::prelude::*;

/// A request, understood but for what only the lock table can judge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// A new lock.
    Lock {
        mode: Mode,
        flags: Flags,
        reply: Reply,
        name: &'a [u8],
        change: Change<'a>,
    },
    /// A lock that outlived its file, to go on with.
    Adopt {
        mode: Option<Mode>,
        flags: Flags,
        name: &'a [u8],
        change: Change<'a>,
    },
    /// Another mode for a lock; `mode` is `None` if the number is none, which matters only if
    /// there is such a lock.
    Convert {
        id: u32,
        mode: Option<Mode>,
        flags: Flags,
        reply: Reply,
        value: &'a Value,
        change: Change<'a>,
    },
    Unlock {
        id: u32,
        flags: Flags,
        reply: Reply,
        value: &'a Value,
        change: Change<'a>,
    },
    Cancel {
        id: u32,
        flags: Flags,
        change: Change<'a>,
    },
    /// The end of a lock's waiting, because it is in a deadlock.
    Deadlock {
        id: u32,
        flags: Flags,
    },
    /// The end of locks.
    Purge {
        nodeid: u32,
        whose: Whose,
    },
    /// The name is still to be checked: see [`check_new_lockspace`].
    CreateLockspace {
        flags: u32,
        name: &'a [u8],
    },
    RemoveLockspace {
        flags: u32,
        minor: u32,
    },
}

/// Whose locks a purge ends. A number is a thread's id, 0 stands for all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those that the thread left behind; but if it is the caller, those of the file. So a caller
    /// cannot mean what was left by somebody who had the same id.
    ByThread(u32),
    /// Those that the thread left behind, whoever has its id now.
    Orphans(u32),
    /// Those of the file.
    Own,
}

/// A flag among those of `DLM_LKF_*` that only an extended request can have.
const RETURN: Flags = Flags(1 << 31);

impl Reply {
    /// Separates how a request is to be answered from what it asks for.
    #[inline(always)]
    fn split(flags: Flags, extended: bool) -> (Flags, Reply) {
        if extended && flags.any(RETURN) {
            (flags.without(RETURN), Reply::Return)
        } else {
            (flags, Reply::Record)
        }
    }
}

/// `DLM_USER_LSFLG_FORCEFREE`: remove a lockspace although there are locks.
pub(crate) const SPACE_FORCEFREE: u32 = 2;

/// `DLM_LSFL_NEWEXCL`: refuse to share an existing lockspace.
pub(crate) const SPACE_NEWEXCL: u32 = 8;

/// `DLM_LSFL_SOFTIRQ`: not for programs.
const SPACE_SOFTIRQ: u32 = 16;

impl<'a> Request<'a> {
    /// Reads a request, all of `bytes`, in the dialect that [`Dialect::of`] or [`split_series`] has
    /// found it to be in.
    ///
    /// `EINVAL` for a command or parameters that make no sense in any state.
    #[inline(always)]
    pub(crate) fn parse(
        bytes: &'a [u8],
        dialect: Dialect,
        widened: &'a mut Widened,
    ) -> Result<Request<'a>> {
        let (header, body) = Header::ref_from_prefix(bytes).map_err(|_| EINVAL)?;
        let (width, extended) = (dialect.width(), dialect.is_extended());
        if width == Width::Bits64 && bytes.len() < REQUEST_MIN_64 {
            return Err(EINVAL);
        }
        match header.command {
            command::LOCK => Self::parse_lock(body, width, extended, widened),
            command::UNLOCK => Self::parse_unlock(body, width, extended, widened),
            command::DEADLOCK => {
                let (params, ..) = LockParams::parse(body, width, widened)?;
                Ok(Request::Deadlock {
                    id: params.lkid,
                    flags: Flags(params.flags),
                })
            }
            command::PURGE => Self::parse_purge(body, extended),
            command::CREATE_LOCKSPACE => {
                let (params, name) = SpaceParams::read_from_prefix(body).map_err(|_| EINVAL)?;
                Ok(Request::CreateLockspace {
                    flags: params.flags,
                    name: name.split(|byte| *byte == 0).next().unwrap_or_default(),
                })
            }
            command::REMOVE_LOCKSPACE => {
                let (params, _) = SpaceParams::read_from_prefix(body).map_err(|_| EINVAL)?;
                Ok(Request::RemoveLockspace {
                    flags: params.flags,
                    minor: params.minor,
                })
            }
            _ => Err(EINVAL),
        }
    }

    #[inline(always)]
    fn parse_lock(
        body: &'a [u8],
        width: Width,
        extended: bool,
        widened: &'a mut Widened,
    ) -> Result<Request<'a>> {
        let (params, value, rest) = LockParams::parse(body, width, widened)?;
        let given = &params.given;
        if given.castaddr == 0 || given.lksb == 0 {
            return Err(EINVAL);
        }
        let (flags, reply) = Reply::split(Flags(params.flags), extended);
        let change = Change::Replace(given);
        let mode = Mode::new(params.mode);
        if flags.any(Flags::CONVERT) {
            return Ok(Request::Convert {
                id: params.lkid,
                mode,
                flags,
                reply,
                value,
                change,
            });
        }
        let name = rest.get(..usize::from(params.namelen)).ok_or(EINVAL)?;
        if name.len() > NAME_MAX {
            return Err(EINVAL);
        }
        if flags.any(Flags::ORPHAN) {
            return Ok(Request::Adopt {
                mode,
                flags,
                name,
                change,
            });
        }
        Ok(Request::Lock {
            mode: mode.ok_or(EINVAL)?,
            flags,
            reply,
            name,
            change,
        })
    }

    #[inline(always)]
    fn parse_unlock(
        body: &'a [u8],
        width: Width,
        extended: bool,
        widened: &'a mut Widened,
    ) -> Result<Request<'a>> {
        let (params, value, _) = LockParams::parse(body, width, widened)?;
        let id = params.lkid;
        let (flags, reply) = Reply::split(Flags(params.flags), extended);
        let change = Change::Finish(&params.given);
        if flags.any(Flags::CANCEL) {
            return Ok(Request::Cancel { id, flags, change });
        }
        Ok(Request::Unlock {
            id,
            flags,
            reply,
            value,
            change,
        })
    }

    #[cold]
    fn parse_purge(body: &'a [u8], extended: bool) -> Result<Request<'a>> {
        let (params, rest) = PurgeParams::read_from_prefix(body).map_err(|_| EINVAL)?;
        let (scope, _) = u32::read_from_prefix(rest).map_err(|_| EINVAL)?;
        let scope = if extended { scope } else { scope::BY_THREAD };
        let whose = match (scope, params.pid) {
            (scope::BY_THREAD, pid) => Whose::ByThread(pid),
            (scope::ORPHANS, pid) => Whose::Orphans(pid),
            // No other thread's locks are meant.
            (scope::OWN, 0) => Whose::Own,
            _ => return Err(EINVAL),
        };
        Ok(Request::Purge {
            nodeid: params.nodeid,
            whose,
        })
    }
}

/// Whether a lockspace can be created: `EINVAL` if its name is empty, too long, or has characters
/// that would lead out of /dev, or split a line of a table or a word of /proc/misc, or for a flag
/// that only the kernel's own users may set.
///
/// White space is that of ASCII. A byte above it may be part of a letter (in UTF-8 `à` is 0xc3 0xa0),
/// and glibc's `fscanf`, by which libdlm reads /proc/misc, takes none for space in any encoding that
/// has ASCII in it.
pub(crate) fn check_new_lockspace(flags: u32, name: &[u8]) -> Result {
    let odd = |byte: &u8| byte.is_ascii_control() || matches!(byte, b' ' | b'/' | b'!');
    let bad_name = name.is_empty() || name.len() > SPACE_NAME_MAX || name.iter().any(odd);
    if bad_name || flags & SPACE_SOFTIRQ != 0 {
        return Err(EINVAL);
    }
    Ok(())
}
