//! Growing large blocks: the system moves their pages, so that nothing is copied.
//!
//! A span that grows takes free units behind it, then (from `MOVE_MIN` on) becomes a mapping of its
//! own, which takes its pages and leaves the span's units free and known to be zero. From there on
//! the kernel extends or moves it. What grows once will grow again, so it gets address space ahead,
//! which is never touched: a buffer that grows in small steps moves a number of times that is
//! logarithmic in its size, and few of its steps are system calls.

use super::{direct, spans};
use crate::misuse::Fault;
use core::ptr;

/// Smallest span whose pages are moved, bytes; what is smaller is copied. Half a MiB is moved in 13 µs
/// and copied in 6 to 180, as the target is resident or not (ARCHITECTURE.md, "Large blocks").
const MOVE_MIN: usize = 512 << 10;
/// Most direct mappings beside which a span becomes another one: an eighth of the mappings that the
/// kernel gives a process (`vm.max_map_count`, 65,530).
const MAPPINGS: usize = 8 << 10;

/// What a block that has grown to `len` gets of address space: a half more.
pub(super) const fn with_slack(len: usize) -> usize {
    (len + len / 2).next_multiple_of(super::super::layout::UNIT_BYTES)
}

/// Moves the span at `block`, which lies in `unit`, into a mapping of its own of `size` bytes.
///
/// NULL, the block untouched, if it is too small for that, does not grow, or the system refuses.
pub(crate) fn grow(unit: u32, block: *mut u8, size: usize, align: usize) -> Result<*mut u8, Fault> {
    let pages = spans::bytes(unit, block as usize)?;
    if pages < MOVE_MIN
        || size < pages
        || size > isize::MAX as usize / 2
        || direct::count() >= MAPPINGS
        || !direct::moves_pages()
    {
        return Ok(ptr::null_mut());
    }
    // SAFETY: the span is the caller's, and its units are mapped from end to end.
    let moved = unsafe { direct::take_over(block, pages, size, align) };
    if !moved.is_null() {
        spans::free_empty(unit, block as usize)?;
    }
    Ok(moved)
}
