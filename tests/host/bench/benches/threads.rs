// SPDX-License-Identifier: GPL-2.0

//! Two threads beside one: how many times as much they do, on names in shards of their own and on
//! names in the same shard. What must be reached is in `tests/bench/cases.toml`, and this prints
//! what `tests/bench/run` reads.
//!
//! What else the machine does can only make a race longer. So one and two are timed in turns, and a
//! round compares the best of some races of each.

use dlm_device_host::bench::{
    Lockspace,
    Mode,
    Name, //
};
use nix::{
    sched::{
        sched_setaffinity,
        CpuSet, //
    },
    unistd::Pid, //
};
use std::{
    alloc::{
        GlobalAlloc,
        Layout,
        System, //
    },
    hint::spin_loop,
    sync::atomic::{
        AtomicUsize,
        Ordering, //
    },
    thread,
    time::Instant, //
};

const SHARD_BITS: u32 = 2;
const ROUNDS: u32 = 11;
/// Many and short, so that some are not disturbed.
const RACES: u32 = 60;
const CYCLES: u32 = 20_000;

/// By [`SHARD_BITS`], in which shard each of them is.
const APART: [u32; 2] = [0, 1];
const TOGETHER: [u32; 2] = [0, 4];

/// Gives out memory as the kernel does: objects of different processors share no line of a cache.
struct Lines;

const LINE: usize = 64;

// SAFETY: What `System` is asked for is as much, and aligned at least as much, as the caller wants.
unsafe impl GlobalAlloc for Lines {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: The layout is not empty, says the caller, and no smaller for being padded.
        unsafe { System.alloc(in_lines(layout)) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: It comes from `alloc`, with this layout.
        unsafe { System.dealloc(memory, in_lines(layout)) }
    }
}

fn in_lines(layout: Layout) -> Layout {
    let aligned = layout.align_to(LINE);
    aligned.map_or(layout, |layout| layout.pad_to_align())
}

#[global_allocator]
static LINES: Lines = Lines;

/// Threads are moved to another processor too late for a race.
fn stay_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).expect("two processors are wanted");
}

/// How many seconds it takes until each of some threads, of which this is one, has locked and
/// unlocked its name so often.
fn race(names: &[u32]) -> f64 {
    let lockspace = Lockspace::new(SHARD_BITS);
    let ready = AtomicUsize::new(0);
    let run = |processor: usize| {
        stay_on(processor);
        let name = Name::new(names[processor]);
        let file = lockspace.open();
        ready.fetch_add(1, Ordering::SeqCst);
        while ready.load(Ordering::SeqCst) < names.len() {
            spin_loop();
        }
        let start = Instant::now();
        for _ in 0..CYCLES {
            let id = file.lock(Mode::Ex, &name);
            assert!(file.hear().is_some());
            file.unlock(id);
            assert!(file.hear().is_some());
        }
        (start, Instant::now())
    };
    thread::scope(|scope| {
        let run = &run;
        let others = 1..names.len();
        let others: Vec<_> = others.map(|n| scope.spawn(move || run(n))).collect();
        let (mut start, mut end) = run(0);
        for other in others {
            let (from, to) = other.join().unwrap();
            start = start.min(from);
            end = end.max(to);
        }
        (end - start).as_secs_f64()
    })
}

/// The best of one and of two.
fn best(names: &[u32; 2]) -> (f64, f64) {
    let times = (0..RACES).map(|_| (race(&names[..1]), race(names)));
    let least = |least: (f64, f64), time: (f64, f64)| (least.0.min(time.0), least.1.min(time.1));
    times.reduce(least).unwrap()
}

fn sample(metric: &str, value: f64) {
    println!("module\tnative_threads.{metric}\t1\t{value:.3}");
}

fn main() {
    for _ in 0..ROUNDS {
        let (one, two) = best(&APART);
        sample("one", one * 1e9 / f64::from(CYCLES));
        sample("apart", 2.0 * one / two);
        let (one, two) = best(&TOGETHER);
        sample("shard", 2.0 * one / two);
    }
}
