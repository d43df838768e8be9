// SPDX-License-Identifier: GPL-2.0

//! The lock manager natively: how long a lock and an unlock, a conversion and a grant take, records
//! read and put together included. The groups are cases of `tests/bench/cases.toml`, which says
//! what is what.

use criterion::{
    criterion_group,
    criterion_main,
    BenchmarkId,
    Criterion, //
};
use dlm_device_host::bench::{
    File,
    Lockspace,
    Mode,
    Name, //
};
use std::{
    collections::VecDeque,
    hint::black_box, //
};

/// As a machine of two processors has.
const SHARD_BITS: u32 = 2;

fn hear(file: &File<'_>) {
    assert!(black_box(file.hear()).is_some());
}

fn hold(file: &File<'_>, mode: Mode, n: u32) -> u32 {
    let id = file.lock(mode, &Name::new(n));
    hear(file);
    id
}

fn lock_and_unlock(c: &mut Criterion) {
    let mut group = c.benchmark_group("native_cycle");
    for held in [10, 1_000, 100_000, 1_000_000] {
        let lockspace = Lockspace::new(SHARD_BITS);
        let file = lockspace.open();
        for n in 0..held {
            hold(&file, Mode::Ex, n);
        }
        let mut n = held;
        group.bench_function(BenchmarkId::from_parameter(held), |b| {
            b.iter(|| {
                n += 1;
                file.unlock(hold(&file, Mode::Ex, n));
                hear(&file);
            })
        });
    }
    group.finish();
}

fn convert(c: &mut Criterion) {
    let lockspace = Lockspace::new(SHARD_BITS);
    let file = lockspace.open();
    let id = hold(&file, Mode::Nl, 0);
    c.bench_function("native_convert", |b| {
        b.iter(|| {
            for mode in [Mode::Ex, Mode::Nl] {
                file.convert(id, mode);
                hear(&file);
            }
        })
    });
}

fn grant(c: &mut Criterion) {
    let mut group = c.benchmark_group("native_grant");
    for waiters in [10, 1_000, 100_000] {
        let lockspace = Lockspace::new(SHARD_BITS);
        let file = lockspace.open();
        let name = Name::new(0);
        let mut queue = VecDeque::from([hold(&file, Mode::Ex, 0)]);
        queue.extend((0..waiters).map(|_| file.lock(Mode::Ex, &name)));
        group.bench_function(BenchmarkId::from_parameter(waiters), |b| {
            b.iter(|| {
                file.unlock(queue.pop_front().unwrap());
                hear(&file);
                hear(&file);
                queue.push_back(file.lock(Mode::Ex, &name));
            })
        });
    }
    group.finish();
}

criterion_group!(benches, lock_and_unlock, convert, grant);
criterion_main!(benches);
