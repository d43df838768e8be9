// SPDX-License-Identifier: GPL-2.0

//! Programs written by hand, one a file.
//!
//! The first line is a comment that says what the case is about. If both are to answer the same,
//! the program is all. If they are to differ, a line says in which row of doc/differences.md:
//!
//! ```text
//! difference: DEADLOCK on a granted lock
//! ```
//!
//! Then the program is sent as it is, and below each step that they answer differently, and only
//! there, stand the answers of both; `end` is for what is said when all is closed:
//!
//! ```text
//! a1: read
//!     fs/dlm: x EDEADLK @1
//!     dlm_device: x ECANCEL @1
//! ```
//!
//! With `only dlm_device` in place of the difference's line end, as in `difference (only
//! dlm_device): ...`, it is not run on fs/dlm, which might not survive it; the answers of
//! dlm_device are given where they matter. An answer that begins with `(in some order)` says nothing
//! about the order of its parts.

use crate::{language::Program, play::Care, playlist::Entry};

pub struct Case {
    pub name: String,
    pub program: Program,
    /// The row of the table of differences it is about, if any.
    pub row: Option<String>,
    /// It is not for fs/dlm.
    pub only_ours: bool,
    /// For each step and the end.
    pub wanted: Vec<Wanted>,
}

/// The answers that are given.
#[derive(Clone, Default)]
pub struct Wanted {
    pub theirs: Option<String>,
    pub ours: Option<String>,
}

impl Case {
    pub fn parse(name: &str, text: &str) -> Result<Case, String> {
        let mut case = Case {
            name: name.into(),
            program: Program::default(),
            row: None,
            only_ours: false,
            wanted: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let parsed = case.line(line.split(" #").next().unwrap_or("").trim_end());
            parsed.map_err(|why| format!("{name}, line {}: {why}: {line}", number + 1))?;
        }
        case.wanted
            .resize(case.program.steps.len() + 1, Wanted::default());
        Ok(case)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('#') {
        } else if let Some(row) = text.strip_prefix("difference (only dlm_device): ") {
            self.row = Some(row.into());
            self.only_ours = true;
        } else if let Some(row) = text.strip_prefix("difference: ") {
            self.row = Some(row.into());
        } else if let Some(answer) = text.strip_prefix("fs/dlm:") {
            self.last()?.theirs = Some(answer.trim().into());
        } else if let Some(answer) = text.strip_prefix("dlm_device:") {
            self.last()?.ours = Some(answer.trim().into());
        } else if text == "end" {
            self.wanted
                .resize(self.program.steps.len() + 1, Wanted::default());
        } else {
            self.program.steps.push(text.parse()?);
            self.wanted
                .resize(self.program.steps.len(), Wanted::default());
        }
        Ok(())
    }

    fn last(&mut self) -> Result<&mut Wanted, String> {
        match (self.row.is_some(), self.wanted.last_mut()) {
            (true, Some(wanted)) => Ok(wanted),
            (false, _) => Err("answers are for differences".into()),
            (_, None) => Err("an answer to no step".into()),
        }
    }

    pub fn entry(&self) -> Entry {
        let care = match self.row {
            Some(_) => Care::AsItIs,
            None => Care::Avoid,
        };
        Entry::Program {
            name: self.name.clone(),
            program: self.program.clone(),
            care,
        }
    }

    /// What is not as it is to be: of each step, who answered what.
    pub fn faults(&self, theirs: Option<&[String]>, ours: &[String]) -> Vec<String> {
        let mut faults = Vec::new();
        let steps = self.program.steps.iter().map(ToString::to_string);
        let steps = steps.chain(["end".to_string()]);
        for (at, (step, wanted)) in steps.zip(&self.wanted).enumerate() {
            let ours = ours.get(at).map_or("(nothing)", |line| line);
            let mut check = |who: &str, answer: &str, wanted: &Option<String>| {
                if let Some(wanted) = wanted.as_ref().filter(|wanted| !fits(wanted, answer)) {
                    faults.push(format!(
                        "{step}\n    {who} answers: {answer}\n    wanted: {wanted}"
                    ));
                }
            };
            check("dlm_device", ours, &wanted.ours);
            let Some(theirs) = theirs else {
                continue;
            };
            let theirs = theirs.get(at).map_or("(nothing)", |line| line);
            check("fs/dlm", theirs, &wanted.theirs);
            let told = wanted.ours.is_some() && wanted.theirs.is_some();
            if (theirs == ours) == told {
                let what = if told {
                    "they do not differ"
                } else {
                    "they differ"
                };
                faults.push(format!(
                    "{step}\n    {what}\n    fs/dlm: {theirs}\n    dlm_device: {ours}"
                ));
            }
        }
        let shown = self.wanted.iter().any(|wanted| wanted.ours.is_some());
        if self.row.is_some() && !shown {
            faults.push("no answer is given that shows the difference".into());
        }
        faults
    }
}

/// Whether an answer is as wanted, or has the wanted parts in some order.
fn fits(wanted: &str, answer: &str) -> bool {
    let parts = |text: &str| {
        let mut parts: Vec<_> = text.split("; ").map(str::to_string).collect();
        parts.sort();
        parts
    };
    match wanted.strip_prefix("(in some order) ") {
        Some(wanted) => parts(wanted) == parts(answer),
        None => wanted == answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# about nothing
difference: a row
a1: lock x r EX    # the only one
a1: read
    fs/dlm: x EAGAIN @1
    dlm_device: x granted @1
";

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_answers_are_checked() {
        let case = Case::parse("case", TEXT).unwrap();
        let (theirs, ours) = (&["lock", "x EAGAIN @1", ""], &["lock", "x granted @1", ""]);
        assert!(case.faults(Some(&lines(theirs)), &lines(ours)).is_empty());
        assert_eq!(case.faults(Some(&lines(ours)), &lines(ours)).len(), 2);
        assert_eq!(case.faults(Some(&lines(theirs)), &lines(theirs)).len(), 2);
        let also_elsewhere = &["EINVAL", "x granted @1", ""];
        assert_eq!(
            case.faults(Some(&lines(theirs)), &lines(also_elsewhere))
                .len(),
            1
        );
        assert_eq!(
            case.faults(Some(&lines(theirs)), &lines(&ours[..1])).len(),
            2
        );
    }

    #[test]
    fn order_may_be_left_open() {
        assert!(fits("a; b", "a; b") && !fits("a; b", "b; a"));
        assert!(fits("(in some order) a; b", "b; a"));
        assert!(!fits("(in some order) a; b", "b; a; a"));
    }

    #[test]
    fn without_a_row_there_are_no_answers() {
        assert!(Case::parse("case", &TEXT.replace("difference:", "#")).is_err());
    }
}
