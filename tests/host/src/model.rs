// SPDX-License-Identifier: GPL-2.0

//! The reference: fs/dlm on a single node, said as plainly as possible.
//!
//! Queues are vectors and are walked; each function is the one of fs/dlm's `lock.c`, `ast.c` or
//! `user.c` that it is named after. Deliberate differences are marked "Unlike fs/dlm". A reply from
//! the write, of which fs/dlm knows nothing, is what the record would have been.

use crate::{
    engine::{
        Ask,
        Outcome, //
    },
    terms::{
        Flags,
        Mode,
        Reply,
        Value,
        NAME_MAX, //
    },
    view::{
        Heard,
        LockView,
        Record,
        ResourceView, //
    },
};
use kernel::prelude::*;
use std::collections::BTreeMap;

const EDEADLK: i32 = -35;
const ECANCEL: i32 = -0x10001;
const EUNLOCK: i32 = -0x10002;

const DEMOTED: u8 = 0x01;
const VALNOTVALID: u8 = 0x02;
const ALTMODE: u8 = 0x04;

/// Rows and columns: UN NL CR CW PR PW EX.
const COMPATIBLE: [[u8; 7]; 7] = [
    [1, 1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 0, 0, 0],
    [1, 1, 1, 0, 1, 0, 0],
    [1, 1, 1, 0, 0, 0, 0],
    [1, 1, 0, 0, 0, 0, 0],
];

/// 1: returned to the caller; 0: written to the resource; -1: nothing. Row: granted.
const VALUE_MOVES: [[i8; 7]; 7] = [
    [-1, 1, 1, 1, 1, 1, 1],
    [-1, 1, 1, 1, 1, 1, 1],
    [-1, -1, 1, 1, 1, 1, 1],
    [-1, -1, -1, 1, 1, 1, 1],
    [-1, -1, -1, -1, 1, 1, 1],
    [-1, 0, 0, 0, 0, 0, 1],
    [-1, 0, 0, 0, 0, 0, 0],
];

const QUECVT_ALLOWED: [[u8; 7]; 7] = [
    [0, 0, 0, 0, 0, 0, 0],
    [0, 0, 1, 1, 1, 1, 1],
    [0, 0, 0, 1, 1, 1, 1],
    [0, 0, 0, 0, 1, 1, 1],
    [0, 0, 0, 1, 0, 1, 1],
    [0, 0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0],
];

fn index(mode: Option<Mode>) -> usize {
    mode.map_or(0, |mode| mode as usize + 1)
}

fn modes_compat(one: Option<Mode>, other: Option<Mode>) -> bool {
    COMPATIBLE[index(one)][index(other)] == 1
}

fn value_move(granted: Option<Mode>, requested: Option<Mode>) -> i8 {
    VALUE_MOVES[index(granted)][index(requested)]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    None,
    Granted,
    Converting,
    Waiting,
}

#[derive(Clone, Debug)]
struct Lock {
    /// Nobody, if it is an orphan.
    client: Option<usize>,
    /// Rises with every lock that comes to somebody, or becomes an orphan.
    since: u32,
    resource: usize,
    alive: bool,
    queue: Queue,
    user: u32,
    pid: u32,
    flags: Flags,
    sbflags: u8,
    listens: bool,
    granted: Option<Mode>,
    requested: Option<Mode>,
    highbast: Mode,
    last_cast_mode: Option<Mode>,
    last_cb: Heard,
    buffer: Option<Value>,
}

#[derive(Clone, Debug, Default)]
struct Resource {
    name: Vec<u8>,
    granted: Vec<usize>,
    converting: Vec<usize>,
    waiting: Vec<usize>,
    value: Option<Value>,
    invalid: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Model {
    /// By number; those that have gone too.
    locks: Vec<Lock>,
    /// Those that have gone too.
    resources: Vec<Resource>,
    /// How often a lock came to somebody, or became an orphan.
    moves: u32,
    pub(crate) records: Vec<Record>,
    /// How often each of the rare paths was taken.
    pub(crate) seen: BTreeMap<&'static str, u32>,
}

impl Model {
    // Operations.

