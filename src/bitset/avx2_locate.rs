//! The AVX2 backend locates pointers, four at a time, and counts bits.
//! Both are plain arithmetic on vectors; what is special is that nothing is read beyond the pointers given.
//! `avx2` hands these on to `engine`.

use crate::sync::{AtomicU64, Ordering::Relaxed};
use core::arch::x86_64::*;

use super::dispatch::HaveAvx2;
use super::vector::Vector;
use super::{BATCH, Located, Spacing, scalar};

/// How many bits are set.
#[inline(always)]
pub(super) fn count(_: HaveAvx2, words: &[AtomicU64]) -> usize {
    // SAFETY: the token proves the features.
    unsafe { count_featured(words) }
}

/// `count`: a table of sixteen by the half byte, summed by bytes and then by words.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
fn count_featured(words: &[AtomicU64]) -> usize {
    let (fours, rest) = words.as_chunks::<4>();
    let ones = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3,
        3, 4,
    );
    let half = _mm256_set1_epi8(15);
    let zero = _mm256_setzero_si256();
    let mut sum = zero;
    for four in fours {
        // SAFETY: reads the four words; this function has the features.
        let bits = unsafe { <__m256i as Vector>::load(four.as_ptr()) };
        let low = _mm256_shuffle_epi8(ones, _mm256_and_si256(bits, half));
        let high = _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi64(bits, 4), half));
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(_mm256_add_epi8(low, high), zero));
    }
    let sum = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    let sum = _mm_cvtsi128_si64(sum) + _mm_extract_epi64(sum, 1);
    rest.iter().fold(sum as usize, |sum, w| sum + w.load(Relaxed).count_ones() as usize)
}

/// Finds unit and index of each pointer: see `Engine::locate`.
///
/// # Safety
/// Those of `Engine::locate`, and `k` is at most `BATCH`.
#[inline(always)]
pub(super) unsafe fn locate(
    _: HaveAvx2,
    pointers: *const *mut u8,
    k: usize,
    base: usize,
    units: usize,
    spacing: &Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    // SAFETY: the token proves the features; the rest is the caller's promise.
    unsafe {
        // A full magazine, where the compiler knows that it is one, has a function without loops.
        if k == BATCH - 1 {
            locate_featured::<{ BATCH - 1 }>(pointers, k, base, units, spacing, out)
        } else {
            locate_featured::<0>(pointers, k, base, units, spacing, out)
        }
    }
}

/// `locate`, four pointers at a time, for `K` pointers unless that is 0. A distance in units has the unit in its lower half, and nothing in the upper one
/// unless it is below the base or far beyond the units; an offset times the reciprocal has the index in its upper
/// half, and the lower one is below the reciprocal only at the start of a block. So what is checked are the highest of
/// each half, once and at the end.
///
/// # Safety
/// Those of `locate`.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn locate_featured<const K: usize>(
    pointers: *const *mut u8,
    k: usize,
    base: usize,
    units: usize,
    spacing: &Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    let k = if K == 0 { k } else { K };
    let last_unit = units.wrapping_sub(1);
    if k < 4 || last_unit > u32::MAX as usize {
        // SAFETY: the caller's promise.
        return unsafe { scalar::locate(pointers, k, base, units, spacing, out) };
    }
    let to_distance = _mm256_set1_epi64x((base as i64).wrapping_neg());
    let zero = _mm256_setzero_si256();
    let reciprocal = _mm256_set1_epi64x(spacing.reciprocal.cast_signed());
    let mut highest_unit = zero;
    let mut highest_product = zero;
    let to: *mut __m256i = out.as_mut_ptr().cast();
    let mut four = |at: usize| {
        // SAFETY: at is at most k - 4, so four pointers can be read, and 32 bytes from there lie within out.
        let addresses = unsafe { _mm256_loadu_si256(pointers.add(at).cast()) };
        let distance = _mm256_add_epi64(addresses, to_distance);
        let offset = _mm256_blend_epi16(zero, distance, 0b0001_0001);
        let product = _mm256_mul_epu32(offset, reciprocal);
        highest_product = _mm256_max_epu32(highest_product, product);
        let unit = _mm256_srli_epi64(distance, 16);
        highest_unit = _mm256_max_epu32(highest_unit, unit);
        // SAFETY: as above.
        unsafe {
            let located = _mm256_blend_epi32(unit, product, 0b1010_1010);
            _mm256_storeu_si256(to.byte_add(at * 8), located);
        }
    };
    if K == 0 {
        // The last four overlap those before.
        let mut at = 0;
        while at < k - 4 {
            four(at);
            at += 4;
        }
        four(k - 4);
    } else {
        let mut at = 0;
        while at < K - 4 {
            four(at);
            four((at + 4).min(K - 4));
            at += 8;
        }
    }
    let most_product = _mm256_set1_epi64x(spacing.most.cast_signed());
    let most_unit = _mm256_set1_epi64x(last_unit as i64);
    let right = _mm256_and_si256(
        _mm256_cmpeq_epi32(_mm256_max_epu32(highest_product, most_product), most_product),
        _mm256_cmpeq_epi32(_mm256_max_epu32(highest_unit, most_unit), most_unit),
    );
    if _mm256_movemask_epi8(right) == -1 {
        return 0;
    }
    // Something is wrong somewhere: rare enough to be looked at one by one.
    // SAFETY: the caller's promise.
    unsafe { scalar::locate(pointers, k, base, units, spacing, out) }
}
