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
#[path = "dlm_device/control.rs"]
mod control;
mod engine;
mod kernel_edge;
mod listing;
mod lock_table;
mod lockspace;
#[path = "dlm_device/lockspace.rs"]
mod lockspace_device;
mod storage;
mod terms;
mod wire;

use crate::{
    control::{
        ControlDevice,
        MonitorDevice, //
    },
    kernel_edge::{
        is_exported,
        may_log,
        on_request,
        prefix,
        Destination,
        Exclusion,
        Listing,
        ListingFile,
        Registration,
        Source, //
    },
    listing::{
        Files,
        Owners, //
    },
    lockspace_device::{
        Common,
        LockspaceNode, //
    },
};
use core::mem::MaybeUninit;
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

module! {
    type: DlmDevice,
    name: "dlm_device",
    authors: ["The dlm_device developers"],
    description: "Lock manager for local programs, with the interface of the DLM",
    license: "GPL",
}

/// All lockspaces, each reachable through its device.
type Registry = lockspace::Registry<LockspaceNode>;

/// The module: while it is loaded, the devices and tables that are always there.
#[pin_data]
struct DlmDevice {
    registry: Arc<Registry>,
    _owners: ListingFile<Owners<LockspaceNode>>,
    _files: ListingFile<Files<LockspaceNode>>,
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
            registry: Registry::new(Common::new()?)?,
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
    let folder = registry.common().tables.clone();
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
