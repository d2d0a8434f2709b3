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
use crate::layout::{Heap, Identity, Record};
use crate::misuse::Misuse;
use crate::size_class::{Class, SMALL_CLASSES};
use crate::sync::Ordering;
use core::hint::assert_unchecked;
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
fn give_each(held: &Held, class: Class, blocks: &[*mut u8]) -> Result<(), Misuse> {
    let mut places = Places::uninit();
    // SAFETY: a flush has 1 to 32 blocks, which `mark` locates.
    unsafe {
        match mark(held.heap(), class, blocks, &mut places) {
            Marked::Until(Stopped::Done) => Ok(()),
            marked => go_on(held, class, blocks, &places, marked),
        }
    }
}

/// How far `mark` came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    /// All blocks were located; as `mark_all` says of them.
    Until(Stopped),
    /// One of them is no block of that class: nothing was done.
    Nothing,
}

/// Where the blocks of a flush are.
pub(super) type Places = MaybeUninit<[Located; BATCH]>;

/// Locates blocks of a small class and frees them one bit at a time, up to the first that is not in a quiet
/// slab of this heap, whose lock is held, and of this class, or that empties its slab.
///
/// # Safety
/// There are 1 to `BATCH` blocks.
#[inline(always)]
pub(super) unsafe fn mark(
    heap: &Heap,
    class: Class,
    blocks: &[*mut u8],
    places: &mut Places,
) -> Marked {
    // SAFETY: the caller's contract.
    unsafe { assert_unchecked(!blocks.is_empty() && blocks.len() <= BATCH) };
    slab::forget_row(heap, class);
    let window = window();
    let places = places.as_mut_ptr();
    // SAFETY: the slice can be read; `locate` writes an entry for each of them and reads none. Small classes are below the table's length.
    let faults = unsafe {
        bitset::engine().locate(
            blocks.as_ptr(),
            blocks.len(),
            window.base.load(Ordering::Relaxed),
            window.units.load(Ordering::Relaxed),
            SPACINGS.get_unchecked(class.index()),
            &mut *places,
        )
    };
    if faults != 0 {
        return Marked::Nothing;
    }
    let expected = Identity::new(class.index(), heap.number()).quiet();
    // SAFETY: located by `locate`, which has compared units with the bound and indices with the
    // blocks in a unit; the lock is held.
    Marked::Until(unsafe { mark_all(records(), expected, places.cast(), 0, blocks.len()) })
}

fn records() -> *const Record {
    window().records.load(Ordering::Relaxed) as *const Record
}

/// The rest of a flush that `mark` stopped at.
///
/// # Safety
/// `places` is what `mark` has located `blocks` to.
#[cold]
#[inline(never)]
pub(super) unsafe fn go_on(
    held: &Held,
    class: Class,
    blocks: &[*mut u8],
    places: &Places,
    marked: Marked,
) -> Result<(), Misuse> {
    let Marked::Until(mut stopped) = marked else {
        return remote::give_all(Some(held), class, blocks);
    };
    let records = records();
    let expected = Identity::new(class.index(), held.index()).quiet();
    // SAFETY: `locate` has written an entry for each block.
    let located = unsafe {
        core::slice::from_raw_parts(places.as_ptr().cast::<Located>(), blocks.len().min(BATCH))
    };
    loop {
        let from = match stopped {
            Stopped::Done => return Ok(()),
            Stopped::Odd(at) => {
                let from = at + remote::give_located(held, class, located, at)?;
                if from == at
                    && let Some(odd) = blocks.get(at..=at)
                {
                    remote::give_all(Some(held), class, odd)?;
                    at + 1
                } else {
                    from
                }
            }
            Stopped::Emptied(at) => {
                // SAFETY: a place that `mark_all` has marked.
                let (record, unit) = unsafe {
                    let unit = located.get_unchecked(at).unit;
                    (&*records.add(unit as usize), unit)
                };
                slab::settle(held, record, unit)?;
                at + 1
            }
        };
        if from >= located.len() {
            return Ok(());
        }
        // SAFETY: as in `mark`.
        stopped = unsafe { mark_all(records, expected, located.as_ptr(), from, located.len()) };
    }
}
