//! A string churner: texts that grow word by word, in slots replaced at random (Rust's global allocator).

use super::sizes::Rng;
use super::{Bench, Outcome, Workload, single};
use std::fmt::Write;

pub const ALL: [Workload; 1] = [single(
    "strings",
    "20,000 slots of strings written number by number up to 8..400 B, replaced at random, 600,000 times (seed 12, Rust)",
    "string",
    strings,
)];

fn text(random: &mut Rng) -> String {
    let long = random.usize(8..400);
    let mut text = String::new();
    while text.len() < long {
        write!(text, "{},", random.u32(..)).expect("a string takes what it is given");
    }
    text
}

fn strings(bench: &Bench) -> Outcome {
    let mut random = Rng::with_seed(12);
    let mut slots: Vec<_> = (0..20_000).map(|_| text(&mut random)).collect();
    let mut times = |times: usize| {
        for _ in 0..times {
            let index = random.usize(..slots.len());
            assert!(slots[index].ends_with(','), "a string is broken");
            slots[index] = text(&mut random);
        }
    };
    times(1_000);
    let full = bench.scaled(600_000);
    bench.measure(full, || times(full))
}
