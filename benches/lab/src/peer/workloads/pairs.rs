//! What a pair costs by how many blocks are live: it must not grow.

use super::array::slots;
use super::{Bench, Outcome, Workload, single};
use crate::result::Point;

pub const ALL: [Workload; 1] = [single(
    "pairs",
    "N blocks of 64 B allocated, then freed in that order, for N of 100, 1,000, 10,000 and 1,000,000; 4,000,000 pairs of each",
    "pair",
    pairs,
)
.sweep("operations")];

fn pairs(bench: &Bench) -> Outcome {
    let mut slots = slots(1_000_000);
    let mut all = Outcome::default();
    for count in [100, 1_000, 10_000, 1_000_000] {
        let mut times = |times: usize| {
            for _ in 0..times {
                for slot in &mut slots[..count] {
                    *slot = Some(bench.take(64));
                }
                for slot in &mut slots[..count] {
                    bench.give(slot.take().expect("a block"));
                }
            }
        };
        times(1);
        let full = (bench.scaled(4_000_000) / count).max(1);
        let one = bench.measure(full * count, || times(full));
        all.operations += one.operations;
        all.points.push(Point { x: count as u64, ns: one.ns, resident_per_live: 0.0 });
    }
    all
}
