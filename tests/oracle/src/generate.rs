// SPDX-License-Identifier: GPL-2.0

//! Random programs. A seed is a program, on every machine.
//!
//! What a step may find is guessed roughly, so that most steps make sense; a wrong guess does no harm.

use crate::{
    language::{Ask, File, Name, Omit, Program, Step, What, Whose},
    terms::*,
};
use rand::{
    distr::weighted::WeightedIndex, distr::Distribution, rngs::SmallRng, seq::IndexedRandom, Rng,
    SeedableRng,
};

/// The program of this seed: so many operations, and looks in between.
pub fn program(seed: u64, operations: usize) -> Program {
    let mut random = SmallRng::seed_from_u64(seed);
    let taste = Taste::random(&mut random);
    let mut author = Author {
        random,
        taste,
        steps: Vec::new(),
        locks: Vec::new(),
    };
    for _ in 0..operations {
        author.operation();
        author.looks();
    }
    Program {
        steps: author.steps,
    }
}

/// What a program is like as a whole.
struct Taste {
    processes: u8,
    files: u8,
    names: usize,
    /// At most so many flags in a request.
    flags: usize,
    /// Conversions have flags that make the converting queue irregular.
    knots: bool,
    modes: [u32; 6],
    /// Of each kind of operation.
    kinds: Vec<u32>,
    /// Of reading after an operation; of reading one record of those.
    reading: f64,
    sipping: f64,
}

/// All modes alike; readers; writers who do not mind each other; the two modes that cross.
const MODES: [[u32; 6]; 4] = [
    [2, 2, 3, 3, 2, 2],
    [6, 3, 1, 6, 1, 1],
    [4, 4, 1, 1, 5, 5],
    [2, 0, 8, 8, 1, 1],
];

#[derive(Clone, Copy)]
enum Kind {
    Lock,
    Convert,
    Unlock,
    Cancel,
    Deadlock,
    Adopt,
    Purge,
    Close,
    Kill,
}

const KINDS: [Kind; 9] = [
    Kind::Lock,
    Kind::Convert,
    Kind::Unlock,
    Kind::Cancel,
    Kind::Deadlock,
    Kind::Adopt,
    Kind::Purge,
    Kind::Close,
    Kind::Kill,
];

impl Taste {
    fn random(random: &mut SmallRng) -> Self {
        let conversions = *[20, 80, 160].choose(random).unwrap_or(&0);
        let leaving = *[0, 1, 1, 4].choose(random).unwrap_or(&0);
        Taste {
            processes: random.random_range(1..=3),
            files: random.random_range(1..=2),
            names: *[1, 1, 2, 3].choose(random).unwrap_or(&1),
            flags: random.random_range(0..=4),
            knots: random.random_bool(0.3),
            modes: *MODES.choose(random).unwrap_or(&MODES[0]),
            kinds: vec![
                60,
                conversions,
                30,
                8,
                3,
                2 * leaving,
                leaving,
                leaving,
                leaving,
            ],
            reading: *[0.1, 0.5, 0.9].choose(random).unwrap_or(&0.5),
            sipping: *[0.0, 0.3].choose(random).unwrap_or(&0.0),
        }
    }
}

type Flags = &'static [(u32, u32)];

const REQUEST: Flags = &[
    (6, VALBLK),
    (6, PERSISTENT),
    (3, NOORDER),
    (3, HEADQUE),
    (2, NOQUEUE),
    (2, NOQUEUE | NOQUEUEBAST),
    (2, ALTPR),
    (2, ALTCW),
    (2, EXPEDITE),
    (1, IVVALBLK),
    (1, NODLCKWT),
    (1, QUECVT),
    (1, CONVDEADLK),
    (1, CANCEL),
    (1, TIMEOUT | NODLCKBLK),
    (1, 0x8000_0000),
];

