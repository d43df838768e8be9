// SPDX-License-Identifier: GPL-2.0

//! Where the instructions of a case go: counts by address, as functions and lines of source.

use crate::table::grouped;
use anyhow::{ensure, Context, Result};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    ops::AddAssign,
    path::Path,
    process::{Command, Stdio},
};

/// What the guest and the emulator left of a profiled case, in one folder.
pub(crate) struct Traces<'a> {
    pub(crate) folder: &'a Path,
    /// The sources of the module, whose lines are told apart.
    pub(crate) sources: &'a Path,
    /// How much is shown.
    pub(crate) top: usize,
}

/// What some instructions amount to.
#[derive(Clone, Copy, Default)]
struct Tally {
    instructions: u64,
    /// How often a cache of the first and of the second level did not have what they touched.
    misses: [u64; 2],
    /// How often the first of them was executed.
    calls: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.instructions += more.instructions;
        self.misses[0] += more.misses[0];
        self.misses[1] += more.misses[1];
        self.calls += more.calls;
    }
}

/// What was executed at each address.
type Counts = BTreeMap<u64, Tally>;

/// The same by whatever name.
type Tallies = BTreeMap<String, Tally>;

struct Symbol {
    name: String,
    module: String,
}

/// A line of the module's sources; empty if it is not in them.
#[derive(Default)]
struct Line {
    file: String,
    number: String,
    function: String,
}

impl Line {
    fn function(&self) -> String {
        format!("{:24} {}", self.file, self.function)
    }

    fn place(&self) -> String {
        format!("{:24} {:4} {}", self.file, self.number, self.function)
    }
}

/// By address, in the kernel.
type Symbols = BTreeMap<u64, Symbol>;

const USER: &str = "user space";
const KERNEL: &str = "kernel";
const KERNEL_BASE: u64 = 1 << 63;
/// No module's code is longer.
const MODULE_MAX: u64 = 1 << 24;

