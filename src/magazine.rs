//! Magazines: the slow side of pop and push, refill of an empty one and flush of a full one.
//!
//! A magazine of depth d has its NULL at slot 31 - d and blocks above it; the hit path finds
//! "empty" by the NULL and "full" by the carry of the address, so the depth costs it nothing.
//! While a slow call works on a magazine its top stands on the dummy, so that a signal handler
//! misses every hit of that class instead of seeing half a change.
//!
//! Depth follows demand and bytes: 4 blocks at first, or what the record's last thread had, up to 4 KiB; doubled at each refill and flush up to 2 KiB of
//! blocks, from there on at every 16th, at most 31 and at most 16 KiB of small or 256 KiB of medium blocks. A class
//! that holds several slabs more than half of which is free gets 4 (2 of a medium one) where it takes
//! and gives by turns, so that its blocks go back to their slabs and come from the lowest ones. A class at its most costs its slow
//! calls one comparison for all of this. How much moves follows it too: a class that was refilled last time
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
/// Bytes of blocks up to which a depth is doubled at each slow call.
const EASY_BYTES: usize = 2048;
/// Slow calls that double a depth beyond that.
const DEMAND: u8 = 16;
/// Frees of a class that the thread has allocated nothing of which go straight back.
const EARLY_FREES: u8 = 4;
/// Most bytes of blocks that a magazine begins with because the record's last thread had more.
const INHERITED_BYTES: usize = 4096;
/// Slow calls in one direction that double the depth of a sparse class.
const SPARSE_DEMAND: u8 = 4;
/// Bit of a depth byte: the last slow call was a flush.
pub(crate) const FLUSHED: u8 = 0x80;
/// Bit of a depth byte: the class was found sparse.
pub(crate) const SPARSE: u8 = 0x40;
/// Bit of a depth byte: the blocks of the last refill were no neighbours.
pub(crate) const SCATTERED: u8 = 0x20;
/// Bits of a depth byte that hold the depth.
const DEPTH: u8 = 0x1f;

