//! Class slabs: 64 KiB cut into blocks of one small class.
//!
//! `local` has a bit per free block that only the holder of the owning heap's lock touches;
//! `remote` collects what others free. Refills take the lowest bits of the lowest slabs, so that
//! allocation concentrates and sparse slabs drain.
//!
//! Carve: header, local, remote, owner, then the map (others may look from here on). Retire: hint
//! cleared, remote folded, local tested, owner, map, and the free bit last.
//!
//! Modelled by `heap::models`: `remote_free_against_fold` and its kin, `remote_free_against_a_move_to_another_heap` (`adopt`),
//! `retire_against_remote_free`, `retire_against_a_claim_of_the_unit`.

use super::hint::{self, OfClass};
use super::lock::{Held, heap, try_lock};
use super::{Batch, run, sweep};
use crate::arena::{purge, tables, units, window};
use crate::bitset;
use crate::layout::{
    FITTING, Heap, Identity, KIND_NONE, KIND_SLAB, NO_ROW, NO_UNIT, REQUESTED, ROOMY, RUN, Record,
    UNIT_BYTES, UNKNOWN,
};
use crate::misuse::{Fault, Misuse};
use crate::size_class::{Class, SMALL_CLASSES};
use crate::sync::{AtomicU64, Ordering};

/// Most slabs of its own heap that one refill takes blocks from.
const SLABS_PER_REFILL: usize = 4;

/// The first `bits` bits of a bitmap, as whole words.
#[inline(always)]
pub(super) fn words(bitmap: &[AtomicU64], bits: usize) -> &[AtomicU64] {
    bitmap.get(..bits.div_ceil(64)).unwrap_or(bitmap)
}

/// Writes `bits` ones into a bitmap, zeroes behind them up to the word's end.
pub(super) fn fill(bitmap: &[AtomicU64], bits: usize) {
    let (whole, rest) = (bits / 64, bits % 64);
    for word in words(bitmap, whole * 64) {
        word.store(u64::MAX, Ordering::Relaxed);
    }
    if rest != 0
        && let Some(word) = bitmap.get(whole)
    {
        word.store((1 << rest) - 1, Ordering::Relaxed);
    }
}

/// Makes a claimed unit a slab of `class` in this heap, all free, and the class's current slab.
pub(super) fn carve(held: &Held, unit: u32, class: Class) {
    // SAFETY: a claimed unit is below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    let blocks = UNIT_BYTES / class.size();
    record.blocks.store(blocks as u32, Ordering::Relaxed);
    record.used.store(0, Ordering::Relaxed);
    fill(&record.local, blocks);
    for word in words(&record.remote, blocks) {
        word.store(0, Ordering::Relaxed);
    }
    record.set_identity(Identity::new(class.index(), held.index()));
    hint::set_owned(unit, held.index(), true);
    entry.kind.store(KIND_SLAB, Ordering::Relaxed);
    entry.set_class(class.index());
    make_current(held, unit, class.index());
}

/// Forgets where the class's current slab might have a row: lower blocks may be free by now.
#[inline(always)]
pub(super) fn forget_row(heap: &Heap, class: Class) {
    let unit = heap.current_of(class.index()).load(Ordering::Relaxed);
    if unit != NO_UNIT {
        // SAFETY: current slabs are below the bound.
        unsafe { tables::record(unit) }.row.store(NO_ROW, Ordering::Relaxed);
    }
}

/// Makes `unit` the slab that refills of `class` (or `RUN`) look into first. It has no hint.
pub(super) fn make_current(held: &Held, unit: u32, class: usize) {
    let current = held.current(class);
    let old = current.load(Ordering::Relaxed);
    // SAFETY: current slabs are below the bound.
    let (record, old_record) = unsafe {
        (tables::record(unit), if old == NO_UNIT { None } else { Some(tables::record(old)) })
    };
    record.set_identity(record.identity().quiet());
    if old == unit {
        return;
    }
    current.store(unit, Ordering::Relaxed);
    let purged = record.purged.load(Ordering::Relaxed);
    if purged != 0 {
        if purged & REQUESTED == 0 {
            purge::regret(purged.count_ones() as usize * tables::page());
        }
        record.purged.store(0, Ordering::Relaxed);
    }
    record.row.store(NO_ROW, Ordering::Relaxed);
    record.seen.store(0, Ordering::Relaxed);
    if let Some(record) = old_record {
        // Another thread may have carved one meanwhile, or left something in the old one.
        leave_hint(record, old, class);
    }
}

/// Sets a slab's hint if something can be taken from it; quiet from then on, else loud. It has none.
#[inline]
pub(super) fn leave_hint(record: &Record, unit: u32, class: usize) {
    if class == RUN {
        return leave_hint_of_run(record, unit);
    }
    if is_full(record) {
        record.set_identity(record.identity().loud());
    } else {
        hint::set_own(unit, class);
        record.set_identity(record.identity().quiet());
    }
}

