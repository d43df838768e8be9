// SPDX-License-Identifier: GPL-2.0

//! Plays programs, in the guest.

use crate::{
    abi::{self, Addresses, Command, LockRequest, Record},
    cast::{Answer, SharedFile},
    differences::{self, Sent},
    known::{invalid_conversion, Asker, Known},
    language::{Ask, File, Name, Program, Step, What, Whose},
    stage::{Stage, LOCKSPACE},
    terms::*,
    transcript::{addresses, step_of_record, value, Heard, Outcome, Transcript},
};
use std::{collections::BTreeMap, io};

/// Numbers from here on are for steps that the program does not have.
const UNSAID: usize = 1 << 20;

/// Flags of a lockspace.
const NEWEXCL: u32 = 8;
const FORCEFREE: u32 = 2;

/// No device has it.
const NO_MINOR: u32 = 0xf_ffff;

/// Whether programs are played as they are, or kept off the deliberate differences.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Care {
    AsItIs,
    Avoid,
}

/// Plays a program from its beginning to its end, at which nothing may be left of it.
pub fn play(stage: &mut Stage, program: &Program, number: u64, care: Care) -> io::Result<Played> {
    let mut play = Play {
        stage,
        known: Known::default(),
        lockspaces: BTreeMap::new(),
        files: Vec::new(),
        asked_for: BTreeMap::new(),
        number,
        care,
    };
    let mut transcript = Transcript::default();
    for (at, step) in program.steps.iter().enumerate() {
        let outcome = play.step(step, at + 1);
        transcript.outcomes.push(
            outcome
                .map_err(|error| io::Error::other(format!("step {}, {step}: {error}", at + 1)))?,
        );
    }
    transcript.outcomes.push(play.end()?);
    transcript.count(&mut play.stage.sayings);
    if care == Care::Avoid {
        transcript.put_in_order(&play.known);
    }
    Ok(Played {
        transcript,
        known: play.known,
    })
}

/// What came of a program.
pub struct Played {
    transcript: Transcript,
    known: Known,
}

impl Played {
    /// A line for each step, and one for the end.
    pub fn lines(&self) -> Vec<String> {
        self.transcript.lines(&self.known)
    }

    /// A number for what the lines say.
    pub fn hash(&self) -> u64 {
        self.transcript.hash(&self.known)
    }
}

/// A program that is being played.
struct Play<'a> {
    stage: &'a mut Stage,
    known: Known,
    /// The lockspaces that it has made, and their minors.
    lockspaces: BTreeMap<String, u32>,
    /// By the numbers that they have in what is known; those that are open.
    files: Vec<Option<SharedFile>>,
    /// For which lock each step asked.
    asked_for: BTreeMap<usize, usize>,
    number: u64,
    care: Care,
}

