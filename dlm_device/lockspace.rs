// SPDX-License-Identifier: GPL-2.0

//! `/dev/dlm_<lockspace>`: where programs ask for locks, and hear what becomes of them.

use crate::{
    engine::Outcome,
    kernel_edge::{
        data,
        minor,
        on_request,
        patience,
        pause,
        prefix,
        retry_with_memory,
        trace,
        Destination,
        Device,
        Folder,
        ListingFile,
        Patience,
        Registration,
        Source, //
    },
    listing::{
        self,
        Kind,
        Table, //
    },
    lockspace::{
        Hearing,
        Lockspace,
        Node,
        OpenFile, //
    },
    read_request,
    string,
    terms::Reply,
    wire::{
        self,
        Dialect,
        Request,
        Widened,
        Width, //
    },
    write_version,
    REQUEST_BUFFER, //
};
use kernel::{
    fs::{
        File,
        Kiocb, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::{
        poll::PollTable,
        Arc, //
    },
};

/// `/dev/dlm_<lockspace>`.
pub(crate) struct LockspaceDevice {
    file: OpenFile,
}

/// What the nodes of all lockspaces share: the folder of their tables in debugfs.
pub(crate) struct Common {
    pub(crate) tables: Arc<Folder>,
}

impl Common {
    pub(crate) fn new() -> Result<Self> {
        Ok(Common {
            tables: Arc::new(Folder::new(prefix()), GFP_KERNEL)?,
        })
    }
}

/// The device of a lockspace and its tables in debugfs, as long as the lockspace exists.
pub(crate) struct LockspaceNode {
    device: Pin<KBox<Registration<LockspaceDevice>>>,
    _tables: KVec<ListingFile<Table>>,
}

impl Node for LockspaceNode {
    type Common = Common;

    fn open(common: &Common, name: &[u8], lockspace: Arc<Lockspace>) -> Result<Self> {
        let mut tables = KVec::with_capacity(Kind::ALL.len(), on_request())?;
        for kind in Kind::ALL {
            let name = string(&[name, kind.suffix()])?;
            let table = ListingFile::new(common.tables.clone(), &name, lockspace.clone(), kind);
            tables.push(table, on_request())?;
        }
        let name = string(&[prefix().to_bytes(), b"_", name])?;
        let device = Registration::new(name, lockspace);
        Ok(LockspaceNode {
            device: KBox::try_pin_init(device, on_request())?,
            _tables: tables,
        })
    }

    fn number(&self) -> u32 {
        self.device.minor()
    }
}

#[vtable]
impl MiscDevice for LockspaceDevice {
    type Ptr = KBox<Self>;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let file = data(misc)?.open(minor(misc))?;
        Ok(KBox::new(LockspaceDevice { file }, on_request())?)
    }

    fn read_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let patience = patience(&kiocb);
        Self::read(kiocb.file(), iov, patience)
    }

    fn write_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        Self::write(kiocb.file(), iov)
    }

    fn show_fdinfo(device: &Self, out: &SeqFile, _file: &File) {
        listing::describe(out, &device.file);
    }
}

impl Device for LockspaceDevice {
    type Data = Arc<Lockspace>;

    const STREAMS: bool = true;

    fn poll(device: &Self, file: &File, table: PollTable<'_>) -> u32 {
        device.file.queue().poll(file, table)
    }

    #[inline(always)]
    fn read(
        device: &Self,
        destination: &mut impl Destination,
        patience: Patience,
    ) -> Result<usize> {
        let room = destination.len();
        if room == wire::VERSION_LEN {
            return write_version(destination);
        }
        if room < wire::record_min(Width::Bits32) {
            return Err(EINVAL);
        }
        device.file.queue().read(destination, patience)
    }

    #[inline(always)]
    fn write(device: &Self, source: &mut impl Source) -> Result<usize> {
        if source.len() > wire::REQUEST_MAX {
            let (bytes, dialect) = read_series(source)?;
            return device.carry_out_series(&bytes, dialect);
        }
        let mut buffer = REQUEST_BUFFER;
        let bytes = read_request(source, &mut buffer)?;
        let dialect = Dialect::of(bytes)?;
        if dialect != Dialect::PLAIN {
            device.file.queue().note_dialect(dialect);
            dialect.check_length(bytes)?;
        }
        if trace::is_on() {
            return device.carry_out_retrying(bytes, dialect, false);
        }
        match device.carry_out::<false>(bytes, dialect, false) {
            // Its dialect is read again, for to keep it costs all who do not come here.
            Err(error) => device.retry_with_memory(error, bytes, Dialect::of(bytes)?, false),
            result => result,
        }
    }
}

