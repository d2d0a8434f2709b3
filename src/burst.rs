//! Bursts: the short ways of a miss, above all when a program takes or gives back blocks in a row.
//!
//! A refill whose blocks are neighbours in the class's current slab, and a flush of neighbours, need no
//! search: a range of bits in one place and an arithmetic progression of pointers. They are tried first
//! by the cold functions that the entries jump to. Each either does the whole call or nothing, in which
//! case the general way follows (`block.rs`, `magazine.rs`); none sets errno.
//!
//! Only for classes whose magazines get as deep as there are slots, and once they are: so the number of
//! blocks is a constant here. Everything else about the magazine is as `magazine.rs` tells.

use crate::heap;
use crate::hit;
use crate::layout::{MAX_DEPTH, SLOTS, Thread, Tls, Top};
use crate::magazine::{FLUSHED, SCATTERED, SPARSE};
use crate::size_class::{Class, DEEP_CLASSES};
use crate::sync::{AtomicPtr, AtomicU8, Ordering, compiler_fence};
use crate::thread::{STATE_ACTIVE, STATE_BUSY};
use core::ptr;

/// Depth byte of a magazine as deep as it gets.
const DEEP: u8 = MAX_DEPTH as u8;
/// What a refill brings that follows a flush.
const HALF: usize = MAX_DEPTH.div_ceil(2);

/// A magazine on which one of the short ways works: its thread is BUSY and its top on the dummy until
/// `reopen`, so that a signal handler sees all of a change or nothing.
struct Closed {
    tls: *mut Tls,
    place: *mut Top,
    /// The top as it was.
    top: Top,
    /// Slot 0, which holds the NULL of a magazine as deep as it gets.
    bottom: Top,
    /// The thread's heap.
    home: u32,
}

impl Closed {
    /// # Safety
    /// `tls` is the calling thread's block, ACTIVE and marked busy; `class` is at most `DEEP_CLASSES`.
    #[inline(always)]
    unsafe fn new(tls: *mut Tls, thread: *mut Thread, class: usize) -> Self {
        // SAFETY: the caller's contract. The exchange is one instruction, as in `Mag::close`.
        unsafe {
            let (place, bottom) = Self::ends(tls, thread, class);
            // Class 0 stands on the dummy for ever: one load, where its address would take two instructions.
            let dummy = (&raw const (*tls).tops).cast::<Top>().read();
            let top = AtomicPtr::from_ptr(place).swap(dummy, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            Self { tls, place, top, bottom, home: (*thread).heap }
        }
    }

    /// The parts of a magazine that is closed. It was full.
    ///
    /// # Safety
    /// As for `new`.
    #[inline(always)]
    unsafe fn again(tls: *mut Tls, thread: *mut Thread, class: usize) -> Self {
        // SAFETY: the caller's contract.
        unsafe {
            let (place, bottom) = Self::ends(tls, thread, class);
            Self { tls, place, top: bottom.add(MAX_DEPTH), bottom, home: (*thread).heap }
        }
    }

    /// Where the top is kept, and slot 0.
    ///
    /// # Safety
    /// As for `new`.
    #[inline(always)]
    unsafe fn ends(tls: *mut Tls, thread: *mut Thread, class: usize) -> (*mut Top, Top) {
        // SAFETY: an ACTIVE thread has a record; the class is within both arrays.
        unsafe {
            let place = (&raw mut (*tls).tops).cast::<Top>().add(class);
            (place, (&raw mut (*thread).magazines).cast::<*mut u8>().add(class * SLOTS))
        }
    }

    #[inline(always)]
    fn reopen(self, top: Top) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the thread's own block.
        unsafe {
            self.place.write(top);
            leave(self.tls);
        }
    }
}

