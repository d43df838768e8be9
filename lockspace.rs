// SPDX-License-Identifier: GPL-2.0

//! Lockspaces: the registry of them, their life, and the shards that hold their locks.
//!
//! A [`Lockspace`] is a power of two of shards, each a [`LockTable`] under a mutex of its own; a
//! resource is in the shard that its name hashes to, and a lock id says in which shard its lock is,
//! so an operation takes one shard's lock. An [`OpenFile`] is one open of the lockspace's device.
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

mod member;
mod survey;

pub(crate) use self::survey::{
    FileSight,
    Opened,
    Survey,
    Tour,
    Walk, //
};

use self::member::Member;
use crate::{
    callbacks::Queue,
    engine::{
        Ask,
        CutOff,
        Fate,
        Holdings,
        LockId,
        LockSight,
        Outcome, //
    },
    kernel_edge::{
        check_reserve,
        coarse_time,
        may_log,
        on_request,
        pause,
        reschedule,
        Hasher, //
    },
    lock_table::{
        IdSpace,
        LockTable,
        Purge, //
    },
    storage::slab::{
        at_once,
        NONE, //
    },
    terms::{
        Flags,
        Mode,
        Reply,
        Value, //
    },
    wire::{
        Change,
        Whose, //
    },
};
use core::cmp::Ordering;
use kernel::{
    fmt, new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
    str::BStr,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex,
        SetOnce, //
    },
};

/// At most this many shards, whatever the number of processors.
const MAX_SHARD_BITS: u32 = 6;

/// How many locks are freed in one go, with the shard locked.
const BATCH: u32 = 64;

/// How many shards a lockspace has, as a power of two: two for each processor.
pub(crate) fn shard_bits() -> u32 {
    let wanted = kernel::cpu::nr_cpu_ids().saturating_mul(2);
    wanted.next_power_of_two().ilog2().min(MAX_SHARD_BITS)
}

/// Where a lockspace is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Life {
    Open,
    /// It is being found out whether there are locks; new ones wait for the outcome.
    Closing,
    Gone,
}

type Table = LockTable<Arc<Queue>>;

#[pin_data]
struct Shard {
    #[pin]
    table: Mutex<Table>,
}

