// SPDX-License-Identifier: GPL-2.0

//! A client's side for tests: it writes down what it is told, and holds the table to the protocol.
//! It keeps real records too, to be read and compared at any time.
//!
//! The user's side of a request is a number. `open` and `change` fail when memory does.

use crate::{
    engine::{
        Completion,
        LockId,
        Occasion,
        Owner,
        Ticket, //
    },
    reader::{
        Gift,
        Reader, //
    },
    terms::Mode,
    view::Record, //
};
use kernel::prelude::*;
use std::{
    cell::RefCell,
    collections::{
        BTreeSet,
        HashMap, //
    },
    rc::Rc, //
};

/// What is known of a lock that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    client: usize,
    user: u32,
    /// An operation has no completion yet; whether it may have to wait.
    pending: Option<bool>,
    /// What it was told since the last completion.
    told: Option<Mode>,
    /// A value block was announced.
    room: bool,
    /// Its ticket with the client's reader.
    ticket: Ticket,
}

impl Open {
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}

/// What the program of that number gives; not all of it every time, where that is possible.
fn gift_of(number: u32, finishes: bool) -> Gift {
    let n = 10 * (1 + u64::from(number));
    if finishes && number % 3 > 0 {
        Gift::with_end(n * u64::from(number % 3 - 1), n)
    } else {
        Gift::with_lock(n)
    }
}

/// What all the clients of a table were told.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) open: HashMap<Ticket, Open>,
    next: Ticket,
    pub(crate) records: Vec<Record>,
    /// Who is to be woken.
    stirred: BTreeSet<usize>,
    /// Who was woken, as often as they were.
    pub(crate) woken: Vec<usize>,
    /// The names that locks were told with, until their last record.
    pub(crate) names: HashMap<LockId, Vec<u8>>,
    /// What each client's program reads.
    readers: HashMap<usize, Reader>,
    /// Breaches of the protocol.
    pub(crate) faults: Vec<String>,
}

impl Desk {
    pub(crate) fn client_of(&self, ticket: Ticket) -> usize {
        self.open[&ticket].client
    }

    pub(crate) fn user_of(&self, ticket: Ticket) -> u32 {
        self.open[&ticket].user
    }

    pub(crate) fn is_pending(&self, ticket: Ticket) -> bool {
        self.open[&ticket].is_pending()
    }

    pub(crate) fn reader(&mut self, client: usize) -> &mut Reader {
        self.readers.entry(client).or_default()
    }

    /// Whether all were woken who were told something.
    pub(crate) fn is_rested(&self) -> bool {
        self.stirred.is_empty()
    }

    fn issue(&mut self, open: Open) -> Ticket {
        self.next += 1;
        self.open.insert(self.next, open);
        self.next
    }

    /// A client was told something; whether somebody waits for that, which for some users is so.
    fn stir(&mut self, client: usize, user: u32) -> bool {
        let awaited = user % 3 < 2;
        if awaited {
            self.stirred.insert(client);
        }
        awaited
    }

    fn expect(&mut self, right: bool, what: &str) {
        if !right {
            self.faults.push(what.to_string());
        }
    }

    /// Something is told of a lock with this name.
    fn name(&mut self, id: LockId, name: &[u8], last: bool) {
        let known = self.names.entry(id).or_insert_with(|| name.to_vec());
        let same = known == name;
        self.expect(same, "a lock with two names");
        if last {
            self.names.remove(&id);
        }
    }

    /// A ticket of `client`.
    fn entry(&mut self, ticket: Ticket, client: usize) -> Option<&mut Open> {
        let known = self
            .open
            .get(&ticket)
            .is_some_and(|open| open.client == client);
        self.expect(known, "told through a ticket that is closed or another's");
        self.open.get_mut(&ticket).filter(|_| known)
    }
}

pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) desk: Rc<RefCell<Desk>>,
}

impl Client {
    fn record(&self, user: u32, completion: &Completion<'_>) -> Record {
        Record::Completion {
            client: self.number,
            lock: completion.id,
            user,
            status: completion.status.number(),
            flags: completion.flags.0,
            value: completion.value.copied(),
            last: completion.last,
        }
    }
}

impl Owner for Client {
    type Change<'a> = u32;

    fn open(&self, user: u32, occasion: Occasion, value: bool) -> Result<Ticket> {
        KBox::new((), GFP_KERNEL)?;
        let mut desk = self.desk.borrow_mut();
        let ticket =
            desk.reader(self.number)
                .open(gift_of(user, false).change(), occasion, value)?;
        Ok(desk.issue(Open {
            client: self.number,
            user,
            pending: (occasion != Occasion::UserSideOnly).then_some(true),
            told: None,
            room: value,
            ticket,
        }))
    }

