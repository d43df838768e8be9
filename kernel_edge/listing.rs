// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs that list something, item by item, by way of the kernel's `seq_file`.
//!
//! `seq_file` asks for an item again when its buffer was too small for it, and starts over when
//! somebody seeks. So an item is passed only once it is known to have fitted, and it is enough for
//! a [`Listing`] to go forward and to begin again.

use super::on_request;
use core::{
    marker::PhantomData,
    ptr::{
        from_ref,
        null_mut, //
    },
};
use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        Arc,
        ArcBorrow, //
    },
};

/// One open of a file that lists something.
pub(crate) trait Listing: Sized + Send {
    /// What its files are about.
    type Subject: Send + Sync;

    /// What tells one file of a subject from another.
    type Kind: Sync + 'static;

    fn open(subject: ArcBorrow<'_, Self::Subject>, kind: &'static Self::Kind) -> Self;

    /// What comes before the first item, if there is one.
    fn heading(&self) -> &'static [u8];

    /// Goes to the first item.
    fn rewind(&mut self);

    /// Whether there is an item here, and not the end.
    fn more(&mut self) -> Result<bool>;

    /// Writes the item that is here, again if asked again.
    fn show(&self, out: &SeqFile);

    /// Goes to the next item.
    fn pass(&mut self);
}

/// A listing, and whether its heading has not been passed yet.
struct Reading<L> {
    at_heading: bool,
    listing: L,
}

impl<L: Listing> Reading<L> {
    fn rewind(&mut self) {
        self.at_heading = true;
        self.listing.rewind();
    }

    fn show(&self, out: &SeqFile) {
        if self.at_heading {
            write_bytes(out, self.listing.heading());
        } else {
            self.listing.show(out);
        }
    }

    fn pass(&mut self) {
        if self.at_heading {
            self.at_heading = false;
        } else {
            self.listing.pass();
        }
    }
}

/// Writes bytes as they are.
pub(crate) fn write_bytes(out: &SeqFile, bytes: &[u8]) {
    let seq = from_ref(out).cast_mut().cast::<bindings::seq_file>();
    // SAFETY: A `SeqFile` is a `seq_file`, which by its invariants nobody else uses now; the bytes
    // can be read. That they did not fit is seen from `seq` later.
    unsafe { bindings::seq_write(seq, bytes.as_ptr().cast(), bytes.len()) };
}

/// A folder in debugfs, which each file in it keeps; dropping it removes it.
///
/// # Invariants
///
/// `0` is what debugfs gave for the folder, perhaps an error, which debugfs takes back again.
pub(crate) struct Folder(*mut bindings::dentry);

// SAFETY: debugfs may be called on any thread.
unsafe impl Send for Folder {}
// SAFETY: Nothing can be changed by a reference to a folder.
unsafe impl Sync for Folder {}

impl Folder {
    /// Makes a folder. That debugfs is not there, or the name is taken, is no error: there will
    /// be no files then.
    pub(crate) fn new(name: &CStr) -> Self {
        // SAFETY: The name is a valid string; a folder without parent is in debugfs' root.
        Folder(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), null_mut()) })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. No file is left in it, as each keeps its folder.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}

/// A file in debugfs, for all to read; dropping it removes it, and waits for those who are just
/// reading.
///
/// # Invariants
///
/// `entry` is what debugfs gave for the file in `_folder`, perhaps an error. The file carries
/// `_subject`, and as auxiliary data its kind.
pub(crate) struct ListingFile<L: Listing> {
    entry: *mut bindings::dentry,
    _folder: Arc<Folder>,
    _subject: Arc<L::Subject>,
}

// SAFETY: debugfs may be called on any thread, and the subject is shared by references that are
// counted.
unsafe impl<L: Listing> Send for ListingFile<L> {}
// SAFETY: Nothing can be changed by a reference to a file.
unsafe impl<L: Listing> Sync for ListingFile<L> {}

impl<L: Listing> ListingFile<L> {
    pub(crate) fn new(
        folder: Arc<Folder>,
        name: &CStr,
        subject: Arc<L::Subject>,
        kind: &'static L::Kind,
    ) -> Self {
        // SAFETY: The name is a valid string, the folder is one, or an error, which debugfs
        // passes on, and the operations and the kind are static. The subject stays where it is, and
        // outlives the file.
        let entry = unsafe {
            bindings::debugfs_create_file_full(
                name.as_char_ptr(),
                0o444,
                folder.0,
                Arc::as_ptr(&subject).cast_mut().cast(),
                from_ref(kind).cast(),
                Operations::<L>::FILE,
            )
        };
        ListingFile {
            entry,
            _folder: folder,
            _subject: subject,
        }
    }
}

