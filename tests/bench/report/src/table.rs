// SPDX-License-Identifier: GPL-2.0

//! The table, for people: Markdown, in columns.

use crate::{
    results::{RowResult, Verdict},
    samples::{Series, Summary},
};
use std::fmt::Write;

const HEADINGS: [&str; 8] = [
    "case",
    "n",
    "unit",
    "floor",
    "fs/dlm",
    "dlm_device",
    "ratio",
    "must reach",
];

pub(crate) fn table(results: &[RowResult]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    for result in results {
        lines.extend(
            result
                .dlm_device
                .keys()
                .enumerate()
                .map(|(i, n)| line(result, i, *n)),
        );
    }
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| {
            lines
                .iter()
                .map(|l| l[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    lines.insert(1, std::array::from_fn(|column| "-".repeat(widths[column])));

    let mut text = String::new();
    for line in lines {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
    }
    text
}

/// What is the same for all sizes stands in the first of its lines.
fn line(result: &RowResult, index: usize, n: u32) -> [String; HEADINGS.len()] {
    let first = |text: &str| {
        if index == 0 {
            text.to_owned()
        } else {
            String::new()
        }
    };
    let targets: Vec<String> = result.targets.iter().map(verdict).collect();
    [
        first(&result.title),
        if result.scales {
            grouped(n.into())
        } else {
            String::new()
        },
        first(&result.unit),
        cell(&result.floor, n),
        cell(&result.dlm, n),
        cell(&result.dlm_device, n),
        result
            .ratio(n)
            .map(|r| format!("{r:.2}"))
            .unwrap_or_default(),
        first(&targets.join("; ")),
    ]
}

pub(crate) fn verdict(verdict: &Verdict) -> String {
    let word = match verdict.met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "not tried",
    };
    let reached = verdict.reached.map(|value| format!(" ({})", short(value)));
    let beyond = verdict
        .beyond
        .map(|value| format!(", the floor alone is {}", short(value)));
    format!(
        "{}: {word}{}{}",
        verdict.wanted,
        reached.unwrap_or_default(),
        beyond.unwrap_or_default()
    )
}

fn short(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.2}")
    } else {
        grouped(value)
    }
}

fn cell(series: &Series, n: u32) -> String {
    series.get(&n).map(summary).unwrap_or_default()
}

/// The median, and how much of it lies between the least and the most.
fn summary(summary: &Summary) -> String {
    let spread = (summary.most - summary.least) / summary.median * 100.0;
    let value = short(summary.median);
    if spread.is_finite() {
        format!("{value} ±{:.1}%", spread / 2.0)
    } else {
        value
    }
}

/// A number with commas between thousands.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        text.insert(0, '-');
    }
    text
}