    /// `dlm_user_request()`
    pub(crate) fn request(
        &mut self,
        client: usize,
        name: &[u8],
        ask: &Ask,
        user: u32,
    ) -> Result<(usize, Outcome)> {
        set_lock_args(ask, false)?;
        if name.len() > NAME_MAX {
            return Err(EINVAL);
        }
        let resource = self.find_resource(name);
        let lock = self.locks.len();
        self.moves += 1;
        self.locks.push(Lock {
            client: Some(client),
            since: self.moves,
            resource,
            alive: true,
            queue: Queue::None,
            user,
            pid: ask.pid,
            flags: ask.flags,
            sbflags: 0,
            listens: ask.listens,
            granted: None,
            requested: Some(ask.mode),
            highbast: Mode::Nl,
            last_cast_mode: None,
            last_cb: Heard::Nothing,
            buffer: ask.flags.any(Flags::VALBLK).then_some(Value::default()),
        });
        let ended = self.do_request(lock, ask.acknowledge);
        if ask.reply == Reply::Return && ended == Some(EAGAIN.to_errno()) {
            self.saw("returned refusal");
            self.forget_completion(lock);
            self.locks.pop();
            return Err(EAGAIN);
        }
        Ok((lock, self.outcome(lock, ask.reply, ended)))
    }

    /// `dlm_user_convert()`
    pub(crate) fn convert(
        &mut self,
        lock: usize,
        by: usize,
        ask: &Ask,
        value: &Value,
        user: u32,
    ) -> Result<Outcome> {
        self.find(lock)?;
        set_lock_args(ask, true)?;
        let reply = self.reply_to(lock, by, ask.reply);
        let before = self.locks[lock].clone();
        let entry = &mut self.locks[lock];
        let busy = entry.queue != Queue::Granted;
        let allowed = QUECVT_ALLOWED[index(entry.granted)][index(Some(ask.mode))] == 1;
        // Unlike fs/dlm, what is invalid changes nothing.
        if !busy && ask.flags.any(Flags::QUECVT) && !allowed {
            return Err(EINVAL);
        }
        // Unlike fs/dlm, a buffer made here is the lock's even if the conversion is refused.
        if ask.flags.any(Flags::VALBLK) && entry.buffer.is_none() {
            entry.buffer = Some(Value::default());
        }
        entry.buffer = entry.buffer.and(Some(*value));
        entry.user = user;
        entry.listens = ask.listens;
        if busy {
            self.saw("busy");
            return Err(EBUSY);
        }
        entry.flags = ask.flags;
        entry.sbflags = 0;
        entry.requested = Some(ask.mode);
        entry.pid = ask.pid;
        let ended = self.do_convert(lock, ask.acknowledge && reply == Reply::Return);
        match ended {
            Some(status) if status != 0 && reply == Reply::Return => {
                let deadlock = status == EDEADLK;
                self.saw(if deadlock {
                    "deadlock returned"
                } else {
                    "returned refusal"
                });
                self.forget_completion(lock);
                self.locks[lock] = before;
                Err(if deadlock {
                    kernel::error::code::EDEADLK
                } else {
                    EAGAIN
                })
            }
            _ => Ok(self.outcome(lock, reply, ended)),
        }
    }

    /// `dlm_user_unlock()`; unlike fs/dlm, a FORCEUNLOCK that came with the request has no effect.
    pub(crate) fn unlock(
        &mut self,
        lock: usize,
        by: usize,
        flags: Flags,
        reply: Reply,
        value: &Value,
        user: u32,
    ) -> Result<Outcome> {
        self.find(lock)?;
        set_unlock_args(flags)?;
        let reply = self.reply_to(lock, by, reply);
        let entry = &mut self.locks[lock];
        entry.buffer = entry.buffer.and(Some(*value));
        entry.user = user;
        entry.flags = entry.flags.with(flags);
        entry.sbflags = 0;
        self.set_lvb_unlock(lock);
        self.remove_lock(lock);
        self.queue_cast(lock, EUNLOCK);
        self.finish(lock);
        if reply == Reply::Record {
            return Ok(Outcome::Told);
        }
        self.forget_completion(lock);
        Ok(Outcome::Done)
    }

    /// How who asks is answered: an owner hears of his lock what others do to it.
    fn reply_to(&self, lock: usize, by: usize, wanted: Reply) -> Reply {
        match self.locks[lock].client {
            Some(client) if client != by => Reply::Record,
            _ => wanted,
        }
    }