const CONVERSION: Flags = &[
    (6, VALBLK),
    (6, PERSISTENT),
    (8, NODLCKWT),
    (6, QUECVT),
    (4, HEADQUE),
    (6, CONVDEADLK),
    (4, ALTPR),
    (4, ALTCW),
    (2, NOORDER),
    (4, IVVALBLK),
    (1, NOQUEUE),
    (2, NOQUEUE | NOQUEUEBAST),
    (1, EXPEDITE),
    (1, CANCEL),
    (1, ORPHAN),
    (1, TIMEOUT | NODLCKBLK),
];

const KNOTTING: Flags = &[
    (4, NODLCKWT),
    (4, NODLCKWT | ALTPR | VALBLK),
    (4, NODLCKWT | ALTCW | VALBLK),
    (3, VALBLK),
    (3, PERSISTENT),
    (3, ALTPR),
    (3, ALTCW),
    (5, CONVDEADLK),
    (2, HEADQUE),
    (2, QUECVT),
    (1, NOORDER),
];

const UNLOCK: Flags = &[
    (8, 0),
    (4, VALBLK),
    (2, IVVALBLK),
    (1, VALBLK | IVVALBLK),
    (2, FORCEUNLOCK),
    (1, CANCEL | FORCEUNLOCK),
    (1, NOQUEUE),
];

const CANCELLING: Flags = &[
    (8, 0),
    (2, VALBLK),
    (1, IVVALBLK),
    (1, FORCEUNLOCK),
    (1, QUECVT),
];

const DEADLOCK: Flags = &[(4, 0), (4, CANCEL), (1, CANCEL | VALBLK), (1, QUECVT)];

/// A guess of how a lock stands.
struct Lock {
    label: String,
    name: usize,
    file: File,
    granted: Option<u8>,
    wanted: Option<u8>,
    persistent: bool,
    /// Its file is closed.
    orphan: bool,
    gone: bool,
}

struct Author {
    random: SmallRng,
    taste: Taste,
    steps: Vec<Step>,
    locks: Vec<Lock>,
}

fn weighted<T: Copy>(random: &mut SmallRng, choices: &[(u32, T)]) -> T {
    let weights = WeightedIndex::new(choices.iter().map(|(weight, _)| *weight));
    choices[weights.map_or(0, |weights| weights.sample(random))].1
}

impl Author {
    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn file(&mut self) -> File {
        File {
            process: self.random.random_range(0..self.taste.processes),
            number: self.random.random_range(1..=self.taste.files),
        }
    }

    fn mode(&mut self) -> u8 {
        let modes: Vec<_> = self.taste.modes.into_iter().zip(NL..=EX).collect();
        match self.chance(0.005) {
            true => 6,
            false => weighted(&mut self.random, &modes),
        }
    }

    fn some_of(&mut self, choices: Flags) -> u32 {
        let count = self.random.random_range(0..=self.taste.flags);
        (0..count).fold(0, |all, _| all | weighted(&mut self.random, choices))
    }

    fn ask(&mut self, mode: u8, flags: u32) -> Ask {
        Ask {
            mode,
            flags,
            value: format!("v{}", self.steps.len() + 1),
            omit: Omit {
                bast: self.chance(0.15),
                parameter: self.chance(0.1),
                cast: self.chance(0.003),
                lksb: self.chance(0.003),
            },
        }
    }

    fn say(&mut self, file: File, what: What) {
        self.steps.push(Step { file, what });
    }

    // Guesses.

    fn settle(&mut self, name: usize) {
        for at in 0..self.locks.len() {
            let lock = &self.locks[at];
            let Some(wanted) = lock.wanted.filter(|_| lock.name == name && !lock.gone) else {
                continue;
            };
            let fits = self.locks.iter().enumerate().all(|(other, lock)| {
                let held = lock.granted.filter(|_| lock.name == name && !lock.gone);
                other == at || held.is_none_or(|held| compatible(held, wanted))
            });
            if fits {
                self.locks[at].granted = Some(wanted);
                self.locks[at].wanted = None;
            }
        }
    }

