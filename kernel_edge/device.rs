// SPDX-License-Identifier: GPL-2.0

//! A misc device that is named at run time, carries data, and can be polled: [`Device`] is what
//! `kernel::miscdevice::MiscDevice` lacks, [`Registration`] what `MiscDeviceRegistration` lacks. The
//! file operations are upstream's with more filled in.

use super::memory::Piece;
use super::{
    Destination,
    Source, //
};
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::to_result,
    fs::{
        File,
        Kiocb,
        LocalFile, //
    },
    iov::IovIterSource,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*,
    str::CString,
    sync::poll::PollTable,
    types::{
        ForeignOwnable,
        Opaque, //
    },
    uaccess::UserPtr,
};

/// A misc device with data of its own that may be polled. It is to be registered by
/// [`Registration`]: by upstream's `MiscDeviceRegistration::register` it could not be opened.
pub(crate) trait Device: MiscDevice {
    /// What the device is about; [`data`] gives it to `open`.
    type Data: Send + Sync;

    /// Whether there is not always something to read: [`Self::poll`] means something, and reads and
    /// writes by an iterator heed [`patience`]. So io_uring need not keep a thread for each that
    /// might wait. Such a file has no position, either, that anybody need follow.
    const STREAMS: bool;

    /// The poll flags of an open file, after registering to be woken.
    fn poll(_private: Private<'_, Self>, _file: &File, _table: PollTable<'_>) -> u32 {
        0
    }

    /// What `read()` does; returns how many bytes it has copied. Only called if there is a
    /// [`MiscDevice::read_iter`], which is to do the same.
    fn read(
        _private: Private<'_, Self>,
        _destination: &mut impl Destination,
        _patience: Patience,
    ) -> Result<usize> {
        Err(EINVAL)
    }

    /// What `write()` does; returns what that returns. Only called if there is a
    /// [`MiscDevice::write_iter`], which is to do the same.
    fn write(_private: Private<'_, Self>, _source: &mut impl Source) -> Result<usize> {
        Err(EINVAL)
    }
}

/// What a device keeps for an open file, as its methods see it.
pub(crate) type Private<'a, T> = <<T as MiscDevice>::Ptr as ForeignOwnable>::Borrowed<'a>;

/// A registered misc device; dropping it takes the device away.
///
/// # Invariants
///
/// `misc` is registered, with the file operations of `T` and `name`, which is not changed.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(crate) struct Registration<T: Device> {
    #[pin]
    misc: Opaque<bindings::miscdevice>,
    name: CString,
    data: T::Data,
}

// SAFETY: `misc_register` and `misc_deregister` may be called on any thread, and `T::Data` is
// `Send`.
unsafe impl<T: Device> Send for Registration<T> {}

// SAFETY: `&self` methods only read fields that do not change while the device is registered, and
// `T::Data` is `Sync`.
unsafe impl<T: Device> Sync for Registration<T> {}

impl<T: Device> Registration<T> {
    /// Registers a device. Its node is /dev/`name`. It is given no mode, so the kernel makes it for
    /// root alone (0600), and names none to udev, which would set that again at every event.
    pub(crate) fn new(name: CString, data: T::Data) -> impl PinInit<Self, Error> {
        let name_pointer = name.as_char_ptr();
        try_pin_init!(Self {
            name,
            data,
            // Last, because from then on the device can be opened.
            misc <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let mut misc = MiscDeviceOptions { name: c"" }.into_raw::<T>();
                misc.name = name_pointer;
                misc.fops = Operations::<T>::TABLE;
                // SAFETY: `slot` can be written.
                unsafe { slot.write(misc) };
                // SAFETY: `slot` holds an initialised miscdevice, which stays pinned until it is
                // deregistered by `drop`; so do the name, which `Self` owns on the heap, and the
                // operations, which are static.
                to_result(unsafe { bindings::misc_register(slot) })?;
                // SAFETY: It has just been registered.
                unsafe { leave_power_alone(slot) };
                Ok::<_, Error>(())
            }),
        })
    }

    /// The minor number that the device got.
    pub(crate) fn minor(&self) -> u32 {
        // SAFETY: By the type invariants `misc` is registered; `minor` was written when it was
        // and does not change.
        let minor = unsafe { (*self.misc.get()).minor };
        minor.unsigned_abs()
    }
}

