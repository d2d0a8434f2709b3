//! The NEON backend: two words to the vector, sixteen to the step. Searches are those of `vector`.
//! Expanding and locating stay scalar here: NEON has neither a compress nor a 64-bit multiply, its vectors hold two
//! pointers, and aarch64 does a block in six scalar instructions (rbit, clz, madd, str, sub, and).

use core::arch::aarch64::*;
use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::dispatch::HaveNeon;
use super::vector::{self, Vector, entries};
use super::{BATCH, Expanded, Located, Spacing, scalar};

entries!(HaveNeon, uint64x2_t, "neon");

/// Eight vectors that follow each other, folded by the given instruction.
macro_rules! fold8 {
    ($p:expr, $fold:literal) => {{
        let folded;
        // SAFETY: reads 128 bytes at p, which the caller covers.
        unsafe {
            asm!(
                "ldp {a:q}, {b:q}, [{p}]",
                "ldp {c:q}, {d:q}, [{p}, 32]",
                concat!($fold, " {a:v}.16b, {a:v}.16b, {b:v}.16b"),
                concat!($fold, " {c:v}.16b, {c:v}.16b, {d:v}.16b"),
                "ldp {b:q}, {d:q}, [{p}, 64]",
                "ldp {e:q}, {f:q}, [{p}, 96]",
                concat!($fold, " {b:v}.16b, {b:v}.16b, {d:v}.16b"),
                concat!($fold, " {e:v}.16b, {e:v}.16b, {f:v}.16b"),
                concat!($fold, " {a:v}.16b, {a:v}.16b, {c:v}.16b"),
                concat!($fold, " {b:v}.16b, {b:v}.16b, {e:v}.16b"),
                concat!($fold, " {a:v}.16b, {a:v}.16b, {b:v}.16b"),
                a = out(vreg) folded,
                b = out(vreg) _,
                c = out(vreg) _,
                d = out(vreg) _,
                e = out(vreg) _,
                f = out(vreg) _,
                p = in(reg) $p,
                options(nostack, preserves_flags, readonly),
            );
        }
        folded
    }};
}

/// Eight pairs of vectors, each pair joined by one instruction and the pairs folded by another.
macro_rules! fold8_pairs {
    ($a:expr, $b:expr, $join:literal, $fold:literal) => {{
        let (a, b): (*const AtomicU64, *const AtomicU64) = ($a, $b);
        // SAFETY: the second half of the 128 bytes at a and at b, which the caller covers.
        let (front, back): (uint64x2_t, uint64x2_t) = unsafe {
            (fold4_pairs!(a, b, $join, $fold), fold4_pairs!(a.add(8), b.add(8), $join, $fold))
        };
        (front, back)
    }};
}

/// Four pairs of vectors.
macro_rules! fold4_pairs {
    ($a:expr, $b:expr, $join:literal, $fold:literal) => {{
        let folded;
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
        folded
    }};
}

impl Vector for uint64x2_t {
    const WORDS: usize = 2;
    const STEP: usize = 8;
    const BYTE_SHIFT: u32 = 2;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn splat(word: u64) -> Self {
        vdupq_n_u64(word)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load(from: *const u8) -> Self {
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
    unsafe fn or_step(from: *const AtomicU64) -> Self {
        fold8!(from, "orr")
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn and_step(from: *const AtomicU64) -> Self {
        fold8!(from, "and")
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn meet_step(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        let (front, back) = fold8_pairs!(a, b, "and", "orr");
        vorrq_u64(front, back)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn join_step(a: *const AtomicU64, b: *const AtomicU64) -> Self {
        let (front, back) = fold8_pairs!(a, b, "orr", "and");
        vandq_u64(front, back)
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
    unsafe fn nonzero(self) -> u32 {
        u32::from(vgetq_lane_u64(self, 0) != 0) | u32::from(vgetq_lane_u64(self, 1) != 0) << 1
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn full_lanes<const WIDTH: u32>(self) -> Self {
        let ones = vdupq_n_u8(!0);
        match WIDTH {
            8 => vreinterpretq_u64_u8(vceqq_u8(vreinterpretq_u8_u64(self), ones)),
            16 => vreinterpretq_u64_u16(vceqq_u16(
                vreinterpretq_u16_u64(self),
                vreinterpretq_u16_u8(ones),
            )),
            _ => vreinterpretq_u64_u32(vceqq_u32(
                vreinterpretq_u32_u64(self),
                vreinterpretq_u32_u8(ones),
            )),
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
            let bits = <uint64x2_t as Vector>::load(two.as_ptr().cast());
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
    local: &[AtomicU64],
    from_word: usize,
    k: usize,
    base: usize,
    size: usize,
    out_top: *mut *mut u8,
) -> Expanded {
    // SAFETY: the caller's promise.
    unsafe { scalar::expand(local, from_word, k, base, size, out_top) }
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
    spacing: Spacing,
    out: &mut [Located; BATCH],
) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { scalar::locate(pointers, k, base, units, spacing, out) }
}
