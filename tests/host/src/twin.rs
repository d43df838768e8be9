// SPDX-License-Identifier: GPL-2.0

//! A table and its model, doing the same operations and compared after each. What the table tells
//! goes to real records, of which some are read then.

use crate::{
    cursor::Cursor,
    engine::{
        Ask,
        CutOff,
        Fate,
        LockId,
        Outcome, //
    },
    lock_table::{
        inspect,
        IdSpace,
        LockTable,
        Purge, //
    },
    model::{
        Model,
        Queue, //
    },
    owner::{
        Client,
        Desk,
        Open, //
    },
    terms::{
        Flags,
        Mode,
        Reply,
        VALUE_LEN, //
    },
    view::{
        Record,
        ResourceView, //
    },
};
use kernel::{
    alloc::fail_after,
    prelude::*, //
};
use std::{
    cell::RefCell,
    collections::{
        HashMap,
        HashSet, //
    },
    fmt,
    rc::Rc, //
};

/// Which lock an operation means: some of those that there are, or any id that there ever was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pick {
    Granted(u16),
    Pending(u16),
    Orphan(u16),
    Ever(u16),
    /// The one that the operation of this tag asked for.
    Of(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Convert,
    Unlock,
    Cancel,
    Deadlock,
    Adopt,
    /// Of those with the pid of a lock, or of all.
    Purge,
    PurgeOwn,
    Close,
}

/// An operation; each kind looks at what it needs.
#[derive(Clone, Copy)]
pub(crate) struct Op {
    pub(crate) tag: usize,
    pub(crate) kind: Kind,
    pub(crate) client: usize,
    pub(crate) name: u8,
    pub(crate) lock: Pick,
    pub(crate) mode: Mode,
    pub(crate) flags: Flags,
    pub(crate) reply: Reply,
    pub(crate) acknowledge: bool,
    pub(crate) listens: bool,
    pub(crate) value: u8,
}

impl fmt::Debug for Op {
    /// In one line, without what its kind does not look at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Op {
            tag,
            kind,
            client,
            name,
            lock,
            mode,
            flags,
            reply,
            acknowledge,
            listens,
            value,
        } = self;
        match kind {
            Kind::Request => write!(f, "Request {tag} by {client} of {name}: {mode:?}")?,
            Kind::Convert => write!(f, "Convert {lock:?} by {client} to {mode:?}, value {value}")?,
            Kind::Unlock => write!(f, "Unlock {lock:?} by {client}, value {value}")?,
            Kind::Cancel => write!(f, "Cancel {lock:?}")?,
            Kind::Deadlock => write!(f, "Deadlock {lock:?}")?,
            Kind::Adopt => write!(f, "Adopt by {client} of {name}: {mode:?}")?,
            Kind::Purge => write!(f, "Purge {lock:?}, value {value}")?,
            Kind::PurgeOwn => write!(f, "Purge own of {client}")?,
            Kind::Close => write!(f, "Close {client}")?,
        }
        write!(
            f,
            ", flags {:#x}, by {reply:?}{}{}",
            flags.0,
            if *acknowledge { ", acknowledged" } else { "" },
            if *listens { "" } else { ", deaf" }
        )
    }
}

pub(crate) const CLIENTS: usize = 4;
pub(crate) const NAMES: u8 = 3;

/// Ids that never were.
const STRANGERS: [LockId; 4] = [0, 1, i32::MAX as LockId, LockId::MAX];

pub(crate) fn name(number: u8) -> Vec<u8> {
    vec![number; 1 + 31 * usize::from(number)]
}

/// Half of the names meet.
fn hash(name: &[u8]) -> u32 {
    name.len() as u32 / 64
}

/// Numbers of locks and users for what the table calls by id and ticket.
struct Context<'a> {
    numbers: &'a HashMap<LockId, usize>,
    desk: &'a Desk,
}

impl inspect::Context for Context<'_> {
    fn number(&self, id: LockId) -> u32 {
        self.numbers
            .get(&id)
            .map_or(u32::MAX, |number| *number as u32)
    }

    fn client_of(&self, ticket: u32) -> usize {
        self.desk.client_of(ticket)
    }

    fn user_of(&self, ticket: u32) -> u32 {
        self.desk.user_of(ticket)
    }
}

