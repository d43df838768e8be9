// SPDX-License-Identifier: GPL-2.0

//! Random programs: made up, played, and, where one fails, cut down to what matters.

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    env,
    fmt::Debug,
    hash::{
        BuildHasher,
        Hasher, //
    },
    panic::{
        catch_unwind,
        set_hook,
        take_hook,
        AssertUnwindSafe, //
    },
    sync::Once,
};

/// Random numbers, the same ones from the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The generator SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, but not, `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    /// True in so many of a hundred times.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// One of the choices, each as often as its weight says.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let total = choices.iter().map(|(weight, _)| weight).sum::<u32>();
        let mut at = self.below(total as usize) as u32;
        for (weight, choice) in choices {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        unreachable!()
    }
}

/// A number that the environment gives for this run.
fn given(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={value}: a number is wanted")))
}

/// Makes up programs, `count` of them or as many as PROGRAMS says, the first from SEED or a seed of
/// its own, and looks for one with a `failure`: what it did until it failed. From that all is left
/// out that it does without; the rest is printed, and played by `show`, which panics.
pub(crate) fn try_programs<T: Clone + Debug>(
    count: u64,
    make_up: impl Fn(&mut Random) -> Vec<T>,
    failure: impl Fn(&[T]) -> Option<Vec<T>>,
    show: impl Fn(&[T]),
) {
    let first = given("SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    for n in 0..given("PROGRAMS").unwrap_or(count) {
        let seed = first.wrapping_add(n);
        let program = make_up(&mut Random::new(seed));
        let failed = quietly(|| Some(shortened(failure(&program)?, &failure)));
        if let Some(program) = failed {
            println!("{program:#?}\nThe same again: SEED={seed} PROGRAMS=1");
            show(&program);
            panic!("shown, it does not fail");
        }
    }
}

/// Whether it panics.
pub(crate) fn fails(act: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
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

fn shortened<T: Clone>(mut program: Vec<T>, failure: impl Fn(&[T]) -> Option<Vec<T>>) -> Vec<T> {
    let mut size = program.len();
    while size > 0 {
        let mut at = 0;
        while at < program.len() {
            let mut shorter = program.clone();
            shorter.drain(at..program.len().min(at + size));
            match failure(&shorter) {
                Some(shorter) => program = shorter,
                None => at += size,
            }
        }
        size /= 2;
    }
    program
}

#[test]
fn a_failing_program_is_cut_down() {
    let is_bad = |program: &[u8]| program.contains(&3) && program.contains(&200);
    let failure = |program: &[u8]| is_bad(program).then(|| program.to_vec());
    let program: Vec<u8> = (0..=255).collect();
    assert_eq!(shortened(program, failure), [3, 200]);
    assert!(fails(|| quietly(|| panic!())));
}

#[test]
fn weights_are_kept() {
    let mut random = Random::new(1);
    let mut counts = [0; 3];
    for _ in 0..10_000 {
        counts[random.weighted(&[(1, 0), (0, 1), (3, 2)])] += 1;
    }
    assert!((2_300..2_700).contains(&counts[0]) && counts[1] == 0);
}
