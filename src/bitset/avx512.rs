//! The AVX-512 backend: eight words to the vector, sixty-four to the step.
//! The searches are those of `search` and `vector_run`; what has no common shape is in `avx512_batch`.
//! `engine` calls it with a token that proves F, BW, DQ, VL, IFMA, VBMI, VBMI2 and VPOPCNTDQ (Ice Lake, Zen 4 and later).

use crate::sync::{AtomicU8, AtomicU64};
use core::arch::asm;
use core::arch::x86_64::*;

use super::dispatch::HaveAvx512;
use super::vector::{Vector, entries};
use super::{search, vector_run};

pub(super) use super::avx512_batch::{count, expand, locate};

entries!(
    HaveAvx512,
    __m512i,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt"
);

/// Four vectors that follow each other from an offset on, folded: `vpternlogq` takes three at a time, by its table
/// (0xfe: OR, 0x80: AND).
macro_rules! fold4 {
    ($p:expr, $at:literal, $fold:literal, $table:literal) => {{
        let folded;
        // SAFETY: reads 256 bytes at p + at, which the caller covers.
        unsafe {
            asm!(
                concat!("vmovdqu64 {v}, [{p} + ", $at, "]"),
                concat!("vmovdqu64 {w}, [{p} + ", $at, " + 64]"),
                concat!("vpternlogq {v}, {w}, [{p} + ", $at, " + 128], ", $table),
                concat!($fold, " {v}, {v}, [{p} + ", $at, " + 192]"),
                v = out(zmm_reg) folded,
                w = out(zmm_reg) _,
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

/// Four masks of eight in a row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pack([a, b, c, d]: [__mmask8; 4]) -> u64 {
    let low = _mm512_kunpackb(b.into(), a.into());
    let high = _mm512_kunpackb(d.into(), c.into());
    u64::from(_mm512_kunpackw(high.into(), low.into()))
}

impl Vector for __m512i {
    const WORDS: usize = 8;
    const LANE_SHIFT: u32 = 0;
    const BYTE_SHIFT: u32 = 0;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn splat(word: u64) -> Self {
        _mm512_set1_epi64(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: *const AtomicU64) -> Self {
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
    unsafe fn load_bytes(from: *const AtomicU8) -> Self {
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
    unsafe fn or8(from: *const AtomicU64) -> (Self, Self) {
        (fold4!(from, "0", "vporq", "0xfe"), fold4!(from, "256", "vporq", "0xfe"))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn and8(from: *const AtomicU64) -> Self {
        let (low, high): (Self, Self) =
            (fold4!(from, "0", "vpandq", "0x80"), fold4!(from, "256", "vpandq", "0x80"));
        _mm512_and_si512(low, high)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn meet4(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        fold4_pairs!(a, b, "vpandq", "vporq")
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn join4(a: *const AtomicU64, b: *const AtomicU64) -> Self {
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
    unsafe fn without(self, other: Self) -> Self {
        _mm512_andnot_si512(other, self)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn plus_one(self) -> Self {
        _mm512_sub_epi64(self, _mm512_set1_epi64(-1))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn or_where_full(self, other: Self) -> Self {
        let ones = _mm512_set1_epi64(-1);
        _mm512_mask_mov_epi64(self, _mm512_cmpeq_epi64_mask(other, ones), ones)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn lanes(self) -> u64 {
        u64::from(_mm512_test_epi64_mask(self, self))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn lanes4(four: [Self; 4]) -> u64 {
        pack(four.map(|v| _mm512_test_epi64_mask(v, v)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn lanes4_at(from: *const AtomicU64) -> u64 {
        let (a, b, c, d);
        // SAFETY: reads 256 bytes, which the caller covers.
        unsafe {
            asm!(
                "vptestmq {a}, {ones}, [{p}]",
                "vptestmq {b}, {ones}, [{p} + 64]",
                "vptestmq {c}, {ones}, [{p} + 128]",
                "vptestmq {d}, {ones}, [{p} + 192]",
                a = out(kreg) a,
                b = out(kreg) b,
                c = out(kreg) c,
                d = out(kreg) d,
                ones = in(zmm_reg) _mm512_set1_epi64(-1),
                p = in(reg) from,
                options(nostack, preserves_flags, readonly),
            );
        }
        pack([a, b, c, d])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn bytes_at_least(self, least: Self) -> u64 {
        _mm512_cmpge_epu8_mask(self, least)
    }
}
