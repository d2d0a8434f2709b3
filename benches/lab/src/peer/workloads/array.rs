//! Room for the workload's own book-keeping, mapped and touched ahead of everything: it comes from no allocator, so that it costs
//! each of them the same.

use super::block::Block;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicPtr;

/// A type of which zeroed memory is a value.
///
/// # Safety
/// That it is.
#[allow(dead_code, reason = "it is a bound")]
pub unsafe trait Zeroed {}
// SAFETY: no block; the niche of a pointer that is never null.
unsafe impl Zeroed for Option<Block> {}
// SAFETY: a number.
unsafe impl Zeroed for u8 {}
// SAFETY: a number.
unsafe impl Zeroed for u32 {}
// SAFETY: a number.
unsafe impl Zeroed for u64 {}
// SAFETY: the null pointer.
unsafe impl Zeroed for AtomicPtr<u8> {}
// SAFETY: as its elements.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}

/// So many values, all zero at first. It stays mapped until the program ends.
pub struct Array<T: 'static>(&'static mut [T]);

impl<T: Zeroed> Array<T> {
    pub fn new(count: usize) -> Array<T> {
        Array(zeroed(count))
    }
}

/// So many zeroes, mapped and touched ahead, for as long as the program runs.
pub fn zeroed<T: Zeroed>(count: usize) -> &'static mut [T] {
    let bytes = (count * size_of::<T>()).max(1);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    let (read, write) = (libc::PROT_READ, libc::PROT_WRITE);
    // SAFETY: a fresh mapping of zeroes, aligned for everything, that is never unmapped; `T` may be zero.
    unsafe {
        let start = libc::mmap(null_mut(), bytes, read | write, flags, -1, 0);
        assert!(start != libc::MAP_FAILED, "no memory for {bytes} bytes");
        let start = NonNull::new(start).expect("a mapping").cast::<T>();
        std::slice::from_raw_parts_mut(start.as_ptr(), count)
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.0
    }
}

impl<T> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0
    }
}

/// Numbers 0 to `count` in an order that the seed says.
pub fn shuffled(count: usize, seed: u64) -> Array<u32> {
    let mut order = Array::<u32>::new(count);
    for (index, place) in order.iter_mut().enumerate() {
        *place = index as u32;
    }
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    order
}

/// So many empty slots for blocks.
pub fn slots(count: usize) -> Array<Option<Block>> {
    Array::new(count)
}
