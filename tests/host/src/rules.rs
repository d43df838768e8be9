// SPDX-License-Identifier: GPL-2.0

//! The rules of the table one by one: matrices, flags, ids, names.

use crate::{
    engine::{
        Ask,
        CutOff,
        Fate,
        Item,
        LockId,
        Outcome, //
    },
    lock_table::{
        inspect,
        IdSpace,
        LockTable,
        Purge, //
    },
    owner::{
        Client,
        Desk, //
    },
    storage::slab::NONE,
    terms::{
        Flags,
        Mode::{
            self,
            *, //
        },
        Reply,
        Value,
        VALUE_LEN, //
    },
    view::Record, //
};
use kernel::prelude::*;
use std::{
    cell::RefCell,
    collections::{
        HashMap,
        HashSet, //
    },
    rc::Rc, //
};

const NO: Flags = Flags(0);
const OLD: Value = [b'o'; VALUE_LEN];
const NEW: Value = [b'n'; VALUE_LEN];

/// A table with one client. Locks are called a, b, c … in the order of asking.
struct Bench {
    table: LockTable<Client>,
    desk: Rc<RefCell<Desk>>,
    client: u32,
    ids: Vec<LockId>,
}

impl Bench {
    fn new() -> Self {
        Bench::with_ids(IdSpace::new(0, 0))
    }

    fn with_ids(ids: IdSpace) -> Self {
        let mut bench = Bench {
            table: LockTable::new(ids),
            desk: Rc::default(),
            client: NONE,
            ids: Vec::new(),
        };
        bench.client = bench.add_client(0);
        bench
    }

