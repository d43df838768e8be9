// SPDX-License-Identifier: GPL-2.0

//! The processes that act in a program, and the files they open.
//!
//! A process does what it is told, one thing at a time, and says how it went; so everything happens
//! in one order, though by different processes. We read from the files that it has opened ourselves:
//! to the kernel that makes no difference.
//!
//! All processes share our memory, for an emulated processor is slow at changing from one
//! memory to another. They have nothing else in common: each has a pid and files of its own.

use crate::abi::RECORD_MAX;
use nix::{
    fcntl::OFlag,
    libc,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    sys::{
        signal::{kill, Signal},
        wait::waitpid,
    },
    unistd::Pid,
};
use std::{
    cell::UnsafeCell,
    ffi::{c_int, CString},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// After this long without an answer a process is taken to hang in the kernel.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for any request.
const REQUEST: usize = 256;

/// A process calls hardly anything.
const STACK: usize = 16 << 10;

/// What a system call returned, or a negative errno.
pub type Answer = i32;

/// A system call to be made.
#[derive(Clone, Copy)]
enum Order {
    Open,
    Close,
    Write,
}

pub struct Process {
    pid: Pid,
    handle: OwnedFd,
    life: NonNull<Life>,
}

/// What a process uses as long as it lives. Whose turn it is says who may look at the rest.
struct Life {
    turn: AtomicU32,
    stack: UnsafeCell<Stack>,
    task: UnsafeCell<Task>,
    device: CString,
}

const OURS: u32 = 0;
const ITS: u32 = 1;

struct Task {
    order: Order,
    /// The process's file descriptor.
    number: c_int,
    length: usize,
    request: [u8; REQUEST],
    answer: Answer,
}

/// Aligned as the processor wants it.
type Stack = [u128; STACK / 16];

impl Life {
    /// Lets the other one go on.
    fn pass(&self, turn: u32) {
        self.turn.store(turn, Ordering::Release);
        let waiters = 1;
        // SAFETY: it wakes who waits for the word to change, which is only looked at.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                &self.turn,
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                waiters,
            )
        };
    }

    /// Waits until it is this one's turn. Or less long: it has to be looked at again.
    fn wait(&self, turn: u32) {
        let patience = libc::timespec {
            tv_sec: PATIENCE.as_secs() as i64,
            tv_nsec: 0,
        };
        let other = OURS + ITS - turn;
        // SAFETY: the word and the time are only looked at.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                &self.turn,
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                other,
                &patience,
            )
        };
    }

    fn is_turn(&self, turn: u32) -> bool {
        self.turn.load(Ordering::Acquire) == turn
    }
}

impl Process {
    /// A process that opens `device` when asked to open a file.
    pub fn start(device: &str) -> io::Result<Process> {
        let life = NonNull::from(Box::leak(Box::new(Life {
            turn: AtomicU32::new(ITS),
            stack: UnsafeCell::new([0; STACK / 16]),
            task: UnsafeCell::new(Task {
                order: Order::Open,
                number: 0,
                length: 0,
                request: [0; REQUEST],
                answer: 0,
            }),
            device: CString::new(device)?,
        })));
        // SAFETY: it uses our memory, but of that only `life`, which stays as long as it lives, and
        // the thread's errno, which nobody else does while it works; see `obey`.
        let pid = unsafe {
            let top = life.as_ref().stack.get().add(1);
            let arg = life.as_ptr().cast();
            libc::clone(obey, top.cast(), libc::CLONE_VM | libc::SIGCHLD, arg)
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        let pid = Pid::from_raw(pid);
        // SAFETY: two system calls that take numbers and return a file descriptor.
        let handle = unsafe { new_file(libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0))? };
        let process = Process { pid, handle, life };
        process.await_answer()?;
        Ok(process)
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    pub fn open(&self) -> io::Result<SharedFile> {
        let number = self.tell(Order::Open, 0, &[])?;
        if number < 0 {
            return Err(io::Error::from_raw_os_error(-number));
        }
        // SAFETY: a system call that takes numbers and returns a file descriptor.
        let file = unsafe {
            let handle = self.handle.as_raw_fd();
            new_file(libc::syscall(libc::SYS_pidfd_getfd, handle, number, 0))?
        };
        Ok(SharedFile {
            file: file.into(),
            number,
        })
    }

    pub fn close(&self, file: SharedFile) -> io::Result<()> {
        let number = file.number;
        drop(file);
        self.tell(Order::Close, number, &[]).map(drop)
    }

    pub fn write(&self, file: &SharedFile, request: &[u8]) -> io::Result<Answer> {
        self.tell(Order::Write, file.number, request)
    }

    /// Returns when the process is no more, and its files are closed.
    pub fn kill(self) -> io::Result<()> {
        kill(self.pid, Signal::SIGKILL)?;
        waitpid(self.pid, None)?;
        // SAFETY: it was leaked for the process.
        drop(unsafe { Box::from_raw(self.life.as_ptr()) });
        Ok(())
    }

    fn life(&self) -> &Life {
        // SAFETY: it is there until the process is killed; what changes in it are cells.
        unsafe { self.life.as_ref() }
    }

    fn tell(&self, order: Order, number: c_int, request: &[u8]) -> io::Result<Answer> {
        // SAFETY: it is our turn.
        let task = unsafe { &mut *self.life().task.get() };
        task.order = order;
        task.number = number;
        task.length = request.len();
        task.request[..request.len()].copy_from_slice(request);
        self.life().pass(ITS);
        self.await_answer()
    }

    fn await_answer(&self) -> io::Result<Answer> {
        let mut start = None;
        while !self.life().is_turn(OURS) {
            self.life().wait(OURS);
            if start.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(io::Error::other("a system call does not return"));
            }
        }
        // SAFETY: it is our turn.
        Ok(unsafe { (*self.life().task.get()).answer })
    }
}

