// SPDX-License-Identifier: GPL-2.0

//! Modes, flags and statuses, and their names.

use std::borrow::Cow;

/// What mostly stands in the program, and need not be made.
pub type Text = Cow<'static, str>;

pub const MODES: [&str; 6] = ["NL", "CR", "CW", "PR", "PW", "EX"];

pub const NL: u8 = 0;
pub const CR: u8 = 1;
pub const CW: u8 = 2;
pub const PR: u8 = 3;
pub const PW: u8 = 4;
pub const EX: u8 = 5;

pub fn mode_name(mode: u8) -> Text {
    match MODES.get(usize::from(mode)) {
        Some(name) => Text::from(*name),
        None => format!("mode={mode}").into(),
    }
}

pub fn compatible(one: u8, other: u8) -> bool {
    let (low, high) = (one.min(other), one.max(other));
    match low {
        NL => true,
        CR => high < EX,
        CW => high == CW,
        PR => high == PR,
        _ => false,
    }
}

/// The conversions for which QUECVT is allowed.
pub fn may_queue(from: u8, to: u8) -> bool {
    from < to && to <= EX || (from, to) == (PR, CW)
}

pub const NOQUEUE: u32 = 0x0000_0001;
pub const CANCEL: u32 = 0x0000_0002;
pub const CONVERT: u32 = 0x0000_0004;
pub const VALBLK: u32 = 0x0000_0008;
pub const QUECVT: u32 = 0x0000_0010;
pub const IVVALBLK: u32 = 0x0000_0020;
pub const CONVDEADLK: u32 = 0x0000_0040;
pub const PERSISTENT: u32 = 0x0000_0080;
pub const NODLCKWT: u32 = 0x0000_0100;
pub const NODLCKBLK: u32 = 0x0000_0200;
pub const EXPEDITE: u32 = 0x0000_0400;
pub const NOQUEUEBAST: u32 = 0x0000_0800;
pub const HEADQUE: u32 = 0x0000_1000;
pub const NOORDER: u32 = 0x0000_2000;
pub const ORPHAN: u32 = 0x0000_4000;
pub const ALTPR: u32 = 0x0000_8000;
pub const ALTCW: u32 = 0x0001_0000;
pub const FORCEUNLOCK: u32 = 0x0002_0000;
pub const TIMEOUT: u32 = 0x0004_0000;

pub const FLAGS: [(&str, u32); 19] = [
    ("noqueue", NOQUEUE),
    ("cancel", CANCEL),
    ("convert", CONVERT),
    ("valblk", VALBLK),
    ("quecvt", QUECVT),
    ("ivvalblk", IVVALBLK),
    ("convdeadlk", CONVDEADLK),
    ("persistent", PERSISTENT),
    ("nodlckwt", NODLCKWT),
    ("nodlckblk", NODLCKBLK),
    ("expedite", EXPEDITE),
    ("noqueuebast", NOQUEUEBAST),
    ("headque", HEADQUE),
    ("noorder", NOORDER),
    ("orphan", ORPHAN),
    ("altpr", ALTPR),
    ("altcw", ALTCW),
    ("forceunlock", FORCEUNLOCK),
    ("timeout", TIMEOUT),
];

/// The names of all that are set, each after a space; what has no name as a number.
pub fn flag_names(flags: u32) -> String {
    let mut text = String::new();
    let mut rest = flags;
    for (name, flag) in FLAGS {
        if flags & flag != 0 {
            text += " ";
            text += name;
            rest &= !flag;
        }
    }
    if rest != 0 {
        text += &format!(" flags={rest:#x}");
    }
    text
}

pub const DEMOTED: u8 = 1;
pub const VALNOTVALID: u8 = 2;
pub const ALTMODE: u8 = 4;

pub const EAGAIN: i32 = 11;
pub const EDEADLK: i32 = 35;
pub const ECANCEL: i32 = 0x10001;
pub const EUNLOCK: i32 = 0x10002;
/// libdlm's: the operation is still in progress.
pub const EINPROG: i32 = 0x10003;

/// The name of what a record or a call has returned, negative as it is.
pub fn error_name(error: i32) -> Text {
    let name = match -error {
        0 => "granted",
        1 => "EPERM",
        2 => "ENOENT",
        EAGAIN => "EAGAIN",
        12 => "ENOMEM",
        14 => "EFAULT",
        16 => "EBUSY",
        17 => "EEXIST",
        19 => "ENODEV",
        22 => "EINVAL",
        EDEADLK => "EDEADLK",
        52 => "EBADE",
        ECANCEL => "ECANCEL",
        EUNLOCK => "EUNLOCK",
        EINPROG => "EINPROG",
        _ => return format!("error {}", -error).into(),
    };
    name.into()
}