    /// One more client; the bench's stays who asks.
    fn add_client(&mut self, number: usize) -> u32 {
        let desk = self.desk.clone();
        self.table.add_client(Client { number, desk }).unwrap()
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

    fn request_name(&mut self, name: &[u8], mode: Mode, flags: Flags) -> Result {
        let ask = Bench::ask(mode, flags);
        let next = self.table.next_id()?;
        let (id, _) = self.table.request(self.client, 7, name, ask, 0)?;
        assert_eq!(next, id);
        self.ids.push(id);
        Ok(())
    }

    fn request(&mut self, mode: Mode, flags: Flags) -> Result {
        self.request_name(b"name", mode, flags)
    }

    fn id(&self, lock: char) -> LockId {
        self.ids[lock as usize - 'a' as usize]
    }

    fn convert(&mut self, lock: char, mode: Mode, flags: Flags) -> Result {
        let ask = Bench::ask(mode, flags);
        self.table
            .convert(self.id(lock), self.client, ask, &NEW, 0)
            .map(drop)
    }

    fn unlock(&mut self, lock: char, flags: Flags) -> Result {
        self.unlock_id(self.id(lock), flags, &NEW)
    }

    fn unlock_id(&mut self, id: LockId, flags: Flags, value: &Value) -> Result {
        let reply = Reply::Record;
        self.table
            .unlock(id, self.client, flags, reply, value, 0)
            .map(drop)
    }

    fn cancel(&mut self, lock: char) -> Result {
        self.table.cancel(self.id(lock), Flags::CANCEL, 0)
    }

    fn records(&mut self) -> Vec<Record> {
        let mut desk = self.desk.borrow_mut();
        assert!(desk.faults.is_empty(), "{:?}", desk.faults);
        std::mem::take(&mut desk.records)
    }

    /// What was told since the last time, in short: `a 0` is a completion of a with status 0,
    /// `a 0 F4` one with status flags 4, `a<Ex` tells a that it is in the way of EX.
    fn heard(&mut self) -> String {
        let records = self.records();
        let lock = |id| {
            let place = self.ids.iter().position(|other| *other == id);
            char::from(b'a' + place.unwrap_or(25) as u8)
        };
        let words = records.iter().map(|record| match record {
            Record::Completion {
                lock: id,
                status,
                flags: 0,
                ..
            } => format!("{} {status}", lock(*id)),
            Record::Completion {
                lock: id,
                status,
                flags,
                ..
            } => format!("{} {status} F{flags}", lock(*id)),
            Record::Blocking { lock: id, mode, .. } => format!("{}<{mode:?}", lock(*id)),
            Record::Acknowledgement { lock: id, .. } => format!("{} waits", lock(*id)),
            Record::Gone { .. } => "gone".to_string(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// The names that locks were told with which have more to tell.
    fn names(&self) -> String {
        let desk = self.desk.borrow();
        let name = |(number, id)| {
            let name = String::from_utf8_lossy(desk.names.get(id)?);
            Some(format!("{} {name}", char::from(b'a' + number as u8)))
        };
        let names = self.ids.iter().enumerate().filter_map(name);
        names.collect::<Vec<_>>().join(", ")
    }

    /// The value and the status flags of the completion that was just told.
    fn returned(&mut self) -> (Option<Value>, u8) {
        match self.records().pop() {
            Some(Record::Completion { value, flags, .. }) => (value, flags),
            other => panic!("no completion: {other:?}"),
        }
    }
}

/// Rows and columns: NL CR CW PR PW EX.
const COMPATIBLE: [&str; 6] = ["111111", "111110", "111000", "110100", "110000", "100000"];

/// Rows: none and the granted modes; columns: the requested ones. 1: read, 0: written.
const TRANSFERS: [&str; 7] = [
    "111111", "111111", "-11111", "--1111", "---111", "000001", "000000",
];

/// Conversions that may carry QUECVT.
const QUEUED: [&str; 6] = ["011111", "001111", "000111", "001011", "000001", "000000"];

fn cell(rows: &[&str], row: usize, column: Mode) -> char {
    rows[row].chars().nth(column as usize).unwrap()
}

#[test]
fn compatible_modes_are_held_together() {
    for held in Mode::ALL {
        for asked in Mode::ALL {
            let compatible = cell(&COMPATIBLE, held as usize, asked) == '1';
            let status = if compatible { "0" } else { "-11" };

            let mut bench = Bench::new();
            bench.request(held, NO).unwrap();
            bench.request(asked, Flags::NOQUEUE).unwrap();
            let told = format!("a 0, b {status}");
            assert_eq!(bench.heard(), told, "{asked:?} beside {held:?}");

            let mut bench = Bench::new();
            bench.request(held, NO).unwrap();
            bench.request(Nl, NO).unwrap();
            bench.convert('b', asked, Flags::NOQUEUE).unwrap();
            let told = format!("a 0, b 0, b {status}");
            assert_eq!(bench.heard(), told, "NL to {asked:?} beside {held:?}");

            let mut bench = Bench::new();
            bench.request(held, NO).unwrap();
            bench.request(asked, NO).unwrap();
            bench.unlock('a', NO).unwrap();
            let told = if compatible {
                "a 0, b 0, a -65538".to_string()
            } else {
                format!("a 0, a<{asked:?}, a -65538, b 0")
            };
            assert_eq!(bench.heard(), told, "{asked:?} after {held:?}");
        }
    }
}

#[test]
fn flags_that_do_not_go_together() {
    let requests = [
        (Flags::CANCEL, Ex),
        (Flags::QUECVT, Ex),
        (Flags::CONVDEADLK, Ex),
        (Flags::EXPEDITE, Cr),
        (Flags::EXPEDITE.with(Flags::NOQUEUE), Nl),
        (Flags::EXPEDITE.with(Flags::QUECVT), Nl),
    ];
    let conversions = [
        (Flags::CANCEL, Ex),
        (Flags::CONVDEADLK.with(Flags::NOQUEUE), Ex),
        (Flags::EXPEDITE, Nl),
    ];
    let unlocks = [
        Flags::NOQUEUE,
        Flags::CONVERT,
        Flags::QUECVT,
        Flags::CONVDEADLK,
        Flags(0x0000_0080),
        Flags::NODLCKWT,
        Flags::EXPEDITE,
        Flags::NOQUEUEBAST,
        Flags::HEADQUE,
        Flags::NOORDER,
        Flags::ORPHAN,
        Flags::ALTPR,
        Flags::ALTCW,
        Flags::CANCEL.with(Flags::FORCEUNLOCK),
        Flags(0x0000_0200),
        Flags(0x8000_0000),
    ];
    let mut bench = Bench::new();
    for (flags, mode) in requests {
        assert_eq!(
            bench.request(mode, flags),
            Err(EINVAL),
            "request with {flags:?}"
        );
    }
    assert!(bench.table.is_empty());
    bench.request(Nl, NO).unwrap();
    bench.heard();
    for (flags, mode) in conversions {
        assert_eq!(
            bench.convert('a', mode, flags),
            Err(EINVAL),
            "conversion with {flags:?}"
        );
    }
    for flags in unlocks {
        let id = bench.id('a');
        assert_eq!(
            bench.unlock('a', flags),
            Err(EINVAL),
            "unlock with {flags:?}"
        );
        assert_eq!(
            bench.table.cancel(id, flags, 0),
            Err(EINVAL),
            "cancel with {flags:?}"
        );
    }
    assert_eq!(bench.heard(), "");
    bench.unlock('a', Flags::FORCEUNLOCK).unwrap();
    assert_eq!(bench.heard(), "a -65538");
}

#[test]
fn quecvt_is_for_conversions_that_gain() {
    for from in Mode::ALL {
        for to in Mode::ALL {
            let mut bench = Bench::new();
            bench.request(from, NO).unwrap();
            let wanted = match cell(&QUEUED, from as usize, to) {
                '1' => Ok(()),
                _ => Err(EINVAL),
            };
            assert_eq!(
                bench.convert('a', to, Flags::QUECVT),
                wanted,
                "{from:?} to {to:?}"
            );
        }
    }
}

#[test]
fn locks_that_cannot_be_operated_on() {
    let mut bench = Bench::new();
    bench.request(Ex, NO).unwrap();
    bench.request(Ex, NO).unwrap();
    bench.request(Ex, NO).unwrap();
    bench.unlock('c', NO).unwrap();
    assert_eq!(bench.convert('b', Nl, NO), Err(EBUSY));
    assert_eq!(bench.convert('c', Nl, NO), Err(ENOENT));
    assert_eq!(bench.unlock('c', NO), Err(ENOENT));
    assert_eq!(bench.cancel('c'), Err(ENOENT));
    assert_eq!(bench.cancel('a'), Ok(()));
    assert_eq!(bench.heard(), "a 0, a<Ex, c -65538");
    assert_eq!(bench.cancel('b'), Ok(()));
    assert_eq!(bench.cancel('b'), Err(ENOENT));
    assert_eq!(bench.heard(), "b -65537");
}

/// What each flag does. Locks are requested first, then converted in the given order.
#[test]
fn flags_do_what_they_are_for() {
    type Requests<'a> = &'a [(Mode, Flags)];
    type Conversions<'a> = &'a [(char, Mode, Flags)];
    let noqueue = Flags::NOQUEUE;
    let insists = noqueue.with(Flags::NOQUEUEBAST);
    let cases: &[(&str, Requests<'_>, Conversions<'_>, &str)] = &[
        ("NOQUEUE", &[(Ex, NO), (Cr, noqueue)], &[], "a 0, b -11"),
        (
            "NOQUEUEBAST",
            &[(Ex, NO), (Cr, insists)],
            &[],
            "a 0, b -11, a<Cr",
        ),
        (
            "NOQUEUEBAST tells those who convert",
            &[(Cr, NO), (Cr, NO)],
            &[('a', Ex, NO), ('b', Ex, insists)],
            "a 0, b 0, b<Ex, b -11, a<Ex",
        ),
        (
            "EXPEDITE",
            &[(Ex, NO), (Ex, NO), (Nl, NO), (Nl, Flags::EXPEDITE)],
            &[],
            "a 0, a<Ex, d 0",
        ),
        (
            "HEADQUE",
            &[(Ex, NO), (Pw, NO), (Ex, Flags::HEADQUE)],
            &[('a', Nl, NO)],
            "a 0, a<Pw, a<Ex, a 0, c 0, c<Pw",
        ),
        (
            "NOORDER at once",
            &[(Pr, NO), (Ex, NO), (Pr, Flags::NOORDER)],
            &[],
            "a 0, a<Ex, c 0",
        ),
        (
            "NOORDER later",
            &[(Pw, NO), (Ex, NO), (Pr, Flags::NOORDER)],
            &[('a', Cr, NO)],
            "a 0, a<Ex, a 0, c 0, c<Ex, a<Ex",
        ),
        (
            "conversions overtake",
            &[(Ex, NO), (Nl, NO), (Nl, NO)],
            &[('b', Ex, NO), ('c', Nl, NO)],
            "a 0, b 0, c 0, a<Ex, c 0",
        ),
        (
            "QUECVT",
            &[(Cr, NO), (Nl, NO), (Nl, NO)],
            &[('b', Ex, NO), ('c', Cr, Flags::QUECVT), ('a', Nl, NO)],
            "a 0, b 0, c 0, a<Ex, a 0, b 0, b<Cr",
        ),
        (
            "deadlock",
            &[(Pr, NO), (Pr, NO)],
            &[('a', Ex, NO), ('b', Ex, NO)],
            "a 0, b 0, b<Ex, b -35",
        ),
        (
            "CONVDEADLK",
            &[(Pr, NO), (Pr, NO)],
            &[('a', Ex, NO), ('b', Ex, Flags::CONVDEADLK), ('a', Nl, NO)],
            "a 0, b 0, b<Ex, a 0, a<Ex, a 0, b 0 F1",
        ),
        (
            "NODLCKWT",
            &[(Nl, NO), (Pr, NO), (Cr, NO)],
            &[('a', Cw, NO), ('b', Ex, Flags::NODLCKWT), ('c', Nl, NO)],
            "a 0, b 0, c 0, b<Cw, c<Ex, c 0, b<Ex",
        ),
        ("ALTPR", &[(Pr, NO), (Ex, Flags::ALTPR)], &[], "a 0, b 0 F4"),
        ("ALTCW", &[(Cw, NO), (Ex, Flags::ALTCW)], &[], "a 0, b 0 F4"),
        (
            "ALTPR and ALTCW: only the first is tried",
            &[(Cw, NO), (Ex, Flags::ALTPR.with(Flags::ALTCW))],
            &[],
            "a 0, a<Ex",
        ),
        (
            "ALTPR later",
            &[(Ex, NO), (Ex, Flags::ALTPR)],
            &[('a', Cr, NO)],
            "a 0, a<Ex, a 0, b 0 F4",
        ),
    ];
    for (what, requests, conversions, told) in cases {
        let mut bench = Bench::new();
        for (mode, flags) in *requests {
            bench.request(*mode, *flags).unwrap();
        }
        for (lock, mode, flags) in *conversions {
            // What is refused is in the records.
            let _ = bench.convert(*lock, *mode, *flags);
        }
        assert_eq!(bench.heard(), *told, "{what}");
    }
}

/// A bench where a holds the resource, whose value is OLD, in NL.
fn with_value() -> Bench {
    let mut bench = Bench::new();
    bench.request(Nl, NO).unwrap();
    bench.request(Ex, Flags::VALBLK).unwrap();
    let id = bench.id('b');
    bench.unlock_id(id, Flags::VALBLK, &OLD).unwrap();
    bench.records();
    bench
}

/// What a reader finds: the value, and whether it is valid.
fn value_of(bench: &mut Bench) -> (Option<Value>, bool) {
    bench.convert('a', Nl, Flags::VALBLK).unwrap();
    let (value, flags) = bench.returned();
    (value, flags == 0)
}

#[test]
fn values_move_by_the_matrix() {
    for (row, from) in [None].into_iter().chain(Mode::ALL.map(Some)).enumerate() {
        for to in Mode::ALL {
            let mut bench = with_value();
            match from {
                None => bench.request(to, Flags::VALBLK).unwrap(),
                Some(from) => {
                    bench.request(from, NO).unwrap();
                    bench.convert('c', to, Flags::VALBLK).unwrap();
                }
            }
            let (returned, flags) = bench.returned();
            let (wanted, written) = match cell(&TRANSFERS, row, to) {
                '1' => (Some(OLD), OLD),
                '0' => (None, NEW),
                _ => (Some(NEW), OLD),
            };
            assert_eq!((returned, flags), (wanted, 0), "{from:?} to {to:?}");
            assert_eq!(
                value_of(&mut bench),
                (Some(written), true),
                "{from:?} to {to:?}"
            );
        }
    }
}

#[test]
fn values_are_invalidated_by_the_matrix() {
    for from in Mode::ALL {
        for to in Mode::ALL {
            let mut bench = with_value();
            bench.request(from, NO).unwrap();
            bench
                .convert('c', to, Flags::VALBLK.with(Flags::IVVALBLK))
                .unwrap();
            let valid = cell(&TRANSFERS, from as usize + 1, to) != '0';
            assert_eq!(
                value_of(&mut bench),
                (Some(OLD), valid),
                "{from:?} to {to:?}"
            );
        }
    }
}

#[test]
fn values_on_unlock() {
    for from in Mode::ALL {
        let writes = from >= Pw;
        for (flags, value, valid) in [
            (NO, OLD, true),
            (Flags::VALBLK, if writes { NEW } else { OLD }, true),
            (Flags::IVVALBLK, OLD, !writes),
            (Flags::VALBLK.with(Flags::IVVALBLK), OLD, !writes),
        ] {
            let mut bench = with_value();
            bench.request(Nl, Flags::VALBLK).unwrap();
            bench.convert('c', from, NO).unwrap();
            bench.unlock('c', flags).unwrap();
            let told = format!("{from:?} with {flags:?}");
            assert_eq!(value_of(&mut bench), (Some(value), valid), "{told}");
        }
    }
}

#[test]
fn a_write_makes_an_invalid_value_valid() {
    let mut bench = with_value();
    bench.request(Ex, Flags::VALBLK).unwrap();
    bench.convert('c', Ex, Flags::IVVALBLK).unwrap();
    assert_eq!(value_of(&mut bench), (Some(OLD), false));
    bench.convert('c', Nl, Flags::VALBLK).unwrap();
    assert_eq!(value_of(&mut bench), (Some(NEW), true));
}

#[test]
fn names_are_binary_and_up_to_64_bytes() {
    let mut bench = Bench::new();
    for length in [0, 1, 29, 30, 31, 63, 64] {
        for last in [0, b'x'] {
            let mut name = vec![0; length];
            if let Some(byte) = name.last_mut() {
                *byte = last;
            }
            let mut bench = Bench::new();
            bench.request_name(&name, Ex, NO).unwrap();
            bench.request_name(&name, Ex, Flags::NOQUEUE).unwrap();
            name.push(0);
            let longer = bench.request_name(&name, Ex, Flags::NOQUEUE);
            let (result, told) = match length {
                64 => (Err(EINVAL), "a 0, b -11"),
                _ => (Ok(()), "a 0, b -11, c 0"),
            };
            assert_eq!(longer, result, "{length} and one byte");
            assert_eq!(bench.heard(), told, "{length} bytes");
        }
    }
    for length in [65, 255, 256, 1000] {
        assert_eq!(bench.request_name(&vec![b'x'; length], Nl, NO), Err(EINVAL));
    }
    assert!(bench.table.is_empty());
}

/// Of slots that are in use unless the lockspace is large.
const USUAL_GENERATIONS: usize = 2048;

#[test]
fn what_is_told_comes_with_the_name() {
    let mut bench = Bench::new();
    for name in [b"first".as_slice(), b"second"] {
        bench.request_name(name, Ex, NO).unwrap();
        bench.request_name(name, Pr, NO).unwrap();
    }
    assert_eq!(bench.names(), "a first, c second");
    assert_eq!(bench.heard(), "a 0, a<Pr, c 0, c<Pr");
    bench.unlock('a', NO).unwrap();
    assert_eq!(bench.names(), "b first, c second");
    bench.convert('c', Nl, NO).unwrap();
    bench.convert('c', Ex, NO).unwrap();
    assert_eq!(bench.names(), "b first, c second, d second");
    bench.unlock('d', NO).unwrap();
    bench.request_name(b"second", Cr, Flags::NOQUEUE).unwrap();
    assert_eq!(bench.names(), "b first, c second");
    assert_eq!(bench.table.name_of(bench.id('c')), Ok(b"second".as_slice()));
    assert_eq!(bench.table.name_of(bench.id('d')), Err(ENOENT));
}

#[test]
fn ids_lead_back_to_their_slots() {
    for shard_bits in 0..=6 {
        let large = (1 << 19) >> shard_bits;
        let huge = large + ((1 << 23) >> shard_bits);
        for shard in HashSet::from([0, 1, (1 << shard_bits) - 1]) {
            if shard >> shard_bits != 0 {
                continue;
            }
            let ids = IdSpace::new(shard, shard_bits);
            let limit = inspect::limit(ids);
            let borders = [
                0,
                1,
                127,
                128,
                large - 2,
                large - 1,
                large,
                huge - 2,
                huge - 1,
                huge,
                limit - 2,
                limit - 1,
            ];
            for slot in borders {
                let generations = match slot + 1 {
                    number if number < large => USUAL_GENERATIONS as u32,
                    number if number < huge => 64,
                    _ => 2,
                };
                let mut seen = HashSet::new();
                let mut last = 0;
                for made in 5..5 + generations {
                    let fresh = inspect::issue(ids, slot, 0, made);
                    let id = inspect::issue(ids, slot, last, 5);
                    assert_eq!(id, fresh);
                    // Error numbers, as an `int` with bit 31 set, begin there.
                    assert!((1..(1 << 31) - 4096).contains(&id), "id {id:#x}");
                    assert_eq!(inspect::slot(ids, id), Some(slot), "id {id:#x}");
                    assert_eq!(IdSpace::shard_of(id, shard_bits), shard);
                    assert!(seen.insert(id));
                    last = id;
                }
                assert!(seen.contains(&inspect::issue(ids, slot, last, 5)));
            }
        }
    }
}

#[test]
fn stale_ids_are_refused_for_a_generation() {
    // The slots of a slab's first chunk, in turn.
    const ROUND: usize = 8;
    for shard_bits in 0..=6 {
        let generations = USUAL_GENERATIONS;
        let mut bench = Bench::with_ids(IdSpace::new(0, shard_bits));
        for _ in 0..generations * ROUND {
            bench.request(Nl, NO).unwrap();
            let stale: Vec<LockId> = bench
                .ids
                .iter()
                .rev()
                .skip(1)
                .step_by(997)
                .copied()
                .collect();
            for stale in stale {
                assert_eq!(bench.unlock_id(stale, NO, &NEW), Err(ENOENT));
            }
            let id = bench.ids.last().unwrap();
            bench.unlock_id(*id, NO, &NEW).unwrap();
        }
        let distinct: HashSet<_> = bench.ids.iter().collect();
        assert_eq!(
            distinct.len(),
            bench.ids.len(),
            "{shard_bits} bits of shard"
        );
    }
}

/// Holds so many locks; makes another one, and frees that or one of the others, again and again. No
/// id may come again before `lifetime` other locks after it was freed.
fn assert_ids_come_late(shard_bits: u32, held: usize, frees_others: bool, lifetime: usize) {
    let mut bench = Bench::with_ids(IdSpace::new(0, shard_bits));
    let mut freed = HashMap::new();
    for made in 0..held + 2 * lifetime {
        bench.request(Nl, NO).unwrap();
        if let Some(before) = freed.get(bench.ids.last().unwrap()) {
            assert!(made - before > lifetime, "{held}: {}", made - before);
        }
        if bench.ids.len() > held {
            // As good as at random.
            let which = if frees_others {
                made * 7919 % held
            } else {
                held
            };
            let id = bench.ids.swap_remove(which);
            bench.unlock_id(id, NO, &NEW).unwrap();
            freed.insert(id, made);
        }
    }
}

/// Not even if only one slot is free.
#[test]
fn a_stale_id_is_refused_for_all_generations() {
    for shard_bits in 0..=6 {
        let generations = USUAL_GENERATIONS;
        for held in [0, 1, 7, 8, 43] {
            assert_ids_come_late(shard_bits, held, false, generations - 1);
            if held > 0 {
                assert_ids_come_late(shard_bits, held, true, generations - 1);
            }
        }
    }
    // There are fewer of them where there are many slots.
    assert_ids_come_late(3, 90_000, true, 63);
}

#[test]
fn a_new_slot_begins_with_another_generation() {
    for shard_bits in 0..=6 {
        let generations = USUAL_GENERATIONS;
        for locks in 1..=10 {
            let mut bench = Bench::with_ids(IdSpace::new(0, shard_bits));
            let mut ids = HashSet::new();
            for _ in 0..generations / locks {
                for _ in 0..locks {
                    bench.request(Nl, NO).unwrap();
                    assert!(ids.insert(*bench.ids.last().unwrap()));
                }
                while bench.table.release(bench.client, Fate::Freed, 64) {}
                bench.table.remove_client(bench.client);
                bench.client = bench.add_client(0);
            }
        }
    }
}

#[test]
fn ids_of_other_shards_are_refused() {
    let mut bench = Bench::with_ids(IdSpace::new(5, 6));
    bench.request(Nl, NO).unwrap();
    let id = bench.id('a');
    for other in (0..64)
        .map(|shard| id & !63 | shard)
        .filter(|other| *other != id)
    {
        assert_eq!(bench.unlock_id(other, NO, &NEW), Err(ENOENT));
    }
    bench.unlock('a', NO).unwrap();
}

#[test]
fn what_outlives_its_client_can_be_adopted_once() {
    let mut bench = Bench::new();
    let ask = Bench::ask(Pr, Flags::PERSISTENT);
    bench.request_name(b"n", Pr, Flags::PERSISTENT).unwrap();
    bench.request_name(b"n", Pr, Flags::PERSISTENT).unwrap();
    bench.request_name(b"n", Pr, NO).unwrap();
    assert!(bench.table.release(bench.client, Fate::Orphaned, 2));
    assert!(!bench.table.release(bench.client, Fate::Orphaned, 2));
    let client = bench.client;
    let mut adopt = |name: &[u8], mode| bench.table.adopt(client, 7, name, mode, ask, 0);
    assert_eq!(adopt(b"m", Some(Pr)), Err(ENOENT));
    assert_eq!(adopt(b"n", Some(Nl)), Err(EAGAIN));
    // A number that is no mode.
    assert_eq!(adopt(b"n", None), Err(EAGAIN));
    assert_eq!(adopt(b"n", Some(Pr)), Ok(bench.ids[0]));
    assert_eq!(adopt(b"n", Some(Pr)), Ok(bench.ids[1]));
    assert_eq!(adopt(b"n", Some(Pr)), Err(ENOENT));
}

#[test]
fn where_nobody_waits_any_more_locks_are_freed_together() {
    for (waiters, left) in [(0, 0), (1, 1)] {
        let mut bench = Bench::new();
        for _ in 0..2 {
            bench.request(Pr, NO).unwrap();
        }
        for _ in 0..2 {
            bench.request(Ex, NO).unwrap();
        }
        for lock in ['c', 'd'].into_iter().skip(waiters) {
            bench.cancel(lock).unwrap();
        }
        assert!(bench.table.release(bench.client, Fate::Freed, 2));
        let holders = bench.ids[..2].iter();
        let kept = holders.filter(|id| bench.table.check(**id).is_ok());
        assert_eq!(kept.count(), left, "with {waiters} waiting");
    }
}

#[test]
fn who_adopts_a_conversion_and_is_demoted_still_has_its_rivals_looked_at() {
    let mut bench = Bench::new();
    bench.request(Cr, Flags::PERSISTENT).unwrap();
    while bench.table.release(bench.client, Fate::Orphaned, 1) {}
    for _ in 0..2 {
        bench.request(Pr, NO).unwrap();
    }
    bench.convert('b', Ex, NO).unwrap();
    // At the head it is ahead of one that is in its way; nothing of that is in its later flags.
    let ahead = Flags::HEADQUE.with(Flags::NODLCKWT);
    bench.convert('a', Ex, ahead).unwrap();
    let ask = Bench::ask(Ex, Flags::CONVDEADLK);
    let adopted = bench
        .table
        .adopt(bench.client, 7, b"name", Some(Cr), ask, 0);
    assert_eq!(adopted, Ok(bench.id('a')));
    bench.request(Nl, NO).unwrap();
    bench.unlock('d', NO).unwrap();
    inspect::check(&bench.table, |_| 7);
}

#[test]
fn a_lock_that_is_converted_in_its_place_is_still_seen_there() {
    let mut bench = Bench::new();
    bench.request(Nl, NO).unwrap();
    let cursor = bench.table.add_cursor().unwrap();
    assert!(matches!(
        bench.table.survey(cursor),
        Some(Item::Resource(_))
    ));
    bench.table.move_on(cursor);
    bench.convert('a', Ex, NO).unwrap();
    let id = bench.id('a');
    assert!(matches!(bench.table.survey(cursor), Some(Item::Lock(lock)) if lock.id == id));
    bench.table.remove_cursor(cursor);
}

/// The locks that a cursor sees, and the owner of each.
fn owners(bench: &mut Bench) -> Vec<(LockId, Option<u64>)> {
    let cursor = bench.table.add_cursor().unwrap();
    let mut owners = Vec::new();
    while let Some(sight) = bench.table.survey(cursor) {
        if let Item::Lock(lock) = sight {
            owners.push((lock.id, lock.owner));
        }
        bench.table.move_on(cursor);
    }
    bench.table.remove_cursor(cursor);
    owners
}

#[test]
fn a_lock_is_seen_with_its_owner_and_an_orphan_with_none() {
    let mut bench = Bench::new();
    bench.request(Pr, Flags::PERSISTENT).unwrap();
    let id = bench.id('a');
    assert_eq!(owners(&mut bench), [(id, Some(0))]);
    let stranger = bench.add_client(1);
    assert_eq!(bench.table.locks_of(stranger).count(), 0);
    while bench.table.release(bench.client, Fate::Orphaned, 2) {}
    assert_eq!(owners(&mut bench), [(id, None)]);
    assert_eq!(bench.table.locks_of(bench.client).count(), 0);
    assert_eq!(bench.table.locks_of(NONE).count(), 0);
    let ask = Bench::ask(Pr, Flags::ORPHAN);
    let adopted = bench.table.adopt(stranger, 7, b"name", Some(Pr), ask, 0);
    assert_eq!(adopted, Ok(id));
    assert_eq!(owners(&mut bench), [(id, Some(1))]);
    let own = bench.table.locks_of(stranger);
    assert_eq!(own.map(|lock| lock.id).collect::<Vec<_>>(), [id]);
}

#[test]
fn a_purge_stops_at_its_budget_and_goes_on_there() {
    let mut bench = Bench::new();
    let leave = |bench: &mut Bench| {
        bench.request_name(b"n", Pr, Flags::PERSISTENT).unwrap();
        while bench.table.release(bench.client, Fate::Orphaned, 2) {}
    };
    for _ in 0..6 {
        leave(&mut bench);
    }
    let purge = |bench: &mut Bench, pid, progress: &mut Purge| {
        let goes_on = bench.table.purge(pid, progress, 2);
        let locks = bench.ids.iter();
        let left = locks.filter(|id| bench.table.check(**id).is_ok()).count();
        (goes_on, left)
    };
    let (mut theirs, mut all) = (Purge::default(), Purge::default());
    assert_eq!(purge(&mut bench, Some(2), &mut theirs), (true, 6));
    // It is not for those who come later.
    leave(&mut bench);
    for goes_on in [true, true, false] {
        assert_eq!(purge(&mut bench, Some(2), &mut theirs), (goes_on, 7));
    }
    theirs = Purge::default();
    assert_eq!(purge(&mut bench, Some(2), &mut theirs), (true, 7));
    // Where it was is gone then.
    assert_eq!(purge(&mut bench, None, &mut all), (true, 5));
    for goes_on in [true, true, false] {
        assert_eq!(purge(&mut bench, Some(2), &mut theirs), (goes_on, 5));
    }
    assert_eq!(purge(&mut bench, None, &mut all), (true, 3));
    leave(&mut bench);
    for expected in [(true, 2), (false, 1)] {
        assert_eq!(purge(&mut bench, None, &mut all), expected);
    }
}

#[test]
fn the_end_of_a_lockspace_is_told_to_who_waits_and_grants_nobody() {
    let mut bench = Bench::new();
    bench.request_name(b"m", Ex, Flags::PERSISTENT).unwrap();
    while bench.table.release(bench.client, Fate::Orphaned, 1) {}
    bench.request(Pr, NO).unwrap();
    bench.request(Pr, NO).unwrap();
    bench.convert('c', Ex, NO).unwrap();
    bench.request(Nl, NO).unwrap();
    bench.heard();
    let mut next = 0;
    let mut parts = Vec::new();
    loop {
        let (cut_off, go_on) = bench.table.cut_off(&mut next, 2);
        let CutOff {
            holders,
            waiters,
            orphans,
        } = cut_off;
        parts.push([holders, waiters, orphans]);
        if !go_on {
            break;
        }
    }
    assert_eq!(parts, [[1, 0, 1], [0, 2, 0], [0, 0, 0]]);
    assert_eq!(bench.heard(), "gone, c -19, d -19");
    assert!(bench.desk.borrow().open.is_empty());
}

/// The user's side of the requests below that convert, which is not that of the lock's own.
const LATER: u32 = 1;

/// What there is, with the locks by their numbers.
impl inspect::Context for Bench {
    fn number(&self, id: LockId) -> u32 {
        let place = self.ids.iter().position(|other| *other == id);
        place.map_or(u32::MAX, |place| place as u32)
    }

    fn client_of(&self, ticket: u32) -> usize {
        self.desk.borrow().client_of(ticket)
    }

    fn user_of(&self, ticket: u32) -> u32 {
        self.desk.borrow().user_of(ticket)
    }
}

/// Requests that want their end returned.
impl Bench {
    fn returning(mode: Mode, flags: Flags) -> Ask {
        Ask {
            reply: Reply::Return,
            ..Bench::ask(mode, flags)
        }
    }

    fn request_returning(&mut self, mode: Mode, flags: Flags) -> Result<Outcome> {
        let ask = Bench::returning(mode, flags);
        let (id, outcome) = self.table.request(self.client, 7, b"name", ask, 0)?;
        self.ids.push(id);
        Ok(outcome)
    }

    fn convert_returning(&mut self, lock: char, mode: Mode, flags: Flags) -> Result<Outcome> {
        let (id, ask) = (self.id(lock), Bench::returning(mode, flags));
        self.table.convert(id, self.client, ask, &NEW, LATER)
    }

    fn unlock_returning(&mut self, lock: char, by: u32) -> Result<Outcome> {
        let (id, reply) = (self.id(lock), Reply::Return);
        self.table.unlock(id, by, NO, reply, &NEW, 0)
    }
}

#[test]
fn what_ends_at_once_can_be_returned() {
    let mut bench = Bench::new();
    assert_eq!(bench.request_returning(Ex, NO), Ok(Outcome::Done));
    assert_eq!(bench.convert_returning('a', Pr, NO), Ok(Outcome::Done));
    assert_eq!(bench.request_returning(Pr, NO), Ok(Outcome::Done));
    let client = bench.client;
    assert_eq!(bench.unlock_returning('a', client), Ok(Outcome::Done));
    assert_eq!(bench.unlock_returning('a', client), Err(ENOENT));
    assert_eq!(bench.records(), []);
    // Its owner hears of it whoever unlocks it.
    assert_eq!(bench.unlock_returning('b', NONE), Ok(Outcome::Told));
    assert_eq!(bench.records().len(), 1);
}

#[test]
fn what_becomes_of_an_orphan_is_returned_to_anybody() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.request(Pr, Flags::PERSISTENT).unwrap();
    }
    let stranger = bench.add_client(1);
    bench.table.release(bench.client, Fate::Orphaned, 2);
    bench.records();
    assert_eq!(bench.unlock_returning('a', stranger), Ok(Outcome::Done));
    assert_eq!(bench.unlock_returning('b', NONE), Ok(Outcome::Done));
    assert_eq!(bench.records(), []);
}

#[test]
fn a_conversion_of_an_orphan_is_returned_once_it_is_granted() {
    let mut bench = Bench::new();
    bench
        .request(Cr, Flags::PERSISTENT.with(Flags::VALBLK))
        .unwrap();
    while bench.table.release(bench.client, Fate::Orphaned, 2) {}
    bench.request(Pr, NO).unwrap();
    bench.records();
    // There is more to say, and nobody to say it to.
    let values = Flags::PERSISTENT.with(Flags::VALBLK);
    assert_eq!(bench.convert_returning('a', Pr, values), Ok(Outcome::Done));
    let altered = values.with(Flags::NOQUEUE).with(Flags::ALTCW);
    assert_eq!(bench.convert_returning('a', Cr, altered), Ok(Outcome::Done));
    assert_eq!(bench.records(), []);
    assert_eq!(bench.convert_returning('a', Ex, values), Ok(Outcome::Told));
    assert_eq!(bench.heard(), "b<Ex");
    // Who adopts it meanwhile hears of the end.
    let ask = Bench::ask(Cr, Flags::PERSISTENT);
    let client = bench.client;
    let adopted = bench.table.adopt(client, 7, b"name", Some(Cr), ask, 0);
    assert_eq!(adopted, Ok(bench.id('a')));
    bench.unlock('b', NO).unwrap();
    assert_eq!(bench.heard(), "b -65538, a 0");
}

#[test]
fn a_refusal_can_be_returned_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.request(Pr, NO).unwrap();
    bench.request(Pr, NO).unwrap();
    bench.records();
    let noqueue = Flags::NOQUEUE.with(Flags::VALBLK);
    let before = inspect::view(&bench.table, &bench);
    assert_eq!(bench.request_returning(Ex, noqueue), Err(EAGAIN));
    assert_eq!(bench.convert_returning('a', Ex, noqueue), Err(EAGAIN));
    assert_eq!(inspect::view(&bench.table, &bench), before);
    assert_eq!(bench.records(), []);
    bench.convert('a', Ex, NO).unwrap();
    bench.records();
    let before = inspect::view(&bench.table, &bench);
    assert_eq!(
        bench.convert_returning('b', Ex, Flags::VALBLK),
        Err(EDEADLK)
    );
    assert_eq!(inspect::view(&bench.table, &bench), before);
    assert_eq!(bench.records(), []);
    bench.unlock('b', NO).unwrap();
    assert_eq!(bench.records().len(), 2);
}

#[test]
fn what_waits_or_has_more_to_say_is_told() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.request_returning(Ex, Flags::VALBLK),
        Ok(Outcome::Told)
    );
    assert_eq!(bench.records().len(), 1);
    assert_eq!(bench.request_returning(Ex, NO), Ok(Outcome::Told));
    let altered = Flags::NOQUEUE.with(Flags::ALTPR);
    bench.records();
    bench.unlock('a', NO).unwrap();
    assert_eq!(bench.records().len(), 2);
    bench.convert('b', Pr, NO).unwrap();
    bench.records();
    assert_eq!(bench.request_returning(Ex, altered), Ok(Outcome::Told));
    assert_eq!(bench.records().len(), 1);
    // The same of conversions.
    assert_eq!(
        bench.convert_returning('b', Cr, altered.with(Flags::VALBLK)),
        Ok(Outcome::Told)
    );
    assert_eq!(bench.records().len(), 1);
    bench.unlock('c', NO).unwrap();
    bench.request(Pr, NO).unwrap();
    bench.request(Nl, NO).unwrap();
    bench.records();
    assert_eq!(bench.convert_returning('e', Ex, altered), Ok(Outcome::Told));
    assert_eq!(bench.heard(), "e 0 F4");
}

