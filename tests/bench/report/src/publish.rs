// SPDX-License-Identifier: GPL-2.0

//! A run in the documentation: `bench.md`, with pictures in a folder beside it.

use crate::{
    cases::{Cases, Module},
    measured, plot_all,
    results::RowResult,
    table,
};
use anyhow::{ensure, Context, Result};
use std::{fmt::Write, fs, path::Path};

/// What stands between them is replaced.
const BEGIN: &str = "<!-- begin of what was measured -->\n";
const END: &str = "<!-- end of what was measured -->\n";

pub(crate) fn publish(cases: &Cases, folder: &Path, doc: &Path) -> Result<()> {
    let results = measured(cases, folder)?;
    check_complete(cases, &results)?;
    let page = doc.join("bench.md");
    let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let parts = text
        .split_once(BEGIN)
        .and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.with_context(|| format!("{} has no marks", page.display()))?;

    let pictures = doc.join("bench");
    if pictures.exists() {
        fs::remove_dir_all(&pictures)?;
    }
    fs::create_dir(&pictures)?;
    let mut measured = table::table(&results);
    for result in plot_all(&results, &pictures)? {
        write!(
            measured,
            "\n![{}](bench/{})\n",
            result.title,
            result.picture()
        )?;
    }
    fs::write(page, format!("{head}{BEGIN}\n{measured}\n{END}{tail}"))?;
    Ok(())
}

/// Nothing less than a full run, of both modules.
fn check_complete(cases: &Cases, results: &[RowResult]) -> Result<()> {
    for case in &cases.case {
        for row in &case.row {
            let key = case.key(row);
            let result = results.iter().find(|result| result.key == key);
            let result = result.with_context(|| format!("{key} was not measured"))?;
            for size in case.sizes(Module::DlmDevice, false) {
                let there = result.dlm_device.contains_key(&size);
                ensure!(there, "{key} was not measured at {size}");
            }
        }
    }
    let beside = results.iter().any(|result| !result.dlm.is_empty());
    ensure!(beside, "fs/dlm was not measured");
    Ok(())
}
