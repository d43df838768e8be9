// SPDX-License-Identifier: GPL-2.0

//! Lockspaces, their life, and the engine behind each.
//!
//! A [`Lockspace`] has locks, kept by its [`Engine`], and open files, each an owner of locks
//! ([`OpenFile`]), known to it as a `member`; `operation` is for those who trace what it asks.
//! `registry` has all lockspaces; `survey` goes through what there is while it is in use.
//!
//! Lock order: the registry, a lockspace's `ending`, a shard or `files`, a record queue. `open`
//! takes `files`, and if it fails late what a close takes, but never the registry's lock: so devices
//! can be registered and deregistered under that although the kernel holds `misc_mtx` across `open`.
//!
//! A lockspace ends while files of it may still be open. From then on every lock operation is
//! `ENODEV`: whoever has a shard's lock looks at [`Life`] first, and who opens a file looks there with
//! `files` locked, which the end of a lockspace goes through after it has been announced. What waits
//! is told that the lockspace was removed, and then, when nothing can be told any more, the files are
//! told that this was all.

mod local;
mod member;
mod open_file;
mod operation;
mod registry;
mod survey;

pub(crate) use self::{
    local::shard_bits,
    open_file::{
        Hearing,
        OpenFile, //
    },
    registry::{
        Node,
        Registry, //
    },
    survey::{
        FileInfo,
        Opened,
        Survey,
        Tour,
        Walk, //
    },
};

use self::{
    local::{
        Local,
        Shard,
        Table, //
    },
    member::Member,
    registry::SpaceName, //
};
use crate::{
    engine::CutOff,
    kernel_edge::{
        check_reserve,
        coarse_time,
        may_log,
        on_request,
        reschedule, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    },
};

/// Where a lockspace is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Life {
    Open,
    /// It is being found out whether there are locks; new ones wait for the outcome.
    Closing,
    Gone,
}

/// Who decides on the locks of a lockspace; chosen when that is created.
enum Engine {
    Local(Local),
}

/// A set of resources and their locks.
#[pin_data(PinnedDrop)]
pub(crate) struct Lockspace {
    name: SpaceName,
    engine: Engine,
    life: Atomic<u32>,
    /// Held while it is being found out whether the lockspace can end, and while a shard is made.
    #[pin]
    ending: Mutex<()>,
    /// The open files, by their numbers.
    #[pin]
    files: Mutex<RBTree<u64, Member>>,
}

impl Lockspace {
    fn new(name: SpaceName) -> Result<Arc<Lockspace>> {
        let engine = Engine::Local(Local::new()?);
        Arc::pin_init(
            pin_init!(Lockspace {
                name,
                engine,
                life: Atomic::new(Life::Open as u32),
                ending <- new_mutex!((), "dlm_device::Lockspace::ending"),
                files <- new_mutex!(RBTree::new(), "dlm_device::Lockspace::files"),
            }),
            on_request(),
        )
    }

    /// Opens a file on the lockspace, whose device has this minor number. `ENODEV` if it is gone.
    pub(crate) fn open(self: &Arc<Self>, minor: u32) -> Result<OpenFile> {
        check_reserve()?;
        let member = Member::new(minor)?;
        let node = RBTreeNode::new(member.number(), member.clone(), on_request())?;
        let mut files = self.files.lock();
        if self.life() == Life::Gone {
            return Err(ENODEV);
        }
        files.insert(node);
        drop(files);
        Ok(OpenFile {
            lockspace: self.clone(),
            minor,
            member,
        })
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name.0
    }

    fn life(&self) -> Life {
        match self.life.load(Acquire) {
            0 => Life::Open,
            1 => Life::Closing,
            _ => Life::Gone,
        }
    }

    fn set_life(&self, life: Life) {
        self.life.store(life as u32, Release);
    }

    /// Ends the lockspace: `EBUSY` if it has locks, unless `force`. Whatever locks there are stay in
    /// memory, out of reach, until [`Self::cut_off`] and [`Self::clear`].
    fn end(&self, force: bool) -> Result {
        let _ending = self.ending.lock();
        if !force {
            self.set_life(Life::Closing);
            if self.local().has_locks() {
                self.set_life(Life::Open);
                return Err(EBUSY);
            }
        }
        self.set_life(Life::Gone);
        Ok(())
    }

