//! The AVX-512 backend's batch operations: expand bits into pointers, locate pointers, count bits.
//! `vpcompressb` turns a word into its bit numbers at once, so one way serves dense and sparse words; masks serve the
//! ends, so nothing is written or read beyond them. `avx512` hands these on to `engine`.

use crate::sync::{AtomicU64, Ordering::Relaxed};
use core::arch::x86_64::*;

use super::avx2_expand::{four_bits, singles};
use super::dispatch::HaveAvx512;
use super::expand::Rest;
use super::vector::Vector;
use super::{BATCH, Located, Spacing, scalar};

/// How many bits are set.
#[inline(always)]
pub(super) fn count(_: HaveAvx512, words: &[AtomicU64]) -> usize {
    // SAFETY: the token proves the features.
    unsafe { count_featured(words) }
}

/// `count`, eight words at a time.
#[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
fn count_featured(words: &[AtomicU64]) -> usize {
    let (eights, rest) = words.as_chunks::<8>();
    let mut sum = _mm512_setzero_si512();
    for eight in eights {
        // SAFETY: reads the eight words; this function has the features.
        let bits = unsafe { <__m512i as Vector>::load(eight.as_ptr()) };
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(bits));
    }
    let sum = _mm512_reduce_add_epi64(sum) as usize;
    rest.iter().fold(sum, |sum, w| sum + w.load(Relaxed).count_ones() as usize)
}

/// Takes bits and writes pointers: see `Engine::expand`.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(always)]
pub(super) unsafe fn expand(
    _: HaveAvx512,
    words: &[AtomicU64],
    k: usize,
    base: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    // SAFETY: the token proves the features; the rest is the caller's promise.
    unsafe { expand_featured(words, k, base, size, top) }
}

/// A vector in memory, in one cache line.
#[repr(align(64))]
struct Line([u8; 64]);

impl Line {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(&self) -> __m512i {
        // SAFETY: 64 bytes at a multiple of 64.
        unsafe { _mm512_load_si512(self.0.as_ptr().cast()) }
    }
}

/// The numbers 0 to 63.
static NUMBERS: Line = {
    let mut numbers = [0; 64];
    let mut i = 0;
    while i < 64 {
        numbers[i] = i as u8;
        i += 1;
    }
    Line(numbers)
};

/// Byte permutations that spread the next eight bytes over the lanes, the first into the highest lane. The other bytes
/// come from byte 63, which is 0 where no more than 63 bits were packed.
static TURNED: [Line; 4] = {
    let mut turned = [const { Line([63; 64]) }; 4];
    let mut i = 0;
    while i < 32 {
        turned[i / 8].0[8 * (7 - i % 8)] = i as u8;
        i += 1;
    }
    turned
};

/// `expand`: over the empty words at the beginning, then at once where the first word has enough bits.
///
/// Its bit numbers are compressed to the front; of them eight at a time, turned round so that the lowest comes into the
/// highest lane, become 64-bit lanes by one byte permutation, and addresses by one multiplication and addition.
///
/// # Safety
/// Those of `Engine::expand`.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt"
)]
unsafe fn expand_featured(
    words: &[AtomicU64],
    k: usize,
    base: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    let range = words.as_ptr_range();
    let (mut at, end) = (range.start, range.end);
    // SAFETY: vectors and words are read below end only; the tables are read; what is written are k slots: whole
    // vectors of eight where there are more than eight, and the last one to eight through a mask.
    unsafe {
        while (end as usize) - (at as usize) >= 64 && !<__m512i as Vector>::load(at).any() {
            at = at.add(8);
        }
        let bits = loop {
            if at == end {
                return Rest { left: k, at };
            }
            let bits = (*at).load(Relaxed);
            if bits != 0 {
                break bits;
            }
            at = at.add(1);
        };
        let skipped = (at as usize) - (range.start as usize);
        let first = base.wrapping_add((skipped * 8).wrapping_mul(size));
        if k > 32 || (bits.count_ones() as usize) < k {
            return expand_words(at, end, k, first, size, top);
        }
        let take = _pdep_u64(_bzhi_u64(!0, k as u32), bits);
        (*at).store(bits ^ take, Relaxed);
        let (first, sizes) = (_mm512_set1_epi64(first as i64), _mm512_set1_epi64(size as i64));
        let packed = _mm512_maskz_compress_epi8(take, NUMBERS.load());
        let eight = |i: usize| {
            let lanes = _mm512_permutexvar_epi8(TURNED[i].load(), packed);
            _mm512_madd52lo_epu64(first, lanes, sizes)
        };
        let last = |i: usize| {
            let mask = (0xff00u32 >> (k - 8 * i)) as __mmask8;
            let to = top.wrapping_sub(8 + 8 * i).cast();
            _mm512_mask_storeu_epi64(to, mask, eight(i));
        };
        if k <= 8 {
            last(0);
        } else {
            _mm512_storeu_si512(top.sub(8).cast(), eight(0));
            if k <= 16 {
                last(1);
            } else {
                _mm512_storeu_si512(top.sub(16).cast(), eight(1));
                if k <= 24 {
                    last(2);
                } else {
                    _mm512_storeu_si512(top.sub(24).cast(), eight(2));
                    last(3);
                }
            }
        }
        Rest { left: 0, at }
    }
}

