//! The C functions that look at the heap or tune it: usable sizes, trimming, `mallinfo`, `mallopt`.
//! Figures come from `bitmag::stats()`; a field of `mallinfo` that has no counterpart here is 0
//! rather than invented.
//! Hits count nothing, so "in use" is what is carved into slabs or spans less what the caller's
//! magazines hold for certain: an upper bound.

use core::ffi::{c_int, c_void};

use bitmag::c_face;

use super::{WHOLE_FAMILY, WholeFamily, errno, foreign};

#[used]
static TAKE_ALL: &WholeFamily = &WHOLE_FAMILY;

/// `malloc_usable_size`: the bytes that the block really has; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(ptr: *mut c_void) -> usize {
    if ptr.is_null() {
        return 0;
    }
    // SAFETY: the caller owns the block at `ptr`.
    match unsafe { c_face::usable(ptr.cast_const().cast()) } {
        Ok(size) => size,
        // SAFETY: the crate says that the pointer is not one of its own.
        Err(_) => unsafe { foreign::usable(ptr) },
    }
}

/// `malloc_trim`: 1 if memory went back to the system, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_trim(pad: usize) -> c_int {
    errno::preserve(|| c_int::from(c_face::trim(pad)))
}

/// The figures that `mallinfo` and `mallinfo2` share, in bytes.
struct Figures {
    /// Committed from the system: `arena`.
    committed: usize,
    /// In large blocks: `hblkhd`.
    large: usize,
    /// Cached in magazines: `fsmblks`.
    magazines: usize,
    /// Carved into slabs or large blocks: `uordblks`.
    in_use: usize,
    /// Committed and in neither: `fordblks`.
    free: usize,
}

fn figures() -> Figures {
    let stats = bitmag::stats();
    let in_use = stats.slabs + stats.large;
    Figures {
        committed: stats.committed,
        large: stats.large,
        magazines: stats.magazines,
        in_use,
        free: stats.committed.saturating_sub(in_use),
    }
}

/// glibc's `struct mallinfo`.
#[repr(C)]
pub struct MallInfo {
    arena: c_int,
    ordblks: c_int,
    smblks: c_int,
    hblks: c_int,
    hblkhd: c_int,
    usmblks: c_int,
    fsmblks: c_int,
    uordblks: c_int,
    fordblks: c_int,
    keepcost: c_int,
}

/// glibc's `struct mallinfo2`.
#[repr(C)]
pub struct MallInfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

/// `mallinfo`: figures that do not fit into an `int` read as `INT_MAX`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallinfo() -> MallInfo {
    let int = |bytes: usize| c_int::try_from(bytes).unwrap_or(c_int::MAX);
    let figures = figures();
    MallInfo {
        arena: int(figures.committed),
        ordblks: 0,
        smblks: 0,
        hblks: 0,
        hblkhd: int(figures.large),
        usmblks: 0,
        fsmblks: int(figures.magazines),
        uordblks: int(figures.in_use),
        fordblks: int(figures.free),
        keepcost: 0,
    }
}

/// `mallinfo2`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallinfo2() -> MallInfo2 {
    let figures = figures();
    MallInfo2 {
        arena: figures.committed,
        ordblks: 0,
        smblks: 0,
        hblks: 0,
        hblkhd: figures.large,
        usmblks: 0,
        fsmblks: figures.magazines,
        uordblks: figures.in_use,
        fordblks: figures.free,
        keepcost: 0,
    }
}

/// `mallopt`: 1 for a parameter of glibc whose being without effect here does no harm, 0 for
/// those that would promise what is not kept, and for unknown ones.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(parameter: c_int, value: c_int) -> c_int {
    /// The largest value that glibc accepts for M_MXFAST.
    const MAX_FAST_SIZE: c_int = 80 * size_of::<usize>() as c_int / 4;
    match parameter {
        libc::M_MXFAST => c_int::from((0..=MAX_FAST_SIZE).contains(&value)),
        // Filling blocks with a pattern is not offered; asking for none is.
        libc::M_PERTURB => c_int::from(value == 0),
        libc::M_TRIM_THRESHOLD
        | libc::M_TOP_PAD
        | libc::M_MMAP_THRESHOLD
        | libc::M_MMAP_MAX
        | libc::M_CHECK_ACTION
        | libc::M_ARENA_TEST
        | libc::M_ARENA_MAX => 1,
        _ => 0,
    }
}
