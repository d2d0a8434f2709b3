//! The AVX-512 backend: eight words to the vector, thirty-two to the step.
//! Searches are those of `vector`; expanding and locating, which have no common shape, are in `avx512_batch`.
//! `engine` calls it with a token that proves F, BW, DQ, VL, VBMI, VBMI2 and VPOPCNTDQ (Ice Lake, Zen 4 and later).

use core::arch::asm;
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, AtomicU64};

use super::dispatch::HaveAvx512;
use super::vector::{self, Vector, entries};

pub(super) use super::avx512_batch::{count, expand, locate};

entries!(
    HaveAvx512,
    __m512i,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt"
);

/// Four vectors that follow each other, folded by the given instruction.
macro_rules! fold4 {
    ($p:expr, $fold:literal) => {{
        let folded;
        // SAFETY: reads 256 bytes at p, which the caller covers.
        unsafe {
            asm!(
                "vmovdqu64 {v}, [{p}]",
                concat!($fold, " {v}, {v}, [{p} + 64]"),
                concat!($fold, " {v}, {v}, [{p} + 128]"),
                concat!($fold, " {v}, {v}, [{p} + 192]"),
                v = out(zmm_reg) folded,
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
        // SAFETY: reads 256 bytes at a and at b, which the caller covers.
        unsafe {
            asm!(
                "vmovdqu64 {v}, [{a}]",
                "vmovdqu64 {w}, [{a} + 64]",
                concat!($join, " {v}, {v}, [{b}]"),
                concat!($join, " {w}, {w}, [{b} + 64]"),
                "vmovdqu64 {x}, [{a} + 128]",
                "vmovdqu64 {y}, [{a} + 192]",
                concat!($join, " {x}, {x}, [{b} + 128]"),
                concat!($join, " {y}, {y}, [{b} + 192]"),
                concat!($fold, " {v}, {v}, {w}"),
                concat!($fold, " {x}, {x}, {y}"),
                concat!($fold, " {v}, {v}, {x}"),
                v = out(zmm_reg) folded,
                w = out(zmm_reg) _,
                x = out(zmm_reg) _,
                y = out(zmm_reg) _,
                a = in(reg) $a,
                b = in(reg) $b,
                options(nostack, preserves_flags, readonly),
            );
        }
        folded
    }};
}

impl Vector for __m512i {
    const WORDS: usize = 8;
    const STEP: usize = 4;
    const BYTE_SHIFT: u32 = 0;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn splat(word: u64) -> Self {
        _mm512_set1_epi64(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: *const u8) -> Self {
        let v;
        // SAFETY: reads 64 bytes, which the caller covers.
        unsafe {
            asm!("vmovdqu64 {v}, [{p}]", v = out(zmm_reg) v, p = in(reg) from,
                options(nostack, preserves_flags, readonly));
        }
        v
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn or_step(from: *const AtomicU64) -> Self {
        fold4!(from, "vporq")
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn and_step(from: *const AtomicU64) -> Self {
        fold4!(from, "vpandq")
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn meet_step(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        fold4_pairs!(a, b, "vpandq", "vporq")
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn join_step(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        fold4_pairs!(a, b, "vporq", "vpandq")
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn and(self, other: Self) -> Self {
        _mm512_and_si512(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn or(self, other: Self) -> Self {
        _mm512_or_si512(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn right(self, by: Self) -> Self {
        _mm512_srlv_epi64(self, by)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn left(self, by: Self) -> Self {
        _mm512_sllv_epi64(self, by)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn any(self) -> bool {
        _mm512_test_epi64_mask(self, self) != 0
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn full(self) -> bool {
        _mm512_cmpneq_epi64_mask(self, _mm512_set1_epi64(-1)) == 0
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn nonzero(self) -> u32 {
        u32::from(_mm512_test_epi64_mask(self, self))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn full_lanes<const WIDTH: u32>(self) -> Self {
        let ones = _mm512_set1_epi64(-1);
        match WIDTH {
            8 => _mm512_movm_epi8(_mm512_cmpeq_epi8_mask(self, ones)),
            16 => _mm512_movm_epi16(_mm512_cmpeq_epi16_mask(self, ones)),
            _ => _mm512_maskz_set1_epi32(_mm512_cmpeq_epi32_mask(self, ones), -1),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn bytes_at_least(self, least: Self) -> u64 {
        _mm512_cmpge_epu8_mask(self, least)
    }
}
