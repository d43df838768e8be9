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
        socket::{socketpair, AddressFamily, SockFlag, SockType},
        wait::waitpid,
    },
    unistd::Pid,
};
use std::{
    ffi::{c_int, CString},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{fs::OpenOptionsExt, net::UnixDatagram},
    },
    time::Duration,
};

/// After this long without an answer a process is taken to hang in the kernel.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for any order.
const MESSAGE: usize = 512;

const STACK: usize = 64 << 10;

/// What a system call returned, or a negative errno.
pub type Answer = i32;

/// The first byte of what a process is told. The second is its file descriptor, if it is about
/// one; what to write follows.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Order {
    Open,
    Close,
    Write,
}

pub struct Process {
    pid: Pid,
    handle: OwnedFd,
    socket: UnixDatagram,
    _life: Box<Life>,
}

/// What a process uses as long as it lives.
struct Life {
    stack: Stack,
    socket: c_int,
    device: CString,
}

/// Aligned as the processor wants it.
type Stack = [u128; STACK / 16];

impl Process {
    /// A process that opens `device` when asked to open a file.
    pub fn start(device: &str) -> io::Result<Process> {
        let (ours, its) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::empty(),
        )?;
        let mut life = Box::new(Life {
            stack: [0; STACK / 16],
            socket: its.as_raw_fd(),
            device: CString::new(device)?,
        });
        let top = (&raw mut life.stack).wrapping_add(1);
        let arg = &raw mut *life;
        // SAFETY: it uses our memory, but of that only `life`, which stays as long as it lives, and
        // the thread's errno, which nobody else does while it works; see `obey`.
        let pid =
            unsafe { libc::clone(obey, top.cast(), libc::CLONE_VM | libc::SIGCHLD, arg.cast()) };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        let pid = Pid::from_raw(pid);
        // SAFETY: two system calls that take numbers and return a file descriptor.
        let handle = unsafe { new_file(libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0))? };
        let socket = UnixDatagram::from(ours);
        socket.set_read_timeout(Some(PATIENCE))?;
        let process = Process {
            pid,
            handle,
            socket,
            _life: life,
        };
        process.receive()?;
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
            number: number as u8,
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
        Ok(())
    }

    fn tell(&self, order: Order, number: u8, data: &[u8]) -> io::Result<Answer> {
        let mut message = [0; MESSAGE];
        let length = 2 + data.len();
        message[..2].copy_from_slice(&[order as u8, number]);
        message[2..length].copy_from_slice(data);
        self.socket.send(&message[..length])?;
        self.receive()
    }

    fn receive(&self) -> io::Result<Answer> {
        let mut answer = [0; 4];
        let length = self
            .socket
            .recv(&mut answer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::Error::other("a system call does not return"),
                _ => error,
            })?;
        match length {
            4 => Ok(Answer::from_ne_bytes(answer)),
            _ => Err(io::Error::other("a process has died of itself")),
        }
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

/// What a process does all its life. From the moment it has answered others work on the same
/// memory, with the same errno: so there are only system calls here that cannot fail then, and
/// nothing is allocated.
extern "C" fn obey(life: *mut libc::c_void) -> c_int {
    let mut message = [0u8; MESSAGE];
    // SAFETY: it is a process's, which is no more changed.
    let (socket, device) = unsafe {
        let life = life.cast::<Life>();
        ((*life).socket, (*life).device.as_ptr())
    };
    // SAFETY: system calls with buffers of the right size; the file descriptors are this process's.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // Files of others, which would stay open.
        libc::close_range(3, socket as u32 - 1, 0);
        libc::close_range(socket as u32 + 1, u32::MAX, 0);
        let mut answer: Answer = 0;
        loop {
            libc::send(socket, (&raw const answer).cast(), 4, 0);
            let length = libc::recv(socket, message.as_mut_ptr().cast(), MESSAGE, 0);
            if length < 2 {
                libc::_exit(0);
            }
            let (order, number) = (message[0], message[1].into());
            let result = if order == Order::Open as u8 {
                libc::open(device, libc::O_RDWR | libc::O_NONBLOCK) as isize
            } else if order == Order::Close as u8 {
                libc::close(number) as isize
            } else {
                libc::write(number, message[2..].as_ptr().cast(), length as usize - 2)
            };
            answer = match result {
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
    number: u8,
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
