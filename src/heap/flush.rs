//! Flushing a magazine of a small class into the slabs of the heap whose lock is held.
//!
//! A slab that is this heap's, of the right class and quiet (current or hinted) is recognised by one
//! comparison. Neighbours in a row, as when a program frees in the order it allocated (or in the
//! opposite one), become a range of bits; otherwise the bitset engine turns all pointers into (unit,
//! index) at once and each sets one bit. Everything else goes the long way round in `remote.rs`.

use super::lock::Held;
use super::mark::{Marked, mark};
use super::{remote, slab};
use crate::arena::tables::{self, Region};
use crate::bitset::{self, BATCH, Located, Spacing};
use crate::hit::window;
use crate::layout::{Identity, Record, UNIT_BYTES, UNIT_SHIFT};
use crate::misuse::Misuse;
use crate::size_class::{Class, SMALL_CLASSES};
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

/// How the blocks of a small class lie, and how many a slab has.
#[derive(Clone, Copy)]
struct Shape {
    spacing: Spacing,
    blocks: u32,
}

static SHAPES: [Shape; SMALL_CLASSES + 1] = {
    let mut table = [Shape { spacing: Spacing::new(16), blocks: 0 }; SMALL_CLASSES + 1];
    let mut class = 1;
    while class <= SMALL_CLASSES {
        let spacing = Spacing::new(16 * class);
        table[class] = Shape { spacing, blocks: (UNIT_BYTES / (16 * class)) as u32 };
        class += 1;
    }
    table
};

/// Frees blocks of a small class. NULLs are skipped. Stops at the first pointer that is wrong.
#[inline(always)]
pub(super) fn give(held: &Held, class: Class, blocks: &[*mut u8]) -> Result<(), Misuse> {
    // SAFETY: small classes are below the table's length.
    let shape = unsafe { *SHAPES.get_unchecked(class.index()) };
    let expected = Identity::new(class.index(), held.index()).quiet();
    if give_row(held, shape, expected, blocks)? {
        return Ok(());
    }
    give_each(held, class, shape, expected, blocks)
}

/// Frees blocks that are neighbours in a row; `false`, and nothing done, if they are not, or if
/// anything about them is out of the ordinary.
#[inline(always)]
fn give_row(
    held: &Held,
    shape: Shape,
    expected: Identity,
    blocks: &[*mut u8],
) -> Result<bool, Misuse> {
    let [first, second, ..] = *blocks else { return Ok(false) };
    let (first, count) = (first as usize, blocks.len());
    let stride = (second as usize).wrapping_sub(first);
    let size = shape.spacing.size();
    if stride != size && stride != size.wrapping_neg() {
        return Ok(false);
    }
    // One pass without branches, so that it becomes vector code.
    let mut address = first;
    let mut differs = 0;
    for block in blocks {
        differs |= *block as usize ^ address;
        address = address.wrapping_add(stride);
    }
    let lowest = if stride == size { first } else { address.wrapping_sub(stride) };
    let window = window();
    let offset = lowest.wrapping_sub(window.base.load(Ordering::Relaxed));
    let unit = offset >> UNIT_SHIFT;
    if differs != 0 || unit >= window.units.load(Ordering::Relaxed) {
        return Ok(false);
    }
    // SAFETY: the unit is below the bound.
    let record = unsafe { tables::record(unit as u32) };
    let within = offset % UNIT_BYTES;
    let index = shape.spacing.index(within);
    if record.identity() != expected
        || index * size != within
        || index + count > shape.blocks as usize
        || !set_range(record, index, count)
    {
        return Ok(false);
    }
    let used = record.used.load(Ordering::Relaxed) - count as u32;
    record.used.store(used, Ordering::Relaxed);
    if used == 0 {
        slab::settle(held, record, unit as u32)?;
    }
    Ok(true)
}

/// Sets `count` (1 to 32) bits from `index` on; `false`, and nothing done, if one was set.
#[inline(always)]
fn set_range(record: &Record, index: usize, count: usize) -> bool {
    let (word, shift) = (index / 64, index % 64);
    let bits = u128::from(u64::MAX >> (64 - count)) << shift;
    // SAFETY: the first word holds a block of the slab.
    let low = unsafe { record.local.get_unchecked(word) };
    let before = low.load(Ordering::Relaxed);
    if before & bits as u64 != 0 {
        return false;
    }
    let high = (bits >> 64) as u64;
    if high != 0 {
        // SAFETY: a bit of the second word is a block of the slab.
        let next = unsafe { record.local.get_unchecked(word + 1) };
        let before = next.load(Ordering::Relaxed);
        if before & high != 0 {
            return false;
        }
        next.store(before | high, Ordering::Relaxed);
    }
    low.store(before | bits as u64, Ordering::Relaxed);
    true
}

/// Frees blocks one bit at a time.
#[inline(never)]
fn give_each(
    held: &Held,
    class: Class,
    shape: Shape,
    expected: Identity,
    blocks: &[*mut u8],
) -> Result<(), Misuse> {
    let window = window();
    let mut located = MaybeUninit::<[Located; BATCH]>::uninit();
    // SAFETY: a magazine has fewer than BATCH blocks, and the slice can be read; `locate` writes an
    // entry for each of them and reads none.
    let faults = unsafe {
        bitset::engine().locate(
            blocks.as_ptr(),
            blocks.len(),
            window.base.load(Ordering::Relaxed),
            window.units.load(Ordering::Relaxed),
            shape.spacing,
            &mut *located.as_mut_ptr(),
        )
    };
    if faults != 0 {
        return remote::give_all(Some(held), class, blocks);
    }
    let records = tables::region(Region::Records) as *const Record;
    let located = located.as_ptr().cast::<Located>();
    for (at, block) in blocks.iter().enumerate() {
        // SAFETY: written by `locate`, which has checked that the unit is below the bound.
        let (place, record) = unsafe {
            let place = located.add(at).read();
            (place, &*records.add(place.unit as usize))
        };
        if record.identity() == expected && place.index < shape.blocks {
            // SAFETY: the lock is held, the slab is its heap's, the index below its blocks.
            match unsafe { mark(record, place.index) } {
                Marked::Freed => continue,
                Marked::Emptied => {
                    slab::settle(held, record, place.unit)?;
                    continue;
                }
                Marked::Twice => {}
            }
        }
        remote::give_all(Some(held), class, core::slice::from_ref(block))?;
    }
    Ok(())
}
