//! One live block: what was asked for, and the pattern that its bytes hold. Large blocks are written and checked at
//! their edges and here and there between, so that a sequence of large ones costs little more than one of small ones.
//! Everything that touches allocated memory is in this file.

use std::alloc::{GlobalAlloc, Layout};

use bitmag::Bitmag;

/// Up to this many bytes every byte is written and checked; of larger blocks `EDGE` bytes at either end, and one byte in every
/// `NEAR` of those up to 64 KiB, one a page of the others.
const WHOLE: usize = 1024;
const EDGE: usize = 64;
const NEAR: usize = 251;
const PAGE: usize = 4096;

/// A live block.
pub struct Block {
    pointer: *mut u8,
    layout: Layout,
    stamp: u64,
}

/// The offsets of a block of `size` bytes that are written and checked.
fn sampled(size: usize) -> impl Iterator<Item = usize> {
    let whole = if size <= WHOLE { size } else { EDGE };
    let inner = if size <= WHOLE { 0..0 } else { EDGE..size - EDGE };
    let end = if size <= WHOLE { size..size } else { size - EDGE..size };
    (0..whole).chain(inner.step_by(if size <= 64 << 10 { NEAR } else { PAGE })).chain(end)
}

impl Block {
    /// Takes a fresh block over: looks at alignment and usable size, at zeroes where they were asked for, and fills it.
    ///
    /// # Safety
    /// `pointer` is a live block of `layout` that nobody else uses.
    pub unsafe fn fresh(pointer: *mut u8, layout: Layout, stamp: u64, zeroed: bool) -> Block {
        let block = Block { pointer, layout, stamp };
        block.check_shape();
        if zeroed {
            for i in sampled(layout.size()) {
                assert_eq!(
                    block.read(i),
                    0,
                    "{layout:?} at {pointer:p}: byte {i} of zeroed memory"
                );
            }
        }
        block.fill(0);
        block
    }

    fn check_shape(&self) {
        let (p, layout) = (self.pointer, self.layout);
        assert_eq!(p.addr() % layout.align(), 0, "{layout:?} at {p:p} is not aligned");
        // SAFETY: the block is live and bitmag's.
        let usable = unsafe { bitmag::usable_size(p) };
        assert!(usable >= layout.size(), "{layout:?} at {p:p}: usable size {usable}");
    }

    pub fn size(&self) -> usize {
        self.layout.size()
    }

    pub fn range(&self) -> (usize, usize) {
        (self.pointer.addr(), self.pointer.addr() + self.layout.size())
    }

    pub fn into_parts(self) -> (*mut u8, Layout) {
        (self.pointer, self.layout)
    }

    fn pattern(&self, i: usize) -> u8 {
        (self.stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32 % 64) >> 32) as u8
            ^ i as u8
    }

    fn read(&self, i: usize) -> u8 {
        assert!(i < self.layout.size());
        // SAFETY: the block is live and `i` lies inside it.
        unsafe { self.pointer.add(i).read() }
    }

    fn fill(&self, from: usize) {
        for i in sampled(self.layout.size()).filter(|&i| i >= from) {
            // SAFETY: the block is live and `sampled` yields offsets inside it.
            unsafe { self.pointer.add(i).write(self.pattern(i)) };
        }
    }

    /// What was written is still there.
    pub fn verify(&self) {
        self.verify_prefix(sampled(self.layout.size()), self.layout.size());
    }

    fn verify_prefix(&self, offsets: impl Iterator<Item = usize>, end: usize) {
        for i in offsets.filter(|&i| i < end) {
            let (p, layout) = (self.pointer, self.layout);
            assert_eq!(
                self.read(i),
                self.pattern(i),
                "{layout:?} at {p:p}: byte {i} was overwritten"
            );
        }
    }

    /// `realloc`: the common prefix is kept. NULL is an answer, and the old block is then as it was.
    ///
    /// # Safety
    /// The block is live and from `allocator`.
    pub unsafe fn resize(self, allocator: &Bitmag, size: usize, stamp: u64) -> Block {
        let Ok(layout) = Layout::from_size_align(size, self.layout.align()) else {
            return self;
        };
        let old = self.layout.size();
        // SAFETY: the caller's promise; the new size is not 0 and forms a layout with the old alignment.
        let pointer = unsafe { allocator.realloc(self.pointer, self.layout, size) };
        if pointer.is_null() {
            self.verify();
            return self;
        }
        // The old stamp at the new place: the bytes that both sizes have in common, as far as they were written.
        let moved = Block { pointer, layout, stamp: self.stamp };
        moved.check_shape();
        moved.verify_prefix(sampled(old), old.min(size));
        let block = Block { stamp, ..moved };
        block.fill(0);
        block
    }
}