/// The calling thread's block, BUSY from here on, its record, and the depth byte of `class`, if it was
/// ACTIVE. The byte is read behind that: a handler's slow calls leave it alone then.
#[inline(always)]
fn enter(class: usize) -> Option<(*mut Tls, *mut Thread, &'static AtomicU8)> {
    let tls = hit::tls();
    // SAFETY: the calling thread's own block; an ACTIVE one has a record, and records stay mapped.
    unsafe {
        if (*tls).state != STATE_ACTIVE {
            return None;
        }
        (*tls).state = STATE_BUSY;
        compiler_fence(Ordering::SeqCst);
        let thread = (*tls).thread;
        Some((tls, thread, (*thread).depths.get_unchecked(class)))
    }
}

/// Ends what `enter` began.
///
/// # Safety
/// `tls` is the calling thread's block, BUSY.
#[inline(always)]
unsafe fn leave(tls: *mut Tls) {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the caller's contract.
    unsafe { (*tls).state = STATE_ACTIVE };
}

/// The class of a size that has a deep magazine.
#[inline(always)]
fn deep_class(size: usize) -> Option<usize> {
    (size.wrapping_sub(1) < 16 * DEEP_CLASSES).then_some((size + 15) >> 4)
}

/// Allocates `size` bytes; NULL if it was not done.
#[inline(always)]
pub(crate) fn allocate(size: usize) -> *mut u8 {
    let Some(class) = deep_class(size) else { return ptr::null_mut() };
    let Some((tls, thread, byte)) = enter(class) else { return ptr::null_mut() };
    // SAFETY: marked busy, and the class is a deep one.
    unsafe {
        // A sparse class whose depth is back changes it where the direction does: the general way's.
        match byte.load(Ordering::Relaxed) {
            byte if byte & !SPARSE == DEEP => {
                refill::<MAX_DEPTH, { MAX_DEPTH - 1 }>(tls, thread, class)
            }
            // Half, with room for frees, after a flush.
            byte if byte == DEEP | FLUSHED => refill::<HALF, { HALF - 1 }>(tls, thread, class),
            _ => {
                leave(tls);
                ptr::null_mut()
            }
        }
    }
}

/// Takes `COUNT` neighbours, the lowest for the caller and the `REST` for the empty magazine.
///
/// # Safety
/// As for `Closed::new`; the magazine is as deep as it gets.
#[inline(always)]
unsafe fn refill<const COUNT: usize, const REST: usize>(
    tls: *mut Tls,
    thread: *mut Thread,
    class: usize,
) -> *mut u8 {
    // SAFETY: the caller's contract.
    let magazine = unsafe { Closed::new(tls, thread, class) };
    // A top above the bottom stands on a NULL that a sized free has pushed.
    if magazine.top == magazine.bottom
        && let Some(first) =
            heap::refill_row::<COUNT>(magazine.home, Class::from_index(class), tls as usize)
    {
        // The lowest address is on top, so that it is the next one to go.
        let top = magazine.bottom.wrapping_add(REST);
        // SAFETY: the slots above the bottom up to that top are this thread's.
        unsafe {
            heap::write_progression::<REST>(top, first, 16 * class);
            if COUNT == HALF {
                (*thread).depths.get_unchecked(class).store(DEEP, Ordering::Relaxed);
            }
        }
        magazine.reopen(top);
        return first as *mut u8;
    }
    let top = magazine.top;
    magazine.reopen(top);
    ptr::null_mut()
}

/// Frees a block of a class slab of `class`, 1 or above; whether it was done.
#[inline(always)]
pub(crate) fn free_of(class: usize, block: *mut u8) -> bool {
    class <= DEEP_CLASSES && flush(class, block)
}

/// Frees a block, not NULL, that was asked for with `size` bytes; whether it was done.
#[inline(always)]
pub(crate) fn free_sized(block: *mut u8, size: usize) -> bool {
    deep_class(size).is_some_and(|class| flush(class, block))
}

