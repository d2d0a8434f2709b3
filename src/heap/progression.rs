//! Arithmetic progressions of pointers, as a magazine holds them when its blocks are neighbours: written
//! and recognised with vectors, because a burst of allocations or frees does little else.
//!
//! On x86_64 with AVX2 (or above) a few dozen instructions of assembly, else SSE2; elsewhere the twin in
//! Rust, which the tests hold both to.

use crate::layout::MAX_DEPTH;

/// Blocks of a full magazine.
const FULL: usize = MAX_DEPTH;

/// Whether `blocks[i + 1] - blocks[i]` is `stride` everywhere.
#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", target_pointer_width = "64", not(loom)),
    allow(dead_code, reason = "the twin, for the test")
)]
pub(super) fn is_one_plainly(blocks: &[*mut u8], stride: usize) -> bool {
    let mut expected = blocks.first().map_or(0, |block| *block as usize);
    let mut differs = 0;
    for block in blocks {
        differs |= *block as usize ^ expected;
        expected = expected.wrapping_add(stride);
    }
    differs == 0
}

/// # Safety
/// As for `write`.
#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", target_pointer_width = "64", not(loom)),
    allow(dead_code, reason = "the twin, for the test")
)]
pub(crate) unsafe fn write_plainly<const COUNT: usize>(
    top: *mut *mut u8,
    before: usize,
    size: usize,
) {
    for index in 0..COUNT {
        // SAFETY: the caller's contract.
        unsafe { top.sub(index).write((before + (index + 1) * size) as *mut u8) };
    }
}

