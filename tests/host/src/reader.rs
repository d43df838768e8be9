// SPDX-License-Identifier: GPL-2.0

//! The records of one file, beside a plain queue of what they should be: each copied in full when
//! it happens, and compared when it is read.

use crate::{
    callbacks::records::{
        Entry,
        Records, //
    },
    engine::{
        Completion,
        LockId,
        Occasion,
        Ticket, //
    },
    terms::{
        Mode,
        Value, //
    },
    wire::{
        layout::Given,
        record_length,
        Change,
        News,
        Record,
        User,
        Width, //
    },
};
use kernel::prelude::*;
use std::collections::{
    HashMap,
    VecDeque, //
};

/// What a program gives with a request.
pub(crate) struct Gift {
    given: Given,
    finishes: bool,
}

impl Gift {
    /// With a LOCK request: numbers of its own from `n` on.
    pub(crate) fn with_lock(n: u64) -> Self {
        Gift {
            given: Given {
                xid: n + 1,
                timeout: n + 2,
                castparam: n + 3,
                castaddr: n + 4,
                bastparam: n + 5,
                bastaddr: n + 6,
                lksb: n + 7,
            },
            finishes: false,
        }
    }

    /// With an unlock or a cancel; without a parameter that is to be new if that is 0.
    pub(crate) fn with_end(castparam: u64, n: u64) -> Self {
        let Gift { given, .. } = Gift::with_lock(n);
        Gift {
            given: Given { castparam, ..given },
            finishes: true,
        }
    }

    pub(crate) fn change(&self) -> Change<'_> {
        if self.finishes {
            Change::Finish(&self.given)
        } else {
            Change::Replace(&self.given)
        }
    }
}

/// What is known of a lock.
struct Life {
    number: u32,
    user: User,
    pending: bool,
}

/// A record as it should be read.
struct Note {
    lock: u32,
    id: LockId,
    user: User,
    /// But for the value block.
    news: News<'static>,
    value: Option<Value>,
    /// The program has replaced its side since, by something that was no operation. Operations
    /// that begin after that do not show.
    settled: bool,
}

impl Note {
    /// An operation has begun on the lock, which has not been told of this yet.
    fn overtake(&mut self) {
        if let News::Blocking { pending, .. } = &mut self.news {
            *pending |= !self.settled;
        }
    }

    fn record(&self) -> Record<'_> {
        let mut news = self.news;
        if let News::Completion { value, .. } = &mut news {
            *value = self.value.as_ref();
        }
        Record {
            id: self.id,
            user: &self.user,
            news,
        }
    }

    /// How long it is when it is read.
    fn length(&self) -> usize {
        record_length(Width::Bits64, self.value.is_some())
    }
}

pub(crate) struct Reader {
    records: Records,
    lives: HashMap<Ticket, Life>,
    untold: VecDeque<Note>,
    /// Being read.
    taken: Vec<(Entry, Note)>,
    /// Locks so far.
    locks: u32,
}

/// What is to be read of a completion, and its value block.
fn news_of(completion: &Completion<'_>) -> (News<'static>, Option<Value>) {
    let news = News::Completion {
        status: completion.status,
        flags: completion.flags,
        value: None,
    };
    (news, completion.value.copied())
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            records: Records::new(),
            lives: HashMap::new(),
            untold: VecDeque::new(),
            taken: Vec::new(),
            locks: 0,
        }
    }
}

impl Reader {
    // What locks have to tell.

