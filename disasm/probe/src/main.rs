//! Links the probes into an executable and calls each of them once, which is also a check that they work.
//! The asm entries of the Rust face come along, since sizes that are not constant go to them.
//! It says who served it; nothing else is of interest in running it.

use bitmag_probe::{box_drop, box_loop, box_new, pop, pop_any, pop_medium, push, push_any};
use std::hint::black_box;

fn main() {
    let size = black_box(100);
    // SAFETY: each block is freed once, in the way that its function asks for.
    unsafe {
        push(pop());
        push_any(pop_any(size), size);
        push_any(pop_medium(), black_box(4096));
    }
    box_drop(box_new(1));
    box_loop(black_box(100));
    println!("{} blocks came from bitmag", bitmag::stats().refilled_blocks);
}
