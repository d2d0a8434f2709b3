//! One live block as the tests remember it, and the pattern that fills it.
//! The pattern is a function of the block's seed and the byte's offset, so whoever holds the record can check the bytes, on any thread or in a forked child.
//! Small blocks are filled whole, big ones at their ends and at sampled places, so that memory stays small and time short.

use super::api::Way;

/// A live block.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Its address.
    pub addr: usize,
    /// The size asked for.
    pub size: usize,
    /// The alignment asked for.
    pub align: usize,
    /// How it was asked for.
    pub way: Way,
    /// The bytes that belong to it: the usable size where the face tells it, else the size.
    pub extent: usize,
    /// The pattern's seed.
    pub seed: u64,
}

/// Blocks up to this many bytes are filled whole.
const WHOLE: usize = 8192;
/// At each end of a larger block.
const END: usize = 256;
/// At each sampled place inside.
const SAMPLE: usize = 16;
/// How many places are sampled.
const SAMPLES: usize = 32;

/// The byte ranges of a block of `extent` bytes that the pattern covers.
fn regions(extent: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = extent <= WHOLE;
    let step = (extent / SAMPLES) & !7;
    let inside = (1..SAMPLES).map(move |i| (i * step, i * step + SAMPLE));
    let ends = [(0, if whole { extent } else { END }), (extent.saturating_sub(END), extent)];
    ends.into_iter().take(if whole { 1 } else { 2 }).chain(inside.take(if whole {
        0
    } else {
        SAMPLES
    }))
}

fn word(seed: u64, offset: usize) -> u64 {
    (seed ^ (offset as u64 >> 3)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) ^ seed
}

fn byte(seed: u64, offset: usize) -> u8 {
    word(seed, offset).to_le_bytes()[offset & 7]
}

impl Block {
    /// Writes the pattern.
    ///
    /// # Safety
    /// `extent` bytes at `addr` are the caller's to write.
    pub unsafe fn fill(&self) {
        for (from, to) in regions(self.extent) {
            let mut at = from;
            while at < to {
                let pointer = (self.addr + at) as *mut u8;
                // SAFETY: at..to lies inside the block.
                unsafe {
                    if at & 7 == 0 && at + 8 <= to {
                        pointer.cast::<u64>().write_unaligned(word(self.seed, at).to_le());
                        at += 8;
                    } else {
                        pointer.write(byte(self.seed, at));
                        at += 1;
                    }
                }
            }
        }
    }

    /// Checks the pattern over the block's first `length` bytes.
    ///
    /// # Safety
    /// The block is live.
    pub unsafe fn check(&self, length: usize) -> Result<(), String> {
        for (from, to) in regions(self.extent) {
            let to = to.min(length);
            let mut at = from;
            while at < to {
                let pointer = (self.addr + at) as *const u8;
                // SAFETY: at..to lies inside the block.
                let good = unsafe {
                    if at & 7 == 0 && at + 8 <= to {
                        at += 8;
                        pointer.cast::<u64>().read_unaligned() == word(self.seed, at - 8).to_le()
                    } else {
                        at += 1;
                        pointer.read() == byte(self.seed, at - 1)
                    }
                };
                if !good {
                    return Err(format!("{self:x?}: the pattern is broken before byte {at}"));
                }
            }
        }
        Ok(())
    }

    /// Checks that the covered bytes of the first `length` are zero.
    ///
    /// # Safety
    /// The block is live.
    pub unsafe fn check_zero(&self, length: usize) -> Result<(), String> {
        for (from, to) in regions(length) {
            for at in from..to {
                // SAFETY: inside the block.
                if unsafe { ((self.addr + at) as *const u8).read() } != 0 {
                    return Err(format!("{self:x?}: byte {at} of zeroed memory is not zero"));
                }
            }
        }
        Ok(())
    }

    /// One past the last byte; a block of no bytes still counts as one.
    pub fn end(&self) -> usize {
        self.addr + self.extent.max(1)
    }
}
