//! After mimalloc's stress test: short-lived threads that keep some blocks for a while, pass others to each other through shared slots,
//! and now and then take a large one.

use super::sizes::{Rng, even};
use super::transfer::Transfer;
use super::{Bench, Outcome, Workload, threads};

pub const ALL: [Workload; 1] = [threads(
    "mstress",
    "60 times two threads of 50,000 steps: half allocate (8..512 B, one in 200 up to 50 KiB), a quarter free an own block at random, a \
     quarter exchange one through 1,000 shared slots; what they keep is freed at their end (seed 25)",
    "step",
    mstress,
)];

fn mstress(bench: &Bench) -> Outcome {
    let slots = Transfer::new(1_000);
    let run = |rounds: usize| {
        for round in 0..rounds {
            bench.threads(2, |thread| steps(bench, &slots, 25 + (2 * round + thread) as u64));
        }
        slots.empty(bench);
    };
    run(1);
    let rounds = bench.scaled(60);
    bench.measure(rounds * 2 * 50_000, || run(rounds))
}

fn steps(bench: &Bench, slots: &Transfer, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut own = Vec::with_capacity(50_000);
    for _ in 0..50_000 {
        let choice = random.u32(..4);
        if choice < 2 || own.is_empty() {
            let large = random.u32(..200) == 0;
            own.push(bench.take(even(&mut random, 1, 64) * if large { 800 } else { 8 }));
            continue;
        }
        let index = random.usize(..own.len());
        let block = own.swap_remove(index);
        if choice == 2 {
            bench.give(block);
        } else {
            own.extend(slots.exchange(random.usize(..1_000), Some(block)));
        }
    }
    own.into_iter().for_each(|block| bench.give(block));
}
