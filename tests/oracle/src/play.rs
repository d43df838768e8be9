// SPDX-License-Identifier: GPL-2.0

//! Plays programs, in the guest.

use crate::{
    abi::{self, Addresses, Command, LockRequest, Record},
    cast::{Answer, Process, SharedFile},
    differences::{self, Sent},
    known::{invalid_conversion, Known},
    language::{Ask, File, Name, Program, Step, What, Whose},
    terms::*,
    transcript::{addresses, step_of_record, value, Heard, Outcome, Sayings, Transcript},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
};

const LOCKSPACE: &str = "oracle";
const DEVICE: &str = "/dev/dlm_oracle";

/// Numbers from here on are for steps that the program does not have.
const UNSAID: usize = 1 << 20;

/// What begins a line of the kernel's log that no healthy kernel prints.
const COMPLAINTS: [&str; 6] = ["WARNING: ", "BUG: ", "Oops", "INFO: ", "Call Trace", "general protection"];

/// Whether programs are played as they are, or kept off the deliberate differences.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Care {
    AsItIs,
    Avoid,
}

/// Where programs are played: a lockspace, and processes that stay from program to program.
pub struct Stage {
    ours: bool,
    processes: BTreeMap<u8, Process>,
    control: fs::File,
    minor: u32,
    /// A file of the stage's own, to see that nothing is left.
    broom: SharedFile,
    log: fs::File,
    /// Of all programs.
    pub sayings: Sayings,
}

impl Stage {
    pub fn build() -> io::Result<Stage> {
        let mut control = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/dlm-control")?;
        let minor = control.write(&abi::create_lockspace(LOCKSPACE))? as u32;
        let broom = SharedFile::own(DEVICE)?;
        let log = fs::OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open("/dev/kmsg")?;
        let mut stage = Stage {
            ours: fs::exists("/sys/module/dlm_device")?,
            processes: BTreeMap::new(),
            control,
            minor,
            broom,
            log,
            sayings: Sayings::new(),
        };
        stage.complaint();
        Ok(stage)
    }

    /// Removes the lockspace, which must be empty; what was said in all that time.
    pub fn strike(mut self) -> io::Result<Sayings> {
        for process in self.processes.into_values() {
            process.kill()?;
        }
        drop(self.broom);
        let removed = self.control.write(&abi::remove_lockspace(self.minor));
        removed.map_err(|error| io::Error::other(format!("a lock is left at the end: {error}")))?;
        Ok(self.sayings)
    }

