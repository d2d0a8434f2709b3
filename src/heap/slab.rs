//! Class slabs: 64 KiB cut into blocks of one small class.
//!
//! `local` has a bit per free block that only the holder of the owning heap's lock touches;
//! `remote` collects what others free. Refills take the lowest bits of the lowest slabs, so that
//! allocation concentrates and sparse slabs drain.
//!
//! Carve: header, local, remote, owner, then the map (others may look from here on). Retire: hint
//! cleared, remote folded, local tested, owner, map, and the free bit last.

use super::hint;
use super::lock::{Held, heap, try_lock};
use super::{Batch, sweep};
use crate::arena::{tables, units, window};
use crate::bitset;
use crate::layout::{KIND_NONE, KIND_SLAB, NO_HEAP, NO_UNIT, Record, UNIT_BYTES};
use crate::misuse::{Fault, Misuse};
use crate::size_class::Class;
use core::sync::atomic::{AtomicU64, Ordering};

/// Most slabs of its own heap that one refill takes blocks from.
const SLABS_PER_REFILL: usize = 4;

/// The first `bits` bits of a bitmap, as whole words.
#[inline(always)]
pub(super) fn words(bitmap: &[AtomicU64], bits: usize) -> &[AtomicU64] {
    bitmap.get(..bits.div_ceil(64)).unwrap_or(bitmap)
}

/// Writes `bits` ones into a bitmap, zeroes behind them up to the word's end.
pub(super) fn fill(bitmap: &[AtomicU64], bits: usize) {
    for (index, word) in words(bitmap, bits).iter().enumerate() {
        let left = bits - index * 64;
        word.store(if left >= 64 { u64::MAX } else { (1 << left) - 1 }, Ordering::Relaxed);
    }
}

/// Makes a claimed unit a slab of `class` in this heap, all free, and the class's current slab.
pub(super) fn carve(held: &Held, unit: u32, class: Class) {
    // SAFETY: a claimed unit is below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    let blocks = UNIT_BYTES / class.size();
    record.class.store(class.index() as u32, Ordering::Relaxed);
    record.blocks.store(blocks as u32, Ordering::Relaxed);
    record.free.store(blocks as u32, Ordering::Relaxed);
    record.low.store(0, Ordering::Relaxed);
    fill(&record.local, blocks);
    for word in words(&record.remote, blocks) {
        word.store(0, Ordering::Relaxed);
    }
    record.owner.store(held.index(), Ordering::Relaxed);
    hint::set_owned(unit, held.index(), true);
    entry.kind.store(KIND_SLAB, Ordering::Relaxed);
    entry.class.store(class.index() as u8, Ordering::Release);
    make_current(held, unit, class);
}

/// Makes `unit` the slab that refills of `class` look into first.
fn make_current(held: &Held, unit: u32, class: Class) {
    let current = held.current(class.index());
    let old = current.load(Ordering::Relaxed);
    current.store(unit, Ordering::Relaxed);
    if old != NO_UNIT && old != unit {
        // Another thread may have carved one meanwhile, or left something in the old one.
        // SAFETY: current slabs are below the bound.
        let record = unsafe { tables::record(old) };
        if record.free.load(Ordering::Relaxed) != 0 {
            hint::set_own(old, class.index());
        }
    }
}

/// Takes up to `want - out.len()` of the slab's local blocks, lowest first.
fn take_local(record: &Record, unit: u32, class: Class, want: usize, out: &mut Batch) {
    let blocks = record.blocks.load(Ordering::Relaxed) as usize;
    let low = record.low.load(Ordering::Relaxed) as usize;
    // SAFETY: the lock's holder is the only writer of local; the batch has room for `want` blocks;
    // every bit below `blocks` stands for a block inside the unit.
    let taken = unsafe {
        bitset::engine().expand(
            words(&record.local, blocks),
            low,
            want - out.len(),
            window::address_of(unit),
            class.size(),
            out.end(),
        )
    };
    out.grow(taken.taken);
    record.low.store(taken.next_word as u32, Ordering::Relaxed);
    let free = record.free.load(Ordering::Relaxed);
    record.free.store(free - taken.taken as u32, Ordering::Relaxed);
}

/// Fills `out` from the heap's slabs of `class`, and from at most two of other heaps.
pub(super) fn take(held: &Held, class: Class, want: usize, out: &mut Batch) -> Result<(), Misuse> {
    let current = held.current(class.index());
    let unit = current.load(Ordering::Relaxed);
    if unit != NO_UNIT {
        // SAFETY: current slabs are below the bound.
        let record = unsafe { tables::record(unit) };
        if record.free.load(Ordering::Relaxed) != 0 {
            take_local(record, unit, class, want, out);
            if out.len() == want {
                return Ok(());
            }
        }
        hint::clear(unit, class.index());
        fold(record, unit, class)?;
        if record.free.load(Ordering::Relaxed) != 0 {
            take_local(record, unit, class, want, out);
            if out.len() == want {
                return Ok(());
            }
        }
    }
    for _ in 0..SLABS_PER_REFILL {
        let Some(unit) = hint::find_own(held, class.index(), 0) else { break };
        hint::clear(unit, class.index());
        // SAFETY: hints stand for units below the bound.
        let record = unsafe { tables::record(unit) };
        if record.class.load(Ordering::Relaxed) != class.index() as u32 {
            continue; // a stale hint: the unit is a slab of another class by now
        }
        fold(record, unit, class)?;
        if record.free.load(Ordering::Relaxed) != 0 {
            make_current(held, unit, class);
            take_local(record, unit, class, want, out);
            if out.len() == want {
                return sweep::look_around(held, 2);
            }
        }
    }
    if out.len() == 0 {
        for unit in hint::find_foreign(held, class.index()).into_iter().flatten() {
            if adopt(held, unit, class.index())? {
                // SAFETY: as above.
                let record = unsafe { tables::record(unit) };
                make_current(held, unit, class);
                take_local(record, unit, class, want, out);
                break;
            }
        }
    }
    sweep::look_around(held, 2)
}

