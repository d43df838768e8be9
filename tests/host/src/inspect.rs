// SPDX-License-Identifier: GPL-2.0

//! Looking into a table: what is compared with the model, and what must always be true.
//!
//! This is a child of `lock_table`, so that tests see private fields.

use super::{
    contention::Contention,
    decision::Candidate,
    demand::Demand,
    lock::{
        ByOwner,
        ByQueue,
        IdleSlot,
        Last,
        Lock,
        Marks, //
    },
    resource::Resource,
    IdSpace,
    LockTable, //
};
use crate::{
    engine::{
        Holdings,
        LockId,
        Owner,
        Ticket, //
    },
    storage::{
        list::List,
        slab::{
            Layout,
            Note,
            Slab,
            NONE, //
        },
    },
    terms::{
        Flags,
        Mode, //
    },
    view::{
        Heard,
        LockView,
        ResourceView, //
    },
};
use std::collections::{
    BTreeSet,
    HashSet, //
};

pub(crate) use crate::engine::State;

/// What a table does not know of its locks.
pub(crate) trait Context {
    fn number(&self, id: LockId) -> u32;
    fn client_of(&self, ticket: Ticket) -> usize;
    fn user_of(&self, ticket: Ticket) -> u32;
}

fn queue<O>(table: &LockTable<O>, first: Option<u32>) -> Vec<u32> {
    core::iter::successors(first, |at| List::<ByQueue>::next(&table.locks, *at)).collect()
}

fn owned<O>(table: &LockTable<O>, list: &List<ByOwner>) -> Vec<u32> {
    let next = |at: &u32| List::<ByOwner>::next(&table.locks, *at);
    core::iter::successors(list.first(), next).collect()
}

fn used<T, N: Note>(slab: &Slab<T, N>) -> Vec<u32> {
    core::iter::successors(slab.next_used(0), |at| slab.next_used(at + 1)).collect()
}

fn each_mode<T>(count: impl Fn(Mode) -> T) -> Vec<T> {
    Mode::ALL.into_iter().map(count).collect()
}

/// How a slot becomes an id, and back.
pub(crate) fn issue(ids: IdSpace, slot: u32, last: LockId, made: u32) -> LockId {
    ids.issue(slot, last, made)
}

pub(crate) fn slot(ids: IdSpace, id: LockId) -> Option<u32> {
    ids.slot(id)
}

/// How many slots have ids.
pub(crate) fn limit(ids: IdSpace) -> u32 {
    ids.limit()
}

/// The ticket that a lock has, unless it is an orphan.
fn ticket_of(lock: &Lock) -> Option<Ticket> {
    (lock.client != NONE).then_some(lock.ticket)
}

/// Where and how a lock stands, for those who hold its id.
pub(crate) fn state_of<O: Owner>(
    table: &LockTable<O>,
    id: LockId,
) -> Option<(State, Option<Ticket>)> {
    let lock = &table.locks[table.find(id).ok()?];
    Some((lock.state, ticket_of(lock)))
}

/// What locks take, what resources do, and what those do on which somebody was refused.
pub(crate) fn layouts() -> (Layout, Layout, usize) {
    let contention = core::mem::size_of::<Contention>();
    (
        Slab::<Lock>::layout(),
        Slab::<Resource>::layout(),
        contention,
    )
}

/// How many value blocks there are, of locks and of resources.
pub(crate) fn values<O>(table: &LockTable<O>) -> u32 {
    table.values.len()
}

/// All locks, and since when they are where they are.
pub(crate) fn places<O>(table: &LockTable<O>) -> Vec<(LockId, u32)> {
    let locks = used(&table.locks).into_iter();
    let locks = locks.map(|lock| &table.locks[lock]);
    locks.map(|lock| (lock.id, lock.since)).collect()
}

/// Whether there is a resource of that name.
pub(crate) fn knows<O>(table: &LockTable<O>, hash: u32, name: &[u8]) -> bool {
    let found = table.resources.find(hash, name);
    found.is_some_and(|(_, resource)| !resource.idle_slot.is_assigned())
}

/// The resources that locks are on.
fn resources<O>(table: &LockTable<O>) -> BTreeSet<u32> {
    let locks = used(&table.locks).into_iter();
    locks.map(|lock| table.locks[lock].resource).collect()
}