/// A set of resources and their locks.
#[pin_data(PinnedDrop)]
pub(crate) struct Lockspace {
    name: SpaceName,
    /// Its own, so that programs cannot choose names that meet in one bucket.
    hasher: Hasher,
    shard_bits: u32,
    /// Each is made for the first lock that belongs there.
    shards: KVec<SetOnce<Pin<KBox<Shard>>>>,
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
        let shard_bits = shard_bits();
        let mut shards = KVec::with_capacity(1 << shard_bits, on_request())?;
        for _ in 0..1 << shard_bits {
            shards.push(SetOnce::new(), on_request())?;
        }
        Arc::pin_init(
            pin_init!(Lockspace {
                name,
                hasher: Hasher::new(),
                shard_bits,
                shards,
                life: Atomic::new(Life::Open as u32),
                ending <- new_mutex!((), "dlm_device::Lockspace::ending"),
                files <- new_mutex!(RBTree::new(), "dlm_device::Lockspace::files"),
            }),
            on_request(),
        )
    }

    /// Opens a file on the lockspace. `ENODEV` if it is gone.
    pub(crate) fn open(self: &Arc<Self>) -> Result<OpenFile> {
        check_reserve()?;
        let member = Member::new()?;
        let node = RBTreeNode::new(member.number(), member.clone(), on_request())?;
        let mut files = self.files.lock();
        if self.life() == Life::Gone {
            return Err(ENODEV);
        }
        files.insert(node);
        drop(files);
        Ok(OpenFile {
            lockspace: self.clone(),
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
            if self.has_locks() {
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
        let mut cut_off = CutOff::default();
        for shard in self.made_shards() {
            let mut next = 0;
            loop {
                let (more, go_on) = shard.table.lock().cut_off(&mut next, BATCH);
                cut_off += more;
                if !go_on {
                    break;
                }
                reschedule();
            }
        }
        let files = self.files.lock();
        let mut count = 0;
        for member in files.values() {
            member.queue.hang_up();
            count += 1;
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
        self.clear();
    }

    /// The shards that have been made.
    fn made_shards(&self) -> impl Iterator<Item = &Shard> {
        let shards = self.shards.iter();
        shards.filter_map(|shard| Some(&**shard.as_ref()?))
    }

    fn has_locks(&self) -> bool {
        let mut shards = self.made_shards();
        shards.any(|shard| !shard.table.lock().is_empty())
    }

    /// Frees the locks of a lockspace that has ended; no lock may be held.
    fn clear(&self) {
        for shard in self.made_shards() {
            // Nobody will look for an id there.
            let empty = LockTable::new(IdSpace::new(0, self.shard_bits));
            let mut table = core::mem::replace(&mut *shard.table.lock(), empty);
            while table.dismantle() {
                reschedule();
            }
        }
    }

    /// The open file of this number, or else of the next.
    fn member_from(&self, number: u64) -> Option<Member> {
        let files = self.files.lock();
        let cursor = files.cursor_lower_bound(&number)?;
        let (_, member) = cursor.current();
        Some(member.clone())
    }

    /// Makes a shard, unless somebody else has.
    #[cold]
    fn make_shard(&self, number: u32) -> Result<&Shard> {
        let place = self.shards.get(number as usize).ok_or(EINVAL)?;
        let _making = self.ending.lock();
        if place.as_ref().is_none() {
            let table = LockTable::new(IdSpace::new(number, self.shard_bits));
            let shard = pin_init!(Shard {
                table <- new_mutex!(table, "dlm_device::Shard"),
            });
            place.populate(KBox::pin_init(shard, at_once())?);
        }
        Ok(place.as_ref().ok_or(ENOMEM)?)
    }

    #[inline(always)]
    fn shard(&self, number: u32) -> Option<&Shard> {
        Some(&**self.shards.get(number as usize)?.as_ref()?)
    }

    /// Locks a shard for an operation, once it is certain that the lockspace lives. `ENOENT` if
    /// there has never been a lock in it.
    #[inline(always)]
    fn lock_shard(&self, number: u32) -> Result<Guard<'_, Table, MutexBackend>> {
        match self.shard(number) {
            Some(shard) => self.lock_living(shard),
            None => Err(self.nothing_there()),
        }
    }

    /// The same, but if there has never been a lock in it, there may be one now.
    #[inline(always)]
    fn lock_shard_for_new(&self, number: u32) -> Result<Guard<'_, Table, MutexBackend>> {
        let shard = match self.shard(number) {
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

    /// In which shard a name belongs, and its hash there.
    #[inline(always)]
    fn place(&self, name: &[u8]) -> (u32, u32) {
        let hash = self.hasher.hash(name);
        let shard = hash & (1u32.wrapping_shl(self.shard_bits) - 1);
        (shard, hash.wrapping_shr(self.shard_bits))
    }

    fn shard_of_id(&self, id: LockId) -> u32 {
        IdSpace::shard_of(id, self.shard_bits)
    }
}

#[pinned_drop]
impl PinnedDrop for Lockspace {
    /// With the module go lockspaces that nobody has removed, and their orphans may be many.
    fn drop(self: Pin<&mut Self>) {
        self.clear();
    }
}

/// An open file of a lockspace: the owner of locks, and the reader of what becomes of them.
pub(crate) struct OpenFile {
    lockspace: Arc<Lockspace>,
    member: Member,
}

/// How a requester wants to hear of what he asks for: see [`Ask`].
#[derive(Clone, Copy)]
pub(crate) struct Hearing {
    pub(crate) reply: Reply,
    pub(crate) acknowledge: bool,
}

impl Hearing {
    const BY_RECORD: Hearing = Hearing {
        reply: Reply::Record,
        acknowledge: false,
    };
}

impl OpenFile {
    /// What there is to read.
    pub(crate) fn queue(&self) -> &Queue {
        &self.member.queue
    }

    /// Asks for a new lock; the answer is a record, but for `EINVAL`, `ENOMEM` and `ENODEV`, and
    /// what `hearing` asks for.
    #[inline(always)]
    pub(crate) fn request(
        &self,
        mode: Mode,
        flags: Flags,
        hearing: Hearing,
        name: &[u8],
        change: Change<'_>,
    ) -> Result<(LockId, Outcome)> {
        check_reserve()?;
        let ask = ask(mode, flags, hearing, change);
        let name = significant(name);
        let (shard, hash) = self.lockspace.place(name);
        let mut table = self.lockspace.lock_shard_for_new(shard)?;
        let client = self.client(shard, &mut table)?;
        table.request(client, hash, name, ask, change)
    }

    /// Asks for another mode of a lock, anybody's: besides, `ENOENT` and `EBUSY`.
    pub(crate) fn convert(
        &self,
        id: LockId,
        mode: Option<Mode>,
        flags: Flags,
        hearing: Hearing,
        value: &Value,
        change: Change<'_>,
    ) -> Result<Outcome> {
        check_reserve()?;
        let shard = self.lockspace.shard_of_id(id);
        let mut table = self.lockspace.lock_shard(shard)?;
        let Some(mode) = mode else {
            table.check(id)?;
            return Err(EINVAL);
        };
        let ask = ask(mode, flags, hearing, change);
        table.convert(id, self.asker(shard, hearing.reply), ask, value, change)
    }

    /// Gives a lock up, anybody's.
    #[inline(always)]
    pub(crate) fn unlock(
        &self,
        id: LockId,
        flags: Flags,
        reply: Reply,
        value: &Value,
        change: Change<'_>,
    ) -> Result<Outcome> {
        let shard = self.lockspace.shard_of_id(id);
        let mut table = self.lockspace.lock_shard(shard)?;
        table.unlock(id, self.asker(shard, reply), flags, reply, value, change)
    }

    /// Takes back what a lock waits for, anybody's.
    pub(crate) fn cancel(&self, id: LockId, flags: Flags, change: Change<'_>) -> Result {
        self.lock_shard_of(id)?.cancel(id, flags, change)
    }

    /// Cancels a lock, anybody's, because of a deadlock.
    pub(crate) fn cancel_deadlocked(&self, id: LockId, flags: Flags) -> Result {
        self.lock_shard_of(id)?.cancel_deadlocked(id, flags)
    }

    /// Goes on with a lock that outlived its file.
    pub(crate) fn adopt(
        &self,
        mode: Option<Mode>,
        flags: Flags,
        name: &[u8],
        change: Change<'_>,
    ) -> Result<LockId> {
        let ask = ask(mode.unwrap_or(Mode::Nl), flags, Hearing::BY_RECORD, change);
        let name = significant(name);
        let (shard, hash) = self.lockspace.place(name);
        self.lockspace.with_shard(shard, |table| {
            let client = self.client(shard, table)?;
            table.adopt(client, hash, name, mode, ask, change)
        })
    }

    /// Frees locks that outlived their file, or those of this file and what it was not told yet. A
    /// single machine is node 1; 0 means the same.
    pub(crate) fn purge(&self, nodeid: u32, whose: Whose) -> Result {
        if nodeid > 1 {
            return Err(EINVAL);
        }
        match whose {
            Whose::Own => self.purge_own(),
            Whose::ByThread(pid) if pid == caller() => self.purge_own(),
            Whose::ByThread(pid) | Whose::Orphans(pid) => self.purge_orphans(pid),
        }
    }

    /// Those of one thread, or all for 0.
    fn purge_orphans(&self, pid: u32) -> Result {
        let pid = (pid != 0).then_some(pid);
        for shard in 0..self.lockspace.shards.len() as u32 {
            let mut progress = Purge::default();
            let purge = |table: &mut Table| table.purge(pid, &mut progress, BATCH);
            self.lockspace.work_through(shard, pause, purge)?;
        }
        Ok(())
    }

    fn purge_own(&self) -> Result {
        if self.lockspace.life() == Life::Gone {
            return Err(ENODEV);
        }
        self.leave(Fate::Freed, pause)?;
        while self.member.queue.forget() {
            pause()?;
        }
        Ok(())
    }

    /// The name of its lockspace.
    pub(crate) fn name(&self) -> &[u8] {
        self.lockspace.name()
    }

    /// Which file it is, among all that there have been since the module was loaded.
    pub(crate) fn number(&self) -> u64 {
        self.member.number()
    }

    /// What locks the file has.
    pub(crate) fn holdings(&self) -> Holdings {
        self.member.holdings(&self.lockspace)
    }

    /// Lets `see` have a look at some of the file's locks, up to `limit`, and tells how many there are
    /// besides. They are seen shard by shard, in each the oldest first, with the shard locked.
    pub(crate) fn show_locks(&self, limit: usize, mut see: impl FnMut(LockSight<'_>)) -> u32 {
        let mut room = limit;
        let mut others = 0;
        for (shard, client) in self.member.clients(&self.lockspace) {
            let show = |table: &mut Table| {
                let client = client.load(Relaxed);
                let shown = table.locks_of(client).take(room).map(&mut see).count();
                room -= shown;
                Ok(table.holdings(client).all - shown as u32)
            };
            // A lockspace that is gone has no locks.
            others += self.lockspace.with_shard(shard, show).unwrap_or_default();
        }
        others
    }

    #[inline(always)]
    fn lock_shard_of(&self, id: LockId) -> Result<Guard<'_, Table, MutexBackend>> {
        self.lockspace.lock_shard(self.lockspace.shard_of_id(id))
    }

    /// The client that stands for this file in a shard, which is locked; `NONE` if there is none
    /// yet.
    #[inline(always)]
    fn known_client(&self, shard: u32) -> u32 {
        let slot = self.member.client(shard);
        slot.map_or(NONE, |client| client.load(Relaxed))
    }

    /// The same for a request that wants to be answered like that, if it matters who asks.
    #[inline(always)]
    fn asker(&self, shard: u32, reply: Reply) -> u32 {
        match reply {
            Reply::Record => NONE,
            Reply::Return => self.known_client(shard),
        }
    }

    /// The client that stands for this file in a shard, made if there is none yet.
    #[inline(always)]
    fn client(&self, shard: u32, table: &mut Table) -> Result<u32> {
        match self.known_client(shard) {
            NONE => self.add_client(shard, table),
            client => Ok(client),
        }
    }

    #[cold]
    fn add_client(&self, shard: u32, table: &mut Table) -> Result<u32> {
        let slot = self.member.client(shard).ok_or(EINVAL)?;
        let client = table.add_client(self.member.queue.clone())?;
        slot.store(client, Relaxed);
        Ok(client)
    }

    /// Lets go of all locks of the file; [`Lockspace::work_through`] has the errors.
    fn leave(&self, fate: Fate, pause: impl Fn() -> Result) -> Result {
        for (shard, client) in self.member.clients(&self.lockspace) {
            let client = client.load(Relaxed);
            if client != NONE {
                let release = |table: &mut Table| table.release(client, fate, BATCH);
                self.lockspace.work_through(shard, &pause, release)?;
            }
        }
        Ok(())
    }
}

/// The calling thread, as programs know it that are in no PID namespace of their own.
fn caller() -> u32 {
    kernel::current!().pid() as u32
}

/// A name without the zeros at its end, which do not count, as in fs/dlm, which fills names up
/// with them.
#[inline(always)]
fn significant(mut name: &[u8]) -> &[u8] {
    while let [rest @ .., 0] = name {
        name = rest;
    }
    name
}

#[inline(always)]
fn ask(mode: Mode, flags: Flags, hearing: Hearing, change: Change<'_>) -> Ask {
    Ask {
        mode,
        flags,
        reply: hearing.reply,
        acknowledge: hearing.acknowledge,
        listens: change.listens(),
        pid: caller(),
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let queue = &self.member.queue;
        queue.close();
        let go_on = || {
            reschedule();
            Ok(())
        };
        // An error means that the lockspace is gone, and the locks with it.
        let _ = self.leave(Fate::Orphaned, go_on);
        for (shard, client) in self.member.clients(&self.lockspace) {
            // From then on it may be another's.
            let remove = |table: &mut Table| Ok(table.remove_client(client.xchg(NONE, Relaxed)));
            let owner = self.lockspace.with_shard(shard, remove);
            // Should it be the last reference: no lock is held here.
            drop(owner);
        }
        while queue.dismantle() {
            reschedule();
        }
        let mut files = self.lockspace.files.lock();
        let node = files.remove_node(&self.number());
        drop(files);
        drop(node);
    }
}

/// A lockspace's name. Binary, but without NUL.
#[derive(PartialEq, Eq)]
struct SpaceName(KVec<u8>);

impl SpaceName {
    fn new(name: &[u8]) -> Result<SpaceName> {
        let mut bytes = KVec::with_capacity(name.len(), on_request())?;
        bytes.extend_from_slice(name, on_request())?;
        Ok(SpaceName(bytes))
    }
}

impl Ord for SpaceName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_slice().cmp(&other.0)
    }
}

impl PartialOrd for SpaceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BStr::from_bytes(&self.0).fmt(f)
    }
}