    /// After the end: tells everybody who waits for a lock, and then everybody who has a file open, of
    /// whom there are so many. No lock may be held.
    fn cut_off(&self) -> (CutOff, usize) {
        let cut_off = self.local().cut_off();
        let (mut count, mut next) = (0, 0);
        // Nobody opens another one any more.
        while let Some(member) = self.member_from(next) {
            next = member.number() + 1;
            member.queue.hang_up();
            count += 1;
            reschedule();
        }
        (cut_off, count)
    }

    /// After the end: tells whom it concerns, and the log whom it has cut off, and frees all.
    fn wind_up(&self) {
        let (cut_off, files) = self.cut_off();
        if (files > 0 || cut_off != CutOff::default()) && may_log() {
            let name = &self.name;
            let CutOff {
                holders,
                waiters,
                orphans,
            } = cut_off;
            pr_notice!(
                "lockspace {name} was removed: {files} open files, {holders} holders, {waiters} \
                 waiters and {orphans} orphans were cut off\n"
            );
        }
        self.local().clear();
    }

    /// The open file of this number, or else of the next.
    fn member_from(&self, number: u64) -> Option<Member> {
        let files = self.files.lock();
        let cursor = files.cursor_lower_bound(&number)?;
        let (_, member) = cursor.current();
        Some(member.clone())
    }

    /// The engine of those whose locks are all of this machine, as all are.
    #[inline(always)]
    fn local(&self) -> &Local {
        let Engine::Local(local) = &self.engine;
        local
    }

    #[cold]
    fn make_shard(&self, number: u32) -> Result<&Shard> {
        let _making = self.ending.lock();
        self.local().make_shard(number)
    }

    /// Locks a shard for an operation, once it is certain that the lockspace lives. `ENOENT` if
    /// there has never been a lock in it.
    #[inline(always)]
    fn lock_shard(&self, number: u32) -> Result<Guard<'_, Table, MutexBackend>> {
        match self.local().shard(number) {
            Some(shard) => self.lock_living(shard),
            None => Err(self.nothing_there()),
        }
    }

    /// The same, but if there has never been a lock in it, there may be one now.
    #[inline(always)]
    fn lock_shard_for_new(&self, number: u32) -> Result<Guard<'_, Table, MutexBackend>> {
        let shard = match self.local().shard(number) {
            Some(shard) => shard,
            None => self.make_shard(number)?,
        };
        self.lock_living(shard)
    }

    #[cold]
    fn nothing_there(&self) -> Error {
        match self.life() {
            Life::Gone => ENODEV,
            Life::Open | Life::Closing => ENOENT,
        }
    }

    #[inline(always)]
    fn lock_living<'a>(&'a self, shard: &'a Shard) -> Result<Guard<'a, Table, MutexBackend>> {
        let mut table = shard.table.lock();
        if self.life() != Life::Open {
            table = self.await_outcome(shard, table)?;
        }
        table.set_time(coarse_time());
        Ok(table)
    }

    #[cold]
    fn await_outcome<'a>(
        &'a self,
        shard: &'a Shard,
        mut table: Guard<'a, Table, MutexBackend>,
    ) -> Result<Guard<'a, Table, MutexBackend>> {
        loop {
            match self.life() {
                Life::Open => return Ok(table),
                Life::Gone => return Err(ENODEV),
                Life::Closing => {}
            }
            drop(table);
            // Held until the outcome is known.
            drop(self.ending.lock());
            table = shard.table.lock();
        }
    }

    /// Does something in a shard.
    #[inline(always)]
    fn with_shard<R>(&self, number: u32, f: impl FnOnce(&mut Table) -> Result<R>) -> Result<R> {
        f(&mut *self.lock_shard(number)?)
    }

    /// Does some of a long work in a shard, again and again until it returns false, so that others
    /// get in; `pause` comes in between and may end it. `ENODEV`.
    fn work_through(
        &self,
        number: u32,
        pause: impl Fn() -> Result,
        mut work: impl FnMut(&mut Table) -> bool,
    ) -> Result {
        loop {
            match self.with_shard(number, |table| Ok(work(table))) {
                Ok(true) => pause()?,
                // There is nothing there.
                Ok(false) | Err(ENOENT) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Lockspace {
    /// With the module go lockspaces that nobody has removed, and their orphans may be many.
    fn drop(self: Pin<&mut Self>) {
        self.local().clear();
    }
}