    /// What is left to hear of a lock's operation, which has ended at once with this status, or not.
    fn outcome(&mut self, lock: usize, reply: Reply, ended: Option<i32>) -> Outcome {
        if reply == Reply::Record {
            return Outcome::Told;
        }
        let entry = &self.locks[lock];
        let orphan = entry.client.is_none();
        if ended != Some(0) || !orphan && (entry.sbflags != 0 || entry.buffer.is_some()) {
            self.saw("told although it was to be returned");
            return Outcome::Told;
        }
        self.saw(if orphan {
            "returned of an orphan"
        } else {
            "returned"
        });
        self.forget_completion(lock);
        Outcome::Done
    }

    /// What has been told is returned instead.
    fn forget_completion(&mut self, number: usize) {
        self.records.retain(
            |record| !matches!(record, Record::Completion { lock, .. } if *lock == number as u32),
        );
    }

    /// `dlm_user_cancel()`
    pub(crate) fn cancel(&mut self, lock: usize, flags: Flags, user: u32) -> Result {
        self.find(lock)?;
        set_unlock_args(flags)?;
        self.locks[lock].user = user;
        self.cancel_lock(lock, flags, ECANCEL);
        Ok(())
    }

    /// `dlm_user_deadlock()`; unlike fs/dlm, of a granted lock nothing remembers it.
    pub(crate) fn cancel_deadlocked(&mut self, lock: usize, flags: Flags) -> Result {
        self.find(lock)?;
        set_unlock_args(flags)?;
        self.cancel_lock(lock, flags, EDEADLK);
        Ok(())
    }

    fn cancel_lock(&mut self, lock: usize, flags: Flags, status: i32) {
        let deadlocked = status == EDEADLK;
        let entry = &mut self.locks[lock];
        if entry.queue == Queue::Granted {
            return self.saw("nothing to cancel");
        }
        entry.flags = entry.flags.with(flags);
        entry.sbflags = 0;
        if entry.queue == Queue::Converting {
            self.saw(if deadlocked {
                "conversion in somebody's deadlock"
            } else {
                "conversion cancelled"
            });
            self.revert_lock(lock);
            self.queue_cast(lock, status);
            self.grant_pending_locks(self.locks[lock].resource);
        } else {
            self.saw(if deadlocked {
                "request in somebody's deadlock"
            } else {
                "request cancelled"
            });
            self.remove_lock(lock);
            self.queue_cast(lock, status);
            self.finish(lock);
        }
    }

    /// `dlm_user_adopt_orphan()`
    pub(crate) fn adopt(
        &mut self,
        client: usize,
        name: &[u8],
        mode: Option<Mode>,
        ask: &Ask,
        user: u32,
    ) -> Result<usize> {
        let mut orphans = self.owned_by(None);
        orphans.retain(|lock| {
            let entry = &self.locks[*lock];
            self.resources[entry.resource].name == name
        });
        let fitting = |lock: &&usize| self.locks[**lock].granted == mode;
        let Some(lock) = orphans.iter().find(fitting).copied() else {
            if orphans.is_empty() {
                return Err(ENOENT);
            }
            self.saw("orphan in another mode");
            return Err(EAGAIN);
        };
        self.saw(match self.locks[lock].queue {
            Queue::Granted => "adopted",
            _ => "adopted while converting",
        });
        self.moves += 1;
        let entry = &mut self.locks[lock];
        entry.client = Some(client);
        entry.since = self.moves;
        entry.user = user;
        entry.flags = ask.flags;
        entry.listens = ask.listens;
        entry.pid = ask.pid;
        Ok(lock)
    }

    /// `do_purge()`
    pub(crate) fn purge(&mut self, pid: Option<u32>) {
        for lock in self.owned_by(None) {
            if pid.is_none_or(|pid| self.locks[lock].pid == pid) {
                self.saw("purged");
                self.unlock_proc_lock(lock);
            } else {
                self.saw("not purged");
            }
        }
    }

    /// `purge_proc_locks()`
    pub(crate) fn purge_own(&mut self, client: usize) {
        for lock in self.owned_by(Some(client)) {
            self.unlock_proc_lock(lock);
        }
    }

    /// `dlm_clear_proc_locks()`
    pub(crate) fn close(&mut self, client: usize) {
        for lock in self.owned_by(Some(client)) {
            if self.locks[lock].flags.any(Flags::PERSISTENT) {
                self.orphan_proc_lock(lock);
            } else {
                self.unlock_proc_lock(lock);
            }
        }
    }

    /// In the order in which they came to him, or became orphans.
    fn owned_by(&self, client: Option<usize>) -> Vec<usize> {
        let mut owned = self.on_queue(|_| true);
        owned.retain(|lock| self.locks[*lock].client == client);
        owned.sort_by_key(|lock| self.locks[*lock].since);
        owned
    }

