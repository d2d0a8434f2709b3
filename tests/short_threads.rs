//! Threads that come one after the other and do the same: each finds its magazines as deep as the last one left them, within bounds.

use bitmag::Bitmag;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Barrier, Mutex};

/// Not the global allocator: starting a thread allocates.
static BITMAG: Bitmag = Bitmag::new();

/// The counts are of the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Refills and flushes in the life of a thread that allocates 60 blocks and frees them.
fn slow_calls_of_a_life() -> u64 {
    let slow_calls = || {
        let stats = bitmag::stats();
        stats.refills + stats.flushes
    };
    let before = slow_calls();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let layout = Layout::new::<[u8; 272]>();
            // SAFETY: a layout with a size; each block is freed once, here.
            unsafe {
                let blocks = [(); 60].map(|()| BITMAG.alloc(layout));
                assert!(blocks.iter().all(|block| !block.is_null()), "no memory");
                let _ = blocks.map(|block| BITMAG.dealloc(block, layout));
            }
        });
    });
    slow_calls() - before
}

#[test]
fn the_next_thread_begins_where_the_last_one_ended() {
    let _alone = ONE_AT_A_TIME.lock();
    let first = slow_calls_of_a_life();
    assert!(
        first > 15,
        "{first} slow calls: the class is deep from the start, and this says nothing"
    );
    let mut last = 0;
    for _ in 0..30 {
        last = slow_calls_of_a_life();
    }
    assert!(2 * last <= first, "{first} slow calls in the first life, {last} in the last");
    assert!(
        last >= 3,
        "{last} slow calls: another allocator served this, or an exit gives nothing back"
    );
}

/// Twenty threads that are there at the same time, each with so many blocks of 1,024 bytes, freed; bytes that their magazines may hold.
fn magazines_of_twenty(blocks: usize) -> usize {
    let before = bitmag::stats().magazines;
    let (done, seen) = (Barrier::new(21), Barrier::new(21));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let layout = Layout::new::<[u8; 1024]>();
                // SAFETY: a layout with a size; each block is freed once, here.
                unsafe {
                    let taken: Vec<_> = (0..blocks).map(|_| BITMAG.alloc(layout)).collect();
                    taken.into_iter().for_each(|block| BITMAG.dealloc(block, layout));
                }
                done.wait();
                seen.wait();
            });
        }
        done.wait();
        let held = bitmag::stats().magazines - before;
        seen.wait();
        held
    })
}

#[test]
fn what_busy_threads_had_idle_ones_do_not() {
    let _alone = ONE_AT_A_TIME.lock();
    let busy = magazines_of_twenty(2_000);
    assert!(busy >= 20 * (12 << 10), "{busy} bytes: these threads were not busy");
    for generation in 0..30 {
        let idle = magazines_of_twenty(1);
        assert!(
            idle <= 20 * (4 << 10),
            "{idle} bytes in idle threads' magazines, generation {generation}"
        );
    }
}
