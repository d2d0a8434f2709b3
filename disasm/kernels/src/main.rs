//! Links every kernel of the bitset engine, on every backend that the target has, so that each can be looked at.
//! Run, it calls each of them once on a small bitmap.
//! The allocator itself uses only some of them, and inlines others.

use bitmag::bitset::{BATCH, Backend, Engine, Located, Spacing};
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64};

/// Enough words, and bytes, for the widest vector's step.
const WORDS: usize = 64;

fn main() {
    for engine in Backend::ALL.into_iter().filter_map(Engine::new) {
        let words: [AtomicU64; WORDS] = std::array::from_fn(|_| AtomicU64::new(!0));
        let bytes: [AtomicU8; WORDS] = std::array::from_fn(|_| AtomicU8::new(1));
        let words = black_box(&words[..]);
        black_box(engine.first_set(words));
        black_box(engine.last_set(words));
        black_box(engine.first_set_and(words, words));
        black_box(engine.first_run(words, black_box(9), WORDS));
        black_box(engine.first_run_aligned(words, black_box(200), black_box(8)));
        black_box(engine.first_byte_at_least(black_box(&bytes[..]), 1));
        black_box(engine.count(words, 64 * WORDS));
        black_box(engine.all_set(words, 64 * WORDS));
        black_box(engine.all_set_or(words, words, 64 * WORDS));

        let mut blocks = [ptr::null_mut::<u8>(); BATCH];
        let mut places = [Located::default(); BATCH];
        // SAFETY: `blocks` has room for `BATCH` pointers, and the words are this program's.
        unsafe {
            let top = blocks.as_mut_ptr().add(BATCH);
            black_box(engine.expand(words, 0, black_box(BATCH), 1 << 16, 64, top));
            let spacing = Spacing::new(64);
            let faults = engine.locate(blocks.as_ptr(), BATCH, 1 << 16, 1, &spacing, &mut places);
            assert_eq!(faults, 0, "{}", engine.backend().name());
        }
        println!("{}: {} blocks taken", engine.backend().name(), BATCH);
    }
}
