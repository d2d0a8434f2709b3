//! What the C face is made of; not part of the public interface.
//!
//! The package `bitmag-malloc` gives these functions their C names and semantics.

use crate::arena::{direct, window};
use crate::batch;
use crate::block;
use crate::burst;
use crate::config::{Config, Foreign};
use crate::hit;
use crate::init;
use crate::misuse::{Fault, Misuse, report};
use crate::size_class::{Class, MEDIUM_MAX, MIN_ALIGN, round};
use crate::trace::Event;
use core::alloc::Layout;
use core::ptr;

/// The settings of the C face.
static CONFIG: Config = Config::new().environment(true).c_face();

/// The pointer is no block of this allocator.
#[derive(Clone, Copy, Debug)]
pub struct NotOurs;

/// What the process's settings say about the C face.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What to do with a pointer that is not ours.
    pub foreign: Foreign,
}

/// The settings, read from the environment at the first slow call.
pub fn settings() -> Settings {
    init::ensure(&CONFIG);
    Settings { foreign: init::foreign() }
}

/// What the library does once it is loaded, libc being there: starts the background thread if the
/// environment asks for it. No lock of libc's is held then that creating a thread needs.
pub fn loaded() {
    if !init::is_ready() {
        if !crate::environment::asks_for_background() {
            return;
        }
        // A first block, so that the window's place is taken before another copy looks for its own.
        let block = block::allocate(1, 1, &CONFIG);
        if block.is_null() || block::free(block).is_err() {
            return;
        }
    }
    crate::background::start_background();
}

/// Faults other than "foreign" end here.
fn ours(outcome: Result<(), Misuse>) -> Result<(), NotOurs> {
    match outcome {
        Ok(()) => Ok(()),
        Err(Misuse { fault: Fault::Foreign, .. }) => Err(NotOurs),
        Err(misuse) => report(misuse),
    }
}

/// Allocates `size` bytes at a multiple of `align`. NULL if there is no memory; errno untouched.
///
/// # Safety
/// `align` is a power of two.
#[inline]
pub unsafe fn allocate(size: usize, align: usize) -> *mut u8 {
    let rounded = round(size, align);
    if Class::of(rounded).is_some() {
        return take(size, align, rounded);
    }
    block::allocate(size, align, &CONFIG)
}

/// A block of the class of `rounded`, which is what `size` and `align` come to; NULL if there is no memory.
///
/// What was asked for is lost on the way through the hit: where calls are recorded it is not tried.
#[inline(always)]
fn take(size: usize, align: usize, rounded: usize) -> *mut u8 {
    #[cfg(not(target_arch = "x86_64"))]
    {
        let block = hit::try_alloc(rounded);
        if !block.is_null() {
            return block;
        }
    }
    if init::is_open() {
        // SAFETY: CONFIG is a static.
        unsafe { hit::alloc(rounded, &raw const CONFIG) }
    } else {
        block::allocate(size, align, &CONFIG)
    }
}

/// The hit of `allocate` alone, for targets without an assembly entry: NULL if there is none.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn try_allocate(size: usize) -> *mut u8 {
    hit::try_alloc(size)
}

/// As `allocate`, zeroed.
///
/// # Safety
/// `align` is a power of two.
#[inline]
pub unsafe fn allocate_zeroed(size: usize, align: usize) -> *mut u8 {
    let rounded = round(size, align);
    if Class::of(rounded).is_some() && init::is_open() {
        let block = take(size, align, rounded);
        if !block.is_null() {
            // SAFETY: a fresh block of at least `size` bytes.
            unsafe { ptr::write_bytes(block, 0, size) };
        }
        return block;
    }
    block::allocate_zeroed(size, align, &CONFIG)
}

/// Resizes a block. `Ok(NULL)` if there is no memory; the old block is kept then.
///
/// # Safety
/// `block` is not NULL and, if it is ours, owned by the caller; `new_size` is above 0.
pub unsafe fn reallocate(block: *mut u8, new_size: usize) -> Result<*mut u8, NotOurs> {
    if !init::is_open() {
        // SAFETY: the caller's contract.
        return unsafe { reallocate_closed(block, new_size) };
    }
    if let Some(class) = block::class_at(block) {
        // SAFETY: the caller's contract; a block of that class starts there.
        return Ok(unsafe { move_between_classes(block, class, new_size) });
    }
    if block::resize_quickly(block, new_size) {
        return Ok(block);
    }
    let (usable, large) = match block::usable(block) {
        Ok(found) => found,
        Err(Misuse { fault: Fault::Foreign, .. }) => return Err(NotOurs),
        Err(misuse) => report(misuse),
    };
    match block::resize_in_place(block, new_size, MIN_ALIGN, large, usable) {
        Ok(Some(same)) => return Ok(same),
        Ok(None) => {}
        Err(misuse) => report(misuse),
    }
    // SAFETY: the new block has room for what is copied; the old one is the caller's.
    unsafe {
        // A size that has a class gets a block of that class, whatever the old block was aligned to: a
        // sized free will look for it there.
        let moved = if large && new_size > usable.max(MEDIUM_MAX) {
            block::allocate_to_grow(new_size, MIN_ALIGN)
        } else {
            allocate(new_size, MIN_ALIGN)
        };
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, usable.min(new_size));
            // `usable` has found it to be ours.
            if !hit::try_free(block) {
                release_cold(block)?;
            }
        }
        Ok(moved)
    }
}

