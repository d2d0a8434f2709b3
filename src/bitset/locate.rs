//! From pointers back to bits: the shapes that a flush works with between its magazine and its bitmaps.
//! `Engine::locate` fills a batch of `Located`, `merge` folds neighbours of one word into `Group`s,
//! and `set_plain` or `set_shared` sets a group's bits, telling of those that were set already.

use crate::sync::{AtomicU64, Ordering};

/// The most pointers that one batch holds: a magazine's slots.
pub const BATCH: usize = 32;

/// How the blocks of a class lie in a unit of 64 KiB: block `i` at byte `i * size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spacing {
    size: u32,
    blocks: u32,
    pub(super) reciprocal: u64,
    /// What an offset times the reciprocal is at most where a whole block begins: the last index in the upper half, one
    /// less than the reciprocal in the lower one.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the vectors' alone"))]
    pub(super) most: u64,
}

impl Spacing {
    /// The spacing of blocks of `size` bytes, 2 to 65536 (another value is clamped).
    #[must_use]
    pub const fn new(size: usize) -> Spacing {
        let size = match size {
            0..=2 => 2,
            3..=0xffff => size as u32,
            _ => 0x1_0000,
        };
        let reciprocal = (1u64 << 32).div_ceil(size as u64);
        let blocks = 0x1_0000 / size;
        Spacing { size, blocks, reciprocal, most: (blocks as u64 - 1) << 32 | (reciprocal - 1) }
    }

    /// Bytes from one block to the next.
    #[inline]
    #[must_use]
    pub const fn size(self) -> usize {
        self.size as usize
    }

    /// 2^32 / size, rounded up.
    #[inline]
    #[must_use]
    pub const fn reciprocal(self) -> u32 {
        self.reciprocal as u32
    }

    /// Whole blocks in a unit.
    #[inline]
    #[must_use]
    pub const fn blocks(self) -> usize {
        self.blocks as usize
    }

    /// The index of the block that holds byte `offset`; exact for offsets below 65536.
    ///
    /// With r = (2^32 + e) / size and e < size, offset * r / 2^32 = offset / size + offset * e / (size * 2^32): the
    /// error is below 1 / size as long as offset * e < 2^32, and both factors are below 2^16 (e is 0 for 65536).
    #[inline]
    #[must_use]
    pub const fn index(self, offset: usize) -> usize {
        ((offset as u64 * (self.reciprocal as u32) as u64) >> 32) as usize
    }
}

/// Where a pointer lies: its unit of 64 KiB, and its block there. In this order the vectors that compute the two hold
/// them where they belong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Located {
    /// The unit, counted from the base.
    pub unit: u32,
    /// The block in its unit; also the number of its bit.
    pub index: u32,
}

impl Located {
    /// The word that holds the block's bit.
    #[inline]
    #[must_use]
    pub const fn word(self) -> usize {
        self.index as usize / 64
    }

    /// The block's bit in that word.
    #[inline]
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << (self.index % 64)
    }
}

/// Bits of one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The unit, counted from the base.
    pub unit: u32,
    /// The word of the unit's bitmap.
    pub word: u32,
    /// The bits to set in it.
    pub bits: u64,
}

/// Folds neighbours that fall into one word, in order, and returns how many groups there are.
///
/// A block that occurs twice opens a second group of the same word, so whoever applies the groups one after another
/// finds its bit already set. Frees in address order fold well, random ones hardly ever, and sorting costs more than
/// it saves where the bits are set plainly.
#[inline]
pub fn merge(located: &[Located], out: &mut [Group; BATCH]) -> usize {
    let mut groups = 0;
    let mut current = Group::default();
    for place in located.iter().take(BATCH) {
        let (word, bit) = (place.index / 64, place.bit());
        let same = current.unit == place.unit && current.word == word;
        if same && current.bits & bit == 0 {
            current.bits |= bit;
            continue;
        }
        if current.bits != 0 {
            // SAFETY: each group closed had an entry of its own among the at most BATCH before this one.
            unsafe { *out.get_unchecked_mut(groups) = current };
            groups += 1;
        }
        current = Group { unit: place.unit, word, bits: bit };
    }
    if current.bits != 0 {
        // SAFETY: at most BATCH entries make at most BATCH groups, this one included.
        unsafe { *out.get_unchecked_mut(groups) = current };
        groups += 1;
    }
    groups
}

/// Sets `bits` by a plain load and store, and returns those that were set before (a double free).
/// For the only writer of the word: the holder of its heap's lock.
#[inline(always)]
pub fn set_plain(word: &AtomicU64, bits: u64) -> u64 {
    let old = word.load(Ordering::Relaxed);
    word.store(old | bits, Ordering::Relaxed);
    old & bits
}

/// Sets one bit, `index` modulo 64, by a plain load and store, and returns whether it was set before (a double free).
/// For the only writer of the word: the holder of its heap's lock.
#[inline(always)]
pub fn set_bit(word: &AtomicU64, index: u32) -> bool {
    cfg_if::cfg_if! {
        if #[cfg(all(target_arch = "x86_64", not(loom)))] {
            // One instruction tells of the old bit while it sets the new one, which no combination of Rust's operators
            // becomes: LLVM tests the bit apart.
            // SAFETY: reads and writes the word, which only the caller writes; aligned eight-byte moves, as a relaxed
            // load and store would be.
            unsafe {
                core::arch::asm!(
                    "mov {bits}, [{word}]",
                    "bts {bits}, {index:r}",
                    "mov [{word}], {bits}",
                    "jc {was_set}",
                    bits = out(reg) _,
                    word = in(reg) word.as_ptr(),
                    index = in(reg) index,
                    was_set = label { return true },
                    options(nostack),
                );
            }
            false
        } else {
            set_plain(word, 1 << (index % 64)) != 0
        }
    }
}

/// Adds `bits` to a word that others write too, and returns the word as it was: in a correct program none of `bits`
/// was set, so that adding sets them in one instruction; one that was set is a double free, and the word is spoilt.
#[inline(always)]
pub fn set_shared(word: &AtomicU64, bits: u64) -> u64 {
    word.fetch_add(bits, Ordering::AcqRel)
}
