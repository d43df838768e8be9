// SPDX-License-Identifier: GPL-2.0

//! What people get to read.

use crate::{
    language::Program,
    playlist::{Answer, Answers},
};

/// The most that is shown of one answer in a line.
const WIDTH: usize = 44;

/// What must have been heard and said in as many programs as `make test` plays, so that their
/// being equal says something.
pub const RARE: &[&str] = &[
    "adopt EAGAIN",
    "adopt ENOENT",
    "adopt adopted",
    "blocks CR",
    "blocks CW",
    "blocks EX",
    "blocks PR",
    "blocks PW",
    "cancel EINVAL",
    "cancel ENOENT",
    "cancel ok",
    "convert EBUSY",
    "convert EINVAL",
    "convert ENOENT",
    "convert ok",
    "deadlock EINVAL",
    "deadlock ok",
    "heard EAGAIN",
    "heard ECANCEL",
    "heard EDEADLK",
    "heard EUNLOCK",
    "heard altmode",
    "heard demoted",
    "heard granted",
    "heard invalid",
    "heard value",
    "lock EINVAL",
    "lock lock",
    "unlock EINVAL",
    "unlock ENOENT",
    "unlock ok",
];

/// Those of them that were not.
pub fn never(answers: &Answers) -> Vec<&'static str> {
    let said = |what: &&&str| !answers.sayings.contains_key(**what);
    RARE.iter().filter(said).copied().collect()
}

/// Both answers to a program, side by side. A line is marked where they differ.
pub fn side_by_side(program: &Program, theirs: Option<&Answer>, ours: Option<&Answer>) -> String {
    let steps: Vec<_> = program.steps.iter().map(ToString::to_string).collect();
    let widest = steps.iter().map(String::len).max().unwrap_or(0).max(4);
    let mut text = format!(
        "       {:widest$}  | {:WIDTH$} | dlm_device\n",
        "step", "fs/dlm"
    );
    for (at, step) in steps.iter().map(String::as_str).chain(["end"]).enumerate() {
        let of = |answer: Option<&Answer>| match answer {
            Some(answer) => answer.lines.get(at).cloned().unwrap_or_default(),
            None => "(died)".into(),
        };
        let (theirs, ours) = (of(theirs), of(ours));
        let mark = if theirs == ours { ' ' } else { '*' };
        let (mut left, mut right) = (folded(&theirs).into_iter(), folded(&ours).into_iter());
        let mut head = format!("  {mark}{:3} {step:widest$}", at + 1);
        loop {
            let (one, other) = (left.next(), right.next());
            if one.is_none() && other.is_none() {
                break;
            }
            let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
            text += format!("{head}  | {one:WIDTH$} | {other}").trim_end();
            text += "\n";
            head = " ".repeat(head.len());
        }
    }
    text
}

/// A part of the answer a line, if all do not fit into one.
fn folded(answer: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in answer.split("; ") {
        match lines.last_mut() {
            Some(line) if line.is_empty() => *line = part.into(),
            Some(line) if line.len() + part.len() + 2 <= WIDTH => {
                line.push_str("; ");
                line.push_str(part);
            }
            _ => lines.push(part.into()),
        }
    }
    lines
}