/// `expand`, word by word: `first` is the address of the first bit of the word at `at`, the next pointer goes below
/// `top`.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(never)]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx512ifma,avx2,bmi1,bmi2,popcnt"
)]
unsafe fn expand_words(
    mut at: *const AtomicU64,
    end: *const AtomicU64,
    k: usize,
    first: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    let numbers = NUMBERS.load();
    let first_eight = _mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    let sizes = _mm512_set1_epi64(size as i64);
    let step = _mm512_slli_epi64(sizes, 6);
    let mut first = _mm512_set1_epi64(first as i64);
    let bottom = top.wrapping_sub(k);
    let mut left = k;
    // SAFETY: words are read below end only; what is written are slots below bottom + left, which is at most left:
    // whole vectors of eight where so many are left, otherwise through a mask.
    unsafe {
        while left != 0 && at != end {
            let bits = (*at).load(Relaxed);
            let mut ones = bits.count_ones() as usize;
            if ones <= 1 {
                let low = _mm_cvtsi128_si64(_mm512_castsi512_si128(first)) as usize;
                let next;
                (at, left, next) = singles(at, end, left, low, size, bottom);
                first = _mm512_set1_epi64(next as i64);
                continue;
            } else if ones <= 4 && left >= 4 {
                // Cheaper than packing; what is not a bit is overwritten later.
                (*at).store(0, Relaxed);
                let (first, sizes) = (_mm512_castsi512_si256(first), _mm512_castsi512_si256(sizes));
                let (four, _) = four_bits(bits, first, sizes);
                _mm256_storeu_si256(bottom.add(left).sub(4).cast(), four);
                left -= ones;
            } else {
                let mut take = bits;
                if ones > left {
                    take = _pdep_u64(_bzhi_u64(!0, left as u32), bits);
                    ones = left;
                }
                (*at).store(bits ^ take, Relaxed);
                let mut top = bottom.wrapping_add(left);
                left -= ones;
                let packed = _mm512_maskz_compress_epi8(take, numbers);
                let mut turned = first_eight;
                loop {
                    let lanes = _mm512_maskz_permutexvar_epi8(LOW_BYTES, turned, packed);
                    let addresses = _mm512_madd52lo_epu64(first, lanes, sizes);
                    top = top.wrapping_sub(8);
                    if ones <= 8 {
                        let mask = (0xff00u32 >> ones) as __mmask8;
                        _mm512_mask_storeu_epi64(top.cast(), mask, addresses);
                        break;
                    }
                    _mm512_storeu_si512(top.cast(), addresses);
                    ones -= 8;
                    turned = _mm512_add_epi64(turned, _mm512_set1_epi64(8));
                }
                if bits != take {
                    break;
                }
            }
            first = _mm512_add_epi64(first, step);
            at = at.add(1);
        }
    }
    Rest { left, at }
}