#[pinned_drop]
impl<T: Device> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants the device is registered.
        unsafe { bindings::misc_deregister(self.misc.get()) };
    }
}

/// Says that there is nothing about a device whose power could be managed, so that the kernel does
/// without the files for that in sysfs: they take a kilobyte for each device.
///
/// # Safety
///
/// The device is registered.
unsafe fn leave_power_alone(misc: *mut bindings::miscdevice) {
    #[cfg(CONFIG_PM)]
    // SAFETY: Of a registered device this points to what is behind it, which stays until it is
    // deregistered.
    unsafe {
        bindings::pm_runtime_no_callbacks((*misc).this_device)
    };
    #[cfg(not(CONFIG_PM))]
    let _ = misc;
}

/// The data of the device that is being opened. `ENODEV` if it is no [`Registration`].
pub(crate) fn data<T: Device>(misc: &MiscDeviceRegistration<T>) -> Result<&T::Data> {
    let misc = misc.as_raw();
    // SAFETY: It is registered, so its operations were written, and do not change.
    if !core::ptr::eq(unsafe { (*misc).fops }, Operations::<T>::TABLE) {
        return Err(ENODEV);
    }
    let registration = misc.cast::<Registration<T>>();
    // SAFETY: As only a `Registration<T>` has these operations, `misc` is the first field of one,
    // which is `repr(C)`. Its `data` was written before it was registered, and it stays registered
    // while `misc` is borrowed, as `misc_open` holds `misc_mtx` across `open`.
    Ok(unsafe { &(*registration).data })
}

/// The minor number of the device that is being opened.
pub(crate) fn minor<T: Device>(misc: &MiscDeviceRegistration<T>) -> u32 {
    // SAFETY: It is registered, so its number was written, and does not change.
    unsafe { (*misc.as_raw()).minor }.unsigned_abs()
}

struct Operations<T: Device>(PhantomData<T>);

impl<T: Device> Operations<T> {
    const BASE: bindings::miscdevice = MiscDeviceOptions { name: c"" }.into_raw::<T>();

    const UPSTREAM: bindings::file_operations = {
        // SAFETY: `into_raw` points `fops` at a static table.
        unsafe { *Self::BASE.fops }
    };

