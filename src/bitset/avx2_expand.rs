//! The AVX2 backend expands bits into pointers in three ways, by what a word looks like: bits in a row and dense words
//! (`avx2_dense`), and sparse words here, by fours, where a table loses, or one by one. Each way is a function of its
//! own, so that none saves registers that only another one needs. `avx2` hands this on to `engine`.

use crate::sync::{AtomicU64, Ordering::Relaxed};
use core::arch::x86_64::*;

use super::avx2_dense::{dense, ramp, store_few, within};
use super::dispatch::HaveAvx2;
use super::expand::{Rest, pointer};
use super::vector::Vector;

/// Words with so many bits or fewer are expanded by fours.
const SPARSE: usize = 16;

/// Takes bits and writes pointers: see `Engine::expand`.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(always)]
pub(super) unsafe fn expand(
    _: HaveAvx2,
    words: &[AtomicU64],
    k: usize,
    base: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    // SAFETY: the token proves the features; the rest is the caller's promise.
    unsafe { expand_featured(words, k, base, size, top) }
}

/// `expand`: over the empty words at the beginning, then by what the first of the others looks like. Each way is a
/// function of its own, so that none saves registers that only another one needs.
///
/// # Safety
/// Those of `Engine::expand`.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn expand_featured(
    words: &[AtomicU64],
    k: usize,
    base: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    let range = words.as_ptr_range();
    let (mut at, end) = (range.start, range.end);
    let mut first = base;
    // SAFETY: vectors and words are read below end only; the k slots are the caller's to write.
    unsafe {
        if at == end {
            return Rest { left: k, at };
        }
        let mut bits = (*at).load(Relaxed);
        if bits == 0 {
            at = skip(at, end);
            if at == end {
                return Rest { left: k, at };
            }
            bits = (*at).load(Relaxed);
            let skipped = (at.addr() - range.start.addr()) * 8;
            first = base.wrapping_add(skipped.wrapping_mul(size));
        }
        let ones = bits.count_ones() as usize;
        if ones >= k {
            // k is at most 64.
            let lowest = _bzhi_u64(!0, k as u32);
            let low = _tzcnt_u64(bits) as u32;
            if !(bits >> (low & 63)) & lowest == 0 {
                let from = first.wrapping_add((low as usize).wrapping_mul(size));
                ramp(from, size, k, top);
                (*at).store(bits & !(lowest << (low & 63)), Relaxed);
                return Rest { left: 0, at };
            }
            if k > SPARSE && within(first, size) {
                let take = _pdep_u64(lowest, bits);
                (*at).store(bits ^ take, Relaxed);
                dense(take, first, size, top.sub(k), k, 0);
                return Rest { left: 0, at };
            }
        }
        if ones <= 4 {
            return expand_sparse(at, end, k, first, size, top);
        }
        expand_words(at, end, k, first, size, top)
    }
}

/// The first word from `at` on that is not empty, or `end`.
///
/// # Safety
/// The words lie there, and the word at `at` is empty.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn skip(mut at: *const AtomicU64, end: *const AtomicU64) -> *const AtomicU64 {
    // SAFETY: vectors and words are read below end only.
    unsafe {
        while end.addr() - at.addr() >= 32 && !<__m256i as Vector>::load(at).any() {
            at = at.add(4);
        }
        while at != end && (*at).load(Relaxed) == 0 {
            at = at.add(1);
        }
    }
    at
}

/// `expand` for words of up to four bits; goes over to `expand_words` at the first that has more. `first` is the address
/// of the first bit of the word at `at`, the next pointer goes below `top`.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn expand_sparse(
    mut at: *const AtomicU64,
    end: *const AtomicU64,
    k: usize,
    first: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    let bottom = top.wrapping_sub(k);
    let mut left = k;
    let sizes = _mm256_set1_epi64x(size as i64);
    let step = _mm256_slli_epi64(sizes, 6);
    let mut first = _mm256_set1_epi64x(first as i64);
    // SAFETY: words are read below end only; `left` slots from bottom on are still the caller's to write.
    unsafe {
        while left >= 4 && at != end {
            let bits = (*at).load(Relaxed);
            let ones = bits.count_ones() as usize;
            if ones.wrapping_sub(2) <= 2 {
                (*at).store(0, Relaxed);
                let (four, _) = four_bits(bits, first, sizes);
                _mm256_storeu_si256(bottom.add(left).sub(4).cast(), four);
                left -= ones;
                first = _mm256_add_epi64(first, step);
                at = at.add(1);
            } else if ones > 4 {
                return expand_words(at, end, left, low_lane(first), size, bottom.add(left));
            } else {
                let low;
                (at, left, low) = singles(at, end, left, low_lane(first), size, bottom);
                first = _mm256_set1_epi64x(low as i64);
            }
        }
        last_few(at, end, left, first, sizes, bottom.add(left))
    }
}

