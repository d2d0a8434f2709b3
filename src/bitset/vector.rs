//! The vector type that the vector backends are written over, and how their functions are made.
//! A backend implements `Vector` for its register; `search` and `vector_run` hold the algorithms, written once; and
//! `entries!` makes one function per operation, with the CPU's features on, behind a token that proves them.

use crate::sync::{AtomicU8, AtomicU64};

/// A vector register seen as 64-bit words.
///
/// Loads go through `asm!`: other threads may write the words meanwhile, which would be a data race for a plain load.
/// So a vector only says where to look; what a search returns comes from an atomic load of that word.
///
/// # Safety
/// (of every method) The CPU has the backend's features; a pointer given covers the words or bytes that are read.
pub(super) trait Vector: Copy {
    /// Words to the vector.
    const WORDS: usize;
    /// Bits to a word in what `lanes4` gives, as a power of two.
    const LANE_SHIFT: u32;
    /// A bit of the last lane in what `lanes4` gives.
    const LAST_OF_4: u64 = 1 << ((4 * Self::WORDS - 1) << Self::LANE_SHIFT);
    /// Bits to a byte in what `bytes_at_least` gives, likewise.
    const BYTE_SHIFT: u32;

    unsafe fn splat(word: u64) -> Self;
    /// Reads `WORDS` words, which need not be aligned.
    unsafe fn load(from: *const AtomicU64) -> Self;
    /// Reads as many bytes.
    unsafe fn load_bytes(from: *const AtomicU8) -> Self;
    /// The OR of four vectors that follow each other, and of the next four.
    unsafe fn or8(from: *const AtomicU64) -> (Self, Self);
    /// The AND of eight vectors that follow each other.
    unsafe fn and8(from: *const AtomicU64) -> Self;
    /// The OR of `a & b` over four vectors that follow each other.
    unsafe fn meet4(a: *const AtomicU64, b: *const AtomicU64) -> Self;
    /// The AND of `a | b` over four vectors that follow each other.
    unsafe fn join4(a: *const AtomicU64, b: *const AtomicU64) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    /// `self & !other`
    unsafe fn without(self, other: Self) -> Self;
    /// Each word plus 1.
    unsafe fn plus_one(self) -> Self;
    /// Each word shifted right by the count (0 to 63) in the same word of `by`.
    unsafe fn right(self, by: Self) -> Self;
    /// Each word shifted left, likewise.
    unsafe fn left(self, by: Self) -> Self;
    /// Itself, but other than 0 in each word where `other` is all ones.
    unsafe fn or_where_full(self, other: Self) -> Self;
    /// Whether any bit is set.
    unsafe fn any(self) -> bool;
    /// Whether every bit is set.
    unsafe fn full(self) -> bool;
    /// Bit i: word i is not 0.
    unsafe fn lanes(self) -> u64;
    /// Bit i << LANE_SHIFT (and any others of that lane): word i of the four vectors is not 0.
    unsafe fn lanes4(four: [Self; 4]) -> u64;
    /// The same of four vectors in memory that follow each other.
    unsafe fn lanes4_at(from: *const AtomicU64) -> u64;
    /// The first word of eight vectors in memory that is not 0; any of them, if it was cleared during the call.
    #[inline(always)]
    unsafe fn look8(from: *const AtomicU64) -> Option<usize> {
        // SAFETY: the caller covers eight vectors and has the features.
        unsafe {
            let (low, high) = Self::or8(from);
            if !low.or(high).any() {
                return None;
            }
            let skip = if low.any() { 0 } else { 4 * Self::WORDS };
            let lanes = Self::lanes4_at(from.add(skip)) | Self::LAST_OF_4;
            Some(skip + (lanes.trailing_zeros() >> Self::LANE_SHIFT) as usize)
        }
    }
    /// Bit i << BYTE_SHIFT (and any others of that lane): byte i is at least byte i of `least`.
    unsafe fn bytes_at_least(self, least: Self) -> u64;
}

/// The first lane of `lanes` (of 1 << `shift` bits each) for which `confirm` has an answer; lane 0 is `start`.
#[inline(always)]
pub(super) fn first_lane(
    mut lanes: u64,
    shift: u32,
    start: usize,
    confirm: impl Fn(usize) -> Option<usize>,
) -> Option<usize> {
    while lanes != 0 {
        let lane = lanes.trailing_zeros() >> shift;
        let found = confirm(start + lane as usize);
        if found.is_some() {
            return found;
        }
        // What the vector saw is gone: somebody cleared it meanwhile.
        lanes &= (!0u64).checked_shl((lane + 1) << shift).unwrap_or(0);
    }
    None
}

/// The same from the last lane down.
#[inline(always)]
pub(super) fn last_lane(
    mut lanes: u64,
    shift: u32,
    start: usize,
    confirm: impl Fn(usize) -> Option<usize>,
) -> Option<usize> {
    while lanes != 0 {
        let lane = (63 - lanes.leading_zeros()) >> shift;
        let found = confirm(start + lane as usize);
        if found.is_some() {
            return found;
        }
        lanes &= (1 << (lane << shift)) - 1;
    }
    None
}

/// Makes a backend's functions out of the generic ones: with its features on, behind a token that proves them, and
/// the scalar backend for what is too short.
macro_rules! entries {
    ($token:ty, $vector:ty, $features:literal) => {
        entries!(@one $token, $features, first_set(words: &[AtomicU64]) -> Option<usize>
            | words.len() >= <$vector>::WORDS => search::first_set::<$vector>(words));
        entries!(@one $token, $features, last_set(words: &[AtomicU64]) -> Option<usize>
            | words.len() >= <$vector>::WORDS => search::last_set::<$vector>(words));
        entries!(@one $token, $features, last_not_full(words: &[AtomicU64]) -> Option<usize>
            | words.len() >= <$vector>::WORDS => search::last_not_full::<$vector>(words));
        entries!(@one $token, $features, first_set_and(a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize>
            | a.len() >= <$vector>::WORDS && a.len() == b.len() => search::first_set_and::<$vector>(a, b));
        entries!(@one $token, $features, all_set(words: &[AtomicU64]) -> bool
            | words.len() >= <$vector>::WORDS => search::all_set::<$vector>(words));
        entries!(@one $token, $features, all_set_or(a: &[AtomicU64], b: &[AtomicU64]) -> bool
            | a.len() >= <$vector>::WORDS && a.len() == b.len() => search::all_set_or::<$vector>(a, b));
        entries!(@one $token, $features, first_byte_at_least(bytes: &[AtomicU8], least: u8) -> Option<usize>
            | bytes.len() >= 8 * <$vector>::WORDS => search::first_byte_at_least::<$vector>(bytes, least));
        entries!(@one $token, $features, short_run(words: &[AtomicU64], n: u32, starts: u64) -> Option<usize>
            | words.len() > <$vector>::WORDS => vector_run::short_run::<$vector>(words, n, starts));
    };
    (@one $token:ty, $features:literal, $name:ident($($argument:ident: $type:ty),*) -> $result:ty
        | $enough:expr => $generic:expr) => {
        #[inline(always)]
        pub(super) fn $name(_: $token, $($argument: $type),*) -> $result {
            #[target_feature(enable = $features)]
            fn featured($($argument: $type),*) -> $result {
                if $enough {
                    // SAFETY: this function has the features, and the length was just tested.
                    unsafe { $generic }
                } else {
                    super::scalar::$name($($argument),*)
                }
            }
            // SAFETY: the token proves that the CPU has the features.
            unsafe { featured($($argument),*) }
        }
    };
}
pub(super) use entries;