    const TABLE: &'static bindings::file_operations = &bindings::file_operations {
        read: if T::HAS_READ_ITER {
            Some(Self::read)
        } else {
            None
        },
        write: if T::HAS_WRITE_ITER {
            Some(Self::write)
        } else {
            None
        },
        write_iter: if T::HAS_WRITE_ITER {
            Some(Self::write_iter)
        } else {
            None
        },
        open: if T::STREAMS {
            Some(Self::open)
        } else {
            Self::UPSTREAM.open
        },
        poll: if T::STREAMS { Some(Self::poll) } else { None },
        llseek: Some(bindings::noop_llseek),
        ..Self::UPSTREAM
    };

    /// What `open` has left for the other operations.
    ///
    /// # Safety
    ///
    /// The file is one that [`MiscDevice::open`] of `T` has set up and that is not being released,
    /// for as long as `'a`.
    #[inline(always)]
    unsafe fn private<'a>(file: *mut bindings::file) -> Private<'a, T> {
        // SAFETY: `open` left the result of `T::Ptr::into_foreign` in `private_data`, which is
        // taken back only by `release`.
        unsafe { <T::Ptr as ForeignOwnable>::borrow((*file).private_data) }
    }

    /// # Safety
    ///
    /// Called by the kernel for a misc device of these operations, with a file that is being opened.
    unsafe extern "C" fn open(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> kernel::ffi::c_int {
        let Some(open) = Self::UPSTREAM.open else {
            return ENXIO.to_errno();
        };
        // SAFETY: Its condition is ours.
        let error = unsafe { open(inode, file) };
        if error == 0 {
            // SAFETY: The file is being opened, so nobody else looks at its mode yet.
            unsafe { (*file).f_mode |= FMODE_STREAM | FMODE_NOWAIT };
        }
        error
    }

    /// # Safety
    ///
    /// Called by the kernel, with a file that [`MiscDevice::open`] of `T` has set up.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        start: *mut kernel::ffi::c_char,
        length: usize,
        _position: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: The kernel holds the file during the call.
        let private = unsafe { Self::private(file) };
        // SAFETY: As above; the flags may change at any time, but are a word.
        let flags = unsafe { (&raw const (*file).f_flags).read_volatile() };
        let mut destination = Piece::new(UserPtr::from_ptr(start.cast()), length);
        result(T::read(private, &mut destination, Patience::of_file(flags)))
    }

    /// # Safety
    ///
    /// As for [`Self::read`].
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        start: *const kernel::ffi::c_char,
        length: usize,
        _position: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: The kernel holds the file during the call.
        let private = unsafe { Self::private(file) };
        let mut source = Piece::new(UserPtr::from_ptr(start.cast_mut().cast()), length);
        result(T::write(private, &mut source))
    }

    /// Like upstream's, but `EAGAIN` is an answer like any other. io_uring takes it for "not yet",
    /// and would carry the request out again some time. So, if the call can end later, it ends with
    /// it as if that were later.
    ///
    /// # Safety
    ///
    /// As for [`Self::read`], with a kiocb of that file and an `iov_iter` to read from, both valid.
    unsafe extern "C" fn write_iter(
        kiocb: *mut bindings::kiocb,
        source: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: It is valid. What can end later has a function that is told the end.
        let complete = unsafe { (*kiocb).ki_complete };
        // SAFETY: Both are valid during the call, and ours alone.
        let (call, source) = unsafe { (Kiocb::from_raw(kiocb), IovIterSource::from_raw(source)) };
        let outcome = T::write_iter(call, source);
        match (outcome, complete) {
            (Err(EAGAIN), Some(complete)) => {
                // SAFETY: The kiocb is told its end once, as what is returned says that it will be,
                // and nothing of ours refers to it any more.
                unsafe { complete(kiocb, result(outcome)) };
                result(Err(EIOCBQUEUED))
            }
            (outcome, _) => result(outcome),
        }
    }

    /// # Safety
    ///
    /// As for [`Self::read`], and with a valid poll table.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table,
    ) -> bindings::__poll_t {
        // SAFETY: The kernel holds the file during the call.
        let private = unsafe { Self::private(file) };
        // SAFETY: The kernel gives a valid file, and holds it during the call; polling does not
        // use the file's position.
        let file = unsafe { File::from_raw_file(file) };
        // SAFETY: The kernel gives a valid poll table or null, for the time of the call.
        let table = unsafe { PollTable::from_raw(table) };
        T::poll(private, file, table)
    }
}

/// What the kernel makes of what an operation returns: a number, or a negative error.
#[inline(always)]
fn result(outcome: Result<usize>) -> isize {
    match outcome {
        Ok(number) => number as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// `FMODE_STREAM`, `FMODE_NOWAIT` and `IOCB_NOWAIT` of `linux/fs.h`, whose casts bindgen does not
/// follow.
const FMODE_STREAM: bindings::fmode_t = 1 << 21;
const FMODE_NOWAIT: bindings::fmode_t = 1 << 27;
const IOCB_NOWAIT: kernel::ffi::c_int = 1 << 3;

/// How long a call may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until there is something to hear.
    UntilHeard,
    /// It does not wait for that (`O_NONBLOCK`), but it may sleep.
    NonBlocking,
    /// It does not sleep at all: whoever calls tries again where it may (`IOCB_NOWAIT`).
    Never,
}

impl Patience {
    fn of_file(flags: u32) -> Self {
        if flags & bindings::O_NONBLOCK == 0 {
            Patience::UntilHeard
        } else {
            Patience::NonBlocking
        }
    }
}

/// How long a call may take that comes with a kiocb.
pub(crate) fn patience<T: ForeignOwnable>(kiocb: &Kiocb<'_, T>) -> Patience {
    let kiocb = kiocb.as_raw();
    // SAFETY: The kiocb is borrowed, and only its owner, who is waiting for us, changes it.
    let flags = unsafe { (*kiocb).ki_flags };
    if flags & IOCB_NOWAIT != 0 {
        return Patience::Never;
    }
    // SAFETY: A kiocb holds its file for as long as it lives, and it does not leave this thread
    // here.
    let file = unsafe { LocalFile::from_raw_file((*kiocb).ki_filp) };
    Patience::of_file(file.flags())
}
