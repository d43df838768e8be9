// SPDX-License-Identifier: GPL-2.0

//! dlm_device: a lock manager, offered to programs through files.
//!
//! One misc device controls (`/dev/dlm-control`: creates and removes lockspaces), one is there
//! because daemons open it (`/dev/dlm-monitor`), and each lockspace has its own
//! (`/dev/dlm_<lockspace>`): `write()` asks for locks, `poll()` says when there is something to
//! hear, `read()` hears it. The interface is that of `include/uapi/linux/dlm_device.h`.
//!
//! A request goes one way through the rooms, and what comes of it comes back as a record:
//!
//! ```text
//! write -> wire -> lockspace -> lock_table -> callbacks -> wire -> read
//! ```

mod callbacks;
mod engine;
mod kernel_edge;
mod listing;
mod lock_table;
mod lockspace;
mod storage;
mod terms;
mod wire;

use crate::{
    engine::Outcome,
    kernel_edge::{
        data,
        insist,
        is_administrator,
        is_exported,
        may_log,
        on_request,
        patience,
        pause,
        prefix,
        Destination,
        Device,
        Exclusion,
        Folder,
        Listing,
        ListingFile,
        Patience,
        Registration,
        Source, //
    },
    listing::{
        Files,
        Kind,
        Owners,
        Table, //
    },
    lockspace::{
        Door,
        Hearing,
        Lockspace,
        OpenFile, //
    },
    terms::Reply,
    wire::{
        Manner,
        Request,
        Widened,
        Width, //
    },
};
use core::mem::MaybeUninit;
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
    str::CString,
    sync::{
        poll::PollTable,
        Arc, //
    },
};

module! {
    type: DlmDevice,
    name: "dlm_device",
    authors: ["The dlm_device developers"],
    description: "Lock manager for local programs, with the interface of the DLM",
    license: "GPL",
}

/// All lockspaces, each reachable through its device.
type Registry = lockspace::Registry<LockspaceDoor>;

/// The module: while it is loaded, the devices and tables that are always there.
#[pin_data]
struct DlmDevice {
    registry: Arc<Registry>,
    _owners: ListingFile<Owners<LockspaceDoor>>,
    _files: ListingFile<Files<LockspaceDoor>>,
    #[pin]
    _control: Registration<ControlDevice>,
    #[pin]
    _monitor: Registration<MonitorDevice>,
    // The last to go.
    _alone: Option<Pin<KBox<Exclusion>>>,
}

impl kernel::InPlaceModule for DlmDevice {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _: { check_prefix()? },
            _alone: stay_alone()?,
            registry: Registry::new(Site::new()?)?,
            _owners: common_table(registry, c"owners"),
            _files: common_table(registry, c"files"),
            _control <- Registration::new(
                string(&[prefix().to_bytes(), b"-control"])?,
                registry.clone(),
            ),
            _monitor <- Registration::new(string(&[prefix().to_bytes(), b"-monitor"])?, ()),
            _: {
                let [major, minor, patch] = wire::VERSION;
                let shards = 1 << lockspace::shard_bits();
                pr_info!("version {major}.{minor}.{patch}, {shards} shards a lockspace\n");
            },
        })
    }
}

/// A table of all lockspaces together. No table of one lockspace has a name like that, without `_`.
fn common_table<L>(registry: &Arc<Registry>, name: &CStr) -> ListingFile<L>
where
    L: Listing<Subject = Registry, Kind = ()>,
{
    let folder = registry.site().tables.clone();
    ListingFile::new(folder, name, registry.clone(), &())
}

/// Longest [`prefix`] of device names.
const PREFIX_MAX: usize = 32;

/// `EINVAL` if devices cannot be named with this prefix.
fn check_prefix() -> Result {
    let prefix = prefix().to_bytes();
    let usable = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=PREFIX_MAX).contains(&prefix.len()) && prefix.iter().all(usable) {
        return Ok(());
    }
    pr_err!("prefix= takes 1 to {PREFIX_MAX} letters, digits, _ or -\n");
    Err(EINVAL)
}

/// Two modules cannot have devices of the same names: where ours have those of the kernel's own DLM,
/// `EEXIST` if that is loaded, and it cannot be loaded while what is returned is kept.
fn stay_alone() -> Result<Option<Pin<KBox<Exclusion>>>> {
    if prefix() != c"dlm" {
        return Ok(None);
    }
    let exclusion = KBox::pin_init(Exclusion::new(c"dlm", explain_exclusion), GFP_KERNEL)?;
    if is_exported(c"dlm_new_lockspace") {
        pr_err!(
            "the kernel's own dlm is loaded and has these devices already: unload it first, or \
             give these other names by prefix=\n"
        );
        return Err(EEXIST);
    }
    Ok(Some(exclusion))
}

