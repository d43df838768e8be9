// SPDX-License-Identifier: GPL-2.0

//! Smaller programs out of one.

use crate::{
    language::{Ask, Omit, Program, Step, What},
    terms::{FLAGS, NL},
};

/// So many of them are tried at once at most.
const LIMIT: usize = 400;

/// What could take the program's place, the smallest first.
pub fn reductions(program: &Program) -> Vec<Program> {
    let mut found = without_steps(program);
    if program.steps.len() <= 30 {
        found.extend(without_locks(program));
        found.extend(simpler_steps(program));
        found.extend(fewer_files(program));
    }
    found.retain(|one| one != program && !one.steps.is_empty());
    found.sort_by_key(weight);
    found.dedup();
    found.truncate(LIMIT);
    found
}

/// How much there is to read.
pub fn weight(program: &Program) -> usize {
    let words = |step: &Step| {
        let ask = step.what.ask();
        let omitted = |omit: &Omit| {
            let all = [omit.bast, omit.parameter, omit.cast, omit.lksb];
            all.into_iter().filter(|omitted| *omitted).count()
        };
        ask.map_or(0, |ask| {
            let value = usize::from(!ask.value.is_empty());
            let mode = usize::from(ask.mode);
            8 * (ask.flags.count_ones() as usize + value + omitted(&ask.omit)) + mode
        }) + usize::from(step.file.process)
            + usize::from(step.file.number)
    };
    program.steps.iter().map(|step| 1000 + words(step)).sum()
}

/// Without the half, the quarters, ... and without each one.
fn without_steps(program: &Program) -> Vec<Program> {
    let steps = &program.steps;
    let mut found = Vec::new();
    let mut size = steps.len();
    while size > 1 {
        size = size.div_ceil(2);
        for start in (0..steps.len()).step_by(size) {
            let end = steps.len().min(start + size);
            let rest = [&steps[..start], &steps[end..]].concat();
            found.push(Program { steps: rest });
        }
        found.extend((0..size).map(|tail| Program {
            steps: steps[..steps.len() - tail.min(steps.len())].to_vec(),
        }));
    }
    found
}

/// Without all that is about one lock, and about two.
fn without_locks(program: &Program) -> Vec<Program> {
    let mut locks: Vec<_> = program.steps.iter().filter_map(|step| step.what.lock()).collect();
    locks.sort();
    locks.dedup();
    let without = |one: &str, other: &str| {
        let about = |step: &&Step| {
            let lock = step.what.lock();
            lock == Some(one) || lock == Some(other)
        };
        let steps = program.steps.iter().filter(|step| !about(step));
        Program {
            steps: steps.cloned().collect(),
        }
    };
    let pairs = locks.iter().flat_map(|one| locks.iter().map(move |other| (one, other)));
    pairs.map(|(one, other)| without(one, other)).collect()
}

fn with_step(program: &Program, at: usize, step: Step) -> Program {
    let mut program = program.clone();
    program.steps[at] = step;
    program
}

fn simpler_steps(program: &Program) -> Vec<Program> {
    let mut found = Vec::new();
    for (at, step) in program.steps.iter().enumerate() {
        let Some(ask) = step.what.ask() else {
            if let What::Read(Some(_)) = step.what {
                let what = What::Read(None);
                found.push(with_step(program, at, Step { what, ..step.clone() }));
            }
            continue;
        };
        for simpler in simpler_asks(ask) {
            let mut step = step.clone();
            if let Some(ask) = step.what.ask_mut() {
                *ask = simpler;
            }
            found.push(with_step(program, at, step));
        }
    }
    found
}

fn simpler_asks(ask: &Ask) -> Vec<Ask> {
    let bare = Ask {
        mode: ask.mode,
        ..Ask::default()
    };
    let plain = Ask {
        omit: Omit::default(),
        ..ask.clone()
    };
    let worthless = Ask {
        value: String::new(),
        ..ask.clone()
    };
    let weaker = (NL..ask.mode).map(|mode| Ask { mode, ..ask.clone() });
    let flagless = FLAGS.iter().filter(|(_, flag)| ask.flags & flag != 0);
    let flagless = flagless.map(|(_, flag)| Ask {
        flags: ask.flags & !flag,
        ..ask.clone()
    });
    let mut found = vec![bare, plain, worthless];
    found.extend(weaker.chain(flagless));
    found.retain(|one| one != ask);
    found
}

/// With all that one file does done by another, and a step done by another.
fn fewer_files(program: &Program) -> Vec<Program> {
    let mut files: Vec<_> = program.steps.iter().map(|step| step.file).collect();
    files.sort();
    files.dedup();
    let mut found = Vec::new();
    for (place, from) in files.iter().enumerate() {
        for to in &files[..place] {
            let mut merged = program.clone();
            for step in merged.steps.iter_mut().filter(|step| step.file == *from) {
                step.file = *to;
            }
            found.push(merged);
        }
    }
    for (at, step) in program.steps.iter().enumerate() {
        for file in files.iter().filter(|file| **file < step.file) {
            let what = step.what.clone();
            found.push(with_step(program, at, Step { file: *file, what }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;

    /// What shrinking ends with if a program fails as long as all of `needed` is in it.
    fn shrunk(mut program: Program, needed: &[&str]) -> Program {
        let fails = |program: &Program| {
            let text = program.to_string();
            let mut from = 0;
            needed.iter().all(|part| match text[from..].find(part) {
                Some(at) => {
                    from += at + part.len();
                    true
                }
                None => false,
            })
        };
        assert!(fails(&program));
        while let Some(smaller) = reductions(&program).into_iter().find(&fails) {
            assert!(weight(&smaller) < weight(&program), "{program} to {smaller}");
            program = smaller;
        }
        program
    }

    #[test]
    fn only_what_is_needed_remains() {
        for seed in 0..5 {
            let mut program = generate::program(seed, 50);
            let needed: Program = "b1: close\na1: lock x y EX valblk\na2: read".parse().unwrap();
            for (at, step) in [10, 30, 60].into_iter().zip(&needed.steps) {
                program.steps.insert(at, step.clone());
            }
            let small = shrunk(program, &["close", "lock x", "valblk", "read"]);
            assert_eq!(small.to_string(), "a1: close\na1: lock x y NL valblk\na1: read\n");
        }
    }
}
