// SPDX-License-Identifier: GPL-2.0

//! The tests of the module itself.

use crate::{
    module::{
        File,
        Module, //
    },
    picture,
    plan::Plan, //
};
use std::{
    fs,
    path::PathBuf, //
};

/// The room that all `unsafe` is in.
const EDGE: &str = "kernel_edge";

/// The most lines of a file, tests left out.
const LONGEST: usize = 600;

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn house() -> (Plan, Module) {
    let document = fs::read_to_string(top().join("doc/architecture.md")).unwrap();
    (Plan::read(&document), Module::read(&top()))
}

/// Fails with all that is wrong, a line each.
fn expect_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn each_file_stands_on_a_floor() {
    let (plan, module) = house();
    expect_none(plan.strays(&module));
}

#[test]
fn nothing_imports_what_is_above_or_beside_it() {
    let (plan, module) = house();
    expect_none(plan.wrong_ways(&module));
}

#[test]
fn unsafe_is_at_the_kernels_edge() {
    let (_, module) = house();
    let outside = module.files.iter().filter(|file| file.name[0] != EDGE);
    expect_none(
        outside
            .flat_map(|file| {
                let lines = file.lines_with_unsafe();
                lines.map(|n| format!("{}:{n}: unsafe outside {EDGE}", file.path()))
            })
            .collect(),
    );
}

#[test]
fn files_are_short() {
    let (plan, module) = house();
    let verdict = |file: &File| {
        let length = file.length_without_tests();
        let path = file.path();
        match (length > LONGEST, plan.is_excused(&path)) {
            (true, false) => Some(format!(
                "{path} has {length} lines without its tests; {LONGEST} are the most"
            )),
            (false, true) => Some(format!(
                "{path} has {length} lines: doc/architecture.md need not excuse it"
            )),
            _ => None,
        }
    };
    expect_none(module.files.iter().filter_map(verdict).collect());
}

/// Fails if the document shows another picture, and leaves the right one in `build`.
fn check_picture(path: &str, drawn: String) -> Option<String> {
    let kept = fs::read_to_string(top().join("doc").join(path));
    if kept.is_ok_and(|kept| kept == drawn) {
        return None;
    }
    let anew = top().join("build").join(path);
    fs::create_dir_all(anew.parent().unwrap()).unwrap();
    fs::write(anew, drawn).unwrap();
    Some(format!(
        "doc/{path} is not what the sources are: look at build/{path}, and copy it there"
    ))
}

#[test]
fn pictures_are_those_of_the_sources() {
    let (plan, module) = house();
    let pictures: [(&str, &[&str]); 2] = [
        ("rooms.svg", &[]),
        ("rooms/lock_table.svg", &["lock_table"]),
    ];
    let outdated = pictures
        .into_iter()
        .filter_map(|(path, inside)| check_picture(path, picture::draw(&plan, &module, inside)));
    expect_none(outdated.collect());
}
