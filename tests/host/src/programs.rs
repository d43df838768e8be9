// SPDX-License-Identifier: GPL-2.0

//! Random programs, on the table and on its model.

use crate::{
    random::{
        fails,
        try_programs,
        Random, //
    },
    terms::{
        Flags,
        Mode,
        Reply, //
    },
    twin::{
        Kind,
        Op,
        Pick,
        Twin,
        CLIENTS,
        NAMES, //
    },
};
use std::collections::BTreeMap;

/// What a program is like as a whole.
#[derive(Clone, Copy, Debug)]
struct Taste {
    names: u8,
    /// Locks come and go (few) or change (many).
    conversions: u32,
    flags: usize,
    conversions_are: Conversions,
    /// How often clients leave.
    leaving: u32,
    modes: [u32; Mode::COUNT],
}

/// What flags conversions have.
#[derive(Clone, Copy, Debug)]
enum Conversions {
    Any,
    /// Such as make the convert queue irregular.
    Knotted,
    /// Such as let one granted in the middle of the queue change what those ahead of it may have.
    Tangled,
}

const ANY_MODE: [u32; Mode::COUNT] = [2, 2, 3, 3, 2, 2];
/// Locks that can be held together, and once in a while one that cannot.
const SHARING: [u32; Mode::COUNT] = [6, 3, 1, 6, 1, 1];
/// Writers among those who do not mind.
const WRITING: [u32; Mode::COUNT] = [4, 4, 1, 1, 5, 5];
/// The two modes that cross.
const CROSSING: [u32; Mode::COUNT] = [2, 0, 8, 8, 1, 1];
/// The same, while others want to write.
const CROSSING_WRITTEN: [u32; Mode::COUNT] = [4, 0, 4, 4, 2, 1];

fn taste(random: &mut Random) -> Taste {
    Taste {
        names: 1 + random.below(NAMES.into()) as u8,
        conversions: random.one_of(&[2, 8, 16]),
        flags: random.below(6),
        conversions_are: random.one_of(&[
            Conversions::Any,
            Conversions::Knotted,
            Conversions::Tangled,
        ]),
        leaving: random.one_of(&[1, 1, 8]),
        modes: random.one_of(&[ANY_MODE, SHARING, WRITING, CROSSING, CROSSING_WRITTEN]),
    }
}

/// Up to `count` of the flags together.
fn flags(random: &mut Random, count: usize, choices: &[(u32, Flags)]) -> Flags {
    let number = random.below(count + 1);
    (0..number).fold(Flags::default(), |all, _| {
        all.with(random.weighted(choices))
    })
}

fn request_flags(random: &mut Random, count: usize) -> Flags {
    flags(
        random,
        count,
        &[
            (6, Flags::VALBLK),
            (6, Flags::PERSISTENT),
            (3, Flags::NOORDER),
            (3, Flags::HEADQUE),
            (2, Flags::NOQUEUE),
            (2, Flags::NOQUEUE.with(Flags::NOQUEUEBAST)),
            (2, Flags::ALTPR),
            (2, Flags::ALTCW),
            (2, Flags::EXPEDITE),
            (1, Flags::IVVALBLK),
            (1, Flags::FORCEUNLOCK),
            (1, Flags::NODLCKWT),
            (1, Flags::QUECVT),
            (1, Flags::CONVDEADLK),
            (1, Flags::CANCEL),
            (1, Flags(0x8000_0200)),
        ],
    )
}

fn conversion_flags(random: &mut Random, count: usize) -> Flags {
    flags(
        random,
        count,
        &[
            (6, Flags::VALBLK),
            (6, Flags::PERSISTENT),
            (8, Flags::NODLCKWT),
            (6, Flags::QUECVT),
            (4, Flags::HEADQUE),
            (4, Flags::CONVDEADLK),
            (4, Flags::ALTPR),
            (4, Flags::ALTCW),
            (2, Flags::NOORDER),
            (2, Flags::IVVALBLK),
            (1, Flags::NOQUEUE),
            (2, Flags::NOQUEUE.with(Flags::NOQUEUEBAST)),
            (1, Flags::FORCEUNLOCK),
            (1, Flags::EXPEDITE),
            (1, Flags::CANCEL),
        ],
    )
}

fn knotting_flags(random: &mut Random, count: usize) -> Flags {
    flags(
        random,
        count,
        &[
            (4, Flags::NODLCKWT),
            (4, Flags::NODLCKWT.with(Flags::ALTPR).with(Flags::VALBLK)),
            (4, Flags::NODLCKWT.with(Flags::ALTCW).with(Flags::VALBLK)),
            (3, Flags::VALBLK),
            (3, Flags::PERSISTENT),
            (3, Flags::ALTPR),
            (3, Flags::ALTCW),
            (2, Flags::CONVDEADLK),
            (2, Flags::HEADQUE),
            (2, Flags::QUECVT),
            (1, Flags::NOORDER),
        ],
    )
}

fn tangling_flags(random: &mut Random, _: usize) -> Flags {
    random.weighted(&[
        (4, Flags::NODLCKWT.with(Flags::NOORDER)),
        (4, Flags::QUECVT.with(Flags::ALTPR)),
        (2, Flags::QUECVT.with(Flags::ALTCW)),
        (4, Flags::default()),
        (2, Flags::QUECVT),
        (2, Flags::NODLCKWT),
        (1, Flags::NODLCKWT.with(Flags::NOORDER).with(Flags::ALTPR)),
        (1, Flags::CONVDEADLK),
        (1, Flags::NOQUEUE),
    ])
}

fn unlock_flags(random: &mut Random) -> Flags {
    random.weighted(&[
        (8, Flags::default()),
        (4, Flags::VALBLK),
        (2, Flags::IVVALBLK),
        (2, Flags::FORCEUNLOCK),
        (1, Flags::CANCEL.with(Flags::FORCEUNLOCK)),
        (1, Flags::NOQUEUE),
    ])
}