pub(crate) struct Twin {
    pub(crate) table: LockTable<Client>,
    pub(crate) model: Model,
    pub(crate) desk: Rc<RefCell<Desk>>,
    clients: Vec<u32>,
    /// The youngest lock of each id.
    numbers: HashMap<LockId, usize>,
    /// The ids of the model's locks.
    ids: Vec<LockId>,
    /// The tags of the operations that asked for them.
    tags: Vec<usize>,
    /// What was done, with locks picked by tag.
    pub(crate) trace: Vec<Op>,
    /// Operations so far; each has its own user arguments.
    steps: u32,
    cursor: Cursor,
    /// Let every operation run out of memory in every way first.
    starving: bool,
    /// How often memory ran out.
    pub(crate) failures: u32,
}

impl Twin {
    pub(crate) fn new(starving: bool) -> Self {
        let mut twin = Twin {
            table: LockTable::new(IdSpace::new(0, 0)),
            model: Model::default(),
            desk: Rc::default(),
            clients: Vec::new(),
            numbers: HashMap::new(),
            ids: Vec::new(),
            tags: Vec::new(),
            trace: Vec::new(),
            steps: 0,
            cursor: Cursor::new(),
            starving,
            failures: 0,
        };
        for number in 0..CLIENTS {
            let client = twin.new_client(number);
            twin.clients.push(client);
        }
        twin
    }

    /// Does one operation on both, and panics where they differ.
    pub(crate) fn apply(&mut self, op: &Op) {
        self.steps += 1;
        self.table.set_time(self.steps);
        let id = self.pick(op.lock);
        let lock = match self.numbers.get(&id) {
            Some(number) => Pick::Of(self.tags[*number]),
            None => op.lock,
        };
        self.trace.push(Op { lock, ..*op });
        let result = self.apply_to_table(op, id);
        let expected = self.apply_to_model(op, id);
        if let (Kind::Request, Ok((Some(id), _)), Ok((Some(number), _))) =
            (op.kind, result, expected)
        {
            self.numbers.insert(id, number);
            self.ids.push(id);
            self.tags.push(op.tag);
        }
        let result = result.map(|(id, outcome)| (id.map(|id| self.numbers[&id]), outcome));
        assert_eq!(result, expected, "results of {op:?}");
        self.compare();
        self.cursor.walk(&mut self.table, op.value % 8, self.steps);
        let mut desk = self.desk.borrow_mut();
        desk.reader(op.client).read_some(op.value);
    }

    /// Ends the lockspace, or closes all clients and purges the orphans: nothing must be left.
    pub(crate) fn finish(&mut self) {
        if self.steps % 2 == 0 {
            return self.cut_off();
        }
        for client in 0..CLIENTS {
            self.close(client);
            self.model.close(client);
            self.compare();
        }
        self.purge(None);
        self.model.purge(None);
        self.compare();
        assert!(self.table.is_empty());
        assert_eq!(inspect::values(&self.table), 0);
        assert!(self.desk.borrow().open.is_empty());
    }

    /// Ends the lockspace: nobody is told anything but who waits, once, and nothing is left.
    pub(crate) fn cut_off(&mut self) {
        let before = self.desk.borrow().open.clone();
        let pending = |open: &&Open| open.is_pending();
        let waiters = before.values().filter(pending).count() as u32;
        let holders = before.len() as u32 - waiters;
        let alive = self.model.on_queue(|_| true).len() as u32;
        let (mut cut_off, mut next) = (CutOff::default(), 0);
        loop {
            let (more, go_on) = self.table.cut_off(&mut next, 3);
            cut_off += more;
            if !go_on {
                break;
            }
        }
        let expected = CutOff {
            holders,
            waiters,
            orphans: alive - holders - waiters,
        };
        assert_eq!(cut_off, expected);
        let mut desk = self.desk.borrow_mut();
        let (mut told, mut gone) = (HashSet::new(), 0);
        for record in desk.records.drain(..) {
            match record {
                Record::Completion {
                    lock,
                    status: -19,
                    flags: 0,
                    value: None,
                    last: true,
                    ..
                } => assert!(told.insert(lock), "told twice"),
                Record::Gone { .. } => gone += 1,
                other => panic!("told at the end: {other:?}"),
            }
        }
        assert_eq!((told.len() as u32, gone), (waiters, holders));
        assert!(desk.faults.is_empty(), "{:?}", desk.faults);
        assert!(desk.is_rested() && desk.open.is_empty());
        for client in 0..CLIENTS {
            desk.reader(client).read_all();
        }
        while self.table.dismantle() {}
    }