    /// Plays a program from its beginning to its end, at which nothing may be left of it.
    pub fn play(&mut self, program: &Program, number: u64, care: Care) -> io::Result<Played> {
        let mut play = Play {
            stage: self,
            known: Known::default(),
            files: Vec::new(),
            asked_for: BTreeMap::new(),
            number,
            care,
        };
        let mut transcript = Transcript::default();
        for (at, step) in program.steps.iter().enumerate() {
            let outcome = play.step(step, at + 1);
            transcript.outcomes.push(outcome.map_err(|error| {
                io::Error::other(format!("step {}, {step}: {error}", at + 1))
            })?);
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

    /// The first complaint in what the kernel has said since this was last asked.
    fn complaint(&mut self) -> Option<String> {
        let mut first = None;
        let mut message = [0; 4096];
        loop {
            match self.log.read(&mut message) {
                Ok(length @ 1..) => {
                    let text = String::from_utf8_lossy(&message[..length]);
                    let text = text.split_once(';').map_or(&*text, |(_, text)| text);
                    if COMPLAINTS.iter().any(|complaint| text.contains(complaint)) {
                        first.get_or_insert_with(|| complaint(text));
                    }
                }
                // Overwritten before it was read; what remains comes next.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                _ => return first,
            }
        }
    }
}

/// A complaint without what is not the same every time.
fn complaint(text: &str) -> String {
    let function = text.split_once(" at ").and_then(|(_, at)| at.split_once('+'));
    let first = text.lines().next().unwrap_or_default();
    function.map_or(first, |(function, _)| function).to_string()
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

fn succeed(answer: Answer) -> io::Result<()> {
    match answer {
        0.. => Ok(()),
        _ => Err(io::Error::from_raw_os_error(-answer)),
    }
}

/// A program that is being played.
struct Play<'a> {
    stage: &'a mut Stage,
    known: Known,
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
        succeed(self.stage.broom.write(&abi::purge(0, 0)))?;
        for resource in 0..self.known.resources.len() {
            if let Some(left) = self.left_on(resource)? {
                let name = self.known.resources[resource].bytes.escape_ascii().to_string();
                let name = name.split(' ').next().unwrap_or("").to_string();
                outcome.said.push(format!("something is left on {name}: {left}").into());
            }
        }
        if let Some(complaint) = self.stage.complaint() {
            outcome.said.push(format!("the kernel complains of {complaint}").into());
        }
        Ok(outcome)
    }

    /// What is in the way of an exclusive lock.
    fn left_on(&mut self, resource: usize) -> io::Result<Option<Text>> {
        let broom = &mut self.stage.broom;
        let user = addresses(0);
        let id = broom.write(&abi::lock(&LockRequest {
                mode: EX,
                flags: NOQUEUE,
                addresses: user,
                name: &self.known.resources[resource].bytes,
                ..LockRequest::default()
        }));
        if id <= 0 {
            return Ok(Some(error_name(id)));
        }
        let (_, records) = broom.read(None);
        let status = records.first().map(|bytes| Record::decode(bytes).status);
        if status != Some(0) {
            return Ok(Some(status.map_or("nothing".into(), error_name)));
        }
        let request = LockRequest {
            id: id as u32,
            addresses: user,
            ..LockRequest::default()
        };
        succeed(broom.write(&abi::unlock(Command::Unlock, &request)))?;
        broom.read(None);
        Ok(None)
    }

    // Processes and files.

    fn process(&self, file: File) -> &Process {
        &self.stage.processes[&file.process]
    }

    fn open(&mut self, file: File) -> io::Result<usize> {
        if let Some(open) = self.known.open_file(file) {
            return Ok(open);
        }
        let processes = &mut self.stage.processes;
        if let std::collections::btree_map::Entry::Vacant(vacant) = processes.entry(file.process) {
            vacant.insert(Process::start(DEVICE)?);
        }
        let shared = self.process(file).open()?;
        self.files.push(Some(shared));
        Ok(self.known.opened(file))
    }

    fn write(&mut self, file: File, bytes: &[u8]) -> io::Result<Answer> {
        let open = self.open(file)?;
        match &self.files[open] {
            Some(shared) => self.process(file).write(shared, bytes),
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
        let shared: Vec<_> = going.iter().filter_map(|open| self.files[*open].take()).collect();
        match what {
            What::Purge { whose, node } => self.purge(file, whose, *node, outcome)?,
            What::Close => {
                for shared in shared {
                    self.process(file).close(shared)?;
                }
            }
            _ => {
                drop(shared);
                if let Some(process) = self.stage.processes.remove(&file.process) {
                    process.kill()?;
                }
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

    fn purge(&mut self, file: File, whose: &Whose, node: u32, outcome: &mut Outcome) -> io::Result<()> {
        let own = self.process(file).pid();
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

    fn ask(
        &mut self,
        file: File,
        what: &What,
        given: Addresses,
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
            addresses: given,
            value: value(&ask.value),
            name: resource.map_or(&[], |resource| &*self.known.resources[resource].bytes),
        };
        let bytes = encode(what, request);
        let answer = self.write(file, &bytes)?;
        let pid = self.process(file).pid();
        self.known.stir();
        match (what, lock) {
            (What::Lock { lock, .. }, _) => {
                outcome.answer(what, answer_text(answer, "lock"));
                if let (id @ 1.., Some(resource)) = (answer, resource) {
                    let made = self.known.requested(lock, id as u32, resource, open, pid, ask, given);
                    self.asked_for.insert(number, made);
                }
            }
            (What::Adopt { lock, .. }, _) => {
                let adopted = match answer {
                    1.. => self.known.adopted(lock, answer as u32, open, pid, ask, given),
                    _ => None,
                };
                outcome.answer(what, answer_text(answer, "adopted"));
                if let Some(adopted) = adopted {
                    self.asked_for.insert(number, adopted);
                    outcome.said.push(self.known.locks[adopted].label.clone().into());
                }
            }
            (_, None) => outcome.answer(what, answer_text(answer, "ok")),
            (_, Some(lock)) => {
                outcome.answer(what, answer_text(answer, "ok"));
                self.asked_for.insert(number, lock);
                self.answered(what, ask, lock, answer, pid, given);
            }
        }
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
    fn answered(
        &mut self,
        what: &What,
        ask: &Ask,
        lock: usize,
        answer: Answer,
        pid: u32,
        given: Addresses,
    ) {
        const EBUSY: Answer = -16;
        let before = self.known.locks[lock].addresses;
        let unlocks = Addresses {
            cast_parameter: match given.cast_parameter {
                0 => before.cast_parameter,
                parameter => parameter,
            },
            lksb: given.lksb,
            ..before
        };
        match (what, answer) {
            (What::Convert { .. }, 0 | EBUSY) if !invalid_conversion(ask) => {
                self.known.converted(lock, pid, ask, given, answer == EBUSY)
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
        let by_id = || self.known.locks.iter().rposition(|lock| lock.id == record.id);
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