fn cancel_flags(random: &mut Random) -> Flags {
    random.weighted(&[
        (8, Flags::CANCEL),
        (2, Flags::CANCEL.with(Flags::VALBLK)),
        (1, Flags::CANCEL.with(Flags::IVVALBLK)),
        (1, Flags::CANCEL.with(Flags::FORCEUNLOCK)),
        (1, Flags::CANCEL.with(Flags::QUECVT)),
    ])
}

fn pick(random: &mut Random, granted: u32, pending: u32) -> Pick {
    let which = random.below(1 << 16) as u16;
    random.weighted(&[
        (granted, Pick::Granted(which)),
        (pending, Pick::Pending(which)),
        (1, Pick::Orphan(which)),
        (1, Pick::Ever(which)),
    ])
}

fn op(random: &mut Random, taste: &Taste, tag: usize) -> Op {
    let kind = random.weighted(&[
        (60, Kind::Request),
        (10 * taste.conversions, Kind::Convert),
        (30, Kind::Unlock),
        (8, Kind::Cancel),
        (2, Kind::Deadlock),
        (2 * taste.leaving, Kind::Adopt),
        (1, Kind::Purge),
        (1, Kind::PurgeOwn),
        (taste.leaving, Kind::Close),
    ]);
    let lock = match kind {
        Kind::Convert => pick(random, 20, 2),
        Kind::Unlock => pick(random, 12, 6),
        Kind::Cancel | Kind::Deadlock => pick(random, 1, 8),
        Kind::Purge => Pick::Orphan(random.below(1 << 16) as u16),
        Kind::Request | Kind::Adopt | Kind::PurgeOwn | Kind::Close => Pick::Ever(0),
    };
    let flags_of_conversion = match taste.conversions_are {
        Conversions::Any => conversion_flags,
        Conversions::Knotted => knotting_flags,
        Conversions::Tangled => tangling_flags,
    };
    let flags = match kind {
        Kind::Request => request_flags(random, taste.flags),
        Kind::Convert | Kind::Adopt => flags_of_conversion(random, taste.flags),
        Kind::Unlock => unlock_flags(random),
        Kind::Cancel | Kind::Deadlock => cancel_flags(random),
        Kind::Purge | Kind::PurgeOwn | Kind::Close => Flags::default(),
    };
    let modes: [_; Mode::COUNT] = std::array::from_fn(|n| (taste.modes[n], Mode::ALL[n]));
    Op {
        tag,
        kind,
        client: random.below(CLIENTS),
        name: random.below(taste.names.into()) as u8,
        lock,
        mode: random.weighted(&modes),
        flags,
        reply: random.weighted(&[(4, Reply::Record), (1, Reply::Return)]),
        acknowledge: random.percent(20),
        listens: random.percent(85),
        value: 1 + random.below(255) as u8,
    }
}

fn program(random: &mut Random) -> Vec<Op> {
    let taste = taste(random);
    let length = 200 + random.below(100);
    (0..length).map(|tag| op(random, &taste, tag)).collect()
}

fn run(program: &[Op], twin: &mut Twin) {
    for op in program {
        twin.apply(op);
    }
    twin.finish();
}

/// What a program did until it failed, if it does.
fn failure(program: &[Op], starving: bool) -> Option<Vec<Op>> {
    let mut twin = Twin::new(starving);
    fails(|| run(program, &mut twin)).then_some(twin.trace)
}

fn compare(count: u64, starving: bool) {
    let show = |program: &[Op]| run(program, &mut Twin::new(starving));
    try_programs(count, program, |program| failure(program, starving), show);
}

#[test]
fn table_and_model_agree() {
    compare(3_000, false);
}

#[test]
fn without_memory_nothing_changes() {
    compare(300, true);
}

/// What a fixed set of programs must have come across.
const RARE: &[&str] = &[
    "acknowledged conversion",
    "acknowledged request",
    "adopted",
    "alternative at once",
    "alternative is the mode it has",
    "alternative later",
    "busy",
    "completion of an orphan",
    "CW no longer wanted",
    "conversion by another walk",
    "conversion cancelled",
    "conversion in place",
    "conversion in somebody's deadlock",
    "conversion out of turn",
    "converting told of NOQUEUE",
    "deadlock",
    "deadlock while queued",
    "deadlock returned",
    "demoted",
    "demoted while queued",
    "granted after demotion",
    "harmless to what was completed",
    "heard just before",
    "heard of more just before",
    "invalidated by unlock",
    "not purged",
    "nothing to cancel",
    "orphan in another mode",
    "orphan in the way",
    "orphaned",
    "orphaned while converting",
    "orphaned while waiting",
    "PR told of CW instead of PR",
    "purged",
    "request cancelled",
    "request in somebody's deadlock",
    "request out of turn",
    "told of itself",
    "told of less than before",
    "told of the crossing mode",
    "returned",
    "returned of an orphan",
    "returned refusal",
    "told although it was to be returned",
    "value not valid",
    "waiter out of turn",
    "written",
    "written by unlock",
    "written later",
];

#[test]
fn programs_reach_the_rare_paths() {
    let mut random = Random::new(1);
    let mut seen = BTreeMap::<&str, u32>::new();
    let mut failures = 0;
    for n in 0..1500 {
        let program = program(&mut random);
        let mut twin = Twin::new(n % 10 == 0);
        run(&program, &mut twin);
        failures += twin.failures;
        for (what, count) in twin.model.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    println!("{seen:#?}");
    for what in RARE {
        assert!(seen.contains_key(what), "never: {what}");
    }
    assert!(failures > 0);
}