/// The same for a run slab.
#[inline(never)]
fn leave_hint_of_run(record: &Record, unit: u32) {
    match record.fits.load(Ordering::Relaxed) as usize {
        ROOMY => hint::set_own(unit, UNKNOWN),
        fits if fits > SMALL_CLASSES => hint::set_fitting(record, unit),
        _ => return record.set_identity(record.identity().loud()),
    }
    record.set_identity(record.identity().quiet());
}

/// Whether nothing can be taken from a slab of a small class.
#[inline]
fn is_full(record: &Record) -> bool {
    record.used.load(Ordering::Relaxed) == record.blocks.load(Ordering::Relaxed)
}

/// Whether nothing can be taken from a slab of either kind.
fn has_nothing(record: &Record, class: usize) -> bool {
    if class == RUN {
        record.fits.load(Ordering::Relaxed) as usize <= SMALL_CLASSES
    } else {
        is_full(record)
    }
}

/// Takes a slab's hint back, before a fold: it is loud until it is current or hinted again.
pub(super) fn clear_hint(record: &Record, unit: u32, class: usize) {
    clear_hints(unit, class);
    record.set_identity(record.identity().loud());
}

/// Whether a slab has its hint.
pub(super) fn is_hinted(unit: u32, class: usize) -> bool {
    if class == RUN {
        hint::is_set(unit, UNKNOWN) || hint::is_set(unit, FITTING)
    } else {
        hint::is_set(unit, class)
    }
}

/// Takes a hint back, whatever row it is in and whatever the slab is by now.
pub(super) fn clear_hints(unit: u32, class: usize) {
    if class == RUN {
        hint::clear(unit, FITTING);
        hint::clear(unit, UNKNOWN); // where those leave theirs who free without the lock
    } else {
        hint::clear(unit, class);
    }
}

/// Takes up to `want - out.len()` of the slab's local blocks, lowest first.
#[inline(always)]
fn take_local(record: &Record, unit: u32, class: Class, want: usize, out: &mut Batch) {
    let local = words(&record.local, record.blocks.load(Ordering::Relaxed) as usize);
    // SAFETY: the lock's holder is the only writer of local; the batch has room for `want` blocks;
    // every bit below `blocks` stands for a block inside the unit.
    let expanded = unsafe {
        bitset::engine().expand(
            local,
            0,
            want - out.len(),
            window::address_of(unit),
            class.size(),
            out.next(),
        )
    };
    out.grow(expanded.taken);
    if expanded.taken == 0 {
        return;
    }
    // A row may go on behind the last one taken.
    // SAFETY: `expand` has written at least the lowest block, so the slot after it was written too.
    let last = unsafe { out.next().read() } as usize - window::address_of(unit);
    let index = (last as u64 * class.reciprocal()) >> 32;
    record.row.store(index as u32 + 1, Ordering::Relaxed);
    let used = record.used.load(Ordering::Relaxed);
    record.used.store(used + expanded.taken as u32, Ordering::Relaxed);
}

/// The usual refill: the current slab has all the blocks that are wanted. `false` if not, with
/// what it had in `out`.
#[inline(always)]
pub(super) fn take_from_current(held: &Held, class: Class, want: usize, out: &mut Batch) -> bool {
    let unit = held.current(class.index()).load(Ordering::Relaxed);
    if unit == NO_UNIT {
        return false;
    }
    // SAFETY: current slabs are below the bound.
    take_local(unsafe { tables::record(unit) }, unit, class, want, out);
    out.len() == want
}

/// Goes on filling `out`: folds the current slab (which has nothing left in local), then takes from
/// up to 4 slabs of the heap, and if there is nothing at all from at most two of other heaps.
pub(super) fn take(held: &Held, class: Class, want: usize, out: &mut Batch) -> Result<(), Misuse> {
    let index = class.index();
    let unit = held.current(index).load(Ordering::Relaxed);
    if unit != NO_UNIT {
        // SAFETY: current slabs are below the bound.
        let record = unsafe { tables::record(unit) };
        hint::clear(unit, index);
        fold(record, unit, class)?;
        if record.used.load(Ordering::Relaxed) != record.blocks.load(Ordering::Relaxed) {
            take_local(record, unit, class, want, out);
            if out.len() == want {
                return Ok(());
            }
        }
    }
    for _ in 0..SLABS_PER_REFILL {
        let Some(unit) = hint::find_own(held, OfClass(index)) else { break };
        // SAFETY: hints stand for units below the bound.
        let record = unsafe { tables::record(unit) };
        if record.identity().class() != index {
            hint::clear(unit, index); // stale: the unit is a slab of another class by now
            continue;
        }
        clear_hint(record, unit, index);
        fold(record, unit, class)?;
        if record.used.load(Ordering::Relaxed) != record.blocks.load(Ordering::Relaxed) {
            make_current(held, unit, index);
            take_local(record, unit, class, want, out);
            if out.len() == want {
                return sweep::after_refill(held);
            }
        }
    }
    if out.len() == 0 {
        for unit in hint::find_foreign(held, OfClass(index)).into_iter().flatten() {
            if adopt(held, unit, index)? {
                // SAFETY: as above.
                let record = unsafe { tables::record(unit) };
                make_current(held, unit, index);
                take_local(record, unit, class, want, out);
                break;
            }
        }
    }
    sweep::look_around(held, 2)
}

