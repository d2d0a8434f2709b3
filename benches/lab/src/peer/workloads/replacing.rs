//! Two threads that each replace at random in slots of their own: nothing is shared but what the allocator shares.

use super::array::slots;
use super::hot::replace;
use super::sizes::{Rng, doubling, even};
use super::{Bench, Outcome, Workload, threads};

pub const ALL: [Workload; 2] = [
    threads(
        "replace_threads",
        "two threads, each with 10,000 slots of 16..512 B replaced at random 5,000,000 times (seeds 21 and 22)",
        "pair",
        small,
    )
    .quick(),
    threads(
        "mid_large_threads",
        "two threads, each with 256 slots of 1..64 KiB, each doubling as likely, replaced at random 1,500,000 times (seeds 21 and 22)",
        "pair",
        mid_large,
    ),
];

fn small(bench: &Bench) -> Outcome {
    both(bench, 10_000, 5_000_000, |random| even(random, 16, 512))
}

fn mid_large(bench: &Bench) -> Outcome {
    both(bench, 256, 1_500_000, |random| doubling(random, 1024, 64 << 10))
}

fn both(
    bench: &Bench,
    count: usize,
    full: usize,
    size: impl Fn(&mut Rng) -> usize + Sync,
) -> Outcome {
    let full = bench.scaled(full);
    let run = |times: usize| {
        bench.threads(2, |thread| {
            let mut random = Rng::with_seed(21 + thread as u64);
            let mut slots = slots(count);
            for _ in 0..times {
                let index = random.usize(..count);
                let size = size(&mut random);
                replace(bench, &mut slots[index], size);
            }
            slots.iter_mut().filter_map(Option::take).for_each(|block| bench.give(block));
        });
    };
    run(count);
    bench.measure(2 * full, || run(full))
}