    pub(crate) fn open(
        &mut self,
        change: Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket> {
        let before = self.records.used();
        let opened = self.records.open(change, occasion, value);
        let ticket = opened.inspect_err(|_| {
            assert_eq!(self.records.used(), before);
        })?;
        let pending = occasion == Occasion::Operation { waits: true };
        self.live(ticket, change, pending);
        Ok(ticket)
    }

    fn live(&mut self, ticket: Ticket, change: Change<'_>, pending: bool) {
        self.locks += 1;
        let life = Life {
            number: self.locks,
            user: change.apply(User::default()),
            pending,
        };
        assert!(self.lives.insert(ticket, life).is_none());
    }

    pub(crate) fn change(
        &mut self,
        ticket: Ticket,
        change: Change<'_>,
        occasion: Occasion,
        value: bool,
    ) -> Result<Ticket> {
        let before = self.records.used();
        let changed = self.records.change(ticket, change, occasion, value);
        let current = changed.inspect_err(|_| {
            assert_eq!(self.records.used(), before);
        })?;
        self.renew(ticket, current, change, occasion);
        Ok(current)
    }

    fn renew(&mut self, ticket: Ticket, current: Ticket, change: Change<'_>, occasion: Occasion) {
        let mut life = self.lives.remove(&ticket).unwrap();
        life.user = change.apply(life.user);
        for note in self.notes().filter(|note| note.lock == life.number) {
            match occasion {
                Occasion::Operation { .. } => note.overtake(),
                Occasion::UserSideOnly => note.settled = true,
            }
        }
        life.pending |= occasion != Occasion::UserSideOnly;
        assert!(self.lives.insert(current, life).is_none());
    }

    fn end(&mut self, ticket: Ticket, last: bool) {
        if last {
            self.lives.remove(&ticket);
        } else if let Some(life) = self.lives.get_mut(&ticket) {
            life.pending = false;
        }
    }

    /// Opens and completes in one; it must come to the same.
    pub(crate) fn answer(
        &mut self,
        change: Change<'_>,
        completion: Completion<'_>,
    ) -> Result<Ticket> {
        let before = self.records.used();
        let news = news_of(&completion);
        let (id, last, silent) = (completion.id, completion.last, completion.silent);
        let answered = self.records.answer(change, completion);
        let ticket = answered.inspect_err(|_| assert_eq!(self.records.used(), before))?;
        self.live(ticket, change, false);
        if !silent {
            self.note(ticket, id, news);
        }
        if last {
            self.lives.remove(&ticket);
        }
        Ok(ticket)
    }

    /// Changes and completes in one; it must come to the same.
    pub(crate) fn conclude(
        &mut self,
        ticket: Ticket,
        change: Change<'_>,
        completion: Completion<'_>,
    ) -> Result<Ticket> {
        let before = self.records.used();
        let news = news_of(&completion);
        let (id, last, silent) = (completion.id, completion.last, completion.silent);
        let concluded = self.records.conclude(ticket, change, completion);
        let current = concluded.inspect_err(|_| assert_eq!(self.records.used(), before))?;
        if silent {
            self.renew(ticket, current, change, Occasion::UserSideOnly);
        } else {
            let waits = false;
            self.renew(ticket, current, change, Occasion::Operation { waits });
            self.note(current, id, news);
        }
        self.end(current, last);
        Ok(current)
    }

    pub(crate) fn complete(&mut self, ticket: Ticket, completion: Completion<'_>) {
        self.note(ticket, completion.id, news_of(&completion));
        self.end(ticket, completion.last);
        self.records.complete(ticket, completion);
    }

    pub(crate) fn acknowledge(&mut self, ticket: Ticket, id: LockId) {
        self.note(ticket, id, (News::Acknowledgement, None));
        self.records.acknowledge(ticket, id);
    }

    pub(crate) fn block(&mut self, ticket: Ticket, id: LockId, mode: Mode) {
        let pending = self.lives[&ticket].pending;
        self.note(ticket, id, (News::Blocking { mode, pending }, None));
        self.records.block(ticket, id, mode);
    }

    pub(crate) fn close(&mut self, ticket: Ticket) {
        self.lives.remove(&ticket).unwrap();
        self.records.close(ticket);
    }

    fn note(&mut self, ticket: Ticket, id: LockId, news: (News<'static>, Option<Value>)) {
        let life = &self.lives[&ticket];
        let (news, value) = news;
        self.untold.push_back(Note {
            lock: life.number,
            id,
            user: life.user,
            news,
            value,
            settled: false,
        });
    }

    /// All that has not reached the program.
    fn notes(&mut self) -> impl Iterator<Item = &mut Note> {
        let taken = self.taken.iter_mut().map(|(_, note)| note);
        self.untold.iter_mut().chain(taken)
    }

    // What the program reads.

    /// Takes the first record out, and compares it; it reaches the program `at_once`, or is being
    /// read from then on. Returns whether there was one that fits.
    pub(crate) fn take(&mut self, room: usize, at_once: bool) -> bool {
        assert_eq!(self.records.is_empty(), self.untold.is_empty());
        let next = self.untold.front();
        let compare = |record: &Record<'_>| {
            assert_eq!(Some(*record), next.map(Note::record));
            at_once
        };
        let taken = self.records.take(room, Width::Bits64, compare);
        match (taken, next) {
            (Ok(Some(taken)), Some(note)) => {
                assert!(note.length() <= room);
                assert_eq!((taken.length, taken.told), (note.length(), at_once));
                let note = self.untold.pop_front().unwrap();
                if !at_once {
                    self.taken.push((taken.entry, note));
                }
                true
            }
            (Err(EINVAL), Some(note)) => {
                assert!(note.length() > room);
                false
            }
            (taken, next) => {
                assert!(matches!(taken, Ok(None)) && next.is_none());
                false
            }
        }
    }

    /// How many are being read.
    pub(crate) fn taken(&self) -> usize {
        self.taken.len()
    }

    /// One of those that are being read has reached the program.
    pub(crate) fn told(&mut self, which: usize) {
        let (taken, _) = self.taken.remove(which);
        self.records.told(taken);
    }

    /// It has not.
    pub(crate) fn untold(&mut self, which: usize) {
        let (taken, note) = self.taken.remove(which);
        self.records.untold(taken);
        self.untold.push_front(note);
    }

    /// Reads up to three records; `how` tells how many, and which of them fail.
    pub(crate) fn read_some(&mut self, how: u8) {
        for n in 0..how % 4 {
            let fails = how & (8 << n) != 0;
            let at_once = !fails && how & 4 != 0;
            if !self.take(usize::MAX, at_once) {
                return;
            }
            match (fails, at_once) {
                (true, _) => self.untold(0),
                (false, false) => self.told(0),
                (false, true) => {}
            }
        }
    }

    /// Reads all that there is. Without locks, nothing is left then.
    pub(crate) fn read_all(&mut self) {
        while self.taken() > 0 {
            self.told(0);
        }
        while self.take(usize::MAX, true) {}
        if self.lives.is_empty() {
            assert_eq!(self.records.used(), (0, 0));
        }
    }
}

mod tests {
    use super::*;
    use crate::{
        terms::{
            Status,
            StatusFlags,
            VALUE_LEN, //
        },
        wire::record_min, //
    };
    use kernel::alloc::fail_after;
    use proptest::{
        collection::vec,
        option,
        prelude::*,
        sample::select, //
    };

