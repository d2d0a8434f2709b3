//! Giving blocks back: plain writes into own slabs, one atomic add per word into everyone else's.
//!
//! A remote free reads the class from the slab's record, adds the block's bits to `remote` (they
//! were 0 in a correct program, so adding sets them; one that was set is a double free) and sets the
//! slab's hint if the word was 0 before. Two steps, nothing to wait for. A fold clears the hint
//! first and then swaps all words, so a bit it misses has its hint set behind it.
//!
//! Modelled by `heap::models::remote_free_against_*` and `a_free_under_another_heaps_lock`.

use super::hint;
use super::lock::Held;
use super::{run, slab};
use crate::arena::{direct, spans, tables, window};
use crate::bitset::Located;
use crate::layout::{GRANULE_SHIFT, KIND_NONE, KIND_RUN, KIND_SLAB, RUN, Record, UNIT_BYTES};
use crate::misuse::{Fault, Misuse};
use crate::size_class::Class;
use crate::sync::Ordering;

/// Where a block of a slab is: its unit, the record, and the bit it has in `remote`.
pub(crate) struct Place {
    pub unit: u32,
    pub record: &'static Record,
    pub class: Class,
    /// Block index in a class slab, first granule in a run slab.
    index: usize,
}

/// Finds the slab block that `pointer` is, whatever its class, or says what is wrong with it.
///
/// Spans and direct mappings are no slab blocks: they count as of the wrong size here.
pub(crate) fn locate(pointer: usize) -> Result<Place, Fault> {
    let Some(unit) = window::unit_of(pointer) else {
        return Err(if direct::sizes(pointer as *const u8).is_some() {
            Fault::WrongSize
        } else {
            Fault::Foreign
        });
    };
    // SAFETY: `unit_of` gives units below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    let offset = pointer % UNIT_BYTES;
    match entry.kind.load(Ordering::Acquire) {
        KIND_SLAB => {
            let class = record.identity().class();
            if class == 0 || class >= RUN {
                return Err(Fault::DoubleFree); // it is being retired or carved: nothing lives in it
            }
            let class = Class::from_index(class);
            let index = ((offset as u64 * class.reciprocal()) >> 32) as usize;
            if index * class.size() != offset
                || index >= record.blocks.load(Ordering::Relaxed) as usize
            {
                return Err(Fault::Inside);
            }
            Ok(Place { unit, record, class, index })
        }
        KIND_RUN => {
            let index = offset >> GRANULE_SHIFT;
            // SAFETY: an offset into a unit shifted to granules is below GRANULES.
            let byte = unsafe { tables::granule(unit, index) }.load(Ordering::Relaxed);
            if index << GRANULE_SHIFT != offset {
                return Err(Fault::Inside);
            }
            if byte == 0 {
                // SAFETY: as above, in words.
                let word =
                    unsafe { record.local.get_unchecked(index / 64) }.load(Ordering::Relaxed);
                let free = word >> (index % 64) & 1 != 0;
                return Err(if free { Fault::DoubleFree } else { Fault::Inside });
            }
            Ok(Place { unit, record, class: run::class_of_byte(byte), index })
        }
        KIND_NONE => Err(fault_outside_slabs(unit, pointer)),
        _ if offset == 0 => Err(Fault::WrongSize),
        _ => Err(Fault::Inside),
    }
}

/// What is wrong with a pointer into a unit that is neither slab nor span.
#[cold]
#[inline(never)]
fn fault_outside_slabs(unit: u32, pointer: usize) -> Fault {
    if direct::sizes(pointer as *const u8).is_some() {
        Fault::WrongSize // a mapping of its own, which the window passed over
    } else {
        spans::fault_outside(unit)
    }
}

impl Place {
    /// Frees the block for the holder of the owning heap's lock.
    #[inline]
    fn free_local(&self, pointer: usize) -> Result<(), Misuse> {
        if self.class.is_medium() {
            run::free_local(self.record, self.unit, self.index, self.class);
            return Ok(());
        }
        let record = self.record;
        // SAFETY: the index is below the number of blocks, so its word is one of local's.
        let word = unsafe { record.local.get_unchecked(self.index / 64) };
        let bit = 1u64 << (self.index % 64);
        let before = word.load(Ordering::Relaxed);
        if before & bit != 0 {
            return Err(Misuse { fault: Fault::DoubleFree, pointer });
        }
        word.store(before | bit, Ordering::Relaxed);
        let used = record.used.load(Ordering::Relaxed);
        record.used.store(used - 1, Ordering::Relaxed);
        Ok(())
    }
}

