//! Blocks: what the faces ask for once a hit has missed, or when there is no hit to try.
//!
//! Allocation, free, usable size and reallocation of any block, small to huge, with the thread's
//! state looked after: magazines for an ACTIVE thread, single-block mode otherwise.

use crate::arena::{direct, kept, moving, spans, tables, window};
use crate::check;
use crate::config::Config;
use crate::heap;
use crate::hit;
use crate::init;
use crate::layout::{GRANULE_SHIFT, KIND_NONE, KIND_SPAN, Tls, UNIT_BYTES};
use crate::magazine;
use crate::misuse::{Fault, Misuse};
use crate::single;
use crate::size_class::{Class, MEDIUM_MAX, SMALL_CLASSES, round};
use crate::sync::{Ordering, compiler_fence};
use crate::thread;
use crate::trace::Event;
use core::ptr;

/// Runs `f` with the calling thread's block if its magazines may be used, BUSY meanwhile.
///
/// `None` in checked mode, in a handler inside a slow call, in a late or unregistered thread.
#[inline(always)]
pub(crate) fn with_magazines<R>(f: impl FnOnce(*mut Tls) -> R) -> Option<R> {
    let tls = hit::writable_tls()?;
    // SAFETY: the calling thread's own block.
    unsafe {
        if (*tls).state != thread::STATE_ACTIVE && !thread::register(tls) {
            return None;
        }
        (*tls).state = thread::STATE_BUSY;
        compiler_fence(Ordering::SeqCst);
        let result = f(tls);
        compiler_fence(Ordering::SeqCst);
        (*tls).state = thread::STATE_ACTIVE;
        Some(result)
    }
}

/// Allocates a block of `class` without trying the hit.
fn allocate_class(class: Class) -> *mut u8 {
    // SAFETY: `with_magazines` gives an ACTIVE, busy block.
    with_magazines(|tls| unsafe { magazine::allocate(tls, class) })
        .unwrap_or_else(|| single::allocate(class))
}

/// Allocates `size` bytes at a multiple of `align` (a power of two), without trying the hit.
///
/// NULL if there is no memory. Size 0 gets a block of its own.
#[cold]
#[inline(never)]
pub(crate) fn allocate(size: usize, align: usize, config: &Config) -> *mut u8 {
    if !init::is_open() {
        return allocate_closed(size, align, config);
    }
    match Class::of(round(size, align)) {
        Some(class) => allocate_class(class),
        None => allocate_large(size, align, false),
    }
}

/// `allocate` by the process's first call, by those that come while it is on its way, and where every
/// call is recorded.
#[cold]
#[inline(never)]
fn allocate_closed(size: usize, align: usize, config: &Config) -> *mut u8 {
    if !init::ensure(config) {
        return ptr::null_mut();
    }
    let block = allocate_unrecorded(size, align, false);
    record_allocation(block, size, align, false);
    block
}

/// Allocates once allocation works. Nobody is told of it.
pub(crate) fn allocate_unrecorded(size: usize, align: usize, zero: bool) -> *mut u8 {
    match Class::of(round(size, align)) {
        Some(class) => allocate_class(class),
        None => allocate_large(size, align, zero),
    }
}

/// Tells whoever records calls of a block that was handed out.
fn record_allocation(block: *mut u8, size: usize, align: usize, zeroed: bool) {
    if !block.is_null()
        && let Some(recorder) = init::recorder()
    {
        recorder(Event::Allocated { block, size, align, zeroed });
    }
}

/// The same for zeroed memory; for large blocks, memory known to be zero is not touched.
#[cold]
#[inline(never)]
pub(crate) fn allocate_zeroed(size: usize, align: usize, config: &Config) -> *mut u8 {
    if !init::is_open() {
        return allocate_zeroed_closed(size, align, config);
    }
    match Class::of(round(size, align)) {
        Some(class) => {
            let block = allocate_class(class);
            if !block.is_null() {
                // SAFETY: a fresh block of at least `size` bytes.
                unsafe { ptr::write_bytes(block, 0, size) };
            }
            block
        }
        None => allocate_large(size, align, true),
    }
}

