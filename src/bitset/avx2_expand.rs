//! The AVX2 backend expands bits into pointers in three ways, by what a word looks like.
//! Bits in a row become a ramp that is only added up, dense words go by the byte through a table, sparse ones by fours,
//! where a table loses. Every way writes whole vectors where slots are left and stores the last ones by halves: masked
//! stores are slow on many processors. `avx2` hands this on to `engine`.

use core::arch::asm;
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::dispatch::HaveAvx2;
use super::expand::{BITS_OF_BYTE, Rest, pointer};
use super::vector::Vector;

/// Words with so many bits or fewer are expanded by fours.
const SPARSE: usize = 24;

/// So many bits in a row are expanded by adding up, without looking at them.
const RAMP: usize = 16;

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
        let low = _tzcnt_u64(bits);
        if _tzcnt_u64(!(bits >> low)) as usize >= k {
            ramp(first.wrapping_add(low as usize * size), size, k, top);
            (*at).store(bits & !(_bzhi_u64(!0, k as u32) << low), Relaxed);
            return Rest { left: 0, at };
        }
        let ones = bits.count_ones() as usize;
        if ones <= 4 {
            return expand_sparse(at, end, k, first, size, top);
        }
        if k > SPARSE && ones >= k && within(first, size) {
            let take = _pdep_u64(_bzhi_u64(!0, k as u32), bits);
            (*at).store(bits ^ take, Relaxed);
            dense(take, first, size, top.sub(k), k, 0);
            return Rest { left: 0, at };
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
    mut left: usize,
    first: usize,
    size: usize,
    mut top: *mut *mut u8,
) -> Rest {
    let sizes = _mm256_set1_epi64x(size as i64);
    let step = _mm256_slli_epi64(sizes, 6);
    let mut first = _mm256_set1_epi64x(first as i64);
    // SAFETY: words are read below end only; `left` slots below top are still the caller's to write.
    unsafe {
        while left >= 4 && at != end {
            let bits = (*at).load(Relaxed);
            let ones = bits.count_ones() as usize;
            if ones.wrapping_sub(2) <= 2 {
                (*at).store(0, Relaxed);
                let (four, _) = four_bits(bits, first, sizes);
                _mm256_storeu_si256(top.sub(4).cast(), four);
                top = top.sub(ones);
                left -= ones;
            } else if ones == 1 {
                (*at).store(0, Relaxed);
                top = top.sub(1);
                left -= 1;
                one_bit(bits, first, size, top);
            } else if ones != 0 {
                return expand_words(at, end, left, low_lane(first), size, top);
            }
            first = _mm256_add_epi64(first, step);
            at = at.add(1);
        }
        last_few(at, end, left, first, sizes, top)
    }
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
            } else if n == 1 {
                (*at).store(0, Relaxed);
                left -= 1;
                one_bit(bits, first, size, bottom.add(left));
            } else if n != 0 {
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

/// Writes the address of the lowest bit to a slot.
///
/// # Safety
/// The slot is the caller's to write.
#[inline]
#[target_feature(enable = "avx2,bmi1")]
pub(super) unsafe fn one_bit(bits: u64, first: __m256i, size: usize, slot: *mut *mut u8) {
    let address = low_lane(first).wrapping_add((_tzcnt_u64(bits) as usize).wrapping_mul(size));
    // SAFETY: the slot.
    unsafe { slot.write(pointer(address)) };
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

/// Stores the highest `n` (0 to 4) lanes below `top`.
///
/// # Safety
/// So many slots below `top` are the caller's to write.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_few(four: __m256i, n: usize, top: *mut *mut u8) {
    // SAFETY: n is at most 4, so four entries follow; the mask has no lane but the caller's.
    unsafe {
        let mask = _mm256_loadu_si256(HIGHEST.as_ptr().add(4 + n).cast());
        _mm256_maskstore_epi64(top.wrapping_sub(4).cast(), mask, four);
    }
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

/// Whether the 64 blocks from `first` on lie within 4 GiB that share the upper half of their addresses.
#[inline(always)]
fn within(first: usize, size: usize) -> bool {
    (first ^ first.wrapping_add(size.wrapping_mul(63))) >> 32 == 0
}

/// A word of many bits, by bytes: the table says where each of eight addresses goes, whether the byte has its bit or
/// not; what is not one is overwritten later. Only the lower halves are computed and moved about.
///
/// # Safety
/// `left` slots from `bottom` on are the caller's to write, and there are `left - until` bits. No address of the word's
/// 64 blocks differs from `first` in its upper half.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn dense(
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
unsafe fn ramp(from: usize, size: usize, n: usize, top: *mut *mut u8) {
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
