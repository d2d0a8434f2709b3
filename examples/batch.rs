//! Blocks by the hundred: `alloc_batch` and `free_batch` beside one call for each block.
//! Run it with `cargo run --release --example batch`.
//! A parser that knows how many nodes come, or a pool that fills up, takes them all at once; each may be freed by itself later.

use bitmag::{Bitmag, alloc_batch, free_batch};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: Bitmag = Bitmag::new();

const BLOCKS: usize = 4096;
const ROUNDS: usize = 2000;

fn main() {
    let layout = Layout::new::<[u64; 8]>();
    let mut blocks = vec![null_mut(); BLOCKS];
    let (single, batch) = (measure(|| one_by_one(layout, &mut blocks)), {
        let mut blocks = vec![null_mut(); BLOCKS];
        measure(|| by_batch(layout, &mut blocks))
    });
    println!("{BLOCKS} blocks of {} bytes, allocated and freed, ns a block:", layout.size());
    println!("  one by one  {single:.2}");
    println!("  as a batch  {batch:.2}");
}

fn measure(mut round: impl FnMut()) -> f64 {
    round();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        round();
    }
    start.elapsed().as_nanos() as f64 / (ROUNDS * BLOCKS) as f64
}

#[inline(never)]
fn one_by_one(layout: Layout, blocks: &mut [*mut u8]) {
    for block in &mut *blocks {
        // SAFETY: the layout is not empty.
        *block = unsafe { ALLOCATOR.alloc(layout) };
    }
    for block in blocks {
        // SAFETY: allocated above and freed once.
        unsafe { ALLOCATOR.dealloc(*block, layout) };
    }
}

#[inline(never)]
fn by_batch(layout: Layout, blocks: &mut [*mut u8]) {
    let count = alloc_batch(layout, blocks);
    // SAFETY: the blocks of the batch, each once.
    unsafe { free_batch(layout, &blocks[..count]) };
}
