//! The order of frees: last in first out, first in first out, at random, every second one, and beside blocks that stay.

use super::array::{shuffled, slots};
use super::sizes::{Rng, even};
use super::{Bench, Outcome, Workload, single};

pub const ALL: [Workload; 5] = [
    single("lifo", "10,000 blocks of 64 B, freed last in first out, 800 times", "pair", lifo)
        .quick(),
    single(
        "fifo",
        "10,000 blocks of 64 B, freed in the order of allocation, 800 times",
        "pair",
        fifo,
    ),
    single(
        "random_free",
        "100,000 blocks of 16..256 B (seed 3), freed in random order (seed 4), 20 times",
        "pair",
        random_free,
    )
    .quick(),
    single(
        "interleaved",
        "10,000 blocks of 64 B, every second one freed and allocated again, all freed; 400 times",
        "pair",
        interleaved,
    ),
    single(
        "long_lived",
        "100,000 blocks of 16..1,024 B stay (seed 5) while 64 others of such sizes are replaced in turn, 4,000,000 times",
        "pair",
        long_lived,
    ),
];

fn lifo(bench: &Bench) -> Outcome {
    in_order(bench, |count, index| count - 1 - index)
}

fn fifo(bench: &Bench) -> Outcome {
    in_order(bench, |_, index| index)
}

#[inline(always)]
fn in_order(bench: &Bench, order: impl Fn(usize, usize) -> usize) -> Outcome {
    let count = 10_000;
    let mut slots = slots(count);
    let mut times = |times: usize| {
        for _ in 0..times {
            for slot in slots.iter_mut() {
                *slot = Some(bench.take(64));
            }
            for index in 0..count {
                bench.give(slots[order(count, index)].take().expect("a block"));
            }
        }
    };
    times(4);
    let full = bench.scaled(800);
    bench.measure(full * count, || times(full))
}

fn random_free(bench: &Bench) -> Outcome {
    let count = 100_000;
    let order = shuffled(count, 4);
    let mut slots = slots(count);
    let mut times = |times: usize| {
        for _ in 0..times {
            let mut random = Rng::with_seed(3);
            for slot in slots.iter_mut() {
                *slot = Some(bench.take(even(&mut random, 16, 256)));
            }
            for &index in order.iter() {
                bench.give(slots[index as usize].take().expect("a block"));
            }
        }
    };
    times(1);
    let full = bench.scaled(20);
    bench.measure(full * count, || times(full))
}

fn interleaved(bench: &Bench) -> Outcome {
    let count = 10_000;
    let mut slots = slots(count);
    let mut times = |times: usize| {
        for _ in 0..times {
            for slot in slots.iter_mut() {
                *slot = Some(bench.take(64));
            }
            for slot in slots.iter_mut().step_by(2) {
                bench.give(slot.take().expect("a block"));
            }
            for slot in slots.iter_mut().step_by(2) {
                *slot = Some(bench.take(64));
            }
            for slot in slots.iter_mut() {
                bench.give(slot.take().expect("a block"));
            }
        }
    };
    times(4);
    let full = bench.scaled(400);
    bench.measure(full * count * 3 / 2, || times(full))
}

fn long_lived(bench: &Bench) -> Outcome {
    let mut random = Rng::with_seed(5);
    let mut stay = slots(100_000);
    for slot in stay.iter_mut() {
        *slot = Some(bench.take(even(&mut random, 16, 1024)));
    }
    let mut ring = slots(64);
    let mut times = |times: usize| {
        for turn in 0..times {
            let slot = &mut ring[turn % 64];
            if let Some(block) = slot.take() {
                bench.give(block);
            }
            *slot = Some(bench.take(even(&mut random, 16, 1024)));
        }
    };
    times(10_000);
    let full = bench.scaled(4_000_000);
    bench.measure(full, || times(full))
}