/// # Safety
///
/// `number` is what a system call has returned that makes a file descriptor.
unsafe fn new_file(number: libc::c_long) -> io::Result<OwnedFd> {
    match number {
        // SAFETY: it is new, so nobody else has it.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a process does all its life. When it is not its turn others work on the same memory, with
/// the same errno: then it only waits, in a system call whose failure is no matter. Nothing is
/// allocated here.
extern "C" fn obey(life: *mut libc::c_void) -> c_int {
    // SAFETY: it stays as long as this process lives; what changes in it are cells.
    let life = unsafe { &*life.cast::<Life>() };
    // SAFETY: two system calls that take numbers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // Files of others, which would stay open.
        libc::close_range(3, u32::MAX, 0);
    }
    loop {
        life.pass(OURS);
        while !life.is_turn(ITS) {
            life.wait(ITS);
        }
        // SAFETY: it is this process's turn, and the file descriptor is its own.
        unsafe {
            let task = &mut *life.task.get();
            let result = match task.order {
                Order::Open => {
                    libc::open(life.device.as_ptr(), libc::O_RDWR | libc::O_NONBLOCK) as isize
                }
                Order::Close => libc::close(task.number) as isize,
                Order::Write => libc::write(task.number, task.request.as_ptr().cast(), task.length),
            };
            task.answer = match result {
                0.. => result as Answer,
                _ => -*libc::__errno_location(),
            };
        }
    }
}

pub fn returned(result: &io::Result<usize>) -> Answer {
    match result {
        Ok(value) => *value as Answer,
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    }
}

/// An open file of a lockspace; of a process, or our own.
pub struct SharedFile {
    file: File,
    /// The process's descriptor.
    number: c_int,
}

impl SharedFile {
    pub fn own(device: &str) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(device)?;
        Ok(SharedFile { file, number: 0 })
    }

    pub fn write(&mut self, request: &[u8]) -> Answer {
        returned(&self.file.write(request))
    }

    /// Reads until there is nothing more, or `limit` records; what the last read() said, and what
    /// the others brought.
    pub fn read(&mut self, limit: Option<usize>) -> (Answer, Vec<Vec<u8>>) {
        let mut records = Vec::new();
        let mut answer = 0;
        while limit.is_none_or(|limit| records.len() < limit) {
            let mut record = [0xff; RECORD_MAX];
            answer = returned(&self.file.read(&mut record));
            match usize::try_from(answer) {
                Ok(length) => records.push(record[..length].to_vec()),
                Err(_) => break,
            }
        }
        (answer, records)
    }

    pub fn poll(&self) -> io::Result<i16> {
        let mut polled = [PollFd::new(
            self.file.as_fd(),
            PollFlags::POLLIN | PollFlags::POLLPRI,
        )];
        poll(&mut polled, PollTimeout::ZERO)?;
        Ok(polled[0].revents().map_or(0, |events| events.bits()))
    }
}