    /// Unlike fs/dlm, which keeps it as an orphan, a request that was waiting is gone.
    fn orphan_proc_lock(&mut self, lock: usize) {
        self.record_gone(lock);
        self.moves += 1;
        let entry = &mut self.locks[lock];
        entry.client = None;
        entry.since = self.moves;
        match entry.queue {
            Queue::Granted => self.saw("orphaned"),
            Queue::Converting => self.saw("orphaned while converting"),
            _ => self.saw("orphaned while waiting"),
        }
        self.cancel_lock(lock, Flags::default(), ECANCEL);
    }

    fn unlock_proc_lock(&mut self, lock: usize) {
        let entry = &mut self.locks[lock];
        entry.flags = entry.flags.with(Flags::IVVALBLK);
        self.record_gone(lock);
        self.set_lvb_unlock(lock);
        self.remove_lock(lock);
        self.finish(lock);
    }

    fn record_gone(&mut self, lock: usize) {
        let Lock { client, user, .. } = self.locks[lock];
        if let Some(client) = client {
            self.records.push(Record::Gone { client, user });
        }
    }

    // Stage 4.

    /// Returns the status if it has ended.
    fn do_request(&mut self, lock: usize, acknowledge: bool) -> Option<i32> {
        let flags = self.locks[lock].flags;
        if self.can_be_granted(lock, true, &mut false) {
            self.grant_lock(lock);
            self.queue_cast(lock, 0);
            return Some(0);
        }
        if flags.any(Flags::NOQUEUE) {
            self.queue_cast(lock, EAGAIN.to_errno());
            self.force_blocking_asts(lock);
            self.locks[lock].alive = false;
            return Some(EAGAIN.to_errno());
        }
        if acknowledge {
            self.saw("acknowledged request");
            self.acknowledge(lock);
        }
        self.add_lock(lock, Queue::Waiting);
        self.send_blocking_asts(lock, Queue::Granted);
        None
    }

    /// Returns the status if it has ended.
    fn do_convert(&mut self, lock: usize, acknowledge: bool) -> Option<i32> {
        let resource = self.locks[lock].resource;
        let flags = self.locks[lock].flags;
        let mut deadlock = false;
        if self.can_be_granted(lock, true, &mut deadlock) {
            self.grant_lock(lock);
            self.queue_cast(lock, 0);
            self.grant_pending_locks(resource);
            return Some(0);
        }
        if deadlock && !flags.any(Flags::NODLCKWT) {
            self.saw("deadlock");
            self.revert_lock(lock);
            self.queue_cast(lock, EDEADLK);
            return Some(EDEADLK);
        }
        if self.locks[lock].sbflags & DEMOTED != 0 {
            self.saw("demoted");
            self.grant_pending_convert(resource, &mut false);
            if self.may_be_granted(lock, true) {
                self.saw("granted after demotion");
                self.grant_lock(lock);
                self.queue_cast(lock, 0);
                self.grant_pending_locks(resource);
                return Some(0);
            }
        }
        if flags.any(Flags::NOQUEUE) {
            self.queue_cast(lock, EAGAIN.to_errno());
            self.force_blocking_asts(lock);
            // Unlike fs/dlm, the requested mode does not linger.
            self.locks[lock].requested = None;
            return Some(EAGAIN.to_errno());
        }
        if acknowledge {
            self.saw("acknowledged conversion");
            self.acknowledge(lock);
        }
        self.move_lock(lock, Queue::Converting);
        self.send_blocking_asts(lock, Queue::Granted);
        None
    }

    // Deciding.

    fn queue_conflict(&self, queue: &[usize], lock: usize) -> bool {
        queue.iter().any(|this| {
            *this != lock && !modes_compat(self.locks[*this].granted, self.locks[lock].requested)
        })
    }

    fn conversion_deadlock_detect(&self, lock: usize) -> bool {
        let blocks = |one: usize, other: usize| {
            !modes_compat(self.locks[one].granted, self.locks[other].requested)
        };
        let queue = &self.resources[self.locks[lock].resource].converting;
        let own_place = queue.iter().position(|this| *this == lock);
        queue.iter().enumerate().any(|(place, other)| {
            if own_place.is_none_or(|own_place| place < own_place) {
                blocks(lock, *other)
            } else {
                *other != lock && blocks(lock, *other) && blocks(*other, lock)
            }
        })
    }

