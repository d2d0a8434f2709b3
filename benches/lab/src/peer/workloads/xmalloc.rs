//! After Lever and Boreham's malloc-test: one thread only allocates, another only frees.

use super::array::Array;
use super::block::Block;
use super::{Bench, Outcome, Workload, threads};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering::*};

pub const ALL: [Workload; 1] = [threads(
    "xmalloc",
    "one thread allocates blocks of 64 B and hands them over in batches of 256 through a ring of 64, another frees them; 12,000,000 blocks",
    "block",
    xmalloc,
)
.quick()];

const BATCH: usize = 256;
const ROOM: usize = 64;

/// A ring of batches between two threads. `written` counts what the producer has filled, `read` what the consumer has emptied: the
/// batches between the two are the consumer's, all others the producer's.
struct Ring {
    batches: UnsafeCell<Array<[Option<Block>; BATCH]>>,
    written: Line,
    read: Line,
}

/// A counter with a cache line of its own.
#[repr(align(128))]
struct Line(AtomicUsize);

// SAFETY: the counters say which thread may use which batch.
unsafe impl Sync for Ring {}

impl Ring {
    /// The batch of that number.
    ///
    /// # Safety
    /// It is the caller's by the counters, and the other thread has no reference to it.
    #[allow(clippy::mut_from_ref, reason = "the counters say whose it is")]
    unsafe fn batch(&self, number: usize) -> &mut [Option<Block>; BATCH] {
        // SAFETY: the caller's promise; no reference to the array as a whole is kept.
        unsafe { &mut *(*self.batches.get()).as_mut_ptr().add(number % ROOM) }
    }
}

/// Waits for the other thread, which may be on the same processor.
fn wait(until: impl Fn() -> bool) {
    let mut turns = 0u32;
    while !until() {
        turns += 1;
        if turns.is_multiple_of(64) { std::thread::yield_now() } else { std::hint::spin_loop() }
    }
}

fn xmalloc(bench: &Bench) -> Outcome {
    let ring = Ring {
        batches: UnsafeCell::new(Array::new(ROOM)),
        written: Line(AtomicUsize::new(0)),
        read: Line(AtomicUsize::new(0)),
    };
    let run = |batches: usize| {
        ring.written.0.store(0, Relaxed);
        ring.read.0.store(0, Relaxed);
        bench.threads(2, |thread| {
            for number in 0..batches {
                if thread == 0 {
                    wait(|| number - ring.read.0.load(Acquire) < ROOM);
                    // SAFETY: the consumer has emptied it, and does not look before `written` says so.
                    let batch = unsafe { ring.batch(number) };
                    batch.iter_mut().for_each(|slot| *slot = Some(bench.take(64)));
                    ring.written.0.store(number + 1, Release);
                } else {
                    wait(|| ring.written.0.load(Acquire) > number);
                    // SAFETY: the producer has filled it, and does not look before `read` says so.
                    let batch = unsafe { ring.batch(number) };
                    batch.iter_mut().for_each(|slot| bench.give(slot.take().expect("a block")));
                    ring.read.0.store(number + 1, Release);
                }
            }
        });
    };
    run(500);
    let batches = bench.scaled(12_000_000 / BATCH);
    bench.measure(batches * BATCH, || run(batches))
}
