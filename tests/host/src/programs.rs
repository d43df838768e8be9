// SPDX-License-Identifier: GPL-2.0

//! Random programs, on the table and on its model.

use crate::{
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
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::TestRunner, //
};
use std::{
    cell::Cell,
    collections::BTreeMap,
    panic::{
        catch_unwind,
        set_hook,
        take_hook,
        AssertUnwindSafe, //
    },
    sync::Once,
};

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

fn taste() -> impl Strategy<Value = Taste> {
    let modes = select(&[ANY_MODE, SHARING, WRITING, CROSSING, CROSSING_WRITTEN][..]);
    let conversions = select(&[2, 8, 16][..]);
    let leaving = select(&[1, 1, 8][..]);
    (
        1..=NAMES,
        conversions,
        0..=5usize,
        select(&[Conversions::Any, Conversions::Knotted, Conversions::Tangled][..]),
        leaving,
        modes,
    )
        .prop_map(
            |(names, conversions, flags, conversions_are, leaving, modes)| Taste {
                names,
                conversions,
                flags,
                conversions_are,
                leaving,
                modes,
            },
        )
}

fn weighted<T: Clone + core::fmt::Debug + 'static>(choices: &[(u32, T)]) -> BoxedStrategy<T> {
    let choices = choices.iter().cloned();
    let choices = choices.filter(|(weight, _)| *weight > 0);
    proptest::strategy::Union::new_weighted(
        choices
            .map(|(weight, value)| (weight, Just(value).boxed()))
            .collect(),
    )
    .boxed()
}

/// Up to `count` of the flags together.
fn flags(count: usize, choices: &[(u32, Flags)]) -> BoxedStrategy<Flags> {
    proptest::collection::vec(weighted(choices), 0..=count)
        .prop_map(|all| all.into_iter().fold(Flags::default(), Flags::with))
        .boxed()
}

