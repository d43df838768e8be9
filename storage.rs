// SPDX-License-Identifier: GPL-2.0

//! Things addressed by index instead of by reference, in safe Rust: slots that come from and go back
//! to the system in chunks ([`slab`]), lists through them ([`list`]), and finding them by name
//! ([`directory`]).
//!
//! Nothing here knows what a lock is, and nothing here takes a lock: whoever owns a structure guards it.

// The paths are spelled out because the host's tests include this file from elsewhere.
#[path = "storage/directory.rs"]
pub(crate) mod directory;
#[path = "storage/list.rs"]
pub(crate) mod list;
#[path = "storage/slab.rs"]
pub(crate) mod slab;
