// SPDX-License-Identifier: GPL-2.0

//! What `doc/architecture.md` says of the rooms, in the tables of its last section.
//!
//! A row whose first cell is a number has the rooms of that floor of the house. A room is a file and
//! the folder of its name. The files in the folder stand on floors of their own, in rows as `3.1`;
//! the room's own file, which opens them to others, is free to use them and be used by them. A row
//! that begins with a file excuses that for its length.

use crate::{
    imports::Import,
    module::{
        File,
        Module,
        Name, //
    },
};
use std::{
    cmp::Ordering,
    collections::BTreeSet, //
};

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Room {
    /// `[3]` in the house, `[3, 1]` inside one of its rooms. Stands first because it orders them.
    pub(crate) floor: Vec<u32>,
    pub(crate) name: Name,
}

pub(crate) struct Plan {
    /// In the order of the document.
    pub(crate) rooms: Vec<Room>,
    excused: Vec<String>,
}

/// What `module!` defines in the crate's root, for whoever needs it.
const THIS_MODULE: &str = "LocalModule";

impl Plan {
    pub(crate) fn read(document: &str) -> Plan {
        let mut plan = Plan {
            rooms: Vec::new(),
            excused: Vec::new(),
        };
        for line in document.lines() {
            let Some((first, second)) = line
                .strip_prefix("| ")
                .and_then(|line| line.split_once(" | "))
            else {
                continue;
            };
            let floor: Result<Vec<u32>, _> = first.split('.').map(str::parse).collect();
            if let Ok(floor) = floor {
                plan.rooms.extend(quoted(second).map(|name| Room {
                    floor: floor.clone(),
                    name: name.split('/').map(str::to_owned).collect(),
                }));
            } else if second.starts_with("too long") {
                plan.excused.extend(quoted(first).map(str::to_owned));
            }
        }
        plan
    }

    pub(crate) fn is_excused(&self, path: &str) -> bool {
        self.excused.iter().any(|excused| excused == path)
    }

    /// The rooms of the house, or, with the name of one of them, those inside it.
    pub(crate) fn level(&self, inside: &[&str]) -> Vec<&Room> {
        let rooms = self.rooms.iter();
        rooms
            .filter(|room| room.floor.len() == 1 + inside.len() && starts_with(&room.name, inside))
            .collect()
    }

    /// The innermost room of a file.
    fn room(&self, file: &File) -> Option<&Room> {
        let around = self
            .rooms
            .iter()
            .filter(|room| file.name.starts_with(&room.name));
        around.max_by_key(|room| room.floor.len())
    }

    pub(crate) fn strays(&self, module: &Module) -> Vec<String> {
        let mut faults = Vec::new();
        for file in &module.files {
            match self.room(file) {
                Some(room) if room.floor.len() == 2 || room.name == file.name => {}
                _ => faults.push(format!(
                    "{} is on no floor of doc/architecture.md",
                    file.path()
                )),
            }
        }
        for room in &self.rooms {
            if !module.files.iter().any(|file| file.name == room.name) {
                let name = room.name.join("/");
                faults.push(format!(
                    "doc/architecture.md has a room {name}, and there is no {name}.rs"
                ));
            }
        }
        for path in &self.excused {
            if !module.files.iter().any(|file| file.path() == *path) {
                faults.push(format!(
                    "doc/architecture.md excuses {path}, which is not there"
                ));
            }
        }
        faults
    }

    /// What a file takes from others, each with the file that defines it. What is in no other is in
    /// the crate's root.
    fn definitions<'a>(
        &self,
        file: &'a File,
        module: &'a Module,
    ) -> impl Iterator<Item = (&'a Import, &'a File)> {
        let root = module.files.iter().find(|file| file.name == ["dlm_device"]);
        let imports = file
            .imports
            .iter()
            .filter(|import| import.name != [THIS_MODULE]);
        imports.filter_map(move |import| Some((import, module.defines(&import.name).or(root)?)))
    }

    pub(crate) fn wrong_ways(&self, module: &Module) -> Vec<String> {
        let mut faults = Vec::new();
        for file in &module.files {
            for (import, definition) in self.definitions(file, module) {
                if let Some(where_it_is) = self.forbids(file, definition) {
                    let name = import.name.join("::");
                    faults.push(format!(
                        "{}:{}: {name} is {where_it_is}",
                        file.path(),
                        import.line
                    ));
                }
            }
        }
        faults
    }

    /// Which of these rooms import which.
    pub(crate) fn ways<'a>(
        &self,
        level: &[&'a Room],
        module: &Module,
    ) -> BTreeSet<(&'a Room, &'a Room)> {
        let mut ways = BTreeSet::new();
        for file in &module.files {
            for (_, definition) in self.definitions(file, module) {
                ways.extend(room_among(level, file).zip(room_among(level, definition)));
            }
        }
        ways.retain(|(from, to)| from != to);
        ways
    }

    /// Where what `importer` takes from `definition` is, if it must not.
    fn forbids(&self, importer: &File, definition: &File) -> Option<String> {
        let house = self.level(&[]);
        let (mut from, mut to) = (
            room_among(&house, importer)?,
            room_among(&house, definition)?,
        );
        if from == to {
            (from, to) = (self.room(importer)?, self.room(definition)?);
            let is_rooms_own = |room: &Room| room.floor.len() == 1;
            if from == to || is_rooms_own(from) || is_rooms_own(to) {
                return None;
            }
        }
        let place = match to.floor.cmp(&from.floor) {
            Ordering::Less => return None,
            Ordering::Equal => "beside it",
            Ordering::Greater => "above it",
        };
        Some(format!("in {}, which stands {place}", to.name.join("/")))
    }
}

