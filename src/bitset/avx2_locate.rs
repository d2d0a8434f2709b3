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
    spacing: Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    // SAFETY: the token proves the features; the rest is the caller's promise.
    unsafe { locate_featured(pointers, k, base, units, spacing, out) }
}

/// `locate`, four pointers at a time. What is checked is gathered and looked at once: a distance less its
/// block's start keeps low bits where the pointer is misaligned, and bits from 48 on where it is below
/// the base or far beyond the units; the highest unit and the highest index tell of the rest.
///
/// # Safety
/// Those of `locate`.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn locate_featured(
    pointers: *const *mut u8,
    k: usize,
    base: usize,
    units: usize,
    spacing: Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    let to_distance = _mm256_set1_epi64x((base as i64).wrapping_neg());
    let within = _mm256_set1_epi64x(0xffff);
    let reciprocal = _mm256_set1_epi64x(i64::from(spacing.reciprocal()));
    let size = _mm256_set1_epi64x(spacing.size() as i64);
    let mut wrong = _mm256_setzero_si256();
    let mut highest = _mm256_setzero_si256();
    let to: *mut __m256i = out.as_mut_ptr().cast();
    let mut four = |addresses: __m256i, at: usize| {
        let distance = _mm256_add_epi64(addresses, to_distance);
        let offset = _mm256_and_si256(distance, within);
        let index = _mm256_srli_epi64(_mm256_mul_epu32(offset, reciprocal), 32);
        let start = _mm256_mul_epu32(index, size);
        wrong = _mm256_or_si256(wrong, _mm256_sub_epi64(distance, start));
        let located = _mm256_blend_epi32(_mm256_slli_epi64(distance, 16), index, 0b0101_0101);
        highest = _mm256_max_epu32(highest, located);
        // SAFETY: at is at most BATCH - 4, so 32 bytes from there lie within out.
        unsafe { _mm256_storeu_si256(to.byte_add(at * 8), located) };
    };
    // SAFETY: reads k pointers: by fours, the last four overlapping those before; fewer one by one.
    unsafe {
        if k < 4 {
            return scalar::locate(pointers, k, base, units, spacing, out);
        }
        let mut i = 0;
        while i < k - 4 {
            four(_mm256_loadu_si256(pointers.add(i).cast()), i);
            i += 4;
        }
        four(_mm256_loadu_si256(pointers.add(k - 4).cast()), k - 4);
        let last = Located {
            index: (spacing.blocks() - 1) as u32,
            unit: units.saturating_sub(1).min(u32::MAX as usize) as u32,
        };
        let last = _mm256_set1_epi64x(i64::from(last.unit) << 32 | i64::from(last.index));
        let beyond = _mm256_xor_si256(_mm256_max_epu32(highest, last), last);
        let misplaced = _mm256_set1_epi64x(0xffff_0000_0000_ffff_u64 as i64);
        let wrong = _mm256_or_si256(beyond, _mm256_and_si256(wrong, misplaced));
        if _mm256_testz_si256(wrong, wrong) != 0 && units != 0 {
            return 0;
        }
        // Something is wrong somewhere: rare enough to be looked at one by one.
        scalar::locate(pointers, k, base, units, spacing, out)
    }
}
