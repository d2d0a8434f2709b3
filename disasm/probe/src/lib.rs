//! What bitmag inlines into a program, one function for each case, to be looked at as machine code.
//! The names are kept as they are, so that `disasm/bounds.toml`, `cargo asm` and a debugger find them.
//! The library is linked twice: as a shared library of its own, and into the program `bitmag-probe`.

use bitmag::Bitmag;
use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static BITMAG: Bitmag = Bitmag::new();

/// Allocation of 64 bytes, the layout a constant: the inlined pop.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pop() -> *mut u8 {
    // SAFETY: the layout is not empty.
    unsafe { BITMAG.alloc(Layout::new::<[u64; 8]>()) }
}

/// Free of 64 bytes, the layout a constant: the inlined push.
///
/// # Safety
/// `block` comes from [`pop`] and is given up.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn push(block: *mut u8) {
    // SAFETY: the layout that it was allocated with.
    unsafe { BITMAG.dealloc(block, Layout::new::<[u64; 8]>()) }
}

/// Allocation of a constant medium size: goes to the entry.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pop_medium() -> *mut u8 {
    // SAFETY: the layout is not empty.
    unsafe { BITMAG.alloc(Layout::new::<[u64; 512]>()) }
}

/// Allocation of a size that the compiler does not know.
///
/// # Safety
/// `size` is not 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn pop_any(size: usize) -> *mut u8 {
    // SAFETY: the caller's contract; 8 is a power of two.
    unsafe { BITMAG.alloc(Layout::from_size_align_unchecked(size, 8)) }
}

/// Free of a size that the compiler does not know.
///
/// # Safety
/// `block` comes from [`pop_any`] with this `size` and is given up.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn push_any(block: *mut u8, size: usize) {
    // SAFETY: the layout that it was allocated with.
    unsafe { BITMAG.dealloc(block, Layout::from_size_align_unchecked(size, 8)) }
}

/// `Box::new` of one word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn box_new(word: u64) -> Box<u64> {
    Box::new(word)
}

/// The drop of such a box.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn box_drop(boxed: Box<u64>) {
    drop(boxed);
}

/// `rounds` times `Box::new` and drop; what the compiler may hoist out of the loop, it does.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn box_loop(rounds: u64) {
    for round in 0..rounds {
        drop(std::hint::black_box(Box::new(round)));
    }
}
