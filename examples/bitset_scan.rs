//! The bitset engine by itself: a map of free pages, searched, taken from and given back to.
//! Run it with `cargo run --release --features bitset --example bitset_scan`.
//! `BITMAG_BACKEND` does not reach it (that is the allocator's): each backend that the processor has is tried.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use bitmag::bitset::{Backend, Engine, set_plain};

/// Pages in the map: 16 GiB of 4 KiB.
const PAGES: usize = 1 << 22;
const PAGE: usize = 4096;
/// The address that page 0 would have.
const BASE: usize = 0x1000_0000;

fn main() {
    for backend in Backend::ALL {
        match Engine::new(backend) {
            Some(engine) => scan(engine),
            None => println!("{:8} not run (this CPU lacks it)", backend.name()),
        }
    }
}

fn scan(engine: Engine) {
    // Everything is taken, but for a page now and then, a run of 100, and 40 pages near the end.
    let pages: Vec<AtomicU64> = (0..PAGES / 64).map(|_| AtomicU64::new(0)).collect();
    for page in (PAGES / 4..PAGES / 2).step_by(777) {
        set_plain(&pages[page / 64], 1 << (page % 64));
    }
    let run = PAGES / 2 + 30;
    let last = PAGES - 50;
    for page in (run..run + 100).chain(last..last + 40) {
        set_plain(&pages[page / 64], 1 << (page % 64));
    }

    let start = Instant::now();
    let first = engine.first_set(&pages);
    let searched = start.elapsed();
    assert_eq!(first, Some(PAGES / 4));
    assert_eq!(engine.first_run(&pages, 100, usize::MAX), Some(run));
    assert_eq!(engine.last_set(&pages), Some(last + 39));
    let free = engine.count(&pages, PAGES);

    // Thirty-one of the pages at the end, as addresses, the lowest on top: what a refill does.
    let mut batch = [std::ptr::null_mut::<u8>(); 31];
    // SAFETY: nobody else writes the map, and the 31 slots below the array's end are its own.
    let taken = unsafe {
        let top = batch.as_mut_ptr_range().end;
        engine.expand(&pages, last / 64, batch.len(), BASE, PAGE, top).taken
    };
    assert_eq!((taken, batch[30].addr()), (31, BASE + last * PAGE));
    assert_eq!(engine.count(&pages, PAGES), free - 31);

    // And back.
    for page in batch.map(|page| (page.addr() - BASE) / PAGE) {
        assert_eq!(set_plain(&pages[page / 64], 1 << (page % 64)), 0, "page {page} freed twice");
    }
    assert!(pages[last / 64].load(Relaxed) != 0);
    println!(
        "{:8} {free} of {PAGES} pages free, the first found after {:.1} us",
        engine.backend().name(),
        searched.as_secs_f64() * 1e6
    );
}
