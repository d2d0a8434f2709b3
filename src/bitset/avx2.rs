//! The AVX2 backend: four words to the vector, thirty-two to the step.
//! The searches are those of `search` and `vector_run`; what has no common shape is in `avx2_expand` and `avx2_locate`.
//! `engine` calls it with a token that proves AVX2, BMI1, BMI2 and POPCNT.

use crate::sync::{AtomicU8, AtomicU64};
use core::arch::asm;
use core::arch::x86_64::*;

use super::dispatch::HaveAvx2;
use super::vector::{Vector, entries};
use super::{search, vector_run};

pub(super) use super::avx2_expand::expand;
pub(super) use super::avx2_locate::{count, locate};

entries!(HaveAvx2, __m256i, "avx2,bmi1,bmi2,popcnt");

/// Four vectors that follow each other from an offset on, folded by the given instruction.
macro_rules! fold4 {
    ($p:expr, $at:literal, $fold:literal) => {{
        let folded;
        // SAFETY: reads 128 bytes at p + at, which the caller covers.
        unsafe {
            asm!(
                concat!("vmovdqu {v}, [{p} + ", $at, "]"),
                concat!($fold, " {v}, {v}, [{p} + ", $at, " + 32]"),
                concat!($fold, " {v}, {v}, [{p} + ", $at, " + 64]"),
                concat!($fold, " {v}, {v}, [{p} + ", $at, " + 96]"),
                v = out(ymm_reg) folded,
                p = in(reg) $p,
                options(nostack, preserves_flags, readonly),
            );
        }
        folded
    }};
}

/// Four pairs of vectors, each pair joined by one instruction and the pairs folded by another.
macro_rules! fold4_pairs {
    ($a:expr, $b:expr, $join:literal, $fold:literal) => {{
        let folded;
        // SAFETY: reads 128 bytes at a and at b, which the caller covers.
        unsafe {
            asm!(
                "vmovdqu {v}, [{a}]",
                "vmovdqu {w}, [{a} + 32]",
                concat!($join, " {v}, {v}, [{b}]"),
                concat!($join, " {w}, {w}, [{b} + 32]"),
                "vmovdqu {x}, [{a} + 64]",
                "vmovdqu {y}, [{a} + 96]",
                concat!($join, " {x}, {x}, [{b} + 64]"),
                concat!($join, " {y}, {y}, [{b} + 96]"),
                concat!($fold, " {v}, {v}, {w}"),
                concat!($fold, " {x}, {x}, {y}"),
                concat!($fold, " {v}, {v}, {x}"),
                v = out(ymm_reg) folded,
                w = out(ymm_reg) _,
                x = out(ymm_reg) _,
                y = out(ymm_reg) _,
                a = in(reg) $a,
                b = in(reg) $b,
                options(nostack, preserves_flags, readonly),
            );
        }
        folded
    }};
}

/// Two bytes for each word of four vectors, in the order a01 b01 c01 d01 a23 b23 c23 d23: packing works by halves.
#[inline]
#[target_feature(enable = "avx2")]
fn pack([a, b, c, d]: [__m256i; 4]) -> __m256i {
    _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d))
}

/// Two bits for each word that `pack` packed and that is not all ones.
#[inline]
#[target_feature(enable = "avx2")]
fn zeros(packed: __m256i) -> u32 {
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    !_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(packed, order)).cast_unsigned()
}

/// All ones for each word of four vectors in memory that is 0.
///
/// # Safety
/// The vectors can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn empty4(from: *const AtomicU64) -> [__m256i; 4] {
    let (a, b, c, d);
    // SAFETY: reads 128 bytes, which the caller covers.
    unsafe {
        asm!(
            "vpcmpeqq {a}, {zero}, [{p}]",
            "vpcmpeqq {b}, {zero}, [{p} + 32]",
            "vpcmpeqq {c}, {zero}, [{p} + 64]",
            "vpcmpeqq {d}, {zero}, [{p} + 96]",
            a = out(ymm_reg) a,
            b = out(ymm_reg) b,
            c = out(ymm_reg) c,
            d = lateout(ymm_reg) d,
            zero = in(ymm_reg) _mm256_setzero_si256(),
            p = in(reg) from,
            options(nostack, preserves_flags, readonly),
        );
    }
    [a, b, c, d]
}