/// Takes a slab over from another heap, if that heap's lock is free, the slab is still of this
/// class, is not that heap's current slab and has a free block. Folds it. It has no hint then.
pub(super) fn adopt(held: &Held, unit: u32, class: usize) -> Result<bool, Misuse> {
    // SAFETY: hints stand for units below the bound.
    let record = unsafe { tables::record(unit) };
    let seen = record.identity();
    let Some(owner) = seen.owner().filter(|_| seen.class() == class) else {
        // Stale. Should it have been carved for this class in the same moment, and should its owner
        // have relied on the bit, it is set again.
        clear_hints(unit, class);
        crate::sync::fence(Ordering::SeqCst);
        if record.identity().class() == class {
            hint::set(unit, class);
        }
        return Ok(false);
    };
    if owner == held.index() {
        return Ok(false);
    }
    let Some(other) = try_lock(heap(owner)) else { return Ok(false) };
    let now = record.identity();
    if now.class() != class
        || !now.is_of(owner)
        || other.current(class).load(Ordering::Relaxed) == unit
    {
        return Ok(false);
    }
    clear_hint(record, unit, class);
    fold_any(record, unit, class)?;
    if has_nothing(record, class) {
        return Ok(false);
    }
    hint::set_owned(unit, owner, false);
    record.set_identity(Identity::new(class, held.index()));
    hint::set_owned(unit, held.index(), true);
    Ok(true)
}

/// Folds a slab of either kind.
pub(super) fn fold_any(record: &Record, unit: u32, class: usize) -> Result<(), Misuse> {
    if class == RUN {
        run::fold(record, unit)
    } else if class != 0 && class <= SMALL_CLASSES {
        fold(record, unit, Class::from_index(class))
    } else {
        Ok(())
    }
}

/// Moves what others have freed from `remote` to `local`. The hint was cleared before.
pub(super) fn fold(record: &Record, unit: u32, class: Class) -> Result<(), Misuse> {
    let blocks = record.blocks.load(Ordering::Relaxed) as usize;
    let mut count = 0;
    let remotes = words(&record.remote, blocks);
    // Mostly there is nothing, and a search says so sooner than a look at each word.
    let Some(first) = bitset::first_set(remotes) else { return Ok(()) };
    for (index, remote) in remotes.iter().enumerate().skip(first / 64) {
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
    }
    if count != 0 {
        record.row.store(NO_ROW, Ordering::Relaxed);
        let used = record.used.load(Ordering::Relaxed);
        record.used.store(used - count, Ordering::Relaxed);
    }
    Ok(())
}

/// After blocks came back to a slab of this heap: retires it if it is empty, else sets its hint,
/// unless it is the current slab.
#[inline(never)]
pub(super) fn settle(held: &Held, record: &Record, unit: u32) -> Result<(), Misuse> {
    let class = record.identity().class();
    if held.current(class).load(Ordering::Relaxed) == unit {
        record.set_identity(record.identity().quiet());
        return Ok(());
    }
    settle_other(held, record, unit, class)
}

/// `settle` for a slab that is not current.
#[inline]
pub(super) fn settle_other(
    held: &Held,
    record: &Record,
    unit: u32,
    class: usize,
) -> Result<(), Misuse> {
    if record.used.load(Ordering::Relaxed) == 0 {
        return retire(held, record, unit, class);
    }
    leave_hint(record, unit, class);
    Ok(())
}

/// Gives an empty slab, which is not current, back to the arena.
#[cold]
pub(super) fn retire(held: &Held, record: &Record, unit: u32, class: usize) -> Result<(), Misuse> {
    clear_hint(record, unit, class);
    // All of local is set, so a remote bit can only be a block freed twice.
    fold_any(record, unit, class)?;
    hint::set_owned(unit, held.index(), false);
    record.set_identity(Identity::NONE);
    // SAFETY: the slab's unit is below the bound.
    let entry = unsafe { tables::entry(unit) };
    entry.set_class(0);
    entry.kind.store(KIND_NONE, Ordering::Relaxed);
    units::release(unit, 1);
    held.note_retired();
    Ok(())
}
