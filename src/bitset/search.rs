//! The searches of the vector backends, generic over the vector: eight vectors are folded before anything is tested,
//! then four are looked at together, then one at a time, the last of them overlapping the one before.
//! `vector` makes each backend's functions out of these.

use crate::sync::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::vector::{Vector, first_lane, last_lane};

/// From so many vectors on a search begins with steps of sixteen.
const LONG: usize = 160;

/// Tells the compiler to lay the branch that calls it out of the way of short bitmaps.
#[inline]
#[cold]
fn out_of_line() {}

/// What a forward search reads.
///
/// # Safety
/// (of every method) The CPU has the features of `V`; the words read lie within the bitmap.
trait Source<V> {
    unsafe fn word(&self, at: usize) -> u64;
    unsafe fn one(&self, at: usize) -> V;
    /// The words of four vectors that are not 0, as `Vector::lanes4` has them.
    unsafe fn lanes4(&self, at: usize) -> u64;
    /// The OR of four vectors, and of the next four.
    unsafe fn eight(&self, at: usize) -> (V, V);
    /// The first of the words of eight vectors that is not 0, as `Vector::look8` has it.
    unsafe fn look8(&self, at: usize) -> Option<usize>;
}

/// One bitmap.
#[derive(Clone, Copy)]
struct Single(*const AtomicU64);

impl<V: Vector> Source<V> for Single {
    #[inline(always)]
    unsafe fn word(&self, at: usize) -> u64 {
        // SAFETY: within the bitmap.
        unsafe { (*self.0.add(at)).load(Relaxed) }
    }

    #[inline(always)]
    unsafe fn one(&self, at: usize) -> V {
        // SAFETY: within the bitmap; the features are the caller's.
        unsafe { V::load(self.0.add(at)) }
    }

    #[inline(always)]
    unsafe fn lanes4(&self, at: usize) -> u64 {
        // SAFETY: within the bitmap; the features are the caller's.
        unsafe { V::lanes4_at(self.0.add(at)) }
    }

    #[inline(always)]
    unsafe fn eight(&self, at: usize) -> (V, V) {
        // SAFETY: within the bitmap; the features are the caller's.
        unsafe { V::or8(self.0.add(at)) }
    }

    #[inline(always)]
    unsafe fn look8(&self, at: usize) -> Option<usize> {
        // SAFETY: within the bitmap; the features are the caller's.
        unsafe { V::look8(self.0.add(at)) }
    }
}

/// What two bitmaps have in common.
#[derive(Clone, Copy)]
struct Common(*const AtomicU64, *const AtomicU64);

impl<V: Vector> Source<V> for Common {
    #[inline(always)]
    unsafe fn word(&self, at: usize) -> u64 {
        // SAFETY: within both bitmaps.
        unsafe { (*self.0.add(at)).load(Relaxed) & (*self.1.add(at)).load(Relaxed) }
    }

    #[inline(always)]
    unsafe fn one(&self, at: usize) -> V {
        // SAFETY: within both bitmaps; the features are the caller's.
        unsafe { V::load(self.0.add(at)).and(V::load(self.1.add(at))) }
    }

    #[inline(always)]
    unsafe fn lanes4(&self, at: usize) -> u64 {
        let w = V::WORDS;
        // SAFETY: within both bitmaps; the features are the caller's.
        unsafe {
            V::lanes4([self.one(at), self.one(at + w), self.one(at + 2 * w), self.one(at + 3 * w)])
        }
    }

    #[inline(always)]
    unsafe fn eight(&self, at: usize) -> (V, V) {
        let then = at + 4 * V::WORDS;
        // SAFETY: within both bitmaps; the features are the caller's.
        unsafe {
            (V::meet4(self.0.add(at), self.1.add(at)), V::meet4(self.0.add(then), self.1.add(then)))
        }
    }

    #[inline(always)]
    unsafe fn look8(&self, at: usize) -> Option<usize> {
        // SAFETY: within both bitmaps; the features are the caller's.
        unsafe {
            let (low, high): (V, V) = self.eight(at);
            if !low.or(high).any() {
                return None;
            }
            let skip = if low.any() { 0 } else { 4 * V::WORDS };
            let lanes = <Self as Source<V>>::lanes4(self, at + skip) | V::LAST_OF_4;
            Some(skip + (lanes.trailing_zeros() >> V::LANE_SHIFT) as usize)
        }
    }
}

/// The lowest set bit of the `n` words of a source; at least one vector.
///
/// # Safety
/// As for `Source`, and `n >= V::WORDS`.
#[inline(always)]
unsafe fn first<V: Vector, S: Source<V> + Copy>(source: S, n: usize) -> Option<usize> {
    let w = V::WORDS;
    let mut i = 0;
    // SAFETY: eight vectors are read where eight are left, four where four are, one where one is; the features are
    // the caller's.
    unsafe {
        // Long stretches of nothing: sixteen vectors to the test, until one of them holds something.
        if n >= LONG * w {
            out_of_line();
            while i <= n - 16 * w {
                let ((a, b), (c, d)) = (source.eight(i), source.eight(i + 8 * w));
                if a.or(b).or(c.or(d)).any() {
                    break;
                }
                i += 16 * w;
            }
        }
        if n >= 8 * w {
            while i <= n - 8 * w {
                if let Some(word) = source.look8(i) {
                    return confirm::<V, S>(source, i + word, n);
                }
                i += 8 * w;
            }
        }
        if n - i >= 4 * w {
            let lanes = source.lanes4(i);
            if lanes != 0 {
                let word = (lanes.trailing_zeros() >> V::LANE_SHIFT) as usize;
                return confirm::<V, S>(source, i + word, n);
            }
            i += 4 * w;
        }
        while i < n {
            let at = i.min(n - w);
            let lanes = source.one(at).lanes();
            if lanes != 0 {
                return confirm::<V, S>(source, at + lanes.trailing_zeros() as usize, n);
            }
            i += w;
        }
    }
    None
}

