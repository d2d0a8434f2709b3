//! A heap that was full and is now nearly empty, but goes on working: what of it stays resident.

use super::array::slots;
use super::hot::replace;
use super::outcome::Looks;
use super::sizes::{Rng, mostly_small};
use super::{Bench, Outcome, Workload, resident, single};
use crate::allocator;
use std::time::Duration;

pub const ALL: [Workload; 2] = [
    single(
        "thin",
        "128 MiB of blocks (16..512 B, one in fifty to 16 KiB; seed 31), all but 5% freed at random, each of the rest replaced 20 times, 1 s \
         of waiting; final: after that",
        "pair",
        thin,
    )
    .of("memory")
    .rounds(3)
    .quick(),
    single("thin_trim", "as before; final: after one malloc_trim, or what the allocator has like it", "pair", thin_trim)
        .of("memory")
        .rounds(3),
];

fn thin(bench: &Bench) -> Outcome {
    let (mut outcome, mut looks, live) = until_waited(bench);
    outcome.final_kib = resident::kib();
    looks.look(live);
    Outcome { resident: looks.all(), ..outcome }
}

fn thin_trim(bench: &Bench) -> Outcome {
    let (mut outcome, mut looks, live) = until_waited(bench);
    allocator::trim();
    outcome.final_kib = resident::kib();
    looks.look(live);
    Outcome { resident: looks.all(), ..outcome }
}

/// The same bytes at every scale: what stays of a smaller heap is another question.
fn until_waited(bench: &Bench) -> (Outcome, Looks, usize) {
    const BYTES: usize = 128 << 20;
    let mut random = Rng::with_seed(31);
    let mut slots = slots(BYTES / 200);
    let mut looks = Looks::new();
    let mut filled = 0;
    let mut live = 0;
    let mut pairs = 0;
    looks.look(0);
    let mut outcome = bench.measure(1, || {
        while live < BYTES {
            let size = mostly_small(&mut random);
            slots[filled] = Some(bench.take(size));
            filled += 1;
            live += size;
            if filled % 32_768 == 0 {
                looks.look(live);
            }
        }
        let slots = &mut slots[..filled];
        random.shuffle(slots);
        let stay = filled / 20;
        for (index, slot) in slots[stay..].iter_mut().enumerate() {
            let block = slot.take().expect("a block");
            live -= block.check();
            bench.give(block);
            if index % 32_768 == 0 {
                looks.look(live);
            }
        }
        for turn in 0..20 * stay {
            let index = random.usize(..stay);
            let old = slots[index].as_ref().map_or(0, |block| block.check());
            let size = mostly_small(&mut random);
            replace(bench, &mut slots[index], size);
            live = live + size - old;
            if turn % 32_768 == 0 {
                looks.look(live);
            }
        }
        pairs = filled + 20 * stay;
    });
    outcome.ns /= pairs as f64;
    outcome.operations = pairs as u64;
    looks.look(live);
    std::thread::sleep(Duration::from_secs(1));
    (outcome, looks, live)
}