impl<L: Listing> Drop for ListingFile<L> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, and the file is still there, as its folder is. When it
        // returns, nobody uses the subject any more. Both are let go of after this.
        unsafe { bindings::debugfs_remove(self.entry) };
    }
}

struct Operations<L>(PhantomData<L>);

impl<L: Listing> Operations<L> {
    const FILE: &'static bindings::file_operations = &bindings::file_operations {
        owner: this_module::<crate::LocalModule>().as_ptr(),
        open: Some(Self::open),
        read: Some(bindings::seq_read),
        llseek: Some(bindings::seq_lseek),
        release: Some(Self::release),
        ..pin_init::zeroed()
    };

    const STEPS: &'static bindings::seq_operations = &bindings::seq_operations {
        start: Some(Self::start),
        next: Some(Self::next),
        show: Some(Self::show),
        stop: Some(Self::stop),
    };

    /// # Safety
    ///
    /// Called by debugfs for a file that is being opened, and that a [`ListingFile`] of `L` made.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: The kernel gives a valid inode; its data is what the `ListingFile` gave,
            // which cannot be dropped meanwhile, as debugfs lets it wait.
            let subject = unsafe { ArcBorrow::from_raw((*inode).i_private.cast::<L::Subject>()) };
            // SAFETY: The file is in debugfs, and of this kind is what the `ListingFile` gave, too.
            let kind = unsafe { &*bindings::debugfs_get_aux(file).cast::<L::Kind>() };
            let reading = Reading {
                at_heading: true,
                listing: L::open(subject, kind),
            };
            let reading = KBox::new(reading, on_request())?;
            // SAFETY: The file is being opened, and the operations are static.
            to_result(unsafe { bindings::seq_open(file, Self::STEPS) })?;
            // SAFETY: `seq_open` left a `seq_file` there, which nobody else knows yet.
            let seq = unsafe { &mut *(*file).private_data.cast::<bindings::seq_file>() };
            seq.private = KBox::into_raw(reading).cast();
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by debugfs for a file that [`Self::open`] has opened, last.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open` left a `seq_file` with a reading there, which is not used any more.
        unsafe {
            let seq = (*file).private_data.cast::<bindings::seq_file>();
            drop(KBox::from_raw((*seq).private.cast::<Reading<L>>()));
            bindings::seq_release(inode, file)
        }
    }

    /// # Safety
    ///
    /// `seq` is one that [`Self::open`] made, and the caller has it to himself.
    unsafe fn reading<'a>(seq: *mut bindings::seq_file) -> &'a mut Reading<L> {
        // SAFETY: As the caller says; `open` put a reading there.
        unsafe { &mut *(*seq).private.cast::<Reading<L>>() }
    }

    /// Tells `seq_file` whether there is an item: by any pointer, null, or an error.
    fn token(reading: &mut Reading<L>) -> *mut c_void {
        match reading.listing.more() {
            Ok(true) => from_ref(reading).cast_mut().cast(),
            Ok(false) => null_mut(),
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// Called by `seq_file`, as are those below, with its lock held.
    unsafe extern "C" fn start(
        seq: *mut bindings::seq_file,
        position: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: As above.
        let reading = unsafe { Self::reading(seq) };
        // SAFETY: `seq_file` gives a valid pointer.
        if unsafe { *position } == 0 {
            reading.rewind();
        }
        Self::token(reading)
    }

    /// # Safety
    ///
    /// See [`Self::start`].
    unsafe extern "C" fn next(
        seq: *mut bindings::seq_file,
        _token: *mut c_void,
        position: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: `seq_file` gives a valid pointer.
        unsafe { *position += 1 };
        // SAFETY: As above.
        Self::token(unsafe { Self::reading(seq) })
    }

    /// # Safety
    ///
    /// See [`Self::start`].
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _token: *mut c_void) -> c_int {
        // SAFETY: As above.
        let reading = unsafe { Self::reading(seq) };
        // SAFETY: `seq_file` gives itself, for the time of the call.
        reading.show(unsafe { SeqFile::from_raw(seq) });
        // SAFETY: As above. A buffer that is full may lack something.
        if unsafe { (*seq).count < (*seq).size } {
            reading.pass();
        }
        0
    }

    /// # Safety
    ///
    /// See [`Self::start`].
    unsafe extern "C" fn stop(_seq: *mut bindings::seq_file, _token: *mut c_void) {}
}