impl Traces<'_> {
    pub(crate) fn print(&self) -> Result<()> {
        let counts = self.counts()?;
        let symbols = self.symbols()?;
        let total: u64 = counts.values().map(|tally| tally.instructions).sum();
        let operations = total as f64 / self.mean()?;
        ensure!(total > 0, "nothing was counted");
        println!(
            "{} instructions an operation, {} operations\n",
            grouped(total as f64 / operations),
            grouped(operations)
        );

        let mut parts = Tallies::new();
        let mut functions = Tallies::new();
        for (address, tally) in &counts {
            let (part, function, is_entry) = place(&symbols, *address);
            let calls = if is_entry { tally.instructions } else { 0 };
            let name = format!("{part:12} {function}");
            *parts.entry(part).or_default() += *tally;
            *functions.entry(name).or_default() += Tally { calls, ..*tally };
        }
        self.show("part", parts, operations);
        self.show("function", functions, operations);
        if let Some(base) = self.section("dlm_device")? {
            let lines = self.lines(&counts, base)?;
            let by = |what: fn(&Line) -> String| {
                let mut tallies = Tallies::new();
                for (line, tally) in &lines {
                    *tallies.entry(what(line)).or_default() += *tally;
                }
                tallies
            };
            self.show("source file", by(|line| line.file.clone()), operations);
            self.show(
                "function of the source, inlined or not",
                by(Line::function),
                operations,
            );
            self.show("line of the source", by(Line::place), operations);
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for line in self.read("counts")?.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().context("counts: a word is missing");
            let address = hex(word()?)?;
            let mut number = || anyhow::Ok(word()?.parse::<u64>()?);
            *counts.entry(address).or_default() += Tally {
                instructions: number()?,
                misses: [number()?, number()?],
                calls: 0,
            };
        }
        Ok(counts)
    }

    /// /proc/kallsyms, without the marks that are no functions.
    fn symbols(&self) -> Result<Symbols> {
        let mut symbols = Symbols::new();
        for line in self.read("kallsyms")?.lines() {
            let mut words = line.split_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if !matches!(kind, "t" | "T" | "w" | "W") || name.starts_with(['.', '$']) {
                continue;
            }
            let module = words
                .next()
                .unwrap_or(KERNEL)
                .trim_matches(['[', ']'])
                .to_owned();
            let name = short(&format!("{:#}", rustc_demangle::demangle(name)));
            symbols.insert(hex(address)?, Symbol { name, module });
        }
        Ok(symbols)
    }

    /// Nanoseconds of an operation, of one of each kind if the case has several.
    fn mean(&self) -> Result<f64> {
        let mut kinds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for line in self.read("samples")?.lines() {
            let words: Vec<&str> = line.split('\t').collect();
            let [_, key, _, value] = words[..] else {
                continue;
            };
            kinds
                .entry(key.to_owned())
                .or_default()
                .push(value.parse()?);
        }
        let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        Ok(kinds.values().map(mean).sum())
    }

    /// Where the code of a module was loaded.
    fn section(&self, module: &str) -> Result<Option<u64>> {
        let text = self.read("sections")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{module} ")));
        line.map(|address| hex(address.trim_start_matches("0x")))
            .transpose()
    }

    /// Each instruction of the module, which was loaded at `base`, goes to the innermost line that
    /// is in the module's sources; what is inlined from elsewhere goes to where it is used.
    fn lines(&self, counts: &Counts, base: u64) -> Result<Vec<(Line, Tally)>> {
        let inside: Vec<(u64, Tally)> = counts
            .range(base..base + MODULE_MAX)
            .map(|(address, tally)| (address - base, *tally))
            .collect();
        let offsets = self.folder.join("offsets");
        let mut file = File::create(&offsets)?;
        for (offset, _) in &inside {
            writeln!(file, "{offset:x}")?;
        }
        let output = Command::new("addr2line")
            .args(["-j", ".text", "-f", "-i", "-C", "-a", "-e"])
            .arg(self.folder.join("dlm_device.ko"))
            .stdin(Stdio::from(File::open(&offsets)?))
            .output()
            .context("addr2line")?;
        ensure!(output.status.success(), "addr2line failed");

        let text = String::from_utf8(output.stdout)?;
        let frames = text.split("\n0x").map(|frames| self.own_line(frames));
        Ok(frames
            .zip(inside)
            .map(|(line, (_, tally))| (line, tally))
            .collect())
    }

    /// Of frames, a function and its place each, the first in our sources.
    fn own_line(&self, frames: &str) -> Line {
        let frames: Vec<&str> = frames.lines().skip(1).collect();
        let ours = frames.chunks_exact(2).find_map(|frame| {
            let (file, number) = frame[1].split(' ').next()?.rsplit_once(':')?;
            let file = Path::new(file).strip_prefix(self.sources).ok()?;
            Some(Line {
                file: file.display().to_string(),
                number: number.to_owned(),
                function: short(frame[0]),
            })
        });
        ours.unwrap_or_default()
    }

    fn show(&self, what: &str, tallies: Tallies, operations: f64) {
        let mut all = Tally::default();
        tallies.values().for_each(|tally| all += *tally);
        let mut tallies: Vec<(String, Tally)> = tallies.into_iter().collect();
        tallies.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.instructions));
        let caches = all.misses[0] > 0;
        let misses = if caches {
            "32 KiB miss   1 MiB miss  "
        } else {
            ""
        };
        println!("an operation   share   calls  {misses}{what}");
        for (name, tally) in tallies.iter().take(self.top) {
            let each = |count: u64| count as f64 / operations;
            print!("{:12.1} {:6.1}%", each(tally.instructions), {
                100.0 * tally.instructions as f64 / all.instructions as f64
            });
            print!(
                "  {:>6}  ",
                if tally.calls > 0 {
                    format!("{:.2}", each(tally.calls))
                } else {
                    String::new()
                }
            );
            if caches {
                let [first, second] = tally.misses.map(each);
                print!("{first:11.2} {second:12.2}  ");
            }
            println!("{name}");
        }
        println!();
    }
}

/// The part and the function that an address is in, and whether it is its entry.
fn place(symbols: &Symbols, address: u64) -> (String, String, bool) {
    if address < KERNEL_BASE {
        return (USER.to_owned(), String::new(), false);
    }
    match symbols.range(..=address).next_back() {
        Some((entry, symbol)) => (
            symbol.module.clone(),
            symbol.name.clone(),
            *entry == address,
        ),
        None => (KERNEL.to_owned(), format!("{address:x}"), false),
    }
}

fn hex(text: &str) -> Result<u64> {
    u64::from_str_radix(text, 16).with_context(|| format!("what is '{text}'?"))
}

/// A Rust path's last two names, and those of the paths within it.
fn short(name: &str) -> String {
    let mut text = String::new();
    let mut path = String::new();
    for c in name.chars().chain([' ']) {
        if c.is_alphanumeric() || "_:.".contains(c) {
            path.push(c);
            continue;
        }
        let names: Vec<&str> = path.split("::").collect();
        text.push_str(&names[names.len().saturating_sub(2)..].join("::"));
        path.clear();
        text.push(c);
    }
    text.trim_end().to_owned()
}