/// What makes a lockspace reachable, as long as it exists: its device.
pub(crate) trait Door: Sized + Unpin + Send {
    /// What all doors have in common.
    type Site: Send + Sync;

    /// Opens the door to a lockspace for programs.
    fn open(site: &Self::Site, name: &[u8], lockspace: Arc<Lockspace>) -> Result<Self>;

    /// The number by which programs name it.
    fn number(&self) -> u32;
}

struct Entry<D> {
    lockspace: Arc<Lockspace>,
    /// How often it was created; removing it takes as many calls.
    uses: u32,
    _door: D,
}

struct Entries<D> {
    by_number: RBTree<u32, Entry<D>>,
    numbers: RBTree<SpaceName, u32>,
}

/// All lockspaces.
#[pin_data]
pub(crate) struct Registry<D: Door> {
    #[pin]
    entries: Mutex<Entries<D>>,
    site: D::Site,
}

impl<D: Door> Registry<D> {
    pub(crate) fn new(site: D::Site) -> Result<Arc<Self>> {
        let entries = Entries {
            by_number: RBTree::new(),
            numbers: RBTree::new(),
        };
        Arc::pin_init(
            pin_init!(Registry {
                entries <- new_mutex!(entries, "dlm_device::Registry"),
                site,
            }),
            GFP_KERNEL,
        )
    }

