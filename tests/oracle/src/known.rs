// SPDX-License-Identifier: GPL-2.0

//! What is known of the locks while a program runs: what was asked, and what was heard. Nothing is
//! predicted, so it is the same on both kernels as long as they answer the same.

use crate::{
    abi::Addresses,
    language::{Ask, File, Name},
    terms::*,
};
use std::collections::{BTreeMap, HashMap, VecDeque};

#[derive(Default)]
pub struct Known {
    pub locks: Vec<Lock>,
    pub resources: Vec<Resource>,
    pub files: Vec<OpenFile>,
    labels: HashMap<String, usize>,
    names: HashMap<Name, usize>,
    open: BTreeMap<File, usize>,
    /// How many locks were made.
    made: u64,
}

/// Who asks, and what he gives to get it back.
#[derive(Clone, Copy)]
pub struct Asker {
    pub file: usize,
    pub pid: u32,
    pub addresses: Addresses,
}

pub struct OpenFile {
    pub file: File,
    /// Everything has been read that there was.
    pub quiet: bool,
}

pub struct Resource {
    pub bytes: Vec<u8>,
    /// Something has been asked that can make the value block invalid.
    pub invalidated: bool,
    /// A conversion with NOQUEUE has been asked.
    pub refusals: bool,
}

pub struct Lock {
    pub label: String,
    pub id: u32,
    pub resource: usize,
    /// Of an open file; nobody's, if it is an orphan, or would be if it is not gone.
    pub owner: Option<usize>,
    /// Who was the last to ask for it.
    pub pid: u32,
    /// Those of the last request, conversion or adoption.
    pub flags: u32,
    pub granted: Granted,
    pub has_value: bool,
    pub addresses: Addresses,
    /// Requests and conversions whose end has not been heard of.
    asked: VecDeque<Asked>,
    /// An unlock whose end has not been heard of.
    ending: bool,
    /// It was converted while it was an orphan, of which nothing was heard; the end may still come.
    pub vague: bool,
    /// Ever.
    pub cancelled: bool,
    /// A cancel may have stopped what it was about, since it was last converted.
    pub stopped: bool,
    /// Unless None it may be gone; and this many had been made when that began.
    doubt: Option<u64>,
    gone: bool,
}

struct Asked {
    mode: u8,
    flags: u32,
    request: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granted {
    Never,
    Mode(u8),
    Unsure,
}

impl Lock {
    /// An operation has begun of whose end nothing has been heard.
    pub fn pending(&self) -> bool {
        !self.asked.is_empty() || self.ending
    }

    pub fn certain(&self) -> bool {
        !self.gone && self.doubt.is_none()
    }

    /// The mode it is granted, if that is known and nothing is going on.
    pub fn settled(&self) -> Option<u8> {
        match self.granted {
            Granted::Mode(mode) if self.certain() && !self.pending() && !self.vague => Some(mode),
            _ => None,
        }
    }

    pub fn is_orphan(&self) -> bool {
        self.owner.is_none() && !self.gone
    }

    fn end(&mut self, made: u64) {
        self.gone = true;
        self.doubt.get_or_insert(made);
    }
}

impl Known {
    pub fn lock(&self, label: &str) -> Option<&Lock> {
        self.labels.get(label).map(|lock| &self.locks[*lock])
    }

    pub fn index(&self, label: &str) -> Option<usize> {
        self.labels.get(label).copied()
    }

    pub fn open_file(&self, file: File) -> Option<usize> {
        self.open.get(&file).copied()
    }

    pub fn is_open(&self, file: usize) -> bool {
        self.open.values().any(|open| *open == file)
    }

    pub fn open_files(&self) -> Vec<usize> {
        self.open.values().copied().collect()
    }

    pub fn files_of(&self, process: u8) -> Vec<usize> {
        let of = self.open.iter().filter(|(file, _)| file.process == process);
        of.map(|(_, open)| *open).collect()
    }

    /// Whether the id was one that has since been given to another lock.
    pub fn stale(&self, lock: &Lock) -> bool {
        lock.doubt.is_some_and(|made| made < self.made)
    }