    /// `_can_be_granted()`
    fn may_be_granted(&self, lock: usize, now: bool) -> bool {
        let Lock {
            flags,
            granted,
            resource,
            ..
        } = self.locks[lock];
        let resource = &self.resources[resource];
        let conversion = granted.is_some();
        // Unlike fs/dlm, which grants an adopted conversion anything for this flag.
        if flags.any(Flags::EXPEDITE) && granted.is_none() {
            return true;
        }
        if self.queue_conflict(&resource.granted, lock)
            || self.queue_conflict(&resource.converting, lock)
        {
            return false;
        }
        if now && conversion {
            return !flags.any(Flags::QUECVT) || resource.converting.is_empty();
        }
        if flags.any(Flags::NOORDER) {
            return true;
        }
        if conversion {
            return resource.converting.first() == Some(&lock);
        }
        resource.converting.is_empty()
            && if now {
                resource.waiting.is_empty()
            } else {
                resource.waiting.first() == Some(&lock)
            }
    }

    fn can_be_granted(&mut self, lock: usize, now: bool, deadlock: &mut bool) -> bool {
        if self.may_be_granted(lock, now) {
            self.note_turn(lock, now);
            return true;
        }
        let Lock {
            flags,
            granted,
            requested,
            ..
        } = self.locks[lock];
        if granted.is_some() && !flags.any(Flags::NOQUEUE) && self.conversion_deadlock_detect(lock)
        {
            if flags.any(Flags::CONVDEADLK) {
                self.locks[lock].granted = Some(Mode::Nl);
                self.locks[lock].sbflags |= DEMOTED;
            } else {
                *deadlock = true;
            }
            return false;
        }
        let alternative = if flags.any(Flags::ALTPR) && requested != Some(Mode::Pr) {
            Mode::Pr
        } else if flags.any(Flags::ALTCW) && requested != Some(Mode::Cw) {
            Mode::Cw
        } else {
            return false;
        };
        self.locks[lock].requested = Some(alternative);
        if !self.may_be_granted(lock, now) {
            self.locks[lock].requested = requested;
            return false;
        }
        self.saw(if now {
            "alternative at once"
        } else {
            "alternative later"
        });
        self.locks[lock].sbflags |= ALTMODE;
        true
    }

    fn note_turn(&mut self, lock: usize, now: bool) {
        let Lock {
            granted, resource, ..
        } = self.locks[lock];
        let resource = &self.resources[resource];
        let others_wait = !resource.converting.is_empty() || !resource.waiting.is_empty();
        match (granted, now) {
            (None, true) if others_wait => self.saw("request out of turn"),
            (None, false) if resource.waiting[0] != lock => self.saw("waiter out of turn"),
            (Some(_), false) if resource.converting[0] != lock => {
                self.saw("conversion out of turn")
            }
            (Some(_), true) if others_wait => self.saw("conversion in place"),
            _ => {}
        }
    }

    // Granting what waits.

    fn grant_pending_convert(&mut self, resource: usize, cw: &mut bool) -> Option<Mode> {
        let mut restarted_for_demotion = false;
        let mut first_walk = true;
        loop {
            let mut highest = None;
            let mut granted = false;
            let mut demoted = false;
            let mut cw_now = false;
            for lock in self.resources[resource].converting.clone() {
                let was_demoted = self.locks[lock].sbflags & DEMOTED != 0;
                let mut deadlock = false;
                if self.can_be_granted(lock, false, &mut deadlock) {
                    if !first_walk {
                        self.saw("conversion by another walk");
                    }
                    self.grant_lock(lock);
                    self.queue_cast(lock, 0);
                    granted = true;
                    continue;
                }
                let entry = &self.locks[lock];
                let (flags, requested) = (entry.flags, entry.requested);
                let untold = Some(entry.highbast) < requested;
                if !was_demoted && entry.sbflags & DEMOTED != 0 {
                    self.saw("demoted while queued");
                    demoted = true;
                    continue;
                }
                if deadlock {
                    self.saw("deadlock while queued");
                    if flags.any(Flags::NODLCKWT) && untold {
                        self.saw("told of itself");
                        self.tell(lock, requested);
                    }
                    continue;
                }
                highest = highest.max(requested);
                cw_now |= requested == Some(Mode::Cw);
            }
            *cw |= cw_now;
            first_walk = false;
            if granted {
                continue;
            }
            if demoted && !restarted_for_demotion {
                restarted_for_demotion = true;
                continue;
            }
            if *cw && !cw_now && highest.is_some() {
                self.saw("CW no longer wanted");
            }
            return highest;
        }
    }

