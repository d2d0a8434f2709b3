//! The bitset engine against a naive oracle: one runner drives every backend over the same bitmaps.
//! Each bitmap lies against a guard page, so a read beyond it ends the test.
//! `BITMAG_BACKEND` limits the runner to one backend; one that the CPU lacks is reported as "not run".

/// Where the engine takes its atomics from.
#[cfg(not(feature = "bitset"))]
#[allow(unused_imports, reason = "which ones depends on the target")]
mod sync {
    pub use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
}

#[cfg(feature = "bitset")]
use bitmag::bitset;
#[cfg(not(feature = "bitset"))]
#[path = "../../src/bitset/mod.rs"]
#[allow(dead_code, unused_imports)]
mod bitset;

mod memory;
mod oracle;
mod properties;
mod runner;
mod sweeps;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use bitset::{BATCH, Backend, Engine, Group, Located};

#[test]
fn names_and_forcing() {
    for backend in Backend::ALL {
        assert_eq!(Backend::from_name(backend.name().as_bytes()), Some(backend));
        assert_eq!(Engine::new(backend).is_some(), backend.is_available());
    }
    assert_eq!(Backend::from_name(b"sse2"), None);
    assert!(Backend::Scalar.is_available());
    assert!(Backend::detect().is_available());
    let before = bitset::backend();
    assert_eq!(before, Backend::detect());
    for backend in Backend::ALL {
        assert_eq!(bitset::set_backend(backend), backend.is_available());
        if backend.is_available() {
            assert_eq!(bitset::backend(), backend);
            assert_eq!(bitset::engine().backend(), backend);
        }
    }
    assert!(bitset::set_backend(before));
}

#[test]
fn merge_folds_neighbours_and_shows_double_frees() {
    let at = |unit, index| Located { unit, index };
    let mut out = [Group::default(); BATCH];
    assert_eq!(bitset::merge(&[], &mut out), 0);
    let places = [at(0, 0), at(0, 63), at(0, 64), at(1, 64), at(1, 65), at(1, 65), at(0, 0)];
    let n = bitset::merge(&places, &mut out);
    let group = |unit, word, bits| Group { unit, word, bits };
    let expected =
        [group(0, 0, 1 | 1 << 63), group(0, 1, 1), group(1, 1, 3), group(1, 1, 2), group(0, 0, 1)];
    assert_eq!(out[..n], expected);
    let many: Vec<Located> = (0..40).map(|i| at(i, 0)).collect();
    assert_eq!(bitset::merge(&many, &mut out), BATCH);

    let word = std::sync::atomic::AtomicU64::new(0);
    assert_eq!(bitset::set_plain(&word, 3), 0);
    assert_eq!(bitset::set_plain(&word, 6), 2);
    assert_eq!(bitset::set_shared(&word, 8), 7);
    assert_eq!(word.load(Relaxed), 15);
    for index in [4, 63, 64 + 62] {
        assert!(!bitset::set_bit(&word, index));
        assert!(bitset::set_bit(&word, index));
    }
    assert_eq!(word.load(Relaxed), 31 | 3 << 62);
}

/// A search while another thread sets and clears a word: the answer is that word's bit, or the one behind it that stays.
#[test]
fn searching_words_that_change() {
    const WORDS: usize = 700;
    let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
    words[WORDS - 1].store(1 << 63, Relaxed);
    let last = Some(WORDS * 64 - 1);
    let (word, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let word = &words[word.load(Relaxed)];
                word.store(1 << 5, Relaxed);
                word.store(0, Relaxed);
            }
        });
        // Stops the other thread whatever happens, or a failure would wait for it.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let _stop = Stop(&stop);
        for engine in runner::engines() {
            for round in 0..100_000 {
                let at = round / 100 * 37 % (WORDS - 1);
                word.store(at, Relaxed);
                // The other thread may still be at the word before.
                let found = engine.first_set(&words);
                assert!(found == last || found.is_some_and(|bit| bit % 64 == 5), "{found:?}");
                let found = engine.first_set_and(&words, &words);
                assert!(found == last || found.is_some_and(|bit| bit % 64 == 5), "{found:?}");
                assert_eq!(engine.last_set(&words), last);
            }
        }
    });
}
