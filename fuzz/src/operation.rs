//! What a sequence consists of, and how the fuzzer's bytes become one. Sizes are drawn so that every path is common: the small
//! classes, the medium ones, spans of 64 KiB units, and a rare very large one, often at a power of two or one beside it. Nothing
//! here depends on the allocator.

use arbitrary::{Arbitrary, Result, Unstructured};

/// One operation. A slot is a place of the live set; an operation on an empty slot does nothing.
#[derive(Arbitrary, Clone, Debug)]
pub enum Operation {
    /// One block; what the slot held is freed.
    Allocate { slot: u8, size: Size, align: Align, zeroed: bool },
    /// The same layout into consecutive slots: refills, whole slabs.
    Many { slot: u8, count: u8, size: Size, align: Align },
    /// One block from the other thread, freed here later.
    AllocateElsewhere { slot: u8, size: Size, align: Align },
    /// `realloc`, to any size.
    Resize { slot: u8, size: Size },
    /// Frees one block, here or on the other thread.
    Free { slot: u8, remote: bool },
    /// Frees every `step`-th slot: holes, flushes.
    FreeMany { slot: u8, count: u8, step: u8, remote: bool },
    /// Looks at every live block.
    Verify,
    /// Gives back what can be given back.
    Trim,
    /// Reads the statistics.
    Statistics,
}

/// A size of at least one byte.
#[derive(Clone, Copy, Debug)]
pub struct Size(u32);

impl Size {
    /// The size in bytes.
    pub fn bytes(self) -> usize {
        self.0 as usize
    }
}

impl<'a> Arbitrary<'a> for Size {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Size> {
        let size = match u.int_in_range(0..=127u8)? {
            0..=71 => u.int_in_range(1..=1024u32)?,
            72..=103 => u.int_in_range(1025..=32 << 10)?,
            104..=117 => {
                let power = 1u32 << u.int_in_range(0..=20u8)?;
                power - 1 + u.int_in_range(0..=2u32)?
            }
            118..=125 => u.int_in_range((32 << 10) + 1..=512 << 10)?,
            126 => u.int_in_range((512 << 10) + 1..=4 << 20)?,
            _ => u.int_in_range((4 << 20) + 1..=300 << 20)?,
        };
        Ok(Size(size.max(1)))
    }
}

/// An alignment of 1 byte to 4 MiB, small ones far more often.
#[derive(Clone, Copy, Debug)]
pub struct Align(u8);

impl Align {
    /// The alignment in bytes.
    pub fn bytes(self) -> usize {
        1 << self.0
    }
}

impl<'a> Arbitrary<'a> for Align {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Align> {
        Ok(Align(match u.int_in_range(0..=15u8)? {
            0..=9 => u.int_in_range(0..=4u8)?,
            10..=13 => u.int_in_range(5..=12u8)?,
            14 => u.int_in_range(13..=17u8)?,
            _ => u.int_in_range(18..=22u8)?,
        }))
    }
}
