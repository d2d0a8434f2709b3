//! Flushing a magazine of a small class into the slabs of the heap whose lock is held.
//!
//! A slab that is this heap's, of the right class and quiet (current or hinted) is recognised by one
//! comparison. Neighbours in a row become a range of bits (`row.rs`); otherwise the bitset engine turns all pointers into (unit,
//! index) at once and each sets one bit. Everything else goes the long way round in `remote.rs`.

use super::lock::Held;
use super::mark::{Marked, mark};
use super::{remote, row, slab};
use crate::bitset::{self, BATCH, Located, Spacing};
use crate::hit::window;
use crate::layout::{Identity, Record, UNIT_BYTES};
use crate::misuse::Misuse;
use crate::size_class::{Class, SMALL_CLASSES};
use crate::sync::Ordering;
use core::mem::MaybeUninit;

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
    if row::Row::of(class, blocks).is_some_and(|row| row::give(held.heap(), &row, class)) {
        return Ok(());
    }
    give_each(held, class, shape, expected, blocks)
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
    let records = window.records.load(Ordering::Relaxed) as *const Record;
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
