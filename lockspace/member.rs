// SPDX-License-Identifier: GPL-2.0

//! Those who have a lockspace open: what it knows of an open file, and what others can see of it.

use super::{
    local::MAX_SHARD_BITS,
    Lockspace, //
};
use crate::{
    callbacks::Queue,
    engine::{
        Holdings,
        Owner, //
    },
    kernel_edge::{
        command_of_caller,
        on_request,
        Command, //
    },
    storage::slab::NONE, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

/// The number of the next open file, of whatever lockspace.
static NEXT: Atomic<u64> = Atomic::new(1);

/// Who opened a file, as he was called then. By now he may be gone, or others have the file, too.
#[derive(Clone, Copy)]
pub(crate) struct Opener {
    /// The process, as it is known outside of all PID namespaces.
    pub(crate) pid: u32,
    pub(crate) command: Command,
}

impl Opener {
    fn caller() -> Self {
        Opener {
            pid: kernel::current!().tgid() as u32,
            command: command_of_caller(),
        }
    }
}

/// The client that stands for a file in each shard, or `NONE`; changed under the shard's lock.
type Clients = [Atomic<u32>; 1 << MAX_SHARD_BITS];

/// An open file, as its lockspace knows it.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) opener: Opener,
    pub(super) queue: Arc<Queue>,
    clients: Arc<Clients>,
}

impl Member {
    /// One that the caller opens, of the lockspace whose device has this minor number.
    pub(super) fn new(minor: u32) -> Result<Member> {
        let clients = core::array::from_fn(|_| Atomic::new(NONE));
        Ok(Member {
            opener: Opener::caller(),
            queue: Queue::new(NEXT.fetch_add(1, Relaxed), minor)?,
            clients: Arc::new(clients, on_request())?,
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.queue.number()
    }

    /// The place of its client in a shard; `None` if there is no such shard.
    #[inline(always)]
    pub(super) fn client(&self, shard: u32) -> Option<&Atomic<u32>> {
        self.clients.get(shard as usize)
    }

    /// All of them, by the shards of its lockspace.
    pub(super) fn clients(
        &self,
        lockspace: &Lockspace,
    ) -> impl Iterator<Item = (u32, &Atomic<u32>)> {
        (0..lockspace.local().count()).zip(self.clients.iter())
    }

    /// What locks it has.
    pub(super) fn holdings(&self, lockspace: &Lockspace) -> Holdings {
        let mut all = Holdings::default();
        for (shard, client) in self.clients(lockspace) {
            let count =
                lockspace.with_shard(shard, |table| Ok(table.holdings(client.load(Relaxed))));
            // A lockspace that is gone has no locks.
            all += count.unwrap_or_default();
        }
        all
    }
}