cfg_if::cfg_if! {
    if #[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(loom)))] {
        use crate::hit::WINDOW;
        use crate::layout::Window;
        use core::arch::asm;
        use core::arch::x86_64::{
            _mm_add_epi64, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_or_si128,
            _mm_set1_epi64x, _mm_setzero_si128, _mm_storeu_si128, _mm_unpackhi_epi64,
            _mm_unpacklo_epi64, _mm_xor_si128,
        };

        /// Whether the process uses AVX2: the backend of the bitset engine, chosen at the start.
        #[inline(always)]
        fn is_wide() -> bool {
            // SAFETY: compares a word of the window, which is written once; the address costs no load here.
            unsafe {
                asm!(
                    "cmp qword ptr [rip + {window} + {wide}], 0",
                    "je {no}",
                    window = sym WINDOW,
                    wide = const core::mem::offset_of!(Window, wide),
                    no = label { return false },
                    options(nostack, readonly)
                );
            }
            true
        }

        /// What the lanes of a vector are multiplied with, upwards, and downwards from one.
        #[repr(C, align(32))]
        struct Lanes([u64; 4]);
        static UPWARDS: Lanes = Lanes([0, 1, 2, 3]);
        static DOWNWARDS: Lanes = Lanes([4, 3, 2, 1]);

        /// Whether `blocks[i + 1] - blocks[i]` is `stride` everywhere.
        #[inline(always)]
        pub(super) fn is_one(blocks: &[*mut u8], stride: usize) -> bool {
            // SAFETY: SSE2 is part of x86_64; the loads stay inside the slice.
            unsafe {
                let Some(start) = blocks.first() else { return true };
                let one = _mm_cvtsi64_si128(*start as i64);
                let two = _mm_cvtsi64_si128((*start as i64).wrapping_add(stride as i64));
                let mut expected = _mm_unpacklo_epi64(one, two);
                let step = _mm_set1_epi64x(2 * stride as i64);
                let mut differs = _mm_setzero_si128();
                let pairs = blocks.chunks_exact(2);
                let rest = pairs.remainder();
                for pair in pairs {
                    let found = _mm_loadu_si128(pair.as_ptr().cast());
                    differs = _mm_or_si128(differs, _mm_xor_si128(found, expected));
                    expected = _mm_add_epi64(expected, step);
                }
                let differs = _mm_or_si128(differs, _mm_unpackhi_epi64(differs, differs));
                let last = rest.first().map_or(0, |last| *last as i64 ^ _mm_cvtsi128_si64(expected));
                _mm_cvtsi128_si64(differs) | last == 0
            }
        }

        /// `is_full_one` without AVX2, once for all who ask.
        #[cold]
        #[inline(never)]
        fn is_full_one_by_two(blocks: &[*mut u8; FULL], stride: usize) -> bool {
            is_one(blocks, stride)
        }

        /// The same for a full magazine.
        #[inline(always)]
        pub(super) fn is_full_one(blocks: &[*mut u8; FULL], stride: usize) -> bool {
            if !is_wide() {
                return is_full_one_by_two(blocks, stride);
            }
            // SAFETY: loads from the array alone; `wide` is set where AVX2 is there.
            unsafe {
                asm!(
                    "vmovq xmm1, {stride}",
                    "vpbroadcastq ymm1, xmm1",              // stride
                    "vpbroadcastq ymm0, qword ptr [{at}]",
                    "vpmuldq ymm2, ymm1, ymmword ptr [rip + {lanes}]", // signed: it may lead downwards
                    "vpaddq ymm0, ymm0, ymm2",              // the first four, if all is well
                    "vpsllq ymm3, ymm1, 2",
                    "vpxor ymm4, ymm0, ymmword ptr [{at}]",
                    ".irp offset, 32, 64, 96, 128, 160, 192",
                    "vpaddq ymm0, ymm0, ymm3",
                    "vpxor ymm2, ymm0, ymmword ptr [{at} + \\offset]",
                    "vpor ymm4, ymm4, ymm2",
                    ".endr",
                    "vpaddq ymm0, ymm0, ymm3",
                    "vpsubq ymm0, ymm0, ymm1",              // the last four: one for the second time
                    "vpxor ymm2, ymm0, ymmword ptr [{at} + 216]",
                    "vpor ymm4, ymm4, ymm2",
                    "vptest ymm4, ymm4",
                    "vzeroupper",
                    "jne {no}",
                    at = in(reg) blocks.as_ptr(),
                    stride = in(reg) stride,
                    lanes = sym UPWARDS,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                    out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _, // vzeroupper
                    no = label { return false },
                    options(nostack, readonly)
                );
            }
            true
        }

        /// Writes `COUNT` pointers (15 or 30) downwards from `top`: the one `size` behind `before` into it, then each `size`
        /// higher. The size is less than 2^32.
        ///
        /// # Safety
        /// The `COUNT` slots that end with `top` are the caller's to write.
        #[inline(always)]
        pub(crate) unsafe fn write<const COUNT: usize>(top: *mut *mut u8, before: usize, size: usize) {
            const { assert!(COUNT == 15 || COUNT == 30) };
            if !is_wide() {
                // SAFETY: the caller's contract.
                return unsafe { write_by_two::<COUNT>(top, before + size, size) };
            }
            macro_rules! by_four {
                ($offsets:literal, $($rest:literal),*) => {
                    asm!(
                        "vmovq xmm1, {size}",
                        "vpbroadcastq ymm1, xmm1",          // size
                        "vmovq xmm0, {before}",
                        "vpbroadcastq ymm0, xmm0",
                        "vpmuludq ymm2, ymm1, ymmword ptr [rip + {lanes}]",
                        "vpaddq ymm0, ymm0, ymm2",          // the highest slot's is the lowest address
                        "vpsllq ymm3, ymm1, 2",
                        $offsets,
                        "vmovdqu ymmword ptr [{top} - \\offset], ymm0",
                        "vpaddq ymm0, ymm0, ymm3",
                        ".endr",
                        $($rest,)*
                        "vzeroupper",
                        top = in(reg) top,
                        before = in(reg) before,
                        size = in(reg) size,
                        lanes = sym DOWNWARDS,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                        out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _, // vzeroupper
                        options(nostack, preserves_flags)
                    )
                };
            }
            // SAFETY: the caller's contract; `wide` is set where AVX2 is there.
            unsafe {
                if COUNT == 30 {
                    by_four!(
                        ".irp offset, 24, 56, 88, 120, 152, 184, 216",
                        "vextracti128 xmmword ptr [{top} - 232], ymm0, 1"
                    );
                } else {
                    by_four!(
                        ".irp offset, 24, 56, 88",
                        "vextracti128 xmmword ptr [{top} - 104], ymm0, 1",
                        "vmovhps qword ptr [{top} - 112], xmm0"
                    );
                }
            }
        }

        /// `write` without AVX2.
        ///
        /// # Safety
        /// That of `write`.
        #[inline(always)]
        unsafe fn write_by_two<const COUNT: usize>(top: *mut *mut u8, address: usize, size: usize) {
            // SAFETY: SSE2 is part of x86_64; pairs from the top down, then what is left over.
            unsafe {
                let one = _mm_cvtsi64_si128((address + size) as i64);
                let mut pair = _mm_unpacklo_epi64(one, _mm_cvtsi64_si128(address as i64));
                let step = _mm_set1_epi64x(2 * size as i64);
                for index in 0..COUNT / 2 {
                    _mm_storeu_si128(top.sub(2 * index + 1).cast(), pair);
                    pair = _mm_add_epi64(pair, step);
                }
                if !COUNT.is_multiple_of(2) {
                    top.sub(COUNT - 1).write((address + (COUNT - 1) * size) as *mut u8);
                }
            }
        }
    } else {
        pub(super) use is_one_plainly as is_one;
        pub(crate) use write_plainly as write;

        /// Whether `blocks[i + 1] - blocks[i]` is `stride` everywhere, for a full magazine.
        #[inline(always)]
        pub(super) fn is_full_one(blocks: &[*mut u8; FULL], stride: usize) -> bool {
            is_one(blocks, stride)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: *mut u8 = core::ptr::null_mut();

    #[test]
    fn writes_the_slots_it_should_and_no_other() {
        fn one<const COUNT: usize>(write: unsafe fn(*mut *mut u8, usize, usize)) {
            let mut slots = [NULL; 50];
            // SAFETY: COUNT slots of the array end with slot 40.
            unsafe { write(slots.as_mut_ptr().add(40), 0x7fff_ffff_1000 - 528, 528) };
            for (at, slot) in slots.iter().enumerate() {
                let inside = at <= 40 && at + COUNT > 40;
                let expected = if inside { 0x7fff_ffff_1000 + 528 * (40 - at) } else { 0 };
                assert_eq!(*slot as usize, expected, "{COUNT} {at}");
            }
        }
        one::<15>(write_plainly::<15>);
        one::<30>(write_plainly::<30>);
        each_width(|| {
            one::<15>(write::<15>);
            one::<30>(write::<30>);
        });
    }

    #[test]
    fn recognises_what_the_twin_recognises() {
        each_width(|| {
            for stride in [16, 528usize, 16usize.wrapping_neg(), 528usize.wrapping_neg()] {
                let at =
                    |index: usize| 0x7fff_ffff_0000usize.wrapping_add(index.wrapping_mul(stride));
                let mut blocks: [*mut u8; FULL] =
                    core::array::from_fn(|index| at(index) as *mut u8);
                assert!(is_full_one(&blocks, stride));
                for index in 0..FULL {
                    for flaw in [1, 16, 1 << 31, 1 << 40, 1 << 63] {
                        let kept = blocks[index];
                        blocks[index] = (kept as usize ^ flaw) as *mut u8;
                        assert!(!is_full_one(&blocks, stride), "{index} {flaw:x}");
                        for count in 2..=FULL {
                            let found = is_one(&blocks[..count], stride);
                            assert_eq!(found, is_one_plainly(&blocks[..count], stride));
                            assert_eq!(found, index >= count);
                        }
                        blocks[index] = kept;
                    }
                }
            }
        });
    }

    /// With AVX2, where there is AVX2, and without it.
    fn each_width(check: impl Fn()) {
        check();
        #[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(loom)))]
        if std::arch::is_x86_feature_detected!("avx2") {
            let wide = &crate::hit::window().wide;
            let kept = wide.swap(1, crate::sync::Ordering::Relaxed);
            check();
            wide.store(kept, crate::sync::Ordering::Relaxed);
        } else {
            std::println!("AVX2: not run, the processor lacks it");
        }
    }
}