impl Vector for __m256i {
    const WORDS: usize = 4;
    const LANE_SHIFT: u32 = 1;
    const BYTE_SHIFT: u32 = 0;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn splat(word: u64) -> Self {
        _mm256_set1_epi64x(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: *const AtomicU64) -> Self {
        let v;
        // SAFETY: reads 32 bytes, which the caller covers.
        unsafe {
            asm!("vmovdqu {v}, [{p}]", v = out(ymm_reg) v, p = in(reg) from,
                options(nostack, preserves_flags, readonly));
        }
        v
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_bytes(from: *const AtomicU8) -> Self {
        let v;
        // SAFETY: reads 32 bytes, which the caller covers.
        unsafe {
            asm!("vmovdqu {v}, [{p}]", v = out(ymm_reg) v, p = in(reg) from,
                options(nostack, preserves_flags, readonly));
        }
        v
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn or8(from: *const AtomicU64) -> (Self, Self) {
        (fold4!(from, "0", "vpor"), fold4!(from, "128", "vpor"))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn and8(from: *const AtomicU64) -> Self {
        let (low, high): (Self, Self) = (fold4!(from, "0", "vpand"), fold4!(from, "128", "vpand"));
        _mm256_and_si256(low, high)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn meet4(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        fold4_pairs!(a, b, "vpand", "vpor")
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn join4(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        fold4_pairs!(a, b, "vpor", "vpand")
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn and(self, other: Self) -> Self {
        _mm256_and_si256(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn or(self, other: Self) -> Self {
        _mm256_or_si256(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn right(self, by: Self) -> Self {
        _mm256_srlv_epi64(self, by)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn left(self, by: Self) -> Self {
        _mm256_sllv_epi64(self, by)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn any(self) -> bool {
        _mm256_testz_si256(self, self) == 0
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn full(self) -> bool {
        _mm256_testc_si256(self, _mm256_set1_epi64x(-1)) != 0
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn without(self, other: Self) -> Self {
        _mm256_andnot_si256(other, self)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn plus_one(self) -> Self {
        _mm256_sub_epi64(self, _mm256_set1_epi64x(-1))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn or_where_full(self, other: Self) -> Self {
        _mm256_or_si256(self, _mm256_cmpeq_epi64(other, _mm256_set1_epi64x(-1)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn lanes(self) -> u64 {
        let zero = _mm256_cmpeq_epi64(self, _mm256_setzero_si256());
        u64::from(_mm256_movemask_pd(_mm256_castsi256_pd(zero)).cast_unsigned() ^ 0xf)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn lanes4([a, b, c, d]: [Self; 4]) -> u64 {
        let zero = _mm256_setzero_si256();
        u64::from(zeros(pack([a, b, c, d].map(|v| _mm256_cmpeq_epi64(v, zero)))))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn lanes4_at(from: *const AtomicU64) -> u64 {
        // SAFETY: reads four vectors, which the caller covers.
        u64::from(zeros(pack(unsafe { empty4(from) })))
    }

    /// What is packed to be tested says where, too: nothing is read twice.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn look8(from: *const AtomicU64) -> Option<usize> {
        // SAFETY: reads eight vectors, which the caller covers.
        let (low, high) = unsafe { (pack(empty4(from)), pack(empty4(from.add(16)))) };
        if _mm256_movemask_epi8(_mm256_and_si256(low, high)) == -1 {
            return None;
        }
        let lanes = u64::from(zeros(low)) | u64::from(zeros(high)) << 32;
        Some((lanes.trailing_zeros() / 2) as usize)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn bytes_at_least(self, least: Self) -> u64 {
        let at_least = _mm256_cmpeq_epi8(_mm256_max_epu8(self, least), self);
        u64::from(_mm256_movemask_epi8(at_least).cast_unsigned())
    }
}
