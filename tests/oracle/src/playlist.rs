// SPDX-License-Identifier: GPL-2.0

//! What the guests are to play, and what they bring back, as text.
//!
//! ```text
//! seeds 1 2000 50            the programs of the seeds from 1 on, 2,000 of them, of 50 operations
//! program NAME [as-it-is]    one program; its steps follow, and a line "end"
//! ```
//!
//! The answer to a seed is a line `seed 1 HASH`; to a program `program NAME HASH`, and a
//! line for each step and for its end, behind a tab. At the end of all there are the lines
//! `said COUNT WHAT`, and `done`.

use crate::{
    generate,
    language::Program,
    play::{Care, Played},
    transcript::Sayings,
};
use std::{
    collections::{BTreeMap, HashMap},
    io,
};

pub enum Entry {
    Seeds {
        first: u64,
        count: u64,
        operations: usize,
    },
    Program {
        name: String,
        program: Program,
        care: Care,
    },
}

pub fn seed_name(seed: u64) -> String {
    format!("seed {seed}")
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Entry::Seeds {
                first,
                count,
                operations,
            } => writeln!(f, "seeds {first} {count} {operations}"),
            Entry::Program {
                name,
                program,
                care,
            } => {
                let care = match care {
                    Care::AsItIs => " as-it-is",
                    Care::Avoid => "",
                };
                write!(f, "program {name}{care}\n{program}end\n")
            }
        }
    }
}

/// The entries of a playlist.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| -> Result<u64, String> {
            let word = words.get(at).and_then(|word| word.parse().ok());
            word.ok_or(format!("not understood: {line}"))
        };
        entries.push(match words[0] {
            "seeds" => Entry::Seeds {
                first: number(1)?,
                count: number(2)?,
                operations: number(3)? as usize,
            },
            "program" => {
                let steps: Vec<_> = lines.by_ref().take_while(|line| *line != "end").collect();
                let raw = line.strip_suffix(" as-it-is");
                Entry::Program {
                    name: raw.unwrap_or(line)["program ".len()..].into(),
                    program: steps.join("\n").parse()?,
                    care: if raw.is_some() {
                        Care::AsItIs
                    } else {
                        Care::Avoid
                    },
                }
            }
            _ => return Err(format!("not understood: {line}")),
        });
    }
    Ok(entries)
}

/// Calls `play` for all programs of the entries, in order: what it is called, the program, whether
/// all its answers are wanted.
pub fn each<E>(
    entries: &[Entry],
    mut play: impl FnMut(String, &Program, Care, bool) -> Result<(), E>,
) -> Result<(), E> {
    for entry in entries {
        match entry {
            Entry::Seeds {
                first,
                count,
                operations,
            } => {
                for seed in *first..first + count {
                    let program = generate::program(seed, *operations);
                    play(seed_name(seed), &program, Care::Avoid, false)?;
                }
            }
            Entry::Program {
                name,
                program,
                care,
            } => play(format!("program {name}"), program, *care, true)?,
        }
    }
    Ok(())
}

/// The names of all programs of the entries, in order.
pub fn names(entries: &[Entry]) -> Vec<String> {
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            Entry::Seeds { first, count, .. } => {
                names.extend((*first..first + count).map(seed_name));
            }
            Entry::Program { name, .. } => names.push(format!("program {name}")),
        }
    }
    names
}

/// Writes the answer to one program.
pub fn write_answer(
    out: &mut impl io::Write,
    name: &str,
    played: &Played,
    all: bool,
) -> io::Result<()> {
    writeln!(out, "{name} {:016x}", played.hash())?;
    if all {
        for line in played.lines() {
            writeln!(out, "\t{line}")?;
        }
    }
    out.flush()
}

pub fn write_end(out: &mut impl io::Write, sayings: &Sayings) -> io::Result<()> {
    for ((kind, what), count) in sayings {
        writeln!(out, "said {count} {kind} {what}")?;
    }
    writeln!(out, "done")
}

/// What a guest has brought back.
#[derive(Default)]
pub struct Answers {
    pub by_name: HashMap<String, Answer>,
    pub sayings: BTreeMap<String, u64>,
    /// It came to its end.
    pub done: bool,
}

#[derive(Default, Clone)]
pub struct Answer {
    pub hash: String,
    pub lines: Vec<String>,
}

impl Answers {
    /// Of a guest that has died the last line may be half.
    pub fn parse(text: &str) -> Answers {
        let mut answers = Answers::default();
        let mut current = Answer::default();
        let mut name = String::new();
        for line in text.split_inclusive('\n') {
            let Some(line) = line.strip_suffix('\n') else {
                break;
            };
            if let Some(line) = line.strip_prefix('\t') {
                current.lines.push(line.into());
                continue;
            }
            if !name.is_empty() {
                answers
                    .by_name
                    .insert(std::mem::take(&mut name), std::mem::take(&mut current));
            }
            let counted = line
                .strip_prefix("said ")
                .and_then(|said| said.split_once(' '));
            if line == "done" {
                answers.done = true;
            } else if let Some((count, what)) = counted {
                answers
                    .sayings
                    .insert(what.into(), count.parse().unwrap_or(0));
            } else if let Some((of, hash)) = line.rsplit_once(' ') {
                name = of.into();
                current.hash = hash.into();
            }
        }
        if !name.is_empty() {
            answers.by_name.insert(name, current);
        }
        answers
    }
}
