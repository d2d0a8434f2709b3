//! Blocks that are larger than a small allocator's slabs: they are won or lost at page faults, copies and system calls.

use super::array::slots;
use super::sizes::{Rng, even};
use super::{Bench, Outcome, Workload, resident, single};

pub const ALL: [Workload; 5] = [
    single(
        "large_turns",
        "16 live blocks of 5 to 25 MiB, a quarter of each touched, replaced in turn 600 times (seed 41)",
        "pair",
        turns,
    )
    .of("large")
    .counted()
    .quick(),
    single("pair_16k", "a block of 16 KiB, its first and last page touched, freed, 3,000,000 times", "pair", pair_16k)
        .of("large").counted(),
    single("pair_100k", "a block of 100 KiB, its first and last page touched, freed, 1,000,000 times", "pair", pair_100k)
        .of("large").counted(),
    single("pair_1m", "a block of 1 MiB, its first and last page touched, freed, 300,000 times", "pair", pair_1m)
        .of("large").counted(),
    single("calloc_64m", "a calloc of 64 MiB, untouched, freed, 2,000 times; final: while another one is live", "pair", calloc)
        .of("large").counted(),
];

fn turns(bench: &Bench) -> Outcome {
    let mut random = Rng::with_seed(41);
    let mut slots = slots(16);
    let mut times = |times: usize| {
        for turn in 0..times {
            let slot = &mut slots[turn % 16];
            slot.take().into_iter().for_each(|block| bench.give(block));
            let size = even(&mut random, 5 << 20, 25 << 20);
            let block = bench.take(size);
            block.touch(0, size / 4);
            *slot = Some(block);
        }
    };
    times(16);
    let full = bench.scaled(600);
    bench.measure(full, || times(full))
}

fn pair_16k(bench: &Bench) -> Outcome {
    pairs(bench, 16 << 10, 3_000_000)
}

fn pair_100k(bench: &Bench) -> Outcome {
    pairs(bench, 100 << 10, 1_000_000)
}

fn pair_1m(bench: &Bench) -> Outcome {
    pairs(bench, 1 << 20, 300_000)
}

fn pairs(bench: &Bench, size: usize, full: usize) -> Outcome {
    // The seal is what touches the first and the last page.
    let times = |times: usize| (0..times).for_each(|_| bench.give(bench.take(size)));
    times(100);
    let full = bench.scaled(full);
    bench.measure(full, || times(full))
}

fn calloc(bench: &Bench) -> Outcome {
    const SIZE: usize = 64 << 20;
    let times = |times: usize| {
        for _ in 0..times {
            let block = bench.take_zeroed(SIZE);
            // SAFETY: it came from there, and is not used again.
            unsafe { bench.give_raw(std::hint::black_box(block)) };
        }
    };
    times(2);
    let full = bench.scaled(2_000);
    let mut outcome = bench.measure(full, || times(full));
    let block = bench.take_zeroed(SIZE);
    outcome.final_kib = resident::kib();
    for at in [0, SIZE / 2, SIZE - 1] {
        // SAFETY: within the live block.
        assert_eq!(unsafe { block.add(at).read() }, 0, "calloc's memory is not zero");
    }
    // SAFETY: it came from there, and is not used again.
    unsafe { bench.give_raw(block) };
    outcome
}
