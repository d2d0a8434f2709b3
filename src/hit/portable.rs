//! The hit path in Rust, for targets without an assembly entry.
//!
//! The same steps in the same order as `asm/x86_64/*.s`: the slot is written before the top, and
//! compiler fences keep that order for signal handlers and forks.

use super::{tls, window};
use crate::config::Config;
use crate::face::{alloc_cold, free_sized_cold};
use crate::layout::{GRANULE_SHIFT, MAGAZINE_BYTES, MapEntry, Tls, Top, UNIT_SHIFT};
use crate::size_class::{Class, SMALL_CLASSES};
use crate::sync::{AtomicU8, Ordering, compiler_fence};

/// Where the top of `class` is kept.
///
/// # Safety
/// `tls` is a block whose `thread` points at a record or the dummy record.
#[inline(always)]
unsafe fn place(tls: *mut Tls, class: Class) -> *mut Top {
    // SAFETY: class indices are within both arrays, by the type.
    unsafe {
        if class.is_medium() {
            (&raw mut (*(*tls).thread).medium_tops).cast::<Top>().add(class.index() - SMALL_CLASSES)
        } else {
            (&raw mut (*tls).tops).cast::<Top>().add(class.index())
        }
    }
}

/// Pops a block, or NULL.
#[inline(always)]
unsafe fn pop(place: *mut Top) -> *mut u8 {
    // SAFETY: a top points at a slot of a magazine or of the dummy.
    unsafe {
        let top = place.read();
        let block = top.read();
        if !block.is_null() {
            compiler_fence(Ordering::SeqCst);
            place.write(top.sub(1));
        }
        block
    }
}

/// Pushes a block; `false` if the magazine is full.
#[inline(always)]
unsafe fn push(place: *mut Top, block: *mut u8) -> bool {
    // SAFETY: a top that is not the last slot of its magazine has a slot behind it.
    unsafe {
        let top = place.read().wrapping_add(1);
        if (top as usize).is_multiple_of(MAGAZINE_BYTES) {
            return false;
        }
        top.write(block);
        compiler_fence(Ordering::SeqCst);
        place.write(top);
        true
    }
}

/// Allocates `size` bytes; the cold function gets whatever this cannot serve.
///
/// # Safety
/// `config` outlives the process or is NULL.
#[inline]
pub(crate) unsafe fn alloc(size: usize, config: *const Config) -> *mut u8 {
    let block = try_alloc(size);
    if !block.is_null() {
        return block;
    }
    // SAFETY: the caller's contract.
    unsafe { alloc_cold(size, config) }
}

/// The hit alone: NULL if there is none.
#[inline(always)]
pub(crate) fn try_alloc(size: usize) -> *mut u8 {
    match Class::of(size) {
        // SAFETY: `tls` is this thread's block.
        Some(class) => unsafe { pop(place(tls(), class)) },
        None => core::ptr::null_mut(),
    }
}

/// Frees a block of known size.
///
/// # Safety
/// `block` is NULL or a block asked for with `size` bytes, owned by the caller.
#[inline]
pub(crate) unsafe fn free_sized(block: *mut u8, size: usize) {
    if let Some(class) = Class::of(size) {
        // SAFETY: as in `alloc`.
        if unsafe { push(place(tls(), class), block) } {
            return;
        }
    }
    // SAFETY: the caller's contract.
    unsafe { free_sized_cold(block, size) }
}

/// Pushes a block of unknown size; `false` if that is not for the hit to do.
///
/// # Safety
/// `block` is NULL or a block owned by the caller.
#[inline]
pub(crate) unsafe fn try_free(block: *mut u8) -> bool {
    let window = window();
    let offset = (block as usize).wrapping_sub(window.base.load(Ordering::Relaxed));
    let unit = offset >> UNIT_SHIFT;
    if unit >= window.units.load(Ordering::Acquire) {
        return false;
    }
    // SAFETY: below the bound, both tables have entries.
    let mut class = unsafe {
        let map = window.map.load(Ordering::Relaxed) as *const MapEntry;
        usize::from((*map.add(unit)).class.load(Ordering::Relaxed))
    };
    if class == 0 {
        // SAFETY: as above.
        let granule = unsafe {
            let granules = window.granules.load(Ordering::Relaxed) as *const AtomicU8;
            (*granules.wrapping_add(block as usize >> GRANULE_SHIFT)).load(Ordering::Relaxed)
        };
        if granule == 0 {
            return false;
        }
        class = SMALL_CLASSES + usize::from(granule);
    }
    // SAFETY: as in `alloc`.
    unsafe { push(place(tls(), Class::from_index(class)), block) }
}

/// The entries of the Rust face, which know the whole layout.
pub(crate) mod layouts {
    use crate::block;
    use crate::config::Config;
    use crate::size_class::{MEDIUM_MAX, round};
    use core::alloc::Layout;

    /// Allocates for a layout.
    ///
    /// # Safety
    /// `config` points at settings.
    #[inline]
    pub(crate) unsafe fn alloc(layout: Layout, config: *const Config) -> *mut u8 {
        let size = round(layout.size(), layout.align());
        if size <= MEDIUM_MAX {
            // SAFETY: the caller's contract.
            return unsafe { super::alloc(size, config) };
        }
        // SAFETY: the caller's contract.
        block::allocate(layout.size(), layout.align(), unsafe { &*config })
    }

    pub(crate) use free as free_here;

    /// Frees a block.
    ///
    /// # Safety
    /// `block` was allocated with `layout` and is the caller's.
    #[inline]
    pub(crate) unsafe fn free(block: *mut u8, layout: Layout) {
        let size = round(layout.size(), layout.align());
        if size <= MEDIUM_MAX {
            // SAFETY: the caller's contract.
            return unsafe { super::free_sized(block, size) };
        }
        if let Err(misuse) = block::free_sized(block, layout.size(), layout.align()) {
            crate::misuse::report(misuse);
        }
    }
}
