//! After rpmalloc's own benchmark: threads allocate and free mixed sizes in loops, and pass a share of the blocks on to be freed by
//! the others.

use super::array::slots;
use super::sizes::Rng;
use super::transfer::Transfer;
use super::{Bench, Outcome, Workload, threads};

pub const ALL: [Workload; 1] = [threads(
    "rptest",
    "two threads, 6,000 slots each of 16 B..8 KiB (small ones more often), 1,500 loops that replace a third of them; one block in four of \
     those goes to the other thread to be freed (seeds 27 and 28)",
    "pair",
    rptest,
)];

fn rptest(bench: &Bench) -> Outcome {
    let passed = Transfer::new(4_096);
    let run = |loops: usize| {
        bench.threads(2, |thread| {
            let mut random = Rng::with_seed(27 + thread as u64);
            let mut slots = slots(6_000);
            let mut next = thread * 2_048;
            for _ in 0..loops * 2_000 {
                let index = random.usize(..slots.len());
                // The product of two even chances: a quarter of the sizes are below a fourteenth of the range.
                let size = 16 + random.usize(..91) * random.usize(..91);
                let old = slots[index].replace(bench.take(size));
                let freed = if index.is_multiple_of(4) {
                    next += 1;
                    passed.exchange(next, old)
                } else {
                    old
                };
                freed.into_iter().for_each(|block| bench.give(block));
            }
            slots.iter_mut().filter_map(Option::take).for_each(|block| bench.give(block));
        });
        passed.empty(bench);
    };
    run(10);
    let loops = bench.scaled(1_500);
    bench.measure(2 * loops * 2_000, || run(loops))
}
