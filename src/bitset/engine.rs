//! The engine's operations as methods of a one-byte handle, each dispatched to the chosen instruction set.
//! What all backends share sits here: clamping, positions inside a word, bitmaps too small for vectors.
//! Below it are the backends (`scalar`, `avx2`, `avx512`, `neon`); above it `mod.rs`, the interface.

use crate::sync::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::dispatch::{Backend, Isa, chosen};
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use super::neon;
use super::{BATCH, Expanded, Located, Spacing, run, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Bitmaps up to so many words take the inlined scalar loop on every backend: a call into vector code costs more.
const SMALL: usize = 8;

/// Bitmaps of fewer words are searched four words at a time: a few vectors one by one are no faster.
const MIDDLE: usize = 16;

/// The instruction set chosen, with the proof that the CPU has it. One byte: fetch it once per refill, flush or search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine(Isa);

/// The engine of the process: see [`set_backend`](super::set_backend).
#[inline]
#[must_use]
pub fn engine() -> Engine {
    Engine(chosen())
}

/// Calls the function of that name in the module of the chosen backend.
macro_rules! on {
    ($engine:expr, $name:ident($($argument:expr),*)) => {
        match $engine.0 {
            Isa::Scalar => scalar::$name($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(have) => avx2::$name(have, $($argument),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(have) => avx512::$name(have, $($argument),*),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Isa::Neon(have) => neon::$name(have, $($argument),*),
        }
    };
}

impl Engine {
    /// An engine of one particular backend, where the CPU has it.
    #[must_use]
    pub fn new(backend: Backend) -> Option<Engine> {
        Isa::check(backend).map(Engine)
    }

    /// The backend behind it.
    #[must_use]
    pub const fn backend(self) -> Backend {
        self.0.backend()
    }

    /// The lowest set bit.
    #[inline]
    #[must_use]
    pub fn first_set(self, words: &[AtomicU64]) -> Option<usize> {
        if words.len() <= SMALL {
            return scalar::first_set_small(words);
        }
        if words.len() < MIDDLE {
            return scalar::first_set(words);
        }
        on!(self, first_set(words))
    }

    /// The lowest set bit at or after `from`.
    #[inline]
    #[must_use]
    pub fn first_set_from(self, words: &[AtomicU64], from: usize) -> Option<usize> {
        let (head, rest) = split_at_bit(words, from)?;
        let word = head.load(Relaxed) >> (from % 64);
        if word != 0 {
            return Some(from + word.trailing_zeros() as usize);
        }
        let bit = self.first_set(rest)?;
        Some((from / 64 + 1) * 64 + bit)
    }

    /// The highest set bit.
    #[inline]
    #[must_use]
    pub fn last_set(self, words: &[AtomicU64]) -> Option<usize> {
        if words.len() <= SMALL {
            return scalar::last_set_small(words);
        }
        on!(self, last_set(words))
    }

    /// The lowest bit set in both bitmaps; the longer one is cut to the length of the shorter.
    #[inline]
    #[must_use]
    pub fn first_set_and(self, a: &[AtomicU64], b: &[AtomicU64]) -> Option<usize> {
        let (a, b) = same_length(a, b);
        if a.len() <= SMALL {
            return scalar::first_set_and_small(a, b);
        }
        on!(self, first_set_and(a, b))
    }

    /// The lowest bit at or after `from` that is set in both bitmaps.
    #[inline]
    #[must_use]
    pub fn first_set_and_from(
        self,
        a: &[AtomicU64],
        b: &[AtomicU64],
        from: usize,
    ) -> Option<usize> {
        let (a_head, a_rest) = split_at_bit(a, from)?;
        let (b_head, b_rest) = split_at_bit(b, from)?;
        let word = (a_head.load(Relaxed) & b_head.load(Relaxed)) >> (from % 64);
        if word != 0 {
            return Some(from + word.trailing_zeros() as usize);
        }
        let bit = self.first_set_and(a_rest, b_rest)?;
        Some((from / 64 + 1) * 64 + bit)
    }

    /// The lowest set bit at or after `from` of a two-level bitmap: bit `i` of `summary` says that the `group` words
    /// from word `i * group` on may hold a set bit, and a clear summary bit that they need not be looked at.
    ///
    /// A summary bit that is set over empty words is passed over, so a summary may be cleared late. The bits of the
    /// group that holds `from` are searched from `from` on whatever its summary bit says.
    #[inline]
    #[must_use]
    pub fn first_set_summary(
        self,
        summary: &[AtomicU64],
        words: &[AtomicU64],
        group: usize,
        from: usize,
    ) -> Option<usize> {
        let group = group.max(1);
        let mut next = from / 64 / group;
        if !from.is_multiple_of(64) || !(from / 64).is_multiple_of(group) {
            let here = words.get(..(next + 1).saturating_mul(group).min(words.len()))?;
            if let Some(bit) = self.first_set_from(here, from) {
                return Some(bit);
            }
            next += 1;
        }
        loop {
            let found = self.first_set_from(summary, next)?;
            let start = found.checked_mul(group)?;
            let here = words.get(start..start.saturating_add(group).min(words.len()))?;
            if let Some(bit) = self.first_set(here) {
                return Some(start * 64 + bit);
            }
            next = found + 1;
        }
    }

    /// The lowest run of `n` set bits that lies within the first `max_words` words; no other word is read.
    /// A run of 0 counts as one of 1.
    #[inline]
    #[must_use]
    pub fn first_run(self, words: &[AtomicU64], n: usize, max_words: usize) -> Option<usize> {
        let words = words.get(..max_words).unwrap_or(words);
        if n <= 1 {
            return self.first_set(words);
        }
        self.run(words, n, 1)
    }

    /// The lowest run of `n` set bits that starts at a multiple of `align`, a power of two (another value is rounded
    /// up to one). A run of 0 counts as one of 1.
    ///
    /// Up to 64 bits each word is read about once. Longer runs are searched from their ends: about one word in
    /// `n / 64` is read where the bitmap is sparse, and none more than twice.
    #[inline]
    #[must_use]
    pub fn first_run_aligned(self, words: &[AtomicU64], n: usize, align: usize) -> Option<usize> {
        self.run(words, n.max(1), align.checked_next_power_of_two()?)
    }

    /// `n` at least 1, `align` a power of two.
    fn run(self, words: &[AtomicU64], n: usize, align: usize) -> Option<usize> {
        if n.div_ceil(64) > words.len() {
            return None;
        }
        if n > 64 || align > 64 {
            return run::long(self, words, n, align);
        }
        let starts = run::starts(align);
        if words.len() <= 4 {
            return run::short(words, n as u32, starts);
        }
        #[cfg(target_arch = "x86_64")]
        if let Isa::Avx512(have) = self.0
            && words.len() <= 8
        {
            // A vector of eight words needs a ninth; two of four do not.
            return avx2::short_run(have.avx2(), words, n as u32, starts);
        }
        on!(self, short_run(words, n as u32, starts))
    }

    /// The lowest run of 64 set bits in the words from that of bit `from` on, if vectors find it.
    #[inline]
    pub(super) fn full_row(self, words: &[AtomicU64], from: usize) -> Option<usize> {
        let first = from / 64;
        let bit = on!(self, short_run(words.get(first..)?, 64, !0))?;
        Some(first * 64 + bit)
    }

    /// The highest word that is not all ones, as an index.
    #[inline]
    pub(super) fn last_not_full(self, words: &[AtomicU64]) -> Option<usize> {
        if words.len() <= SMALL {
            return words.iter().rposition(|w| w.load(Relaxed) != !0);
        }
        on!(self, last_not_full(words))
    }

    /// The index of the first byte that is at least `least`.
    #[inline]
    #[must_use]
    pub fn first_byte_at_least(self, bytes: &[AtomicU8], least: u8) -> Option<usize> {
        if bytes.len() <= SMALL {
            return bytes.iter().position(|b| b.load(Relaxed) >= least);
        }
        on!(self, first_byte_at_least(bytes, least))
    }

    /// How many of the first `bits` bits are set.
    #[inline]
    #[must_use]
    pub fn count(self, words: &[AtomicU64], bits: usize) -> usize {
        let (whole, part, mask) = split_length(words, bits);
        let part = part.map_or(0, |w| (w.load(Relaxed) & mask).count_ones() as usize);
        part + on!(self, count(whole))
    }

    /// Whether the first `bits` bits are all set.
    #[inline]
    #[must_use]
    pub fn all_set(self, words: &[AtomicU64], bits: usize) -> bool {
        let (whole, part, mask) = split_length(words, bits);
        if part.is_some_and(|w| !w.load(Relaxed) & mask != 0) {
            return false;
        }
        if whole.len() <= SMALL {
            return whole.iter().fold(!0, |all, w| all & w.load(Relaxed)) == !0;
        }
        on!(self, all_set(whole))
    }

    /// Whether any of the first `bits` bits is set.
    #[inline]
    #[must_use]
    pub fn any_set(self, words: &[AtomicU64], bits: usize) -> bool {
        let (whole, part, mask) = split_length(words, bits);
        part.is_some_and(|w| w.load(Relaxed) & mask != 0) || self.first_set(whole).is_some()
    }

    /// Whether each of the first `bits` bits is set in at least one of the two bitmaps.
    #[inline]
    #[must_use]
    pub fn all_set_or(self, a: &[AtomicU64], b: &[AtomicU64], bits: usize) -> bool {
        let (a, b) = same_length(a, b);
        let (a, a_part, mask) = split_length(a, bits);
        let (b, b_part, _) = split_length(b, bits);
        if let (Some(a), Some(b)) = (a_part, b_part)
            && !(a.load(Relaxed) | b.load(Relaxed)) & mask != 0
        {
            return false;
        }
        if a.len() <= SMALL {
            let pairs = a.iter().zip(b);
            return pairs.fold(!0, |all, (a, b)| all & (a.load(Relaxed) | b.load(Relaxed))) == !0;
        }
        on!(self, all_set_or(a, b))
    }

    /// Takes up to `k` of the lowest set bits of `local` from word `from_word` on: clears them and writes the address
    /// `base + index * size` of each. Empty words at the beginning are passed over as a search would, so that
    /// nobody need search first. Reads each word from `from_word` on once, up to the one that holds the last bit taken.
    ///
    /// The pointers go *downward* from `out_top`, which is one past the first: the lowest address lies in the highest
    /// slot. Of the `k` slots below `out_top` those that were not needed hold rubbish afterwards; nothing is written
    /// outside the `k`. Each word is stored with its bits cleared before the call returns, so before the caller can
    /// publish a pointer.
    ///
    /// # Safety
    /// The caller is the only writer of `local` during the call. The `k` slots below `out_top` are writable and
    /// nobody else's. `size` is less than 2^32, and so is every index.
    #[inline]
    pub unsafe fn expand(
        self,
        local: &[AtomicU64],
        from_word: usize,
        k: usize,
        base: usize,
        size: usize,
        out_top: *mut *mut u8,
    ) -> Expanded {
        let Some(words) = local.get(from_word..) else {
            return Expanded { taken: 0, next_word: from_word };
        };
        let first = base.wrapping_add((from_word * 64).wrapping_mul(size));
        // SAFETY: the caller's promise is the backend's condition.
        let rest = unsafe { on!(self, expand(words, k, first, size, out_top)) };
        let next_word = (rest.at.addr() - local.as_ptr().addr()) / size_of::<AtomicU64>();
        Expanded { taken: k - rest.left, next_word }
    }

    /// Finds where `k` pointers of one size class lie: see [`Located`].
    ///
    /// `base` is the address of unit 0, `units` the number of units there are. Bit `i` of the answer is set where
    /// pointer `i` has no place (NULL, outside the units, or not at the start of a block that ends within its unit); its entry is rubbish then.
    /// Entries from `k` on are rubbish too.
    ///
    /// # Safety
    /// `k` (at most 32; more counts as 32) pointers can be read at `pointers`.
    #[inline]
    #[must_use]
    pub unsafe fn locate(
        self,
        pointers: *const *mut u8,
        k: usize,
        base: usize,
        units: usize,
        spacing: &Spacing,
        out: &mut [Located; BATCH],
    ) -> u32 {
        // SAFETY: the caller's promise is the backend's condition.
        unsafe { on!(self, locate(pointers, k.min(BATCH), base, units, spacing, out)) }
    }
}

/// Both slices, cut to the length of the shorter.
#[inline(always)]
fn same_length<'a>(a: &'a [AtomicU64], b: &'a [AtomicU64]) -> (&'a [AtomicU64], &'a [AtomicU64]) {
    let n = a.len().min(b.len());
    // SAFETY: n is at most either length.
    unsafe { (a.get_unchecked(..n), b.get_unchecked(..n)) }
}

/// The word that holds bit `from`, and the words behind it; `None` beyond the end.
#[inline(always)]
fn split_at_bit(words: &[AtomicU64], from: usize) -> Option<(&AtomicU64, &[AtomicU64])> {
    words.get(from / 64..)?.split_first()
}

/// The first `bits` bits as whole words, the word that holds the rest of them, and the mask of that rest.
#[inline(always)]
fn split_length(words: &[AtomicU64], bits: usize) -> (&[AtomicU64], Option<&AtomicU64>, u64) {
    match words.split_at_checked(bits / 64) {
        Some((whole, rest)) => {
            let mask = (1 << (bits % 64)) - 1;
            (whole, if mask == 0 { None } else { rest.first() }, mask)
        }
        None => (words, None, 0),
    }
}
