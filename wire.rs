// SPDX-License-Identifier: GPL-2.0

//! The ABI of `include/uapi/linux/dlm_device.h`: bytes to requests, records to bytes.
//!
//! What goes beyond that file is asked for by stamping a request with version 6.1; doc/extensions.md
//! describes it. A program that never does so never sees any of it.
//!
//! Nothing here allocates, waits or knows a lock. Numbers that a program gives only to get them
//! back (addresses and their parameters) are carried as numbers and never followed.

// The paths are spelled out because the host's tests include this file from elsewhere.
#[path = "wire/layout.rs"]
pub(crate) mod layout;
#[path = "wire/record.rs"]
mod record;
#[path = "wire/request.rs"]
mod request;

pub(crate) use self::{
    layout::{
        Widened,
        Width, //
    },
    record::{
        record_length,
        record_min,
        Change,
        News,
        Record,
        RecordBytes,
        User, //
    },
    request::{
        check_new_lockspace,
        Request,
        Whose,
        SPACE_FORCEFREE,
        SPACE_NEWEXCL, //
    },
};

use self::layout::{
    Header,
    LockParams,
    LockParams32, //
};
use crate::terms::{
    NAME_MAX,
    VALUE_LEN, //
};
use core::mem::size_of;
use kernel::prelude::*;

/// The version of the interface that is spoken. libdlm stamps its requests with what it reads.
pub(crate) const VERSION: [u32; 3] = [6, 0, 2];

/// The second number in the version of requests that want more than that.
const EXTENDED_MINOR: u32 = 1;

/// Longest lockspace name, in bytes (`DLM_LOCKSPACE_LEN`).
pub(crate) const SPACE_NAME_MAX: usize = 64;

/// Shorter writes are refused whatever they hold: the smallest request of all, that of a 32-bit
/// program.
const REQUEST_MIN: usize = size_of::<Header>() + size_of::<LockParams32>() + VALUE_LEN;

/// 64-bit requests that are no lock requests are at least this long, for no better reason than
/// that fs/dlm wants it.
const REQUEST_MIN_64: usize = 104;

/// Longer writes than that of a 64-bit program with the longest name are refused, or are a series.
pub(crate) const REQUEST_MAX: usize =
    size_of::<Header>() + size_of::<LockParams>() + VALUE_LEN + NAME_MAX;

/// Set in what `write()` returns if the reply that was to be returned is still to come.
pub(crate) const PENDING: u32 = 1 << 31;

/// The most that a series of requests takes in one write.
pub(crate) const SERIES_MAX: usize = 1 << 16;

/// The size of a [`version`].
pub(crate) const VERSION_LEN: usize = 12;

/// `EINVAL` for a size that no request has.
#[inline(always)]
pub(crate) fn check_request_size(size: usize) -> Result {
    if (REQUEST_MIN..=REQUEST_MAX).contains(&size) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// The dialect of the first request of a series; `EINVAL` if it is not extended.
pub(crate) fn dialect_of_series(bytes: &[u8]) -> Result<Dialect> {
    extended_header(bytes).map(|(_, dialect)| dialect)
}

#[inline(always)]
fn extended_header(bytes: &[u8]) -> Result<(&Header, Dialect)> {
    let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| EINVAL)?;
    match header.dialect() {
        Ok(dialect) if dialect.is_extended() => Ok((header, dialect)),
        _ => Err(EINVAL),
    }
}

/// The first request of a series, in its dialect, and the others. `EINVAL` for its size, if it is
/// longer than what there is, or not extended.
#[inline(always)]
pub(crate) fn split_series(bytes: &[u8]) -> Result<(Dialect, &[u8], &[u8])> {
    let (header, dialect) = extended_header(bytes)?;
    let length = header.length_in(bytes);
    let (first, others) = bytes.split_at_checked(length).ok_or(EINVAL)?;
    check_request_size(length)?;
    Ok((dialect, first, others))
}

/// The answer to a read of [`VERSION_LEN`] bytes.
pub(crate) fn version() -> [u8; VERSION_LEN] {
    let mut bytes = [0; VERSION_LEN];
    let words = VERSION.iter().flat_map(|word| word.to_ne_bytes());
    for (to, from) in bytes.iter_mut().zip(words) {
        *to = from;
    }
    bytes
}

/// What a request says of the program that makes it, in bits; 0 is a 64-bit program that speaks the
/// version that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect(pub(crate) u32);