/// Adds bits to a slab's `remote` word, and its hint if the word was empty. `class` is a small class
/// or `RUN`. The bits that were set already, if any: freed twice.
pub(super) fn add(
    record: &Record,
    unit: u32,
    class: usize,
    word: usize,
    bits: u64,
) -> Result<(), u64> {
    // SAFETY: the word holds the bit of a block of the slab.
    let remote = unsafe { record.remote.get_unchecked(word) };
    let before = remote.fetch_add(bits, Ordering::Release);
    if before & bits != 0 {
        return Err(before & bits);
    }
    if before == 0 {
        hint::set(unit, class);
    }
    Ok(())
}

/// Frees blocks of a slab whose bits lie in one word.
fn free_remote(place: &Place, word: usize, bits: u64) -> Result<(), Misuse> {
    let class = if place.class.is_medium() { RUN } else { place.class.index() };
    add(place.record, place.unit, class, word, bits).map_err(|twice| {
        let index = word * 64 + twice.trailing_zeros() as usize;
        let size = if place.class.is_medium() { 1 << GRANULE_SHIFT } else { place.class.size() };
        let pointer = window::address_of(place.unit) + index * size;
        Misuse { fault: Fault::DoubleFree, pointer }
    })
}

/// Frees blocks, located and right for the size of `class`, into slabs of other heaps than `held`'s from
/// `from` on, those of one word of a slab by one atomic add; how many. Stops at a block that is not in
/// such a slab.
pub(super) fn give_located(
    held: &Held,
    class: Class,
    located: &[Located],
    from: usize,
) -> Result<usize, Misuse> {
    let mut at = from;
    while let Some(first) = located.get(at) {
        // SAFETY: `locate` has compared the unit with the bound.
        let record = unsafe { tables::record(first.unit) };
        let identity = record.identity();
        if identity.class() != class.index() || identity.is_of(held.index()) {
            break;
        }
        let mut bits = first.bit();
        at += 1;
        while let Some(next) = located.get(at) {
            if next.unit != first.unit || next.word() != first.word() || bits & next.bit() != 0 {
                break;
            }
            bits |= next.bit();
            at += 1;
        }
        let word = first.word();
        add(record, first.unit, class.index(), word, bits).map_err(|twice| {
            let index = word * 64 + twice.trailing_zeros() as usize;
            let pointer = window::address_of(first.unit) + index * class.size();
            Misuse { fault: Fault::DoubleFree, pointer }
        })?;
    }
    if at != from {
        super::bump(&held.heap().counters_of(class).remote_frees, at - from);
    }
    Ok(at - from)
}

/// Frees one block of a slab by one remote free: for calls that hold no lock.
///
/// `class` is what a sized free says; the block must be of that class.
pub(crate) fn free_block(place: &Place) -> Result<(), Misuse> {
    free_remote(place, place.index / 64, 1 << (place.index % 64))
}

/// Frees blocks of one class, with the lock of one heap or of none. NULLs are skipped.
///
/// Neighbours in the same slab are looked after together: one settling of the slab, and one atomic
/// add per word. Stops at the first pointer that is wrong.
pub(super) fn give_all(
    held: Option<&Held>,
    class: Class,
    blocks: &[*mut u8],
) -> Result<(), Misuse> {
    let mut blocks =
        blocks.iter().map(|block| *block as usize).filter(|pointer| *pointer != 0).peekable();
    let mut remote_blocks = 0;
    while let Some(pointer) = blocks.next() {
        let place = checked(pointer, class)?;
        let (unit, record) = (place.unit, place.record);
        match held {
            Some(held) if record.identity().is_of(held.index()) => {
                place.free_local(pointer)?;
                while let Some(next) = blocks.next_if(|next| window::unit_of(*next) == Some(unit)) {
                    checked(next, class)?.free_local(next)?;
                }
                slab::settle(held, record, unit)?;
            }
            _ => {
                let word = place.index / 64;
                let mut bits = 1u64 << (place.index % 64);
                remote_blocks += 1;
                while let Some(next) = blocks.peek() {
                    if window::unit_of(*next) != Some(unit) {
                        break;
                    }
                    let next = checked(*next, class)?;
                    let bit = 1 << (next.index % 64);
                    if next.index / 64 != word || bits & bit != 0 {
                        break;
                    }
                    bits |= bit;
                    remote_blocks += 1;
                    blocks.next();
                }
                free_remote(&place, word, bits)?;
            }
        }
    }
    if remote_blocks != 0 {
        match held {
            Some(held) => super::bump(&held.heap().counters_of(class).remote_frees, remote_blocks),
            None => crate::stats::count_remote(class, remote_blocks),
        }
    }
    Ok(())
}

/// The block that `pointer` is, freed as one of `class`: of that class, or of a larger one that holds it.
#[inline(always)]
fn checked(pointer: usize, class: Class) -> Result<Place, Misuse> {
    match locate(pointer) {
        Ok(place) if place.class.holds(class) => Ok(place),
        Ok(_) => Err(Misuse { fault: Fault::WrongSize, pointer }),
        Err(fault) => Err(Misuse { fault, pointer }),
    }
}
