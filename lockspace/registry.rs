// SPDX-License-Identifier: GPL-2.0

//! All lockspaces: by name for who creates them, by number for who removes them.

use super::Lockspace;
use crate::kernel_edge::{
    check_reserve,
    on_request, //
};
use core::cmp::Ordering;
use kernel::{
    fmt, new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    str::BStr,
    sync::{
        Arc,
        Mutex, //
    },
};

/// A lockspace's name. Binary, but without NUL.
#[derive(PartialEq, Eq)]
pub(super) struct SpaceName(pub(super) KVec<u8>);

impl SpaceName {
    fn new(name: &[u8]) -> Result<SpaceName> {
        let mut bytes = KVec::with_capacity(name.len(), on_request())?;
        bytes.extend_from_slice(name, on_request())?;
        Ok(SpaceName(bytes))
    }
}

impl Ord for SpaceName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_slice().cmp(&other.0)
    }
}

impl PartialOrd for SpaceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BStr::from_bytes(&self.0).fmt(f)
    }
}

/// What makes a lockspace reachable, as long as it exists: its device.
pub(crate) trait Node: Sized + Unpin + Send {
    /// What all nodes have in common.
    type Common: Send + Sync;

    /// Opens the door to a lockspace for programs.
    fn open(common: &Self::Common, name: &[u8], lockspace: Arc<Lockspace>) -> Result<Self>;

    /// The number by which programs name it.
    fn number(&self) -> u32;
}

struct Entry<D> {
    lockspace: Arc<Lockspace>,
    /// How often it was created; removing it takes as many calls.
    uses: u32,
    _node: D,
}

struct Entries<D> {
    by_number: RBTree<u32, Entry<D>>,
    numbers: RBTree<SpaceName, u32>,
}

/// All lockspaces.
#[pin_data]
pub(crate) struct Registry<D: Node> {
    #[pin]
    entries: Mutex<Entries<D>>,
    common: D::Common,
}

impl<D: Node> Registry<D> {
    pub(crate) fn new(common: D::Common) -> Result<Arc<Self>> {
        let entries = Entries {
            by_number: RBTree::new(),
            numbers: RBTree::new(),
        };
        Arc::pin_init(
            pin_init!(Registry {
                entries <- new_mutex!(entries, "dlm_device::Registry"),
                common,
            }),
            GFP_KERNEL,
        )
    }

    /// What the nodes have in common.
    pub(crate) fn common(&self) -> &D::Common {
        &self.common
    }

    /// The lockspace of this number, or else of the next, and its number.
    pub(super) fn lockspace_from(&self, number: u32) -> Option<(u32, Arc<Lockspace>)> {
        let entries = self.entries.lock();
        let cursor = entries.by_number.cursor_lower_bound(&number)?;
        let (number, entry) = cursor.current();
        Some((*number, entry.lockspace.clone()))
    }

    /// Creates a lockspace, or shares the one that exists (`EEXIST` if `exclusive`), and returns
    /// its number.
    pub(crate) fn create(&self, name: &[u8], exclusive: bool) -> Result<u32> {
        check_reserve()?;
        let key = SpaceName::new(name)?;
        let mut entries = self.entries.lock();
        if let Some(number) = entries.numbers.get(&key).copied() {
            if exclusive {
                return Err(EEXIST);
            }
            let entry = entries.by_number.get_mut(&number).ok_or(ENOENT)?;
            entry.uses = entry.uses.checked_add(1).ok_or(EBUSY)?;
            return Ok(number);
        }
        // All that can fail comes before programs can reach it.
        let name_node = RBTreeNodeReservation::new(on_request())?;
        let entry_node = RBTreeNodeReservation::new(on_request())?;
        let lockspace = Lockspace::new(SpaceName::new(name)?)?;
        let door = D::open(&self.common, name, lockspace.clone())?;
        let number = door.number();
        let entry = Entry {
            lockspace,
            uses: 1,
            _node: door,
        };
        entries.numbers.insert(name_node.into_node(key, number));
        entries
            .by_number
            .insert(entry_node.into_node(number, entry));
        Ok(number)
    }

    /// Takes back one creation of a lockspace; with the last, it goes. `ENOENT` if there is none
    /// of that number; `EBUSY` if it has locks, unless `force`.
    pub(crate) fn remove(&self, number: u32, force: bool) -> Result {
        let mut entries = self.entries.lock();
        let entry = entries.by_number.get_mut(&number).ok_or(ENOENT)?;
        if entry.uses > 1 {
            entry.uses -= 1;
            return Ok(());
        }
        let lockspace = entry.lockspace.clone();
        lockspace.end(force)?;
        entries.numbers.remove(&lockspace.name);
        // The device goes before the lock, so that its name is free for who creates it again.
        drop(entries.by_number.remove(&number));
        drop(entries);
        lockspace.wind_up();
        Ok(())
    }
}