/// Gives back the older half of a full magazine, or all of one that was flushed last time too, and puts
/// `block` into it.
///
/// All that needs a call is apart and comes last, so that the short way has few registers to save.
#[inline(always)]
fn flush(class: usize, block: *mut u8) -> bool {
    let Some((tls, thread, byte)) = enter(class) else { return false };
    let all = match byte.load(Ordering::Relaxed) & !SCATTERED {
        DEEP => false,
        byte if byte & !SPARSE == DEEP | FLUSHED => true,
        _ => {
            // SAFETY: `enter` has made it so.
            unsafe { leave(tls) };
            return false;
        }
    };
    // SAFETY: marked busy, and the class is a deep one.
    let magazine = unsafe { Closed::new(tls, thread, class) };
    if magazine.top != magazine.bottom.wrapping_add(MAX_DEPTH) {
        let top = magazine.top;
        magazine.reopen(top);
        return false;
    }
    // SAFETY: all slots above the bottom hold pointers; the top is on the dummy, so they are this
    // call's alone, as is the thread's record.
    unsafe {
        if !all {
            flush_half(tls, thread, class, block);
            return true;
        }
        let oldest = magazine.bottom.wrapping_add(1);
        let blocks = &*oldest.cast::<[*mut u8; MAX_DEPTH]>();
        let class_of = Class::from_index(class);
        match heap::flush_row(magazine.home, class_of, blocks, tls as usize) {
            None => flush_all(tls, thread, class, block),
            Some(turn) if heap::is_due(turn) => flush_due(tls, thread, class, turn, block),
            Some(_) => {
                oldest.write(block);
                magazine.reopen(oldest);
            }
        }
    }
    true
}

/// The end of a row's flush that is due for a sweep.
///
/// # Safety
/// As for `Closed::new`; the magazine is closed, and its blocks were flushed.
#[inline(never)]
unsafe fn flush_due(tls: *mut Tls, thread: *mut Thread, class: usize, turn: u32, block: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe {
        let magazine = Closed::again(tls, thread, class);
        heap::sweep_if_due(magazine.home, Class::from_index(class), turn);
        let oldest = magazine.bottom.wrapping_add(1);
        oldest.write(block);
        magazine.reopen(oldest);
    }
}

/// A flush of all blocks, which are no row.
///
/// # Safety
/// As for `Closed::new`; the magazine is closed, and full.
#[inline(never)]
unsafe fn flush_all(tls: *mut Tls, thread: *mut Thread, class: usize, block: *mut u8) {
    // SAFETY: the caller's contract: the slots above the bottom are this call's alone, as is the thread's record.
    unsafe {
        let magazine = Closed::again(tls, thread, class);
        let oldest = magazine.bottom.wrapping_add(1);
        let blocks = &*oldest.cast::<[*mut u8; MAX_DEPTH]>();
        let class = Class::from_index(class);
        heap::flush_scattered(&mut (*thread).heap, class, blocks, tls as usize);
        oldest.write(block);
        magazine.reopen(oldest);
    }
}

/// A flush of the older half.
///
/// # Safety
/// As for `flush_all`.
#[inline(never)]
unsafe fn flush_half(tls: *mut Tls, thread: *mut Thread, class: usize, block: *mut u8) {
    // SAFETY: the caller's contract, as in `flush_all`; and the class is within the record's array.
    unsafe {
        let magazine = Closed::again(tls, thread, class);
        let oldest = magazine.bottom.wrapping_add(1);
        let blocks = &*oldest.cast::<[*mut u8; HALF]>();
        let (token, class_of) = (tls as usize, Class::from_index(class));
        if !heap::flush_half(magazine.home, class_of, blocks, token) {
            heap::flush_scattered(&mut (*thread).heap, class_of, blocks, token);
        }
        // The newer ones move down.
        ptr::copy_nonoverlapping(oldest.add(HALF), oldest, MAX_DEPTH - HALF);
        let byte = (*thread).depths.get_unchecked(class);
        byte.store(byte.load(Ordering::Relaxed) | FLUSHED, Ordering::Relaxed);
        let top = oldest.add(MAX_DEPTH - HALF);
        top.write(block);
        magazine.reopen(top);
    }
}