/// The depth in a depth byte.
#[inline(always)]
pub(crate) fn depth_of(byte: u8) -> usize {
    usize::from(byte & DEPTH)
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

    /// Settles the new depth and notes which way the blocks went. The magazine is being rebuilt;
    /// `kept` blocks stay in it and one may be added.
    #[inline(always)]
    fn deepen(&self, flushed: bool, kept: usize) -> usize {
        let byte = self.depth_byte().load(Ordering::Relaxed);
        let flag = if flushed { FLUSHED } else { 0 };
        let most = self.class.max_depth();
        if usize::from(byte & !(FLUSHED | SCATTERED)) != most {
            return self.adapt(byte, flag, kept);
        }
        self.depth_byte().store(most as u8 | byte & SCATTERED | flag, Ordering::Relaxed);
        most
    }

    /// `deepen` of a magazine that is not at its most, or whose class was found sparse.
    #[cold]
    #[inline(never)]
    fn adapt(&self, byte: u8, flag: u8, kept: usize) -> usize {
        let old = depth_of(byte);
        if old == 0 {
            let first = self.inherit().max(FIRST_DEPTH).min(self.class.max_depth());
            self.depth_byte().store(first as u8 | flag, Ordering::Relaxed);
            return first;
        }
        let twice = old * 2;
        let most = self.class.max_depth();
        let sparse = heap::is_sparse(heap::heap(self.home()), self.class);
        // A burst in one direction would gain nothing by going in small pieces.
        let burst = byte & FLUSHED == flag;
        let demand = if sparse { SPARSE_DEMAND } else { DEMAND };
        let depth = if sparse && !burst {
            self.count_call(0);
            twice.min(if self.class.is_medium() { 2 } else { FIRST_DEPTH })
        } else if (!sparse && twice * self.class.size() <= EASY_BYTES) || self.count_call(demand) {
            twice
        } else {
            old
        };
        let depth = depth.min(most).max(kept + 1);
        let sparse = if sparse { SPARSE } else { 0 };
        self.depth_byte().store(depth as u8 | byte & SCATTERED | flag | sparse, Ordering::Relaxed);
        depth
    }

    /// How deep the magazine was when the record's last thread left, 0 if that had none, and at most `INHERITED_BYTES`; up to there
    /// the count of slow calls goes on too, so that short threads which do the same one after the other get what they need.
    fn inherit(&self) -> usize {
        let class = self.class.index();
        let most = INHERITED_BYTES / self.class.size();
        // SAFETY: the thread's own record; the class is within the arrays by the type.
        unsafe {
            let depth = depth_of(*(*self.thread).last_depths.get_unchecked(class)).min(most);
            if 2 * depth <= most {
                let demand = *(*self.thread).last_demand.get_unchecked(class);
                (*self.thread).demand.get_unchecked(class).store(demand, Ordering::Relaxed);
            }
            depth
        }
    }

    /// Frees a block of a class that the thread has allocated nothing of: `true` if it went straight back, and
    /// `false` once the magazine is to be used.
    #[cold]
    #[inline(never)]
    fn free_early(&self, block: *mut u8) -> bool {
        if self.count_call(EARLY_FREES + 1) {
            self.deepen(false, 0);
            return false;
        }
        // Another thread's, most likely, as its neighbours are: not for this thread to hand out.
        let mut home = self.home();
        // SAFETY: one block.
        unsafe { heap::flush(&mut home, self.class, &raw const block, 1) };
        true
    }

    /// Counts a slow call; whether it was the `most`th, where the count starts anew.
    fn count_call(&self, most: u8) -> bool {
        // SAFETY: the thread's own record; the class is within the array by the type.
        let demand = unsafe { (*self.thread).demand.get_unchecked(self.class.index()) };
        let calls = demand.load(Ordering::Relaxed) + 1;
        demand.store(if calls >= most { 0 } else { calls }, Ordering::Relaxed);
        calls >= most
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
        // SAFETY: as in `home`.
        heap::stay(unsafe { &mut (*self.thread).heap }, home);
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
    let depth = mag.deepen(false, 0);
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
        if mag.depth() == 0 && mag.free_early(block) {
            return;
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
    mag.deepen(true, kept);
    // SAFETY: as above; kept + 1 is not more than the new depth.
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

/// Moves blocks from a magazine to the start of `out`, as many as there are and fit; how many.
///
/// # Safety
/// `tls` is the calling thread's block, ACTIVE and marked busy.
pub(crate) unsafe fn drain(tls: *mut Tls, class: Class, out: &mut [*mut u8]) -> usize {
    // SAFETY: the caller's contract.
    let mag = unsafe { Mag::of(tls, class) };
    let mut top = mag.close();
    if is_dummy(top) {
        return 0;
    }
    let bottom = mag.bottom();
    let mut done = 0;
    while top > bottom {
        let Some(slot) = out.get_mut(done) else { break };
        // SAFETY: between the bottom and the top of this magazine.
        let block = unsafe { top.read() };
        top = top.wrapping_sub(1);
        // A sized free of NULL may have pushed one: pass over it.
        if !block.is_null() {
            *slot = block;
            done += 1;
        }
    }
    mag.set_top(top);
    done
}

/// Runs `f` with the number of the calling thread's heap, and stays with the one that `f` leaves.
///
/// # Safety
/// As for `drain`.
pub(crate) unsafe fn at_home<R>(tls: *mut Tls, f: impl FnOnce(&mut u32) -> R) -> R {
    // SAFETY: the caller's contract; any class will do.
    let mag = unsafe { Mag::of(tls, Class::from_index(1)) };
    let mut home = mag.home();
    let result = f(&mut home);
    mag.set_home(home);
    result
}

/// Has the calling thread look again at how deep its magazine of `class` is to be. For flushes.
#[inline] // a call of its own costs refills and flushes more than it does
pub(crate) fn note_sparse(class: Class) {
    let tls = hit::tls();
    // SAFETY: this thread's own block; a thread that flushes has a record.
    unsafe {
        if (*tls).state == crate::thread::STATE_BUSY {
            let mag = Mag::of(tls, class);
            let byte = mag.depth_byte().load(Ordering::Relaxed);
            if byte != 0 && byte & FLUSHED == 0 {
                mag.depth_byte().store(byte | SPARSE, Ordering::Relaxed);
            }
        }
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