fn starts_with(name: &[String], start: &[&str]) -> bool {
    name.len() >= start.len() && name.iter().zip(start).all(|(one, other)| one == other)
}

/// Which of these rooms a file is in.
fn room_among<'a>(level: &[&'a Room], file: &File) -> Option<&'a Room> {
    level
        .iter()
        .copied()
        .find(|room| file.name.starts_with(&room.name))
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "
| floor | rooms |
|---|---|
| 3 | `dlm_device` |
| 2 | `table` `queue` |
| 2.2 | `table/rules` |
| 2.1 | `table/lock` `table/id` |
| 1 | `terms` |
| `table.rs` | too long |
";

    fn faults(files: &[(&[&str], &str)]) -> Vec<String> {
        let files = files
            .iter()
            .map(|(name, text)| File::new(name, text))
            .collect();
        Plan::read(PLAN).wrong_ways(&Module::new(files))
    }

    #[test]
    fn what_is_below_may_be_imported() {
        let nothing = faults(&[
            (
                &["dlm_device"],
                "use crate::{queue::A, table::B, terms::C};",
            ),
            (&["queue"], "use crate::terms::C; pub struct A;"),
            (
                &["table"],
                "mod rules; use self::lock::B; use crate::terms::C;",
            ),
            (
                &["table", "rules"],
                "use super::{B, D, lock::B}; use crate::terms::C;",
            ),
            (&["table", "lock"], "pub struct B; use super::Head;"),
            (&["terms"], "use crate::LocalModule;"),
        ]);
        assert_eq!(nothing, [""; 0]);
    }

    #[test]
    fn what_is_above_or_beside_may_not() {
        let found = faults(&[
            (&["dlm_device"], ""),
            (&["queue"], "use crate::\n{table::B};"),
            (&["table"], "use self::{lock::B, rules::E};"),
            (&["table", "rules"], ""),
            (&["table", "id"], "fn f() { super::lock::g() }"),
            (&["table", "lock"], "use super::E;\nuse crate::queue::A;"),
            (&["terms"], "const C: u32 = crate::D + crate::queue::F;"),
        ]);
        let expected = [
            "queue.rs:2: table::B is in table, which stands beside it",
            "table/id.rs:1: table::lock::g is in table/lock, which stands beside it",
            "table/lock.rs:1: table::E is in table/rules, which stands above it",
            "table/lock.rs:2: queue::A is in queue, which stands beside it",
            "terms.rs:1: D is in dlm_device, which stands above it",
            "terms.rs:1: queue::F is in queue, which stands above it",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn strays_are_found() {
        let module = Module::new(vec![
            File::new(&["attic"], ""),
            File::new(&["queue"], ""),
            File::new(&["queue", "attic"], ""),
            File::new(&["table", "rules"], ""),
            File::new(&["table", "rules", "attic"], ""),
        ]);
        let expected = [
            "attic.rs is on no floor of doc/architecture.md",
            "queue/attic.rs is on no floor of doc/architecture.md",
            "doc/architecture.md has a room dlm_device, and there is no dlm_device.rs",
            "doc/architecture.md has a room table, and there is no table.rs",
            "doc/architecture.md has a room table/lock, and there is no table/lock.rs",
            "doc/architecture.md has a room table/id, and there is no table/id.rs",
            "doc/architecture.md has a room terms, and there is no terms.rs",
            "doc/architecture.md excuses table.rs, which is not there",
        ];
        assert_eq!(Plan::read(PLAN).strays(&module), expected);
    }
}
