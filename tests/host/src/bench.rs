// SPDX-License-Identifier: GPL-2.0

//! A lockspace for the benchmarks, as `lockspace.rs` and `callbacks.rs` have it in the kernel:
//! shards of the real lock table, and files whose records wait in real queues.

use crate::{
    callbacks::records::Records,
    engine::{
        Ask,
        Completion,
        LockId,
        Occasion,
        Owner,
        Ticket, //
    },
    lock_table::{
        IdSpace,
        LockTable, //
    },
    storage::slab::NONE,
    terms::{
        self,
        Flags,
        Reply,
        VALUE_LEN, //
    },
    wire::{
        layout::Given,
        Change,
        Record,
        Width, //
    },
};
use kernel::prelude::*;
use std::{
    hint::black_box,
    sync::{
        Arc,
        Mutex, //
    },
};

/// The modes that benchmarks use.
#[derive(Clone, Copy)]
pub enum Mode {
    Nl,
    Ex,
}

struct Queue(Mutex<Records>);

impl Queue {
    fn records<R>(&self, f: impl FnOnce(&mut Records) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

impl Owner for Arc<Queue> {
    type Change<'a> = Change<'a>;

    fn open(&self, change: Change<'_>, occasion: Occasion, value: bool) -> Result<Ticket> {
        self.records(|records| records.open(change, occasion, value))
    }

    fn answer<'n>(
        &self,
        change: Change<'_>,
        completion: Completion<'_>,
        _: impl FnOnce() -> &'n [u8],
    ) -> Result<Ticket> {
        self.records(|records| records.answer(change, completion))
    }

    fn conclude<'n>(
        &self,
        ticket: Ticket,
        change: Change<'_>,
        completion: Completion<'_>,
        _: impl FnOnce() -> &'n [u8],
    ) -> Result<Ticket> {
        self.records(|records| records.conclude(ticket, change, completion))
    }

    fn change(
        &self,
        ticket: Ticket,
        change: Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket> {
        self.records(|records| records.change(ticket, change, occasion, value))
    }

    fn acknowledge(&self, ticket: Ticket, id: LockId) {
        self.records(|records| records.acknowledge(ticket, id));
    }

    fn complete<'n>(
        &self,
        ticket: Ticket,
        completion: Completion<'_>,
        _: impl FnOnce() -> &'n [u8],
    ) -> bool {
        self.records(|records| records.complete(ticket, completion));
        false
    }

    fn block<'n>(
        &self,
        ticket: Ticket,
        id: LockId,
        mode: terms::Mode,
        _: impl FnOnce() -> &'n [u8],
    ) -> bool {
        self.records(|records| records.block(ticket, id, mode));
        false
    }

    /// Nobody sleeps.
    fn wake(&self) {}

    fn close(&self, ticket: Ticket) {
        self.records(|records| records.close(ticket));
    }

    fn transaction(&self, ticket: Ticket) -> u64 {
        self.records(|records| records.transaction(ticket))
    }

    fn number(&self) -> u64 {
        0
    }
}

type Shard = Mutex<LockTable<Arc<Queue>>>;

/// A hash as good as a keyed one: of each bit of the number, every bit depends.
fn mixed(n: u32) -> u32 {
    let n = (n ^ n >> 16).wrapping_mul(0x85eb_ca6b);
    let n = (n ^ n >> 13).wrapping_mul(0xc2b2_ae35);
    n ^ n >> 16
}

/// A resource's name, with its hash, whose lowest bits are those of the number.
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; 8],
    hash: u32,
}

impl Name {
    /// The n-th of many names. All of them with the same `n % shards` are in one shard.
    pub fn new(n: u32) -> Name {
        Name {
            bytes: (u64::from(n) | 0x3030_3030 << 32).to_le_bytes(),
            hash: n & 63 | mixed(n) & !63,
        }
    }
}

pub struct Lockspace {
    // Each in memory of its own, as in the kernel.
    shards: Vec<Box<Shard>>,
    shard_bits: u32,
}

impl Lockspace {
    pub fn new(shard_bits: u32) -> Lockspace {
        let shard = |number| Mutex::new(LockTable::new(IdSpace::new(number, shard_bits)));
        Lockspace {
            shards: (0..1 << shard_bits).map(|n| Box::new(shard(n))).collect(),
            shard_bits,
        }
    }

    /// Another owner of locks.
    pub fn open(&self) -> File<'_> {
        let queue = Arc::new(Queue(Mutex::new(Records::new())));
        let client = |shard: &Box<Shard>| {
            let mut table = shard.lock().unwrap();
            table.add_client(queue.clone()).unwrap()
        };
        let clients = self.shards.iter().map(client).collect();
        File {
            lockspace: self,
            queue,
            clients,
        }
    }

    fn with_shard<R>(&self, number: u32, f: impl FnOnce(&mut LockTable<Arc<Queue>>) -> R) -> R {
        f(&mut self.shards[number as usize].lock().unwrap())
    }
}

pub struct File<'a> {
    lockspace: &'a Lockspace,
    queue: Arc<Queue>,
    clients: Vec<u32>,
}

/// What a program gives with a request.
const GIVEN: Given = Given {
    xid: 0,
    timeout: 0,
    castparam: 2,
    castaddr: 1,
    bastparam: 0,
    bastaddr: 0,
    lksb: 3,
};
const CHANGE: Change<'_> = Change::Replace(&GIVEN);
const FINISH: Change<'_> = Change::Finish(&GIVEN);

fn ask(mode: Mode) -> Ask {
    Ask {
        mode: match mode {
            Mode::Nl => terms::Mode::Nl,
            Mode::Ex => terms::Mode::Ex,
        },
        flags: Flags::default(),
        reply: Reply::Record,
        acknowledge: false,
        listens: false,
        pid: 1,
    }
}

impl File<'_> {
    pub fn lock(&self, mode: Mode, name: &Name) -> LockId {
        let bits = self.lockspace.shard_bits;
        let number = name.hash & ((1 << bits) - 1);
        let client = self.clients[number as usize];
        let (id, _) = self
            .lockspace
            .with_shard(number, |table| {
                let hash = name.hash >> bits;
                table.request(client, hash, &name.bytes, ask(mode), CHANGE)
            })
            .unwrap();
        id
    }

    pub fn convert(&self, id: LockId, mode: Mode) {
        self.with_lock(id, |table| {
            table.convert(id, NONE, ask(mode), &[0; VALUE_LEN], CHANGE)
        });
    }

    pub fn unlock(&self, id: LockId) {
        let (flags, reply) = (Flags::default(), Reply::Record);
        self.with_lock(id, |table| {
            table.unlock(id, NONE, flags, reply, &[0; VALUE_LEN], FINISH)
        });
    }

    fn with_lock<R>(&self, id: LockId, f: impl FnOnce(&mut LockTable<Arc<Queue>>) -> Result<R>) {
        let number = IdSpace::shard_of(id, self.lockspace.shard_bits);
        self.lockspace.with_shard(number, f).unwrap();
    }

    /// Reads a record, if there is one, and returns its length.
    pub fn hear(&self) -> Option<usize> {
        let read =
            |record: &Record<'_>| record.show(Width::Bits64, |bytes| !black_box(bytes).is_empty());
        let taken = self
            .queue
            .records(|records| records.take(104, Width::Bits64, read).unwrap())?;
        Some(taken.length)
    }
}
