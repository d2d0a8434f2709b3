//! The AVX2 backend expands bits into pointers in three ways, by what a word looks like.
//! Bits in a row become a ramp that is only added up, dense words go by the byte through a table, sparse ones bit by
//! bit, where a table loses. `avx2` hands this on to `engine`; `avx512_batch` borrows the sparse part.

use core::arch::asm;
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Expanded;
use super::dispatch::HaveAvx2;
use super::expand::{BITS_OF_BYTE, pointer};

/// Words with so many bits or fewer are expanded bit by bit.
const SPARSE: usize = 24;

/// Words with so many bits or fewer are expanded without a look at how many they have.
const FEW: usize = 4;

/// So many bits in a row are expanded by adding up, without looking at them.
const RAMP: usize = 16;

/// Takes bits and writes pointers: see `Engine::expand`.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(always)]
pub(super) unsafe fn expand(
    _: HaveAvx2,
    local: &[AtomicU64],
    from_word: usize,
    k: usize,
    base: usize,
    size: usize,
    out_top: *mut *mut u8,
) -> Expanded {
    // SAFETY: the token proves the features; the rest is the caller's promise.
    unsafe { expand_featured(local, from_word, k, base, size, out_top) }
}

/// `expand`: at once where the first word has enough bits, in a row as in a slab just carved, or dense.
///
/// # Safety
/// Those of `Engine::expand`.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn expand_featured(
    local: &[AtomicU64],
    from_word: usize,
    k: usize,
    base: usize,
    size: usize,
    out_top: *mut *mut u8,
) -> Expanded {
    let mut ones = 0;
    if let Some(word) = local.get(from_word) {
        let bits = word.load(Relaxed);
        let address = |bit: usize| base.wrapping_add((from_word * 64 + bit).wrapping_mul(size));
        // SAFETY: the k slots are the caller's to write.
        unsafe {
            if bits != 0 {
                let skip = _tzcnt_u64(bits) as usize;
                if _tzcnt_u64(!(bits >> skip)) as usize >= k {
                    ramp(address(skip), size, k, out_top);
                    word.store(bits & !(_bzhi_u64(!0, k as u32) << skip), Relaxed);
                    return Expanded { taken: k, next_word: from_word };
                }
            }
            ones = bits.count_ones() as usize;
            if ones >= k && ones > SPARSE {
                let (rest, _) = bytes(bits, address(0), size, out_top.wrapping_sub(k), k);
                word.store(rest, Relaxed);
                return Expanded { taken: k, next_word: from_word };
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        if ones > FEW {
            return expand_words(local, from_word, k, base, size, out_top);
        }
        expand_sparse(local, from_word, k, base, size, out_top)
    }
}

/// `expand` for words of up to four bits; goes over to `expand_words` at the first that has more. Kept apart from it because a loop without calls keeps everything in registers.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn expand_sparse(
    local: &[AtomicU64],
    from_word: usize,
    k: usize,
    base: usize,
    size: usize,
    out_top: *mut *mut u8,
) -> Expanded {
    let sizes = _mm256_set1_epi64x(size as i64);
    let step = _mm256_slli_epi64(sizes, 6);
    let mut first =
        _mm256_set1_epi64x(base.wrapping_add((from_word * 64).wrapping_mul(size)) as i64);
    let mut top = out_top;
    let mut left = k;
    let mut index = from_word;
    // SAFETY: index is below the length; the left slots below top are the caller's to write, and four are written
    // only where four are left.
    unsafe {
        while left >= 4 && index < local.len() {
            let word = local.get_unchecked(index);
            let bits = word.load(Relaxed);
            let ones = bits.count_ones() as usize;
            if ones > FEW {
                let then = expand_words(local, index, left, base, size, top);
                return Expanded { taken: k - left + then.taken, next_word: then.next_word };
            }
            if ones > 1 {
                word.store(0, Relaxed);
                four_bits(bits, first, sizes, top);
            } else if ones != 0 {
                word.store(0, Relaxed);
                one_bit(bits, low_lane(first), size, top);
            }
            top = top.sub(ones);
            left -= ones;
            first = _mm256_add_epi64(first, step);
            index += 1;
        }
        while left != 0 && index < local.len() {
            let word = local.get_unchecked(index);
            let mut bits = word.load(Relaxed);
            while bits != 0 && left != 0 {
                bits = one_bit(bits, low_lane(first), size, top);
                top = top.sub(1);
                left -= 1;
            }
            word.store(bits, Relaxed);
            if bits != 0 {
                break;
            }
            first = _mm256_add_epi64(first, step);
            index += 1;
        }
    }
    Expanded { taken: k - left, next_word: index }
}

/// The lowest lane.
#[inline]
#[target_feature(enable = "avx2")]
fn low_lane(v: __m256i) -> usize {
    _mm_cvtsi128_si64(_mm256_castsi256_si128(v)) as usize
}

/// `expand`, word by word. The next pointer goes below `bottom + left`.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn expand_words(
    local: &[AtomicU64],
    from_word: usize,
    k: usize,
    base: usize,
    size: usize,
    out_top: *mut *mut u8,
) -> Expanded {
    let bottom = out_top.wrapping_sub(k);
    let mut left = k;
    let mut index = from_word;
    let mut first = base.wrapping_add(from_word.wrapping_mul(64).wrapping_mul(size));
    // SAFETY: index is below the length; the slots from bottom to bottom + left are the caller's to write.
    unsafe {
        while left != 0 && index < local.len() {
            let word = local.get_unchecked(index);
            let bits = word.load(Relaxed);
            if bits != 0 {
                let ones = bits.count_ones() as usize;
                let (rest, still) = if ones > SPARSE {
                    dense(bits, first, size, bottom, left)
                } else {
                    sparse(bits, ones, first, size, bottom, left)
                };
                word.store(rest, Relaxed);
                left = still;
                if rest != 0 {
                    break;
                }
            }
            index += 1;
            first = first.wrapping_add(64 * size);
        }
    }
    Expanded { taken: k - left, next_word: index }
}

