// SPDX-License-Identifier: GPL-2.0

//! The language of lock programs: one step a line, made by the open file before the colon.
//!
//! ```text
//! a1: lock x disk EX valblk persistent     a new lock, to be called x, on resource disk
//! b1: lock y disk PR noqueue               b1 is the first file of process b
//! a1: convert x NL value=hello             hello fills the value block
//! b2: adopt z disk PR persistent
//! b1: unlock y
//! b1: cancel y
//! b1: deadlock y
//! a1: purge own                            or all, or x: what the process that asked for x left
//! a1: read                                 all that can be read; "read 2" reads two records
//! a1: poll
//! a1: close
//! a: kill
//! a: create other newexcl                  a lockspace, beside the one of the files, "oracle"
//! a: remove other forcefree
//! ```
//!
//! Modes are NL to EX, or mode=9. Flags are those of the DLM in small letters, or flags=0x80000000.
//! `nobast` and `noparam` leave out the address of the blocking callback and the parameter of the
//! completion, `nocast` and `nolksb` what may not be left out. Processes start, and files open, when
//! first named or named again after their end. A resource's name is the program's own, unless it
//! is quoted: `"disk\0"` means these bytes.

use crate::terms;
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub file: File,
    pub what: What,
}

/// An open file: of which process, and which of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct File {
    pub process: u8,
    pub number: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Lock {
        lock: String,
        name: Name,
        ask: Ask,
    },
    Adopt {
        lock: String,
        name: Name,
        ask: Ask,
    },
    Convert {
        lock: String,
        ask: Ask,
    },
    Unlock {
        lock: String,
        ask: Ask,
    },
    Cancel {
        lock: String,
        ask: Ask,
    },
    Deadlock {
        lock: String,
        ask: Ask,
    },
    Purge {
        whose: Whose,
        node: u32,
    },
    /// So many records, or all.
    Read(Option<usize>),
    Poll,
    Close,
    Kill,
    Create {
        lockspace: String,
        newexcl: bool,
    },
    Remove {
        lockspace: String,
        forcefree: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// Stands for one that no other program has.
    Own(String),
    Exactly(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    Own,
    All,
    /// Of the process that was the last to ask for this lock.
    Of(String),
}

/// What stands in a request beside the lock and the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Only in locks and conversions.
    pub mode: u8,
    pub flags: u32,
    pub value: String,
    pub omit: Omit,
}

/// Addresses that are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Omit {
    pub bast: bool,
    pub parameter: bool,
    pub cast: bool,
    pub lksb: bool,
}

impl Default for Ask {
    fn default() -> Self {
        Ask {
            mode: terms::NL,
            flags: 0,
            value: String::new(),
            omit: Omit::default(),
        }
    }
}

impl What {
    /// The lock that a step operates on or makes.
    pub fn lock(&self) -> Option<&str> {
        match self {
            What::Lock { lock, .. }
            | What::Adopt { lock, .. }
            | What::Convert { lock, .. }
            | What::Unlock { lock, .. }
            | What::Cancel { lock, .. }
            | What::Deadlock { lock, .. }
            | What::Purge {
                whose: Whose::Of(lock),
                ..
            } => Some(lock),
            _ => None,
        }
    }

    pub fn ask(&self) -> Option<&Ask> {
        match self {
            What::Lock { ask, .. }
            | What::Adopt { ask, .. }
            | What::Convert { ask, .. }
            | What::Unlock { ask, .. }
            | What::Cancel { ask, .. }
            | What::Deadlock { ask, .. } => Some(ask),
            _ => None,
        }
    }

    pub fn ask_mut(&mut self) -> Option<&mut Ask> {
        match self {
            What::Lock { ask, .. }
            | What::Adopt { ask, .. }
            | What::Convert { ask, .. }
            | What::Unlock { ask, .. }
            | What::Cancel { ask, .. }
            | What::Deadlock { ask, .. } => Some(ask),
            _ => None,
        }
    }

    pub fn command(&self) -> &'static str {
        match self {
            What::Lock { .. } => "lock",
            What::Adopt { .. } => "adopt",
            What::Convert { .. } => "convert",
            What::Unlock { .. } => "unlock",
            What::Cancel { .. } => "cancel",
            What::Deadlock { .. } => "deadlock",
            What::Purge { .. } => "purge",
            What::Read(_) => "read",
            What::Poll => "poll",
            What::Close => "close",
            What::Kill => "kill",
            What::Create { .. } => "create",
            What::Remove { .. } => "remove",
        }
    }

    /// Only looks, and changes no lock.
    pub fn looks(&self) -> bool {
        matches!(self, What::Read(_) | What::Poll)
    }
}