/// `allocate_closed` for zeroed memory.
#[cold]
#[inline(never)]
fn allocate_zeroed_closed(size: usize, align: usize, config: &Config) -> *mut u8 {
    if !init::ensure(config) {
        return ptr::null_mut();
    }
    let block = allocate_unrecorded(size, align, true);
    if !block.is_null() && Class::of(round(size, align)).is_some() {
        // SAFETY: a fresh block of at least `size` bytes.
        unsafe { ptr::write_bytes(block, 0, size) };
    }
    record_allocation(block, size, align, true);
    block
}

fn allocate_large(size: usize, align: usize, zero: bool) -> *mut u8 {
    if align <= UNIT_BYTES {
        let block = allocate_kept(size);
        if !block.is_null() {
            if zero {
                // SAFETY: a block of at least `size` bytes.
                unsafe { ptr::write_bytes(block, 0, size) };
            }
            return block;
        }
    }
    let token = hit::token();
    let mut block = spans::allocate(size, align, zero, token);
    if block.is_null() && size <= spans::SPAN_MAX {
        // Before giving up: what this thread caches, and what every heap has lying idle.
        // SAFETY: `with_magazines` gives an ACTIVE, busy block.
        with_magazines(|tls| unsafe { thread::flush_all(tls) });
        if heap::reclaim() {
            block = spans::allocate(size, align, zero, token);
        }
    }
    if !block.is_null() {
        check::born(block);
    }
    block
}

/// A large block out of the spans that the thread keeps, its content whatever it was. NULL if there
/// is none.
fn allocate_kept(size: usize) -> *mut u8 {
    // SAFETY: the calling thread's own block.
    if size > kept::KEPT_BYTES || unsafe { (*hit::tls()).state } != thread::STATE_ACTIVE {
        return ptr::null_mut();
    }
    // SAFETY: `with_magazines` gives an ACTIVE, busy block, which has a record.
    with_magazines(|tls| unsafe { kept::take((*tls).thread, size) })
        .flatten()
        .unwrap_or(ptr::null_mut())
}

/// A large block of `size` bytes (above 0): the span that the thread freed last, if it serves. NULL if not.
#[inline(always)]
pub(crate) fn allocate_last(size: usize) -> *mut u8 {
    let tls = hit::tls();
    // SAFETY: the calling thread's own block; an ACTIVE one has a record.
    unsafe {
        if (*tls).state != thread::STATE_ACTIVE {
            return ptr::null_mut();
        }
        kept::take_last((*tls).thread, size)
    }
}

/// Frees a large block, of `bytes` bytes if they are given, where `allocate_last` finds it: whether it
/// did. `unit` is the one that it lies in, below the window's bound.
#[inline(always)]
pub(crate) fn free_last(unit: u32, block: *mut u8, bytes: Option<usize>) -> bool {
    let tls = hit::tls();
    // SAFETY: the caller's unit; the calling thread's own block, and an ACTIVE one has a record.
    unsafe {
        tables::entry(unit).kind.load(Ordering::Acquire) == KIND_SPAN
            && (*tls).state == thread::STATE_ACTIVE
            && kept::put_last((*tls).thread, unit, block as usize, bytes)
    }
}

/// Frees a large block into the spans that the thread keeps: whether it did. What is wrong with a
/// pointer `free` will say.
fn free_kept(unit: u32, block: usize) -> bool {
    // SAFETY: `with_magazines` gives an ACTIVE, busy block; the callers' units are below the bound.
    let done = with_magazines(|tls| unsafe { kept::put((*tls).thread, unit, block) });
    done.is_some_and(|outcome| outcome == Ok(true))
}

/// Frees `block`, not NULL, without trying the hit. `Fault::Foreign` if it is not ours.
#[cold]
#[inline(never)]
pub(crate) fn free(block: *mut u8) -> Result<(), Misuse> {
    // The flush looks at the pointer; here only its class is needed.
    if let Some(unit) = window::unit_of(block as usize)
        && let Some(class) = class_of_slab_block(unit, block as usize)
        // SAFETY: `with_magazines` gives an ACTIVE, busy block.
        && let Some(()) = with_magazines(|tls| unsafe { magazine::free(tls, class, block) })
    {
        return Ok(());
    }
    free_otherwise(block)
}

