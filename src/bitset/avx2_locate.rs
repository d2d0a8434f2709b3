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

/// `locate`, four pointers at a time. Distances from the base carry their top bit inverted, so that one signed
/// comparison finds those below the base and those beyond the last unit.
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
    let to_distance = _mm256_set1_epi64x((base as i64).wrapping_neg() ^ i64::MIN);
    let limit = _mm256_set1_epi64x((units.min(1 << 47) << 16) as i64 ^ i64::MIN);
    let within = _mm256_set1_epi64x(0xffff);
    let reciprocal = _mm256_set1_epi64x(i64::from(spacing.reciprocal()));
    let size = _mm256_set1_epi64x(spacing.size() as i64);
    let mut good = _mm256_set1_epi64x(-1);
    let to: *mut __m256i = out.as_mut_ptr().cast();
    let four = |addresses: __m256i, at: usize| {
        let distance = _mm256_add_epi64(addresses, to_distance);
        let offset = _mm256_and_si256(distance, within);
        let index = _mm256_srli_epi64(_mm256_mul_epu32(offset, reciprocal), 32);
        let start = _mm256_mul_epu32(index, size);
        let aligned = _mm256_cmpeq_epi64(start, offset);
        let inside = _mm256_cmpgt_epi64(limit, distance);
        let unit = _mm256_slli_epi64(distance, 16);
        let located = _mm256_blend_epi32(unit, index, 0b0101_0101);
        // SAFETY: at is at most BATCH - 4, so 32 bytes from there lie within out.
        unsafe { _mm256_storeu_si256(to.byte_add(at * 8), located) };
        (aligned, inside)
    };
    // SAFETY: reads k pointers: by fours, the last four overlapping those before, or through a mask that has no other.
    unsafe {
        if k >= 4 {
            let mut i = 0;
            while i < k - 4 {
                let (aligned, inside) = four(_mm256_loadu_si256(pointers.add(i).cast()), i);
                good = _mm256_and_si256(good, _mm256_and_si256(aligned, inside));
                i += 4;
            }
            let (aligned, inside) = four(_mm256_loadu_si256(pointers.add(k - 4).cast()), k - 4);
            good = _mm256_and_si256(good, _mm256_and_si256(aligned, inside));
        } else {
            let mask = _mm256_loadu_si256(FIRST.as_ptr().add(4 - k).cast());
            let few = _mm256_maskload_epi64(pointers.cast(), mask);
            let (aligned, inside) = four(few, 0);
            good = _mm256_or_si256(_mm256_and_si256(aligned, inside), _mm256_xor_si256(mask, good));
        }
        if _mm256_testc_si256(good, _mm256_set1_epi64x(-1)) != 0 {
            return 0;
        }
        // Something is wrong somewhere: rare enough to be looked at one by one.
        scalar::locate(pointers, k, base, units, spacing, out)
    }
}

/// The masks of the first 0 to 3 lanes, overlapping.
static FIRST: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];