/// Takes words of one bit, and goes over empty ones, to the first that has more: that word, the slots left from
/// `bottom` on, and the address of the word's first bit.
///
/// # Safety
/// `left` slots from `bottom` on are the caller's to write, at least one; there is a word at `at`, of at most one bit.
#[inline]
#[target_feature(enable = "bmi1")]
pub(super) unsafe fn singles(
    mut at: *const AtomicU64,
    end: *const AtomicU64,
    mut left: usize,
    mut first: usize,
    size: usize,
    bottom: *mut *mut u8,
) -> (*const AtomicU64, usize, usize) {
    // SAFETY: words are read below end only; a slot is written where one is left.
    unsafe {
        while left != 0 && at != end {
            let bits = (*at).load(Relaxed);
            if _blsr_u64(bits) != 0 {
                break;
            }
            if bits != 0 {
                (*at).store(0, Relaxed);
                left -= 1;
                let address = first.wrapping_add((_tzcnt_u64(bits) as usize).wrapping_mul(size));
                bottom.add(left).write(pointer(address));
            }
            first = first.wrapping_add(size << 6);
            at = at.add(1);
        }
    }
    (at, left, first)
}

/// The end of `expand`: up to three bits more.
///
/// # Safety
/// Those of `Engine::expand`; `left` is less than 4.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn last_few(
    mut at: *const AtomicU64,
    end: *const AtomicU64,
    mut left: usize,
    mut first: __m256i,
    sizes: __m256i,
    mut top: *mut *mut u8,
) -> Rest {
    // SAFETY: words are read below end only; `left` slots below top are still the caller's to write.
    unsafe {
        while left != 0 && at != end {
            let bits = (*at).load(Relaxed);
            if bits != 0 {
                let (four, _) = four_bits(bits, first, sizes);
                let n = (bits.count_ones() as usize).min(left);
                store_few(four, n, top);
                let rest = bits & !_pdep_u64(_bzhi_u64(!0, n as u32), bits);
                (*at).store(rest, Relaxed);
                top = top.sub(n);
                left -= n;
                if rest != 0 {
                    break;
                }
            }
            first = _mm256_add_epi64(first, _mm256_slli_epi64(sizes, 6));
            at = at.add(1);
        }
    }
    Rest { left, at }
}

/// `expand`, word by word: `first` is the address of the first bit of the word at `at`, the next pointer goes below
/// `top`.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn expand_words(
    mut at: *const AtomicU64,
    end: *const AtomicU64,
    k: usize,
    first: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    let bottom = top.wrapping_sub(k);
    let mut left = k;
    let sizes = _mm256_set1_epi64x(size as i64);
    let step = _mm256_slli_epi64(sizes, 6);
    let mut first = _mm256_set1_epi64x(first as i64);
    // SAFETY: words are read below end only; `left` slots from bottom on are still the caller's to write, and each way
    // below writes no others.
    unsafe {
        while left >= 4 && at != end {
            let bits = (*at).load(Relaxed);
            let mut n = bits.count_ones() as usize;
            if n.wrapping_sub(2) <= 2 {
                (*at).store(0, Relaxed);
                let (four, _) = four_bits(bits, first, sizes);
                _mm256_storeu_si256(bottom.add(left).sub(4).cast(), four);
                left -= n;
            } else if n <= 1 {
                let low;
                (at, left, low) = singles(at, end, left, low_lane(first), size, bottom);
                first = _mm256_set1_epi64x(low as i64);
                continue;
            } else {
                let mut take = bits;
                if n > left {
                    take = _pdep_u64(_bzhi_u64(!0, left as u32), bits);
                    n = left;
                }
                (*at).store(bits ^ take, Relaxed);
                let low = low_lane(first);
                if n > SPARSE && within(low, size) {
                    dense(take, low, size, bottom, left, left - n);
                } else {
                    sparse(take, n, first, sizes, bottom.add(left), left);
                }
                left -= n;
                if bits != take {
                    return Rest { left, at };
                }
            }
            first = _mm256_add_epi64(first, step);
            at = at.add(1);
        }
        last_few(at, end, left, first, sizes, bottom.add(left))
    }
}

/// The lowest lane.
#[inline]
#[target_feature(enable = "avx2")]
fn low_lane(v: __m256i) -> usize {
    _mm_cvtsi128_si64(_mm256_castsi256_si128(v)) as usize
}

/// The addresses of the lowest four bits, the lowest in the highest lane, whether there are so many or not; and the
/// other bits.
#[inline]
#[target_feature(enable = "avx2,bmi1")]
pub(super) fn four_bits(mut bits: u64, first: __m256i, sizes: __m256i) -> (__m256i, u64) {
    let mut next = || {
        let number = _tzcnt_u64(bits).cast_signed();
        bits = _blsr_u64(bits);
        number
    };
    let (a, b, c, d) = (next(), next(), next(), next());
    let numbers = _mm256_set_epi64x(a, b, c, d);
    (_mm256_add_epi64(_mm256_mul_epu32(numbers, sizes), first), bits)
}

/// A word of few bits by fours; `left` slots below `top` may be written.
///
/// # Safety
/// `n` is the number of bits and at most `left`, the slots are the caller's to write.
#[inline]
#[target_feature(enable = "avx2,bmi1")]
unsafe fn sparse(
    mut bits: u64,
    n: usize,
    first: __m256i,
    sizes: __m256i,
    mut top: *mut *mut u8,
    left: usize,
) {
    // SAFETY: four are stored where four are left.
    unsafe {
        let bottom = top.sub(left);
        let to = top.sub(n);
        loop {
            let (four, rest) = four_bits(bits, first, sizes);
            if top.offset_from(bottom) < 4 {
                store_few(four, top.offset_from(bottom) as usize, top);
                return;
            }
            top = top.sub(4);
            _mm256_storeu_si256(top.cast(), four);
            if top <= to {
                return;
            }
            bits = rest;
        }
    }
}