/// Any user can make the kernel try to load a module that needs its DLM.
fn explain_exclusion() {
    if may_log() {
        pr_err!(
            "the kernel's own dlm, and what needs it, cannot be loaded beside devices of the same \
             names: unload dlm_device first, or load it with prefix=\n"
        );
    }
}

/// Puts a name together, byte by byte: lockspaces need not be named in ASCII.
fn string(parts: &[&[u8]]) -> Result<CString> {
    let mut string = KVec::new();
    for part in parts {
        string.extend_from_slice(part, on_request())?;
    }
    string.push(0, on_request())?;
    let string = CStr::from_bytes_with_nul(&string).map_err(|_| EINVAL)?;
    Ok(CString::try_from(string)?)
}

/// Where a request is put together: on the stack, and not cleared first.
type RequestBuffer = [MaybeUninit<u8>; wire::REQUEST_MAX];

const REQUEST_BUFFER: RequestBuffer = [MaybeUninit::uninit(); wire::REQUEST_MAX];

/// Reads what was given to `write()`. `EINVAL` for its size, `EFAULT`.
#[inline(always)]
fn read_request<'a>(
    source: &'a mut impl Source,
    buffer: &'a mut RequestBuffer,
) -> Result<&'a [u8]> {
    let length = source.len();
    wire::check_request_size(length)?;
    let bytes = buffer.get_mut(..length).ok_or(EINVAL)?;
    let bytes = source.copy(bytes);
    if bytes.len() != length {
        return Err(EFAULT);
    }
    Ok(bytes)
}

/// Reads the requests of a series, and tells the first one's manner. Whatever is as long, but cannot
/// be seen to be a series, is refused for its size, as it was before there were any.
fn read_series(source: &mut impl Source) -> Result<(KVVec<u8>, Manner)> {
    let length = source.len();
    if length > wire::SERIES_MAX {
        return Err(EINVAL);
    }
    let bytes = source.copy_all()?;
    let manner = wire::manner_of_series(&bytes)?;
    if bytes.len() != length {
        return Err(EFAULT);
    }
    Ok((bytes, manner))
}

/// Answers a read of exactly as many bytes as a version takes.
fn write_version(destination: &mut impl Destination) -> Result<usize> {
    write_all(destination, &wire::version())
}

#[inline(always)]
fn write_all(destination: &mut impl Destination, bytes: &[u8]) -> Result<usize> {
    if destination.copy(bytes) != bytes.len() {
        return Err(EFAULT);
    }
    Ok(bytes.len())
}

/// `/dev/dlm-control`.
struct ControlDevice {
    registry: Arc<Registry>,
}

#[vtable]
impl MiscDevice for ControlDevice {
    type Ptr = KBox<Self>;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let registry = data(misc)?.clone();
        Ok(KBox::new(ControlDevice { registry }, on_request())?)
    }

    fn read_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        Self::read(kiocb.file(), iov, Patience::NonBlocking)
    }

    fn write_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        Self::write(kiocb.file(), iov)
    }
}

impl Device for ControlDevice {
    type Data = Arc<Registry>;

    const STREAMS: bool = false;

    fn read(_device: &Self, destination: &mut impl Destination, _: Patience) -> Result<usize> {
        if destination.len() != wire::VERSION_LEN {
            return Err(EINVAL);
        }
        write_version(destination)
    }

    fn write(device: &Self, source: &mut impl Source) -> Result<usize> {
        let mut buffer = REQUEST_BUFFER;
        let bytes = read_request(source, &mut buffer)?;
        let mut widened = Widened::new();
        let manner = Manner::of(bytes)?;
        manner.check_length(bytes)?;
        device.carry_out(Request::parse(bytes, manner, &mut widened)?)
    }
}

impl ControlDevice {
    #[inline(always)]
    fn carry_out(&self, request: Request<'_>) -> Result<usize> {
        match request {
            Request::CreateLockspace { flags, name } => {
                check_administrator()?;
                wire::check_new_lockspace(flags, name)?;
                let exclusive = flags & wire::SPACE_NEWEXCL != 0;
                Ok(self.registry.create(name, exclusive)? as usize)
            }
            Request::RemoveLockspace { flags, minor } => {
                check_administrator()?;
                let force = flags & wire::SPACE_FORCEFREE != 0;
                self.registry.remove(minor, force)?;
                Ok(0)
            }
            _ => Err(EINVAL),
        }
    }
}

fn check_administrator() -> Result {
    if is_administrator() {
        Ok(())
    } else {
        Err(EPERM)
    }
}

/// `/dev/dlm-monitor`: nothing but opening and closing.
struct MonitorDevice;

#[vtable]
impl MiscDevice for MonitorDevice {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        Ok(KBox::new(MonitorDevice, GFP_KERNEL)?)
    }
}

impl Device for MonitorDevice {
    type Data = ();

    const STREAMS: bool = false;
}