/// Takes a slab over from another heap, if that heap's lock is free, the slab is still of this
/// class, is not that heap's current slab and has a free block. Folds it.
pub(super) fn adopt(held: &Held, unit: u32, class: usize) -> Result<bool, Misuse> {
    // SAFETY: hints stand for units below the bound.
    let record = unsafe { tables::record(unit) };
    let owner = record.owner.load(Ordering::Relaxed);
    if owner == NO_HEAP || record.class.load(Ordering::Relaxed) != class as u32 {
        // Stale. Should it have been carved for this class in the same moment, its owner's refills
        // and sweeps find it again: it is current there.
        hint::clear(unit, class);
        if record.owner.load(Ordering::SeqCst) != NO_HEAP
            && record.class.load(Ordering::SeqCst) == class as u32
        {
            hint::set(unit, class);
        }
        return Ok(false);
    }
    if owner == held.index() {
        return Ok(false);
    }
    let Some(other) = try_lock(heap(owner)) else { return Ok(false) };
    if record.owner.load(Ordering::Relaxed) != owner
        || record.class.load(Ordering::Relaxed) != class as u32
        || other.current(class).load(Ordering::Relaxed) == unit
    {
        return Ok(false);
    }
    hint::clear(unit, class);
    if class <= crate::size_class::SMALL_CLASSES {
        fold(record, unit, Class::from_index(class))?;
    } else {
        super::run::fold(record, unit)?;
    }
    if record.free.load(Ordering::Relaxed) == 0 {
        return Ok(false);
    }
    hint::set_owned(unit, owner, false);
    record.owner.store(held.index(), Ordering::Relaxed);
    hint::set_owned(unit, held.index(), true);
    Ok(true)
}

/// Moves what others have freed from `remote` to `local`. The hint was cleared before.
pub(super) fn fold(record: &Record, unit: u32, class: Class) -> Result<(), Misuse> {
    let blocks = record.blocks.load(Ordering::Relaxed) as usize;
    let mut count = 0;
    let mut lowest = usize::MAX;
    for (index, remote) in words(&record.remote, blocks).iter().enumerate() {
        if remote.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let bits = remote.swap(0, Ordering::Acquire);
        // SAFETY: local has as many words as remote.
        let local = unsafe { record.local.get_unchecked(index) };
        let before = local.load(Ordering::Relaxed);
        if before & bits != 0 {
            let block = index * 64 + (before & bits).trailing_zeros() as usize;
            let pointer = window::address_of(unit) + block * class.size();
            return Err(Misuse { fault: Fault::DoubleFree, pointer });
        }
        local.store(before | bits, Ordering::Relaxed);
        count += bits.count_ones();
        lowest = lowest.min(index);
    }
    if count != 0 {
        let free = record.free.load(Ordering::Relaxed);
        record.free.store(free + count, Ordering::Relaxed);
        let low = record.low.load(Ordering::Relaxed);
        record.low.store(low.min(lowest as u32), Ordering::Relaxed);
    }
    Ok(())
}

/// After blocks came back to a slab of this heap: retires it if it is empty, else sets its hint,
/// unless it is the current slab.
#[inline]
pub(super) fn settle(held: &Held, record: &Record, unit: u32) -> Result<(), Misuse> {
    let class = record.class.load(Ordering::Relaxed) as usize;
    let free = record.free.load(Ordering::Relaxed);
    if free == 0 || held.current(class).load(Ordering::Relaxed) == unit {
        return Ok(());
    }
    if free == record.blocks.load(Ordering::Relaxed) {
        return retire(held, record, unit, class);
    }
    hint::set_own(unit, class);
    Ok(())
}

/// Gives an empty slab, which is not current, back to the arena.
pub(super) fn retire(held: &Held, record: &Record, unit: u32, class: usize) -> Result<(), Misuse> {
    hint::clear(unit, class);
    // All of local is set, so a remote bit can only be a block freed twice.
    if class <= crate::size_class::SMALL_CLASSES {
        fold(record, unit, Class::from_index(class))?;
    } else {
        super::run::fold(record, unit)?;
    }
    hint::set_owned(unit, held.index(), false);
    record.owner.store(NO_HEAP, Ordering::Relaxed);
    record.class.store(0, Ordering::Relaxed);
    // SAFETY: the slab's unit is below the bound.
    let entry = unsafe { tables::entry(unit) };
    entry.class.store(0, Ordering::Relaxed);
    entry.kind.store(KIND_NONE, Ordering::Relaxed);
    units::release(unit, 1);
    held.note_retired();
    Ok(())
}
