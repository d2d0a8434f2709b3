//! The NEON backend: two words to the vector, sixteen to the step. The searches are those of `search` and `vector_run`.
//! Expanding and locating stay scalar here: NEON has neither a compress nor a 64-bit multiply, its vectors hold two
//! pointers, and aarch64 does a block in six scalar instructions (rbit, clz, madd, str, sub, and).

use crate::sync::{AtomicU8, AtomicU64, Ordering::Relaxed};
use core::arch::aarch64::*;
use core::arch::asm;

use super::dispatch::HaveNeon;
use super::expand::Rest;
use super::vector::{Vector, entries};
use super::{BATCH, Located, Spacing, scalar, search, vector_run};

entries!(HaveNeon, uint64x2_t, "neon");

/// Four vectors that follow each other from an offset on, folded by the given instruction.
macro_rules! fold4 {
    ($p:expr, $at:literal, $fold:literal) => {{
        let folded;
        // SAFETY: reads 64 bytes at p + at, which the caller covers.
        unsafe {
            asm!(
                concat!("ldp {a:q}, {b:q}, [{p}, ", $at, "]"),
                concat!("ldp {c:q}, {d:q}, [{p}, ", $at, " + 32]"),
                concat!($fold, " {a:v}.16b, {a:v}.16b, {b:v}.16b"),
                concat!($fold, " {c:v}.16b, {c:v}.16b, {d:v}.16b"),
                concat!($fold, " {a:v}.16b, {a:v}.16b, {c:v}.16b"),
                a = out(vreg) folded,
                b = out(vreg) _,
                c = out(vreg) _,
                d = out(vreg) _,
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
        // SAFETY: reads 64 bytes at a and at b, which the caller covers.
        unsafe {
          asm!(
            "ldp {v:q}, {w:q}, [{a}]",
            "ldp {x:q}, {y:q}, [{b}]",
            concat!($join, " {v:v}.16b, {v:v}.16b, {x:v}.16b"),
            concat!($join, " {w:v}.16b, {w:v}.16b, {y:v}.16b"),
            "ldp {x:q}, {y:q}, [{a}, 32]",
            concat!($fold, " {v:v}.16b, {v:v}.16b, {w:v}.16b"),
            "ldp {w:q}, {z:q}, [{b}, 32]",
            concat!($join, " {x:v}.16b, {x:v}.16b, {w:v}.16b"),
            concat!($join, " {y:v}.16b, {y:v}.16b, {z:v}.16b"),
            concat!($fold, " {x:v}.16b, {x:v}.16b, {y:v}.16b"),
            concat!($fold, " {v:v}.16b, {v:v}.16b, {x:v}.16b"),
            v = out(vreg) folded,
            w = out(vreg) _,
            x = out(vreg) _,
            y = out(vreg) _,
            z = out(vreg) _,
            a = in(reg) $a,
            b = in(reg) $b,
            options(nostack, preserves_flags, readonly),
          );
        }
        folded
    }};
}

impl Vector for uint64x2_t {
    const WORDS: usize = 2;
    const LANE_SHIFT: u32 = 3;
    const BYTE_SHIFT: u32 = 2;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn splat(word: u64) -> Self {
        vdupq_n_u64(word)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load(from: *const AtomicU64) -> Self {
        let v;
        // SAFETY: reads 16 bytes, which the caller covers.
        unsafe {
            asm!("ldr {v:q}, [{p}]", v = out(vreg) v, p = in(reg) from,
                options(nostack, preserves_flags, readonly));
        }
        v
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_bytes(from: *const AtomicU8) -> Self {
        let v;
        // SAFETY: reads 16 bytes, which the caller covers.
        unsafe {
            asm!("ldr {v:q}, [{p}]", v = out(vreg) v, p = in(reg) from,
                options(nostack, preserves_flags, readonly));
        }
        v
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn or8(from: *const AtomicU64) -> (Self, Self) {
        (fold4!(from, "0", "orr"), fold4!(from, "64", "orr"))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn and8(from: *const AtomicU64) -> Self {
        let (low, high): (Self, Self) = (fold4!(from, "0", "and"), fold4!(from, "64", "and"));
        vandq_u64(low, high)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn meet4(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        fold4_pairs!(a, b, "and", "orr")
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn join4(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        fold4_pairs!(a, b, "orr", "and")
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn and(self, other: Self) -> Self {
        vandq_u64(self, other)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn or(self, other: Self) -> Self {
        vorrq_u64(self, other)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn right(self, by: Self) -> Self {
        vshlq_u64(self, vnegq_s64(vreinterpretq_s64_u64(by)))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn left(self, by: Self) -> Self {
        vshlq_u64(self, vreinterpretq_s64_u64(by))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn any(self) -> bool {
        let halves = vreinterpretq_u32_u64(self);
        vgetq_lane_u64(vreinterpretq_u64_u32(vpmaxq_u32(halves, halves)), 0) != 0
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn full(self) -> bool {
        let halves = vreinterpretq_u32_u64(self);
        vgetq_lane_u64(vreinterpretq_u64_u32(vpminq_u32(halves, halves)), 0) == !0
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn without(self, other: Self) -> Self {
        vbicq_u64(self, other)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn plus_one(self) -> Self {
        vsubq_u64(self, vdupq_n_u64(!0))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn or_where_full(self, other: Self) -> Self {
        vorrq_u64(self, vceqq_u64(other, vdupq_n_u64(!0)))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn lanes(self) -> u64 {
        u64::from(vgetq_lane_u64(self, 0) != 0) | u64::from(vgetq_lane_u64(self, 1) != 0) << 1
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn lanes4([a, b, c, d]: [Self; 4]) -> u64 {
        // A byte of ones for each word that is not 0.
        let set = |v: Self| vreinterpretq_u32_u64(vtstq_u64(v, v));
        let ab = vreinterpretq_u16_u32(vuzp1q_u32(set(a), set(b)));
        let cd = vreinterpretq_u16_u32(vuzp1q_u32(set(c), set(d)));
        vget_lane_u64(vreinterpret_u64_u8(vmovn_u16(vuzp1q_u16(ab, cd))), 0)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn lanes4_at(from: *const AtomicU64) -> u64 {
        let (a, b, c, d);
        // SAFETY: reads 64 bytes, which the caller covers.
        unsafe {
            asm!(
                "ldp {a:q}, {b:q}, [{p}]",
                "ldp {c:q}, {d:q}, [{p}, 32]",
                a = out(vreg) a,
                b = out(vreg) b,
                c = lateout(vreg) c,
                d = lateout(vreg) d,
                p = in(reg) from,
                options(nostack, preserves_flags, readonly),
            );
            Self::lanes4([a, b, c, d])
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn bytes_at_least(self, least: Self) -> u64 {
        let at_least = vcgeq_u8(vreinterpretq_u8_u64(self), vreinterpretq_u8_u64(least));
        // Narrowing by a shift leaves four bits for each byte: the cheapest mask that NEON has.
        let mask = vshrn_n_u16(vreinterpretq_u16_u8(at_least), 4);
        vget_lane_u64(vreinterpret_u64_u8(mask), 0) & 0x1111_1111_1111_1111
    }
}

/// How many bits are set: `cnt` by the byte, added up.
#[inline(always)]
pub(super) fn count(_: HaveNeon, words: &[AtomicU64]) -> usize {
    let (twos, rest) = words.as_chunks::<2>();
    // SAFETY: every aarch64 CPU has NEON; each load reads two words of the slice.
    let sum = unsafe {
        let mut sum = vdupq_n_u64(0);
        for two in twos {
            let bits = <uint64x2_t as Vector>::load(two.as_ptr());
            let bytes = vcntq_u8(vreinterpretq_u8_u64(bits));
            sum = vaddq_u64(sum, vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes))));
        }
        vaddvq_u64(sum) as usize
    };
    rest.iter().fold(sum, |sum, w| sum + w.load(Relaxed).count_ones() as usize)
}

/// Takes bits and writes pointers: see `Engine::expand`.
///
/// # Safety
/// Those of `Engine::expand`.
#[inline(always)]
pub(super) unsafe fn expand(
    _: HaveNeon,
    words: &[AtomicU64],
    k: usize,
    base: usize,
    size: usize,
    top: *mut *mut u8,
) -> Rest {
    // SAFETY: the caller's promise.
    unsafe { scalar::expand(words, k, base, size, top) }
}

/// Finds unit and index of each pointer: see `Engine::locate`.
///
/// # Safety
/// Those of `Engine::locate`, and `k` is at most `BATCH`.
#[inline(always)]
pub(super) unsafe fn locate(
    _: HaveNeon,
    pointers: *const *mut u8,
    k: usize,
    base: usize,
    units: usize,
    spacing: &Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { scalar::locate(pointers, k, base, units, spacing, out) }
}
