//! The bitset engine: finds, takes, expands and fills bits as fast as memory can be read.
//! Refill, flush, slab search, run search and unit search all stand on it; it stands on nothing but `core`.
//! This file holds the interface and its contract; each instruction set has a file of its own beside it.
//!
//! # Contract
//!
//! *Bitmaps* are slices of [`AtomicU64`]: bit `i` of a bitmap is bit `i % 64` of word `i / 64`. Other threads may write
//! the words at any time. Each word is read with relaxed ordering, so an answer is true of every word at some moment
//! during the call, not of all words at one moment: whoever must be sure takes the bit with an atomic operation, or
//! holds the lock under which alone the words change. A position that a search returns was confirmed by an atomic load
//! of its word (of each of its words for a run within one or two words); a search that returns `None` may have missed
//! a bit that was set while it ran.
//!
//! *No function here* allocates, locks, calls the system or panics: they run inside an allocator, under its locks.
//! A length or position beyond the bitmap is clamped, never an error. Nothing is read beyond a slice, not even a byte.
//!
//! *Dispatch.* The instruction set is chosen once per process ([`engine`]), by what the CPU has or by
//! [`set_backend`]. An [`Engine`] is one byte: fetch it once per refill, flush or search and call its methods. The
//! free functions below fetch it themselves. Bitmaps of a few words never leave the inlined scalar loop.
//!
//! # Example
//!
//! The feature `bitset` makes this module public, for whoever wants a fast scanner of bitmaps; `examples/bitset_scan.rs`
//! is a longer example.
//!
#![cfg_attr(feature = "bitset", doc = "```")]
#![cfg_attr(not(feature = "bitset"), doc = "```ignore")]
//! use bitmag::bitset::{self, Backend};
//! use std::sync::atomic::AtomicU64;
//!
//! let words: Vec<AtomicU64> = (0..1000).map(|_| AtomicU64::new(0)).collect();
//! words[700].fetch_or(0xff << 60, std::sync::atomic::Ordering::Relaxed);
//! words[701].fetch_or(0xff, std::sync::atomic::Ordering::Relaxed);
//!
//! assert_eq!(bitset::first_set(&words), Some(700 * 64 + 60));
//! assert_eq!(bitset::first_run(&words, 10, usize::MAX), Some(700 * 64 + 60));
//! assert_eq!(bitset::first_run_aligned(&words, 8, 8), Some(701 * 64));
//! assert_eq!(bitset::count(&words, 64_000), 12);
//!
//! // Another instruction set than the one detected, where the CPU has it:
//! if let Some(engine) = bitset::Engine::new(Backend::Avx2) {
//!     assert_eq!(engine.last_set(&words), Some(701 * 64 + 7));
//! }
//! ```

mod bytes;
mod dispatch;
mod engine;
mod expand;
mod locate;
mod run;
mod scalar;

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod search;
        mod vector;
        mod vector_run;
        mod avx2;
        mod avx2_dense;
        mod avx2_expand;
        mod avx2_locate;
        mod avx512;
        mod avx512_batch;
    } else if #[cfg(all(target_arch = "aarch64", target_endian = "little"))] {
        mod search;
        mod vector;
        mod vector_run;
        mod neon;
    }
}

use crate::sync::{AtomicU8, AtomicU64};

pub(crate) use bytes::bytes_at_least;
pub use dispatch::{Backend, backend, set_backend};
pub use engine::{Engine, engine};
pub use locate::{BATCH, Group, Located, Spacing, merge, set_bit, set_plain, set_shared};
pub(crate) use run::longest as longest_run;

/// What [`Engine::expand`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// Bits taken, and pointers written.
    pub taken: usize,
    /// The first word at or after the start that may still hold a bit: the place to go on from.
    pub next_word: usize,
}

/// The lowest set bit.
#[inline]
#[must_use]
pub fn first_set(words: &[AtomicU64]) -> Option<usize> {
    engine().first_set(words)
}

/// The lowest set bit at or after `from`.
#[inline]
#[must_use]
pub fn first_set_from(words: &[AtomicU64], from: usize) -> Option<usize> {
    engine().first_set_from(words, from)
}

/// The highest set bit.
#[inline]
#[must_use]
pub fn last_set(words: &[AtomicU64]) -> Option<usize> {
    engine().last_set(words)
}

/// The lowest bit set in both bitmaps; the longer one is cut to the length of the shorter.
#[inline]
#[must_use]
pub fn first_set_and(a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize> {
    engine().first_set_and(a, b)
}

/// The lowest bit at or after `from` that is set in both bitmaps.
#[inline]
#[must_use]
pub fn first_set_and_from(a: &[AtomicU64], b: &[AtomicU64], from: usize) -> Option<usize> {
    engine().first_set_and_from(a, b, from)
}

/// The lowest set bit at or after `from` of a two-level bitmap: see [`Engine::first_set_summary`].
#[inline]
#[must_use]
pub fn first_set_summary(
    summary: &[AtomicU64],
    words: &[AtomicU64],
    group: usize,
    from: usize,
) -> Option<usize> {
    engine().first_set_summary(summary, words, group, from)
}

/// The lowest run of `n` set bits within the first `max_words` words: see [`Engine::first_run`].
#[inline]
#[must_use]
pub fn first_run(words: &[AtomicU64], n: usize, max_words: usize) -> Option<usize> {
    engine().first_run(words, n, max_words)
}

/// The lowest run of `n` set bits that starts at a multiple of `align`: see [`Engine::first_run_aligned`].
#[inline]
#[must_use]
pub fn first_run_aligned(words: &[AtomicU64], n: usize, align: usize) -> Option<usize> {
    engine().first_run_aligned(words, n, align)
}

/// The index of the first byte that is at least `least`.
#[inline]
#[must_use]
pub fn first_byte_at_least(bytes: &[AtomicU8], least: u8) -> Option<usize> {
    engine().first_byte_at_least(bytes, least)
}

/// How many of the first `bits` bits are set.
#[inline]
#[must_use]
pub fn count(words: &[AtomicU64], bits: usize) -> usize {
    engine().count(words, bits)
}

/// Whether the first `bits` bits are all set.
#[inline]
#[must_use]
pub fn all_set(words: &[AtomicU64], bits: usize) -> bool {
    engine().all_set(words, bits)
}

/// Whether any of the first `bits` bits is set.
#[inline]
#[must_use]
pub fn any_set(words: &[AtomicU64], bits: usize) -> bool {
    engine().any_set(words, bits)
}

/// Whether each of the first `bits` bits is set in at least one of the two bitmaps.
#[inline]
#[must_use]
pub fn all_set_or(a: &[AtomicU64], b: &[AtomicU64], bits: usize) -> bool {
    engine().all_set_or(a, b, bits)
}
