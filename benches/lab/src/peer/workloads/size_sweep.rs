//! Time and memory over the size of a block: there should be no cliff.

use super::array::slots;
use super::hot::replace;
use super::{Bench, Outcome, Workload, resident, single};
use crate::result::Point;

pub const ALL: [Workload; 1] = [Workload {
    group: "large",
    ..single(
        "sizes",
        "sizes of 1 KiB to 64 MiB in half doublings, from small to large: as many blocks as make 32 MiB (4 at least), replaced in turn with \
         the first and last page touched (time), then touched as a whole (resident, with what earlier sizes left behind)",
        "pair",
        sizes,
    )
    .sweep("bytes")
    .rounds(3)
}];

fn sizes(bench: &Bench) -> Outcome {
    let mut all = Outcome::default();
    let mut slots = slots(32 << 10);
    let before = resident::kib();
    for step in 0..=32 {
        let size = if step % 2 == 0 { 1024 << (step / 2) } else { 1448 << (step / 2) };
        let count = ((32 << 20) / size).max(4);
        let slots = &mut slots[..count];
        slots.iter_mut().for_each(|slot| *slot = Some(bench.take(size)));
        let full = bench.scaled(((1 << 30) / size).clamp(2_000, 100_000));
        let one = bench.measure(full, || {
            (0..full).for_each(|turn| replace(bench, &mut slots[turn % count], size));
        });
        slots.iter().flatten().for_each(|block| block.touch(0, size));
        let grown = resident::kib().saturating_sub(before);
        let resident_per_live = grown as f64 * 1024.0 / (count * size) as f64;
        slots.iter_mut().filter_map(Option::take).for_each(|block| bench.give(block));
        all.operations += one.operations;
        all.points.push(Point { x: size as u64, ns: one.ns, resident_per_live });
    }
    all
}
