//! loom models of claims: by atomic AND, with roll-back, against each other and against a purge.

use super::*;
use crate::sync::{check, ready, spawn};
use loom::cell::UnsafeCell;
use std::sync::Arc;

/// A run that crosses a word of `Free`.
const OUTER: (usize, usize) = (61, 6);
/// Runs inside it: one that crosses too, and one in the second word, so that the outer one may lose there.
const INNER: [(usize, usize); 2] = [(63, 2), (64, 2)];

/// What a range's holder does with it.
fn use_it(content: &UnsafeCell<u32>) {
    // SAFETY: the claim under test makes this thread the only one here; loom fails the model if not.
    content.with_mut(|content| unsafe { *content += 1 });
}

/// Two claims that overlap: never both, each tells the truth, what is not claimed is free, and the loser leaves nothing behind.
#[test]
fn claims_that_overlap() {
    ready();
    for inner in INNER {
        check(3, move || claim_both(inner));
    }
}

fn claim_both(inner: (usize, usize)) {
    let content = Arc::new(UnsafeCell::new(0));
    let used = USED.load(Ordering::Relaxed);
    let shared = content.clone();
    let other = spawn(move || {
        let got = claim_exactly(inner.0, inner.1);
        if got {
            use_it(&shared);
        }
        got
    });
    let got = claim_exactly(OUTER.0, OUTER.1);
    if got {
        use_it(&content);
    }
    let other = other.join().unwrap();
    assert!(!(got && other), "both got what overlaps");
    let held = if got { OUTER.1 } else { 0 } + if other { inner.1 } else { 0 };
    assert_eq!(USED.load(Ordering::Relaxed), used + held, "the count of units in use");
    for unit in OUTER.0..OUTER.0 + OUTER.1 {
        let inside = unit >= inner.0 && unit < inner.0 + inner.1;
        assert_eq!(is_free(unit as u32), !got && !(other && inside), "unit {unit}");
    }
}

/// A unit goes from hand to hand: what its last holder wrote is there for the next one.
#[test]
fn a_unit_given_back_and_claimed() {
    ready();
    check(3, || {
        let content = Arc::new(UnsafeCell::new(0));
        assert!(claim_exactly(63, 1));
        let shared = content.clone();
        let other = spawn(move || {
            if claim_exactly(63, 1) {
                use_it(&shared);
                release(63, 1);
            }
        });
        use_it(&content);
        release(63, 1);
        other.join().unwrap();
        assert!(is_free(63));
    });
}

/// A purge takes what it purges: who claims a unit meanwhile does not lose what it writes there.
#[test]
fn a_purge_against_a_claim() {
    ready();
    check(3, || {
        const UNIT: u32 = 127; // the highest: the first that a purge takes
        assert!(claim_exactly(64, 63));
        let purger = spawn(|| crate::arena::purge::purge(0, 1));
        let address = window::address_of(UNIT) as *mut u64;
        let got = claim_exactly(UNIT as usize, 1);
        if got {
            // SAFETY: a committed unit that this thread has claimed.
            unsafe { address.write_volatile(0x5eed) };
            // Something that the purge does too, so that each order of the two is tried.
            unit_is_dirty_for_others(UNIT as usize);
        }
        purger.join().unwrap();
        if got {
            // SAFETY: as above.
            assert_eq!(unsafe { address.read_volatile() }, 0x5eed, "purged in use");
        } else {
            assert!(is_free(UNIT), "the purge kept it");
        }
    });
}

/// Writes the word of `Dirty` that holds a claimed unit.
fn unit_is_dirty_for_others(unit: usize) {
    // SAFETY: below the bound.
    unsafe { unit_word(Region::Dirty, unit / 64) }.fetch_or(1 << (unit % 64), Ordering::Relaxed);
}