    /// What a step does to the lock that it picks; where the protocol does not allow it, nothing.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A request, or a lock that comes from somebody else: converting, or at rest.
        Open(Occasion),
        /// A conversion: not while something is pending.
        Convert {
            waits: bool,
        },
        /// An unlock or a cancel.
        Interrupt,
        /// A request that ends at once, and a further operation that does.
        Answer {
            last: bool,
            value: bool,
        },
        Conclude {
            last: bool,
            value: bool,
        },
        Aside,
        Complete {
            last: bool,
            value: bool,
        },
        Block(Mode),
        Close,
        Take(usize),
        Told,
        Untold,
    }

    #[derive(Clone, Debug)]
    struct Act {
        step: Step,
        pick: usize,
        value: bool,
        /// It replaces all that the program gave.
        replaces: bool,
        /// What is read reaches the program at once.
        at_once: bool,
        /// How many allocations succeed.
        memory: Option<usize>,
    }

    fn act() -> impl Strategy<Value = Act> {
        let flag = any::<bool>;
        let step = prop_oneof![
            2 => select(vec![
                Occasion::Operation { waits: false },
                Occasion::Operation { waits: true },
                Occasion::UserSideOnly,
            ])
            .prop_map(Step::Open),
            5 => flag().prop_map(|waits| Step::Convert { waits }),
            2 => Just(Step::Interrupt),
            2 => (proptest::bool::weighted(0.15), flag())
                .prop_map(|(last, value)| Step::Answer { last, value }),
            4 => (proptest::bool::weighted(0.15), flag())
                .prop_map(|(last, value)| Step::Conclude { last, value }),
            2 => Just(Step::Aside),
            9 => (proptest::bool::weighted(0.15), flag())
                .prop_map(|(last, value)| Step::Complete { last, value }),
            9 => select(&Mode::ALL[1..]).prop_map(Step::Block),
            1 => Just(Step::Close),
            9 => select(vec![usize::MAX, usize::MAX, record_min(Width::Bits64)]).prop_map(Step::Take),
            7 => Just(Step::Told),
            2 => Just(Step::Untold),
        ];
        let memory = option::weighted(0.3, 0..3usize);
        (step, 0..1000usize, flag(), flag(), flag(), memory).prop_map(
            |(step, pick, value, replaces, at_once, memory)| Act {
                step,
                pick,
                value,
                replaces,
                at_once,
                memory,
            },
        )
    }

