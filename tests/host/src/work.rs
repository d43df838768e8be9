// SPDX-License-Identifier: GPL-2.0

//! What an operation costs must not depend on how many locks there are. Work is counted, not
//! timed: see `kernel::alloc::looks`.

use crate::{
    engine::{
        Ask,
        Completion,
        Fate,
        LockId,
        Occasion,
        Owner,
        Ticket, //
    },
    lock_table::{
        IdSpace,
        LockTable, //
    },
    terms::{
        Flags,
        Mode::{
            self,
            *, //
        },
        Reply,
        VALUE_LEN, //
    },
};
use kernel::{
    alloc::looks,
    prelude::*, //
};
use std::collections::HashSet;

/// Somebody who does not care.
struct Nobody;

impl Owner for Nobody {
    type Change<'a> = ();

    fn open(&self, _: (), _: Occasion, _: bool) -> Result<Ticket> {
        Ok(0)
    }

    fn change(&self, ticket: Ticket, _: (), _: Occasion, _: bool) -> Result<Ticket> {
        Ok(ticket)
    }

    fn acknowledge(&self, _: Ticket, _: LockId) {}

    fn complete<'n>(&self, _: Ticket, _: Completion<'_>, _: impl FnOnce() -> &'n [u8]) -> bool {
        true
    }

    fn block<'n>(&self, _: Ticket, _: LockId, _: Mode, _: impl FnOnce() -> &'n [u8]) -> bool {
        true
    }

    fn wake(&self) {}

    fn close(&self, _: Ticket) {}

    fn transaction(&self, _: Ticket) -> u64 {
        0
    }

    fn number(&self) -> u64 {
        0
    }
}

struct Crowd {
    table: LockTable<Nobody>,
    client: u32,
}

impl Crowd {
    fn new() -> Self {
        let mut table = LockTable::new(IdSpace::new(0, 0));
        let client = table.add_client(Nobody).unwrap();
        Crowd { table, client }
    }

    fn ask(mode: Mode, flags: Flags) -> Ask {
        Ask {
            mode,
            flags,
            reply: Reply::Record,
            acknowledge: false,
            listens: true,
            pid: 1,
        }
    }

    fn request(&mut self, mode: Mode) -> LockId {
        self.request_with(mode, Flags::default())
    }

    fn request_with(&mut self, mode: Mode, flags: Flags) -> LockId {
        let ask = Crowd::ask(mode, flags);
        self.table
            .request(self.client, 0, b"crowded", ask, ())
            .unwrap()
            .0
    }

    fn requests(&mut self, count: u32, mode: Mode) {
        for _ in 0..count {
            self.request(mode);
        }
    }

    fn requests_out_of_turn(&mut self, count: u32, mode: Mode) {
        for _ in 0..count {
            self.request_with(mode, Flags::NOORDER);
        }
    }

    /// Locks that ask for EX out of turn, while somebody holds PR.
    fn conversions_out_of_turn(&mut self, count: u32) -> Vec<LockId> {
        self.request(Pr);
        let locks: Vec<_> = (0..count).map(|_| self.request(Nl)).collect();
        for lock in &locks {
            self.convert_with(*lock, Ex, Flags::NOORDER);
        }
        locks
    }

    fn convert(&mut self, lock: LockId, mode: Mode) {
        self.convert_with(lock, mode, Flags::default());
    }

    fn convert_with(&mut self, lock: LockId, mode: Mode, flags: Flags) {
        let ask = Crowd::ask(mode, flags);
        self.table
            .convert(lock, self.client, ask, &[0; VALUE_LEN], ())
            .unwrap();
    }

    /// One that is refused, but tells those who are in the way.
    fn try_convert(&mut self, lock: LockId, mode: Mode) {
        self.convert_with(lock, mode, Flags::NOQUEUE.with(Flags::NOQUEUEBAST));
    }

    /// Leaves PR locks behind.
    fn orphans(&mut self, name: &[u8], count: u32) {
        let ask = Crowd::ask(Pr, Flags::PERSISTENT);
        for _ in 0..count {
            self.table.request(self.client, 0, name, ask, ()).unwrap();
        }
        while self.table.release(self.client, Fate::Orphaned, 64) {}
    }

