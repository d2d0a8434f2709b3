//! Returning the pages of free units, and the settings that say how eagerly.
//!
//! Driven by bytes: purging begins when free memory that may be resident passes a floor and a share
//! of what is in use, and stops at half of that. Beyond that stay, up to eight floors in all, the units
//! that the last peak took and as many bytes inside slabs as were given back and claimed again, until a
//! program that needs less goes on working: each byte that it replaces takes 4 off the first and a
//! quarter off the second. A wave that drains and fills up again replaces little. On the way of a call one batch: 32 units, 8 runs,
//! by one vector call (or a call a run where the kernel has none). A batch is taken first (its free
//! bits are cleared), so that nobody can use it meanwhile, then advised, then given back; a thread
//! that vanishes in a fork in between leaks that batch and no more.
//!
//! 64 units that are all free and clean take their tables with them: their records and granule
//! classes are zero for a free unit, or rewritten when it is carved.

use super::shelf;
use super::tables::{self, Region, free_words, unit_word};
use super::units::{DIRTY, LEAST_DIRTY, READY, SEARCH_WORDS, USED, claim_exactly, mask, put_back};
use super::window;
use crate::config::Config;
use crate::layout::UNIT_SHIFT;

use crate::os::advise::{Range, purge_ranges, takes_vectors};
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Units and runs that one batch takes on the way of a call: 2 MiB, about 50 us of the system's time.
const BATCH: (usize, usize) = (32, 8);
/// The same when the caller asked for it.
const LARGE_BATCH: (usize, usize) = (64, 16);
/// Units that are worth a call once half was reached: not each one that comes back by itself.
const LEAST: usize = 16;
/// Most that may stay free because of a peak that is over, in floors.
const RECENT_FLOORS: usize = 8;
/// Bytes of a peak that are forgotten for each byte that is replaced.
const DECAY: usize = 4;
/// Bytes that are replaced until one is forgotten that was given back inside slabs and claimed again.
const REGRET: usize = 4;
/// Ranges that a run can come to: its blocks and three tables.
const RANGES_PER_RUN: usize = 4;

/// Most of the floor once the soft limit was passed: what a call or two need, so that not every one of them goes to the system.
const TIGHT_FLOOR: usize = 1 << 20;

/// Free bytes that stay resident whatever is in use, and the share of what is in use, percent.
static FLOOR: AtomicUsize = AtomicUsize::new(0);
/// What the shelf leaves of the floor to free units: a sum of its own, so that slow calls read no more words.
static FLOOR_LEFT: AtomicUsize = AtomicUsize::new(0);
static SHARE: AtomicU32 = AtomicU32::new(0);
/// Whether more was dirty than is kept, and half of that is not reached yet.
static DRAINING: AtomicBool = AtomicBool::new(false);
/// Bytes that were in use at the last peak, less what was replaced since.
static RECENT: AtomicUsize = AtomicUsize::new(0);
/// Bytes inside slabs that were given back lately, less what was claimed since; and what of them was
/// claimed again. Both less what was replaced since. A few bytes more or less do not matter.
static RETURNED: AtomicUsize = AtomicUsize::new(0);
static REGRETTED: AtomicUsize = AtomicUsize::new(0);
/// Free bytes in sparse slabs that may be resident, of all heaps, as their last walks saw them.
static IDLE: AtomicUsize = AtomicUsize::new(0);
/// Word of `Free` below which the next batch on the way of a call is looked for.
static CURSOR: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Takes the settings over. Before the first purge only.
pub(crate) fn configure(config: &Config) {
    FLOOR.store(config.purge_floor, Ordering::Relaxed);
    FLOOR_LEFT.store(config.purge_floor, Ordering::Relaxed);
    SHARE.store(config.purge_share, Ordering::Relaxed);
}

/// Keeps little from here on, whatever the settings said: the soft limit was passed.
pub(crate) fn tighten() {
    SHARE.store(0, Ordering::Relaxed);
    FLOOR.fetch_min(TIGHT_FLOOR, Ordering::Relaxed);
    FLOOR_LEFT.fetch_min(TIGHT_FLOOR, Ordering::Relaxed);
    REGRETTED.store(0, Ordering::Relaxed);
}

/// Bytes that may stay free and resident beside `live` bytes in use, `floor_parts` of the floor.
pub(crate) fn allowance(live: usize, floor_parts: usize) -> usize {
    with_share(live, || FLOOR.load(Ordering::Relaxed) / floor_parts.max(1))
}

