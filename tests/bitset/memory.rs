//! Bitmaps between guard pages, so that a read or write outside them ends the test.
//! One region holds all: a page that nobody may touch, the memory, and another such page.
//! The runner (`main.rs`) lays each bitmap against the back guard, and once more against the front one.

use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

const PAGE: usize = 65536; // a multiple of every page size that Linux uses here

/// Memory with an inaccessible page on both sides.
pub(crate) struct Guarded {
    start: *mut u8,
    bytes: usize,
}

impl Guarded {
    /// At least `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Guarded {
        let bytes = bytes.next_multiple_of(PAGE);
        // SAFETY: a fresh anonymous mapping; the part made accessible lies inside it.
        unsafe {
            let all = libc::mmap(
                std::ptr::null_mut(),
                bytes + 2 * PAGE,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(all, libc::MAP_FAILED);
            let start = all.cast::<u8>().add(PAGE);
            let writable = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(start.cast(), bytes, writable), 0);
            Guarded { start, bytes }
        }
    }

    /// `count` values that end at the back guard, or begin at the front one.
    pub(crate) fn place<T>(&self, count: usize, back: bool) -> *mut T {
        let size = count * size_of::<T>();
        assert!(size <= self.bytes);
        let at = if back { self.bytes - size } else { 0 };
        // SAFETY: at is within the region.
        unsafe { self.start.add(at).cast() }
    }

    /// A bitmap with these words.
    pub(crate) fn words(&self, words: &[u64], back: bool) -> &[AtomicU64] {
        let p = self.place::<AtomicU64>(words.len(), back);
        // SAFETY: the region holds that many words, and zeros (or anything) are valid ones.
        let placed = unsafe { slice::from_raw_parts(p, words.len()) };
        for (to, from) in placed.iter().zip(words) {
            to.store(*from, Relaxed);
        }
        placed
    }

    /// An array of these bytes.
    pub(crate) fn bytes(&self, bytes: &[u8], back: bool) -> &[AtomicU8] {
        let p = self.place::<AtomicU8>(bytes.len(), back);
        // SAFETY: the region holds that many bytes.
        let placed = unsafe { slice::from_raw_parts(p, bytes.len()) };
        for (to, from) in placed.iter().zip(bytes) {
            to.store(*from, Relaxed);
        }
        placed
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, whole.
        unsafe { libc::munmap(self.start.sub(PAGE).cast(), self.bytes + 2 * PAGE) };
    }
}