impl Play<'_> {
    fn step(&mut self, step: &Step, number: usize) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        if step.what.lock().is_some_and(|label| {
            let makes = matches!(step.what, What::Lock { .. } | What::Adopt { .. });
            !makes && self.known.lock(label).is_none()
        }) {
            outcome.said.push("there is no such lock".into());
            return Ok(outcome);
        }
        if let What::Create { .. } | What::Remove { .. } = step.what {
            self.lockspace(&step.what, &mut outcome);
            return Ok(outcome);
        }
        let file = self.open(step.file)?;
        let sent = match self.care {
            Care::Avoid => {
                if let Some(file) = differences::read_first(step, &self.known) {
                    self.read(file, None, true, &mut outcome)?;
                }
                differences::avoid(step, &self.known)
            }
            Care::AsItIs => Sent::as_it_is(&step.what),
        };
        outcome.rows = sent.rows;
        let Some(what) = sent.what else {
            outcome.said.push("not sent".into());
            return Ok(outcome);
        };
        match &what {
            What::Read(limit) => self.read(file, *limit, false, &mut outcome)?,
            What::Poll => {
                let ready = self.shared(file)?.poll()?;
                outcome.said.push(match ready {
                    0 => "nothing to read".into(),
                    1 => "something to read".into(),
                    _ => format!("ready for {ready:#x}").into(),
                });
            }
            What::Close | What::Kill | What::Purge { .. } => {
                self.disturb(step.file, &what, &mut outcome)?
            }
            _ => {
                let addresses = self.addresses(&what, number, sent.same_addresses);
                self.ask(step.file, &what, addresses, number, &mut outcome)?;
            }
        }
        Ok(outcome)
    }

    /// Everything goes that the program has made, and nothing may be left of it.
    fn end(&mut self) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        self.read_all(&mut outcome)?;
        for open in self.known.open_files() {
            let file = self.known.files[open].file;
            self.disturb(file, &What::Close, &mut outcome)?;
            self.read_all(&mut outcome)?;
        }
        for minor in self.lockspaces.values() {
            self.stage.remove_lockspace(*minor, FORCEFREE);
        }
        self.stage.sweep()?;
        for resource in &self.known.resources {
            if let Some(left) = self.stage.left_on(&resource.bytes)? {
                let name = resource.bytes.escape_ascii().to_string();
                let name = name.split(' ').next().unwrap_or_default();
                let left = format!("something is left on {name}: {left}");
                outcome.said.push(left.into());
            }
        }
        if let Some(complaint) = self.stage.log.complaint() {
            outcome
                .said
                .push(format!("the kernel complains of {complaint}").into());
        }
        Ok(outcome)
    }

    // Lockspaces.

    fn lockspace(&mut self, what: &What, outcome: &mut Outcome) {
        let minor_of = |lockspace: &String| match &**lockspace {
            LOCKSPACE => Some(self.stage.minor),
            _ => self.lockspaces.get(lockspace).copied(),
        };
        match what {
            What::Create { lockspace, newexcl } => {
                let flags = if *newexcl { NEWEXCL } else { 0 };
                let known = minor_of(lockspace);
                let answer = self.stage.create_lockspace(lockspace, flags);
                let success = if known == u32::try_from(answer).ok() {
                    "the same"
                } else {
                    "a new one"
                };
                outcome.answer(what, answer_text(answer, success));
                if let (None, Ok(minor)) = (known, u32::try_from(answer)) {
                    self.lockspaces.insert(lockspace.clone(), minor);
                }
            }
            What::Remove {
                lockspace,
                forcefree,
            } => {
                let flags = if *forcefree { FORCEFREE } else { 0 };
                let minor = minor_of(lockspace).unwrap_or(NO_MINOR);
                let answer = self.stage.remove_lockspace(minor, flags);
                outcome.answer(what, answer_text(answer, "ok"));
            }
            _ => {}
        }
    }

    // Processes and files.

    fn open(&mut self, file: File) -> io::Result<usize> {
        if let Some(open) = self.known.open_file(file) {
            return Ok(open);
        }
        let shared = self.stage.process(file.process)?.open()?;
        self.files.push(Some(shared));
        Ok(self.known.opened(file))
    }

    fn write(&mut self, file: File, bytes: &[u8]) -> io::Result<Answer> {
        let open = self.open(file)?;
        match &self.files[open] {
            Some(shared) => self.stage.process(file.process)?.write(shared, bytes),
            None => Err(io::Error::other("the file is closed")),
        }
    }

    fn shared(&mut self, open: usize) -> io::Result<&mut SharedFile> {
        let file = self.files[open].as_mut();
        file.ok_or(io::Error::other("the file is closed"))
    }

    /// What changes many locks at once: closes, kills, purges.
    fn disturb(&mut self, file: File, what: &What, outcome: &mut Outcome) -> io::Result<()> {
        let open = self.open(file)?;
        let going = match what {
            What::Close => vec![open],
            What::Kill => self.known.files_of(file.process),
            _ => Vec::new(),
        };
        let careful = self.care == Care::Avoid;
        let unordered = careful && differences::order_is_open(&self.known);
        if unordered {
            self.read_all(outcome)?;
        }
        for going in &going {
            if careful {
                self.make_ready_to_go(*going, outcome)?;
            }
        }
        if unordered {
            self.read_all(outcome)?;
        }
        let shared: Vec<_> = going
            .iter()
            .filter_map(|open| self.files[*open].take())
            .collect();
        match what {
            What::Purge { whose, node } => self.purge(file, whose, *node, outcome)?,
            What::Close => {
                for shared in shared {
                    self.stage.process(file.process)?.close(shared)?;
                }
            }
            _ => {
                drop(shared);
                self.stage.kill(file.process)?;
            }
        }
        for going in going {
            self.known.closed(going);
        }
        self.known.stir();
        if unordered {
            let before = outcome.heard.len();
            self.read_all(outcome)?;
            differences::order_by_resource(&mut outcome.heard[before..], &self.known);
        }
        Ok(())
    }

    fn make_ready_to_go(&mut self, open: usize, outcome: &mut Outcome) -> io::Result<()> {
        if !differences::reads_before_close(&self.known, open) {
            return Ok(());
        }
        self.read(open, None, true, outcome)?;
        for lock in differences::haunting(&self.known, open) {
            outcome.rows.push(differences::Row::WaitingOrphan);
            outcome.said.push(format!("cancel {lock}").into());
            let cancel = What::Cancel {
                lock,
                ask: Ask::default(),
            };
            let file = self.known.files[open].file;
            let number = UNSAID + outcome.said.len();
            self.ask(file, &cancel, addresses(number), number, outcome)?;
        }
        Ok(())
    }

    fn purge(
        &mut self,
        file: File,
        whose: &Whose,
        node: u32,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        let own = self.stage.process(file.process)?.pid();
        let pid = match whose {
            Whose::Own => own,
            Whose::All => 0,
            Whose::Of(label) => self.known.lock(label).map_or(0, |lock| lock.pid),
        };
        let answer = self.write(file, &abi::purge(node, pid))?;
        outcome.said.push(answer_text(answer, "ok"));
        if answer < 0 {
            return Ok(());
        }
        if pid == own {
            let open = self.open(file)?;
            self.known.purged_own(open);
        } else {
            self.known.purged_orphans((pid != 0).then_some(pid));
        }
        Ok(())
    }

    // Requests.

    fn addresses(&self, what: &What, number: usize, same: bool) -> Addresses {
        if same {
            if let Some(lock) = what.lock().and_then(|label| self.known.lock(label)) {
                return lock.addresses;
            }
        }
        let mut given = addresses(number);
        if let Some(Ask { omit, .. }) = what.ask() {
            for (omitted, address) in [
                (omit.bast, &mut given.bast),
                (omit.parameter, &mut given.cast_parameter),
                (omit.cast, &mut given.cast),
                (omit.lksb, &mut given.lksb),
            ] {
                if omitted {
                    *address = 0;
                }
            }
        }
        given
    }

    /// Asks for what `what` says, and takes down the answer.
    fn ask(
        &mut self,
        file: File,
        what: &What,
        addresses: Addresses,
        number: usize,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        let open = self.open(file)?;
        let Some(ask) = what.ask() else {
            return Ok(());
        };
        let resource = match what {
            What::Lock { name, .. } | What::Adopt { name, .. } => Some(self.resource(name, what)),
            _ => None,
        };
        let lock = what.lock().and_then(|label| self.known.index(label));
        let request = LockRequest {
            mode: ask.mode,
            flags: ask.flags,
            id: lock.map_or(0, |lock| self.known.locks[lock].id),
            addresses,
            value: value(&ask.value),
            name: resource.map_or(&[], |resource| &*self.known.resources[resource].bytes),
        };
        let answer = self.write(file, &encode(what, request))?;
        let asker = Asker {
            file: open,
            pid: self.stage.process(file.process)?.pid(),
            addresses,
        };
        self.known.stir();
        outcome.answer(what, answer_text(answer, success(what)));
        let concerned = match (what, resource, lock) {
            (What::Lock { lock, .. }, Some(resource), _) if answer > 0 => {
                let id = answer as u32;
                Some(self.known.requested(lock, id, resource, asker, ask))
            }
            (What::Adopt { lock, .. }, ..) if answer > 0 => {
                let adopted = self.known.adopted(lock, answer as u32, asker, ask);
                let label = adopted.map_or("an unknown lock", |lock| &self.known.locks[lock].label);
                outcome.said.push(label.to_string().into());
                adopted
            }
            (What::Lock { .. } | What::Adopt { .. }, ..) => None,
            (.., lock) => {
                if let Some(lock) = lock {
                    self.answered(what, ask, lock, answer, asker);
                }
                lock
            }
        };
        self.asked_for.extend(concerned.map(|lock| (number, lock)));
        Ok(())
    }

    fn resource(&mut self, name: &Name, what: &What) -> usize {
        let resource = self.known.resource(name, self.number);
        if self.care == Care::Avoid
            && matches!(what, What::Lock { .. })
            && differences::value_outlives(&self.known, resource)
        {
            return self.known.renew_resource(name, self.number);
        }
        resource
    }

    /// An operation on a lock was accepted, or refused.
    fn answered(&mut self, what: &What, ask: &Ask, lock: usize, answer: Answer, asker: Asker) {
        const EBUSY: Answer = -16;
        let before = self.known.locks[lock].addresses;
        let unlocks = Addresses {
            cast_parameter: match asker.addresses.cast_parameter {
                0 => before.cast_parameter,
                parameter => parameter,
            },
            lksb: asker.addresses.lksb,
            ..before
        };
        match (what, answer) {
            (What::Convert { .. }, 0 | EBUSY) if !invalid_conversion(ask) => {
                self.known.converted(lock, asker, ask, answer == EBUSY)
            }
            (What::Unlock { .. }, 0) => self.known.unlocked(lock, ask.flags, unlocks),
            (What::Cancel { .. }, 0) => self.known.cancelled(lock, Some(unlocks)),
            (What::Deadlock { .. }, 0) => self.known.cancelled(lock, None),
            _ => {}
        }
    }

    // Reading.

    fn read_all(&mut self, outcome: &mut Outcome) -> io::Result<()> {
        for open in self.known.open_files() {
            self.read(open, None, true, outcome)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        open: usize,
        limit: Option<usize>,
        elsewhere: bool,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        if self.known.files[open].quiet && elsewhere {
            return Ok(());
        }
        let (answer, records) = self.shared(open)?.read(limit);
        let count = records.len();
        for bytes in records {
            let record = Record::decode(&bytes);
            let heard = self.heard(open, elsewhere, record);
            outcome.heard.push(heard);
        }
        if answer == -EAGAIN {
            self.known.files[open].quiet = true;
            if !elsewhere && limit.map_or(count == 0, |limit| count < limit) {
                outcome.said.push("nothing".into());
            }
        } else if answer < 0 {
            outcome.said.push(error_name(answer));
        }
        Ok(())
    }

    fn heard(&mut self, file: usize, elsewhere: bool, record: Record) -> Heard {
        let by_address = step_of_record(&record).and_then(|step| self.asked_for.get(&step));
        let by_id = || {
            self.known
                .locks
                .iter()
                .rposition(|lock| lock.id == record.id)
        };
        let lock = by_address.copied().or_else(by_id);
        let mut status = record.status;
        if record.bast_mode == 0 {
            if let Some(lock) = lock {
                self.known.heard(lock, record.status, record.flags);
            }
        } else if self.care == Care::Avoid {
            let lock = lock.map(|lock| &self.known.locks[lock]);
            status = differences::blocking_status(&record, lock, self.stage.ours);
        }
        Heard {
            file,
            elsewhere,
            lock,
            record,
            status,
        }
    }
}

fn answer_text(answer: Answer, success: &'static str) -> Text {
    match answer {
        0.. => success.into(),
        _ => error_name(answer),
    }
}

/// What it is to succeed.
fn success(what: &What) -> &'static str {
    match what {
        What::Lock { .. } => "lock",
        What::Adopt { .. } => "adopted",
        _ => "ok",
    }
}

fn encode(what: &What, mut request: LockRequest<'_>) -> Vec<u8> {
    match what {
        What::Unlock { .. } => abi::unlock(Command::Unlock, &request),
        What::Deadlock { .. } => abi::unlock(Command::Deadlock, &request),
        What::Cancel { .. } => {
            request.flags |= CANCEL;
            abi::unlock(Command::Unlock, &request)
        }
        What::Convert { .. } => {
            request.flags |= CONVERT;
            abi::lock(&request)
        }
        What::Adopt { .. } => {
            request.flags |= ORPHAN;
            abi::lock(&request)
        }
        _ => abi::lock(&request),
    }
}