/// `reallocate` before allocation works, and where every call is recorded.
///
/// # Safety
/// As for `reallocate`.
#[cold]
#[inline(never)]
unsafe fn reallocate_closed(block: *mut u8, new_size: usize) -> Result<*mut u8, NotOurs> {
    if !init::ensure(&CONFIG) {
        return Err(NotOurs);
    }
    let record = |moved: *mut u8| {
        if let Some(recorder) = init::recorder() {
            recorder(Event::Reallocated { from: block, block: moved, size: new_size });
        }
        moved
    };
    let (usable, large) = match block::usable(block) {
        Ok(found) => found,
        Err(misuse) => return ours(Err(misuse)).map(|()| block),
    };
    // A mapping of its own would be moved in one step, with nothing between the old place's end and
    // the new one's begin where the call could be recorded: it is copied.
    let stays = if large && block::unit_of(block as usize).is_none() {
        Class::of(new_size).is_none() && direct::resize_within(block, new_size)
    } else {
        match block::resize_in_place(block, new_size, MIN_ALIGN, large, usable) {
            Ok(same) => same.is_some(),
            Err(misuse) => report(misuse),
        }
    };
    if stays {
        return Ok(record(block));
    }
    let moved = block::allocate_unrecorded(new_size, MIN_ALIGN, false);
    if !moved.is_null() {
        // SAFETY: the new block has room for what is copied; the old one is the caller's.
        unsafe { ptr::copy_nonoverlapping(block, moved, usable.min(new_size)) };
        record(moved);
        // Recorded as what belongs to it.
        ours(block::free(block))?;
    }
    Ok(moved)
}

/// Resizes a block of `class`: nothing but a pop, a copy and a push where both hit. A block that shrinks by a
/// quarter at most stays, and one that grows by little gets room to grow on: see `Class`.
///
/// # Safety
/// `block` is a block of that class that the caller owns.
#[inline(always)]
unsafe fn move_between_classes(block: *mut u8, class: Class, new_size: usize) -> *mut u8 {
    if Class::of(new_size).is_some_and(|new| class.keeps(new)) {
        return block;
    }
    // SAFETY: the new block has room for what is copied; the old one is the caller's.
    unsafe {
        let moved = allocate(class.with_slack(new_size), MIN_ALIGN);
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, class.size().min(new_size));
            hit::free_sized(block, class.size());
        }
        moved
    }
}

/// Frees a block.
///
/// # Safety
/// `block` is NULL or, if it is ours, owned by the caller.
#[inline]
pub unsafe fn release(block: *mut u8) -> Result<(), NotOurs> {
    // On x86_64 the entries of the C face have tried the hit in assembly, and what comes here may
    // be foreign.
    // SAFETY: the caller's contract.
    unsafe {
        if cfg!(not(target_arch = "x86_64")) && hit::try_free(block) {
            return Ok(());
        }
        release_cold(block)
    }
}

/// Frees a block of known size and alignment.
///
/// # Safety
/// `block` is NULL, or was asked for with that size and alignment and is owned by the caller.
#[inline]
pub unsafe fn release_sized(block: *mut u8, size: usize, align: usize) -> Result<(), NotOurs> {
    let rounded = round(size, align);
    if Class::of(rounded).is_some() {
        // SAFETY: the caller's contract.
        unsafe { hit::free_sized(block, rounded) };
        return Ok(());
    }
    if block.is_null() { Ok(()) } else { ours(block::free_sized(block, size, align)) }
}

/// Bytes that the program may use of a block.
///
/// # Safety
/// `block` is not NULL.
pub unsafe fn usable(block: *const u8) -> Result<usize, NotOurs> {
    match block::usable(block) {
        Ok((usable, _)) => Ok(usable),
        Err(Misuse { fault: Fault::Foreign, .. }) => Err(NotOurs),
        Err(misuse) => report(misuse),
    }
}

/// Whether a block of that size is a large one.
#[inline(always)]
pub fn is_large(size: usize) -> bool {
    size > MEDIUM_MAX
}