    pub fn owned(&self, owner: Option<usize>) -> impl Iterator<Item = &Lock> {
        let of = move |lock: &&Lock| lock.owner == owner && !lock.gone;
        self.locks.iter().filter(of)
    }

    // What is done.

    pub fn opened(&mut self, file: File) -> usize {
        self.files.push(OpenFile { file, quiet: true });
        self.open.insert(file, self.files.len() - 1);
        self.files.len() - 1
    }

    /// The resource of that name, made known if need be.
    pub fn resource(&mut self, name: &Name, program: u64) -> usize {
        if let Some(resource) = self.names.get(name) {
            return *resource;
        }
        self.renew_resource(name, program)
    }

    pub fn known_resource(&self, name: &Name) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// From now on the name stands for a resource that was never there before.
    pub fn renew_resource(&mut self, name: &Name, program: u64) -> usize {
        let number = self.resources.len();
        let bytes = match name {
            Name::Exactly(bytes) => bytes.clone(),
            Name::Own(name) => format!("{name} {program:x}.{number}").into_bytes(),
        };
        self.resources.push(Resource {
            bytes,
            invalidated: false,
            refusals: false,
        });
        self.names.insert(name.clone(), number);
        number
    }

    pub fn has_certain_lock(&self, resource: usize) -> bool {
        let mut on_it = self.locks.iter().filter(|lock| lock.resource == resource);
        on_it.any(Lock::certain)
    }

    /// Something has happened that others may have heard of.
    pub fn stir(&mut self) {
        for open in self.open.values() {
            self.files[*open].quiet = false;
        }
    }

    pub fn requested(
        &mut self,
        label: &str,
        id: u32,
        resource: usize,
        asker: Asker,
        ask: &Ask,
    ) -> usize {
        self.made += 1;
        self.locks.push(Lock {
            label: label.into(),
            id,
            resource,
            owner: Some(asker.file),
            pid: asker.pid,
            flags: ask.flags,
            granted: Granted::Never,
            has_value: ask.flags & VALBLK != 0,
            addresses: asker.addresses,
            asked: VecDeque::from([Asked {
                mode: ask.mode,
                flags: ask.flags,
                request: true,
            }]),
            ending: false,
            vague: false,
            cancelled: false,
            stopped: false,
            doubt: (ask.flags & NOQUEUE != 0).then_some(self.made),
            gone: false,
        });
        self.labels.insert(label.into(), self.locks.len() - 1);
        self.locks.len() - 1
    }

    /// The lock was converted; or, if it was busy, only got other addresses.
    pub fn converted(&mut self, lock: usize, asker: Asker, ask: &Ask, busy: bool) {
        let lock = &mut self.locks[lock];
        lock.addresses = asker.addresses;
        lock.has_value |= ask.flags & VALBLK != 0;
        if busy {
            return;
        }
        lock.pid = asker.pid;
        lock.flags = ask.flags;
        lock.stopped = false;
        let resource = &mut self.resources[lock.resource];
        resource.invalidated |= ask.flags & IVVALBLK != 0;
        resource.refusals |= ask.flags & NOQUEUE != 0;
        if lock.owner.is_some() {
            lock.asked.push_back(Asked {
                mode: ask.mode,
                flags: ask.flags,
                request: false,
            });
        } else {
            lock.granted = Granted::Unsure;
        }
    }

    pub fn unlocked(&mut self, lock: usize, flags: u32, addresses: Addresses) {
        let made = self.made;
        let lock = &mut self.locks[lock];
        lock.addresses = addresses;
        lock.flags |= flags;
        self.resources[lock.resource].invalidated |= lock.flags & IVVALBLK != 0;
        lock.ending = true;
        lock.end(made);
    }

    pub fn cancelled(&mut self, lock: usize, addresses: Option<Addresses>) {
        let made = self.made;
        let lock = &mut self.locks[lock];
        lock.addresses = addresses.unwrap_or(lock.addresses);
        lock.stopped |= lock.settled().is_none();
        lock.cancelled = true;
        if lock.granted == Granted::Never {
            lock.doubt.get_or_insert(made);
        }
    }

