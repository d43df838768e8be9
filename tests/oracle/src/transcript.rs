// SPDX-License-Identifier: GPL-2.0

//! What a program's steps were answered, in words that do not depend on ids, pids or time.

use crate::{
    abi::{Addresses, Record, LVB},
    differences::{self, Row},
    known::Known,
    language::What,
    terms::*,
};
use std::{
    collections::BTreeMap,
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
};

#[derive(Default)]
pub struct Transcript {
    pub outcomes: Vec<Outcome>,
}

/// What came of a step.
#[derive(Default)]
pub struct Outcome {
    pub rows: Vec<Row>,
    /// What was said, apart from records: a word each.
    pub said: Vec<Text>,
    /// The command, and its answer in a word.
    pub answered: Option<(&'static str, Text)>,
    pub heard: Vec<Heard>,
}

/// A record, and where it was read.
#[derive(Clone)]
pub struct Heard {
    pub file: usize,
    /// Say at whose file.
    pub elsewhere: bool,
    pub lock: Option<usize>,
    pub record: Record,
    /// Without what may differ.
    pub status: i32,
}

impl Transcript {
    /// Undoes what may differ in the order of what was read from each file.
    pub fn put_in_order(&mut self, known: &Known) {
        for file in 0..known.files.len() {
            let heard = self.outcomes.iter_mut().flat_map(|one| &mut one.heard);
            let mut stream: Vec<_> = heard.filter(|heard| heard.file == file).collect();
            differences::order_blocking(&mut stream, known);
        }
    }

    /// A line for each step, and one for the end.
    pub fn lines(&self, known: &Known) -> Vec<String> {
        self.outcomes
            .iter()
            .map(|outcome| outcome.line(known))
            .collect()
    }

    /// A number for what the lines say.
    pub fn hash(&self, known: &Known) -> u64 {
        let mut hasher = DefaultHasher::new();
        for outcome in &self.outcomes {
            (&outcome.rows, &outcome.said).hash(&mut hasher);
            for heard in &outcome.heard {
                heard.hash(known, &mut hasher);
            }
        }
        hasher.finish()
    }

