// SPDX-License-Identifier: GPL-2.0

//! Two threads beside one: how many times as much they do, on names in shards of their own and on
//! names in the same shard. Fails if the first is less than 1.8 times.
//!
//! One and two are timed in turns, many times, so that what else the machine does meets both.

use dlm_device_host::bench::{
    Lockspace,
    Mode,
    Name, //
};
use std::{
    process::ExitCode,
    sync::Barrier,
    thread,
    time::{
        Duration,
        Instant, //
    },
};

const SHARD_BITS: u32 = 2;
const ROUNDS: usize = 31;
const CYCLES: u32 = 100_000;
const WANTED: f64 = 1.8;

/// How long it takes until each of some threads has locked and unlocked its name so often.
fn race(names: &[u32]) -> Duration {
    let lockspace = Lockspace::new(SHARD_BITS);
    let barrier = Barrier::new(names.len() + 1);
    let run = |n: u32| {
        let name = Name::new(n);
        let file = lockspace.open();
        barrier.wait();
        for _ in 0..CYCLES {
            let id = file.lock(Mode::Ex, &name);
            assert!(file.hear().is_some());
            file.unlock(id);
            assert!(file.hear().is_some());
        }
    };
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = names.iter().map(|n| scope.spawn(move || run(*n))).collect();
        barrier.wait();
        let start = Instant::now();
        for thread in threads {
            thread.join().unwrap();
        }
        start.elapsed()
    })
}

/// What two threads do in the time of one, in each round, in order.
fn ratios(names: [u32; 2]) -> Vec<f64> {
    let ratio = |_| {
        let one = race(&names[..1]);
        2.0 * one.as_secs_f64() / race(&names).as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..ROUNDS).map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

fn main() -> ExitCode {
    let show = |what: &str, ratios: &[f64]| {
        println!(
            "two threads on {what}: {:.2} times one (half of {ROUNDS} rounds from {:.2} to {:.2})",
            ratios[ROUNDS / 2],
            ratios[ROUNDS / 4],
            ratios[3 * ROUNDS / 4],
        );
    };
    let one = race(&[0]).as_nanos() as f64 / f64::from(CYCLES);
    println!("one thread: {one:.0} ns to lock and unlock");
    let apart = ratios([0, 1]);
    show("names in two shards", &apart);
    show("names in one shard", &ratios([0, 4]));
    if apart[ROUNDS / 2] < WANTED {
        println!("MISSED: it should be {WANTED} times, on two processors that do nothing else");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
