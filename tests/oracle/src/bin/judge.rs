// SPDX-License-Identifier: GPL-2.0

//! Decides what the guests are to play, compares what they bring back, and shrinks what differs.
//!
//! ```text
//! judge plan FOLDER CASES DIFFERENCES SEED COUNT      the cases in a folder, COUNT random programs
//! judge next FOLDER                       what is to be done now
//! ```
//!
//! FOLDER holds what the guests get, `theirs/playlist` and `ours/playlist`, and what they answer,
//! `theirs/answers` and `ours/answers`. `next` returns 0 if all is well and 1 if not, or 3 if the
//! guests are to play what it has now put there.

use dlm_device_oracle::{
    cases::Case,
    differences::Row,
    generate,
    language::Program,
    play::Care,
    playlist::{self, seed_name, Answer, Answers, Entry},
    reduce, report,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Operations of a random program.
const OPERATIONS: usize = 50;

/// At most so many of the programs that differ are shrunk and shown.
const SHOWN: usize = 3;

/// From this many random programs on all rare things must have happened.
const ENOUGH: u64 = 2000;

type Result<T> = std::result::Result<T, String>;

struct Folder(PathBuf);

/// Whom a guest runs.
#[derive(Clone, Copy)]
enum Side {
    Theirs,
    Ours,
}

impl Side {
    fn folder(self) -> &'static str {
        match self {
            Side::Theirs => "theirs",
            Side::Ours => "ours",
        }
    }
}

impl Folder {
    fn read(&self, name: &str) -> Result<String> {
        let path = self.0.join(name);
        // What a guest that died has left may be anything.
        let bytes = fs::read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| fs::write(&path, text))
            .map_err(|why| format!("{}: {why}", path.display()))
    }

    fn playlist(&self, side: Side) -> Result<Vec<Entry>> {
        playlist::parse(&self.read(&format!("{}/playlist", side.folder()))?)
    }

    fn set_playlist(&self, side: Side, entries: &[&Entry]) -> Result<()> {
        let text: String = entries.iter().map(ToString::to_string).collect();
        self.write(&format!("{}/playlist", side.folder()), &text)
    }

    fn answers(&self, side: Side) -> Result<Answers> {
        Ok(Answers::parse(
            &self.read(&format!("{}/answers", side.folder()))?,
        ))
    }

    /// What is being shrunk: a playlist of its own.
    fn suspects(&self) -> Result<Option<Vec<Entry>>> {
        if !self.0.join("suspects").exists() {
            return Ok(None);
        }
        playlist::parse(&self.read("suspects")?).map(Some)
    }
}

