// SPDX-License-Identifier: GPL-2.0

//! The bytes of the DLM's interface, version 6.0, as a 64-bit program writes and reads them.
//!
//! On purpose not the module's own `wire.rs`: what it gets wrong must not be right here.

pub const LVB: usize = 32;
pub const RECORD: usize = 72;
pub const RECORD_MAX: usize = RECORD + LVB;

const REQUEST: usize = 120;

#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Command {
    Lock = 1,
    Unlock = 2,
    CreateLockspace = 4,
    RemoveLockspace = 5,
    Purge = 6,
    Deadlock = 7,
}

/// What the kernel only gives back.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Addresses {
    pub cast: u64,
    pub cast_parameter: u64,
    pub bast: u64,
    pub bast_parameter: u64,
    pub lksb: u64,
}

/// The fields of a lock, unlock, cancel or deadlock.
#[derive(Clone, Copy, Default)]
pub struct LockRequest<'a> {
    pub mode: u8,
    pub flags: u32,
    pub id: u32,
    pub addresses: Addresses,
    pub value: [u8; LVB],
    pub name: &'a [u8],
}

struct Bytes(Vec<u8>);

impl Bytes {
    fn request(command: Command, fill: u8) -> Self {
        let mut bytes = vec![fill; REQUEST];
        bytes[..16].fill(0);
        Bytes(bytes)
            .put(0, &6u32.to_ne_bytes())
            .put(8, &2u32.to_ne_bytes())
            .put(12, &[command as u8, 1])
    }

    fn put(mut self, at: usize, field: &[u8]) -> Self {
        self.0[at..at + field.len()].copy_from_slice(field);
        self
    }
}

pub fn lock(request: &LockRequest<'_>) -> Vec<u8> {
    let user = &request.addresses;
    let mut bytes = Bytes::request(Command::Lock, 0)
        .put(16, &[request.mode, request.name.len() as u8])
        .put(20, &request.flags.to_ne_bytes())
        .put(24, &request.id.to_ne_bytes())
        .put(48, &user.cast_parameter.to_ne_bytes())
        .put(56, &user.cast.to_ne_bytes())
        .put(64, &user.bast_parameter.to_ne_bytes())
        .put(72, &user.bast.to_ne_bytes())
        .put(80, &user.lksb.to_ne_bytes())
        .put(88, &request.value)
        .0;
    bytes.extend_from_slice(request.name);
    bytes
}

/// libdlm leaves the fields that do not count uninitialised.
pub fn unlock(command: Command, request: &LockRequest<'_>) -> Vec<u8> {
    Bytes::request(command, 0xee)
        .put(20, &request.flags.to_ne_bytes())
        .put(24, &request.id.to_ne_bytes())
        .put(48, &request.addresses.cast_parameter.to_ne_bytes())
        .put(80, &request.addresses.lksb.to_ne_bytes())
        .put(88, &request.value)
        .0
}

pub fn purge(node: u32, pid: u32) -> Vec<u8> {
    Bytes::request(Command::Purge, 0)
        .put(16, &node.to_ne_bytes())
        .put(20, &pid.to_ne_bytes())
        .0
}

pub fn create_lockspace(name: &str, flags: u32) -> Vec<u8> {
    Bytes::request(Command::CreateLockspace, 0)
        .put(16, &flags.to_ne_bytes())
        .put(24, name.as_bytes())
        .0
}

pub fn remove_lockspace(minor: u32, flags: u32) -> Vec<u8> {
    Bytes::request(Command::RemoveLockspace, 0)
        .put(16, &flags.to_ne_bytes())
        .put(20, &minor.to_ne_bytes())
        .0
}

/// A record as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub id: u32,
    pub status: i32,
    pub flags: u8,
    /// 0 is a completion.
    pub bast_mode: u8,
    pub cast: u64,
    pub cast_parameter: u64,
    pub lksb: u64,
    pub value: Option<[u8; LVB]>,
    /// All that was read, if anything in it is not as it has to be.
    pub odd: Option<Vec<u8>>,
}

impl Record {
    pub fn decode(bytes: &[u8]) -> Record {
        let mut whole = [0; RECORD_MAX];
        let known = bytes.len().min(RECORD_MAX);
        whole[..known].copy_from_slice(&bytes[..known]);
        let word = |at: usize| u32::from_ne_bytes(whole[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_ne_bytes(whole[at..at + 8].try_into().unwrap());
        let mut record = Record {
            status: word(40) as i32,
            id: word(44),
            flags: whole[48],
            bast_mode: whole[64],
            cast: long(16),
            cast_parameter: long(24),
            lksb: long(32),
            value: (bytes.len() > RECORD).then(|| whole[RECORD..].try_into().unwrap()),
            odd: None,
        };
        if record.encode() != bytes {
            record.odd = Some(bytes.to_vec());
        }
        record
    }

    /// The only bytes in which it can be said: all others are zero.
    fn encode(&self) -> Vec<u8> {
        let value = self.value.as_ref().map_or(&[][..], |value| value);
        let offset = if value.is_empty() { 0 } else { RECORD as u32 };
        let mut bytes = Bytes(vec![0; RECORD])
            .put(0, &6u32.to_ne_bytes())
            .put(8, &2u32.to_ne_bytes())
            .put(12, &((RECORD + value.len()) as u32).to_ne_bytes())
            .put(16, &self.cast.to_ne_bytes())
            .put(24, &self.cast_parameter.to_ne_bytes())
            .put(32, &self.lksb.to_ne_bytes())
            .put(40, &self.status.to_ne_bytes())
            .put(44, &self.id.to_ne_bytes())
            .put(48, &[self.flags])
            .put(64, &[self.bast_mode])
            .put(68, &offset.to_ne_bytes())
            .0;
        bytes.extend_from_slice(value);
        bytes
    }
}