/// The short way of a large block after a miss of `malloc`: NULL if it was not done. Sets no errno.
#[inline(always)]
pub fn allocate_last(size: usize) -> *mut u8 {
    block::allocate_last(size)
}

/// The short way of all others. NULL if it was not done. Sets no errno.
#[inline(always)]
pub fn allocate_quickly(size: usize) -> *mut u8 {
    burst::allocate(size)
}

/// The unit that a block lies in, if it is one of the window's.
#[inline(always)]
pub fn unit_of(block: *const u8) -> Option<u32> {
    window::unit_of(block as usize)
}

/// The short way of a large block after a miss of `free`: whether it was done. Sets no errno.
///
/// # Safety
/// `block` is owned by the caller, if it is one that lies in `unit`, which `unit_of` gave.
#[inline(always)]
pub unsafe fn release_last(block: *mut u8, unit: u32) -> bool {
    block::free_last(unit, block, None)
}

/// The same after a miss of a sized free: whether it was done. Sets no errno.
///
/// # Safety
/// `block` is NULL, or was asked for with that size and is owned by the caller.
#[inline(always)]
pub unsafe fn release_sized_last(block: *mut u8, size: usize) -> bool {
    window::unit_of(block as usize).is_some_and(|unit| block::free_last(unit, block, Some(size)))
}

/// The short way of a block of a class slab after a miss of `free`: whether it was done. Sets no errno.
///
/// # Safety
/// `block` is owned by the caller, if it is one; `class` is what the map says of its unit.
#[inline(always)]
pub unsafe fn release_quickly(block: *mut u8, class: usize) -> bool {
    burst::free_of(class, block)
}

/// The short way after a miss of a sized free: whether it was done. Sets no errno.
///
/// # Safety
/// `block` is NULL, or was asked for with that size and is owned by the caller.
#[inline(always)]
pub unsafe fn release_sized_quickly(block: *mut u8, size: usize) -> bool {
    !block.is_null() && burst::free_sized(block, size)
}

/// Allocates `count` blocks of `size` bytes; how many there were.
///
/// # Safety
/// `count` pointers can be written at `out`.
pub unsafe fn allocate_batch(size: usize, out: *mut *mut u8, count: usize) -> usize {
    let Ok(layout) = Layout::from_size_align(size, 1) else { return 0 };
    // SAFETY: the caller's contract; the slots are written before they are read.
    let out = unsafe {
        ptr::write_bytes(out, 0, count);
        core::slice::from_raw_parts_mut(out, count)
    };
    batch::allocate(layout, out, &CONFIG)
}

/// Frees `count` blocks of `size` bytes. A pointer that is not ours is misuse.
///
/// # Safety
/// `count` pointers can be read at `blocks`; each is NULL or a block of that size of the caller's.
pub unsafe fn release_batch(size: usize, blocks: *const *mut u8, count: usize) {
    // SAFETY: the caller's contract.
    let blocks = unsafe { core::slice::from_raw_parts(blocks, count) };
    let outcome = match Layout::from_size_align(size, 1) {
        Ok(layout) if init::ensure(&CONFIG) => batch::release(layout, blocks),
        _ => Ok(()),
    };
    if let Err(misuse) = outcome {
        report(misuse);
    }
}

/// Where `malloc` goes when its hit misses.
///
/// # Safety
/// None beyond what every allocation needs.
#[inline]
pub unsafe fn allocate_cold(size: usize) -> *mut u8 {
    block::allocate(size, 1, &CONFIG)
}

/// Where `free` goes when its hit misses.
///
/// # Safety
/// `block` is NULL or, if it is ours, owned by the caller.
#[inline]
pub unsafe fn release_cold(block: *mut u8) -> Result<(), NotOurs> {
    if block.is_null() { Ok(()) } else { ours(block::free(block)) }
}

/// Where a sized free goes when its hit misses.
///
/// # Safety
/// `block` is NULL, or was asked for with that size and is owned by the caller.
#[inline]
pub unsafe fn release_sized_cold(block: *mut u8, size: usize) -> Result<(), NotOurs> {
    if block.is_null() { Ok(()) } else { ours(block::free_sized(block, size, 1)) }
}

/// Reports a pointer that is not ours, and aborts.
pub fn report_foreign(pointer: *const u8) -> ! {
    report(Misuse { fault: Fault::Foreign, pointer: pointer as usize })
}

/// Writes the statistics to a file descriptor.
pub fn write_stats(file: i32) {
    crate::stats::write(file);
}

/// Gives back what can be given back; whether any memory was. `_pad` bytes could be kept: none are.
pub fn trim(_pad: usize) -> bool {
    crate::maintain::purge() != 0
}

/// Writes the pieces to stderr in one go, without allocating; at most 256 bytes.
pub fn write_line(parts: &[&[u8]]) {
    crate::misuse::write_line(parts);
}
