//! Buffers that grow by `realloc`: small ones by chance, and one that becomes very large, as vectors and readers of files make it.

use super::sizes::Rng;
use super::{Bench, Outcome, Workload, single};

pub const SMALL: [Workload; 1] = [single(
    "realloc_grower",
    "64 buffers in turn grown from 16 B by a factor of 1.1 to 2 (seed 14) until one passes 64 KiB and starts anew, 1,500,000 times",
    "realloc",
    grower,
)];

pub const LARGE: [Workload; 2] = [
    single(
        "double_to_512m",
        "one buffer from 4 KiB to 512 MiB by doubling, each new page touched",
        "buffer",
        doubling,
    )
    .of("large"),
    single(
        "step_to_512m",
        "one buffer from 64 KiB to 512 MiB by 64 KiB, each new page touched",
        "buffer",
        steps,
    )
    .of("large"),
];

fn grower(bench: &Bench) -> Outcome {
    let mut random = Rng::with_seed(14);
    let mut buffers: Vec<_> = (0..64).map(|_| Some((bench.take(16), 16))).collect();
    let mut times = |times: usize| {
        for turn in 0..times {
            let slot = &mut buffers[turn % 64];
            let (mut block, mut size) = slot.take().expect("a buffer");
            if size > 64 << 10 {
                bench.give(block);
                (block, size) = (bench.take(16), 16);
            }
            size += (size * random.usize(10..100) / 100).max(8);
            *slot = Some((bench.resize(block, size), size));
        }
    };
    times(10_000);
    let full = bench.scaled(1_500_000);
    bench.measure(full, || times(full))
}

fn doubling(bench: &Bench) -> Outcome {
    grow(bench, 4096, |size| 2 * size)
}

fn steps(bench: &Bench) -> Outcome {
    grow(bench, 64 << 10, |size| size + (64 << 10))
}

fn grow(bench: &Bench, from: usize, next: impl Fn(usize) -> usize) -> Outcome {
    let once = |most: usize| {
        let mut block = bench.take(from);
        let mut size = from;
        while size < most {
            let larger = next(size).min(most);
            block = bench.resize(block, larger);
            block.touch(size, larger);
            size = larger;
        }
        bench.give(block);
    };
    once(1 << 20);
    let most = bench.scaled(512 << 20);
    bench.measure(1, || once(most))
}
