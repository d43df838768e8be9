// SPDX-License-Identifier: GPL-2.0

//! `/dev/dlm-control`, which creates and removes lockspaces, and `/dev/dlm-monitor`, which daemons open.

use crate::{
    kernel_edge::{
        data,
        is_administrator,
        on_request,
        Destination,
        Device,
        Patience,
        Source, //
    },
    read_request,
    wire::{
        self,
        Dialect,
        Request,
        Widened, //
    },
    write_version,
    Registry,
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
    sync::Arc, //
};

/// `/dev/dlm-control`.
pub(crate) struct ControlDevice {
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
        let dialect = Dialect::of(bytes)?;
        dialect.check_length(bytes)?;
        device.carry_out(Request::parse(bytes, dialect, &mut widened)?)
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
pub(crate) struct MonitorDevice;

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
