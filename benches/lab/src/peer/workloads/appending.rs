//! Many buffers that grow by a little at a time, as lines and messages do that are put together from pieces.

use super::array::slots;
use super::{Bench, Outcome, Workload, single};

pub const ALL: [Workload; 1] = [Workload {
    counted: true,
    ..single(
        "append",
        "2,000 buffers in turn grown from 16 B to 4 KiB by 16 B, then freed; 4 times",
        "realloc",
        append,
    )
    .of("large")
}];

fn append(bench: &Bench) -> Outcome {
    let mut slots = slots(2_000);
    let mut times = |times: usize| {
        for _ in 0..times {
            slots.iter_mut().for_each(|slot| *slot = Some(bench.take(16)));
            for size in (32..=4096).step_by(16) {
                for slot in slots.iter_mut() {
                    *slot = slot.take().map(|block| bench.resize(block, size));
                }
            }
            slots.iter_mut().for_each(|slot| bench.give(slot.take().expect("a buffer")));
        }
    };
    times(1);
    // The same buffers at every scale: fewer of them would lie in the caches.
    let full = bench.scaled(4);
    bench.measure(full * 2_000 * 255, || times(full))
}
