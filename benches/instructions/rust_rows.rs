//! The rows that only Rust can run: `Box` and `Vec` on the program's global allocator.
//! What reaches the allocator is what rustc makes of a constant layout, or of a growing one.

use std::arch::asm;
use std::mem::MaybeUninit;

/// Uses a value without spending an instruction on it.
#[inline(always)]
fn keep<T>(pointer: *const T) {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", in(reg) pointer, options(nostack, preserves_flags)) };
}

/// 64 bytes, allocated and freed, in a loop.
#[inline(never)]
pub fn box_loop(count: usize) {
    for _ in 0..count {
        let boxed = Box::<MaybeUninit<[u64; 8]>>::new(MaybeUninit::uninit());
        keep(&raw const *boxed);
    }
}

/// The loop alone.
#[inline(never)]
pub fn empty_loop(count: usize) {
    for _ in 0..count {
        keep(std::ptr::without_provenance::<u8>(16));
    }
}

#[inline(never)]
fn one_box() {
    let boxed = Box::<MaybeUninit<[u64; 8]>>::new(MaybeUninit::uninit());
    keep(&raw const *boxed);
}

#[inline(never)]
fn no_box() {
    keep(std::ptr::without_provenance::<u8>(16));
}

/// A function that does it once, called from a loop.
#[inline(never)]
pub fn box_once(count: usize) {
    for _ in 0..count {
        one_box();
    }
}

/// A function without a box, called from the same loop.
#[inline(never)]
pub fn never_once(count: usize) {
    for _ in 0..count {
        no_box();
    }
}

/// Bytes pushed one at a time, from an empty vector to 4,096 elements; `count` vectors one after the other.
#[inline(never)]
pub fn vec_growth(count: usize) {
    for _ in 0..count {
        let mut bytes = Vec::new();
        for i in 0..4096u32 {
            bytes.push(i as u8);
            keep(bytes.as_ptr());
        }
        keep(bytes.as_ptr());
    }
}

/// The same into a vector that has its room already, which costs what pushing costs.
#[inline(never)]
pub fn vec_without_growth(count: usize) {
    let mut bytes = Vec::with_capacity(4096);
    for _ in 0..count {
        bytes.clear();
        for i in 0..4096u32 {
            bytes.push(i as u8);
            keep(bytes.as_ptr());
        }
        keep(bytes.as_ptr());
    }
}

/// Everything warm that the rows above use.
pub fn warm() {
    let boxes: Vec<_> =
        (0..200).map(|_| Box::<MaybeUninit<[u64; 8]>>::new(MaybeUninit::uninit())).collect();
    drop(boxes);
    box_loop(2);
    vec_growth(8);
}

/// A row by name, with the row that costs the same without the allocator.
pub fn row(name: &str) -> Option<[fn(usize); 2]> {
    Some(match name {
        "box_loop" => [box_loop, empty_loop],
        "box_once" => [box_once, never_once],
        "vec_growth" => [vec_growth, vec_without_growth],
        _ => return None,
    })
}