impl Dialect {
    pub(crate) const PLAIN: Dialect = Dialect(0);
    const NARROW: u32 = 1;
    const EXTENDED: u32 = 2;

    /// That of a request that is alone. In this order: `EINVAL` for its size, `EBADE` for a version
    /// that is neither 6.0 nor 6.1.
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8]) -> Result<Dialect> {
        check_request_size(bytes.len())?;
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| EINVAL)?;
        header.dialect()
    }

    /// `EINVAL` if an extended request, which is alone, says that it has another length.
    pub(crate) fn check_length(self, bytes: &[u8]) -> Result {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| EINVAL)?;
        if self.is_extended() && header.length_in(bytes) != bytes.len() {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// How wide its addresses are.
    pub(crate) const fn width(self) -> Width {
        if self.0 & Self::NARROW == 0 {
            Width::Bits64
        } else {
            Width::Bits32
        }
    }

    /// Whether it speaks version 6.1.
    pub(crate) const fn is_extended(self) -> bool {
        self.0 & Self::EXTENDED != 0
    }

    /// Whether nothing is new in `other`.
    pub(crate) const fn includes(self, other: Dialect) -> bool {
        other.0 & !self.0 == 0
    }

    /// Of a file that was written to in both dialects.
    pub(crate) const fn and(self, other: Dialect) -> Self {
        Dialect(self.0 | other.0)
    }
}

impl Header {
    /// `EBADE` for a version that is neither 6.0 nor 6.1.
    #[inline(always)]
    pub(super) fn dialect(&self) -> Result<Dialect> {
        let [major, minor, _] = self.version;
        if major != VERSION[0] || minor > EXTENDED_MINOR {
            return Err(EBADE);
        }
        let narrow = if self.is64bit == 0 {
            Dialect::NARROW
        } else {
            0
        };
        Ok(Dialect(narrow | (minor * Dialect::EXTENDED)))
    }

    /// How many of these bytes, at whose beginning it is, are its extended request.
    #[inline(always)]
    pub(super) fn length_in(&self, bytes: &[u8]) -> usize {
        match usize::from(self.length) {
            0 => bytes.len(),
            length => length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        layout::{
            command,
            Given, //
        },
        *, //
    };
    use crate::terms::{
        Flags,
        Mode,
        Reply,
        Status,
        StatusFlags,
        IN_PROGRESS,
        VALUE_LEN, //
    };

    fn parse(bytes: &[u8]) -> Result<Request<'_>> {
        let widened = Box::leak(Box::new(Widened::new()));
        let dialect = Dialect::of(bytes)?;
        dialect.check_length(bytes)?;
        Request::parse(bytes, dialect, widened)
    }

    /// The same request as an extended one.
    fn extended(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
        put(&mut bytes, 4, &1u32.to_ne_bytes());
        put(&mut bytes, 14, &(length as u16).to_ne_bytes());
        bytes
    }

    #[test]
    fn only_extended_requests_ask_for_a_reply_in_the_write() {
        let bytes = lock(b"name", 1 | 1 << 31);
        for (bytes, reply, flags) in [
            (bytes.clone(), Reply::Record, Flags(1 | 1 << 31)),
            (extended(bytes, 0), Reply::Return, Flags(1)),
        ] {
            let Ok(Request::Lock {
                reply: read_reply,
                flags: read_flags,
                ..
            }) = parse(&bytes)
            else {
                panic!("not a lock request");
            };
            assert_eq!((read_reply, read_flags), (reply, flags));
        }
    }

    #[test]
    fn an_extended_request_says_how_long_it_is() {
        let (first, second) = (lock(b"name", 0), lock(b"other", 0));
        let length = first.len();
        let mut series = extended(first.clone(), length);
        series.extend(extended(second.clone(), 0));
        let (dialect, one, others) = split_series(&series).unwrap();
        assert_eq!((one.len(), others.len()), (length, second.len()));
        assert!(dialect.is_extended() && parse(one).is_ok());
        assert_eq!(split_series(others), Ok((dialect, others, &[][..])));
        // Longer than what there is, longer than the request, not extended.
        let wrong = extended(first.clone(), length + 1);
        assert_eq!(split_series(&wrong), Err(EINVAL));
        assert_eq!(parse(&extended(first.clone(), length - 1)), Err(EINVAL));
        assert_eq!(split_series(&first), Err(EINVAL));
    }

