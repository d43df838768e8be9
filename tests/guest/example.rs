// SPDX-License-Identifier: GPL-2.0
//! A lock handed from one owner to another, without libdlm: requests are written to the file of a
//! lockspace, and records of what became of them are read from it. `rustc example.rs`

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

// Of <linux/dlm_device.h> and <linux/dlmconstants.h>.
const LOCK: u8 = 1;
const UNLOCK: u8 = 2;
const CREATE_LOCKSPACE: u8 = 4;
const REMOVE_LOCKSPACE: u8 = 5;
const CONVERT: u32 = 4;
const NL: u8 = 0;
const PR: u8 = 3;
const EX: u8 = 5;
const EUNLOCK: i32 = 0x10002;

/// `struct dlm_write_request`: all are 120 bytes long; a name may follow.
struct Request(Vec<u8>);

impl Request {
    fn new(command: u8) -> Self {
        Request(vec![0; 120])
            .with(0, &6u32.to_ne_bytes()) // version 6.0.2
            .with(8, &2u32.to_ne_bytes())
            .with(12, &[command, 1]) // from a 64-bit program
    }

    /// Puts in a field, in native byte order.
    fn with(mut self, offset: usize, field: &[u8]) -> Self {
        self.0.resize(self.0.len().max(offset + field.len()), 0);
        self.0[offset..offset + field.len()].copy_from_slice(field);
        self
    }

    /// Asks. The answer is a lock id, or a lockspace's minor number, or 0.
    fn send(self, mut file: &File) -> io::Result<u32> {
        Ok(file.write(&self.0)? as u32)
    }
}

/// A new lock if `id` is 0, else another mode for that one.
fn lock(file: &File, id: u32, mode: u8, name: &str) -> io::Result<u32> {
    // These would be libdlm's pointers. The kernel only gives them back, so any will do. Without
    // one for blocking records there would be none of those.
    let (completed, blocking, status) = (1u64, 2u64, 3u64);
    let flags = if id == 0 { 0 } else { CONVERT };
    Request::new(LOCK)
        .with(16, &[mode, name.len() as u8])
        .with(20, &flags.to_ne_bytes())
        .with(24, &id.to_ne_bytes())
        .with(56, &completed.to_ne_bytes())
        .with(72, &blocking.to_ne_bytes())
        .with(80, &status.to_ne_bytes())
        .with(120, name.as_bytes())
        .send(file)
}

fn unlock(file: &File, id: u32) -> io::Result<u32> {
    Request::new(UNLOCK)
        .with(24, &id.to_ne_bytes())
        .with(80, &3u64.to_ne_bytes())
        .send(file)
}

#[derive(Debug, PartialEq)]
enum Record {
    Granted(u32),
    Unlocked(u32),
    Refused(u32, i32),
    Blocks(u32, u8),
}
use Record::*;

/// Waits for the next record, a `struct dlm_lock_result`.
fn hear(mut file: &File) -> io::Result<Record> {
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: i16,
        revents: i16,
    }
    extern "C" {
        fn poll(fds: *mut PollFd, number: u64, milliseconds: i32) -> i32;
    }
    const POLLIN: i16 = 1;
    let mut fd = PollFd {
        fd: file.as_raw_fd(),
        events: POLLIN,
        revents: 0,
    };
    // SAFETY: `fd` is one pollfd, and lives until poll() returns.
    if unsafe { poll(&mut fd, 1, 10_000) } != 1 {
        return Err(io::ErrorKind::TimedOut.into());
    }

    let mut record = [0; 104];
    file.read(&mut record)?;
    let field = |at: usize| record[at..at + 4].try_into().unwrap();
    let (status, id) = (i32::from_ne_bytes(field(40)), u32::from_ne_bytes(field(44)));
    Ok(match (record[64], -status) {
        (0, 0) => Granted(id),
        (0, EUNLOCK) => Unlocked(id),
        (0, errno) => Refused(id, errno),
        (mode, _) => Blocks(id, mode),
    })
}

fn open(name: &str) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/dev/{name}"))
}

fn main() -> io::Result<()> {
    let mut step = 0;
    let mut expect = |what: &str, seen: Record, wanted: Record| {
        step += 1;
        assert_eq!(seen, wanted, "{what}");
        println!("ok {step} - {what}");
    };

    let control = open("dlm-control")?;
    let minor = Request::new(CREATE_LOCKSPACE)
        .with(24, b"example_rs")
        .send(&control)?;
    let (ours, theirs) = (open("dlm_example_rs")?, open("dlm_example_rs")?);

    let a = lock(&ours, 0, EX, "disk")?;
    expect("we are granted EX", hear(&ours)?, Granted(a));
    let b = lock(&theirs, 0, PR, "disk")?;
    expect("they want to read", hear(&ours)?, Blocks(a, PR));
    lock(&ours, a, NL, "")?;
    expect("we let go", hear(&ours)?, Granted(a));
    expect("they are granted PR", hear(&theirs)?, Granted(b));
    unlock(&ours, a)?;
    expect("we are through", hear(&ours)?, Unlocked(a));
    unlock(&theirs, b)?;
    expect("so are they", hear(&theirs)?, Unlocked(b));

    drop((ours, theirs));
    Request::new(REMOVE_LOCKSPACE)
        .with(20, &minor.to_ne_bytes())
        .send(&control)?;
    println!("1..{step}");
    Ok(())
}
