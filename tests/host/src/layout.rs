// SPDX-License-Identifier: GPL-2.0

//! What the hot structures take in memory. Whoever adds a field meets his number here.

use crate::{
    callbacks::records::Records,
    lock_table::inspect,
    storage::slab::Layout, //
};

/// Bytes of a slot, and how many of them are in a chunk of how many bytes.
const LOCK: (usize, usize, usize) = (56, 36, 2048);
const RESOURCE: (usize, usize, usize) = (88, 46, 4096);
const RECORD: (usize, usize, usize) = (96, 42, 4096);

/// What a slab keeps of a chunk, whatever is in it.
const HEADER: usize = 56;

/// What a resource has beside while, or since, somebody is refused there.
const CONTENTION: usize = 316;

/// The bucket by which a resource is found: there is one for each.
const BUCKET: usize = 4;

/// What a lock that is held on a name of its own may take.
const HELD_AT_MOST: f64 = 256.0;

#[test]
fn nothing_has_grown() {
    let (lock, resource, contention) = inspect::layouts();
    let shape = |layout: Layout| (layout.slot, layout.slots, layout.chunk);
    assert_eq!(shape(lock), LOCK);
    assert_eq!(shape(resource), RESOURCE);
    assert_eq!(shape(Records::layout()), RECORD);
    assert_eq!(lock.header, HEADER);
    assert_eq!(contention, CONTENTION);
}

/// What a slot of each kind costs.
fn costs() -> [(&'static str, Layout); 3] {
    let (lock, resource, _) = inspect::layouts();
    [
        ("lock", lock),
        ("resource", resource),
        ("record", Records::layout()),
    ]
}

/// What a lock on a name of its own takes: one of each.
fn held() -> f64 {
    BUCKET as f64 + costs().iter().map(|(_, layout)| layout.each()).sum::<f64>()
}

#[test]
fn a_held_lock_is_small() {
    assert!(held() <= HELD_AT_MOST, "{}", held());
}

/// What is printed is for `tests/bench/run`.
#[test]
fn chunks_are_filled_by_their_slots() {
    let tell = |what: &str, bytes| println!("module\tnative_slots.{what}\t1\t{bytes:.1}");
    for (what, layout) in costs() {
        tell(what, layout.each());
        assert!(layout.each() <= 1.05 * layout.slot as f64, "{what}");
    }
    tell("held", held());
}
