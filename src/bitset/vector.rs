//! The searches of the vector backends, written once over a small vector type.
//! A backend implements `Vector` for its register and calls `entries!`, which makes one function per operation with
//! the CPU features switched on. A vector only says where to look: the position returned comes from an atomic load.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::run;

/// A vector register seen as 64-bit words.
///
/// Loads go through `asm!`: other threads may write the words meanwhile, which would be a data race for a plain load.
///
/// # Safety
/// (of every method) The CPU has the backend's features; a pointer given covers the words or bytes that are read.
pub(super) trait Vector: Copy {
    /// Words to the vector.
    const WORDS: usize;
    /// Vectors to the step of a search: so many are folded before anything is tested.
    const STEP: usize;
    /// Bits that `bytes_at_least` gives to a byte, as a power of two.
    const BYTE_SHIFT: u32;

    unsafe fn splat(word: u64) -> Self;
    /// Reads `WORDS` words, which need not be aligned.
    unsafe fn load(from: *const u8) -> Self;
    /// The OR of `STEP` vectors that follow each other.
    unsafe fn or_step(from: *const AtomicU64) -> Self;
    /// The AND of `STEP` vectors that follow each other.
    unsafe fn and_step(from: *const AtomicU64) -> Self;
    /// The OR of `a & b` over `STEP` vectors that follow each other.
    unsafe fn meet_step(a: *const AtomicU64, b: *const AtomicU64) -> Self;
    /// The AND of `a | b` over `STEP` vectors that follow each other.
    unsafe fn join_step(a: *const AtomicU64, b: *const AtomicU64) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    /// Each word shifted right by the count in the same word of `by`; 64 gives 0.
    unsafe fn right(self, by: Self) -> Self;
    /// Each word shifted left, likewise.
    unsafe fn left(self, by: Self) -> Self;
    /// Whether any bit is set.
    unsafe fn any(self) -> bool;
    /// Whether every bit is set.
    unsafe fn full(self) -> bool;
    /// Bit i: word i is not 0.
    unsafe fn nonzero(self) -> u32;
    /// Something that is not 0 if a lane of `WIDTH` (8, 16 or 32) bits is all ones, and 0 otherwise.
    unsafe fn full_lanes<const WIDTH: u32>(self) -> Self;
    /// Bit i << BYTE_SHIFT: byte i is at least byte i of `least`. Other bits are 0.
    unsafe fn bytes_at_least(self, least: Self) -> u64;
}

/// The words from `i` on for which `lanes` has a bit, confirmed: the lowest set bit.
#[inline(always)]
fn confirm(words: &[AtomicU64], i: usize, mut lanes: u32) -> Option<usize> {
    while lanes != 0 {
        let at = i + lanes.trailing_zeros() as usize;
        let word = words.get(at)?.load(Relaxed);
        if word != 0 {
            return Some(at * 64 + word.trailing_zeros() as usize);
        }
        lanes &= lanes - 1;
    }
    None
}

/// The lowest set bit; at least one vector of words.
///
/// # Safety
/// The CPU has the features of `V`, and `words.len() >= V::WORDS`.
#[inline(always)]
pub(super) unsafe fn first_set<V: Vector>(words: &[AtomicU64]) -> Option<usize> {
    let (p, n) = (words.as_ptr(), words.len());
    let mut i = 0;
    // SAFETY: each load covers words i..i + 4 * WORDS, or a vector within, below n; the features are the caller's.
    unsafe {
        while n - i >= V::STEP * V::WORDS {
            if V::or_step(p.add(i)).any() {
                for j in 0..V::STEP {
                    let at = i + j * V::WORDS;
                    if let Some(bit) = confirm(words, at, V::load(p.add(at).cast()).nonzero()) {
                        return Some(bit);
                    }
                }
            }
            i += V::STEP * V::WORDS;
        }
        while i < n {
            // The last vector may overlap the one before.
            let at = i.min(n - V::WORDS);
            if let Some(bit) = confirm(words, at, V::load(p.add(at).cast()).nonzero()) {
                return Some(bit);
            }
            i += V::WORDS;
        }
    }
    None
}

