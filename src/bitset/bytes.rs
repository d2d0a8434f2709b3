//! Which of 64 bytes are large enough, as the bits of a word: what a search over run slabs joins with its bitmaps.
//! On x86_64 four SSE2 comparisons, which every processor of that kind has; elsewhere the twin, byte by byte.

use crate::sync::{AtomicU8, Ordering};

/// Bit `i` says whether byte `i` is at least `least`. Each byte is read once, relaxed.
#[cfg_attr(
    all(target_arch = "x86_64", not(loom)),
    allow(dead_code, reason = "the twin, for the test")
)]
pub(crate) fn plainly(bytes: &[AtomicU8; 64], least: u8) -> u64 {
    let mut bits = 0;
    for (index, byte) in bytes.iter().enumerate() {
        bits |= u64::from(byte.load(Ordering::Relaxed) >= least) << index;
    }
    bits
}

cfg_if::cfg_if! {
    if #[cfg(all(target_arch = "x86_64", not(loom)))] {
        use core::arch::asm;
        use core::arch::x86_64::{
            __m128i, _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_set1_epi8,
        };

        /// Bit `i` says whether byte `i` is at least `least`. Each byte is read once, relaxed.
        #[inline]
        pub(crate) fn bytes_at_least(bytes: &[AtomicU8; 64], least: u8) -> u64 {
            // SAFETY: SSE2 is part of x86_64; four vectors lie inside the array. In assembly, as the loads of the backends:
            // others write these bytes meanwhile, and an instruction reads each of them whole.
            unsafe {
                let least = _mm_set1_epi8(least.cast_signed());
                let mut bits = 0;
                for part in 0..4 {
                    let sixteen: __m128i;
                    asm!("movdqu {v}, [{p}]", v = out(xmm_reg) sixteen, p = in(reg) bytes.as_ptr().add(16 * part),
                        options(nostack, preserves_flags, readonly));
                    let enough = _mm_cmpeq_epi8(_mm_max_epu8(sixteen, least), sixteen);
                    bits |= u64::from(_mm_movemask_epi8(enough).cast_unsigned()) << (16 * part);
                }
                bits
            }
        }
    } else {
        pub(crate) use plainly as bytes_at_least;
    }
}

#[cfg(test)]
mod tests {
    use super::super::longest_run;
    use super::*;
    use crate::sync::AtomicU64;
    use std::vec::Vec;

    #[test]
    fn the_longest_run_is_that_of_a_loop() {
        let mut random = 7u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for round in 0..5000 {
            let words: Vec<AtomicU64> = (0..8)
                .map(|_| {
                    // Dense, sparse, whole and empty words.
                    let word = match (round + next() as usize) % 5 {
                        0 => next(),
                        1 => next() | next() | next() | next(),
                        2 => next() & next() & next(),
                        3 => u64::MAX << (next() % 64),
                        _ => u64::MAX.wrapping_add(next() % 2),
                    };
                    AtomicU64::new(word)
                })
                .collect();
            let (mut naive, mut here) = (0, 0);
            for bit in 0..8 * 64 {
                let set = words[bit / 64].load(Ordering::Relaxed) >> (bit % 64) & 1 != 0;
                here = if set { here + 1 } else { 0 };
                naive = naive.max(here);
            }
            assert_eq!(longest_run(&words), naive);
        }
    }

    #[test]
    fn says_the_same_as_the_twin_and_as_a_loop() {
        let mut random = 1u64;
        for round in 0..2000 {
            let bytes: [AtomicU8; 64] = core::array::from_fn(|index| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(index as u64);
                AtomicU8::new((random >> 33) as u8 & if round % 2 == 0 { 0xff } else { 0x03 })
            });
            for least in [0, 1, 2, 3, 47, 127, 128, 200, 255] {
                let mut naive = 0;
                for (index, byte) in bytes.iter().enumerate() {
                    if byte.load(Ordering::Relaxed) >= least {
                        naive |= 1 << index;
                    }
                }
                assert_eq!(bytes_at_least(&bytes, least), naive, "{least}");
                assert_eq!(plainly(&bytes, least), naive, "{least}");
            }
        }
    }
}
