// SPDX-License-Identifier: GPL-2.0

//! What the benchmark program printed, and what it amounts to.

use anyhow::{bail, Context, Result};
use serde::Serialize;
use std::{collections::BTreeMap, fs, path::Path};

/// The median of some rounds, and the range they are in.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// Of all rounds; of their middle half if there are many, as of what is timed.
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

const MANY: usize = 10;

impl Summary {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let rounds = values.len();
        let last = rounds - 1;
        let margin = if rounds < MANY { 0 } else { rounds / 4 };
        Summary {
            median: (values[last / 2] + values[rounds / 2]) / 2.0,
            least: values[margin],
            most: values[last - margin],
            rounds,
        }
    }
}

/// Of one thing, by size.
pub(crate) type Series = BTreeMap<u32, Summary>;

/// Of one guest.
pub(crate) struct Samples(BTreeMap<(String, String), Series>);

impl Samples {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut values: BTreeMap<_, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
        for line in text.lines() {
            let [subject, key, size, value] = line.split('\t').collect::<Vec<_>>()[..] else {
                bail!("{}: what is '{line}'?", path.display());
            };
            values
                .entry((subject.to_owned(), key.to_owned()))
                .or_default()
                .entry(size.parse()?)
                .or_default()
                .push(value.parse()?);
        }
        let summarise = |series: BTreeMap<u32, Vec<f64>>| {
            series
                .into_iter()
                .map(|(n, v)| (n, Summary::of(v)))
                .collect()
        };
        Ok(Samples(
            values.into_iter().map(|(k, v)| (k, summarise(v))).collect(),
        ))
    }

    pub(crate) fn of_module(&self, key: &str) -> Series {
        self.of("module", key)
    }

    pub(crate) fn of_floor(&self, key: &str) -> Series {
        self.of("floor", key)
    }

    fn of(&self, subject: &str, key: &str) -> Series {
        let key = (subject.to_owned(), key.to_owned());
        self.0.get(&key).cloned().unwrap_or_default()
    }
}
