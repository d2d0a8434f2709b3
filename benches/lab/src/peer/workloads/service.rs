//! A load shaped like a service's, with the time of each call: two threads replace at random among many blocks, and a share of the
//! frees happens on the other thread.

use super::array::slots;
use super::block::Block;
use super::clock;
use super::sizes::{Rng, of_a_service};
use super::transfer::Transfer;
use super::{Bench, Outcome, Workload, threads};
use crate::result::Latency;
use hdrhistogram::Histogram;
use std::sync::Mutex;

pub const ALL: [Workload; 1] = [Workload {
    group: "latency",
    ..threads(
        "service",
        "two threads, 50,000 slots each of 16..1,024 B, one in 128 of 1..64 KiB, replaced at random 3,000,000 times by each (seeds 51 and \
         52), one free in eight on the other thread; every call timed",
        "pair",
        service,
    )
}];

/// What one thread has seen of malloc and of free, in ticks. The room for every count is taken when it is made.
struct Seen([Histogram<u64>; 2]);

impl Seen {
    fn new() -> Seen {
        let histogram = || Histogram::new_with_bounds(1, 1 << 36, 3).expect("the bounds are right");
        Seen([histogram(), histogram()])
    }
}

fn service(bench: &Bench) -> Outcome {
    let tick = clock::nanoseconds();
    let seen = [Mutex::new(Seen::new()), Mutex::new(Seen::new())];
    let passed = Transfer::new(2 * 1_024);
    let full = bench.scaled(3_000_000);
    run(bench, &seen, &passed, 100_000);
    seen.iter().for_each(|seen| {
        seen.lock().expect("no thread panics").0.iter_mut().for_each(Histogram::clear);
    });
    let mut outcome = bench.measure(2 * full, || run(bench, &seen, &passed, full));
    let [first, second] = seen.map(|seen| seen.into_inner().expect("no thread panics").0);
    let mut both = first.into_iter().zip(second).map(|(mut one, other)| {
        one.add(other).expect("the same bounds");
        latency(&one, tick)
    });
    outcome.malloc_latency = both.next();
    outcome.free_latency = both.next();
    outcome
}

fn run(bench: &Bench, seen: &[Mutex<Seen>; 2], passed: &Transfer, times: usize) {
    bench.threads(2, |thread| {
        let mut seen = seen[thread].lock().expect("nobody else has it");
        let [mallocs, frees] = &mut seen.0;
        let mut random = Rng::with_seed(51 + thread as u64);
        let mut slots = slots(50_000);
        let mut turn = 0;
        for _ in 0..times {
            let index = random.usize(..slots.len());
            let size = of_a_service(&mut random);
            let mut old = slots[index].take();
            if index.is_multiple_of(8) {
                // Into the other's half of the slots, out of the own one.
                turn += 1;
                let theirs = passed.exchange((1 - thread) * 1_024 + turn % 1_024, old);
                theirs.into_iter().for_each(|block| bench.give(block)); // the other is behind: untimed
                old = passed.exchange(thread * 1_024 + turn % 1_024, None);
            }
            if let Some(block) = old {
                block.check();
                let begin = clock::ticks();
                bench.free(block);
                frees.saturating_record(clock::ticks().saturating_sub(begin));
            }
            let begin = clock::ticks();
            let block = bench.malloc(size);
            mallocs.saturating_record(clock::ticks().saturating_sub(begin));
            slots[index] = Some(Block::sealed(block, size));
        }
        slots.iter_mut().filter_map(Option::take).for_each(|block| bench.give(block));
    });
    passed.empty(bench);
}

fn latency(ticks: &Histogram<u64>, tick: f64) -> Latency {
    let ns = |ticks: u64| (ticks as f64 * tick).round() as u64;
    let at = |share: f64| ns(ticks.value_at_quantile(share));
    Latency {
        calls: ticks.len(),
        mean: ticks.mean() * tick,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p99_9: at(0.999),
        p99_99: at(0.9999),
        p99_999: at(0.99999),
        max: ns(ticks.max()),
    }
}