/// All resources, by name.
pub(crate) fn view<O: Owner>(table: &LockTable<O>, context: &impl Context) -> Vec<ResourceView> {
    let view_lock = |index: u32| {
        let lock = &table.locks[index];
        LockView {
            number: context.number(lock.id),
            client: ticket_of(lock).map(|ticket| context.client_of(ticket)),
            user: ticket_of(lock).map(|ticket| context.user_of(ticket)),
            pid: lock.pid,
            flags: lock.flags.0,
            status: lock.status.0,
            listens: lock.marks.has(Marks::LISTENS),
            granted: lock.granted,
            requested: (lock.state != State::Granted).then_some(lock.requested),
            completed: lock.completed,
            told: lock.told,
            heard: match lock.last {
                Last::Nothing => Heard::Nothing,
                Last::Completion => Heard::Completion,
                Last::Blocking(mode) => Heard::Blocking(mode),
            },
            buffer: table.values.get(lock.value).copied(),
        }
    };
    let view_queue = |resource: u32, state: State| -> Vec<LockView> {
        let locks = queue(table, table.first(resource, state));
        locks.into_iter().map(view_lock).collect()
    };
    let mut all: Vec<ResourceView> = resources(table)
        .into_iter()
        .map(|index| ResourceView {
            name: table.resources[index].name.bytes().to_vec(),
            value: table.resources[index]
                .value_written
                .then(|| table.values[table.resources[index].value]),
            invalid: table.resources[index].value_invalid,
            granted: view_queue(index, State::Granted),
            converting: view_queue(index, State::Converting),
            waiting: view_queue(index, State::Waiting),
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Panics unless the table is consistent in itself. `hash` is what its user hashes names with.
pub(crate) fn check<O: Owner>(table: &LockTable<O>, hash: impl Fn(&[u8]) -> u32) {
    let mut locks = 0;
    let mut values = HashSet::new();
    let all = core::iter::successors(table.resources.next_used(0), |at| {
        table.resources.next_used(at + 1)
    });
    let all: Vec<(u32, IdleSlot)> = all.map(|at| (at, table.resources[at].idle_slot)).collect();
    let idle = all
        .iter()
        .filter(|(_, idle_slot)| idle_slot.is_assigned())
        .count();
    assert_eq!(idle, table.idle.len());
    for (index, idle_slot) in all {
        assert_eq!(idle_slot.is_assigned(), !resources(table).contains(&index));
        assert!(!idle_slot.is_assigned() || table.idle.at(idle_slot) == index);
    }
    for index in resources(table) {
        let resource = &table.resources[index];
        let name = resource.name.bytes();
        let found = table.resources.find(hash(name), name);
        assert_eq!(found.map(|(place, _)| place), Some(index));
        if resource.value != NONE {
            assert!(values.insert(resource.value), "a value block of two");
        }
        locks += check_resource(table, index);
    }
    assert_eq!(table.locks.len(), locks, "locks on no queue");
    for index in used(&table.locks) {
        let lock = &table.locks[index];
        assert_eq!(table.find(lock.id), Ok(index), "an id that leads elsewhere");
        if lock.value != NONE {
            assert!(values.insert(lock.value), "a value block of two");
        }
    }
    assert!(values
        .iter()
        .all(|value| table.values.get(*value).is_some()));
    assert_eq!(
        table.values.len() as usize,
        values.len(),
        "a value block of nobody"
    );
    check_owners(table);
}

fn check_owners<O: Owner>(table: &LockTable<O>) {
    let mut count = 0;
    for index in used(&table.clients) {
        let mut holdings = Holdings::default();
        for lock in owned(table, &table.clients[index].owned) {
            assert_eq!(table.locks[lock].client, index);
            holdings.all += 1;
            holdings.converting += u32::from(table.locks[lock].state == State::Converting);
            holdings.waiting += u32::from(table.locks[lock].state == State::Waiting);
        }
        assert_eq!(table.holdings(index), holdings);
        check_sights(table, index);
        count += holdings.all;
    }
    let mut youngest = None;
    for lock in owned(table, &table.orphans) {
        let lock = &table.locks[lock];
        assert_eq!(lock.client, NONE);
        assert!(lock.state != State::Waiting, "an orphan that waits");
        let age = table.next_orphan.wrapping_sub(lock.ticket);
        assert!(age > 0 && youngest.is_none_or(|before| age < before));
        youngest = Some(age);
        count += 1;
    }
    assert_eq!(table.locks.len(), count, "locks of nobody");
}

/// A client's locks are seen in the order of its list, and as its own.
fn check_sights<O: Owner>(table: &LockTable<O>, client: u32) {
    let number = table.clients[client].owner.number();
    let seen = table.locks_of(client);
    let seen: Vec<(LockId, Option<u64>)> = seen.map(|lock| (lock.id, lock.owner)).collect();
    let owned = owned(table, &table.clients[client].owned).into_iter();
    let owned: Vec<_> = owned
        .map(|lock| (table.locks[lock].id, Some(number)))
        .collect();
    assert_eq!(seen, owned);
}

/// The same for one resource; returns how many locks it has.
fn check_resource<O: Owner>(table: &LockTable<O>, index: u32) -> u32 {
    let resource = &table.resources[index];
    let on = |state: State| -> Vec<&Lock> {
        let all = queue(table, table.first(index, state));
        let all: Vec<&Lock> = all.into_iter().map(|at| &table.locks[at]).collect();
        assert!(all
            .iter()
            .all(|lock| lock.state == state && lock.resource == index));
        assert!(all
            .iter()
            .all(|lock| lock.granted.is_some() == (state != State::Waiting)));
        all
    };
    let granted = on(State::Granted);
    let converting = on(State::Converting);
    let waiting = on(State::Waiting);

    let held: Vec<Mode> = granted
        .iter()
        .chain(&converting)
        .filter_map(|l| l.granted)
        .collect();
    for (n, one) in held.iter().enumerate() {
        assert!(
            held[..n].iter().all(|other| one.compatible(*other)),
            "{held:?} together"
        );
    }
    let count = |modes: &[Mode], mode| modes.iter().filter(|one| **one == mode).count() as u32;
    assert_eq!(
        each_mode(|m| resource.held.of(m)),
        each_mode(|m| count(&held, m))
    );
    if let Some(contention) = &resource.contention {
        check_contention(contention, &granted, &converting, &waiting);
    }
    (granted.len() + converting.len() + waiting.len()) as u32
}

fn check_contention(
    contention: &Contention,
    granted: &[&Lock],
    converting: &[&Lock],
    waiting: &[&Lock],
) {
    let count = |locks: &[&Lock], which: &dyn Fn(&Lock) -> bool| {
        locks.iter().filter(|lock| which(lock)).count() as u32
    };
    let asking = |locks, mode| count(locks, &|lock| lock.requested == mode);
    assert_eq!(
        each_mode(|m| contention.converting_for.of(m)),
        each_mode(|m| asking(converting, m))
    );
    assert_eq!(
        each_mode(|m| contention.waiting_for.of(m)),
        each_mode(|m| asking(waiting, m))
    );
    assert_eq!(
        each_mode(|m| contention.converting_held.of(m)),
        each_mode(|m| count(converting, &|lock| lock.granted == Some(m)))
    );
    assert_eq!(
        contention.irregular,
        count(converting, &|lock| lock.marks.has(Marks::IRREGULAR))
    );
    assert!(contention.irregular > 0 || is_regular(converting));
    let may_become = |lock: &Lock, mode| {
        let asked = Candidate::of(lock);
        let other = asked.alternative().is_some_and(|o| o.requested == mode);
        lock.flags.any(Flags::NOORDER) && (asked.requested == mode || other)
    };
    assert_eq!(
        each_mode(|m| contention.unordered.of(m)),
        each_mode(|m| count(waiting, &|lock| may_become(lock, m)))
    );
    for held in Mode::ALL {
        let told = |told| count(granted, &|l| l.granted == Some(held) && l.told == told);
        assert_eq!(
            each_mode(|m| contention.told[held as usize].of(m)),
            each_mode(told),
            "what {held:?} was told"
        );
        assert_eq!(
            contention.untold_crossing.of(held),
            count(granted, &|l| l.granted == Some(held)
                && !l.marks.has(Marks::TOLD_CROSSING))
        );
    }
    assert!(converting
        .iter()
        .chain(waiting)
        .all(|lock| !lock.marks.has(Marks::TOLD_CROSSING)));
    for lock in granted
        .iter()
        .filter(|lock| lock.marks.has(Marks::TOLD_CROSSING))
    {
        let demand = lock
            .granted
            .and_then(|held| contention.last_crossing[held as usize]);
        assert!(demand.is_some_and(|demand| is_indifferent(lock, demand)));
    }
}

/// Whether it is enough to look at the head of a converting queue: nobody may be granted out of
/// turn, and nobody is in the way of one ahead.
fn is_regular(converting: &[&Lock]) -> bool {
    converting.iter().enumerate().all(|(place, lock)| {
        let blocks = |ahead: &&Lock| {
            lock.granted
                .is_some_and(|held| !held.compatible(ahead.requested))
        };
        !lock.flags.any(Flags::NOORDER) && !converting[..place].iter().any(blocks)
    })
}

/// Whether putting a demand to a lock would change nothing.
fn is_indifferent(lock: &Lock, demand: Demand) -> bool {
    let harmless = lock
        .completed
        .is_some_and(|mode| mode.compatible(demand.mode));
    let repeated = match lock.last {
        Last::Blocking(before) => {
            before == demand.mode || before > demand.mode && before > Mode::Pr
        }
        _ => false,
    };
    let silent = lock.client == NONE || !lock.marks.has(Marks::LISTENS) || harmless || repeated;
    lock.told == Mode::Ex || lock.told == demand.level && silent
}
