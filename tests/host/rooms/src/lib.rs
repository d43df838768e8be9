// SPDX-License-Identifier: GPL-2.0

//! Whether the module's files keep to `doc/architecture.md`: who may import whom, where `unsafe`
//! may stand, and how long a file may be. And pictures of the rooms, which the document shows.

#![cfg(test)]

mod house;
mod imports;
mod module;
mod picture;
mod plan;
