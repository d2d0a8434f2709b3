//! Flushing a magazine of a small class into the slabs of the heap whose lock is held.
//!
//! All pointers are turned into (unit, index) at once by the bitset engine; then each sets one bit.
//! A slab that is this heap's, of the right class and quiet (current or hinted) is recognised by
//! one comparison; everything else goes the long way round in `remote.rs`, block by block.

use super::lock::Held;
use super::{remote, slab};
use crate::arena::tables;
use crate::bitset::{self, BATCH, Located, Spacing};
use crate::hit::window;
use crate::layout::{Identity, UNIT_BYTES};
use crate::misuse::Misuse;
use crate::size_class::{Class, SMALL_CLASSES};
use core::sync::atomic::Ordering;

/// How the blocks of each small class lie.
static SPACINGS: [Spacing; SMALL_CLASSES + 1] = {
    let mut table = [Spacing::new(16); SMALL_CLASSES + 1];
    let mut class = 1;
    while class <= SMALL_CLASSES {
        table[class] = Spacing::new(16 * class);
        class += 1;
    }
    table
};

/// Frees blocks of a small class. NULLs are skipped. Stops at the first pointer that is wrong.
#[inline(never)]
pub(super) fn give(held: &Held, class: Class, blocks: &[*mut u8]) -> Result<(), Misuse> {
    let window = window();
    let mut located = [Located { index: 0, unit: 0 }; BATCH];
    // SAFETY: small classes are below the table's length.
    let spacing = unsafe { *SPACINGS.get_unchecked(class.index()) };
    // SAFETY: a magazine has fewer than BATCH blocks, and the slice can be read.
    let faults = unsafe {
        bitset::engine().locate(
            blocks.as_ptr(),
            blocks.len(),
            window.base.load(Ordering::Relaxed),
            window.units.load(Ordering::Relaxed),
            spacing,
            &mut located,
        )
    };
    if faults != 0 {
        return remote::give_all(Some(held), class, blocks);
    }
    let expected = Identity::new(class.index(), held.index()).quiet();
    let limit = (UNIT_BYTES / spacing.size()) as u32;
    for (place, block) in located.iter().zip(blocks) {
        // SAFETY: `locate` has checked that the unit is below the bound.
        let record = unsafe { tables::record(place.unit) };
        if record.identity() == expected && place.index < limit {
            // SAFETY: the index is below the number of blocks, so its word is one of local's.
            let word = unsafe { record.local.get_unchecked(place.word()) };
            let before = word.load(Ordering::Relaxed);
            if before & place.bit() == 0 {
                word.store(before | place.bit(), Ordering::Relaxed);
                let used = record.used.load(Ordering::Relaxed) - 1;
                record.used.store(used, Ordering::Relaxed);
                if used == 0 {
                    slab::settle(held, record, place.unit)?;
                }
                continue;
            }
        }
        remote::give_all(Some(held), class, core::slice::from_ref(block))?;
    }
    Ok(())
}
