//! A block of the allocator under test that knows its size and whether somebody else wrote to it.
//! The first eight bytes hold size and address mixed, the last byte another part of the address; the price is the same for every
//! allocator, and it is what a program that uses its blocks pays anyway: the first touch.

use std::ptr::NonNull;

/// The pointer of a live block: whoever has it may free it, once.
#[repr(transparent)]
pub struct Block(NonNull<u8>);

// SAFETY: a block may be used and freed by whichever thread holds it.
unsafe impl Send for Block {}

/// Spreads an address over 64 bits.
fn key(address: usize) -> u64 {
    (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn tail(address: usize) -> u8 {
    (address >> 4) as u8 ^ 0x5a
}

impl Block {
    /// Writes the seal into `size` fresh bytes.
    #[inline(always)]
    pub fn sealed(start: NonNull<u8>, size: usize) -> Block {
        let address = start.as_ptr() as usize;
        debug_assert!(size >= 8);
        // SAFETY: a fresh block of `size` bytes, eight or more; allocators align by eight at least.
        unsafe {
            if size > 8 {
                start.add(size - 1).write(tail(address));
            }
            start.cast::<u64>().write(key(address) ^ size as u64);
        }
        Block(start)
    }

    /// A block that `realloc` returned for the one that lay at `before`: the seal must have come along; it gets the new one.
    #[inline(always)]
    pub fn resealed(start: NonNull<u8>, before: usize, size: usize) -> Block {
        // SAFETY: a live block of at least eight bytes.
        let old = unsafe { start.cast::<u64>().read() } ^ key(before);
        assert!(old < 1 << 40, "realloc lost what was in the block");
        Block::sealed(start, size)
    }

    pub fn start(&self) -> NonNull<u8> {
        self.0
    }

    /// How many bytes were asked for; ends the program if the seal is broken.
    #[inline(always)]
    pub fn check(&self) -> usize {
        let address = self.0.as_ptr() as usize;
        // SAFETY: a live block of at least eight bytes.
        let size = (unsafe { self.0.cast::<u64>().read() } ^ key(address)) as usize;
        assert!(size < 1 << 40, "somebody wrote to the start of a block");
        // SAFETY: the seal is whole, so that this is the size it was taken with.
        let last = unsafe { self.0.add(size - 1).read() };
        assert!(size == 8 || last == tail(address), "somebody wrote to the end of a block");
        size
    }

    /// Writes one byte into each page from `from` on that is not sealed.
    pub fn touch(&self, from: usize, to: usize) {
        let mut at = from.max(8);
        while at + 1 < to {
            // SAFETY: within the block; the seal's bytes are left out.
            unsafe { self.0.add(at).write_volatile(1) };
            at += 4096;
        }
    }

    /// Writes to its first bytes behind the seal, or to the seal of a block of eight, so many times.
    pub fn write_often(&self, times: usize) {
        let first = self.0.cast::<u64>();
        for _ in 0..times {
            // SAFETY: a live block; what is written is what was there.
            unsafe { first.write_volatile(first.read_volatile()) };
        }
    }

    /// Its address, for a slot that threads exchange; `from_raw` takes it back.
    pub fn into_raw(self) -> *mut u8 {
        self.0.as_ptr()
    }

    /// The block of `into_raw`, if there is one.
    ///
    /// # Safety
    /// From `into_raw`, and taken back once.
    pub unsafe fn from_raw(start: *mut u8) -> Option<Block> {
        NonNull::new(start).map(Block)
    }
}
