// SPDX-License-Identifier: GPL-2.0

//! Somebody who looks a table over again and again, a few items at a time, while it changes.

use crate::{
    engine::{
        Item,
        LockId,
        Owner, //
    },
    lock_table::{
        inspect,
        LockTable, //
    },
    storage::slab::NONE, //
};
use std::collections::HashMap;

pub(crate) struct Cursor {
    number: u32,
    /// When this round began.
    began: u32,
    /// The name of the resource that was seen last.
    resource: Vec<u8>,
    seen: HashMap<LockId, u32>,
}

impl Cursor {
    pub(crate) fn new() -> Self {
        Cursor {
            number: NONE,
            began: 0,
            resource: Vec::new(),
            seen: HashMap::new(),
        }
    }

    /// Goes on by some items, and does not pass the last before the next time: it may be gone by
    /// then. At the end of a round, panics unless each lock that stayed in its place was seen
    /// exactly once.
    pub(crate) fn walk<O: Owner>(&mut self, table: &mut LockTable<O>, items: u8, now: u32) {
        for _ in 0..items {
            if self.number == NONE {
                self.number = table.add_cursor().unwrap();
                self.began = now;
            }
            table.move_on(self.number);
            match table.survey(self.number) {
                Some(Item::Resource(resource)) => self.resource = resource.name.to_vec(),
                Some(Item::Lock(lock)) => {
                    if lock.since <= self.began {
                        assert_eq!(lock.name, self.resource, "under the wrong resource");
                    }
                    *self.seen.entry(lock.id).or_default() += 1;
                }
                None => self.finish(table),
            }
        }
    }

    fn finish<O: Owner>(&mut self, table: &mut LockTable<O>) {
        for (id, since) in inspect::places(table) {
            let times = self.seen.get(&id).copied().unwrap_or(0);
            assert!(
                since > self.began || times == 1,
                "{id} was seen {times} times"
            );
        }
        table.remove_cursor(self.number);
        *self = Cursor::new();
    }
}
