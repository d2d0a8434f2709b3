//! Many blocks of one class at a time: refilled straight into the caller's memory, flushed from it.
//!
//! One hold of the heap's lock serves up to 1,024 blocks (a microsecond). A refill is the ordinary one. A flush looks
//! for what a program that frees in bulk mostly has: neighbours in a row, of one slab of the heap
//! whose lock is held, which become a range of bits; all else goes the ordinary way, 32 at a time.

use super::lock::{Held, try_any};
use super::pages::each_word;
use super::{Batch, finish_flush, flush, progression, refill, slab};
use crate::arena::tables;
use crate::hit::window;
use crate::layout::{Identity, UNIT_BYTES, UNIT_SHIFT};
use crate::misuse::Misuse;
use crate::size_class::Class;
use crate::sync::Ordering;

/// Most blocks that are taken or given back under one hold of a lock.
const CHUNK: usize = 1024;
/// Blocks that are compared together, and that an ordinary flush takes.
const GROUP: usize = 32;
/// Fewest blocks that are worth being a row.
const FEW: usize = 8;

/// Writes blocks of `class` to `out` from its start; how many. `home` as in `refill`.
///
/// The slice is filled from its end downwards, each slab's lowest block first, so that neighbours
/// stand in one row however many refills it took.
pub(crate) fn refill_many(home: &mut u32, class: Class, out: &mut [*mut u8]) -> usize {
    let start = out.as_mut_ptr();
    let mut left = out.len();
    while left != 0 {
        // SAFETY: the slots below `start + left` are the slice's.
        let mut batch = unsafe { Batch::below(start.add(left)) };
        if !refill(home, class, left.min(CHUNK), &mut batch) {
            break;
        }
        left -= batch.len();
    }
    let done = out.len() - left;
    if left != 0 {
        out.copy_within(left.., 0);
    }
    done
}

/// Takes back blocks of `class`. NULLs are skipped. As `flush` does, for any number.
pub(crate) fn flush_many(home: &mut u32, class: Class, mut blocks: &[*mut u8]) {
    while !blocks.is_empty() {
        let done = flush_row(home, class, blocks);
        let (chunk, rest) = blocks.split_at(if done != 0 { done } else { blocks.len().min(GROUP) });
        blocks = rest;
        if done == 0 {
            // SAFETY: the chunk can be read and is not too long.
            unsafe { flush(home, class, chunk.as_ptr(), chunk.len()) };
        }
    }
}

/// Gives the row back that the blocks begin with; how many that was. 0, and nothing done, if there is
/// none worth it, or no lock is free.
fn flush_row(home: &mut u32, class: Class, blocks: &[*mut u8]) -> usize {
    if class.is_medium() {
        return 0;
    }
    let Some((unit, index, count)) = find_row(class, blocks) else { return 0 };
    let Some(held) = try_any(home) else { return 0 };
    let outcome = match give_row(&held, class, unit, index, count) {
        Ok(true) => Ok(()),
        Ok(false) => return 0,
        Err(misuse) => Err(misuse),
    };
    finish_flush(held, outcome, *home, class, count);
    count
}

/// The row of neighbours that the blocks begin with: the unit of the lowest, its index there, and their
/// number. Looks at the pointers alone.
#[inline]
fn find_row(class: Class, blocks: &[*mut u8]) -> Option<(u32, usize, usize)> {
    let [first, second, ..] = *blocks else { return None };
    let (first, size) = (first as usize, class.size());
    let stride = (second as usize).wrapping_sub(first);
    if stride != size && stride != size.wrapping_neg() {
        return None;
    }
    let window = window();
    let offset = first.wrapping_sub(window.base.load(Ordering::Relaxed));
    let unit = offset >> UNIT_SHIFT;
    let within = offset % UNIT_BYTES;
    let index = ((within as u64 * class.reciprocal()) >> 32) as usize;
    if unit >= window.units.load(Ordering::Acquire) || index * size != within {
        return None;
    }
    // The slab's other end ends the row, though the next slab may go on with it.
    let room = if stride == size { UNIT_BYTES / size - index } else { index + 1 };
    let blocks = blocks.get(..blocks.len().min(CHUNK).min(room))?;
    let mut count = 0;
    let (groups, _) = blocks.as_chunks::<GROUP>();
    for group in groups {
        let expected = first.wrapping_add(stride.wrapping_mul(count));
        if group[0] as usize != expected || !progression::is_one(group, stride) {
            break;
        }
        count += GROUP;
    }
    while let Some(block) = blocks.get(count) {
        if *block as usize != first.wrapping_add(stride.wrapping_mul(count)) {
            break;
        }
        count += 1;
    }
    let lowest = if stride == size { index } else { index + 1 - count };
    (count >= FEW).then_some((unit as u32, lowest, count))
}

/// Frees a row into a slab of the heap whose lock is held; `false`, and nothing done, if there is
/// anything out of the ordinary about it.
fn give_row(
    held: &Held,
    class: Class,
    unit: u32,
    index: usize,
    count: usize,
) -> Result<bool, Misuse> {
    // SAFETY: `find_row` gives units below the bound.
    let record = unsafe { tables::record(unit) };
    let identity = record.identity();
    let own = Identity::new(class.index(), held.index());
    if identity.loud() != own || index + count > record.blocks.load(Ordering::Relaxed) as usize {
        return Ok(false);
    }
    let local = &record.local;
    let mut end = 0;
    let all = each_word(index, index + count, |word, mask| {
        end = word * 64;
        let Some(word) = local.get(word) else { return false };
        let before = word.load(Ordering::Relaxed);
        if before & mask == 0 {
            word.store(before | mask, Ordering::Relaxed);
        }
        before & mask == 0
    });
    if !all {
        // One of them is free already: the ordinary way will find which.
        each_word(index, end, |word, mask| {
            if let Some(word) = local.get(word) {
                word.store(word.load(Ordering::Relaxed) & !mask, Ordering::Relaxed);
            }
            true
        });
        return Ok(false);
    }
    let used = record.used.load(Ordering::Relaxed) - count as u32;
    record.used.store(used, Ordering::Relaxed);
    if used == 0 || identity == own {
        slab::settle(held, record, unit)?;
    }
    Ok(true)
}
