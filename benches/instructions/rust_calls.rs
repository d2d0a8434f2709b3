//! The Rust face's own calls, with layouts that the compiler does not know: what code does whose sizes come from outside.
//! A call is part of the operation here: it differs from face to face.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::arch::asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// Uses a value without spending an instruction on it.
#[inline(always)]
fn keep<T>(pointer: *const T) {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", in(reg) pointer, options(nostack, preserves_flags)) };
}

/// 64 bytes, in a layout that the compiler does not know.
fn unknown() -> Layout {
    black_box(Layout::new::<[u64; 8]>())
}

/// Blocks from one part of a row to the next.
static BLOCKS: [AtomicPtr<u8>; 16] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 16];

/// As many blocks as asked for, kept in `BLOCKS`.
#[inline(never)]
pub fn rust_alloc(count: usize) {
    let layout = unknown();
    for slot in &BLOCKS[..count] {
        // SAFETY: the size is not 0.
        slot.store(unsafe { alloc(layout) }, Relaxed);
        keep(slot);
    }
}

/// The same loop with nothing to keep.
#[inline(never)]
pub fn keep_nothing(count: usize) {
    let layout = unknown();
    for slot in &BLOCKS[..count] {
        slot.store(std::ptr::without_provenance_mut(layout.size()), Relaxed);
        keep(slot);
    }
}

/// The blocks in `BLOCKS` freed.
#[inline(never)]
pub fn rust_dealloc(count: usize) {
    let layout = unknown();
    for slot in &BLOCKS[..count] {
        // SAFETY: put there by `rust_alloc`, each freed once.
        unsafe { dealloc(slot.load(Relaxed), layout) };
    }
}

/// The same loop without a call.
#[inline(never)]
pub fn free_nothing(count: usize) {
    let layout = unknown();
    for slot in &BLOCKS[..count] {
        keep(slot.load(Relaxed));
        keep(std::ptr::without_provenance::<u8>(layout.size()));
    }
}

/// 64 bytes, moved to 128, freed.
#[inline(never)]
pub fn rust_realloc(count: usize) {
    let layout = unknown();
    let larger = black_box(Layout::new::<[u64; 16]>());
    for _ in 0..count {
        // SAFETY: the sizes are not 0, and the block is freed once with its layout.
        unsafe {
            let block = alloc(layout);
            keep(block);
            let block = realloc(block, layout, larger.size());
            keep(block);
            dealloc(block, larger);
        }
    }
}

/// 64 zero bytes, freed.
#[inline(never)]
pub fn rust_alloc_zeroed(count: usize) {
    let layout = unknown();
    for _ in 0..count {
        // SAFETY: the size is not 0, and the block is freed once with its layout.
        unsafe {
            let block = alloc_zeroed(layout);
            keep(block);
            dealloc(block, layout);
        }
    }
}

/// The loop alone.
#[inline(never)]
pub fn empty_loop(count: usize) {
    for _ in 0..count {
        keep(std::ptr::without_provenance::<u8>(16));
    }
}

/// Everything warm that a row uses; like `holding` in `rows.rs`, no cache is full then where the row frees.
pub fn prepare(name: &str) {
    for _ in 0..20 {
        rust_alloc(BLOCKS.len());
        rust_dealloc(BLOCKS.len());
    }
    match name {
        "rust_alloc" => {}
        "rust_dealloc" => {
            for _ in 0..420 {
                // SAFETY: the size is not 0.
                black_box(unsafe { alloc(unknown()) });
            }
            rust_alloc(10);
            // SAFETY: as above.
            black_box(unsafe { alloc(unknown()) });
        }
        _ => row(name).expect("a row")[0](200),
    }
}

/// A row by name, with the row that costs the same without the allocator.
pub fn row(name: &str) -> Option<[fn(usize); 2]> {
    Some(match name {
        "rust_alloc" => [rust_alloc, keep_nothing],
        "rust_dealloc" => [rust_dealloc, free_nothing],
        "rust_realloc" => [rust_realloc, empty_loop],
        "rust_alloc_zeroed" => [rust_alloc_zeroed, empty_loop],
        _ => return None,
    })
}