    fn grant_pending_wait(&mut self, resource: usize, cw: &mut bool) -> Option<Mode> {
        let mut highest = None;
        for lock in self.resources[resource].waiting.clone() {
            if self.can_be_granted(lock, false, &mut false) {
                self.grant_lock(lock);
                self.queue_cast(lock, 0);
            } else {
                highest = highest.max(self.locks[lock].requested);
                *cw |= self.locks[lock].requested == Some(Mode::Cw);
            }
        }
        highest
    }

    fn grant_pending_locks(&mut self, resource: usize) {
        let mut cw = false;
        let high = self.grant_pending_convert(resource, &mut cw);
        let high = high.max(self.grant_pending_wait(resource, &mut cw));
        let Some(high) = high else {
            return;
        };
        for lock in self.resources[resource].granted.clone() {
            if !self.lock_requires_bast(lock, high, cw) {
                continue;
            }
            if cw && high == Mode::Pr && self.locks[lock].granted == Some(Mode::Pr) {
                self.saw("PR told of CW instead of PR");
                self.queue_bast(lock, Mode::Cw);
            } else {
                self.queue_bast(lock, high);
            }
            self.set_highbast(lock, high);
        }
    }

    fn grant_lock(&mut self, lock: usize) {
        self.set_lvb_lock(lock);
        let entry = &mut self.locks[lock];
        entry.highbast = Mode::Nl;
        let mode = entry.requested.take();
        let converting = entry.queue == Queue::Converting;
        if converting && entry.granted == mode {
            // Unlike fs/dlm, which forgets it on the convert queue.
            self.saw("alternative is the mode it has");
            self.move_lock(lock, Queue::Granted);
        } else if entry.granted != mode {
            entry.granted = mode;
            self.move_lock(lock, Queue::Granted);
        }
    }

    fn revert_lock(&mut self, lock: usize) {
        self.locks[lock].requested = None;
        if self.locks[lock].queue == Queue::Converting {
            self.move_lock(lock, Queue::Granted);
        }
    }

    // Value blocks.

    fn set_lvb_lock(&mut self, lock: usize) {
        let entry = &mut self.locks[lock];
        let resource = &mut self.resources[entry.resource];
        let asked = entry.buffer.is_some() && entry.flags.any(Flags::VALBLK);
        match value_move(entry.granted, entry.requested) {
            1 => {
                if !asked || resource.value.is_none() {
                    return;
                }
                entry.buffer = resource.value;
            }
            0 => {
                if entry.flags.any(Flags::IVVALBLK) {
                    resource.invalid = true;
                    return;
                }
                if !asked {
                    return;
                }
                resource.value = entry.buffer;
                resource.invalid = false;
                let later = entry.queue == Queue::Converting;
                self.saw(if later { "written later" } else { "written" });
            }
            _ => {}
        }
        let entry = &mut self.locks[lock];
        if self.resources[entry.resource].invalid {
            entry.sbflags |= VALNOTVALID;
            self.saw("value not valid");
        }
    }

    fn set_lvb_unlock(&mut self, lock: usize) {
        let entry = &self.locks[lock];
        if entry.granted < Some(Mode::Pw) {
            return;
        }
        let resource = &mut self.resources[entry.resource];
        if entry.flags.any(Flags::IVVALBLK) {
            resource.invalid = true;
            self.saw("invalidated by unlock");
        } else if entry.buffer.is_some() && entry.flags.any(Flags::VALBLK) {
            resource.value = entry.buffer;
            resource.invalid = false;
            self.saw("written by unlock");
        }
    }

    // Blocking notifications.

    fn lock_requires_bast(&self, lock: usize, high: Mode, cw: bool) -> bool {
        let Lock {
            granted, highbast, ..
        } = self.locks[lock];
        if granted == Some(Mode::Pr) && cw {
            return highbast < Mode::Ex;
        }
        highbast < high && !modes_compat(granted, Some(high))
    }

    fn modes_require_bast(&self, holder: usize, requested: Option<Mode>) -> bool {
        let Lock {
            granted, highbast, ..
        } = self.locks[holder];
        if matches!(
            (granted, requested),
            (Some(Mode::Pr), Some(Mode::Cw)) | (Some(Mode::Cw), Some(Mode::Pr))
        ) {
            return highbast < Mode::Ex;
        }
        Some(highbast) < requested && !modes_compat(granted, requested)
    }

