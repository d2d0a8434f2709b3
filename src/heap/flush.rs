//! Flushing a magazine of a small class into the slabs of the heap whose lock is held.
//!
//! A slab that is this heap's, of the right class and quiet (current or hinted) is recognised by one
//! comparison. Neighbours in a row become a range of bits (`row.rs`); otherwise the bitset engine turns all pointers into (unit,
//! index) at once and each sets one bit. Everything else goes the long way round in `remote.rs`.

use super::lock::Held;
use super::mark::{Stopped, mark_all};
use super::{remote, row, slab};
use crate::bitset::{self, BATCH, Located, Spacing};
use crate::hit::window;
use crate::layout::{Identity, Record};
use crate::misuse::Misuse;
use crate::size_class::{Class, SMALL_CLASSES};
use crate::sync::Ordering;
use core::mem::MaybeUninit;

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
#[inline(always)]
pub(super) fn give(held: &Held, class: Class, blocks: &[*mut u8]) -> Result<(), Misuse> {
    if row::Row::of(class, blocks).is_some_and(|row| row::give(held.heap(), &row, class)) {
        return Ok(());
    }
    give_each(held, class, blocks)
}

/// Frees blocks one bit at a time.
#[inline(always)]
pub(super) fn give_each(held: &Held, class: Class, blocks: &[*mut u8]) -> Result<(), Misuse> {
    slab::forget_row(held, class);
    let window = window();
    let mut located = MaybeUninit::<[Located; BATCH]>::uninit();
    // SAFETY: a magazine has fewer than BATCH blocks, and the slice can be read; `locate` writes an
    // entry for each of them and reads none. Small classes are below the table's length.
    let faults = unsafe {
        bitset::engine().locate(
            blocks.as_ptr(),
            blocks.len(),
            window.base.load(Ordering::Relaxed),
            window.units.load(Ordering::Relaxed),
            *SPACINGS.get_unchecked(class.index()),
            &mut *located.as_mut_ptr(),
        )
    };
    if faults != 0 {
        return remote::give_all(Some(held), class, blocks);
    }
    let records = window.records.load(Ordering::Relaxed) as *const Record;
    let located = located.as_ptr().cast::<Located>();
    let expected = Identity::new(class.index(), held.index()).quiet();
    let mut from = 0;
    while from < blocks.len() {
        // SAFETY: located by `locate`, which has compared units with the bound and indices with the
        // blocks in a unit; the lock is held.
        match unsafe { mark_all(records, expected, located, from, blocks.len()) } {
            Stopped::Done => break,
            Stopped::Odd(at) => {
                // SAFETY: `locate` has written an entry for each block.
                let all = unsafe { core::slice::from_raw_parts(located, blocks.len()) };
                from = at + remote::give_located(held, class, all, at)?;
                if from == at
                    && let Some(odd) = blocks.get(at..=at)
                {
                    remote::give_all(Some(held), class, odd)?;
                    from = at + 1;
                }
            }
            Stopped::Emptied(at) => {
                // SAFETY: as above.
                let (record, unit) = unsafe {
                    let unit = located.add(at).read().unit;
                    (&*records.add(unit as usize), unit)
                };
                slab::settle(held, record, unit)?;
                from = at + 1;
            }
        }
    }
    Ok(())
}