    fn adopt(&mut self, mode: Mode) -> Result<LockId> {
        let ask = Crowd::ask(mode, Flags::ORPHAN);
        self.table
            .adopt(self.client, 0, b"crowded", Some(mode), ask, ())
    }

    fn unlock(&mut self, lock: LockId) {
        let none = Flags::default();
        let reply = Reply::Record;
        let value = [0; VALUE_LEN];
        let unlocked = self
            .table
            .unlock(lock, self.client, none, reply, &value, ());
        unlocked.unwrap();
    }
}

/// What is counted, how a table with so many locks is made, and what is done then.
type Case = (
    &'static str,
    fn(&mut Crowd, u32) -> LockId,
    fn(&mut Crowd, LockId),
);

const CASES: &[Case] = &[
    (
        "a grant among waiters",
        |crowd, count| {
            let holder = crowd.request(Ex);
            crowd.requests(count, Ex);
            holder
        },
        Crowd::unlock,
    ),
    (
        "one more waiter",
        |crowd, count| {
            crowd.requests(count, Ex);
            0
        },
        |crowd, _| crowd.requests(1, Ex),
    ),
    (
        "a waiter that gives up",
        |crowd, count| {
            crowd.requests(count, Ex);
            let lock = crowd.request(Ex);
            crowd.requests(count, Ex);
            lock
        },
        Crowd::unlock,
    ),
    (
        "a waiter out of turn that gives up",
        |crowd, count| {
            crowd.request(Ex);
            let lock = crowd.request_with(Ex, Flags::NOORDER);
            crowd.requests_out_of_turn(count, Ex);
            lock
        },
        Crowd::unlock,
    ),
    (
        "the same before others that only their turn keeps from their lock",
        |crowd, count| {
            crowd.request(Pr);
            let lock = crowd.request_with(Ex, Flags::NOORDER);
            crowd.requests_out_of_turn(count, Ex);
            crowd.requests(count, Pr);
            lock
        },
        Crowd::unlock,
    ),
    (
        "one that converts out of turn and gives up",
        |crowd, count| {
            let locks = crowd.conversions_out_of_turn(count + 1);
            let bystander = crowd.request_with(Nl, Flags::EXPEDITE);
            crowd.unlock(bystander);
            locks[0]
        },
        Crowd::unlock,
    ),
    (
        "one more waiter, giving up, while many convert out of turn",
        |crowd, count| {
            crowd.conversions_out_of_turn(count);
            let lock = crowd.request(Ex);
            crowd.unlock(lock);
            crowd.request(Ex)
        },
        Crowd::unlock,
    ),
    (
        "one more PR among holders",
        |crowd, count| {
            crowd.requests(count, Pr);
            0
        },
        |crowd, _| crowd.requests(1, Pr),
    ),
    (
        "one more PR among holders who are in the way",
        |crowd, count| {
            crowd.requests(count, Pr);
            crowd.request(Ex);
            0
        },
        |crowd, _| crowd.requests(1, Pr),
    ),
    (
        "a refusal among holders",
        |crowd, count| {
            crowd.requests(count, Pr);
            0
        },
        |crowd, _| {
            crowd.request_with(Ex, Flags::NOQUEUE);
        },
    ),
    (
        "a conversion refused again, of the oldest of those who know",
        |crowd, count| {
            let lock = crowd.request(Pr);
            crowd.requests(count, Pr);
            crowd.try_convert(lock, Ex);
            lock
        },
        |crowd, lock| crowd.try_convert(lock, Ex),
    ),
    (
        "one holder less, with EX waiting",
        |crowd, count| {
            crowd.requests(count, Pr);
            let lock = crowd.request(Pr);
            crowd.requests(count, Pr);
            crowd.request(Ex);
            lock
        },
        Crowd::unlock,
    ),
    (
        "one holder less, with CW waiting",
        |crowd, count| {
            crowd.requests(count, Pr);
            let lock = crowd.request(Pr);
            crowd.requests(count, Pr);
            crowd.request(Cw);
            crowd.request(Cw);
            lock
        },
        Crowd::unlock,
    ),
    (
        "a hand-over among bystanders",
        |crowd, count| {
            let holder = crowd.request(Ex);
            let next = crowd.request(Nl);
            crowd.requests(count, Nl);
            crowd.convert(next, Ex);
            holder
        },
        |crowd, holder| crowd.convert(holder, Nl),
    ),
    (
        "an old holder told after many newer bystanders",
        |crowd, count| {
            crowd.request(Ex);
            crowd.requests(count, Nl);
            crowd.request(Nl)
        },
        |crowd, lock| crowd.convert(lock, Ex),
    ),
    (
        "a second bystander leaving while many convert out of turn",
        |crowd, count| {
            crowd.conversions_out_of_turn(count);
            let first = crowd.request_with(Nl, Flags::EXPEDITE);
            let second = crowd.request_with(Nl, Flags::EXPEDITE);
            crowd.unlock(first);
            second
        },
        Crowd::unlock,
    ),
    (
        "one of many readers reading the value again, with EX waiting",
        |crowd, count| {
            crowd.requests(count, Pr);
            let lock = crowd.request(Pr);
            crowd.requests(count, Pr);
            crowd.request(Ex);
            lock
        },
        |crowd, lock| crowd.convert(lock, Pr),
    ),
    (
        "looking for an orphan among holders",
        |crowd, count| {
            crowd.requests(count, Pr);
            0
        },
        |crowd, _| assert_eq!(crowd.adopt(Ex), Err(ENOENT)),
    ),
    (
        "adopting the oldest orphan of many",
        |crowd, count| {
            crowd.orphans(b"crowded", count);
            0
        },
        |crowd, _| assert!(crowd.adopt(Pr).is_ok()),
    ),
    (
        "adopting the youngest orphan of many, the only one of its name",
        |crowd, count| {
            crowd.orphans(b"elsewhere", count);
            crowd.orphans(b"crowded", 1);
            0
        },
        |crowd, _| assert!(crowd.adopt(Pr).is_ok()),
    ),
    (
        "a conversion in place among holders",
        |crowd, count| {
            crowd.requests(count, Cr);
            crowd.request(Nl)
        },
        |crowd, lock| crowd.convert(lock, Pw),
    ),
    (
        "a conversion deadlock among those who convert",
        |crowd, count| {
            let lock = crowd.request(Pr);
            let others: Vec<_> = (0..count).map(|_| crowd.request(Nl)).collect();
            for other in others {
                crowd.convert(other, Ex);
            }
            lock
        },
        |crowd, lock| crowd.convert(lock, Ex),
    ),
];

fn cost(case: &Case, count: u32) -> u64 {
    let (_, prepare, act) = case;
    let mut crowd = Crowd::new();
    let lock = prepare(&mut crowd, count);
    let before = looks();
    act(&mut crowd, lock);
    looks() - before
}

#[test]
fn costs_do_not_depend_on_the_crowd() {
    for case in CASES {
        let (few, many) = (cost(case, 10), cost(case, 10_000));
        // A slab or a directory may have to grow by one chunk, whatever its size.
        let growth = 300;
        println!("{}: {few}, {many}", case.0);
        assert!(
            many <= few + growth,
            "{}: {few} among 10, {many} among 10,000",
            case.0
        );
    }
}

/// As many locks as take ids of both forms.
#[test]
fn a_million_locks_have_ids_of_their_own() {
    const COUNT: u32 = (1 << 20) + 1000;
    let mut crowd = Crowd::new();
    let mut ids = HashSet::new();
    for _ in 0..COUNT {
        let id = crowd.request(Nl);
        assert!((1..=i32::MAX as u32).contains(&id));
        assert!(ids.insert(id), "id {id:#x} twice");
    }
    for id in ids {
        crowd.unlock(id);
    }
    assert!(crowd.table.is_empty());
}
