// SPDX-License-Identifier: GPL-2.0

//! Smaller programs out of one.

use crate::{
    language::{Ask, Omit, Program, Step, What},
    terms::{FLAGS, NL},
};

/// So many of them are tried at once at most.
const LIMIT: usize = 400;

/// For each step of a program: what takes its place, if anything does.
#[derive(Clone, PartialEq)]
pub struct Reduction(Vec<Option<Step>>);

impl Reduction {
    fn nothing(program: &Program) -> Self {
        Reduction(program.steps.iter().cloned().map(Some).collect())
    }

    fn keeping(program: &Program, keeps: impl Fn(usize, &Step) -> bool) -> Self {
        let steps = program.steps.iter().enumerate();
        let kept = steps.map(|(at, step)| keeps(at, step).then(|| step.clone()));
        Reduction(kept.collect())
    }

    fn with(program: &Program, at: usize, step: Step) -> Self {
        let mut reduction = Self::nothing(program);
        reduction.0[at] = Some(step);
        reduction
    }

    pub fn result(&self) -> Program {
        Program {
            steps: self.0.iter().flatten().cloned().collect(),
        }
    }
}

/// What could take the program's place, the smallest first.
pub fn reductions(program: &Program) -> Vec<Reduction> {
    let mut found = without_steps(program);
    if program.steps.len() <= 30 {
        found.extend(without_locks(program));
        found.extend(simpler_steps(program));
        found.extend(fewer_files(program));
    }
    let before = weight(program);
    found.retain(|one| (1..before).contains(&weight(&one.result())));
    found.sort_by_key(|one| weight(&one.result()));
    found.dedup();
    found.truncate(LIMIT);
    found
}

/// Programs with several of the reductions done together, of which each alone was fine.
pub fn together(program: &Program, fine: &[Reduction]) -> Vec<Program> {
    let both = |one: &Reduction, other: &Reduction| {
        let steps = program.steps.iter().zip(one.0.iter().zip(&other.0));
        let step = |(old, (one, other)): (&Step, (&Option<Step>, &Option<Step>))| match one {
            Some(step) if step == old => other.clone(),
            _ => other.is_some().then(|| one.clone()).flatten(),
        };
        Reduction(steps.map(step).collect())
    };
    let mut all = Reduction::nothing(program);
    let mut found = Vec::new();
    for one in fine {
        all = both(&all, one);
        found.push(all.clone());
    }
    if let Some(best) = fine.first() {
        found.extend(fine.iter().map(|other| both(best, other)));
    }
    let mut found: Vec<_> = found.iter().map(Reduction::result).collect();
    found.retain(|one| !one.steps.is_empty());
    found.sort_by_key(weight);
    found.dedup();
    found.truncate(LIMIT / 2);
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

/// Without the half, the quarters, ... and without each one; and without all from one on.
fn without_steps(program: &Program) -> Vec<Reduction> {
    let count = program.steps.len();
    let mut found: Vec<_> = (1..count)
        .map(|end| Reduction::keeping(program, |at, _| at < end))
        .collect();
    let mut size = count;
    while size > 1 {
        size = size.div_ceil(2);
        let chunks = (0..count).step_by(size);
        found.extend(chunks.map(|start| {
            Reduction::keeping(program, |at, _| !(start..start + size).contains(&at))
        }));
    }
    found
}

/// Without all that is about one lock, and about two.
fn without_locks(program: &Program) -> Vec<Reduction> {
    let mut locks: Vec<_> = program
        .steps
        .iter()
        .filter_map(|step| step.what.lock())
        .collect();
    locks.sort();
    locks.dedup();
    let pairs = locks
        .iter()
        .flat_map(|one| locks.iter().map(move |other| (one, other)));
    let without = |(one, other): (&&str, &&str)| {
        Reduction::keeping(program, |_, step| {
            step.what
                .lock()
                .is_none_or(|lock| lock != *one && lock != *other)
        })
    };
    pairs.map(without).collect()
}

fn simpler_steps(program: &Program) -> Vec<Reduction> {
    let mut found = Vec::new();
    for (at, step) in program.steps.iter().enumerate() {
        let Some(ask) = step.what.ask() else {
            if let What::Read(Some(_)) = step.what {
                let what = What::Read(None);
                found.push(Reduction::with(
                    program,
                    at,
                    Step {
                        what,
                        ..step.clone()
                    },
                ));
            }
            continue;
        };
        for simpler in simpler_asks(ask) {
            let mut step = step.clone();
            if let Some(ask) = step.what.ask_mut() {
                *ask = simpler;
            }
            found.push(Reduction::with(program, at, step));
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
    let weaker = (NL..ask.mode).map(|mode| Ask {
        mode,
        ..ask.clone()
    });
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
fn fewer_files(program: &Program) -> Vec<Reduction> {
    let mut files: Vec<_> = program.steps.iter().map(|step| step.file).collect();
    files.sort();
    files.dedup();
    let mut found = Vec::new();
    for (place, from) in files.iter().enumerate() {
        for to in &files[..place] {
            let mut merged = Reduction::nothing(program);
            let steps = merged.0.iter_mut().flatten();
            for step in steps.filter(|step| step.file == *from) {
                step.file = *to;
            }
            found.push(merged);
        }
    }
    for (at, step) in program.steps.iter().enumerate() {
        for file in files.iter().filter(|file| **file < step.file) {
            let what = step.what.clone();
            found.push(Reduction::with(program, at, Step { file: *file, what }));
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
        let smaller = |program: &Program| {
            let tries = reductions(program).into_iter().map(|one| one.result());
            tries.into_iter().find(fails)
        };
        while let Some(smaller) = smaller(&program) {
            assert!(
                weight(&smaller) < weight(&program),
                "{program} to {smaller}"
            );
            program = smaller;
        }
        program
    }

    #[test]
    fn what_is_fine_alone_is_tried_together() {
        let program: Program = "a1: poll\na1: read\na1: close\na: kill".parse().unwrap();
        let fine: Vec<_> = (1..4)
            .map(|gone| Reduction::keeping(&program, |at, _| at != gone))
            .collect();
        assert_eq!(together(&program, &fine)[0].to_string(), "a1: poll\n");
    }

    #[test]
    fn only_what_is_needed_remains() {
        for seed in 0..5 {
            let mut program = generate::program(seed, 50);
            let needed: Program = "b1: close\na1: lock x y EX valblk\na2: read"
                .parse()
                .unwrap();
            for (at, step) in [10, 30, 60].into_iter().zip(&needed.steps) {
                program.steps.insert(at, step.clone());
            }
            let small = shrunk(program, &["close", "lock x", "valblk", "read"]);
            assert_eq!(
                small.to_string(),
                "a1: close\na1: lock x y NL valblk\na1: read\n"
            );
        }
    }
}