    fn compare(&mut self) {
        let mut records = self.desk.borrow_mut().records.split_off(0);
        for record in &mut records {
            if let Record::Completion { lock, .. }
            | Record::Blocking { lock, .. }
            | Record::Acknowledgement { lock, .. } = record
            {
                *lock = self
                    .numbers
                    .get(lock)
                    .map_or(u32::MAX, |number| *number as u32);
            }
        }
        assert_eq!(records, self.model.records, "records");
        self.model.records.clear();
        assert_eq!(self.checked_view(), self.model.view(), "queues");
        let desk = self.desk.borrow();
        assert!(desk.faults.is_empty(), "{:?}", desk.faults);
        assert!(desk.is_rested(), "not woken");
        let alive = self.model.on_queue(|_| true);
        let mut tickets = 0;
        for lock in alive {
            let (state, ticket) = inspect::state_of(&self.table, self.ids[lock]).unwrap();
            if let Some(ticket) = ticket {
                assert_eq!(desk.is_pending(ticket), state != inspect::State::Granted);
                tickets += 1;
            }
        }
        assert_eq!(desk.open.len(), tickets, "tickets");
    }

    /// The view of a table that is consistent.
    fn checked_view(&self) -> Vec<ResourceView> {
        inspect::check(&self.table, hash);
        let view = self.view();
        for name in (0..NAMES).map(name) {
            let has_locks = view.iter().any(|resource| resource.name == name);
            let known = inspect::knows(&self.table, hash(&name), &name);
            assert_eq!(known, has_locks, "a resource without locks");
        }
        view
    }

    fn view(&self) -> Vec<ResourceView> {
        let context = Context {
            numbers: &self.numbers,
            desk: &self.desk.borrow(),
        };
        inspect::view(&self.table, &context)
    }

    fn pick(&self, pick: Pick) -> LockId {
        let (number, all) = match pick {
            Pick::Granted(number) => (number, self.model.on_queue(|q| q == Queue::Granted)),
            Pick::Pending(number) => (
                number,
                self.model
                    .on_queue(|q| matches!(q, Queue::Waiting | Queue::Converting)),
            ),
            Pick::Orphan(number) => {
                let mut orphans = self.model.on_queue(|_| true);
                orphans.retain(|lock| self.model.is_orphan(*lock));
                (number, orphans)
            }
            Pick::Ever(number) => (number, (0..self.ids.len()).collect()),
            Pick::Of(tag) => {
                let number = self.tags.iter().position(|other| *other == tag);
                return number.map_or(STRANGERS[0], |number| self.ids[number]);
            }
        };
        match all.get(usize::from(number) % all.len().max(1)) {
            Some(lock) => self.ids[*lock],
            None => STRANGERS[usize::from(number) % STRANGERS.len()],
        }
    }

    fn ask(&self, op: &Op) -> Ask {
        Ask {
            mode: op.mode,
            flags: op.flags,
            reply: op.reply,
            acknowledge: op.acknowledge,
            listens: op.listens,
            pid: self.steps / 4,
        }
    }

    /// Whose orphans are purged.
    fn victim(&self, op: &Op, id: LockId) -> Option<u32> {
        let lock = self.numbers.get(&id)?;
        self.model.pid_of(*lock).filter(|_| op.value % 4 > 0)
    }

