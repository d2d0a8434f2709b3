//! Threads that come, work a little, and go.

use super::array::slots;
use super::sizes::{Rng, even};
use super::{Bench, Outcome, Workload, team, threads};
use std::sync::Mutex;

pub const ALL: [Workload; 1] = [threads(
    "thread_churn",
    "20,000 threads, two at a time, each allocating 1,000 blocks of 16..528 B and freeing them in that order (seed by thread); \
     final: after the last one",
    "pair",
    churn,
)];

fn churn(bench: &Bench) -> Outcome {
    let room = [Mutex::new(slots(1_000)), Mutex::new(slots(1_000))];
    let run = |count: usize| {
        for turn in 0..count {
            let body = |thread: usize| {
                let mut slots = room[thread].lock().expect("no thread panics");
                let mut random = Rng::with_seed((2 * turn + thread) as u64);
                for slot in slots.iter_mut() {
                    *slot = Some(bench.take(even(&mut random, 16, 528)));
                }
                for slot in slots.iter_mut() {
                    bench.give(slot.take().expect("a block"));
                }
            };
            team::run(bench.face, 2, &body, || {});
        }
    };
    run(10);
    let count = bench.scaled(20_000) / 2;
    bench.measure(2 * count * 1_000, || run(count))
}
