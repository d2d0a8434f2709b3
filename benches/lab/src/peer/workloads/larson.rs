//! After Larson and Krishnan's server: threads replace blocks at random, and every so often the blocks pass to another thread, which
//! goes on freeing what others allocated.

use super::array::{Array, slots};
use super::block::Block;
use super::hot::replace;
use super::sizes::{Rng, even};
use super::{Bench, Outcome, Workload, threads};
use std::collections::VecDeque;
use std::sync::Mutex;

pub const ALL: [Workload; 1] = [threads(
    "larson",
    "two threads with 5,000 slots each of 8..1,000 B replaced at random; slots change hands every 20,000 operations, \
     5,000,000 operations of each thread (seeds 23 and 24)",
    "operation",
    larson,
)];

/// Slots that wait for the next thread; one set more than there are threads, so that none waits for another.
type Waiting = Mutex<VecDeque<Array<Option<Block>>>>;

fn larson(bench: &Bench) -> Outcome {
    let waiting: Waiting = Mutex::new((0..4).map(|_| slots(5_000)).collect());
    let shift = |random: &mut Rng, times: usize| {
        let taken = waiting.lock().expect("no thread panics").pop_front();
        let mut slots = taken.expect("there are more than threads");
        for _ in 0..times {
            let index = random.usize(..slots.len());
            let size = even(random, 8, 1000);
            replace(bench, &mut slots[index], size);
        }
        waiting.lock().expect("no thread panics").push_back(slots);
    };
    let run = |shifts: usize| {
        bench.threads(2, |thread| {
            let mut random = Rng::with_seed(23 + thread as u64);
            (0..shifts).for_each(|_| shift(&mut random, 20_000));
        });
    };
    run(2);
    let shifts = bench.scaled(250);
    bench.measure(2 * shifts * 20_000, || run(shifts))
}