// Printing.

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Kill | What::Create { .. } | What::Remove { .. } => {
                write!(f, "{}: {}", process_name(self.file.process), self.what)
            }
            _ => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

fn process_name(process: u8) -> char {
    char::from(b'a' + process)
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", process_name(self.process), self.number)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = |ask: &Ask| terms::mode_name(ask.mode);
        match self {
            What::Lock { lock, name, ask } => write!(f, "lock {lock} {name} {}{ask}", mode(ask)),
            What::Adopt { lock, name, ask } => write!(f, "adopt {lock} {name} {}{ask}", mode(ask)),
            What::Convert { lock, ask } => write!(f, "convert {lock} {}{ask}", mode(ask)),
            What::Unlock { lock, ask } => write!(f, "unlock {lock}{ask}"),
            What::Cancel { lock, ask } => write!(f, "cancel {lock}{ask}"),
            What::Deadlock { lock, ask } => write!(f, "deadlock {lock}{ask}"),
            What::Purge { whose, node } => {
                match whose {
                    Whose::Own => write!(f, "purge own")?,
                    Whose::All => write!(f, "purge all")?,
                    Whose::Of(lock) => write!(f, "purge {lock}")?,
                }
                match node {
                    0 => Ok(()),
                    _ => write!(f, " node={node}"),
                }
            }
            What::Read(None) => write!(f, "read"),
            What::Read(Some(count)) => write!(f, "read {count}"),
            What::Poll => write!(f, "poll"),
            What::Close => write!(f, "close"),
            What::Kill => write!(f, "kill"),
            What::Create { lockspace, newexcl } => {
                let flag = if *newexcl { " newexcl" } else { "" };
                write!(f, "create {lockspace}{flag}")
            }
            What::Remove {
                lockspace,
                forcefree,
            } => {
                let flag = if *forcefree { " forcefree" } else { "" };
                write!(f, "remove {lockspace}{flag}")
            }
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&terms::flag_names(self.flags))?;
        if !self.value.is_empty() {
            write!(f, " value={}", self.value)?;
        }
        for (name, omitted) in [
            ("nobast", self.omit.bast),
            ("noparam", self.omit.parameter),
            ("nocast", self.omit.cast),
            ("nolksb", self.omit.lksb),
        ] {
            if omitted {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Own(name) => f.write_str(name),
            Name::Exactly(bytes) => {
                let text = bytes.escape_ascii().to_string();
                write!(
                    f,
                    "\"{}\"",
                    text.replace(' ', "\\x20").replace('#', "\\x23")
                )
            }
        }
    }
}

// Parsing.

impl std::str::FromStr for Program {
    type Err = String;

    /// Empty lines, and what is behind a #, do not count.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut program = Program::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                let step = line.parse();
                program
                    .steps
                    .push(step.map_err(|why| format!("line {}: {why}: {line}", number + 1))?);
            }
        }
        Ok(program)
    }
}

impl std::str::FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (file, what) = line.split_once(':').ok_or("no colon")?;
        let mut words = Words(what.split_whitespace());
        let file = parse_file(file.trim())?;
        let what = words.what()?;
        match words.0.next() {
            Some(word) => Err(format!("{word} is too much")),
            None => Ok(Step { file, what }),
        }
    }
}

fn parse_file(text: &str) -> Result<File, String> {
    let wrong = || format!("{text} is no file: a1, or b2, is");
    let bytes = text.as_bytes();
    let (Some(process @ b'a'..=b'z'), number) = (bytes.first(), text.get(1..).unwrap_or("")) else {
        return Err(wrong());
    };
    let number = match number {
        "" => 1,
        _ => number.parse().map_err(|_| wrong())?,
    };
    Ok(File {
        process: process - b'a',
        number,
    })
}

struct Words<'a>(std::str::SplitWhitespace<'a>);

