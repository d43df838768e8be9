// SPDX-License-Identifier: GPL-2.0

//! What is measured and what must be reached: `cases.toml`, as types.

use anyhow::{ensure, Context, Result};
use serde::Deserialize;
use std::{fs, path::Path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cases {
    pub(crate) rounds: u32,
    pub(crate) timed_rounds: u32,
    pub(crate) case: Vec<Case>,
}

/// One run of the benchmark program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Whether the devices of tests/bench/floor can do it, too.
    #[serde(default)]
    pub(crate) floor: bool,
    /// How it is measured.
    #[serde(default)]
    pub(crate) way: Way,
    #[serde(default)]
    sizes: Vec<u32>,
    #[serde(default)]
    quick: Vec<u32>,
    dlm_up_to: Option<u32>,
    pub(crate) row: Vec<Row>,
}

/// One thing that it measures.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    metric: Option<String>,
    pub(crate) title: String,
    pub(crate) unit: String,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) at_most: Option<f64>,
    pub(crate) at_least: Option<f64>,
    pub(crate) of: Option<Measure>,
    pub(crate) at: Option<u32>,
}

/// What a value is compared with.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Measure {
    Dlm,
    Floor,
    First,
}

/// How a case is measured.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// In a guest of one processor, whose clock counts instructions.
    #[default]
    Counted,
    /// In a guest of two processors, by a clock that tells time.
    Timed,
    /// Without a guest.
    Native,
}

/// The module under test.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Module {
    DlmDevice,
    Dlm,
}

impl Cases {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The cases of these names, or all if there are none. Those whose names begin with a word
    /// that is no case of its own can be named by that word.
    pub(crate) fn named(&self, names: &[String]) -> Result<Vec<&Case>> {
        let mut named = Vec::new();
        for name in names {
            let family = format!("{name}_");
            let exactly = |case: &&Case| case.name == *name;
            let cases: Vec<&Case> = match self.case.iter().find(exactly) {
                Some(case) => vec![case],
                None => self
                    .case
                    .iter()
                    .filter(|case| case.name.starts_with(&family))
                    .collect(),
            };
            ensure!(
                !cases.is_empty(),
                "there is no case '{name}'; there are: {}",
                self.names().join(" ")
            );
            named.extend(cases);
        }
        if names.is_empty() {
            named.extend(&self.case);
        }
        Ok(named)
    }

    fn names(&self) -> Vec<&str> {
        self.case.iter().map(|case| case.name.as_str()).collect()
    }
}

impl Case {
    pub(crate) fn sizes(&self, module: Module, quick: bool) -> Vec<u32> {
        let sizes = if quick { &self.quick } else { &self.sizes };
        let limit = match module {
            Module::Dlm => self.dlm_up_to.unwrap_or(u32::MAX),
            Module::DlmDevice => u32::MAX,
        };
        sizes.iter().copied().filter(|n| *n <= limit).collect()
    }

    /// Whether the case is about what happens when there are more.
    pub(crate) fn scales(&self) -> bool {
        self.sizes.len() > 1
    }

    /// The name under which the program tells of this row.
    pub(crate) fn key(&self, row: &Row) -> String {
        match &row.metric {
            Some(metric) => format!("{}.{metric}", self.name),
            None => self.name.clone(),
        }
    }
}