    fn send_blocking_asts(&mut self, lock: usize, queue: Queue) {
        let Lock {
            resource,
            requested,
            ..
        } = self.locks[lock];
        for holder in self.queue(resource, queue).clone() {
            if holder != lock && self.modes_require_bast(holder, requested) {
                if queue == Queue::Converting {
                    self.saw("converting told of NOQUEUE");
                }
                self.tell(holder, requested);
            }
        }
    }

    /// `send_blocking_asts_all()`, if NOQUEUEBAST asks for it
    fn force_blocking_asts(&mut self, lock: usize) {
        if self.locks[lock].flags.any(Flags::NOQUEUEBAST) {
            self.send_blocking_asts(lock, Queue::Granted);
            self.send_blocking_asts(lock, Queue::Converting);
        }
    }

    fn tell(&mut self, lock: usize, mode: Option<Mode>) {
        if let Some(mode) = mode {
            self.queue_bast(lock, mode);
            self.set_highbast(lock, mode);
        }
    }

    fn set_highbast(&mut self, lock: usize, mode: Mode) {
        if self.locks[lock].highbast > mode {
            self.saw("told of less than before");
        }
        self.locks[lock].highbast = mode;
    }

    // Records.

    fn queue_cast(&mut self, lock: usize, status: i32) {
        let entry = &mut self.locks[lock];
        let Some(client) = entry.client else {
            return self.saw("completion of an orphan");
        };
        let copies = status == 0 && value_move(entry.last_cast_mode, entry.granted) != 0;
        entry.last_cast_mode = entry.granted;
        entry.last_cb = Heard::Completion;
        let last = status == EUNLOCK || status != 0 && entry.granted.is_none();
        self.records.push(Record::Completion {
            client,
            lock: lock as u32,
            user: entry.user,
            status,
            flags: entry.sbflags,
            value: entry.buffer.filter(|_| copies),
            last,
        });
    }

    fn acknowledge(&mut self, lock: usize) {
        let Lock { client, user, .. } = self.locks[lock];
        let lock = lock as u32;
        self.records
            .extend(client.map(|client| Record::Acknowledgement { client, lock, user }));
    }

    /// `queue_bast()` with `dlm_may_skip_callback()`
    fn queue_bast(&mut self, lock: usize, mode: Mode) {
        let entry = &mut self.locks[lock];
        if !entry.listens {
            return;
        }
        if entry.last_cast_mode.is_some() && modes_compat(Some(mode), entry.last_cast_mode) {
            return self.saw("harmless to what was completed");
        }
        if let Heard::Blocking(before) = entry.last_cb {
            if before == mode {
                return self.saw("heard just before");
            }
            if before > mode && before > Mode::Pr {
                return self.saw("heard of more just before");
            }
        }
        let Some(client) = entry.client else {
            return self.saw("orphan in the way");
        };
        let crosses = (entry.granted, mode) == (Some(Mode::Pr), Mode::Cw)
            || (entry.granted, mode) == (Some(Mode::Cw), Mode::Pr);
        entry.last_cb = Heard::Blocking(mode);
        self.records.push(Record::Blocking {
            client,
            lock: lock as u32,
            user: entry.user,
            mode,
        });
        if crosses {
            self.saw("told of the crossing mode");
        }
    }

    // Queues and lives.

    /// `find_lkb()`
    fn find(&self, lock: usize) -> Result {
        match self.locks.get(lock) {
            Some(entry) if entry.alive => Ok(()),
            _ => Err(ENOENT),
        }
    }

    fn find_resource(&mut self, name: &[u8]) -> usize {
        let known = self.resources.iter().position(|one| one.name == name);
        known.unwrap_or_else(|| {
            self.resources.push(Resource {
                name: name.to_vec(),
                ..Resource::default()
            });
            self.resources.len() - 1
        })
    }

    fn queue(&mut self, resource: usize, queue: Queue) -> &mut Vec<usize> {
        let resource = &mut self.resources[resource];
        match queue {
            Queue::Granted => &mut resource.granted,
            Queue::Converting => &mut resource.converting,
            Queue::Waiting => &mut resource.waiting,
            Queue::None => unreachable!("not a queue"),
        }
    }

