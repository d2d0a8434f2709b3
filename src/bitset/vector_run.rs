//! The vector backends' search for a run of up to 64 bits, generic over the vector.
//! A run lies inside a word, which shifting and ANDing shows, or crosses into the next, which adding 1 shows: the ones
//! at the bottom of the successor tell how many the word needs at its top. `run` says the last word, bit by bit.

use crate::sync::AtomicU64;

use super::run;
use super::vector::{Vector, first_lane};

/// Words among which a run may start: lanes of 1 << `shift` bits, as `Vector` has them, from word `at` on.
struct Candidates {
    lanes: u64,
    shift: u32,
    at: usize,
    /// The word to go on from if none of them starts one.
    next: usize,
}

/// The lowest run of `n` (1 to 64) bits that starts where `starts` has a bit; more than one vector of words.
///
/// # Safety
/// The CPU has the features of `V`, and `words.len() > V::WORDS`.
#[inline(always)]
pub(super) unsafe fn short_run<V: Vector>(
    words: &[AtomicU64],
    n: u32,
    starts: u64,
) -> Option<usize> {
    let mut from = 0;
    while from < words.len() {
        let mut this = n as usize;
        // SAFETY: emits a comment. What it might have changed cannot be made ready for all four before the loop.
        unsafe {
            core::arch::asm!("/* {} */", inout(reg) this, options(nomem, nostack, preserves_flags));
        }
        let n = this as u32;
        // SAFETY: the caller's promise.
        let seen = unsafe {
            match n {
                // A doubling too many shifts by nothing; each of these is half a kilobyte of code.
                ..=4 => candidates::<V, 2>(words, from, n, starts),
                5..=16 => candidates::<V, 4>(words, from, n, starts),
                17..=63 => candidates::<V, 6>(words, from, n, starts),
                _ => candidates::<V, 0>(words, from, n, starts),
            }
        };
        // Here, once for all of them: what it takes to look at a word is longer than a search.
        let confirm = |at: usize| run::short_at(words, at, n, starts);
        let found = first_lane(seen.lanes, seen.shift, seen.at, confirm);
        if found.is_some() {
            return found;
        }
        from = seen.next;
    }
    None
}

/// What a word must have for a run of n bits, as vectors. `STEPS` doublings reach n; 0 stands for n = 64.
struct Pattern<V, const STEPS: usize> {
    /// Shifts after which every bit that is left has n - 1 ones above it.
    doublings: [V; STEPS],
    starts: V,
    /// 64 - n, and as many ones.
    spare: V,
    spare_ones: V,
}

impl<V: Vector, const STEPS: usize> Pattern<V, STEPS> {
    #[inline(always)]
    unsafe fn new(n: u32, starts: u64) -> Self {
        let spare = 64 - n.clamp(1, 64);
        // SAFETY: the features are the caller's.
        unsafe {
            let mut doublings = [V::splat(0); STEPS];
            let mut length = 1;
            for by in &mut doublings {
                let step = length.min(n.saturating_sub(length));
                *by = V::splat(u64::from(step));
                length += step;
            }
            Pattern {
                doublings,
                starts: V::splat(starts),
                spare: V::splat(u64::from(spare)),
                spare_ones: V::splat((1 << spare) - 1),
            }
        }
    }

    /// Not 0 in each word in which a run may start: exact inside words; of those that cross, `starts` is not asked.
    #[inline(always)]
    unsafe fn candidates(&self, at: *const AtomicU64) -> V {
        // SAFETY: a vector of words and one more can be read; the features are the caller's.
        unsafe {
            let (word, next) = (V::load(at), V::load(at.add(1)));
            let inside = if STEPS == 0 {
                V::splat(0).or_where_full(word)
            } else {
                let mut inside = word;
                for &by in &self.doublings {
                    inside = inside.and(inside.right(by));
                }
                inside.and(self.starts)
            };
            // The ones at the bottom of the next word, t of them, moved up by 64 - n: then all below bit 64 - (n - t)
            // is ones, and the word covers the rest if its top n - t bits are ones.
            let bottom = next.without(next.plus_one());
            let covered = word.or(bottom.left(self.spare)).or(self.spare_ones);
            inside.or_where_full(covered)
        }
    }
}

/// The first words from word `from` on among which a run may start. The last word is always one.
///
/// # Safety
/// As for `short_run`.
#[inline(always)]
unsafe fn candidates<V: Vector, const STEPS: usize>(
    words: &[AtomicU64],
    from: usize,
    n: u32,
    starts: u64,
) -> Candidates {
    let p = words.as_ptr();
    let w = V::WORDS;
    let whole = words.len() - 1; // words that have a successor
    let mut i = from;
    // SAFETY: vectors are read from words that have a successor, each with the word behind it; there is one vector of
    // them at least; the features are the caller's.
    unsafe {
        let pattern = Pattern::<V, STEPS>::new(n, starts);
        while whole - i >= 4 * w {
            let four = [
                pattern.candidates(p.add(i)),
                pattern.candidates(p.add(i + w)),
                pattern.candidates(p.add(i + 2 * w)),
                pattern.candidates(p.add(i + 3 * w)),
            ];
            if four[0].or(four[1]).or(four[2].or(four[3])).any() {
                let lanes = V::lanes4(four);
                return Candidates { lanes, shift: V::LANE_SHIFT, at: i, next: i + 4 * w };
            }
            i += 4 * w;
        }
        while i < whole {
            // The last vector may overlap the one before.
            let at = i.min(whole - w);
            let lanes = pattern.candidates(p.add(at)).lanes();
            i += w;
            if lanes != 0 {
                return Candidates { lanes, shift: 0, at, next: i.min(whole) };
            }
        }
    }
    Candidates { lanes: 1, shift: 0, at: whole, next: words.len() }
}
