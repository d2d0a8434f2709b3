//! Threads that come one after the other and do the same: each finds its magazines as deep as the last one left them.

use bitmag::Bitmag;
use std::alloc::{GlobalAlloc, Layout};

/// Not the global allocator: starting a thread allocates.
static BITMAG: Bitmag = Bitmag::new();

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
    let first = slow_calls_of_a_life();
    assert!(
        first > 15,
        "{first} slow calls: the class is deep from the start, and this says nothing"
    );
    let mut last = 0;
    for _ in 0..30 {
        last = slow_calls_of_a_life();
    }
    assert!(3 * last <= first, "{first} slow calls in the first life, {last} in the last");
    assert!(
        last >= 3,
        "{last} slow calls: another allocator served this, or an exit gives nothing back"
    );
}