fn cases(folder: &Path) -> Result<Vec<Case>> {
    let list = |folder: &Path| -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut files = list(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    files.sort();
    let case = |path: PathBuf| {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        Case::parse(&name, &text)
    };
    files.into_iter().map(case).collect()
}

/// All rows that are named here must stand in the table of differences.
fn check_rows(cases: &[Case], table: &str) -> Result<()> {
    let named = cases.iter().filter_map(|case| case.row.clone());
    for row in named.chain(Row::ALL.map(|row| row.title().to_string())) {
        if !table.contains(&format!("| {row} |")) {
            return Err(format!("the table of differences has no row \"{row}\""));
        }
    }
    for row in Row::ALL {
        if !cases
            .iter()
            .any(|case| case.row.as_deref() == Some(row.title()))
        {
            return Err(format!("no case shows the difference \"{}\"", row.title()));
        }
    }
    Ok(())
}

fn plan(args: &[String]) -> Result<ExitCode> {
    let [folder, from, table, seed, count] = args else {
        return Err("usage: judge plan FOLDER CASES DIFFERENCES SEED COUNT".into());
    };
    let number = |text: &String| text.parse().map_err(|_| format!("{text} is no number"));
    let (first, count) = (number(seed)?, number(count)?);
    let cases = cases(Path::new(from))?;
    let table = fs::read_to_string(table).map_err(|why| format!("{table}: {why}"))?;
    check_rows(&cases, &table)?;
    let entries: Vec<_> = cases.iter().map(Case::entry).collect();
    let seeds = Entry::Seeds {
        first,
        count,
        operations: OPERATIONS,
    };
    let folder = Folder(folder.into());
    let all = || entries.iter().chain([&seeds]);
    folder.set_playlist(Side::Ours, &all().collect::<Vec<_>>())?;
    let only_ours = |entry: &&Entry| match entry {
        Entry::Program { name, .. } => cases
            .iter()
            .any(|case| case.only_ours && case.name == *name),
        Entry::Seeds { .. } => false,
    };
    folder.set_playlist(
        Side::Theirs,
        &all().filter(|entry| !only_ours(entry)).collect::<Vec<_>>(),
    )?;
    folder.write("cases", from)?;
    Ok(ExitCode::SUCCESS)
}

/// The programs that have no answer because a guest died: the first of them it died of.
fn died_of(entries: &[Entry], answers: &Answers) -> Option<String> {
    if answers.done {
        return None;
    }
    let mut names = playlist::names(entries).into_iter();
    names.find(|name| !answers.by_name.contains_key(name))
}

/// Both guests' answers, and the programs that each of them died of.
struct Both {
    theirs: Answers,
    ours: Answers,
    died: [Option<String>; 2],
}

impl Both {
    fn read(folder: &Folder) -> Result<Both> {
        let (theirs, ours) = (folder.answers(Side::Theirs)?, folder.answers(Side::Ours)?);
        let died = [
            died_of(&folder.playlist(Side::Theirs)?, &theirs),
            died_of(&folder.playlist(Side::Ours)?, &ours),
        ];
        Ok(Both { theirs, ours, died })
    }

    fn of(&self, name: &str) -> (Option<&Answer>, Option<&Answer>) {
        (self.theirs.by_name.get(name), self.ours.by_name.get(name))
    }

    /// Whether a program was answered differently, or killed somebody.
    fn differs(&self, name: &str) -> bool {
        let died = self.died.iter().any(|died| died.as_deref() == Some(name));
        died || match self.of(name) {
            (Some(theirs), Some(ours)) => theirs.hash != ours.hash,
            _ => false,
        }
    }
}

fn next(args: &[String]) -> Result<ExitCode> {
    let [folder] = args else {
        return Err("usage: judge next FOLDER".into());
    };
    let folder = Folder(folder.into());
    match folder.suspects()? {
        None => judge(&folder),
        Some(suspects) => shrink(&folder, suspects),
    }
}

/// The first round: everything is compared.
fn judge(folder: &Folder) -> Result<ExitCode> {
    let both = Both::read(folder)?;
    let cases = cases(Path::new(&folder.read("cases")?))?;
    let mut fine = cases.len();
    for case in &cases {
        let (theirs, ours) = both.of(&format!("program {}", case.name));
        let nothing = Vec::new();
        let lines =
            |answer: Option<&Answer>| answer.map_or(nothing.clone(), |answer| answer.lines.clone());
        let theirs = (!case.only_ours).then(|| lines(theirs));
        let faults = case.faults(theirs.as_deref(), &lines(ours));
        if !faults.is_empty() {
            fine -= 1;
            println!("not ok: case {}\n{}\n", case.name, faults.join("\n"));
        }
    }
    let mut different = Vec::new();
    let mut seeds = 0;
    for entry in folder.playlist(Side::Ours)? {
        let Entry::Seeds {
            first,
            count,
            operations,
        } = entry
        else {
            continue;
        };
        seeds += count;
        different.extend(
            (first..first + count)
                .filter(|seed| both.differs(&seed_name(*seed)))
                .map(|seed| Entry::Program {
                    name: seed_name(seed),
                    program: generate::program(seed, operations),
                    care: Care::Avoid,
                }),
        );
    }
    for (died, who) in both.died.iter().zip(["fs/dlm", "dlm_device"]) {
        if let Some(name) = died {
            println!("not ok: the guest of {who} did not come to its end; it stopped in {name}\n");
        }
    }
    let never = report::never(&both.theirs);
    let poor = seeds >= ENOUGH && !never.is_empty();
    if poor {
        println!(
            "not ok: in {seeds} random programs never happened: {}\n",
            never.join(", ")
        );
    }
    let dead = both.died.iter().any(Option::is_some);
    println!("{fine} of {} cases are as they are to be", cases.len());
    println!("{} of {seeds} random programs differ", different.len());
    folder.write("sayings", &format!("{:#?}\n", both.theirs.sayings))?;
    if different.is_empty() {
        let well = fine == cases.len() && !dead && !poor;
        return Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    different.truncate(SHOWN);
    next_round(folder, different)
}

/// What may take a suspect's place, in the order of liking. The first entry is the suspect; the
/// others, of the same name, have not been tried alone.
fn tries(suspect: &[Entry]) -> Vec<Program> {
    let mut programs: Vec<_> = suspect.iter().filter_map(program_of).cloned().collect();
    let reductions = programs.first().map(reduce::reductions).unwrap_or_default();
    programs.extend(reductions.iter().map(reduce::Reduction::result));
    if let Some((_, tries)) = programs.split_first_mut() {
        tries.sort_by_key(reduce::weight);
    }
    programs
}

fn program_of(entry: &Entry) -> Option<&Program> {
    match entry {
        Entry::Program { program, .. } => Some(program),
        Entry::Seeds { .. } => None,
    }
}

fn name_of(entry: &Entry) -> &str {
    match entry {
        Entry::Program { name, .. } => name,
        Entry::Seeds { .. } => "",
    }
}

fn same_name(one: &Entry, other: &Entry) -> bool {
    name_of(one) == name_of(other)
}

/// Sets the guests to work on the suspects and on what they could be reduced to.
fn next_round(folder: &Folder, suspects: Vec<Entry>) -> Result<ExitCode> {
    let mut entries = Vec::new();
    for suspect in suspects.chunk_by(same_name) {
        let name = name_of(&suspect[0]);
        let tries = tries(suspect).into_iter().enumerate();
        let mut tries: Vec<_> = tries
            .map(|(number, program)| Entry::Program {
                name: format!("{name} try {number}"),
                program,
                care: Care::Avoid,
            })
            .collect();
        // The suspect comes last, for it may be what a guest dies of.
        tries.rotate_left(1);
        entries.extend(tries);
    }
    let text: String = suspects.iter().map(ToString::to_string).collect();
    folder.write("suspects", &text)?;
    let entries: Vec<_> = entries.iter().collect();
    folder.set_playlist(Side::Theirs, &entries)?;
    folder.set_playlist(Side::Ours, &entries)?;
    Ok(ExitCode::from(3))
}

/// The smallest of the tries that still differ takes a suspect's place.
fn shrink(folder: &Folder, suspects: Vec<Entry>) -> Result<ExitCode> {
    let both = Both::read(folder)?;
    let mut smaller = false;
    let mut remaining = Vec::new();
    for suspect in suspects.chunk_by(same_name) {
        let name = name_of(&suspect[0]);
        let differs = |number: usize| both.differs(&format!("program {name} try {number}"));
        let tries = tries(suspect);
        let best = (1..tries.len()).find(|number| differs(*number));
        smaller |= best.is_some();
        let best = &tries[best.unwrap_or(0)];
        // What was fine alone of what has been tried is now tried together.
        let fine: Vec<_> = reduce::reductions(&tries[0])
            .into_iter()
            .filter(|one| {
                tries[1..]
                    .iter()
                    .zip(1..)
                    .any(|(of, number)| *of == one.result() && differs(number))
            })
            .collect();
        let together = reduce::together(&tries[0], &fine).into_iter();
        let bold = together.filter(|one| reduce::weight(one) < reduce::weight(best));
        remaining.extend(
            [best.clone()]
                .into_iter()
                .chain(bold)
                .map(|program| Entry::Program {
                    name: name.into(),
                    program,
                    care: Care::Avoid,
                }),
        );
    }
    if smaller {
        return next_round(folder, remaining);
    }
    for suspect in remaining.chunk_by(same_name) {
        if let (name, Some(program)) = (name_of(&suspect[0]), program_of(&suspect[0])) {
            let (theirs, ours) = both.of(&format!("program {name} try 0"));
            println!(
                "\nnot ok: {name}, shrunk to {} steps:\n",
                program.steps.len()
            );
            println!("{}", report::side_by_side(program, theirs, ours));
        }
    }
    Ok(ExitCode::FAILURE)
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((command, args)) if command == "plan" => plan(args),
        Some((command, args)) if command == "next" => next(args),
        _ => Err("usage: judge plan ... or judge next ...".into()),
    };
    result.unwrap_or_else(|why| {
        eprintln!("error: the judge: {why}");
        ExitCode::from(2)
    })
}