/// `/dev/dlm_<lockspace>`.
struct LockspaceDevice {
    file: OpenFile,
}

/// What the doors of all lockspaces share: the folder of their tables in debugfs.
struct Site {
    tables: Arc<Folder>,
}

impl Site {
    fn new() -> Result<Self> {
        Ok(Site {
            tables: Arc::new(Folder::new(prefix()), GFP_KERNEL)?,
        })
    }
}

/// The device of a lockspace and its tables in debugfs, as long as the lockspace exists.
struct LockspaceDoor {
    device: Pin<KBox<Registration<LockspaceDevice>>>,
    _tables: KVec<ListingFile<Table>>,
}

impl Door for LockspaceDoor {
    type Site = Site;

    fn open(site: &Site, name: &[u8], lockspace: Arc<Lockspace>) -> Result<Self> {
        let mut tables = KVec::with_capacity(Kind::ALL.len(), on_request())?;
        for kind in Kind::ALL {
            let name = string(&[name, kind.suffix()])?;
            let table = ListingFile::new(site.tables.clone(), &name, lockspace.clone(), kind);
            tables.push(table, on_request())?;
        }
        let name = string(&[prefix().to_bytes(), b"_", name])?;
        let device = Registration::new(name, lockspace);
        Ok(LockspaceDoor {
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
        let file = data(misc)?.open()?;
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
            let (bytes, manner) = read_series(source)?;
            return device.carry_out_series(&bytes, manner);
        }
        let mut buffer = REQUEST_BUFFER;
        let bytes = read_request(source, &mut buffer)?;
        let manner = Manner::of(bytes)?;
        if manner != Manner::PLAIN {
            device.file.queue().heed(manner);
            manner.check_length(bytes)?;
        }
        match device.carry_out(bytes, manner, false) {
            // Its manner is read again, for to keep it costs all who do not come here.
            Err(error) => device.insist(error, bytes, Manner::of(bytes)?, false),
            result => result,
        }
    }
}

/// Before every so many requests of a series others may run, and it ends if its program has been
/// killed.
const PACE: usize = 16;

impl LockspaceDevice {
    /// Carries out requests one after the other, the first in this manner, up to the first that fails,
    /// or until the program is killed. Returns how many there were, or the error if it was the first.
    fn carry_out_series(&self, bytes: &[u8], manner: Manner) -> Result<usize> {
        let mut rest = bytes;
        let mut heeded = manner;
        self.file.queue().heed(manner);
        let mut count = 0;
        while !rest.is_empty() {
            if count % PACE == 0 && pause().is_err() {
                break;
            }
            let carried_out = wire::split_series(rest).and_then(|(manner, first, others)| {
                if manner != heeded {
                    self.file.queue().heed(manner);
                    heeded = manner;
                }
                rest = others;
                self.carry_out_apart(first, manner, true)
                    .or_else(|error| self.insist(error, first, manner, true))
            });
            match carried_out {
                Ok(_) => count += 1,
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(count)
    }

    /// [`insist`]s on a request. A call of its own, since a closure would cost also who does not come
    /// here.
    #[cold]
    fn insist(&self, error: Error, bytes: &[u8], manner: Manner, in_series: bool) -> Result<usize> {
        insist(error, || self.carry_out_apart(bytes, manner, in_series))
    }

    /// The same as [`Self::carry_out`], not inlined.
    #[inline(never)]
    fn carry_out_apart(&self, bytes: &[u8], manner: Manner, in_series: bool) -> Result<usize> {
        self.carry_out(bytes, manner, in_series)
    }

    /// Carries out a request, whose manner the queue has heeded. Returns what `write()` does if it is
    /// alone: a new lock's id, or 0; and, if the reply was to be returned but is not there yet,
    /// [`wire::PENDING`].
    #[inline(always)]
    fn carry_out(&self, bytes: &[u8], manner: Manner, in_series: bool) -> Result<usize> {
        let file = &self.file;
        let hearing = |reply| Hearing {
            reply,
            acknowledge: in_series,
        };
        let mut widened = Widened::new();
        let (id, reply, outcome) = match Request::parse(bytes, manner, &mut widened)? {
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
                let (id, outcome) = file.request(mode, flags, hearing(reply), name, change)?;
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
                file.convert(id, mode, flags, hearing(reply), value, change)?,
            ),
            Request::Unlock {
                id,
                flags,
                reply,
                value,
                change,
            } => (0, reply, file.unlock(id, flags, reply, value, change)?),
            Request::Adopt {
                mode,
                flags,
                name,
                change,
            } => return Ok(file.adopt(mode, flags, name, change)? as usize),
            Request::Cancel { id, flags, change } => {
                return file.cancel(id, flags, change).map(|()| 0)
            }
            Request::Deadlock { id, flags } => {
                return file.cancel_deadlocked(id, flags).map(|()| 0)
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