    /// What the doors have in common.
    pub(crate) fn site(&self) -> &D::Site {
        &self.site
    }

    /// The lockspace of this number, or else of the next, and its number.
    fn lockspace_from(&self, number: u32) -> Option<(u32, Arc<Lockspace>)> {
        let entries = self.entries.lock();
        let cursor = entries.by_number.cursor_lower_bound(&number)?;
        let (number, entry) = cursor.current();
        Some((*number, entry.lockspace.clone()))
    }

    /// Creates a lockspace, or shares the one that exists (`EEXIST` if `exclusive`), and returns
    /// its number.
    pub(crate) fn create(&self, name: &[u8], exclusive: bool) -> Result<u32> {
        check_reserve()?;
        let key = SpaceName::new(name)?;
        let mut entries = self.entries.lock();
        if let Some(number) = entries.numbers.get(&key).copied() {
            if exclusive {
                return Err(EEXIST);
            }
            let entry = entries.by_number.get_mut(&number).ok_or(ENOENT)?;
            entry.uses = entry.uses.checked_add(1).ok_or(EBUSY)?;
            return Ok(number);
        }
        // All that can fail comes before programs can reach it.
        let name_node = RBTreeNodeReservation::new(on_request())?;
        let entry_node = RBTreeNodeReservation::new(on_request())?;
        let lockspace = Lockspace::new(SpaceName::new(name)?)?;
        let door = D::open(&self.site, name, lockspace.clone())?;
        let number = door.number();
        let entry = Entry {
            lockspace,
            uses: 1,
            _door: door,
        };
        entries.numbers.insert(name_node.into_node(key, number));
        entries
            .by_number
            .insert(entry_node.into_node(number, entry));
        Ok(number)
    }

    /// Takes back one creation of a lockspace; with the last, it goes. `ENOENT` if there is none
    /// of that number; `EBUSY` if it has locks, unless `force`.
    pub(crate) fn remove(&self, number: u32, force: bool) -> Result {
        let mut entries = self.entries.lock();
        let entry = entries.by_number.get_mut(&number).ok_or(ENOENT)?;
        if entry.uses > 1 {
            entry.uses -= 1;
            return Ok(());
        }
        let lockspace = entry.lockspace.clone();
        lockspace.end(force)?;
        entries.numbers.remove(&lockspace.name);
        // The device goes before the lock, so that its name is free for who creates it again.
        drop(entries.by_number.remove(&number));
        drop(entries);
        lockspace.wind_up();
        Ok(())
    }
}
