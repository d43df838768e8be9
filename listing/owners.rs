// SPDX-License-Identifier: GPL-2.0

//! Who keeps a lock: which file owns it, and what that file is.
//!
//! The kernel knows who asked for a lock, and who opened a file, but not who has the file by now: a
//! child that inherited it, or who was sent it. Processes know that, and `/proc/PID/fdinfo` tells it.
//! So a file has a number, which is there too, and by which `owners`, a table of all locks, and
//! `files`, a table of all files, are joined with it.
//!
//! Each item is a line of words.

use super::line::Line;
use crate::{
    engine::{
        Item,
        LockInfo,
        State, //
    },
    kernel_edge::Listing,
    lockspace::{
        FileInfo,
        Node,
        OpenFile,
        Opened,
        Registry,
        Survey,
        Tour,
        Walk, //
    },
    terms::Mode, //
};
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::ArcBorrow, //
};

/// The locks of all lockspaces, and whose they are.
pub(crate) type Owners<D> = Tour<D, Survey>;

/// The open files of all lockspaces.
pub(crate) type Files<D> = Tour<D, Opened>;

/// Items that are shown in a line each.
pub(crate) trait Lines: Walk {
    const HEADING: &'static [u8];

    fn show_line(&self, out: &SeqFile);
}

impl<D: Node, W: Lines> Listing for Tour<D, W> {
    type Subject = Registry<D>;
    type Kind = ();

    fn open(registry: ArcBorrow<'_, Registry<D>>, (): &'static ()) -> Self {
        Tour::new(registry.into())
    }

    fn heading(&self) -> &'static [u8] {
        W::HEADING
    }

    fn rewind(&mut self) {
        Tour::rewind(self);
    }

    fn more(&mut self) -> Result<bool> {
        Tour::more(self)
    }

    fn show(&self, out: &SeqFile) {
        if let Some(walk) = self.walk() {
            walk.show_line(out);
        }
    }

    fn pass(&mut self) {
        self.move_on();
    }
}

impl Lines for Survey {
    const HEADING: &'static [u8] = b"lock file lockspace pid state granted requested name\n";

    fn show_line(&self, out: &SeqFile) {
        self.see(|sight| {
            if let Item::Lock(lock) = sight {
                list_owner(out, self.lockspace(), &lock);
            }
        });
    }
}

fn list_owner(out: &SeqFile, lockspace: &[u8], lock: &LockInfo<'_>) {
    let mut line = Line::new();
    line.hexadecimal(lock.id);
    match lock.owner {
        Some(file) => line.decimal(file),
        None => line.word("orphan"),
    }
    line.name(lockspace);
    line.decimal(lock.pid.into());
    describe_lock(&mut line, lock);
    line.write(out);
}

/// How a lock stands, and on what.
fn describe_lock(line: &mut Line, lock: &LockInfo<'_>) {
    line.word(state_word(lock.state));
    line.word(mode_word(lock.granted));
    line.word(mode_word(lock.requested));
    line.name(lock.name);
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Loose => "-",
        State::Granted => "granted",
        State::Converting => "converting",
        State::Waiting => "waiting",
    }
}

fn mode_word(mode: Option<Mode>) -> &'static str {
    match mode {
        None => "-",
        Some(Mode::Nl) => "NL",
        Some(Mode::Cr) => "CR",
        Some(Mode::Cw) => "CW",
        Some(Mode::Pr) => "PR",
        Some(Mode::Pw) => "PW",
        Some(Mode::Ex) => "EX",
    }
}

impl Lines for Opened {
    const HEADING: &'static [u8] =
        b"file lockspace granted waiting converting records pid command\n";

    fn show_line(&self, out: &SeqFile) {
        self.see(|file| list_file(out, &file));
    }
}

fn list_file(out: &SeqFile, file: &FileInfo<'_>) {
    let (holdings, opener) = (&file.holdings, &file.opener);
    let mut line = Line::new();
    line.decimal(file.number);
    line.name(file.lockspace);
    for number in [
        holdings.granted(),
        holdings.waiting,
        holdings.converting,
        file.records,
        opener.pid,
    ] {
        line.decimal(number.into());
    }
    let mut command = opener.command.split(|byte| *byte == 0);
    line.name(command.next().unwrap_or_default());
    line.write(out);
}

/// So many locks of an open file are told about one by one, at most: a shard is locked while those in it
/// are.
const LOCKS_TOLD: usize = 64;

/// What is told about an open file in `/proc/PID/fdinfo`, of its own locks only. What other files
/// tell there has lines that begin with `lock:`, so these do not.
pub(crate) fn describe(out: &SeqFile, file: &OpenFile) {
    let holdings = file.holdings();
    let mut line = Line::new();
    line.begin(b"lockspace:\t");
    line.name(file.name());
    line.write(out);
    seq_print!(
        out,
        "file:\t{}\ngranted:\t{}\nwaiting:\t{}\nconverting:\t{}\nrecords:\t{}\n",
        file.number(),
        holdings.granted(),
        holdings.waiting,
        holdings.converting,
        file.queue().len(),
    );
    let others = file.show_locks(LOCKS_TOLD, |lock| {
        line.begin(b"lkid:\t");
        line.hexadecimal(lock.id);
        describe_lock(&mut line, &lock);
        line.write(out);
    });
    seq_print!(out, "unlisted:\t{others}\n");
}