/// The unit that a pointer lies in. None for a mapping of its own, which may lie where the window passed over what was in its way.
pub(crate) fn unit_of(pointer: usize) -> Option<u32> {
    let unit = window::unit_of(pointer)?;
    // SAFETY: `unit_of` gives units below the bound.
    let kind = unsafe { tables::entry(unit) }.kind.load(Ordering::Acquire);
    (kind != KIND_NONE || direct::sizes(pointer as *const u8).is_none()).then_some(unit)
}

/// `free` of what is no slab block, or must not go into a magazine.
#[inline(never)]
fn free_otherwise(block: *mut u8) -> Result<(), Misuse> {
    let pointer = block as usize;
    let wrong = |fault| Misuse { fault, pointer };
    let Some(unit) = unit_of(pointer) else {
        if check::is_on() && direct::sizes(block).is_some() {
            check::dying(block);
        }
        return if direct::free(block) { Ok(()) } else { Err(wrong(Fault::Foreign)) };
    };
    // SAFETY: `unit_of` gives units below the bound.
    let kind = unsafe { tables::entry(unit) }.kind.load(Ordering::Acquire);
    if kind == KIND_SPAN || kind == KIND_NONE {
        if free_kept(unit, pointer) {
            return Ok(());
        }
        // The span's head says what is wrong with a pointer that is none.
        spans::sizes(unit, pointer).map_err(wrong)?;
        check::dies(block).map_err(wrong)?;
        return spans::free(unit, pointer).map_err(wrong);
    }
    single::free(block, None)
}

/// What the map or the granule table says of a pointer into a slab, as the hit path would read it.
#[inline(always)]
fn class_of_slab_block(unit: u32, pointer: usize) -> Option<Class> {
    // SAFETY: the caller got `unit` from `unit_of`; the offset into it is below its end.
    let (class, granule) = unsafe {
        let class = tables::entry(unit).class.load(Ordering::Relaxed);
        let granule = tables::granule(unit, (pointer % UNIT_BYTES) >> GRANULE_SHIFT);
        (usize::from(class), usize::from(granule.load(Ordering::Relaxed)))
    };
    match (class, granule) {
        (0, 0) => None, // also a free run: single-block mode will tell
        (0, granule) => Some(Class::from_index(SMALL_CLASSES + granule)),
        (class, _) => Some(Class::from_index(class)),
    }
}

/// Frees a block, not NULL, that was asked for with `size` bytes at `align`, without trying the hit.
#[cold]
#[inline(never)]
pub(crate) fn free_sized(block: *mut u8, size: usize, align: usize) -> Result<(), Misuse> {
    let pointer = block as usize;
    let wrong = |fault| Misuse { fault, pointer };
    let Some(class) = Class::of(round(size, align)) else {
        // Large: a size that the block has room for, and in checked mode the very one.
        let (usable, asked) = large_sizes(pointer).map_err(wrong)?;
        if size < asked || size > if check::is_on() { asked } else { usable } {
            return Err(wrong(Fault::WrongSize));
        }
        return free(block);
    };
    if check::is_on() {
        return single::free(block, Some(class));
    }
    // SAFETY: `with_magazines` gives an ACTIVE, busy block; the flush looks at the pointer.
    match with_magazines(|tls| unsafe { magazine::free(tls, class, block) }) {
        Some(()) => Ok(()),
        None => single::free(block, Some(class)),
    }
}

/// Usable and asked-for bytes of a large block; a small block's pointer has the wrong size.
#[inline(never)]
fn large_sizes(pointer: usize) -> Result<(usize, usize), Fault> {
    match unit_of(pointer) {
        Some(unit) => {
            // SAFETY: `unit_of` gives units below the bound.
            let kind = unsafe { tables::entry(unit) }.kind.load(Ordering::Acquire);
            if kind == KIND_SPAN || kind == KIND_NONE {
                spans::sizes(unit, pointer)
            } else {
                heap::locate(pointer)?;
                Err(Fault::WrongSize)
            }
        }
        None => direct::sizes(pointer as *const u8).ok_or(Fault::Foreign),
    }
}

