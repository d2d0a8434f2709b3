//! The AVX2 backend's dense words: bits in a row become a ramp that is only added up, others go by the byte through a
//! table. Whole vectors are stored where slots are left (what is not a bit is overwritten later), the last ones through
//! masks, so that no branch depends on how many there are. `avx2_expand` calls these.

use core::arch::asm;
use core::arch::x86_64::*;

use super::expand::BITS_OF_BYTE;

/// Stores the highest `n` (0 to 4) lanes below `top`.
///
/// # Safety
/// So many slots below `top` are the caller's to write.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store_few(four: __m256i, n: usize, top: *mut *mut u8) {
    // SAFETY: n is at most 4, so four entries follow; the mask has no lane but the caller's.
    unsafe {
        let mask = _mm256_loadu_si256(HIGHEST.as_ptr().add(4 + n).cast());
        _mm256_maskstore_epi64(top.wrapping_sub(4).cast(), mask, four);
    }
}

/// Whether the 64 blocks from `first` on, and the end of the last, share the upper half of their addresses.
#[inline(always)]
pub(super) fn within(first: usize, size: usize) -> bool {
    (first ^ first.wrapping_add(size << 6)) >> 32 == 0
}

/// A word of many bits, by bytes: the table says where each of eight addresses goes, whether the byte has its bit or
/// not; what is not one is overwritten later. Only the lower halves are computed and moved about.
///
/// # Safety
/// `left` slots from `bottom` on are the caller's to write, and there are `left - until` bits. No address of the word's
/// 64 blocks differs from `first` in its upper half.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
pub(super) unsafe fn dense(
    mut bits: u64,
    first: usize,
    size: usize,
    bottom: *mut *mut u8,
    mut left: usize,
    until: usize,
) {
    let sizes = _mm256_set1_epi32(size as i32);
    let lanes = _mm256_mullo_epi32(sizes, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    let mut eight = _mm256_add_epi32(_mm256_set1_epi32(first as i32), lanes);
    let step = _mm256_slli_epi32(sizes, 3);
    let upper = _mm256_set1_epi32((first >> 32) as i32);
    // SAFETY: eight slots are written where eight are left, otherwise so many through masks; the table has an entry of
    // eight bytes for every byte.
    unsafe {
        let next = |bits: u64| {
            let entry = BITS_OF_BYTE.as_ptr().add(usize::from(bits as u8));
            (
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(entry.cast())),
                (bits as u8).count_ones() as usize,
            )
        };
        if left >= 8 && left != until {
            let mut spare = left - 8;
            loop {
                let (order, ones) = next(bits);
                let lower = _mm256_permutevar8x32_epi32(eight, order);
                let to = bottom.add(spare);
                _mm256_storeu_si256(to.add(4).cast(), _mm256_unpackhi_epi32(lower, upper));
                _mm256_storeu_si256(to.cast(), _mm256_unpacklo_epi32(lower, upper));
                eight = _mm256_add_epi32(eight, step);
                bits >>= 8;
                let borrow;
                (spare, borrow) = spare.overflowing_sub(ones);
                if borrow || (until != 0 && bits == 0) {
                    break;
                }
            }
            left = spare.wrapping_add(8);
        }
        while left != until {
            let (order, ones) = next(bits);
            let lower = _mm256_permutevar8x32_epi32(eight, order);
            let to = bottom.add(left);
            let mask = HIGHEST.as_ptr().add(left);
            let (low, high) =
                (_mm256_loadu_si256(mask.cast()), _mm256_loadu_si256(mask.add(4).cast()));
            let (low_four, high_four) =
                (_mm256_unpacklo_epi32(lower, upper), _mm256_unpackhi_epi32(lower, upper));
            _mm256_maskstore_epi64(to.wrapping_sub(4).cast(), high, high_four);
            _mm256_maskstore_epi64(to.wrapping_sub(8).cast(), low, low_four);
            eight = _mm256_add_epi32(eight, step);
            left -= ones;
            bits >>= 8;
        }
    }
}

/// The masks of the highest 0 to 8 of eight lanes, overlapping.
static HIGHEST: [i64; 16] = [0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1];

/// Writes `n` addresses, `from` and up by `size`, below `top`.
///
/// # Safety
/// `n` slots below `top` are the caller's to write.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn ramp(from: usize, size: usize, n: usize, top: *mut *mut u8) {
    let sizes = _mm256_set1_epi64x(size as i64);
    let step = _mm256_slli_epi64(sizes, 2);
    let lanes = _mm256_mul_epu32(sizes, _mm256_setr_epi64x(3, 2, 1, 0));
    let mut four = _mm256_add_epi64(_mm256_set1_epi64x(from as i64), lanes);
    let mut next = _mm256_add_epi64(four, step);
    let mut to = top;
    // SAFETY: whole vectors below top, n / 4 of them, then the n % 4 slots below those.
    unsafe {
        if n >= 8 {
            // A loop in assembly, so that it stays one: unrolled further it costs more than it saves.
            asm!(
                "2:",
                "vmovdqu [{to} - 32], {four}",
                "vmovdqu [{to} - 64], {next}",
                "vpaddq {four}, {four}, {step}",
                "vpaddq {next}, {next}, {step}",
                "sub {to}, 64",
                "cmp {to}, {end}",
                "jne 2b",
                to = inout(reg) to,
                end = in(reg) top.wrapping_sub(n & !7),
                four = inout(ymm_reg) four,
                next = inout(ymm_reg) next,
                step = in(ymm_reg) _mm256_slli_epi64(sizes, 3),
                options(nostack),
            );
        }
        if n & 4 != 0 {
            to = to.sub(4);
            _mm256_storeu_si256(to.cast(), four);
            four = next;
        }
        store_few(four, n % 4, to);
    }
}