    /// Which orphan was adopted, if it can be told by its id.
    pub fn adopted(&mut self, label: &str, id: u32, asker: Asker, ask: &Ask) -> Option<usize> {
        let orphan = |lock: &Lock| lock.is_orphan() && lock.id == id;
        let found = self.locks.iter().position(orphan)?;
        let lock = &mut self.locks[found];
        lock.owner = Some(asker.file);
        lock.pid = asker.pid;
        lock.flags = ask.flags;
        lock.stopped = false;
        lock.addresses = asker.addresses;
        lock.vague |= lock.granted == Granted::Unsure;
        lock.granted = Granted::Mode(ask.mode);
        self.labels.insert(label.into(), found);
        Some(found)
    }

    pub fn purged_orphans(&mut self, pid: Option<u32>) {
        for number in 0..self.locks.len() {
            let lock = &self.locks[number];
            if lock.is_orphan() && pid.is_none_or(|pid| pid == lock.pid) {
                self.taken_away(number);
            }
        }
    }

    pub fn purged_own(&mut self, owner: usize) {
        for number in 0..self.locks.len() {
            if self.locks[number].owner == Some(owner) {
                self.taken_away(number);
            }
        }
    }

    pub fn closed(&mut self, file: usize) {
        self.open.retain(|_, open| *open != file);
        for number in 0..self.locks.len() {
            if self.locks[number].owner != Some(file) {
                continue;
            }
            if self.locks[number].flags & PERSISTENT == 0 {
                self.taken_away(number);
            } else {
                self.orphaned(number);
            }
        }
    }

    fn taken_away(&mut self, lock: usize) {
        let made = self.made;
        let lock = &mut self.locks[lock];
        self.resources[lock.resource].invalidated = true;
        lock.asked.clear();
        lock.ending = false;
        lock.end(made);
    }

    fn orphaned(&mut self, lock: usize) {
        let made = self.made;
        let lock = &mut self.locks[lock];
        lock.owner = None;
        lock.ending = false;
        if lock.granted == Granted::Never {
            lock.doubt.get_or_insert(made);
        } else if !lock.asked.is_empty() {
            lock.granted = Granted::Unsure;
        }
        lock.asked.clear();
    }

    /// A completion was read.
    pub fn heard(&mut self, lock: usize, status: i32, sbflags: u8) {
        let made = self.made;
        let lock = &mut self.locks[lock];
        if status == -EUNLOCK {
            lock.asked.clear();
            lock.ending = false;
            return lock.end(made);
        }
        let Some(asked) = lock.asked.pop_front() else {
            return;
        };
        if status == 0 {
            lock.granted = Granted::Mode(asked.granted(sbflags));
        } else if asked.request {
            return lock.end(made);
        } else if sbflags & DEMOTED != 0 {
            lock.granted = Granted::Mode(NL);
        }
        if !lock.gone {
            lock.doubt = None;
        }
    }

    /// The names that several resources stand behind.
    pub fn has_several_resources(&self) -> bool {
        self.resources.len() > 1
    }
}

impl Asked {
    fn granted(&self, sbflags: u8) -> u8 {
        if sbflags & ALTMODE == 0 {
            self.mode
        } else if self.flags & ALTPR != 0 && self.mode != PR {
            PR
        } else {
            CW
        }
    }
}

/// Whether a step is refused whatever the state of its lock: its flags do not go together.
pub fn invalid_conversion(ask: &Ask) -> bool {
    ask.mode > EX
        || ask.flags & (CANCEL | EXPEDITE) != 0
        || ask.flags & CONVDEADLK != 0 && ask.flags & NOQUEUE != 0
}

pub fn invalid_unlock(flags: u32) -> bool {
    let known = CANCEL | VALBLK | IVVALBLK | FORCEUNLOCK;
    flags & !known != 0 || flags & CANCEL != 0 && flags & FORCEUNLOCK != 0
}