/// The lowest byte of each 64-bit lane.
const LOW_BYTES: u64 = 0x0101_0101_0101_0101;

/// Finds unit and index of each pointer: see `Engine::locate`.
///
/// # Safety
/// Those of `Engine::locate`, and `k` is at most `BATCH`.
#[inline(always)]
pub(super) unsafe fn locate(
    _: HaveAvx512,
    pointers: *const *mut u8,
    k: usize,
    base: usize,
    units: usize,
    spacing: &Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    // SAFETY: the token proves the features; the rest is the caller's promise.
    unsafe { locate_featured(pointers, k, base, units, spacing, out) }
}

/// `locate`, eight pointers at a time.
///
/// # Safety
/// Those of `locate`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
unsafe fn locate_featured(
    pointers: *const *mut u8,
    k: usize,
    base: usize,
    units: usize,
    spacing: &Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    let base_all = _mm512_set1_epi64(base as i64);
    let limit = _mm512_set1_epi64((units.min(1 << 47) << 16) as i64);
    let within = _mm512_set1_epi64(0xffff);
    let reciprocal = _mm512_set1_epi64(i64::from(spacing.reciprocal()));
    let size = _mm512_set1_epi64(spacing.size() as i64);
    // Where the last whole block of a unit begins.
    let last = _mm512_set1_epi64(((spacing.blocks() - 1) * spacing.size()) as i64);
    let to: *mut __m512i = out.as_mut_ptr().cast();
    let eight = |addresses: __m512i, at: usize| {
        let distance = _mm512_sub_epi64(addresses, base_all);
        let offset = _mm512_and_si512(distance, within);
        let product = _mm512_mul_epu32(offset, reciprocal); // the index is its upper half
        let start = _mm512_mul_epu32(_mm512_srli_epi64(product, 32), size);
        let unit = _mm512_srli_epi64(distance, 16);
        let located = _mm512_mask_mov_epi32(unit, 0b1010_1010_1010_1010, product);
        // SAFETY: at is at most BATCH - 8, so 64 bytes from there lie within out.
        unsafe { _mm512_storeu_si512(to.byte_add(at * 8).cast(), located) };
        (start, offset, distance)
    };
    // SAFETY: reads k pointers: by eights, the last eight overlapping those before, or through a mask that has no
    // other.
    let wrong = unsafe {
        if k >= 8 {
            let mut misaligned = _mm512_setzero_si512();
            let mut farthest = _mm512_setzero_si512();
            let mut highest = _mm512_setzero_si512();
            let mut i = 0;
            loop {
                let at = i.min(k - 8);
                let addresses = _mm512_loadu_si512(pointers.add(at).cast());
                let (start, offset, distance) = eight(addresses, at);
                // misaligned | (start ^ offset)
                misaligned = _mm512_ternarylogic_epi64(misaligned, start, offset, 0xf6);
                farthest = _mm512_max_epu64(farthest, distance);
                highest = _mm512_max_epu32(highest, start);
                i += 8;
                if i >= k {
                    break;
                }
            }
            _mm512_test_epi64_mask(misaligned, misaligned)
                | _mm512_cmpge_epu64_mask(farthest, limit)
                | _mm512_cmpgt_epu64_mask(highest, last)
        } else {
            let mask = _bzhi_u32(0xff, k as u32) as __mmask8;
            let few = _mm512_maskz_loadu_epi64(mask, pointers.cast());
            let (start, offset, distance) = eight(few, 0);
            _mm512_mask_cmpneq_epi64_mask(mask, start, offset)
                | _mm512_mask_cmpge_epu64_mask(mask, distance, limit)
                | _mm512_mask_cmpgt_epu64_mask(mask, start, last)
        }
    };
    if wrong == 0 {
        return 0;
    }
    // Something is wrong somewhere: rare enough to be looked at one by one.
    // SAFETY: the caller's promise.
    unsafe { scalar::locate(pointers, k, base, units, spacing, out) }
}