    /// What the model makes of it: a lock's number, and what is left to hear, where there is such.
    fn apply_to_model(&mut self, op: &Op, id: LockId) -> Result<(Option<usize>, Outcome)> {
        let (ask, user, value) = (self.ask(op), self.steps, [op.value; VALUE_LEN]);
        let lock = self.numbers.get(&id).copied().unwrap_or(usize::MAX);
        match op.kind {
            Kind::Request => {
                let requested = self.model.request(op.client, &name(op.name), &ask, user);
                return requested.map(|(lock, outcome)| (Some(lock), outcome));
            }
            Kind::Convert => {
                let converted = self.model.convert(lock, op.client, &ask, &value, user);
                return converted.map(|outcome| (None, outcome));
            }
            Kind::Unlock => {
                let (by, reply) = (op.client, op.reply);
                let unlocked = self.model.unlock(lock, by, op.flags, reply, &value, user);
                return unlocked.map(|outcome| (None, outcome));
            }
            Kind::Cancel => self.model.cancel(lock, op.flags, user)?,
            Kind::Deadlock => self.model.cancel_deadlocked(lock, op.flags)?,
            Kind::Adopt => {
                let (name, mode) = (name(op.name), Some(op.mode));
                let lock = self.model.adopt(op.client, &name, mode, &ask, user);
                return lock.map(|lock| (Some(lock), Outcome::Told));
            }
            Kind::Purge => self.model.purge(self.victim(op, id)),
            Kind::PurgeOwn => self.model.purge_own(op.client),
            Kind::Close => self.model.close(op.client),
        }
        Ok((None, Outcome::Told))
    }

    /// If starving, with no memory at first and with a bit more each time, until it succeeds;
    /// whenever it fails, nothing must have changed.
    fn apply_to_table(&mut self, op: &Op, id: LockId) -> Result<(Option<LockId>, Outcome)> {
        if !self.starving {
            return self.try_on_table(op, id);
        }
        let before = (self.view(), self.desk.borrow().open.clone());
        for allocations in 0.. {
            fail_after(Some(allocations));
            let result = self.try_on_table(op, id);
            fail_after(None);
            if result != Err(ENOMEM) {
                return result;
            }
            self.failures += 1;
            let mut desk = self.desk.borrow_mut();
            // A ticket that was opened and not used.
            desk.records.retain(
                |record| !matches!(record, Record::Gone { user, .. } if *user == self.steps),
            );
            assert!(
                desk.records.is_empty(),
                "told by {op:?}: {:?}",
                desk.records
            );
            let open = desk.open.clone();
            drop(desk);
            assert_eq!((self.checked_view(), open), before, "changed by {op:?}");
        }
        unreachable!()
    }

    fn try_on_table(&mut self, op: &Op, id: LockId) -> Result<(Option<LockId>, Outcome)> {
        let (ask, user, value) = (self.ask(op), self.steps, [op.value; VALUE_LEN]);
        let client = self.clients[op.client];
        match op.kind {
            Kind::Request => {
                let name = name(op.name);
                let requested = self.table.request(client, hash(&name), &name, ask, user);
                return requested.map(|(id, outcome)| (Some(id), outcome));
            }
            Kind::Convert => {
                let converted = self.table.convert(id, client, ask, &value, user);
                return converted.map(|outcome| (None, outcome));
            }
            Kind::Unlock => {
                let (flags, reply) = (op.flags, op.reply);
                let unlocked = self.table.unlock(id, client, flags, reply, &value, user);
                return unlocked.map(|outcome| (None, outcome));
            }
            Kind::Cancel => self.table.cancel(id, op.flags, user)?,
            Kind::Deadlock => self.table.cancel_deadlocked(id, op.flags)?,
            Kind::Adopt => {
                let name = name(op.name);
                let (hash, mode) = (hash(&name), Some(op.mode));
                let id = self.table.adopt(client, hash, &name, mode, ask, user);
                return id.map(|id| (Some(id), Outcome::Told));
            }
            Kind::Purge => self.purge(self.victim(op, id)),
            Kind::PurgeOwn => while self.table.release(client, Fate::Freed, 3) {},
            Kind::Close => self.close(op.client),
        }
        Ok((None, Outcome::Told))
    }

    /// Closes a client, a few locks at a time, and makes room for the next.
    fn close(&mut self, number: usize) {
        let client = self.clients[number];
        while self.table.release(client, Fate::Orphaned, 3) {}
        assert!(self.table.remove_client(client).is_some());
        fail_after(None);
        self.desk.borrow_mut().reader(number).read_all();
        self.clients[number] = self.new_client(number);
    }

    /// Purges orphans, a few at a time.
    fn purge(&mut self, pid: Option<u32>) {
        let mut progress = Purge::default();
        while self.table.purge(pid, &mut progress, 3) {}
    }

    fn new_client(&mut self, number: usize) -> u32 {
        let desk = self.desk.clone();
        self.table.add_client(Client { number, desk }).unwrap()
    }
}