    /// Adds up how often everything was said that can be.
    pub fn count(&self, sayings: &mut Sayings) {
        let mut count = |kind, what| *sayings.entry((kind, what)).or_default() += 1;
        for outcome in &self.outcomes {
            for row in &outcome.rows {
                count("met", format!("{row:?}").into());
            }
            if let Some((command, answer)) = &outcome.answered {
                count(command, answer.clone());
            }
            for heard in &outcome.heard {
                heard.count(&mut count);
            }
        }
    }
}

/// How often what was said: a kind of thing, and which it was.
pub type Sayings = BTreeMap<(&'static str, Text), u64>;

impl Outcome {
    pub fn answer(&mut self, what: &What, answer: Text) {
        self.answered = Some((what.command(), answer.clone()));
        self.said.push(answer);
    }

    fn line(&self, known: &Known) -> String {
        let rows = self.rows.iter().map(|row| format!("[{row:?}]"));
        let said = self.said.iter().map(ToString::to_string);
        let heard = self.heard.iter().map(|heard| heard.text(known));
        let parts: Vec<_> = rows.chain(said).chain(heard).collect();
        parts.join("; ")
    }
}

const FLAGS: [(u8, &str); 3] = [
    (DEMOTED, "demoted"),
    (ALTMODE, "altmode"),
    (VALNOTVALID, "invalid"),
];

impl Heard {
    fn hash(&self, known: &Known, hasher: &mut impl Hasher) {
        let record = &self.record;
        let right_id = self.lock.map(|lock| known.locks[lock].id == record.id);
        (self.file, self.elsewhere, self.lock, right_id).hash(hasher);
        (self.status, record.flags, record.bast_mode, record.value).hash(hasher);
        (record.cast, record.cast_parameter, record.lksb).hash(hasher);
        record.odd.is_some().then(|| hex(record)).hash(hasher);
    }

    /// Counts what the record says, one by one.
    fn count(&self, count: &mut impl FnMut(&'static str, Text)) {
        let record = &self.record;
        if record.bast_mode != 0 {
            return count("blocks", mode_name(record.bast_mode));
        }
        count("heard", error_name(record.status));
        for (_, name) in FLAGS.iter().filter(|(flag, _)| record.flags & flag != 0) {
            count("heard", (*name).into());
        }
        if record.value.is_some() {
            count("heard", "value".into());
        }
    }

    fn text(&self, known: &Known) -> String {
        let record = &self.record;
        let mut text = String::new();
        if self.elsewhere {
            let _ = write!(text, "{} hears ", known.files[self.file].file);
        }
        match self.lock {
            Some(lock) => text += &known.locks[lock].label,
            None => text += "an unknown lock",
        }
        if self
            .lock
            .is_some_and(|lock| known.locks[lock].id != record.id)
        {
            text += " by another id";
        }
        if record.bast_mode == 0 {
            let _ = write!(text, " {}", error_name(self.status));
        } else {
            let _ = write!(text, " blocks {}", mode_name(record.bast_mode));
            match (self.status, record.status) {
                (0, _) => {}
                (_, 0) => text += " without EINPROG",
                (_, status) => {
                    let _ = write!(text, " {}", error_name(status));
                }
            }
        }
        for (flag, name) in FLAGS {
            if record.flags & flag != 0 {
                let _ = write!(text, " {name}");
            }
        }
        if let Some(value) = &record.value {
            let _ = write!(text, " value={}", value_text(value));
        }
        text += &addresses_text(record);
        if record.odd.is_some() || record.flags & !7 != 0 {
            let _ = write!(text, " {}", hex(record));
        }
        text
    }
}

/// All its bytes, without the id.
fn hex(record: &Record) -> String {
    let mut text = "odd bytes:".to_string();
    for (at, byte) in record.odd.iter().flatten().enumerate() {
        match at {
            44..48 => text += " id",
            _ => {
                let _ = write!(text, " {byte:02x}");
            }
        }
    }
    text
}

// Values: a word, again and again, to fill the block.

pub fn value(word: &str) -> [u8; LVB] {
    let mut value = [0; LVB];
    let mut text = word.bytes().chain([b'|']).cycle();
    if !word.is_empty() {
        value.fill_with(|| text.next().unwrap_or(0));
    }
    value
}

fn value_text(bytes: &[u8; LVB]) -> String {
    let end = bytes.iter().position(|byte| *byte == b'|').unwrap_or(0);
    let word = String::from_utf8_lossy(&bytes[..end]);
    if *bytes == value(&word) {
        return if word.is_empty() {
            "zeros".into()
        } else {
            word.into()
        };
    }
    format!("\"{}\"", bytes.escape_ascii())
}

// Addresses: each says in which step it was given.

const CAST: u64 = 1;
const CAST_PARAMETER: u64 = 2;
const BAST: u64 = 3;
const BAST_PARAMETER: u64 = 4;
const LKSB: u64 = 5;

fn address(kind: u64, step: usize) -> u64 {
    0x0ca1_1000_0000_0000 | (kind << 32) | step as u64
}

pub fn addresses(step: usize) -> Addresses {
    Addresses {
        cast: address(CAST, step),
        cast_parameter: address(CAST_PARAMETER, step),
        bast: address(BAST, step),
        bast_parameter: address(BAST_PARAMETER, step),
        lksb: address(LKSB, step),
    }
}

/// The step in which an address of this kind was given.
fn step_of(kind: u64, value: u64) -> Option<usize> {
    let step = value as u32 as usize;
    (value == address(kind, step)).then_some(step)
}

/// The last step that is known to have given the record's lock an address.
pub fn step_of_record(record: &Record) -> Option<usize> {
    let kind = if record.bast_mode == 0 { CAST } else { BAST };
    step_of(LKSB, record.lksb).or_else(|| step_of(kind, record.cast))
}

fn addresses_text(record: &Record) -> String {
    let (cast, parameter) = match record.bast_mode {
        0 => (CAST, CAST_PARAMETER),
        _ => (BAST, BAST_PARAMETER),
    };
    let one = |name: &str, kind, value| match step_of(kind, value) {
        Some(step) => format!(" {name}@{step}"),
        None if value == 0 => format!(" {name}=NULL"),
        None => format!(" {name}={value:#x}"),
    };
    let texts = [
        one("", cast, record.cast),
        one("", parameter, record.cast_parameter),
        one("", LKSB, record.lksb),
    ];
    if texts.iter().all(|text| *text == texts[0]) {
        return texts[0].clone();
    }
    one("address", cast, record.cast)
        + &one("parameter", parameter, record.cast_parameter)
        + &one("lksb", LKSB, record.lksb)
}