#[inline(always)]
fn with_share(live: usize, floor: impl FnOnce() -> usize) -> usize {
    let share = SHARE.load(Ordering::Relaxed);
    if share == Config::NEVER {
        return usize::MAX;
    }
    floor().saturating_add(live / 100 * share as usize)
}

/// Bytes that may be free and resident inside one heap's slabs, of which `idle` were when it was walked
/// last, beside `live` bytes in use there: the share and `floor_parts` of the floor, or what was given
/// back and claimed again lately, less what is free elsewhere.
pub(crate) fn allowance_of_slabs(live: usize, floor_parts: usize, idle: usize) -> usize {
    let elsewhere = IDLE.load(Ordering::Relaxed).saturating_sub(idle);
    let elsewhere = elsewhere.saturating_add(DIRTY.load(Ordering::Relaxed) << UNIT_SHIFT);
    let regretted = REGRETTED.load(Ordering::Relaxed).saturating_sub(elsewhere);
    allowance(live, floor_parts).max(regretted)
}

/// Says that so many bytes inside slabs were given back on the way of a call.
pub(crate) fn returned(bytes: usize) {
    RETURNED.fetch_add(bytes, Ordering::Relaxed);
}

/// Says that a slab needed a fresh unit: had pages inside slabs stayed, it might have had room there.
pub(crate) fn note_fresh() {
    if RETURNED.load(Ordering::Relaxed) != 0 {
        regret(1 << UNIT_SHIFT);
    }
}

/// Says that so many bytes inside slabs were given back too soon: they are about to be used again.
#[inline(never)]
pub(crate) fn regret(bytes: usize) {
    let returned = RETURNED.load(Ordering::Relaxed);
    RETURNED.store(returned.saturating_sub(bytes), Ordering::Relaxed);
    if SHARE.load(Ordering::Relaxed) != 0 {
        let most = FLOOR.load(Ordering::Relaxed).saturating_mul(RECENT_FLOORS);
        let sum = REGRETTED.load(Ordering::Relaxed).saturating_add(bytes);
        REGRETTED.store(sum.min(most), Ordering::Relaxed);
    }
}

/// Says that a heap's slabs have `now` instead of `before` bytes free and resident.
pub(crate) fn note_idle(before: usize, now: usize) {
    IDLE.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
}

/// Says how many bytes on the shelf may be resident; asked again until it stays the same.
pub(super) fn shelve(resident: impl Fn() -> usize) {
    for _ in 0..4 {
        let bytes = resident();
        let left = FLOOR.load(Ordering::Relaxed).saturating_sub(bytes);
        FLOOR_LEFT.store(left, Ordering::Relaxed);
        if resident() == bytes {
            return;
        }
    }
}

/// Bytes that may be free and resident beside free units, where `shelved` of the units in use are free.
pub(super) fn room(shelved: usize) -> usize {
    let dirty = DIRTY.load(Ordering::Relaxed) << UNIT_SHIFT;
    let used = USED.load(Ordering::Relaxed) << UNIT_SHIFT;
    allowance(used.saturating_sub(shelved), 1).saturating_sub(dirty)
}

/// Bytes of free units that are kept besides, for what the program made ready ahead.
pub(super) fn ready() -> usize {
    READY.load(Ordering::Relaxed) << UNIT_SHIFT
}

/// What a purge came to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Purged {
    /// Bytes of blocks returned.
    pub bytes: usize,
    /// System calls made.
    pub calls: usize,
}

/// Purges one batch when more dirty memory is free than the settings allow.
#[cold]
#[inline(never)]
pub(crate) fn purge_if_due() {
    crate::background::start_if_wanted();
    let dirty = DIRTY.load(Ordering::Relaxed);
    let left = FLOOR_LEFT.load(Ordering::Relaxed);
    if dirty << UNIT_SHIFT <= left / 2 {
        DRAINING.store(false, Ordering::Relaxed);
        return;
    }
    let live = USED.load(Ordering::Relaxed) << UNIT_SHIFT;
    let kept = (with_share(live, || left) >> UNIT_SHIFT) + READY.load(Ordering::Relaxed);
    let recent = remembered(live) >> UNIT_SHIFT;
    if dirty > kept.max(recent) {
        DRAINING.store(true, Ordering::Relaxed);
    } else if !DRAINING.load(Ordering::Relaxed) {
        return;
    }
    let target = (kept / 2).max(recent.saturating_sub(BATCH.0));
    if dirty <= target {
        DRAINING.store(false, Ordering::Relaxed);
    } else if dirty > kept.max(recent) || dirty >= target + LEAST {
        drain(target);
    }
}