    /// Where a lock stands in the protocol.
    #[derive(Clone, Copy)]
    struct Stage {
        ticket: Ticket,
        id: LockId,
        /// Granted at least once, so that it can be in the way.
        granted: bool,
        pending: Option<bool>,
        told: Option<Mode>,
        room: bool,
    }

    fn completion<'a>(
        id: LockId,
        act: &Act,
        last: bool,
        value: Option<&'a [u8; VALUE_LEN]>,
    ) -> Completion<'a> {
        Completion {
            id,
            status: if last {
                Status::Unlocked
            } else {
                Status::Granted
            },
            flags: StatusFlags(act.pick as u8),
            value,
            silent: false,
            last,
        }
    }

    #[derive(Default)]
    struct Bench {
        reader: Reader,
        stages: Vec<Stage>,
        /// Steps so far.
        steps: u64,
    }

    impl Bench {
        fn gift_of(&self, act: &Act) -> Gift {
            let n = 10 * self.steps;
            if act.replaces {
                Gift::with_lock(n)
            } else {
                Gift::with_end(if self.steps % 3 == 0 { 0 } else { n }, n)
            }
        }

        fn change(&mut self, act: &Act, which: usize, occasion: Occasion, value: bool) {
            let gift = self.gift_of(act);
            let change = gift.change();
            let stage = &mut self.stages[which];
            fail_after(act.memory);
            let result = self.reader.change(stage.ticket, change, occasion, value);
            fail_after(None);
            let Ok(ticket) = result else {
                return;
            };
            stage.ticket = ticket;
            stage.room = value;
            if let Occasion::Operation { waits } = occasion {
                stage.pending = Some(waits);
            }
        }

        fn on_reader(&mut self, act: &Act) {
            let being_read = self.reader.taken();
            match act.step {
                Step::Take(room) if being_read < 3 => {
                    self.reader.take(room, act.at_once);
                }
                Step::Told if being_read > 0 => self.reader.told(act.pick % being_read),
                Step::Untold if being_read > 0 => self.reader.untold(act.pick % being_read),
                Step::Open(occasion) if self.stages.len() < 12 => {
                    let gift = self.gift_of(act);
                    let change = gift.change();
                    fail_after(act.memory);
                    let opened = self.reader.open(change, occasion, act.value);
                    fail_after(None);
                    self.stages.extend(opened.map(|ticket| Stage {
                        ticket,
                        id: 1 + self.steps as u32,
                        granted: occasion != Occasion::Operation { waits: false },
                        pending: (occasion != Occasion::UserSideOnly).then_some(true),
                        told: None,
                        room: act.value,
                    }));
                }
                Step::Answer { last, value } if self.stages.len() < 12 => {
                    let gift = self.gift_of(act);
                    let change = gift.change();
                    let id = 1 + self.steps as u32;
                    let block = value.then_some([self.steps as u8; VALUE_LEN]);
                    fail_after(act.memory);
                    let completion = completion(id, act, last, block.as_ref());
                    let answered = self.reader.answer(change, completion);
                    fail_after(None);
                    self.stages
                        .extend(answered.ok().filter(|_| !last).map(|ticket| Stage {
                            ticket,
                            id,
                            granted: true,
                            pending: None,
                            told: None,
                            room: value,
                        }));
                }
                _ => {}
            }
        }

        fn on_lock(&mut self, act: &Act, which: usize) {
            let stage = &mut self.stages[which];
            match (act.step, stage.pending) {
                (Step::Convert { waits }, None) => {
                    self.change(act, which, Occasion::Operation { waits }, act.value);
                }
                (Step::Interrupt, None | Some(true)) => {
                    let waits = false;
                    self.change(act, which, Occasion::Operation { waits }, false);
                }
                (Step::Aside, None | Some(true)) => {
                    // A value block that is owed stays owed.
                    let value = act.value || stage.pending.is_some() && stage.room;
                    self.change(act, which, Occasion::UserSideOnly, value);
                }
                (Step::Conclude { last, value }, None | Some(true)) => {
                    let stage = &self.stages[which];
                    let block = value.then_some([self.steps as u8; VALUE_LEN]);
                    let completion = completion(stage.id, act, last, block.as_ref());
                    let (ticket, gift) = (stage.ticket, self.gift_of(act));
                    let change = gift.change();
                    fail_after(act.memory);
                    let result = self.reader.conclude(ticket, change, completion);
                    fail_after(None);
                    let Ok(ticket) = result else {
                        return;
                    };
                    let stage = &mut self.stages[which];
                    stage.ticket = ticket;
                    stage.pending = None;
                    stage.granted = true;
                    stage.told = None;
                    if last {
                        self.stages.swap_remove(which);
                    }
                }
                (Step::Complete { last, value }, Some(_)) => {
                    let block = [self.steps as u8; VALUE_LEN];
                    let block = (value && stage.room).then_some(&block);
                    let completion = completion(stage.id, act, last, block);
                    stage.pending = None;
                    stage.granted = true;
                    stage.told = None;
                    let ticket = stage.ticket;
                    if last {
                        self.stages.swap_remove(which);
                    }
                    self.reader.complete(ticket, completion);
                }
                (Step::Block(mode), None | Some(true))
                    if stage.granted && stage.told < Some(mode) =>
                {
                    stage.told = Some(mode);
                    self.reader.block(stage.ticket, stage.id, mode);
                }
                (Step::Close, None | Some(true)) => {
                    let stage = self.stages.swap_remove(which);
                    self.reader.close(stage.ticket);
                }
                _ => {}
            }
        }

        fn run(&mut self, acts: &[Act]) {
            for act in acts {
                self.steps += 1;
                self.on_reader(act);
                if !self.stages.is_empty() {
                    self.on_lock(act, act.pick % self.stages.len());
                }
            }
            while let Some(stage) = self.stages.pop() {
                self.reader.close(stage.ticket);
            }
            self.reader.read_all();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(2_000)
        })]
        #[test]
        fn records_are_those_of_a_plain_queue(acts in vec(act(), 1..200)) {
            Bench::default().run(&acts);
        }
    }
}
