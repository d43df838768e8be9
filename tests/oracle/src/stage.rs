// SPDX-License-Identifier: GPL-2.0

//! Where programs are played, in the guest: a lockspace, and processes that stay from one program to
//! the next.

use crate::{
    abi::{self, Command, LockRequest, Record},
    cast::{returned, Answer, Process, SharedFile},
    log::Log,
    terms::*,
    transcript::{addresses, Sayings},
};
use std::{
    collections::{btree_map::Entry, BTreeMap},
    fs,
    io::{self, Write},
};

pub const LOCKSPACE: &str = "oracle";
const DEVICE: &str = "/dev/dlm_oracle";

pub struct Stage {
    pub ours: bool,
    processes: BTreeMap<u8, Process>,
    control: fs::File,
    pub minor: u32,
    /// A file of the stage's own, to see that nothing is left.
    broom: SharedFile,
    pub log: Log,
    /// Of all programs.
    pub sayings: Sayings,
}

impl Stage {
    pub fn build() -> io::Result<Stage> {
        let mut control = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/dlm-control")?;
        let minor = control.write(&abi::create_lockspace(LOCKSPACE, 0))? as u32;
        let broom = SharedFile::own(DEVICE)?;
        Ok(Stage {
            ours: fs::exists("/sys/module/dlm_device")?,
            processes: BTreeMap::new(),
            control,
            minor,
            broom,
            log: Log::open()?,
            sayings: Sayings::new(),
        })
    }

    /// Removes the lockspace, which must be empty; what was said in all that time.
    pub fn strike(mut self) -> io::Result<Sayings> {
        for process in self.processes.into_values() {
            process.kill()?;
        }
        drop(self.broom);
        let removed = self.control.write(&abi::remove_lockspace(self.minor, 0));
        removed.map_err(|error| io::Error::other(format!("a lock is left at the end: {error}")))?;
        match self.log.complaint() {
            None => Ok(self.sayings),
            Some(complaint) => Err(io::Error::other(format!(
                "the kernel complains: {complaint}"
            ))),
        }
    }

    /// Purges all orphans.
    pub fn sweep(&mut self) -> io::Result<()> {
        succeed(self.broom.write(&abi::purge(0, 0)))
    }

    /// What is in the way of an exclusive lock.
    pub fn left_on(&mut self, name: &[u8]) -> io::Result<Option<Text>> {
        let broom = &mut self.broom;
        let user = addresses(0);
        let id = broom.write(&abi::lock(&LockRequest {
            mode: EX,
            flags: NOQUEUE,
            addresses: user,
            name,
            ..LockRequest::default()
        }));
        if id <= 0 {
            return Ok(Some(error_name(id)));
        }
        let (_, records) = broom.read(None);
        let status = records.first().map(|bytes| Record::decode(bytes).status);
        if status != Some(0) {
            return Ok(Some(status.map_or("nothing".into(), error_name)));
        }
        let request = LockRequest {
            id: id as u32,
            addresses: user,
            ..LockRequest::default()
        };
        succeed(broom.write(&abi::unlock(Command::Unlock, &request)))?;
        broom.read(None);
        Ok(None)
    }

    /// The process of that number, started if need be.
    pub fn process(&mut self, number: u8) -> io::Result<&Process> {
        Ok(match self.processes.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(Process::start(DEVICE)?),
        })
    }

    pub fn kill(&mut self, process: u8) -> io::Result<()> {
        match self.processes.remove(&process) {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    pub fn create_lockspace(&mut self, name: &str, flags: u32) -> Answer {
        returned(&self.control.write(&abi::create_lockspace(name, flags)))
    }

    pub fn remove_lockspace(&mut self, minor: u32, flags: u32) -> Answer {
        returned(&self.control.write(&abi::remove_lockspace(minor, flags)))
    }
}

fn succeed(answer: Answer) -> io::Result<()> {
    match answer {
        0.. => Ok(()),
        _ => Err(io::Error::from_raw_os_error(-answer)),
    }
}