impl Words<'_> {
    fn next(&mut self, what: &str) -> Result<String, String> {
        Ok(self.0.next().ok_or(format!("{what} is missing"))?.into())
    }

    fn what(&mut self) -> Result<What, String> {
        Ok(match &*self.next("the command")? {
            "lock" => What::Lock {
                lock: self.next("the lock")?,
                name: self.name()?,
                ask: self.ask_with_mode()?,
            },
            "adopt" => What::Adopt {
                lock: self.next("the lock")?,
                name: self.name()?,
                ask: self.ask_with_mode()?,
            },
            "convert" => What::Convert {
                lock: self.next("the lock")?,
                ask: self.ask_with_mode()?,
            },
            "unlock" => What::Unlock {
                lock: self.next("the lock")?,
                ask: self.ask()?,
            },
            "cancel" => What::Cancel {
                lock: self.next("the lock")?,
                ask: self.ask()?,
            },
            "deadlock" => What::Deadlock {
                lock: self.next("the lock")?,
                ask: self.ask()?,
            },
            "purge" => What::Purge {
                whose: match self.next("own, all, or a lock")?.as_str() {
                    "own" => Whose::Own,
                    "all" => Whose::All,
                    lock => Whose::Of(lock.into()),
                },
                node: match self.0.next() {
                    None => 0,
                    Some(word) => word
                        .strip_prefix("node=")
                        .and_then(|node| node.parse().ok())
                        .ok_or(format!("{word} is no node=1"))?,
                },
            },
            "read" => What::Read(match self.0.next() {
                None => None,
                Some(word) => Some(word.parse().map_err(|_| format!("{word} is no number"))?),
            }),
            "poll" => What::Poll,
            "close" => What::Close,
            "kill" => What::Kill,
            "create" => What::Create {
                lockspace: self.next("the lockspace")?,
                newexcl: self.word("newexcl")?,
            },
            "remove" => What::Remove {
                lockspace: self.next("the lockspace")?,
                forcefree: self.word("forcefree")?,
            },
            command => return Err(format!("there is no command {command}")),
        })
    }

    /// Whether the word is there; another must not be.
    fn word(&mut self, word: &str) -> Result<bool, String> {
        match self.0.next() {
            None => Ok(false),
            Some(next) if next == word => Ok(true),
            Some(next) => Err(format!("{next} is no {word}")),
        }
    }

    fn name(&mut self) -> Result<Name, String> {
        let word = self.next("the resource")?;
        let quoted = word
            .strip_prefix('"')
            .and_then(|word| word.strip_suffix('"'));
        match quoted {
            Some(text) => Ok(Name::Exactly(unescape(text)?)),
            None => Ok(Name::Own(word)),
        }
    }

    fn ask_with_mode(&mut self) -> Result<Ask, String> {
        let word = self.next("the mode")?;
        let known = terms::MODES.iter().position(|mode| *mode == word);
        let number = || word.strip_prefix("mode=")?.parse().ok();
        let mode = known.map(|mode| mode as u8).or_else(number);
        Ok(Ask {
            mode: mode.ok_or(format!("{word} is no mode"))?,
            ..self.ask()?
        })
    }

    fn ask(&mut self) -> Result<Ask, String> {
        let mut ask = Ask::default();
        for word in self.0.by_ref() {
            if let Some((_, flag)) = terms::FLAGS.iter().find(|(name, _)| *name == word) {
                ask.flags |= flag;
            } else if let Some(number) = word.strip_prefix("flags=0x") {
                let flags = u32::from_str_radix(number, 16);
                ask.flags |= flags.map_err(|_| format!("{word} is no number"))?;
            } else if let Some(value) = word.strip_prefix("value=") {
                ask.value = value.into();
            } else {
                *match word {
                    "nobast" => &mut ask.omit.bast,
                    "noparam" => &mut ask.omit.parameter,
                    "nocast" => &mut ask.omit.cast,
                    "nolksb" => &mut ask.omit.lksb,
                    _ => return Err(format!("{word} is no flag")),
                } = true;
            }
        }
        Ok(ask)
    }
}

/// What `escape_ascii` makes, and \0.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'0') => 0,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'x') => {
                    let digits: String = rest.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16)
                        .map_err(|_| format!("\\x{digits} is no byte"))?
                }
                Some(byte @ (b'\\' | b'"' | b'\'')) => byte,
                _ => return Err(format!("{text} has a \\ that means nothing")),
            },
            byte => byte,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_was_parsed() {
        let text = "\
a1: lock x disk EX valblk persistent value=hello nobast
b2: adopt y \"a\\x00b\\n\\x20\\x23\\\\\\\"\" mode=9 flags=0x80000000 noparam
a1: convert x PR quecvt altcw nocast nolksb
c1: unlock y forceunlock value=bye
c1: cancel y
a1: deadlock x cancel
a1: purge own
a1: purge all node=1
a1: purge x
a1: read
a1: read 2
a1: poll
a1: close
a: kill
a: create other newexcl
a: create other
a: remove other forcefree
a: remove other
";
        let program: Program = text.parse().unwrap();
        assert_eq!(program.to_string(), text);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "lock x disk EX",
            "1: poll",
            "a1: lock x disk",
            "a1: lock x disk XX",
            "a1: lock x disk EX loudly",
            "a1: read two",
            "a1: poll now",
            "a1: purge",
        ] {
            assert!(line.parse::<Step>().is_err(), "{line}");
        }
    }
}
