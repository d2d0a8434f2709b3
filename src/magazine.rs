//! Magazines: the slow side of pop and push, refill of an empty one and flush of a full one.
//!
//! A magazine of depth d has its NULL at slot 31 - d and blocks above it; the hit path finds
//! "empty" by the NULL and "full" by the carry of the address, so the depth costs it nothing.
//! While a slow call works on a magazine its top stands on the dummy, so that a signal handler
//! misses every hit of that class instead of seeing half a change.
//!
//! Depth follows demand: 4 blocks at first, doubled at each refill and flush, at most 31 and at
//! most 16 KiB of blocks (but 2). How much moves follows it too: a class that was refilled last time
//! is filled up, one that was flushed last time is filled half; a class that was flushed last time
//! gives back seven eighths, else half. A burst takes few slow calls, and a random walk starts in the
//! middle, far from both ends.
//!
//! Refills and flushes whose blocks are neighbours have short ways of their own (`burst.rs`).

use crate::heap::{self, Batch};
use crate::hit::{self, is_dummy};
use crate::layout::{MAX_DEPTH, SLOTS, Thread, Tls, Top};
use crate::size_class::{Class, SMALL_CLASSES};
use crate::sync::{AtomicPtr, AtomicU8, Ordering, compiler_fence};
use core::ptr;

/// Depth of a magazine that is used for the first time.
const FIRST_DEPTH: usize = 4;
/// Bit of a depth byte: the last slow call was a flush.
pub(crate) const FLUSHED: u8 = 0x80;
/// Bit of a depth byte: the blocks of the last refill were no neighbours.
pub(crate) const SCATTERED: u8 = 0x40;

/// The depth in a depth byte.
#[inline(always)]
pub(crate) fn depth_of(byte: u8) -> usize {
    usize::from(byte & !(FLUSHED | SCATTERED))
}

/// A class's magazine of an ACTIVE thread.
struct Mag {
    class: Class,
    thread: *mut Thread,
    /// Where the top is kept.
    place: *mut Top,
    /// Slot 0.
    slots: *mut *mut u8,
}

impl Mag {
    /// # Safety
    /// `tls` is the calling thread's block, ACTIVE and marked busy.
    #[inline]
    unsafe fn of(tls: *mut Tls, class: Class) -> Self {
        // SAFETY: an ACTIVE thread has a record; class indices are within the arrays by the type.
        unsafe {
            let thread = (*tls).thread;
            let place = if class.is_medium() {
                (&raw mut (*thread).medium_tops).cast::<Top>().add(class.index() - SMALL_CLASSES)
            } else {
                (&raw mut (*tls).tops).cast::<Top>().add(class.index())
            };
            let slots = (&raw mut (*thread).magazines).cast::<*mut u8>().add(class.index() * SLOTS);
            Self { class, thread, place, slots }
        }
    }

    fn top(&self) -> Top {
        // SAFETY: `place` is a field of this thread's block or record.
        unsafe { self.place.read() }
    }

