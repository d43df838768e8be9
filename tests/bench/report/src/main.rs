// SPDX-License-Identifier: GPL-2.0

//! The two ends of the benchmark: what the guest is to run, and what came of it.

mod cases;
mod native;
mod plot;
mod profile;
mod publish;
mod results;
mod samples;
mod table;

use crate::{
    cases::{Case, Cases, Module, Way},
    profile::Traces,
    results::{results, RowResult},
    samples::Samples,
};
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Parser)]
struct Arguments {
    /// The file of cases.
    #[arg(long)]
    cases: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print what is to be measured in that way, a line each. For the guest: floor or module, then
    /// the program's arguments; else the names of the cases.
    Plan {
        module: Module,
        way: Way,
        #[arg(long)]
        quick: bool,
        /// These cases instead of all.
        only: Vec<String>,
    },
    /// Print what criterion, which keeps its samples in that folder, has measured of these cases,
    /// as the guest's program would.
    Native { folder: PathBuf, cases: Vec<String> },
    /// Print the table, and write it as JSON and pictures into a folder that holds what the guests
    /// printed: dlm_device.tsv, and dlm.tsv if fs/dlm was tried. Fails if a target is missed.
    Report { folder: PathBuf },
    /// Put table and pictures of a full run, of which that folder holds what the guests printed,
    /// into the documentation: between the marks in bench.md, and into a folder beside it.
    Publish { folder: PathBuf, doc: PathBuf },
    /// Print where the instructions of a profiled case went, of which that folder holds the traces.
    Profile {
        folder: PathBuf,
        sources: PathBuf,
        #[arg(long, default_value_t = 40)]
        top: usize,
    },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let cases = Cases::read(&arguments.cases)?;
    match arguments.command {
        Command::Plan {
            module,
            quick,
            way,
            only,
        } => {
            let rounds = match way {
                Way::Timed => cases.timed_rounds,
                Way::Counted | Way::Native => cases.rounds,
            };
            let planned = cases.named(&only)?;
            for case in planned.into_iter().filter(|case| case.way == way) {
                match way {
                    Way::Native => println!("{}", case.name),
                    Way::Counted | Way::Timed => plan(case, rounds, module, quick),
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Native { folder, cases } => {
            native::print(&folder, &cases)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Report { folder } => report(&cases, &folder),
        Command::Publish { folder, doc } => {
            publish::publish(&cases, &folder, &doc)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Profile {
            folder,
            sources,
            top,
        } => {
            let traces = Traces {
                folder: &folder,
                sources: &sources,
                top,
            };
            traces.print()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn plan(case: &Case, rounds: u32, module: Module, quick: bool) {
    let sizes: Vec<String> = case
        .sizes(module, quick)
        .iter()
        .map(u32::to_string)
        .collect();
    let run = format!("{} {rounds} {}", case.name, sizes.join(" "));
    if case.floor {
        println!("floor {run}");
    }
    println!("module {run}");
}

/// What the guests printed, and what was measured without one.
fn measured(cases: &Cases, folder: &Path) -> Result<Vec<RowResult>> {
    let ours = Samples::read(&folder.join("dlm_device.tsv"))?;
    let theirs = folder.join("dlm.tsv");
    let theirs = theirs
        .exists()
        .then(|| Samples::read(&theirs))
        .transpose()?;
    Ok(results(cases, theirs.as_ref(), &ours))
}

fn report(cases: &Cases, folder: &Path) -> Result<ExitCode> {
    let results = measured(cases, folder)?;
    let table = table::table(&results);
    print!("{table}");
    fs::write(folder.join("bench.md"), table)?;
    fs::write(
        folder.join("bench.json"),
        serde_json::to_string_pretty(&results)?,
    )?;
    plot_all(&results, folder)?;
    Ok(conclude(&results))
}

/// A picture for each row that scales; returns those rows.
fn plot_all<'a>(results: &'a [RowResult], folder: &Path) -> Result<Vec<&'a RowResult>> {
    let scaling = results.iter().filter(|result| result.dlm_device.len() > 1);
    let scaling: Vec<_> = scaling.collect();
    for result in &scaling {
        plot::plot(result, &folder.join(result.picture()))?;
    }
    Ok(scaling)
}

/// Says which targets are missed.
fn conclude(results: &[RowResult]) -> ExitCode {
    let verdicts = || {
        results
            .iter()
            .flat_map(|r| r.targets.iter().map(move |t| (r, t)))
    };
    let count = |met| verdicts().filter(|(_, t)| t.met == met).count();
    println!(
        "\n{} targets met, {} missed, {} not tried",
        count(Some(true)),
        count(Some(false)),
        count(None)
    );
    for (result, target) in verdicts().filter(|(_, t)| t.met == Some(false)) {
        println!("MISSED: {}: {}", result.title, table::verdict(target));
    }
    if count(Some(false)) == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