    /// Every other time the ticket stays the same.
    fn change(&self, ticket: Ticket, user: u32, occasion: Occasion, value: bool) -> Result<Ticket> {
        KBox::new((), GFP_KERNEL)?;
        let mut desk = self.desk.borrow_mut();
        let Some(inner) = desk.entry(ticket, self.number).map(|entry| entry.ticket) else {
            return Ok(ticket);
        };
        let finishes = occasion != Occasion::Operation { waits: true };
        let gift = gift_of(user, finishes);
        let change = gift.change();
        let inner = desk
            .reader(self.number)
            .change(inner, change, occasion, value)?;
        let Some(entry) = desk.entry(ticket, self.number) else {
            return Ok(ticket);
        };
        entry.ticket = inner;
        entry.user = user;
        entry.room = value;
        if let Occasion::Operation { waits } = occasion {
            let overlaps = waits && entry.pending.is_some();
            entry.pending = Some(waits);
            desk.expect(!overlaps, "a conversion while something is pending");
        }
        if user % 2 == 0 {
            return Ok(ticket);
        }
        match desk.open.remove(&ticket) {
            Some(open) => Ok(desk.issue(open)),
            None => Ok(ticket),
        }
    }

    fn answer<'n>(
        &self,
        user: u32,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> Result<Ticket> {
        KBox::new((), GFP_KERNEL)?;
        let mut desk = self.desk.borrow_mut();
        desk.name(completion.id, name(), completion.last);
        let record = (!completion.silent).then(|| self.record(user, &completion));
        let gift = gift_of(user, false);
        let change = gift.change();
        let ticket = desk.reader(self.number).answer(change, completion)?;
        desk.records.extend(record);
        Ok(desk.issue(Open {
            client: self.number,
            user,
            pending: None,
            told: None,
            room: false,
            ticket,
        }))
    }

    fn conclude<'n>(
        &self,
        ticket: Ticket,
        user: u32,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> Result<Ticket> {
        KBox::new((), GFP_KERNEL)?;
        let mut desk = self.desk.borrow_mut();
        desk.name(completion.id, name(), completion.last);
        let Some(inner) = desk.entry(ticket, self.number).map(|entry| entry.ticket) else {
            return Ok(ticket);
        };
        let record = (!completion.silent).then(|| self.record(user, &completion));
        let last = completion.last;
        let gift = gift_of(user, true);
        let change = gift.change();
        let inner = desk
            .reader(self.number)
            .conclude(inner, change, completion)?;
        desk.records.extend(record);
        if let Some(entry) = desk.entry(ticket, self.number) {
            entry.ticket = inner;
            entry.user = user;
            entry.pending = None;
            entry.told = None;
        }
        if last {
            desk.open.remove(&ticket);
        }
        Ok(ticket)
    }

    fn acknowledge(&self, ticket: Ticket, id: LockId) {
        let mut desk = self.desk.borrow_mut();
        let Some(entry) = desk.entry(ticket, self.number) else {
            return;
        };
        let waits = entry.pending.is_some();
        let (user, inner) = (entry.user, entry.ticket);
        desk.expect(waits, "an acknowledgement of nothing");
        desk.records.push(Record::Acknowledgement {
            client: self.number,
            lock: id,
            user,
        });
        desk.reader(self.number).acknowledge(inner, id);
    }

    fn complete<'n>(
        &self,
        ticket: Ticket,
        completion: Completion<'_>,
        name: impl FnOnce() -> &'n [u8],
    ) -> bool {
        let mut desk = self.desk.borrow_mut();
        desk.name(completion.id, name(), completion.last);
        let Some(entry) = desk.entry(ticket, self.number) else {
            return false;
        };
        let awaited = entry.pending.take().is_some();
        let fits = completion.value.is_none() || entry.room;
        entry.told = None;
        let (user, inner) = (entry.user, entry.ticket);
        desk.expect(awaited, "a completion of nothing");
        desk.expect(fits, "a value block that was not announced");
        if completion.last {
            desk.open.remove(&ticket);
        }
        desk.records.push(self.record(user, &completion));
        desk.reader(self.number).complete(inner, completion);
        desk.stir(self.number, user)
    }

    fn block<'n>(
        &self,
        ticket: Ticket,
        id: LockId,
        mode: Mode,
        name: impl FnOnce() -> &'n [u8],
    ) -> bool {
        let mut desk = self.desk.borrow_mut();
        desk.name(id, name(), false);
        let Some(entry) = desk.entry(ticket, self.number) else {
            return false;
        };
        let rising = entry.told.replace(mode) < Some(mode);
        let between = entry.pending == Some(false);
        let (user, inner) = (entry.user, entry.ticket);
        desk.expect(rising, "a mode told twice or falling");
        desk.expect(!between, "told within an operation that does not wait");
        desk.records.push(Record::Blocking {
            client: self.number,
            lock: id,
            user,
            mode,
        });
        desk.reader(self.number).block(inner, id, mode);
        desk.stir(self.number, user)
    }

    fn wake(&self) {
        let mut desk = self.desk.borrow_mut();
        let due = desk.stirred.remove(&self.number);
        desk.expect(due, "woken for nothing");
        desk.woken.push(self.number);
    }

    fn close(&self, ticket: Ticket) {
        let mut desk = self.desk.borrow_mut();
        let Some(entry) = desk.entry(ticket, self.number) else {
            return;
        };
        let (user, inner) = (entry.user, entry.ticket);
        desk.open.remove(&ticket);
        desk.records.push(Record::Gone {
            client: self.number,
            user,
        });
        desk.reader(self.number).close(inner);
    }

    fn transaction(&self, ticket: Ticket) -> u64 {
        let mut desk = self.desk.borrow_mut();
        desk.entry(ticket, self.number)
            .map_or(0, |entry| entry.user.into())
    }

    fn number(&self) -> u64 {
        self.number as u64
    }
}
