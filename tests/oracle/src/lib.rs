// SPDX-License-Identifier: GPL-2.0

//! fs/dlm as the oracle: small programs of lock operations are run on it and on dlm_device, and
//! what the two answer must be equal.
//!
//! ```text
//! generate ─┐                              ┌─ fs/dlm's guest ────┐
//! cases ────┴─> program (language) ─> play ┤                     ├─> judge ─> shrink ─> report
//!                                          └─ dlm_device's guest ┘
//! ```
//!
//! `actor` runs in the guests and plays programs; `judge` runs on the host, compares and shrinks.
//! Where the two may differ stands in [`differences`], and nowhere else.

pub mod abi;
pub mod cases;
pub mod cast;
pub mod differences;
pub mod generate;
pub mod known;
pub mod language;
pub mod log;
pub mod play;
pub mod playlist;
pub mod reduce;
pub mod report;
pub mod stage;
pub mod terms;
pub mod transcript;
