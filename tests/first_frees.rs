//! The first blocks that a thread frees of a class it has allocated none of go straight back to their slabs.

use bitmag::Bitmag;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Barrier;

/// Not the global allocator: starting a thread allocates.
static BITMAG: Bitmag = Bitmag::new();

/// Two new threads free blocks that a third allocated side by side: neither is handed the block it freed, so that they do not
/// write to one cache line.
#[test]
fn threads_get_lines_of_their_own() {
    let layout = Layout::new::<[u8; 16]>();
    // SAFETY: allocated here, freed once by the threads below; only addresses are kept.
    let take = || unsafe { BITMAG.alloc(layout) } as usize;
    // SAFETY: as above.
    let give = |block: usize| unsafe { BITMAG.dealloc(block as *mut u8, layout) };
    for round in 0..20 {
        let handed = [take(), take()];
        let (begin, done) = (Barrier::new(2), Barrier::new(2));
        let lines = std::thread::scope(|scope| {
            let threads = handed.map(|block| {
                let (begin, done) = (&begin, &done);
                scope.spawn(move || {
                    begin.wait();
                    give(block);
                    let own = take();
                    assert_ne!(own, 0);
                    done.wait();
                    give(own);
                    own / 64
                })
            });
            threads.map(|thread| thread.join().expect("a thread panicked"))
        });
        assert_ne!(lines[0], lines[1], "round {round}: one cache line for two threads");
    }
    assert!(bitmag::stats().refilled_blocks > 0, "another allocator served this");
}