/// Writes the addresses of the lowest four bits below `top`, whether there are so many or not (what is not a bit is
/// overwritten later); returns the other bits.
///
/// The four bit numbers travel in one register to be multiplied at once: scalar multiplication competes with `tzcnt`
/// for the same port.
///
/// # Safety
/// Four slots below `top` are the caller's to write.
#[inline]
#[target_feature(enable = "avx2,bmi1")]
pub(super) unsafe fn four_bits(
    mut bits: u64,
    first: __m256i,
    sizes: __m256i,
    top: *mut *mut u8,
) -> u64 {
    let mut packed = _tzcnt_u64(bits);
    for _ in 1..4 {
        bits = _blsr_u64(bits);
        packed = packed << 16 | _tzcnt_u64(bits);
    }
    let numbers = _mm256_cvtepu16_epi64(_mm_cvtsi64_si128(packed.cast_signed()));
    let addresses = _mm256_add_epi64(_mm256_mul_epu32(numbers, sizes), first);
    // SAFETY: the four slots.
    unsafe { _mm256_storeu_si256(top.sub(4).cast(), addresses) };
    _blsr_u64(bits)
}

/// Writes the address of the lowest bit below `top`; returns the other bits.
///
/// # Safety
/// A slot below `top` is the caller's to write.
#[inline]
#[target_feature(enable = "bmi1")]
pub(super) unsafe fn one_bit(bits: u64, first: usize, size: usize, top: *mut *mut u8) -> u64 {
    let address = first.wrapping_add(_tzcnt_u64(bits) as usize * size);
    // SAFETY: the slot.
    unsafe { top.sub(1).write(pointer(address)) };
    _blsr_u64(bits)
}

/// A word of `ones` bits four by four, and bit by bit to the last slot. Returns the bits and the slots that are left.
///
/// # Safety
/// `left` slots from `bottom` on are the caller's to write.
#[inline]
#[target_feature(enable = "avx2,bmi1")]
unsafe fn sparse(
    mut bits: u64,
    ones: usize,
    first: usize,
    size: usize,
    bottom: *mut *mut u8,
    mut left: usize,
) -> (u64, usize) {
    let sizes = _mm256_set1_epi64x(size as i64);
    let all = _mm256_set1_epi64x(first as i64);
    let mut fours = ones.min(left) / 4;
    // SAFETY: left counts the slots; four are written only where four are left.
    unsafe {
        while fours != 0 {
            bits = four_bits(bits, all, sizes, bottom.add(left));
            left -= 4;
            fours -= 1;
        }
        if bits != 0 && left >= 4 {
            four_bits(bits, all, sizes, bottom.add(left));
            return (0, left - ones % 4);
        }
        while bits != 0 && left != 0 {
            bits = one_bit(bits, first, size, bottom.add(left));
            left -= 1;
        }
    }
    (bits, left)
}

