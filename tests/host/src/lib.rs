// SPDX-License-Identifier: GPL-2.0

//! The safe rooms of the module, included as they are, and their tests.

#![allow(dead_code, unused_imports)]

/// What is read waits for nobody: of the queue, only what is in it.
#[path = "../../../callbacks"]
mod callbacks {
    pub(crate) mod records;
}
#[path = "../../../engine.rs"]
mod engine;
#[path = "../../../lock_table.rs"]
mod lock_table;
#[path = "../../../storage.rs"]
mod storage;
#[path = "../../../terms.rs"]
mod terms;
#[path = "../../../wire.rs"]
mod wire;

pub mod bench;

#[cfg(test)]
mod cursor;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod model;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod reader;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod twin;
#[cfg(test)]
mod view;
#[cfg(test)]
mod work;