/// Asks for locks on one name, in turn as these clients.
fn request_as(bench: &mut Bench, clients: &[u32], mode: Mode) {
    for client in clients {
        let ask = Bench::ask(mode, NO);
        let (id, _) = bench.table.request(*client, 7, b"name", ask, 1).unwrap();
        bench.ids.push(id);
    }
}

/// Who was woken since the last time, as often as they were.
fn woken(bench: &mut Bench) -> Vec<usize> {
    let mut desk = bench.desk.borrow_mut();
    assert!(desk.is_rested());
    let mut woken = std::mem::take(&mut desk.woken);
    woken.sort();
    woken
}

#[test]
fn who_is_told_much_is_woken_at_once_and_at_the_end() {
    let mut bench = Bench::new();
    let (one, two) = (bench.add_client(1), bench.add_client(2));
    bench.request(Ex, NO).unwrap();
    request_as(&mut bench, &[one, two, one, one, two, one], Pr);
    assert_eq!(bench.records().len(), 2);
    assert_eq!(woken(&mut bench), [0]);
    bench.unlock('a', NO).unwrap();
    assert_eq!(bench.records().len(), 7);
    assert_eq!(woken(&mut bench), [1, 1, 2, 2]);
    request_as(&mut bench, &[two], Ex);
    assert_eq!(bench.records().len(), 6);
    assert_eq!(woken(&mut bench), [1, 1, 2, 2]);
    assert_eq!(woken(&mut bench), []);
}