/// Bytes that may stay free because so much more was in use a while ago; takes note of `live`, and of
/// half a floor that came back before this was asked.
fn remembered(live: usize) -> usize {
    let recent = RECENT.load(Ordering::Relaxed);
    let floor = FLOOR.load(Ordering::Relaxed);
    if recent <= live {
        RECENT.store(live.saturating_add(floor / 2), Ordering::Relaxed);
        return 0;
    }
    if SHARE.load(Ordering::Relaxed) == 0 {
        return 0; // who wants no share kept, or is beyond the soft limit, wants no peak remembered
    }
    let most = floor.saturating_mul(RECENT_FLOORS);
    (recent - live).min(most)
}

/// Whether there is a peak, or anything given back too soon, that may be remembered.
#[inline(always)]
pub(crate) fn remembers() -> bool {
    let given_back = RETURNED.load(Ordering::Relaxed) | REGRETTED.load(Ordering::Relaxed);
    RECENT.load(Ordering::Relaxed) | given_back != 0
}

/// Says that so many bytes were replaced: allocated where others had been freed.
pub(crate) fn forget(bytes: usize) {
    for sum in [&RETURNED, &REGRETTED] {
        sum.store(sum.load(Ordering::Relaxed).saturating_sub(bytes / REGRET), Ordering::Relaxed);
    }
    let recent = RECENT.load(Ordering::Relaxed);
    if recent > USED.load(Ordering::Relaxed) << UNIT_SHIFT {
        RECENT.store(recent.saturating_sub(bytes.saturating_mul(DECAY)), Ordering::Relaxed);
    }
}

/// Purges one batch on the way to `target`.
#[inline(never)]
fn drain(target: usize) {
    let live = (USED.load(Ordering::Relaxed) << UNIT_SHIFT).saturating_sub(shelf::bytes());
    shelf::shrink(allowance(live, 1).saturating_add(ready()));
    let mut word = CURSOR.load(Ordering::Relaxed);
    // Where each range takes a call of its own: 8 calls.
    let runs = if takes_vectors() { BATCH.1 } else { 2 };
    let mut batch = Batch::new((BATCH.0, runs));
    batch.gather(&mut word, target, SEARCH_WORDS);
    let done = DIRTY.load(Ordering::Relaxed) <= target;
    // The next one from the top again: what lies low is claimed first.
    CURSOR.store(if done || batch.runs == 0 { usize::MAX } else { word }, Ordering::Relaxed);
    batch.finish();
}

/// Units that nobody needed since this was asked last: free and dirty all the time.
pub(crate) fn idle_units() -> usize {
    let dirty = DIRTY.load(Ordering::Relaxed);
    LEAST_DIRTY.swap(dirty, Ordering::Relaxed).min(dirty)
}

/// Free units that may be resident.
pub(crate) fn dirty_units() -> usize {
    DIRTY.load(Ordering::Relaxed)
}

/// Purges free dirty units, highest first, until `keep` are left, `calls` system calls were made or
/// the system refuses. With all of the calls that there are, the tables of all free words go too.
pub(crate) fn purge(keep: usize, calls: usize) -> Purged {
    let mut sum = Purged::default();
    let mut word = usize::MAX;
    while sum.calls < calls {
        let runs =
            if takes_vectors() { LARGE_BATCH.1 } else { (calls - sum.calls) / RANGES_PER_RUN };
        let mut batch = Batch::new((LARGE_BATCH.0, runs.min(LARGE_BATCH.1)));
        batch.tables = calls == usize::MAX;
        batch.gather(&mut word, keep, usize::MAX);
        if batch.runs == 0 {
            break;
        }
        let (purged, whole) = batch.finish();
        sum.bytes += purged.bytes;
        sum.calls += purged.calls;
        if !whole {
            break;
        }
    }
    // Who asks wants it gone: no peak is remembered beyond what is kept.
    let live = USED.load(Ordering::Relaxed).saturating_add(keep) << UNIT_SHIFT;
    RECENT.fetch_min(live, Ordering::Relaxed);
    RETURNED.store(0, Ordering::Relaxed);
    REGRETTED.store(0, Ordering::Relaxed);
    sum
}

/// A run of units that was taken.
#[derive(Clone, Copy)]
struct Run {
    /// First unit whose pages go, how many do, and how many of them were dirty.
    start: usize,
    len: usize,
    dirty: usize,
    /// Whether the run's whole word was taken, and its tables go too.
    whole_word: bool,
}

/// Runs that are taken together and returned together.
struct Batch {
    list: [Run; LARGE_BATCH.1],
    runs: usize,
    units: usize,
    most: (usize, usize),
    /// Whether the tables of clean words go too: nothing tells whether they are resident.
    tables: bool,
}