fn request_flags(count: usize) -> BoxedStrategy<Flags> {
    flags(
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

fn conversion_flags(count: usize) -> BoxedStrategy<Flags> {
    flags(
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

fn knotting_flags(count: usize) -> BoxedStrategy<Flags> {
    flags(
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

fn tangling_flags(_: usize) -> BoxedStrategy<Flags> {
    weighted(&[
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

fn unlock_flags() -> BoxedStrategy<Flags> {
    weighted(&[
        (8, Flags::default()),
        (4, Flags::VALBLK),
        (2, Flags::IVVALBLK),
        (2, Flags::FORCEUNLOCK),
        (1, Flags::CANCEL.with(Flags::FORCEUNLOCK)),
        (1, Flags::NOQUEUE),
    ])
}

fn cancel_flags() -> BoxedStrategy<Flags> {
    weighted(&[
        (8, Flags::CANCEL),
        (2, Flags::CANCEL.with(Flags::VALBLK)),
        (1, Flags::CANCEL.with(Flags::IVVALBLK)),
        (1, Flags::CANCEL.with(Flags::FORCEUNLOCK)),
        (1, Flags::CANCEL.with(Flags::QUECVT)),
    ])
}

fn pick(granted: u32, pending: u32) -> BoxedStrategy<Pick> {
    prop_oneof![
        granted => any::<u16>().prop_map(Pick::Granted),
        pending => any::<u16>().prop_map(Pick::Pending),
        1 => any::<u16>().prop_map(Pick::Orphan),
        1 => any::<u16>().prop_map(Pick::Ever),
    ]
    .boxed()
}

fn op(taste: Taste) -> BoxedStrategy<Op> {
    let of = |kind: Kind, lock: BoxedStrategy<Pick>, flags: BoxedStrategy<Flags>| {
        let modes: Vec<_> = taste.modes.into_iter().zip(Mode::ALL).collect();
        let listens = proptest::bool::weighted(0.85);
        let reply = weighted(&[(4, Reply::Record), (1, Reply::Return)]);
        let hearing = (reply, proptest::bool::weighted(0.2), listens);
        (
            0..CLIENTS,
            0..taste.names,
            lock,
            weighted(&modes),
            flags,
            hearing,
            1..=255u8,
        )
            .prop_map(move |(client, name, lock, mode, flags, hearing, value)| {
                let (reply, acknowledge, listens) = hearing;
                Op {
                    tag: 0,
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
                }
            })
            .boxed()
    };
    let conversion_flags = match taste.conversions_are {
        Conversions::Any => conversion_flags,
        Conversions::Knotted => knotting_flags,
        Conversions::Tangled => tangling_flags,
    };
    let none = || Just(Pick::Ever(0)).boxed();
    let orphan = || any::<u16>().prop_map(Pick::Orphan).boxed();
    let no_flags = || Just(Flags::default()).boxed();
    proptest::strategy::Union::new_weighted(vec![
        (60, of(Kind::Request, none(), request_flags(taste.flags))),
        (
            10 * taste.conversions,
            of(Kind::Convert, pick(20, 2), conversion_flags(taste.flags)),
        ),
        (30, of(Kind::Unlock, pick(12, 6), unlock_flags())),
        (8, of(Kind::Cancel, pick(1, 8), cancel_flags())),
        (2, of(Kind::Deadlock, pick(1, 8), cancel_flags())),
        (
            2 * taste.leaving,
            of(Kind::Adopt, none(), conversion_flags(taste.flags)),
        ),
        (1, of(Kind::Purge, orphan(), no_flags())),
        (1, of(Kind::PurgeOwn, none(), no_flags())),
        (taste.leaving, of(Kind::Close, none(), no_flags())),
    ])
    .boxed()
}

fn program() -> impl Strategy<Value = Vec<Op>> {
    taste()
        .prop_flat_map(|taste| proptest::collection::vec(op(taste), 200..300))
        .prop_map(|mut program| {
            for (tag, op) in program.iter_mut().enumerate() {
                op.tag = tag;
            }
            program
        })
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
    let result = catch_unwind(AssertUnwindSafe(|| run(program, &mut twin)));
    result.err().map(|_| twin.trace)
}

/// Runs a program; of one that fails only what is needed for that remains, and is run once more.
/// (What proptest would do about it takes long, and it cannot go below the least length.)
fn try_out(program: &[Op], starving: bool) {
    let failure = quietly(|| {
        let program = failure(program, starving)?;
        Some(shortened(program, starving))
    });
    if let Some(program) = failure {
        println!("{program:#?}");
        run(&program, &mut Twin::new(starving));
    }
}

/// Panics of this thread are not printed meanwhile.
fn quietly<T>(act: impl FnOnce() -> T) -> T {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.with(Cell::get) {
                hook(info);
            }
        }));
    });
    QUIET.with(|quiet| quiet.set(true));
    let result = act();
    QUIET.with(|quiet| quiet.set(false));
    result
}

fn shortened(mut program: Vec<Op>, starving: bool) -> Vec<Op> {
    let mut size = program.len();
    while size > 0 {
        let mut at = 0;
        while at < program.len() {
            let mut shorter = program.clone();
            shorter.drain(at..program.len().min(at + size));
            match failure(&shorter, starving) {
                Some(shorter) => program = shorter,
                None => at += size,
            }
        }
        size /= 2;
    }
    program
}

fn config(cases: u32) -> ProptestConfig {
    let cases = match std::env::var("PROPTEST_CASES") {
        Ok(_) => ProptestConfig::default().cases,
        Err(_) => cases,
    };
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(3_000))]
    #[test]
    fn table_and_model_agree(program in program()) {
        try_out(&program, false);
    }
}

proptest! {
    #![proptest_config(config(300))]
    #[test]
    fn without_memory_nothing_changes(program in program()) {
        try_out(&program, true);
    }
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
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::<&str, u32>::new();
    let mut failures = 0;
    for n in 0..1500 {
        let program = program().new_tree(&mut runner).unwrap().current();
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
