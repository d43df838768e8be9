// SPDX-License-Identifier: GPL-2.0

//! An open file of a lockspace: what its program asks for goes to the shard that it belongs to.

use super::{
    local::{
        Table,
        BATCH, //
    },
    member::Member,
    operation::{
        Kind,
        Operation, //
    },
    Life,
    Lockspace, //
};
use crate::{
    callbacks::Queue,
    engine::{
        Ask,
        Fate,
        Holdings,
        LockId,
        LockInfo,
        Outcome, //
    },
    kernel_edge::{
        check_reserve,
        pause,
        reschedule, //
    },
    lock_table::Purge,
    storage::slab::NONE,
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
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc, //
    },
};

/// An open file of a lockspace: the owner of locks, and the reader of what becomes of them.
pub(crate) struct OpenFile {
    pub(super) lockspace: Arc<Lockspace>,
    /// The minor number of the lockspace's device.
    pub(super) minor: u32,
    pub(super) member: Member,
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

/// What is asked of locks is `TRACED` or not: whoever asks knows whether somebody traces.
impl OpenFile {
    /// What there is to read.
    pub(crate) fn queue(&self) -> &Queue {
        &self.member.queue
    }

    /// Asks for a new lock; the answer is a record, but for `EINVAL`, `ENOMEM` and `ENODEV`, and
    /// what `hearing` asks for.
    #[inline(always)]
    pub(crate) fn request<const TRACED: bool>(
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
        let (shard, hash) = self.lockspace.local().place(name);
        let mut table = self.lockspace.lock_shard_for_new(shard)?;
        let client = self.client(shard, &mut table)?;
        let operation = if TRACED {
            let (id, kind) = (table.next_id()?, Kind::Lock(Some(mode)));
            Some(Operation::start(self.minor, id, name, kind, flags))
        } else {
            None
        };
        let result = table.request(client, hash, name, ask, change);
        Operation::end(operation, table, result)
    }

    /// Begins an operation on a lock that there is: else it is `ENOENT`.
    #[inline(always)]
    fn start<const TRACED: bool>(
        &self,
        table: &Table,
        id: LockId,
        kind: Kind,
        flags: Flags,
    ) -> Result<Option<Operation>> {
        if !TRACED {
            return Ok(None);
        }
        let name = table.name_of(id)?;
        Ok(Some(Operation::start(self.minor, id, name, kind, flags)))
    }

    /// Asks for another mode of a lock, anybody's: besides, `ENOENT` and `EBUSY`.
    #[inline(always)]
    pub(crate) fn convert<const TRACED: bool>(
        &self,
        id: LockId,
        mode: Option<Mode>,
        flags: Flags,
        hearing: Hearing,
        value: &Value,
        change: Change<'_>,
    ) -> Result<Outcome> {
        check_reserve()?;
        let shard = self.lockspace.local().shard_of_id(id);
        let mut table = self.lockspace.lock_shard(shard)?;
        let operation = self.start::<TRACED>(&table, id, Kind::Lock(mode), flags)?;
        let Some(mode) = mode else {
            let result = table.check(id).and(Err(EINVAL));
            return Operation::end(operation, table, result);
        };
        let ask = ask(mode, flags, hearing, change);
        let result = table.convert(id, self.asker(shard, hearing.reply), ask, value, change);
        Operation::end(operation, table, result)
    }

    /// Gives a lock up, anybody's.
    #[inline(always)]
    pub(crate) fn unlock<const TRACED: bool>(
        &self,
        id: LockId,
        flags: Flags,
        reply: Reply,
        value: &Value,
        change: Change<'_>,
    ) -> Result<Outcome> {
        let shard = self.lockspace.local().shard_of_id(id);
        let mut table = self.lockspace.lock_shard(shard)?;
        let operation = self.start::<TRACED>(&table, id, Kind::Unlock, flags)?;
        let result = table.unlock(id, self.asker(shard, reply), flags, reply, value, change);
        Operation::end(operation, table, result)
    }

    /// Takes back what a lock waits for, anybody's.
    pub(crate) fn cancel<const TRACED: bool>(
        &self,
        id: LockId,
        flags: Flags,
        change: Change<'_>,
    ) -> Result {
        let mut table = self.lock_shard_of(id)?;
        let operation = self.start::<TRACED>(&table, id, Kind::Unlock, flags)?;
        let result = table.cancel(id, flags, change);
        Operation::end(operation, table, result)
    }

    /// Cancels a lock, anybody's, because of a deadlock.
    pub(crate) fn cancel_deadlocked<const TRACED: bool>(&self, id: LockId, flags: Flags) -> Result {
        let mut table = self.lock_shard_of(id)?;
        let operation = self.start::<TRACED>(&table, id, Kind::Unlock, flags)?;
        let result = table.cancel_deadlocked(id, flags);
        Operation::end(operation, table, result)
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
        let (shard, hash) = self.lockspace.local().place(name);
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
        for shard in 0..self.lockspace.local().count() {
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
    pub(crate) fn show_locks(&self, limit: usize, mut see: impl FnMut(LockInfo<'_>)) -> u32 {
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
        self.lockspace
            .lock_shard(self.lockspace.local().shard_of_id(id))
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