    /// A lock of which this is guessed, or any.
    fn lock_where(&mut self, likely: impl Fn(&Lock) -> bool) -> Option<usize> {
        let all = 0..self.locks.len();
        let living = |lock: &&usize| !self.locks[**lock].gone && likely(&self.locks[**lock]);
        let fitting: Vec<_> = all.clone().filter(|lock| living(&lock)).collect();
        if fitting.is_empty() || self.random.random_bool(0.05) {
            let all: Vec<_> = all.collect();
            return all.choose(&mut self.random).copied();
        }
        fitting.choose(&mut self.random).copied()
    }

    /// Mostly the file that the lock belongs to.
    fn file_for(&mut self, lock: usize) -> File {
        match self.chance(0.15) || self.locks[lock].orphan {
            true => self.file(),
            false => self.locks[lock].file,
        }
    }

    fn leave(&mut self, goes: impl Fn(File) -> bool) {
        for lock in self.locks.iter_mut().filter(|lock| goes(lock.file)) {
            lock.gone |= !lock.persistent || lock.granted.is_none();
            lock.orphan = true;
            lock.wanted = None;
        }
        (0..self.taste.names).for_each(|name| self.settle(name));
    }

    // Steps.

    fn operation(&mut self) {
        let kinds = WeightedIndex::new(&self.taste.kinds);
        match KINDS[kinds.map_or(0, |kinds| kinds.sample(&mut self.random))] {
            Kind::Lock => self.lock(),
            Kind::Convert => self.convert(),
            Kind::Unlock => self.unlock(),
            Kind::Cancel => self.cancel(),
            Kind::Deadlock => self.deadlock(),
            Kind::Adopt => self.adopt(),
            Kind::Purge => self.purge(),
            Kind::Close => {
                let file = self.file();
                self.say(file, What::Close);
                self.leave(|of| of == file);
            }
            Kind::Kill => {
                let file = File {
                    number: 1,
                    ..self.file()
                };
                self.say(file, What::Kill);
                self.leave(|of| of.process == file.process);
            }
        }
    }

    fn lock(&mut self) {
        let (file, mode) = (self.file(), self.mode());
        let name = self.random.random_range(0..self.taste.names);
        let flags = self.some_of(REQUEST);
        let label = format!("k{}", self.locks.len() + 1);
        let what = What::Lock {
            lock: label.clone(),
            name: Name::Own(format!("r{name}")),
            ask: self.ask(mode, flags),
        };
        self.say(file, what);
        self.locks.push(Lock {
            label,
            name,
            file,
            granted: None,
            wanted: Some(mode),
            persistent: flags & PERSISTENT != 0,
            orphan: false,
            gone: flags & (CANCEL | QUECVT | CONVDEADLK) != 0 || mode > EX,
        });
        self.settle(name);
        if let Some(lock) = self.locks.last_mut() {
            lock.gone |= flags & NOQUEUE != 0 && lock.wanted.is_some();
        }
    }

    fn convert(&mut self) {
        let Some(lock) = self.lock_where(|lock| lock.wanted.is_none()) else {
            return self.lock();
        };
        let file = self.file_for(lock);
        let mode = self.mode();
        let knots = self.taste.knots;
        let flags = self.some_of(if knots { KNOTTING } else { CONVERSION });
        let what = What::Convert {
            lock: self.locks[lock].label.clone(),
            ask: self.ask(mode, flags),
        };
        self.say(file, what);
        let lock = &mut self.locks[lock];
        if lock.wanted.is_none() {
            lock.persistent = flags & PERSISTENT != 0;
            lock.wanted = Some(mode);
        }
        let name = lock.name;
        self.settle(name);
    }

    fn unlock(&mut self) {
        let Some(lock) = self.lock_where(|lock| !lock.orphan) else {
            return self.lock();
        };
        let file = self.file_for(lock);
        let flags = weighted(&mut self.random, UNLOCK);
        let what = What::Unlock {
            lock: self.locks[lock].label.clone(),
            ask: self.ask(NL, flags),
        };
        self.say(file, what);
        self.locks[lock].gone = true;
        self.settle(self.locks[lock].name);
    }

