//! The Rust face: `Bitmag`, a `GlobalAlloc`, and the cold functions that its hits fall into.

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
use crate::arena::window;
use crate::block;
use crate::burst;
use crate::config::Config;
use crate::hit;
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
use crate::layout::UNIT_BYTES;
use crate::misuse::{Misuse, report};
use crate::size_class::{Class, MEDIUM_MAX, round};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

/// The allocator. All values share one heap per copy of the library; the settings of the process's
/// first call that misses are kept.
///
/// ```
/// #[global_allocator]
/// static A: bitmag::Bitmag = bitmag::Bitmag::new();
///
/// let boxed = Box::new([0u8; 100]);
/// assert!(bitmag::stats().refilled_blocks > 0);
/// # drop(boxed);
/// ```
#[derive(Debug)]
pub struct Bitmag {
    config: Config,
}

impl Bitmag {
    /// An allocator with the default settings. Reads no environment.
    #[must_use]
    pub const fn new() -> Self {
        Self::with(Config::new())
    }

    /// An allocator with settings of its own.
    #[must_use]
    pub const fn with(config: Config) -> Self {
        Self { config }
    }
}

impl Default for Bitmag {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: blocks do not overlap (bitmaps hand each out once), are as large and aligned as asked for
// (the class rule, tested for every size), and stay where they are until freed.
unsafe impl GlobalAlloc for Bitmag {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: `self` lives as long as this call needs it; the first call's settings are copied.
        unsafe { hit::inline::alloc(layout, &raw const self.config) }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller passes a block of this layout.
        unsafe { hit::inline::free(block, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let size = round(layout.size(), layout.align());
        if size <= MEDIUM_MAX {
            // SAFETY: as in `alloc`.
            let block = unsafe { hit::alloc(size, &raw const self.config) };
            if !block.is_null() {
                // SAFETY: a fresh block of at least that size.
                unsafe { ptr::write_bytes(block, 0, layout.size()) };
            }
            return block;
        }
        block::allocate_zeroed(layout.size(), layout.align(), &self.config)
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe { reallocate(self, block, layout, new_size) }
    }
}

/// # Safety
/// As for `GlobalAlloc::realloc`.
unsafe fn reallocate(face: &Bitmag, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let align = layout.align();
    if let Some(old) = Class::of(round(layout.size(), align))
        && let Some(new) = Class::of(round(new_size, align))
        && !crate::check::is_on()
    {
        if old == new {
            return block;
        }
        if block::is_start_of(block, old) {
            // SAFETY: the caller's contract.
            return unsafe { move_block(face, block, layout, new_size) };
        }
    }
    // SAFETY: the caller's contract.
    unsafe { reallocate_otherwise(face, block, layout, new_size) }
}

/// Allocates `new_size` bytes, copies, and frees the old block; NULL, nothing changed, without memory.
///
/// # Safety
/// That of `GlobalAlloc::realloc`.
#[inline(always)]
unsafe fn move_block(face: &Bitmag, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: the caller guarantees that `new_size` makes a valid layout; the new block has room
    // for what is copied, and the old one is the caller's.
    unsafe {
        let moved = face.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
            hit::inline::free_here(block, layout);
        }
        moved
    }
}

/// `reallocate` where large blocks or the checked mode come into it, or the block is not what it should be.
///
/// # Safety
/// That of `GlobalAlloc::realloc`.
#[inline(never)]
unsafe fn reallocate_otherwise(
    face: &Bitmag,
    block: *mut u8,
    layout: Layout,
    new_size: usize,
) -> *mut u8 {
    let align = layout.align();
    let old = Class::of(round(layout.size(), align));
    let new = Class::of(round(new_size, align));
    if old.is_some() == new.is_some() {
        match resize(block, layout, new_size) {
            Ok(Some(same)) => return same,
            Ok(None) => {}
            Err(misuse) => report(misuse),
        }
    }
    if old.is_none() && new_size > layout.size() {
        // SAFETY: as in `move_block`.
        unsafe {
            let moved = block::allocate_to_grow(new_size, align);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size());
                face.dealloc(block, layout);
            }
            return moved;
        }
    }
    // SAFETY: the caller's contract.
    unsafe { move_block(face, block, layout, new_size) }
}

