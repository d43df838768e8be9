// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, and what in it is a complaint.

use nix::fcntl::OFlag;
use regex_lite::Regex;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
};

/// What no healthy kernel's log has, a pattern a line.
const COMPLAINTS: &str = include_str!("../../../tools/complaints.patterns");

pub struct Log {
    messages: File,
    complaints: Regex,
}

impl Log {
    /// From now on.
    pub fn open() -> io::Result<Self> {
        let patterns = COMPLAINTS.lines().filter(|line| !line.starts_with('#'));
        let pattern = patterns.collect::<Vec<_>>().join("|");
        let mut log = Log {
            messages: OpenOptions::new()
                .read(true)
                .custom_flags(OFlag::O_NONBLOCK.bits())
                .open("/dev/kmsg")?,
            complaints: Regex::new(&pattern).map_err(io::Error::other)?,
        };
        log.complaint();
        Ok(log)
    }

    /// A complaint in what was said since this was last asked: the function that it names, or else
    /// its first line.
    pub fn complaint(&mut self) -> Option<String> {
        let mut first: Option<String> = None;
        let mut function = None;
        let mut message = [0; 4096];
        loop {
            match self.messages.read(&mut message) {
                Ok(length @ 1..) => {
                    let text = String::from_utf8_lossy(&message[..length]);
                    let text = text.split_once(';').map_or(&*text, |(_, text)| text);
                    let line = text.lines().next().unwrap_or_default();
                    if self.complaints.is_match(line) {
                        first.get_or_insert(line.into());
                        function = function.or(named_function(line));
                    }
                }
                // Overwritten before it was read; what remains comes next.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                _ => return function.or(first),
            }
        }
    }
}

/// As in "WARNING: fs/dlm/lock.c:3014 at validate_unlock_args+0x291/0x320".
fn named_function(line: &str) -> Option<String> {
    let (_, at) = line.split_once(" at ")?;
    at.split_once('+').map(|(function, _)| function.into())
}