impl Batch {
    fn new(most: (usize, usize)) -> Self {
        let none = Run { start: 0, len: 0, dirty: 0, whole_word: false };
        Self { list: [none; LARGE_BATCH.1], runs: 0, units: 0, most, tables: false }
    }

    /// Takes dirty runs from word `word - 1` downwards; leaves `word` where the next batch goes on.
    fn gather(&mut self, word: &mut usize, keep: usize, words: usize) {
        *word = (*word).min(free_words().len());
        for _ in 0..words {
            if *word == 0 {
                return;
            }
            let index = *word - 1;
            // SAFETY: below the length of `free_words`, which ends at the bound.
            let (free, dirty) =
                unsafe { (unit_word(Region::Free, index), unit_word(Region::Dirty, index)) };
            loop {
                let free_bits = free.load(Ordering::Relaxed);
                let bits = free_bits & dirty.load(Ordering::Relaxed);
                if bits == 0 && !(self.tables && free_bits == u64::MAX) {
                    break;
                }
                let room = self.most.0.saturating_sub(self.units);
                // What is taken is no longer counted as dirty.
                let excess = DIRTY.load(Ordering::Relaxed).saturating_sub(keep);
                if self.runs == self.most.1.min(self.list.len())
                    || room == 0
                    || (excess == 0 && bits != 0)
                {
                    return;
                }
                let top = 64 - bits.leading_zeros() as usize;
                let lowest = bits.trailing_zeros() as usize % 64;
                let count = bits.count_ones() as usize;
                // All of the word with what is clean in between, or the highest run alone.
                let whole_word =
                    free_bits == u64::MAX && top - lowest.min(top) <= room && count <= excess;
                let run = if bits == 0 { 0 } else { (bits << (64 - top)).leading_ones() as usize };
                let (from, len) = if whole_word {
                    (lowest.min(top), top - lowest.min(top))
                } else {
                    let len = run.min(room).min(excess);
                    (top - len, len)
                };
                let taken = if whole_word { (0, 64) } else { (from, len) };
                if !claim_exactly(index * 64 + taken.0, taken.1) {
                    break; // somebody is at work here: leave this word to the next purge
                }
                if let Some(slot) = self.list.get_mut(self.runs) {
                    let dirty = if whole_word { count } else { len };
                    *slot = Run { start: index * 64 + from, len, dirty, whole_word };
                    self.runs += 1;
                }
                self.units += len;
                if whole_word {
                    break;
                }
            }
            *word = index;
        }
    }

    /// Returns the pages and gives the units back; whether the system took all of it.
    fn finish(self) -> (Purged, bool) {
        let mut purged = Purged::default();
        let mut ranges = [Range { address: 0, len: 0 }; RANGES_PER_RUN * LARGE_BATCH.1];
        let runs = self.list.get(..self.runs).unwrap_or(&[]);
        // The blocks first: how many ranges were done then says how many runs.
        let mut used = 0;
        let mut add = |address: usize, len: usize| {
            if len != 0
                && let Some(slot) = ranges.get_mut(used)
            {
                *slot = Range { address, len };
                used += 1;
            }
        };
        let mut blocks = 0;
        for run in runs.iter().filter(|run| run.len != 0) {
            add(window::address_of(run.start as u32), run.len << UNIT_SHIFT);
            blocks += 1;
        }
        for run in runs.iter().filter(|run| run.whole_word) {
            for region in [Region::Records, Region::Granules, Region::Live] {
                let (start, len) = tables::pages_of_word(region, run.start / 64);
                add(start, len);
            }
        }
        let (done, calls) =
            if used == 0 { (0, 0) } else { purge_ranges(ranges.get(..used).unwrap_or(&[])) };
        purged.calls = calls;
        let mut left = done;
        for run in runs {
            let whole = run.len == 0 || left != 0;
            if whole {
                left -= usize::from(run.len != 0);
                if run.len != 0 {
                    let (word, bits) = (run.start / 64, mask(run.start % 64, run.len));
                    // SAFETY: the units are claimed, so they are below the bound.
                    unsafe { unit_word(Region::Dirty, word) }.fetch_and(!bits, Ordering::Relaxed);
                }
                purged.bytes += run.dirty << UNIT_SHIFT;
            } else {
                DIRTY.fetch_add(run.dirty, Ordering::Relaxed);
            }
            if run.whole_word {
                put_back(run.start / 64 * 64, 64);
            } else {
                put_back(run.start, run.len);
            }
        }
        (purged, done >= blocks)
    }
}