/// Bytes that the program may use of a block, and whether it is a large one.
pub(crate) fn usable(block: *const u8) -> Result<(usize, bool), Misuse> {
    let pointer = block as usize;
    match large_sizes(pointer) {
        Ok((usable, _)) => Ok((usable, true)),
        Err(Fault::WrongSize) => match heap::locate(pointer) {
            Ok(_) if !check::is_live(block.cast_mut()) => {
                Err(Misuse { fault: Fault::DoubleFree, pointer })
            }
            Ok(place) => Ok((place.class.size(), false)),
            Err(fault) => Err(Misuse { fault, pointer }),
        },
        Err(fault) => Err(Misuse { fault, pointer }),
    }
}

/// Whether a block of `class` starts there, by the maps alone: a look of a few instructions that
/// finds foreign pointers, those into blocks and wrong classes, but no double free.
#[inline]
pub(crate) fn is_start_of(block: *const u8, class: Class) -> bool {
    let pointer = block as usize;
    let Some(unit) = window::unit_of(pointer) else { return false };
    class_of_slab_block(unit, pointer) == Some(class)
        && (class.is_medium() || class.divides(pointer % UNIT_BYTES))
}

/// The class of the slab block that starts at `block`, by the maps alone, as `is_start_of` says it.
///
/// `None` for all else, and in checked mode, where somebody has to look closer.
#[inline]
pub(crate) fn class_at(block: *const u8) -> Option<Class> {
    let pointer = block as usize;
    let class = class_of_slab_block(window::unit_of(pointer)?, pointer)?;
    let starts = class.is_medium() || class.divides(pointer % UNIT_BYTES);
    if starts && !check::is_on() { Some(class) } else { None }
}

/// Resizes a large block to `size` bytes (above 0) inside the memory that it has: whether it could.
#[inline]
pub(crate) fn resize_quickly(block: *mut u8, size: usize) -> bool {
    size > MEDIUM_MAX
        && !check::is_on()
        && match window::unit_of(block as usize) {
            Some(unit) => spans::resize_within(unit, block as usize, size),
            None => direct::resize_within(block, size),
        }
}

/// Resizes a block to `size` bytes (above 0) without moving it across classes.
///
/// `old` is the class and large state as `usable` gave it. `None`: it has to move.
pub(crate) fn resize_in_place(
    block: *mut u8,
    size: usize,
    align: usize,
    large: bool,
    usable: usize,
) -> Result<Option<*mut u8>, Misuse> {
    let pointer = block as usize;
    let class = Class::of(round(size, align));
    if !large {
        // The class must follow from size and alignment alone, or a later sized free would miss it.
        return Ok(if class.is_some_and(|class| class.size() == usable) {
            Some(block)
        } else {
            None
        });
    }
    if class.is_some() || size > isize::MAX as usize {
        return Ok(None);
    }
    match unit_of(pointer) {
        Some(unit) => {
            let done =
                spans::resize(unit, pointer, size).map_err(|fault| Misuse { fault, pointer })?;
            if done {
                return Ok(Some(block));
            }
            if check::is_on() {
                return Ok(None);
            }
            let moved = moving::grow(unit, block, size, align)
                .map_err(|fault| Misuse { fault, pointer })?;
            Ok(if moved.is_null() { None } else { Some(moved) })
        }
        None => {
            let moved = direct::resize(block, size, align);
            Ok(if moved.is_null() { None } else { Some(moved) })
        }
    }
}

/// Allocates `size` bytes for what a block has grown to that could not be resized in place.
///
/// Not for sizes that have a class. NULL if there is no memory.
#[cold]
#[inline(never)]
pub(crate) fn allocate_to_grow(size: usize, align: usize) -> *mut u8 {
    let block = spans::allocate_to_grow(size, align, hit::token());
    if block.is_null() {
        return allocate_large(size, align, false);
    }
    check::born(block);
    block
}
