//! After Berger's Hoard: whether blocks of two threads end up on one cache line, because the allocator put them there (thrash) or
//! because it gives a thread back what another one had (scratch).

use super::transfer::Transfer;
use super::{Bench, Outcome, Workload, threads};

pub const ALL: [Workload; 2] = [
    threads(
        "sharing_thrash",
        "two threads, each 400,000 times: a block of 8 B allocated, written 200 times, freed",
        "block",
        thrash,
    ),
    threads(
        "sharing_scratch",
        "as before, but each thread frees first a block that the main thread allocated beside the other's; again in each of 40 rounds",
        "block",
        scratch,
    ),
];

fn work(bench: &Bench, times: usize) {
    for _ in 0..times {
        let block = bench.take(8);
        block.write_often(200);
        bench.give(block);
    }
}

fn thrash(bench: &Bench) -> Outcome {
    let run = |times: usize| bench.threads(2, |_| work(bench, times));
    run(1_000);
    let times = bench.scaled(400_000);
    bench.measure(2 * times, || run(times))
}

fn scratch(bench: &Bench) -> Outcome {
    let handed = Transfer::new(2);
    let run = |times: usize| {
        for _ in 0..40 {
            (0..2).for_each(|thread| {
                let before = handed.exchange(thread, Some(bench.take(8)));
                assert!(before.is_none(), "the threads took theirs");
            });
            bench.threads(2, |thread| {
                bench.give(handed.exchange(thread, None).expect("a block for each"));
                work(bench, times);
            });
        }
    };
    run(100);
    let times = bench.scaled(400_000) / 40;
    bench.measure(2 * 40 * times, || run(times))
}