/// Reads the requests of a series, and tells the first one's dialect. Whatever is as long, but cannot
/// be seen to be a series, is refused for its size, as it was before there were any.
fn read_series(source: &mut impl Source) -> Result<(KVVec<u8>, Dialect)> {
    let length = source.len();
    if length > wire::SERIES_MAX {
        return Err(EINVAL);
    }
    let bytes = source.copy_all()?;
    let dialect = wire::dialect_of_series(&bytes)?;
    if bytes.len() != length {
        return Err(EFAULT);
    }
    Ok((bytes, dialect))
}

/// Before every so many requests of a series others may run, and it ends if its program has been
/// killed.
const PACE: usize = 16;

impl LockspaceDevice {
    /// Carries out requests one after the other, the first in this dialect, up to the first that fails,
    /// or until the program is killed. Returns how many there were, or the error if it was the first.
    fn carry_out_series(&self, bytes: &[u8], dialect: Dialect) -> Result<usize> {
        let mut rest = bytes;
        let mut noted = dialect;
        self.file.queue().note_dialect(dialect);
        let mut count = 0;
        while !rest.is_empty() {
            if count % PACE == 0 && pause().is_err() {
                break;
            }
            let carried_out = wire::split_series(rest).and_then(|(dialect, first, others)| {
                if dialect != noted {
                    self.file.queue().note_dialect(dialect);
                    noted = dialect;
                }
                rest = others;
                self.carry_out_retrying(first, dialect, true)
            });
            match carried_out {
                Ok(_) => count += 1,
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(count)
    }

    /// [`retry_with_memory`] for a request. A call of its own, since a closure would cost also who does not come
    /// here.
    #[cold]
    fn retry_with_memory(
        &self,
        error: Error,
        bytes: &[u8],
        dialect: Dialect,
        in_series: bool,
    ) -> Result<usize> {
        retry_with_memory(error, || self.carry_out_apart(bytes, dialect, in_series))
    }

    fn carry_out_retrying(&self, bytes: &[u8], dialect: Dialect, in_series: bool) -> Result<usize> {
        self.carry_out_apart(bytes, dialect, in_series)
            .or_else(|error| self.retry_with_memory(error, bytes, dialect, in_series))
    }

    /// The same as [`Self::carry_out`], not inlined.
    #[inline(never)]
    fn carry_out_apart(&self, bytes: &[u8], dialect: Dialect, in_series: bool) -> Result<usize> {
        if trace::is_on() {
            return self.carry_out_traced(bytes, dialect, in_series);
        }
        self.carry_out::<false>(bytes, dialect, in_series)
    }

    #[cold]
    #[inline(never)]
    fn carry_out_traced(&self, bytes: &[u8], dialect: Dialect, in_series: bool) -> Result<usize> {
        self.carry_out::<true>(bytes, dialect, in_series)
    }

    /// Carries out a request, whose dialect the queue has noted. Returns what `write()` does if it is
    /// alone: a new lock's id, or 0; and, if the reply was to be returned but is not there yet,
    /// [`wire::PENDING`].
    #[inline(always)]
    fn carry_out<const TRACED: bool>(
        &self,
        bytes: &[u8],
        dialect: Dialect,
        in_series: bool,
    ) -> Result<usize> {
        let file = &self.file;
        let hearing = |reply| Hearing {
            reply,
            acknowledge: in_series,
        };
        let mut widened = Widened::new();
        let (id, reply, outcome) = match Request::parse(bytes, dialect, &mut widened)? {
            // Nobody would ever know the id.
            Request::Lock {
                reply: Reply::Return,
                ..
            }
            | Request::Adopt { .. }
                if in_series =>
            {
                return Err(EINVAL)
            }
            Request::Lock {
                mode,
                flags,
                reply,
                name,
                change,
            } => {
                let (id, outcome) =
                    file.request::<TRACED>(mode, flags, hearing(reply), name, change)?;
                (id, reply, outcome)
            }
            Request::Convert {
                id,
                mode,
                flags,
                reply,
                value,
                change,
            } => (
                0,
                reply,
                file.convert::<TRACED>(id, mode, flags, hearing(reply), value, change)?,
            ),
            Request::Unlock {
                id,
                flags,
                reply,
                value,
                change,
            } => (
                0,
                reply,
                file.unlock::<TRACED>(id, flags, reply, value, change)?,
            ),
            Request::Adopt {
                mode,
                flags,
                name,
                change,
            } => return Ok(file.adopt(mode, flags, name, change)? as usize),
            Request::Cancel { id, flags, change } => {
                return file.cancel::<TRACED>(id, flags, change).map(|()| 0)
            }
            Request::Deadlock { id, flags } => {
                return file.cancel_deadlocked::<TRACED>(id, flags).map(|()| 0)
            }
            Request::Purge { nodeid, whose } => return file.purge(nodeid, whose).map(|()| 0),
            Request::CreateLockspace { .. } | Request::RemoveLockspace { .. } => {
                return Err(EINVAL)
            }
        };
        let pending = reply == Reply::Return && outcome == Outcome::Told;
        Ok(if pending { id | wire::PENDING } else { id } as usize)
    }
}
