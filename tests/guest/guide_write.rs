// SPDX-License-Identifier: GPL-2.0
//! How to ask in Rust, where write() returns a lock's id: by one `write`, whose number is the
//! answer, and not by `write_all` or a `BufWriter`. rustc guide_write.rs

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};

// Of <linux/dlm_device.h> and <linux/dlmconstants.h>.
const LOCK: u8 = 1;
const CREATE_LOCKSPACE: u8 = 4;
const REMOVE_LOCKSPACE: u8 = 5;
const CONVERT: u32 = 4;
const NL: u8 = 0;
const EX: u8 = 5;

/// `struct dlm_write_request` of a 64-bit program, of version 6.0.2.
fn request(command: u8) -> Vec<u8> {
    let mut bytes = vec![0; 120];
    bytes[0] = 6;
    bytes[8] = 2;
    bytes[12] = command;
    bytes[13] = 1;
    bytes
}

fn put(bytes: &mut [u8], offset: usize, number: u32) {
    bytes[offset..offset + 4].copy_from_slice(&number.to_ne_bytes());
}

/// A new lock if `id` is 0, else another mode for that one.
fn lock_request(id: u32, mode: u8, name: &str) -> Vec<u8> {
    let mut bytes = request(LOCK);
    bytes[16] = mode;
    bytes[17] = name.len() as u8;
    put(&mut bytes, 20, if id == 0 { 0 } else { CONVERT });
    put(&mut bytes, 24, id);
    put(&mut bytes, 56, 1); // castaddr and lksb: anything but 0
    put(&mut bytes, 80, 1);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

fn open(name: &str) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/dev/{name}"))
}

/// One call of write(). What it returns is an id, or 0, whatever the length.
fn ask(mut lockspace: &File, request: &[u8]) -> io::Result<u32> {
    Ok(lockspace.write(request)? as u32)
}

/// One call of read(), with room for the longest record. The id in it.
fn hear(mut lockspace: &File) -> io::Result<u32> {
    let mut record = [0; 104];
    let length = lockspace.read(&mut record)?;
    assert!(length >= 72);
    Ok(u32::from_ne_bytes(record[44..48].try_into().unwrap()))
}

/// How many locks of this name there are.
fn count(name: &str) -> io::Result<usize> {
    let table = std::fs::read_to_string("/sys/kernel/debug/dlm/guide_locks")?;
    Ok(table.matches(&format!("\"{name}\"")).count())
}

fn panics<T>(attempt: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(attempt)).is_err()
}

fn main() -> io::Result<()> {
    let control = open("dlm-control")?;
    let mut create = request(CREATE_LOCKSPACE);
    create[24..29].copy_from_slice(b"guide");
    let minor = ask(&control, &create)?;
    let file = open("dlm_guide")?;

    let id = ask(&file, &lock_request(0, NL, "asked"))?;
    assert_eq!(id, hear(&file)?);
    assert_eq!(0, ask(&file, &lock_request(id, EX, ""))?);
    assert_eq!(id, hear(&file)?);
    println!("write: lock {id:x}");

    // The id taken for a length leads beyond the request; the 0 of a conversion, to an error.
    assert!(panics(|| (&file).write_all(&lock_request(0, NL, "all"))));
    assert_eq!(1, count("all")?);
    let id = hear(&file)?;
    let error = (&file).write_all(&lock_request(id, EX, "")).unwrap_err();
    assert_eq!(io::ErrorKind::WriteZero, error.kind());
    assert_eq!(id, hear(&file)?);
    println!("write_all: panics, or {error}; the lock is there, and converted");

    // A buffer keeps what it could not get rid of, and asks again.
    let mut writer = BufWriter::new(&file);
    writer.write_all(&lock_request(0, NL, "buffered"))?;
    assert!(panics(|| writer.flush()));
    assert!(panics(|| drop(writer)));
    assert_eq!(2, count("buffered")?);
    println!("BufWriter: panics, and has asked twice");

    drop(file);
    let mut remove = request(REMOVE_LOCKSPACE);
    put(&mut remove, 20, minor);
    ask(&control, &remove)?;
    Ok(())
}
