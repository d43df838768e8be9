// SPDX-License-Identifier: GPL-2.0

//! What is measured and what must be reached: `cases.toml`, as types.

use anyhow::{Context, Result};
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
    /// Whether it wants two processors and a clock that tells time, instead of one processor and
    /// one that counts instructions.
    #[serde(default)]
    pub(crate) timed: bool,
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