/// Tries to resize without moving across classes.
#[cold]
fn resize(block: *mut u8, layout: Layout, new_size: usize) -> Result<Option<*mut u8>, Misuse> {
    let (usable, large) = block::usable(block)?;
    let expected = Class::of(round(layout.size(), layout.align()));
    if expected.map(|class| class.size()) != (if large { None } else { Some(usable) }) {
        return Err(Misuse { fault: crate::misuse::Fault::WrongSize, pointer: block as usize });
    }
    block::resize_in_place(block, new_size, layout.align(), large, usable)
}

fn done(outcome: Result<(), Misuse>) {
    if let Err(misuse) = outcome {
        report(misuse);
    }
}

/// Where an allocation goes that misses. `size` is already rounded to its alignment.
///
/// # Safety
/// `config` points at settings.
#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn alloc_cold(size: usize, config: *const Config) -> *mut u8 {
    let block = burst::allocate(size);
    if !block.is_null() {
        return block;
    }
    // A class size is a multiple of every alignment it was rounded up to.
    // SAFETY: the caller's contract.
    block::allocate(size, 1, unsafe { &*config })
}

/// Where an inlined allocation of a small size goes that misses. `slot` is the offset of its class's top, which is at hand there.
///
/// # Safety
/// `config` points at settings.
#[cold]
#[inline(never)]
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(crate) unsafe extern "C" fn alloc_cold_at(slot: usize, config: *const Config) -> *mut u8 {
    // SAFETY: the caller's contract.
    unsafe { alloc_cold(hit::size_at(slot), config) }
}

/// Where an inlined free of a small block goes that misses. `slot` as in `alloc_cold_at`.
///
/// # Safety
/// `block` is a block of the caller's.
#[cold]
#[inline(never)]
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(crate) unsafe extern "C" fn free_cold_at(block: *mut u8, slot: usize) {
    // SAFETY: the caller's contract.
    unsafe { free_sized_cold(block, hit::size_at(slot)) }
}

/// Where a sized free goes that misses.
///
/// # Safety
/// `block` is NULL or a block of the caller's.
#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn free_sized_cold(block: *mut u8, size: usize) {
    if !block.is_null() && !burst::free_sized(block, size) {
        done(block::free_sized(block, size, 1));
    }
}

/// Where large allocations of the inlined hit path go.
///
/// # Safety
/// `config` points at settings.
#[cold]
#[inline(never)]
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(crate) unsafe fn alloc_large(size: usize, align: usize, config: *const Config) -> *mut u8 {
    if align <= UNIT_BYTES {
        let last = block::allocate_last(size);
        if !last.is_null() {
            return last;
        }
    }
    // SAFETY: the caller passes settings.
    block::allocate(size, align, unsafe { &*config })
}

/// Where large frees of the inlined hit path go.
///
/// # Safety
/// `block` is a block of the caller's.
#[cold]
#[inline(never)]
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(crate) unsafe fn free_large(block: *mut u8, size: usize, align: usize) {
    let kept = window::unit_of(block as usize)
        .is_some_and(|unit| block::free_last(unit, block, Some(size)));
    if !kept {
        done(block::free_sized(block, size, align));
    }
}

/// Where an unsized free goes that misses.
///
/// # Safety
/// `block` is NULL or a block of the caller's.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(crate) unsafe extern "C" fn free_cold(block: *mut u8) {
    if !block.is_null() {
        done(block::free(block));
    }
}

/// Where an unsized free of a block in a class slab goes that finds the magazine full.
///
/// # Safety
/// `block` is a block of the caller's, if it is one; `class` is its slab's.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(crate) unsafe extern "C" fn free_full(block: *mut u8, class: usize) {
    if !burst::free_of(class, block) {
        done(block::free(block));
    }
}

/// Bytes that the program may use of the block at `ptr`: at least what was asked for. 0 for NULL.
///
/// Aborts if `ptr` is not a block of bitmag's. O(1).
///
/// # Safety
/// `ptr` is NULL or a live block of this allocator.
#[must_use]
pub unsafe fn usable_size(ptr: *const u8) -> usize {
    if ptr.is_null() {
        return 0;
    }
    match block::usable(ptr) {
        Ok((usable, _)) => usable,
        Err(misuse) => report(misuse),
    }
}

/// [`purge`](crate::purge) under its C name: whether any memory was returned to the system.
pub fn trim() -> bool {
    crate::maintain::purge() != 0
}
