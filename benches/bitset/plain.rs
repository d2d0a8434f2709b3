//! What the engine is measured against: the loops that anybody would write, word by word and bit by bit.
//! They are kept here, out of the library, and never tuned; `read_alone` is the floor, a plain read of the same bytes.
//! `main.rs` checks that they answer as the engine does.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::bitset::Expanded;

#[inline(never)]
pub(crate) fn first_set(words: &[AtomicU64]) -> Option<usize> {
    for (i, word) in words.iter().enumerate() {
        let word = word.load(Relaxed);
        if word != 0 {
            return Some(i * 64 + word.trailing_zeros() as usize);
        }
    }
    None
}

#[inline(never)]
pub(crate) fn last_set(words: &[AtomicU64]) -> Option<usize> {
    for (i, word) in words.iter().enumerate().rev() {
        let word = word.load(Relaxed);
        if word != 0 {
            return Some(i * 64 + 63 - word.leading_zeros() as usize);
        }
    }
    None
}

#[inline(never)]
pub(crate) fn first_set_and(a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize> {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let word = a.load(Relaxed) & b.load(Relaxed);
        if word != 0 {
            return Some(i * 64 + word.trailing_zeros() as usize);
        }
    }
    None
}

/// The lowest run of n (up to 64) bits: each word with its successor, the length doubled step by step.
#[inline(never)]
pub(crate) fn first_run(words: &[AtomicU64], n: u32) -> Option<usize> {
    for (i, word) in words.iter().enumerate() {
        let mut low = word.load(Relaxed);
        if low == 0 {
            continue;
        }
        let mut high = words.get(i + 1).map_or(0, |w| w.load(Relaxed));
        let mut length = 1;
        while length < n {
            let by = length.min(n - length);
            low &= low >> by | high << (64 - by);
            high &= high >> by;
            length += by;
        }
        if low != 0 {
            return Some(i * 64 + low.trailing_zeros() as usize);
        }
    }
    None
}

/// The lowest run of n bits of any length: counts ones from word to word.
#[inline(never)]
pub(crate) fn first_long_run(words: &[AtomicU64], n: usize) -> Option<usize> {
    let mut length = 0;
    for (i, word) in words.iter().enumerate() {
        let word = word.load(Relaxed);
        if word == !0 {
            length += 64;
        } else {
            length += (!word).trailing_zeros() as usize;
            if length < n {
                length = word.leading_ones() as usize;
                continue;
            }
        }
        if length >= n {
            let ones = if word == !0 { 64 } else { (!word).trailing_zeros() as usize };
            return Some(i * 64 + ones - length);
        }
    }
    None
}

#[inline(never)]
pub(crate) fn first_byte_at_least(bytes: &[AtomicU8], least: u8) -> Option<usize> {
    bytes.iter().position(|b| b.load(Relaxed) >= least)
}

#[inline(never)]
pub(crate) fn count(words: &[AtomicU64]) -> usize {
    words.iter().map(|w| w.load(Relaxed).count_ones() as usize).sum()
}

#[inline(never)]
pub(crate) fn all_set(words: &[AtomicU64]) -> bool {
    words.iter().all(|w| w.load(Relaxed) == !0)
}

#[inline(never)]
pub(crate) fn all_set_or(a: &[AtomicU64], b: &[AtomicU64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.load(Relaxed) | b.load(Relaxed) == !0)
}

/// Takes k bits one after the other.
///
/// # Safety
/// As for the engine's.
#[inline(never)]
pub(crate) unsafe fn expand(
    local: &[AtomicU64],
    k: usize,
    base: usize,
    size: usize,
    out_top: *mut *mut u8,
) -> Expanded {
    let mut taken = 0;
    let mut next_word = 0;
    for word in local {
        let mut bits = word.load(Relaxed);
        while bits != 0 && taken < k {
            let index = next_word * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            taken += 1;
            // SAFETY: one of the k slots below out_top.
            unsafe { out_top.sub(taken).write((base + index * size) as *mut u8) };
        }
        word.store(bits, Relaxed);
        if taken == k {
            break;
        }
        next_word += 1;
    }
    Expanded { taken, next_word }
}

/// Reads the words with the widest loads of the machine and looks at none of them.
#[inline(never)]
pub(crate) fn read_alone(words: &[AtomicU64]) {
    cfg_if::cfg_if! {
        if #[cfg(target_arch = "x86_64")] {
            let (whole, rest) = words.as_chunks::<32>();
            let range = whole.as_ptr_range();
            let (mut at, end) = (range.start, range.end);
            if std::arch::is_x86_feature_detected!("avx512f") {
                // SAFETY: reads the whole chunks; the CPU has AVX-512.
                unsafe {
                    std::arch::asm!(
                        "cmp {at}, {end}",
                        "je 3f",
                        "2:",
                        "vmovdqu64 zmm16, [{at}]",
                        "vmovdqu64 zmm17, [{at} + 64]",
                        "vmovdqu64 zmm18, [{at} + 128]",
                        "vmovdqu64 zmm19, [{at} + 192]",
                        "add {at}, 256",
                        "cmp {at}, {end}",
                        "jne 2b",
                        "3:",
                        at = inout(reg) at,
                        end = in(reg) end,
                        out("xmm16") _, out("xmm17") _, out("xmm18") _, out("xmm19") _,
                        options(nostack, readonly),
                    );
                }
            } else if std::arch::is_x86_feature_detected!("avx") {
                // SAFETY: reads the whole chunks; the CPU has AVX.
                unsafe {
                    std::arch::asm!(
                        "cmp {at}, {end}",
                        "je 3f",
                        "2:",
                        "vmovdqu ymm0, [{at}]",
                        "vmovdqu ymm1, [{at} + 32]",
                        "vmovdqu ymm2, [{at} + 64]",
                        "vmovdqu ymm3, [{at} + 96]",
                        "add {at}, 128",
                        "cmp {at}, {end}",
                        "jne 2b",
                        "3:",
                        at = inout(reg) at,
                        end = in(reg) end,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                        options(nostack, readonly),
                    );
                }
            }
            std::hint::black_box(at);
            for word in rest {
                std::hint::black_box(word.load(Relaxed));
            }
        } else {
            for word in words {
                std::hint::black_box(word.load(Relaxed));
            }
        }
    }
}