/// The lowest set bit from word `at` on, which a vector saw set.
///
/// # Safety
/// As for `Source`: `n` words, more than `at`.
#[inline(always)]
unsafe fn confirm<V: Vector, S: Source<V>>(source: S, at: usize, n: usize) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe {
        let word = source.word(at);
        if word != 0 {
            Some(at * 64 + word.trailing_zeros() as usize)
        } else {
            later::<V, S>(source, at + 1, n)
        }
    }
}

/// The lowest set bit from word `at` on, word by word: a word that a vector saw set was cleared before it was read again.
/// Out of the way, so that the usual case needs no registers for it.
///
/// # Safety
/// As for `Source`: `n` words.
#[cold]
#[inline(never)]
unsafe fn later<V: Vector, S: Source<V>>(source: S, at: usize, n: usize) -> Option<usize> {
    (at..n).find_map(|at| {
        // SAFETY: below n.
        let word = unsafe { source.word(at) };
        (word != 0).then(|| at * 64 + word.trailing_zeros() as usize)
    })
}

/// The lowest set bit; at least one vector of words.
///
/// # Safety
/// The CPU has the features of `V`, and `words.len() >= V::WORDS`.
#[inline(always)]
pub(super) unsafe fn first_set<V: Vector>(words: &[AtomicU64]) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe { first::<V, _>(Single(words.as_ptr()), words.len()) }
}

/// The lowest common bit of two bitmaps of one length; at least one vector of words.
///
/// # Safety
/// As for `first_set`, and `b` is as long as `a`.
#[inline(always)]
pub(super) unsafe fn first_set_and<V: Vector>(a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe { first::<V, _>(Common(a.as_ptr(), b.as_ptr()), a.len()) }
}

/// The highest set bit; at least one vector of words.
///
/// # Safety
/// As for `first_set`.
#[inline(always)]
pub(super) unsafe fn last_set<V: Vector>(words: &[AtomicU64]) -> Option<usize> {
    let source = Single(words.as_ptr());
    let confirm = |at: usize| {
        // SAFETY: a lane of words that were read, so within the bitmap.
        let word = unsafe { (*source.0.add(at)).load(Relaxed) };
        (word != 0).then(|| at * 64 + 63 - word.leading_zeros() as usize)
    };
    let w = V::WORDS;
    let mut n = words.len(); // words from n on hold nothing
    // SAFETY: eight vectors are read where eight are left, four where four are, one where one is (or overlapping the
    // one before, since there is one at least); the features are the caller's.
    unsafe {
        while n >= 8 * w {
            let (low, high) = V::or8(source.0.add(n - 8 * w));
            if low.or(high).any() {
                n -= if high.any() { 4 * w } else { 8 * w };
                let lanes = V::lanes4_at(source.0.add(n));
                let found = last_lane(lanes, V::LANE_SHIFT, n, confirm);
                if found.is_some() {
                    return found;
                }
            } else {
                n -= 8 * w;
            }
        }
        while n >= 4 * w {
            n -= 4 * w;
            let found = last_lane(V::lanes4_at(source.0.add(n)), V::LANE_SHIFT, n, confirm);
            if found.is_some() {
                return found;
            }
        }
        while n > 0 {
            n = n.saturating_sub(w);
            let found = last_lane(V::load(source.0.add(n)).lanes(), 0, n, confirm);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// The highest word that is not all ones, as an index; at least one vector of words.
///
/// # Safety
/// As for `first_set`.
#[inline(always)]
pub(super) unsafe fn last_not_full<V: Vector>(words: &[AtomicU64]) -> Option<usize> {
    let mut n = words.len();
    // SAFETY: each load covers words below n, which is at most the length; the features are the caller's.
    unsafe {
        while n >= 8 * V::WORDS && V::and8(words.as_ptr().add(n - 8 * V::WORDS)).full() {
            n -= 8 * V::WORDS;
        }
        while n >= V::WORDS && V::load(words.as_ptr().add(n - V::WORDS)).full() {
            n -= V::WORDS;
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
        while n - i >= 8 * V::WORDS {
            if !V::and8(p.add(i)).full() {
                return false;
            }
            i += 8 * V::WORDS;
        }
        while i < n {
            if !V::load(p.add(i.min(n - V::WORDS))).full() {
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
        while n - i >= 4 * V::WORDS {
            if !V::join4(p.add(i), q.add(i)).full() {
                return false;
            }
            i += 4 * V::WORDS;
        }
        while i < n {
            let at = i.min(n - V::WORDS);
            if !V::load(p.add(at)).or(V::load(q.add(at))).full() {
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
    let confirm = |at: usize| {
        // SAFETY: a lane of bytes that were read.
        let byte = unsafe { (*p.add(at)).load(Relaxed) };
        (byte >= least).then_some(at)
    };
    let width = 8 * V::WORDS;
    let mut i = 0;
    // SAFETY: each load covers bytes below n; the features are the caller's.
    unsafe {
        let limit = V::splat(u64::from(least) * 0x0101_0101_0101_0101);
        while i < n {
            let at = i.min(n - width);
            let lanes = V::load_bytes(p.add(at)).bytes_at_least(limit);
            let found = first_lane(lanes, V::BYTE_SHIFT, at, confirm);
            if found.is_some() {
                return found;
            }
            i += width;
        }
    }
    None
}
