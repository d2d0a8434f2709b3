//! Many threads that have done something and wait: what each of them holds.

use super::{Bench, Outcome, Workload, resident, team, threads};
use std::sync::Barrier;

pub const ALL: [Workload; 1] = [Workload {
    group: "memory",
    ..threads(
        "idle_threads",
        "500 threads that each allocated, touched and freed 20 blocks of each of 32 sizes from 32 to 1,024 B; final: while all of them live, \
         stacks included",
        "pair",
        idle,
    )
    .rounds(3)
}];

const THREADS: usize = 500;

fn idle(bench: &Bench) -> Outcome {
    let (ready, end) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let mut all_live = 0;
    // One thread before anything is measured, so that what the first one costs is not counted.
    bench.threads(1, |_| work(bench));
    let mut outcome = bench.measure(THREADS * 640, || {
        let body = |_| {
            work(bench);
            ready.wait();
            end.wait();
        };
        team::run(bench.face, THREADS, &body, || {
            ready.wait();
            all_live = resident::kib();
            end.wait();
        });
    });
    outcome.final_kib = all_live;
    outcome
}

fn work(bench: &Bench) {
    for size in (32..=1024).step_by(32) {
        let blocks = [(); 20].map(|()| bench.take(size));
        for block in blocks {
            block.touch(0, size);
            bench.give(block);
        }
    }
}
