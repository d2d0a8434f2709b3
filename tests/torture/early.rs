//! Before main: a constructor allocates, grows and frees, before Rust's runtime or any other code of the program has run.
//! What it left live must still be whole in main, and must be freed like any other block.
//! It also registers fork handlers that allocate, so that every fork of `fork.rs` passes through them.

use crate::support::verdict::Scenario;
use crate::{ALL, BITMAG, each_face, ensure, on_rust};
use libtest_mimic::Trial;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

const SIZES: [usize; 8] = [1, 24, 64, 1000, 1500, 30_000, 200_000, 400_000];

/// The blocks that the constructor left.
static LEFT: [AtomicUsize; 2 * SIZES.len()] = [const { AtomicUsize::new(0) }; 2 * SIZES.len()];

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

fn pattern(index: usize) -> u8 {
    0x11 * (1 + index as u8)
}

extern "C" fn constructor() {
    // SAFETY: getenv reads the environment, which nobody changes before main.
    let scenario = unsafe { libc::getenv(c"BITMAG_SCENARIO".as_ptr()) };
    // SAFETY: getenv's answer is a C string.
    if scenario.is_null() || !matches!(unsafe { *scenario } as u8, b'b' | b'f' | b'g') {
        return; // neither before_main nor fork_at_random nor generations
    }
    for (index, size) in SIZES.into_iter().enumerate() {
        // SAFETY: plain allocations, written inside their sizes; what is freed is freed once.
        unsafe {
            let c = libc::malloc(size).cast::<u8>();
            c.write_bytes(pattern(index), size);
            libc::free(libc::realloc(libc::calloc(1, size), 2 * size));
            LEFT[index].store(c as usize, Ordering::Relaxed);

            let layout = Layout::from_size_align_unchecked(size, 8);
            let rust = BITMAG.alloc(layout);
            if !rust.is_null() {
                rust.write_bytes(pattern(index), size);
            }
            BITMAG.dealloc(BITMAG.alloc_zeroed(layout), layout);
            LEFT[SIZES.len() + index].store(rust as usize, Ordering::Relaxed);
        }
    }
    // SAFETY: the handlers are functions of this program, which is never unloaded.
    unsafe { libc::pthread_atfork(Some(at_fork), Some(at_fork), Some(at_fork)) };
}

/// Runs in the forking thread before and after every fork, while the allocator may hold its own locks for it.
extern "C" fn at_fork() {
    for size in [40usize, 700, 5000, 70_000] {
        // SAFETY: blocks allocated and freed here.
        unsafe {
            let layout = Layout::from_size_align_unchecked(size, 8);
            let rust = BITMAG.alloc(layout);
            let c = libc::malloc(size);
            if !rust.is_null() && !c.is_null() {
                rust.write_bytes(1, size);
                c.cast::<u8>().write_bytes(2, size);
            }
            libc::free(c);
            BITMAG.dealloc(rust, layout);
        }
    }
}

pub const SCENARIOS: &[Scenario] = &[("before_main", || {
    for (index, left) in LEFT.iter().enumerate() {
        let (size, block) = (SIZES[index % SIZES.len()], left.load(Ordering::Relaxed) as *mut u8);
        ensure!(!block.is_null(), "the constructor got NULL for {size} bytes");
        // SAFETY: the block is live since the constructor, and freed once, by the face that it came from.
        unsafe {
            let whole = std::slice::from_raw_parts(block, size)
                .iter()
                .all(|byte| *byte == pattern(index % SIZES.len()));
            ensure!(whole, "a block of {size} bytes did not survive until main");
            match index < SIZES.len() {
                true => libc::free(block.cast()),
                false => BITMAG.dealloc(block, Layout::from_size_align_unchecked(size, 8)),
            }
        }
    }
    if on_rust() {
        ensure!(bitmag::stats().refilled_blocks > 0, "the counters do not show us");
    }
    Ok(())
})];

pub fn tests() -> Vec<Trial> {
    each_face("before_main", "before_main", &ALL)
}