    fn add_lock(&mut self, lock: usize, queue: Queue) {
        let entry = &mut self.locks[lock];
        entry.queue = queue;
        let first = match queue {
            // Unlike fs/dlm, which has NL among the others; nobody can tell.
            Queue::Granted => entry.granted != Some(Mode::Nl),
            _ => entry.flags.any(Flags::HEADQUE),
        };
        let resource = entry.resource;
        let queue = self.queue(resource, queue);
        queue.insert(if first { 0 } else { queue.len() }, lock);
    }

    fn move_lock(&mut self, lock: usize, queue: Queue) {
        let Lock {
            resource,
            queue: from,
            ..
        } = self.locks[lock];
        if from != Queue::None {
            self.queue(resource, from).retain(|this| *this != lock);
        }
        self.locks[lock].queue = Queue::None;
        if queue != Queue::None {
            self.add_lock(lock, queue);
        }
    }

    fn remove_lock(&mut self, lock: usize) {
        self.move_lock(lock, Queue::None);
        self.locks[lock].granted = None;
    }

    /// A lock has left its resource for good, which others may have waited for.
    fn finish(&mut self, lock: usize) {
        self.locks[lock].alive = false;
        let number = self.locks[lock].resource;
        self.grant_pending_locks(number);
        let resource = &mut self.resources[number];
        let queues = [&resource.granted, &resource.converting, &resource.waiting];
        if queues.into_iter().all(Vec::is_empty) {
            resource.value = None;
            resource.invalid = false;
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    // Looking at it.

    /// The locks on a kind of queue.
    pub(crate) fn on_queue(&self, queue: impl Fn(Queue) -> bool) -> Vec<usize> {
        (0..self.locks.len())
            .filter(|lock| self.locks[*lock].alive && queue(self.locks[*lock].queue))
            .collect()
    }

    /// The thread that asked for a lock.
    pub(crate) fn pid_of(&self, lock: usize) -> Option<u32> {
        self.locks.get(lock).map(|entry| entry.pid)
    }

    pub(crate) fn is_orphan(&self, lock: usize) -> bool {
        self.locks[lock].client.is_none()
    }

    pub(crate) fn view(&self) -> Vec<ResourceView> {
        let mut all: Vec<_> = self
            .resources
            .iter()
            .map(|resource| ResourceView {
                name: resource.name.clone(),
                value: resource.value,
                invalid: resource.invalid,
                granted: self.view_queue(&resource.granted),
                converting: self.view_queue(&resource.converting),
                waiting: self.view_queue(&resource.waiting),
            })
            .filter(|one| {
                !(one.granted.is_empty() && one.converting.is_empty() && one.waiting.is_empty())
            })
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn view_queue(&self, queue: &[usize]) -> Vec<LockView> {
        queue.iter().map(|lock| self.view_lock(*lock)).collect()
    }

    fn view_lock(&self, lock: usize) -> LockView {
        let entry = &self.locks[lock];
        LockView {
            number: lock as u32,
            client: entry.client,
            user: entry.client.map(|_| entry.user),
            pid: entry.pid,
            flags: entry.flags.0,
            status: entry.sbflags,
            listens: entry.listens,
            granted: entry.granted,
            requested: entry.requested,
            completed: entry.last_cast_mode,
            told: entry.highbast,
            heard: entry.last_cb,
            buffer: entry.buffer,
        }
    }
}

/// Which flags do not go together in a LOCK.
fn set_lock_args(ask: &Ask, convert: bool) -> Result {
    let f = |flags| ask.flags.any(flags);
    let invalid = f(Flags::CANCEL)
        || f(Flags::QUECVT) && !convert
        || f(Flags::CONVDEADLK) && !convert
        || f(Flags::CONVDEADLK) && f(Flags::NOQUEUE)
        || f(Flags::EXPEDITE) && convert
        || f(Flags::EXPEDITE) && f(Flags::QUECVT)
        || f(Flags::EXPEDITE) && f(Flags::NOQUEUE)
        || f(Flags::EXPEDITE) && ask.mode != Mode::Nl;
    if invalid {
        return Err(EINVAL);
    }
    Ok(())
}

fn set_unlock_args(flags: Flags) -> Result {
    const KNOWN: u32 = Flags::CANCEL.0 | Flags::VALBLK.0 | Flags::IVVALBLK.0 | Flags::FORCEUNLOCK.0;
    let both = Flags::CANCEL.0 | Flags::FORCEUNLOCK.0;
    if flags.0 & !KNOWN != 0 || flags.0 & both == both {
        return Err(EINVAL);
    }
    Ok(())
}
