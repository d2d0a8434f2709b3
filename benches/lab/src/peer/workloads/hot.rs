//! Blocks replaced on one thread: few and tiny, many and mixed, medium ones, and waves of sizes that leave holes.

use super::array::slots;
use super::sizes::{Rng, doubling, even};
use super::{Bench, Outcome, Workload, single};

pub const ALL: [Workload; 4] = [
    single("tiny_hot", "32 slots of 16..128 B, replaced in turn, 10,000,000 times (seed 7)", "pair", tiny_hot),
    single(
        "random_mixed",
        "10,000 slots of 16 B..4 KiB, each doubling as likely, replaced at random, 4,000,000 times (seed 8)",
        "pair",
        random_mixed,
    )
    .quick(),
    single(
        "mid_large",
        "256 slots of 1..64 KiB, each doubling as likely, replaced at random, 2,000,000 times (seed 9)",
        "pair",
        mid_large,
    ),
    single(
        "fragmentation",
        "six waves of 40,000 blocks, each of sizes of its own (16..1,536 B), of which seven in eight are freed at random before the next \
         wave, all at the end; 4 times (seed 10)",
        "pair",
        fragmentation,
    ),
];

/// Replaces the block in a slot.
#[inline(always)]
pub fn replace(bench: &Bench, slot: &mut Option<super::block::Block>, size: usize) {
    if let Some(block) = slot.take() {
        bench.give(block);
    }
    *slot = Some(bench.take(size));
}

fn tiny_hot(bench: &Bench) -> Outcome {
    let mut random = Rng::with_seed(7);
    let mut slots = slots(32);
    let mut times = |times: usize| {
        for turn in 0..times {
            replace(bench, &mut slots[turn % 32], even(&mut random, 16, 128));
        }
    };
    times(10_000);
    let full = bench.scaled(10_000_000);
    bench.measure(full, || times(full))
}

fn random_mixed(bench: &Bench) -> Outcome {
    at_random(bench, 8, 10_000, 4_000_000, |random| doubling(random, 16, 4096))
}

fn mid_large(bench: &Bench) -> Outcome {
    at_random(bench, 9, 256, 2_000_000, |random| doubling(random, 1024, 64 << 10))
}

/// Fills the slots, then replaces at random.
#[inline(always)]
fn at_random(
    bench: &Bench,
    seed: u64,
    count: usize,
    full: usize,
    size: impl Fn(&mut Rng) -> usize,
) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let mut slots = slots(count);
    for slot in slots.iter_mut() {
        *slot = Some(bench.take(size(&mut random)));
    }
    let mut times = |times: usize| {
        for _ in 0..times {
            let index = random.usize(..count);
            let size = size(&mut random);
            replace(bench, &mut slots[index], size);
        }
    };
    times(count);
    let full = bench.scaled(full);
    bench.measure(full, || times(full))
}

fn fragmentation(bench: &Bench) -> Outcome {
    const WAVES: [[usize; 2]; 6] =
        [[16, 64], [128, 512], [32, 96], [512, 1536], [16, 256], [768, 1024]];
    let wave = 40_000;
    let mut slots = slots(wave * WAVES.len());
    let mut times = |times: usize| {
        for _ in 0..times {
            let mut random = Rng::with_seed(10);
            for (slots, [from, to]) in slots.chunks_mut(wave).zip(WAVES) {
                for slot in slots.iter_mut() {
                    *slot = Some(bench.take(even(&mut random, from, to)));
                }
                for slot in slots.iter_mut().filter(|_| random.u32(..8) != 0) {
                    bench.give(slot.take().expect("a block"));
                }
            }
            for slot in slots.iter_mut() {
                slot.take().into_iter().for_each(|block| bench.give(block));
            }
        }
    };
    times(1);
    // Fewer waves would be another load: the quick run repeats them less often.
    let full = bench.scaled(4);
    bench.measure(full * wave * WAVES.len(), || times(full))
}
