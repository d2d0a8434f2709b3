//! Batches: many blocks of one layout at a time, for programs that know how many they need.
//!
//! What the thread's magazine holds comes first; the rest goes straight from the heap's bitmaps into
//! the caller's memory, up to 1,024 blocks under one hold of its lock. Back they go in the same way,
//! past the magazine: a row of neighbours is a range of bits.

use crate::block::{self, with_magazines};
use crate::check;
use crate::config::Config;
use crate::heap;
use crate::init;
use crate::magazine;
use crate::misuse::{Misuse, report};
use crate::single;
use crate::size_class::{Class, round};
use core::alloc::Layout;

/// Fewer blocks than these are freed one by one, into the magazine.
const FEW: usize = 8;

/// Allocates a block of `layout` for each element of `out`, from its start; how many were had, fewer
/// only if memory is short. What is behind them is left as it is or overwritten.
///
/// At most 4 instructions a block for small blocks that lie densely, against 11 and more. Each block
/// is like any other: it may be freed by itself, or by [`free_batch`] with blocks of other batches.
/// A thread's first call settles nothing that the first ordinary allocation would not: in a program
/// whose global allocator is another, the default settings.
///
/// ```
/// use std::alloc::Layout;
/// let layout = Layout::new::<[u64; 8]>();
/// let mut blocks = [std::ptr::null_mut(); 1000];
/// let count = bitmag::alloc_batch(layout, &mut blocks);
/// assert_eq!(count, 1000);
/// // SAFETY: these are the blocks, each freed once.
/// unsafe { bitmag::free_batch(layout, &blocks[..count]) };
/// ```
pub fn alloc_batch(layout: Layout, out: &mut [*mut u8]) -> usize {
    allocate(layout, out, &Config::new())
}

/// `alloc_batch` with the settings of a face.
pub(crate) fn allocate(layout: Layout, out: &mut [*mut u8], config: &Config) -> usize {
    if !init::ensure(config) {
        return 0;
    }
    let Some(class) = Class::of(round(layout.size(), layout.align())) else {
        return one_by_one(out, || block::allocate(layout.size(), layout.align(), config));
    };
    let done = with_magazines(|tls| {
        // SAFETY: `with_magazines` gives an ACTIVE, busy block.
        let drained = unsafe { magazine::drain(tls, class, out) };
        let rest = out.get_mut(drained..).unwrap_or(&mut []);
        // SAFETY: as above.
        let filled = unsafe { magazine::at_home(tls, |home| heap::refill_many(home, class, rest)) };
        drained + filled
    });
    let done = done.unwrap_or(0);
    if done == out.len() {
        return done;
    }
    // Out of memory, or a thread in single-block mode: the ordinary way knows what to do.
    let rest = out.get_mut(done..).unwrap_or(&mut []);
    done + one_by_one(rest, || block::allocate(class.size(), 1, config))
}

fn one_by_one(out: &mut [*mut u8], mut next: impl FnMut() -> *mut u8) -> usize {
    for (count, slot) in out.iter_mut().enumerate() {
        let block = next();
        if block.is_null() {
            return count;
        }
        *slot = block;
    }
    out.len()
}

/// Frees blocks of one layout, however they were allocated. NULLs are passed over.
///
/// At most 4 instructions a block where neighbours in a slab stand in a row, in either direction, as
/// [`alloc_batch`] gives them. They go back to their slabs, past the thread's magazine, and are
/// checked as at any flush: misuse ends the process.
///
/// # Safety
/// Each pointer that is not NULL is a live block of this allocator and of this layout, and is in
/// `blocks` once. None of them is used afterwards.
pub unsafe fn free_batch(layout: Layout, blocks: &[*mut u8]) {
    if let Err(misuse) = release(layout, blocks) {
        report(misuse);
    }
}

/// `free_batch` that leaves a fault outside of small blocks to its caller.
pub(crate) fn release(layout: Layout, blocks: &[*mut u8]) -> Result<(), Misuse> {
    let class = Class::of(round(layout.size(), layout.align()));
    if let Some(class) = class.filter(|_| blocks.len() >= FEW && !check::is_on()) {
        let done = with_magazines(|tls| {
            // SAFETY: `with_magazines` gives an ACTIVE, busy block.
            unsafe { magazine::at_home(tls, |home| heap::flush_many(home, class, blocks)) };
        });
        if done.is_some() {
            return Ok(());
        }
        for block in blocks.iter().filter(|block| !block.is_null()) {
            single::free(*block, Some(class))?;
        }
        return Ok(());
    }
    for block in blocks.iter().filter(|block| !block.is_null()) {
        block::free_sized(*block, layout.size(), layout.align())?;
    }
    Ok(())
}