/// A word of many bits, by rows and by bytes. Returns the bits and the slots that are left.
///
/// # Safety
/// `left` slots from `bottom` on are the caller's to write.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn dense(
    mut bits: u64,
    first: usize,
    size: usize,
    bottom: *mut *mut u8,
    mut left: usize,
) -> (u64, usize) {
    // SAFETY: left counts the slots that may still be written, and each way below writes no more.
    unsafe {
        loop {
            let skip = _tzcnt_u64(bits) as usize;
            let row = _tzcnt_u64(!(bits >> skip)) as usize;
            if row < RAMP {
                return bytes(bits, first, size, bottom, left);
            }
            let n = row.min(left);
            ramp(first.wrapping_add(skip * size), size, n, bottom.add(left));
            left -= n;
            bits &= !(!0u64 >> (64 - n) << skip);
            if left == 0 || bits == 0 {
                return (bits, left);
            }
        }
    }
}

/// The masks of the highest 0 to 4 lanes, overlapping.
static HIGHEST: [i64; 8] = [0, 0, 0, 0, -1, -1, -1, -1];

/// The mask of the highest `n` (0 to 4) lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn highest(n: usize) -> __m256i {
    // SAFETY: n is at most 4, so four entries follow.
    unsafe { _mm256_loadu_si256(HIGHEST.as_ptr().add(n.min(4)).cast()) }
}

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
    // SAFETY: whole vectors below top, n / 4 of them, then the n % 4 slots below those: the mask has no other lane.
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
        _mm256_maskstore_epi64(to.wrapping_sub(4).cast(), highest(n % 4), four);
    }
}

/// A word by its bytes: the table gives eight bit numbers, whether the byte has them or not; what is not one is
/// overwritten later. Returns the bits and the slots that are left.
///
/// # Safety
/// `left` slots from `bottom` on are the caller's to write.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
unsafe fn bytes(
    mut bits: u64,
    first: usize,
    size: usize,
    bottom: *mut *mut u8,
    mut left: usize,
) -> (u64, usize) {
    let sizes = _mm256_set1_epi64x(size as i64);
    let step = _mm256_slli_epi64(sizes, 3);
    let mut origin = _mm256_set1_epi64x(first as i64);
    let mut done = 0;
    // SAFETY: eight slots are written where eight are left, otherwise so many through masks; the table has an entry of
    // eight bytes for every byte.
    unsafe {
        while bits != 0 && left != 0 {
            let byte = bits as u8;
            let ones = byte.count_ones() as usize;
            let entry: *const u8 = BITS_OF_BYTE.as_ptr().add(usize::from(byte)).cast();
            let low = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(entry.cast::<i32>().read()));
            let high = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(entry.add(4).cast::<i32>().read()));
            let low = _mm256_add_epi64(_mm256_mul_epu32(low, sizes), origin);
            let high = _mm256_add_epi64(_mm256_mul_epu32(high, sizes), origin);
            let top = bottom.add(left);
            if left >= 8 {
                _mm256_storeu_si256(top.sub(4).cast(), high);
                _mm256_storeu_si256(top.sub(8).cast(), low);
            } else {
                _mm256_maskstore_epi64(top.wrapping_sub(4).cast(), highest(left), high);
                let below = highest(left.saturating_sub(4));
                _mm256_maskstore_epi64(top.wrapping_sub(8).cast(), below, low);
                if ones > left {
                    // The entry also tells which bit was the last taken.
                    let last = entry.add(8 - left).read();
                    return ((bits & (!1 << last)) << done, 0);
                }
            }
            origin = _mm256_add_epi64(origin, step);
            left -= ones;
            bits >>= 8;
            done += 8;
        }
    }
    // done is 64 only when no bits are left.
    (bits << (done & 63), left)
}