    #[test]
    fn manners_are_remembered() {
        let (narrow, extended) = (Dialect(1), Dialect(2));
        assert_eq!(
            (narrow.width(), extended.width()),
            (Width::Bits32, Width::Bits64)
        );
        let both = Dialect::PLAIN.and(narrow).and(extended);
        assert_eq!((both, both.is_extended()), (Dialect(3), true));
        assert!(both.includes(narrow) && !narrow.includes(extended));
    }

    #[test]
    fn an_acknowledgement_says_that_it_is_pending() {
        let encoded = encode(&record(News::Acknowledgement), Width::Bits64);
        let plain = encode(
            &record(News::Completion {
                status: Status::Granted,
                flags: StatusFlags::default(),
                value: None,
            }),
            Width::Bits64,
        );
        assert_eq!(encoded[40..44], IN_PROGRESS.to_ne_bytes());
        assert_eq!(encoded[..40], plain[..40]);
        assert_eq!(encoded[44..], plain[44..]);
    }

    fn encode(record: &Record<'_>, width: Width) -> Vec<u8> {
        record.show(width, |bytes| bytes.to_vec())
    }

    /// A request of `size` bytes with a sound header.
    fn request(command: u8, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        put(&mut bytes, 0, &6u32.to_ne_bytes());
        bytes[12] = command;
        bytes[13] = 1;
        bytes
    }

    fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
        bytes[at..at + what.len()].copy_from_slice(what);
    }

    /// A LOCK request for `name` with every field set to something of its own.
    fn lock(name: &[u8], flags: u32) -> Vec<u8> {
        let mut bytes = request(command::LOCK, 120 + name.len());
        bytes[16] = 3;
        bytes[17] = name.len() as u8;
        put(&mut bytes, 20, &flags.to_ne_bytes());
        put(&mut bytes, 24, &77u32.to_ne_bytes());
        for (n, at) in [32, 40, 48, 56, 64, 72, 80].into_iter().enumerate() {
            put(&mut bytes, at, &(n as u64 + 100).to_ne_bytes());
        }
        put(&mut bytes, 88, &[9; VALUE_LEN]);
        put(&mut bytes, 120, name);
        bytes
    }

    const GIVEN: Given = Given {
        xid: 100,
        timeout: 101,
        castparam: 102,
        castaddr: 103,
        bastparam: 104,
        bastaddr: 105,
        lksb: 106,
    };

    const USER: User = User {
        xid: 100,
        cast_parameter: 102,
        cast_address: 103,
        blocking_parameter: 104,
        blocking_address: 105,
        lksb: 106,
    };

    #[test]
    fn a_lock_request_is_read_from_where_the_header_file_says() {
        assert_eq!(
            parse(&lock(b"name", 1)),
            Ok(Request::Lock {
                mode: Mode::Pr,
                flags: Flags::NOQUEUE,
                reply: Reply::Record,
                name: b"name",
                change: Change::Replace(&GIVEN),
            })
        );
    }

    #[test]
    fn a_conversion_too() {
        assert_eq!(
            parse(&lock(b"", 4 | 8)),
            Ok(Request::Convert {
                id: 77,
                mode: Some(Mode::Pr),
                flags: Flags::CONVERT.with(Flags::VALBLK),
                reply: Reply::Record,
                value: &[9; VALUE_LEN],
                change: Change::Replace(&GIVEN),
            })
        );
    }

    #[test]
    fn an_unlock_takes_little_of_what_is_there() {
        let mut bytes = lock(b"", 8);
        bytes[12] = command::UNLOCK;
        let change = Change::Finish(&GIVEN);
        assert_eq!(
            parse(&bytes),
            Ok(Request::Unlock {
                id: 77,
                flags: Flags::VALBLK,
                reply: Reply::Record,
                value: &[9; VALUE_LEN],
                change,
            })
        );
        put(&mut bytes, 20, &2u32.to_ne_bytes());
        assert_eq!(
            parse(&bytes),
            Ok(Request::Cancel {
                id: 77,
                flags: Flags::CANCEL,
                change,
            })
        );
    }

    #[test]
    fn finishing_keeps_the_parameter_unless_there_is_a_new_one() {
        let finish = |castparam| {
            let given = Given {
                castparam,
                lksb: 1,
                ..GIVEN
            };
            Change::Finish(&given).apply(USER)
        };
        assert_eq!(finish(0), User { lksb: 1, ..USER });
        assert_eq!(finish(2).cast_parameter, 2);
    }

    #[test]
    fn sizes_are_bounded() {
        for (is64bit, command, smallest) in [
            (0, command::REMOVE_LOCKSPACE, 100),
            (0, command::PURGE, 100),
            (0, command::UNLOCK, 100),
            (0, command::DEADLOCK, 100),
            (1, command::REMOVE_LOCKSPACE, 104),
            (1, command::PURGE, 104),
            (1, command::UNLOCK, 120),
            (1, command::DEADLOCK, 120),
        ] {
            let mut bytes = request(command, 300);
            bytes[13] = is64bit;
            for size in (0..=300).rev() {
                bytes.truncate(size);
                let fits = (smallest..=184).contains(&size);
                let wanted = if fits { Ok(()) } else { Err(EINVAL) };
                assert_eq!(parse(&bytes).map(drop), wanted, "{size}");
            }
        }
    }

    #[test]
    fn versions_are_checked_before_commands() {
        for (version, wanted) in [
            ([6, 0, 0], EINVAL),
            ([6, 0, 99], EINVAL),
            ([6, 1, 0], EINVAL),
            ([6, 2, 0], EBADE),
            ([5, 0, 2], EBADE),
            ([7, 0, 0], EBADE),
        ] {
            let mut bytes = request(200, 120);
            for (n, word) in version.into_iter().enumerate() {
                put(&mut bytes, 4 * n, &u32::to_ne_bytes(word));
            }
            assert_eq!(parse(&bytes), Err(wanted), "{version:?}");
        }
    }

    #[test]
    fn names_end_where_the_request_ends() {
        let mut bytes = lock(&[7; 64], 0);
        assert!(parse(&bytes).is_ok());
        bytes.pop();
        assert_eq!(parse(&bytes), Err(EINVAL));
        bytes[17] = 63;
        assert!(parse(&bytes).is_ok());
        bytes[17] = 65;
        assert_eq!(parse(&bytes), Err(EINVAL));
    }

    #[test]
    fn missing_addresses_and_modes_are_refused() {
        for at in [56, 80] {
            let mut bytes = lock(b"n", 0);
            put(&mut bytes, at, &[0; 8]);
            assert_eq!(parse(&bytes), Err(EINVAL), "{at}");
        }
        let mut bytes = lock(b"n", 0);
        bytes[16] = 6;
        assert_eq!(parse(&bytes), Err(EINVAL));
    }

    #[test]
    fn lockspace_names() {
        let parse = |name: &[u8]| {
            let mut bytes = request(command::CREATE_LOCKSPACE, 184);
            put(&mut bytes, 24, name);
            match parse(&bytes) {
                Ok(Request::CreateLockspace { name, flags }) => {
                    check_new_lockspace(flags, name).map(|()| name.to_vec())
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error),
            }
        };
        assert_eq!(parse(b"a\0b"), Ok(b"a".to_vec()));
        assert_eq!(parse(&[b'x'; 64]), Ok(vec![b'x'; 64]));
        assert_eq!(parse(b"\xc3\xa0\x85\xff"), Ok(b"\xc3\xa0\x85\xff".to_vec()));
        for refused in [&b""[..], &[b'x'; 65], b"a/b", b"a!b", b"a\x7f"] {
            assert_eq!(parse(refused), Err(EINVAL), "{refused:?}");
        }
        for space in b" \t\n\x0b\x0c\r" {
            let refused = [b'a', *space, b'b'];
            assert_eq!(parse(&refused), Err(EINVAL), "{refused:?}");
        }
    }

    fn record(news: News<'_>) -> Record<'_> {
        Record {
            id: 0x1234,
            user: &USER,
            news,
        }
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn long(bytes: &[u8], at: usize) -> u64 {
        u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn a_completion_is_written_where_the_header_file_says() {
        let news = News::Completion {
            status: Status::Cancelled,
            flags: StatusFlags(5),
            value: None,
        };
        let encoded = encode(&record(news), Width::Bits64);
        let bytes = &encoded[..];
        assert_eq!(bytes.len(), 72);
        let header: Vec<u32> = (0..4).map(|n| word(bytes, 4 * n)).collect();
        assert_eq!(header, [6, 0, 2, 72]);
        let user: Vec<u64> = (2..5).map(|n| long(bytes, 8 * n)).collect();
        assert_eq!(user, [103, 102, 106]);
        assert_eq!(word(bytes, 40) as i32, -0x10001);
        assert_eq!(word(bytes, 44), 0x1234);
        assert_eq!(bytes[48..56], [5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[56..72], [0; 16]);
    }

    #[test]
    fn a_value_block_follows() {
        let news = News::Completion {
            status: Status::Granted,
            flags: StatusFlags::default(),
            value: Some(&[3; VALUE_LEN]),
        };
        let encoded = encode(&record(news), Width::Bits64);
        let bytes = &encoded[..];
        assert_eq!((word(bytes, 12), word(bytes, 68)), (104, 72));
        assert_eq!(bytes[72..], [3; VALUE_LEN]);
    }

    #[test]
    fn a_blocking_record_shows_the_other_address() {
        for (pending, status) in [(false, 0), (true, -0x10003)] {
            let mode = Mode::Ex;
            let encoded = encode(&record(News::Blocking { mode, pending }), Width::Bits64);
            let bytes = &encoded[..];
            assert_eq!((long(bytes, 16), long(bytes, 24)), (105, 104));
            assert_eq!(word(bytes, 40) as i32, status);
            assert_eq!(bytes[48..56], [0; 8]);
            assert_eq!(bytes[64..72], [5, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    /// The parts of a 32-bit program's request before the name, as [`lock`] fills them.
    fn lock32(flags: u32, namelen: usize) -> Vec<u8> {
        let mut bytes = request(command::LOCK, 100);
        bytes[13] = 0;
        bytes[16] = 3;
        bytes[17] = namelen as u8;
        put(&mut bytes, 20, &flags.to_ne_bytes());
        put(&mut bytes, 24, &77u32.to_ne_bytes());
        put(&mut bytes, 32, &100u64.to_ne_bytes());
        put(&mut bytes, 40, &101u64.to_ne_bytes());
        for (n, at) in [48, 52, 56, 60, 64].into_iter().enumerate() {
            put(&mut bytes, at, &(n as u32 + 102).to_ne_bytes());
        }
        put(&mut bytes, 68, &[9; VALUE_LEN]);
        bytes
    }

    #[test]
    fn a_32_bit_name_follows_at_100_in_both_sizes() {
        for padding in [0, 4] {
            let mut bytes = lock32(1, 4);
            bytes.extend(b"name");
            bytes.extend(vec![0; padding]);
            let dialect = Dialect::of(&bytes);
            assert_eq!(dialect.map(Dialect::width), Ok(Width::Bits32));
            assert_eq!(
                parse(&bytes),
                Ok(Request::Lock {
                    mode: Mode::Pr,
                    flags: Flags::NOQUEUE,
                    reply: Reply::Record,
                    name: b"name",
                    change: Change::Replace(&GIVEN),
                })
            );
        }
        let mut bytes = lock32(0, 4);
        bytes.extend(b"nam");
        assert_eq!(parse(&bytes), Err(EINVAL));
    }

    #[test]
    fn a_32_bit_conversion_and_unlock_need_100_bytes() {
        let mut bytes = lock32(4 | 8, 0);
        assert_eq!(
            parse(&bytes),
            Ok(Request::Convert {
                id: 77,
                mode: Some(Mode::Pr),
                flags: Flags::CONVERT.with(Flags::VALBLK),
                reply: Reply::Record,
                value: &[9; VALUE_LEN],
                change: Change::Replace(&GIVEN),
            })
        );
        bytes[12] = command::UNLOCK;
        put(&mut bytes, 20, &8u32.to_ne_bytes());
        assert_eq!(
            parse(&bytes),
            Ok(Request::Unlock {
                id: 77,
                flags: Flags::VALBLK,
                reply: Reply::Record,
                value: &[9; VALUE_LEN],
                change: Change::Finish(&GIVEN),
            })
        );
        bytes[12] = command::DEADLOCK;
        assert_eq!(
            parse(&bytes),
            Ok(Request::Deadlock {
                id: 77,
                flags: Flags::VALBLK,
            })
        );
    }

    #[test]
    fn purging_says_whose() {
        for (is64bit, size) in [(0, 100), (1, 104)] {
            let bytes = purge(is64bit, size, 4711, 0);
            let whose = Whose::ByThread(4711);
            assert_eq!(parse(&bytes), Ok(Request::Purge { nodeid: 1, whose }));
            assert_eq!(parse(&bytes[..size - 1]), Err(EINVAL));
        }
    }

    #[test]
    fn an_extended_purge_tells_orphans_from_locks_of_ones_own() {
        for (is64bit, size) in [(0, 100), (1, 104)] {
            for (pid, scope, whose) in [
                (4711, 0, Ok(Whose::ByThread(4711))),
                (0, 0, Ok(Whose::ByThread(0))),
                (4711, 1, Ok(Whose::Orphans(4711))),
                (0, 1, Ok(Whose::Orphans(0))),
                (0, 2, Ok(Whose::Own)),
                (4711, 2, Err(EINVAL)),
                (0, 3, Err(EINVAL)),
                (0, 1 << 31, Err(EINVAL)),
                (0, 1 << 8 | 1, Err(EINVAL)),
            ] {
                let bytes = purge(is64bit, size, pid, scope);
                let request = |whose| Request::Purge { nodeid: 1, whose };
                let wanted = whose.map(request);
                assert_eq!(parse(&extended(bytes.clone(), 0)), wanted, "{scope:#x}");
                // In version 6.0 there is no such number.
                assert_eq!(parse(&bytes), Ok(request(Whose::ByThread(pid))));
            }
        }
    }

    fn purge(is64bit: u8, size: usize, pid: u32, scope: u32) -> Vec<u8> {
        let mut bytes = request(command::PURGE, size);
        bytes[13] = is64bit;
        put(&mut bytes, 16, &1u32.to_ne_bytes());
        put(&mut bytes, 20, &pid.to_ne_bytes());
        put(&mut bytes, 24, &scope.to_ne_bytes());
        bytes
    }

    #[test]
    fn orphans_are_asked_for_by_name_and_any_mode() {
        let mut bytes = lock(b"name", 0x4000);
        let adopt = |mode| {
            Ok(Request::Adopt {
                mode,
                flags: Flags::ORPHAN,
                name: &b"name"[..],
                change: Change::Replace(&GIVEN),
            })
        };
        assert_eq!(parse(&bytes), adopt(Some(Mode::Pr)));
        bytes[16] = 6;
        assert_eq!(parse(&bytes), adopt(None));
        let conversion = lock(b"", 0x4000 | 4);
        assert!(matches!(parse(&conversion), Ok(Request::Convert { .. })));
    }

    #[test]
    fn a_32_bit_record_has_narrow_addresses() {
        let news = News::Completion {
            status: Status::Cancelled,
            flags: StatusFlags(5),
            value: None,
        };
        // Nobody gave such an address; what is too wide is cut.
        let user = User {
            lksb: USER.lksb | 1 << 40,
            ..USER
        };
        let told = Record {
            user: &user,
            ..record(news)
        };
        let encoded = encode(&told, Width::Bits32);
        let words: Vec<u32> = (0..13).map(|n| word(&encoded, 4 * n)).collect();
        assert_eq!(words[..4], [6, 0, 2, 52]);
        assert_eq!(words[4..7], [103, 102, 106]);
        assert_eq!(words[7..9], [-0x10001i32 as u32, 0x1234]);
        assert_eq!(encoded[36..], [&[5][..], &[0; 15]].concat());

        let mode = Mode::Ex;
        let pending = true;
        let encoded = encode(&record(News::Blocking { mode, pending }), Width::Bits32);
        let words: Vec<u32> = (0..13).map(|n| word(&encoded, 4 * n)).collect();
        assert_eq!(words[4..9], [105, 104, 106, -0x10003i32 as u32, 0x1234]);
        assert_eq!(encoded[44..], [5, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_32_bit_value_block_follows_at_52() {
        let told = record(News::Completion {
            status: Status::Granted,
            flags: StatusFlags::default(),
            value: Some(&[3; VALUE_LEN]),
        });
        let encoded = encode(&told, Width::Bits32);
        let bytes = &encoded[..];
        assert_eq!((bytes.len(), record_length(Width::Bits32, true)), (84, 84));
        assert_eq!((word(bytes, 12), word(bytes, 48)), (84, 52));
        assert_eq!(bytes[52..], [3; VALUE_LEN]);
    }

    #[test]
    fn the_version_is_three_words() {
        let bytes = version();
        let words: Vec<u32> = (0..3).map(|n| word(&bytes, 4 * n)).collect();
        assert_eq!(words, VERSION);
    }
}
