// SPDX-License-Identifier: GPL-2.0

//! The rows with what was measured of them, and whether it is what must be reached.

use crate::{
    cases::{Case, Cases, Measure, Row, Target},
    samples::{Samples, Series, Summary},
};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct RowResult {
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    #[serde(skip)]
    pub(crate) scales: bool,
    pub(crate) floor: Series,
    pub(crate) dlm: Series,
    pub(crate) dlm_device: Series,
    pub(crate) targets: Vec<Verdict>,
}

#[derive(Serialize)]
pub(crate) struct Verdict {
    pub(crate) wanted: String,
    /// The value that is worst, or that there is none to judge.
    pub(crate) reached: Option<f64>,
    pub(crate) met: Option<bool>,
    /// What the floor alone reaches, if that is not enough.
    pub(crate) beyond: Option<f64>,
}

/// What was measured of each row, as far as it was.
pub(crate) fn results(cases: &Cases, dlm: Option<&Samples>, ours: &Samples) -> Vec<RowResult> {
    let rows = cases
        .case
        .iter()
        .flat_map(|c| c.row.iter().map(move |r| (c, r)));
    rows.map(|(case, row)| result(case, row, dlm, ours))
        .filter(|result| !result.dlm_device.is_empty())
        .collect()
}

fn result(case: &Case, row: &Row, dlm: Option<&Samples>, ours: &Samples) -> RowResult {
    let key = case.key(row);
    let mut result = RowResult {
        title: row.title.clone(),
        unit: row.unit.clone(),
        scales: case.scales(),
        floor: ours.of_floor(&key),
        dlm: dlm
            .map(|samples| samples.of_module(&key))
            .unwrap_or_default(),
        dlm_device: ours.of_module(&key),
        targets: Vec::new(),
        key,
    };
    result.scales |= result.dlm_device.len() > 1;
    result.targets = row.targets.iter().map(|t| result.judge(t)).collect();
    result
}

impl RowResult {
    /// The name of its picture.
    pub(crate) fn picture(&self) -> String {
        format!("{}.svg", self.key)
    }

    pub(crate) fn ratio(&self, n: u32) -> Option<f64> {
        self.compared(Some(Measure::Dlm), n)
    }

    /// The value at a size, or its ratio to another one.
    fn compared(&self, with: Option<Measure>, n: u32) -> Option<f64> {
        let value = self.dlm_device.get(&n)?.median;
        let measure = match with {
            None => return Some(value),
            Some(Measure::Dlm) => self.dlm.get(&n),
            Some(Measure::Floor) => self.floor.get(&n),
            Some(Measure::First) => self.dlm_device.values().next(),
        };
        Some(value / measure?.median)
    }

    /// For a target that is about fs/dlm: the ratio of the floor to it, where it is largest.
    fn floor_to_dlm(&self, target: &Target) -> Option<f64> {
        if target.of != Some(Measure::Dlm) {
            return None;
        }
        let ratio = |(n, floor): (&u32, &Summary)| Some(floor.median / self.dlm.get(n)?.median);
        self.floor.iter().filter_map(ratio).reduce(f64::max)
    }

    fn judge(&self, target: &Target) -> Verdict {
        let sizes = self.dlm_device.keys().copied();
        let values: Vec<f64> = sizes
            .filter(|n| target.at.is_none_or(|at| at == *n))
            .filter_map(|n| self.compared(target.of, n))
            .collect();
        let (word, limit, reached) = match (target.at_most, target.at_least) {
            (Some(limit), _) => ("at most", limit, values.into_iter().reduce(f64::max)),
            (_, limit) => {
                let limit = limit.unwrap_or(0.0);
                ("at least", limit, values.into_iter().reduce(f64::min))
            }
        };
        let of = match target.of {
            None => format!(" {}", self.unit),
            Some(Measure::Dlm) => " of fs/dlm".to_owned(),
            Some(Measure::Floor) => " of the floor".to_owned(),
            Some(Measure::First) => " of the first".to_owned(),
        };
        let at = target.at.map(|n| format!(" at {n}")).unwrap_or_default();
        Verdict {
            wanted: format!("{word} {limit}{of}{at}"),
            reached,
            met: reached.map(|value| match target.at_most {
                Some(_) => value <= limit,
                None => value >= limit,
            }),
            beyond: self.floor_to_dlm(target).filter(|floor| *floor > limit),
        }
    }
}