    fn cancel(&mut self) {
        let Some(lock) = self.lock_where(|lock| lock.wanted.is_some()) else {
            return self.lock();
        };
        let file = self.file_for(lock);
        let flags = weighted(&mut self.random, CANCELLING);
        let what = What::Cancel {
            lock: self.locks[lock].label.clone(),
            ask: self.ask(NL, flags),
        };
        self.say(file, what);
        self.stopped(lock);
    }

    fn deadlock(&mut self) {
        let Some(lock) = self.lock_where(|lock| lock.wanted.is_some()) else {
            return self.lock();
        };
        let file = self.file_for(lock);
        let flags = weighted(&mut self.random, DEADLOCK);
        let what = What::Deadlock {
            lock: self.locks[lock].label.clone(),
            ask: self.ask(NL, flags),
        };
        if self.chance(0.7) {
            self.say(file, What::Read(None));
        }
        self.say(file, what);
        self.stopped(lock);
    }

    fn stopped(&mut self, lock: usize) {
        let lock = &mut self.locks[lock];
        lock.wanted = None;
        lock.gone |= lock.granted.is_none();
        let name = lock.name;
        self.settle(name);
    }

    fn adopt(&mut self) {
        let file = self.file();
        let orphan = self.lock_where(|lock| lock.orphan);
        let mut name = self.random.random_range(0..self.taste.names);
        let mut mode = self.mode();
        if let Some(orphan) = orphan.filter(|_| self.random.random_bool(0.8)) {
            name = self.locks[orphan].name;
            mode = self.locks[orphan].granted.unwrap_or(mode);
            self.locks[orphan].gone = true;
        }
        let flags = self.some_of(CONVERSION);
        let label = format!("k{}", self.locks.len() + 1);
        let what = What::Adopt {
            lock: label.clone(),
            name: Name::Own(format!("r{name}")),
            ask: self.ask(mode, flags),
        };
        self.say(file, what);
        self.locks.push(Lock {
            label,
            name,
            file,
            granted: Some(mode),
            wanted: None,
            persistent: flags & PERSISTENT != 0,
            orphan: false,
            gone: orphan.is_none(),
        });
    }

    fn purge(&mut self) {
        let file = self.file();
        let orphan = self.lock_where(|lock| lock.orphan);
        let whose = match (self.random.random_range(0..3), orphan) {
            (0, _) => Whose::Own,
            (1, Some(orphan)) => Whose::Of(self.locks[orphan].label.clone()),
            _ => Whose::All,
        };
        let own = whose == Whose::Own;
        let node = self.random.random_range(0..=1);
        self.say(file, What::Purge { whose, node });
        let goes = |lock: &&mut Lock| if own { lock.file == file } else { lock.orphan };
        for lock in self.locks.iter_mut().filter(goes) {
            lock.gone = true;
        }
        (0..self.taste.names).for_each(|name| self.settle(name));
    }

    fn looks(&mut self) {
        if self.chance(self.taste.reading) {
            let mut file = self.file();
            if let Some(last) = self.steps.last().filter(|_| self.random.random_bool(0.5)) {
                file = last.file;
            }
            let limit = self.chance(self.taste.sipping).then_some(1);
            self.say(file, What::Read(limit));
        }
        if self.chance(0.05) {
            let file = self.file();
            self.say(file, What::Poll);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_program() {
        assert!(program(7, 50) == program(7, 50));
        assert!(program(7, 50) != program(8, 50));
    }

    #[test]
    fn programs_can_be_written_down() {
        for seed in 0..200 {
            let one = program(seed, 50);
            assert!(one.to_string().parse() == Ok(one), "seed {seed}");
        }
    }

    #[test]
    fn programs_have_as_many_operations_as_asked_for() {
        for seed in 0..200 {
            let steps = program(seed, 50).steps;
            let operations = steps.iter().filter(|step| !step.what.looks()).count();
            assert_eq!(operations, 50);
        }
    }
}