    /// Publishes a top. Everything before it is in memory first, for handlers and forks.
    fn set_top(&self, top: Top) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as in `top`.
        unsafe { self.place.write(top) };
        compiler_fence(Ordering::SeqCst);
    }

    /// Sends the hits of this class to the slow path; the top as it was.
    ///
    /// One instruction: a handler that hit this magazine between a read of the top and a write to
    /// it would leave a block in two hands.
    #[inline(always)]
    fn close(&self) -> Top {
        // SAFETY: `place` is a field of this thread's block or record, aligned, and written by this
        // thread and its handlers alone.
        let place = unsafe { AtomicPtr::from_ptr(self.place) };
        let top = place.swap(hit::dummy_top(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        top
    }

    fn depth_byte(&self) -> &AtomicU8 {
        // SAFETY: the thread's own record; the class is within the array by the type.
        unsafe { (*self.thread).depths.get_unchecked(self.class.index()) }
    }

    #[inline(always)]
    fn depth(&self) -> usize {
        depth_of(self.depth_byte().load(Ordering::Relaxed))
    }

    /// Whether the class's last slow call was a flush.
    #[inline(always)]
    fn was_flushed(&self) -> bool {
        self.depth_byte().load(Ordering::Relaxed) & FLUSHED != 0
    }

    /// Doubles the depth, from `FIRST_DEPTH` to the class's most, and notes which way the blocks
    /// went. The magazine is being rebuilt.
    #[inline(always)]
    fn deepen(&self, flushed: bool) -> usize {
        let byte = self.depth_byte().load(Ordering::Relaxed);
        let depth = (depth_of(byte) * 2).max(FIRST_DEPTH).min(self.class.max_depth());
        let byte = depth as u8 | byte & SCATTERED | if flushed { FLUSHED } else { 0 };
        self.depth_byte().store(byte, Ordering::Relaxed);
        depth
    }

    /// Notes whether the last refill's blocks were neighbours, so that the next one tries that first.
    #[inline(always)]
    fn note_row(&self, is_row: bool) {
        let byte = self.depth_byte().load(Ordering::Relaxed) & !SCATTERED;
        self.depth_byte().store(byte | if is_row { 0 } else { SCATTERED }, Ordering::Relaxed);
    }

    fn slot(&self, index: usize) -> *mut *mut u8 {
        debug_assert!(index <= SLOTS);
        // SAFETY: a magazine has SLOTS slots; one past the last is a place to end at.
        unsafe { self.slots.add(index) }
    }

    /// The slot that holds the NULL.
    fn bottom(&self) -> Top {
        self.slot(MAX_DEPTH - self.depth())
    }

    fn home(&self) -> u32 {
        // SAFETY: the thread's own record.
        unsafe { (*self.thread).heap }
    }

    /// Stays with the heap that was got.
    fn set_home(&self, home: u32) {
        let old = self.home();
        if home != old {
            // SAFETY: as in `home`.
            unsafe { (*self.thread).heap = home };
            heap::detach(old);
            heap::heap(home).threads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Allocates a block of `class` after a miss. NULL if there is no memory.
///
/// # Safety
/// `tls` is the calling thread's block, ACTIVE and marked busy.
pub(crate) unsafe fn allocate(tls: *mut Tls, class: Class) -> *mut u8 {
    // SAFETY: the caller's contract.
    let mag = unsafe { Mag::of(tls, class) };
    let mut top = mag.close();
    if !is_dummy(top) {
        // A sized free of NULL may have pushed one: pass over it.
        let bottom = mag.bottom();
        while top > bottom {
            // SAFETY: between the bottom and the top of this magazine.
            let block = unsafe { top.read() };
            top = top.wrapping_sub(1);
            if !block.is_null() {
                mag.set_top(top);
                return block;
            }
        }
    }
    // All that it holds while the class only takes; half, with room for frees, after a flush.
    let flushed = mag.was_flushed();
    let depth = mag.deepen(false);
    let want = if flushed { depth.div_ceil(2) } else { depth };
    // SAFETY: the magazine is this thread's, its top is on the dummy, and a depth is below SLOTS.
    let mut batch = unsafe { Batch::below(mag.slots.add(SLOTS - depth + want)) };
    let home = mag.home();
    let mut got = home;
    let mut filled = heap::refill(&mut got, class, want, &mut batch);
    if !filled {
        // SAFETY: the caller's contract.
        filled = unsafe { refill_again(tls, class, want, &mut got, &mut batch) };
    }
    if got != home {
        mag.set_home(got);
    }
    if !filled {
        return ptr::null_mut();
    }
    if !class.is_medium() {
        // SAFETY: the batch's slots were written; each slab's blocks ascend downwards from its end.
        let (low, high) = unsafe { (batch.lowest(), batch.highest()) };
        mag.note_row(high.wrapping_sub(low) == (batch.len() - 1) * class.size());
    }
    // The batch ends `want` slots above the bottom, the lowest address in the last one: that is
    // handed out, and the others are where they belong unless there were fewer than wanted.
    let rest = batch.len() - 1;
    // SAFETY: as above; the `rest + 1` slots up to bottom + want were written.
    unsafe {
        let bottom = mag.bottom();
        let block = bottom.add(want).read();
        if rest + 1 != want {
            ptr::copy(bottom.add(want - rest), bottom.add(1), rest);
        }
        bottom.write(ptr::null_mut());
        mag.set_top(bottom.add(rest));
        block
    }
}

/// The last try before ENOMEM: everything this thread caches and every heap has idle comes first.
///
/// # Safety
/// As for `allocate`.
#[cold]
#[inline(never)]
unsafe fn refill_again(
    tls: *mut Tls,
    class: Class,
    want: usize,
    home: &mut u32,
    batch: &mut Batch,
) -> bool {
    // SAFETY: the caller's contract.
    unsafe { crate::thread::flush_all(tls) };
    heap::reclaim();
    heap::refill(home, class, want, batch)
}

/// Frees a block of `class`, not NULL, after a miss.
///
/// # Safety
/// `tls` is the calling thread's block, ACTIVE and marked busy.
pub(crate) unsafe fn free(tls: *mut Tls, class: Class, block: *mut u8) {
    // SAFETY: the caller's contract.
    let mag = unsafe { Mag::of(tls, class) };
    let top = mag.close();
    if is_dummy(top) {
        if mag.depth() == 0 {
            mag.deepen(false);
        }
        // SAFETY: the magazine is this thread's and empty; its depth is at least 2.
        unsafe {
            let bottom = mag.bottom();
            bottom.write(ptr::null_mut());
            bottom.add(1).write(block);
            mag.set_top(bottom.add(1));
        }
        return;
    }
    let last = mag.slot(MAX_DEPTH);
    if top != last {
        // Another call of this thread made room since the miss (a handler's, or a destructor's).
        // SAFETY: below the last slot there is another.
        unsafe { top.add(1).write(block) };
        mag.set_top(top.wrapping_add(1));
        return;
    }
    // Full: the older half goes back, or seven eighths while the class only gives. The top is on the
    // dummy meanwhile, so the slots are this call's alone, and a vanished thread's copy of them is
    // never looked at.
    let depth = mag.depth();
    let kept = if mag.was_flushed() { depth / 8 } else { depth / 2 };
    let first = mag.slot(SLOTS - depth);
    let home = mag.home();
    let mut got = home;
    // SAFETY: slots 32 - depth ..= 31 hold the blocks.
    unsafe { heap::flush(&mut got, class, first, depth - kept) };
    if got != home {
        mag.set_home(got);
    }
    // The newer blocks move down to the bottom of the new depth.
    mag.deepen(true);
    // SAFETY: as above; the new depth is not less than the old one, and kept + 1 not more than it.
    unsafe {
        let bottom = mag.bottom();
        // None are kept of a shallow one, and this is then the end of the slots.
        let newer = mag.slots.add(SLOTS - kept);
        for index in 0..kept {
            bottom.add(1 + index).write(newer.add(index).read());
        }
        bottom.write(ptr::null_mut());
        bottom.add(kept + 1).write(block);
        mag.set_top(bottom.add(kept + 1));
    }
}

/// Gives back all blocks of one magazine and closes it.
///
/// # Safety
/// `tls` is the calling thread's block, ACTIVE and marked busy.
pub(crate) unsafe fn empty(tls: *mut Tls, class: Class) {
    // SAFETY: the caller's contract.
    let mag = unsafe { Mag::of(tls, class) };
    let top = mag.close();
    if is_dummy(top) {
        return;
    }
    let held = (top as usize - mag.bottom() as usize) / size_of::<*mut u8>();
    let mut home = mag.home();
    if held != 0 {
        // SAFETY: the blocks lie right above the bottom.
        unsafe { heap::flush(&mut home, class, mag.bottom().add(1), held) };
        mag.set_home(home);
    }
}

/// Blocks (and NULLs) in one magazine.
///
/// # Safety
/// `tls` is the calling thread's block and ACTIVE.
pub(crate) unsafe fn held(tls: *mut Tls, class: Class) -> usize {
    // SAFETY: the caller's contract.
    let mag = unsafe { Mag::of(tls, class) };
    let top = mag.top();
    if is_dummy(top) {
        return 0;
    }
    (top as usize - mag.bottom() as usize) / size_of::<*mut u8>()
}
