// SPDX-License-Identifier: GPL-2.0

//! What criterion measured, as samples like those of the guest's program.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::{fs, path::Path};

/// Criterion's `sample.json`: how often something was done, and how many nanoseconds that took.
#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// A case has samples of its own, or folders of them, named by sizes.
pub(crate) fn print(folder: &Path, cases: &[String]) -> Result<()> {
    for case in cases {
        let folder = folder.join(case);
        if folder.join("new").exists() {
            print_size(&folder, case, "1")?;
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.parse::<u32>().is_ok() {
                print_size(&folder.join(&*name), case, &name)?;
            }
        }
    }
    Ok(())
}

fn print_size(folder: &Path, case: &str, size: &str) -> Result<()> {
    let path = folder.join("new/sample.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let sample: Sample = serde_json::from_str(&text)?;
    for (time, count) in sample.times.iter().zip(&sample.iters) {
        println!("module\t{case}\t{size}\t{:.3}", time / count);
    }
    Ok(())
}