/// The lowest common bit of two bitmaps of one length; at least one vector of words.
///
/// # Safety
/// As for `first_set`, and `b` is as long as `a`.
#[inline(always)]
pub(super) unsafe fn first_set_and<V: Vector>(a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize> {
    let (p, q, n) = (a.as_ptr(), b.as_ptr(), a.len());
    let mut i = 0;
    let confirm = |i: usize, mut lanes: u32| {
        while lanes != 0 {
            let at = i + lanes.trailing_zeros() as usize;
            let word = a.get(at)?.load(Relaxed) & b.get(at)?.load(Relaxed);
            if word != 0 {
                return Some(at * 64 + word.trailing_zeros() as usize);
            }
            lanes &= lanes - 1;
        }
        None
    };
    // SAFETY: each load covers words below n of both; the features are the caller's.
    unsafe {
        let common = |at: usize| V::load(p.add(at).cast()).and(V::load(q.add(at).cast())).nonzero();
        while n - i >= V::STEP * V::WORDS {
            if V::meet_step(p.add(i), q.add(i)).any() {
                for j in 0..V::STEP {
                    let at = i + j * V::WORDS;
                    if let Some(bit) = confirm(at, common(at)) {
                        return Some(bit);
                    }
                }
            }
            i += V::STEP * V::WORDS;
        }
        while i < n {
            let at = i.min(n - V::WORDS);
            if let Some(bit) = confirm(at, common(at)) {
                return Some(bit);
            }
            i += V::WORDS;
        }
    }
    None
}

/// The highest set bit; at least one vector of words.
///
/// # Safety
/// As for `first_set`.
#[inline(always)]
pub(super) unsafe fn last_set<V: Vector>(words: &[AtomicU64]) -> Option<usize> {
    let p = words.as_ptr();
    let mut n = words.len(); // words from n on hold nothing
    // SAFETY: each load covers words below the first n, which is at most the length; the features are the caller's.
    unsafe {
        let confirm = |i: usize| {
            let mut lanes = V::load(p.add(i).cast()).nonzero();
            while lanes != 0 {
                let lane = 31 - lanes.leading_zeros();
                let at = i + lane as usize;
                let word = words.get(at)?.load(Relaxed);
                if word != 0 {
                    return Some(at * 64 + 63 - word.leading_zeros() as usize);
                }
                lanes ^= 1 << lane;
            }
            None
        };
        while n >= V::STEP * V::WORDS {
            if V::or_step(p.add(n - V::STEP * V::WORDS)).any() {
                for j in 1..=V::STEP {
                    if let Some(bit) = confirm(n - j * V::WORDS) {
                        return Some(bit);
                    }
                }
            }
            n -= V::STEP * V::WORDS;
        }
        while n > 0 {
            // The last vector may overlap the one before.
            n = n.saturating_sub(V::WORDS);
            if let Some(bit) = confirm(n) {
                return Some(bit);
            }
        }
    }
    None
}

/// The highest word that is not all ones; at least one vector of words.
///
/// # Safety
/// As for `first_set`.
#[inline(always)]
pub(super) unsafe fn last_not_full<V: Vector>(words: &[AtomicU64]) -> Option<usize> {
    let mut n = words.len();
    // SAFETY: each load covers words below n, which is at most the length; the features are the caller's.
    unsafe {
        while n >= V::STEP * V::WORDS
            && V::and_step(words.as_ptr().add(n - V::STEP * V::WORDS)).full()
        {
            n -= V::STEP * V::WORDS;
        }
    }
    words.get(..n)?.iter().rposition(|w| w.load(Relaxed) != !0)
}

/// Whether every bit is set; at least one vector of words.
///
/// # Safety
/// As for `first_set`.
#[inline(always)]
pub(super) unsafe fn all_set<V: Vector>(words: &[AtomicU64]) -> bool {
    let (p, n) = (words.as_ptr(), words.len());
    let mut i = 0;
    // SAFETY: each load covers words below n; the features are the caller's.
    unsafe {
        while n - i >= V::STEP * V::WORDS {
            if !V::and_step(p.add(i)).full() {
                return false;
            }
            i += V::STEP * V::WORDS;
        }
        while i < n {
            if !V::load(p.add(i.min(n - V::WORDS)).cast()).full() {
                return false;
            }
            i += V::WORDS;
        }
    }
    true
}

/// Whether every bit is set in one of two bitmaps of one length; at least one vector of words.
///
/// # Safety
/// As for `first_set`, and `b` is as long as `a`.
#[inline(always)]
pub(super) unsafe fn all_set_or<V: Vector>(a: &[AtomicU64], b: &[AtomicU64]) -> bool {
    let (p, q, n) = (a.as_ptr(), b.as_ptr(), a.len());
    let mut i = 0;
    // SAFETY: each load covers words below n of both; the features are the caller's.
    unsafe {
        while n - i >= V::STEP * V::WORDS {
            if !V::join_step(p.add(i), q.add(i)).full() {
                return false;
            }
            i += V::STEP * V::WORDS;
        }
        while i < n {
            let at = i.min(n - V::WORDS);
            if !V::load(p.add(at).cast()).or(V::load(q.add(at).cast())).full() {
                return false;
            }
            i += V::WORDS;
        }
    }
    true
}

/// The index of the first byte that is at least `least`; at least one vector of bytes.
///
/// # Safety
/// The CPU has the features of `V`, and `bytes.len() >= 8 * V::WORDS`.
#[inline(always)]
pub(super) unsafe fn first_byte_at_least<V: Vector>(
    bytes: &[AtomicU8],
    least: u8,
) -> Option<usize> {
    let (p, n) = (bytes.as_ptr(), bytes.len());
    let width = 8 * V::WORDS;
    let mut i = 0;
    // SAFETY: each load covers bytes below n; the features are the caller's.
    unsafe {
        let limit = V::splat(u64::from(least) * 0x0101_0101_0101_0101);
        while i < n {
            let at = i.min(n - width);
            let mut lanes = V::load(p.add(at).cast()).bytes_at_least(limit);
            while lanes != 0 {
                let index = at + (lanes.trailing_zeros() >> V::BYTE_SHIFT) as usize;
                if bytes.get(index)?.load(Relaxed) >= least {
                    return Some(index);
                }
                lanes &= lanes - 1;
            }
            i += width;
        }
    }
    None
}

/// The lowest run of `n` (1 to 64) bits that starts where `starts` has a bit; more than one vector of words.
///
/// A run of 15, 31 or 63 bits holds an aligned lane of 8, 16 or 32 ones: four vectors are tested for one in a few
/// instructions before the exact search looks at them. Shorter runs are searched exactly at once.
///
/// # Safety
/// As for `first_set`, with one word more.
#[inline(always)]
pub(super) unsafe fn short_run<V: Vector>(
    words: &[AtomicU64],
    n: u32,
    starts: u64,
) -> Option<usize> {
    // SAFETY: the caller's conditions are those of the callee.
    unsafe {
        match n {
            63.. => long_lanes::<V, 32>(words, n, starts),
            31.. => long_lanes::<V, 16>(words, n, starts),
            15.. => long_lanes::<V, 8>(words, n, starts),
            _ => exact::<V>(words, 0, words.len(), n, starts),
        }
    }
}

/// `short_run` with a test for full lanes first.
///
/// # Safety
/// Those of `short_run`.
#[inline(always)]
unsafe fn long_lanes<V: Vector, const WIDTH: u32>(
    words: &[AtomicU64],
    n: u32,
    starts: u64,
) -> Option<usize> {
    let p = words.as_ptr();
    let step = 4 * V::WORDS;
    let mut i = 0;
    // SAFETY: each load covers words i..i + step, below the length; the features are the caller's.
    unsafe {
        while words.len() - i >= step {
            let lane = |j: usize| V::load(p.add(i + j * V::WORDS).cast()).full_lanes::<WIDTH>();
            if lane(0).or(lane(1)).or(lane(2).or(lane(3))).any() {
                // A run with its full lane here starts here or in the word before.
                let found = exact::<V>(words, i.saturating_sub(1), i + step, n, starts);
                if found.is_some() {
                    return found;
                }
            }
            i += step;
        }
        exact::<V>(words, i.saturating_sub(1), words.len(), n, starts)
    }
}

/// The lowest run that starts in the words `i..end`, by shifting every word with its successor.
///
/// # Safety
/// Those of `short_run`; `end` is at most the length.
#[inline(always)]
unsafe fn exact<V: Vector>(
    words: &[AtomicU64],
    mut i: usize,
    end: usize,
    n: u32,
    starts: u64,
) -> Option<usize> {
    let p = words.as_ptr();
    // SAFETY: each load covers words below the length (i + WORDS + 1 at most); the features are the caller's.
    unsafe {
        let steps = Steps::<V>::new(n);
        let starts_all = V::splat(starts);
        while i < end && words.len() - i > V::WORDS {
            let low = V::load(p.add(i).cast());
            if low.any() {
                let high = V::load(p.add(i + 1).cast());
                let mut lanes = steps.long_enough(low, high).and(starts_all).nonzero();
                while lanes != 0 {
                    let at = i + lanes.trailing_zeros() as usize;
                    if let Some(bit) = run::short_at(words, at, n, starts) {
                        return Some(bit);
                    }
                    lanes &= lanes - 1;
                }
            }
            i += V::WORDS;
        }
        while i < end {
            if let Some(bit) = run::short_at(words, i, n, starts) {
                return Some(bit);
            }
            i += 1;
        }
    }
    None
}

/// The shifts by which `run::long_enough` doubles, as vectors.
struct Steps<V> {
    right: [V; 7],
    left: [V; 7],
    count: usize,
}

impl<V: Vector> Steps<V> {
    /// For runs of `n` (1 to 64) bits: 1, 2, 4, ... and the rest.
    #[inline(always)]
    unsafe fn new(n: u32) -> Self {
        // SAFETY: the features are the caller's.
        unsafe {
            let zero = V::splat(0);
            let mut steps = Steps { right: [zero; 7], left: [zero; 7], count: 0 };
            let mut length = 1;
            while length < n {
                let by = length.min(n - length);
                *steps.right.get_unchecked_mut(steps.count) = V::splat(u64::from(by));
                *steps.left.get_unchecked_mut(steps.count) = V::splat(u64::from(64 - by));
                steps.count += 1;
                length += by;
            }
            steps
        }
    }

    /// `run::long_enough` for each word.
    #[inline(always)]
    unsafe fn long_enough(&self, mut low: V, mut high: V) -> V {
        // SAFETY: count is at most 7 (n at most 64); the features are the caller's.
        unsafe {
            for i in 0..self.count {
                let (right, left) = (*self.right.get_unchecked(i), *self.left.get_unchecked(i));
                low = low.and(low.right(right).or(high.left(left)));
                high = high.and(high.right(right));
            }
        }
        low
    }
}

/// Makes a backend's functions out of the ones above: with its features on, behind a token that proves them, and the
/// scalar backend for what is too short.
macro_rules! entries {
    ($token:ty, $vector:ty, $features:literal) => {
        entries!(@one $token, $features, first_set(words: &[AtomicU64]) -> Option<usize>
            | words.len() >= <$vector>::WORDS => vector::first_set::<$vector>(words));
        entries!(@one $token, $features, last_set(words: &[AtomicU64]) -> Option<usize>
            | words.len() >= <$vector>::WORDS => vector::last_set::<$vector>(words));
        entries!(@one $token, $features, last_not_full(words: &[AtomicU64]) -> Option<usize>
            | words.len() >= <$vector>::WORDS => vector::last_not_full::<$vector>(words));
        entries!(@one $token, $features, first_set_and(a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize>
            | a.len() >= <$vector>::WORDS && a.len() == b.len() => vector::first_set_and::<$vector>(a, b));
        entries!(@one $token, $features, all_set(words: &[AtomicU64]) -> bool
            | words.len() >= <$vector>::WORDS => vector::all_set::<$vector>(words));
        entries!(@one $token, $features, all_set_or(a: &[AtomicU64], b: &[AtomicU64]) -> bool
            | a.len() >= <$vector>::WORDS && a.len() == b.len() => vector::all_set_or::<$vector>(a, b));
        entries!(@one $token, $features, first_byte_at_least(bytes: &[AtomicU8], least: u8) -> Option<usize>
            | bytes.len() >= 8 * <$vector>::WORDS => vector::first_byte_at_least::<$vector>(bytes, least));
        entries!(@one $token, $features, short_run(words: &[AtomicU64], n: u32, starts: u64) -> Option<usize>
            | words.len() > <$vector>::WORDS => vector::short_run::<$vector>(words, n, starts));
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
