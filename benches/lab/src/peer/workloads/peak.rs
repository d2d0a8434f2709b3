//! Everything of a peak freed: what goes back by itself, with the allocator's background thread, and when it is asked.

use super::array::slots;
use super::outcome::Looks;
use super::sizes::{Rng, mostly_small};
use super::{Bench, Outcome, Workload, resident, single};
use crate::allocator;
use std::time::Duration;

pub const ALL: [Workload; 3] = [
    single(
        "peak_idle",
        "1 GiB of blocks (16..512 B, one in fifty to 16 KiB; seed 32) allocated, touched and freed, then 2 s without a call; final: after that",
        "pair",
        idle,
    )
    .of("memory")
    .rounds(2),
    Workload {
        background: true,
        ..single(
            "peak_background",
            "as before, with the background thread of bitmag (BITMAG_BACKGROUND=1); the other allocators as before",
            "pair",
            idle,
        )
        .of("memory")
        .rounds(2)
    },
    single("peak_trim", "as before, with one malloc_trim (or what the allocator has like it) instead of the 2 s", "pair", trim)
        .of("memory")
        .rounds(2),
];

fn idle(bench: &Bench) -> Outcome {
    peak(bench, || std::thread::sleep(Duration::from_secs(2)))
}

fn trim(bench: &Bench) -> Outcome {
    peak(bench, allocator::trim)
}

fn peak(bench: &Bench, afterwards: impl FnOnce()) -> Outcome {
    let bytes = bench.scaled(1 << 30);
    let mut random = Rng::with_seed(32);
    let mut slots = slots(bytes / 256);
    let mut looks = Looks::new();
    let mut filled = 0;
    looks.look(0);
    let mut outcome = bench.measure(1, || {
        let mut live = 0;
        while live < bytes {
            let size = mostly_small(&mut random);
            let block = bench.take(size);
            block.touch(0, size);
            slots[filled] = Some(block);
            filled += 1;
            live += size;
        }
        looks.look(bytes);
        slots.iter_mut().filter_map(Option::take).for_each(|block| bench.give(block));
    });
    outcome.operations = filled as u64;
    outcome.ns /= filled as f64;
    looks.look(0);
    afterwards();
    looks.look(0);
    outcome.final_kib = resident::kib();
    Outcome { resident: looks.all(), ..outcome }
}
