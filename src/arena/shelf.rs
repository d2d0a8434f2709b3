//! The shelf: freed blocks above 2 MiB, whole, for the next large block of any thread.
//!
//! What costs with large blocks is the first touch of each page, not the search for units. A program
//! touches a block from its start on, so a span that is used again from the same start needs few new
//! pages; cut up, its pages would lie in the middle of others. So a freed span stays as it is, and once
//! large blocks come and go a new one gets room up to the next power of two, address space that is
//! never touched, so that the next block fits although it is longer.
//!
//! What stays is bounded by bytes that may be resident. A block that is shorter than the last one in
//! its place is left as many pages, in proportion, as that one had touched (`mincore` counts them where
//! it matters), and little more among all blocks. What is put here pushes out what was put here long ago.
//!
//! Each place is one word, taken and put by an exchange, as in `kept.rs`: no lock, and whole to a signal
//! handler and to the child of a fork. ARCHITECTURE.md, "The shelf", has the figures.

use super::spans::{self, first_of, units_of};
use super::{purge, tables, window};
use crate::layout::{Record, UNIT_BYTES, UNIT_SHIFT};
use crate::os;
use crate::rolled::rolled;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// Most spans here.
const PLACES: usize = 16;
/// Longest of them, units: 128 MiB.
const UNITS_MAX: u32 = 2048;
/// Longest block that gets room up to the next power of two, units: 64 MiB.
const ROOM_MAX: usize = 1024;
/// A span serves blocks from a quarter of its length on.
const LONGEST: usize = 4;
/// Part of what may be free and resident that stays here beside what was put here last.
const OTHERS: usize = 3;
/// Part of the floor (`Config::purge_floor`) that live blocks shorter than their spans may leave resident.
const EXCESS_PARTS: usize = 8;
/// Pages are counted by 4 KiB here, whatever the system's are.
const PAGE_SHIFT: u32 = 12;
/// `Record::span_turn` of a live block whose pages were returned to clear it.
const CLEARED: u32 = u32::MAX;
/// Set in a word by `retire_idle`: it was there at the last round.
const SEEN: u64 = 1 << 63;

/// Spans, each by its word; 0: none.
static SHELF: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];
/// Spans that were put here so far.
static TURN: AtomicUsize = AtomicUsize::new(0);
/// Bytes of the spans here, and those of them that may be resident.
static BYTES: AtomicUsize = AtomicUsize::new(0);
static RESIDENT: AtomicUsize = AtomicUsize::new(0);
/// Sum of `Record::span_excess` over live spans, pages.
static EXCESS: AtomicUsize = AtomicUsize::new(0);

const fn len_of(word: u64) -> u32 {
    units_of(word & !SEEN)
}

const fn pages_of(bytes: usize) -> usize {
    bytes.div_ceil(1 << PAGE_SHIFT)
}

fn head(first: u32) -> &'static Record {
    // SAFETY: the first unit of a span that was claimed once, so below the bound.
    unsafe { tables::record(first) }
}

/// Bytes of the spans here.
pub(crate) fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

/// Bytes of them that may be resident.
pub(crate) fn resident() -> usize {
    RESIDENT.load(Ordering::Relaxed)
}

/// Units that a new block of `len` units gets if there is address space for them.
pub(super) fn with_room(len: usize) -> usize {
    let grows = len > spans::KEPT_MAX as usize && len <= ROOM_MAX;
    if grows && TURN.load(Ordering::Relaxed) != 0 { len.next_power_of_two() } else { len }
}

/// Describes a span that was claimed for a block; `dirty` if any of its units was in use before.
pub(super) fn describe(record: &Record, units: usize, dirty: bool) {
    let reach = if dirty { units << (UNIT_SHIFT - PAGE_SHIFT) } else { 0 };
    record.span_reach.store(reach as u32, Ordering::Relaxed);
    record.span_excess.store(0, Ordering::Relaxed);
    record.span_turn.store(0, Ordering::Relaxed);
}

/// Bytes from the start of a span that was taken from here to the end of what may be resident.
pub(super) fn reach(record: &Record) -> usize {
    (record.span_reach.load(Ordering::Relaxed) as usize) << PAGE_SHIFT
}

/// Says of a live span that its first `size` bytes were cleared by returning their pages.
pub(super) fn cleared(record: &Record, size: usize) {
    if record.span_reach.load(Ordering::Relaxed) as usize <= pages_of(size) {
        record.span_reach.store(0, Ordering::Relaxed);
    }
    record.span_turn.store(CLEARED, Ordering::Relaxed);
}

/// Takes a live span that ends, or is cut to `units`, out of the sum of what blocks leave unused.
pub(super) fn settle(record: &Record, units: usize) {
    let excess = record.span_excess.swap(0, Ordering::Relaxed);
    if excess != 0 {
        EXCESS.fetch_sub(excess as usize, Ordering::Relaxed);
    }
    let most = (units << (UNIT_SHIFT - PAGE_SHIFT)) as u32;
    record.span_reach.fetch_min(most, Ordering::Relaxed);
}

/// Takes a span for `size` bytes: of those that may be resident so far the shortest, else the longest.
pub(super) fn take(size: usize) -> Option<u32> {
    if bytes() == 0 {
        return None;
    }
    let (want, pages) = (size.div_ceil(UNIT_BYTES), pages_of(size));
    let mut best: Option<(&AtomicU64, u64, usize)> = None;
    for place in rolled(&SHELF) {
        let word = place.load(Ordering::Relaxed);
        let len = len_of(word) as usize;
        if len < want || len > want * LONGEST {
            continue;
        }
        let here = head(first_of(word)).span_pages.load(Ordering::Relaxed) as usize;
        let better =
            best.is_none_or(
                |(_, _, best)| {
                    if best >= pages { here >= pages && here < best } else { here > best }
                },
            );
        if better {
            best = Some((place, word, here));
        }
    }
    let (place, word, _) = best?;
    // Where somebody else was quicker the block comes from the arena.
    place.compare_exchange(word, 0, Ordering::Acquire, Ordering::Relaxed).ok()?;
    forget(word);
    let first = first_of(word);
    fit(first, head(first), pages);
    head(first).span_turn.store(0, Ordering::Relaxed);
    spans::revive(first, size);
    Some(first)
}

/// Leaves a span as many pages as a block of `pages` pages is expected to use: in proportion to what its
/// last block did, without what that one was left beyond. The caller took it.
fn fit(first: u32, record: &Record, pages: usize) {
    let before = pages_of(record.span_bytes.load(Ordering::Relaxed)).max(1);
    let left = record.span_excess.load(Ordering::Relaxed) as usize;
    let most = purge::allowance(0, EXCESS_PARTS) >> PAGE_SHIFT;
    let most = most.saturating_sub(EXCESS.load(Ordering::Relaxed));
    let excess_of = |here: usize| {
        let used = here.saturating_sub(left) as u64 * pages as u64 / before as u64;
        here.saturating_sub(used as usize)
    };
    let mut here = record.span_pages.load(Ordering::Relaxed) as usize;
    if excess_of(here) > most {
        let reach = record.span_reach.load(Ordering::Relaxed) as usize;
        here = count(window::address_of(first), reach);
        record.span_pages.store(here as u32, Ordering::Relaxed);
    }
    let mut excess = excess_of(here);
    if excess > most && cut(first, record, here - excess) {
        excess = 0;
    }
    record.span_excess.store(excess as u32, Ordering::Relaxed);
    EXCESS.fetch_add(excess, Ordering::Relaxed);
}

/// Returns the pages of a span from page `from` on. The caller owns it.
fn cut(first: u32, record: &Record, from: usize) -> bool {
    let from = from.next_multiple_of((os::page_size() >> PAGE_SHIFT).max(1));
    let reach = record.span_reach.load(Ordering::Relaxed) as usize;
    if from >= reach {
        return true;
    }
    let start = window::address_of(first) + (from << PAGE_SHIFT);
    let end = (window::address_of(first) + (reach << PAGE_SHIFT)).next_multiple_of(UNIT_BYTES);
    if !os::purge(start, end - start) {
        return false;
    }
    record.span_reach.store(from as u32, Ordering::Relaxed);
    record.span_pages.fetch_min(from as u32, Ordering::Relaxed);
    true
}

/// Gives back the oldest spans while those on the shelf keep more than `most` bytes resident: after the settings were tightened.
pub(super) fn shrink(most: usize) {
    if resident() > most {
        make_room(0, most);
    }
}

/// Puts the retired span of `len` units here, with as many of its pages as may stay. `false`, nothing
/// changed, if it is too long, or the system keeps its pages.
pub(super) fn put(first: u32, len: u32) -> bool {
    if len > UNITS_MAX {
        return false;
    }
    let record = head(first);
    let excess = record.span_excess.load(Ordering::Relaxed) as usize;
    EXCESS.fetch_sub(excess, Ordering::Relaxed);
    let asked = pages_of(record.span_bytes.load(Ordering::Relaxed));
    let reach = asked.max(record.span_reach.load(Ordering::Relaxed) as usize);
    record.span_reach.store(reach as u32, Ordering::Relaxed);
    record.span_pages.store(reach as u32, Ordering::Relaxed);
    // What the program made ready ahead stays besides.
    let (most, ready) = (purge::room(bytes()), purge::ready());
    let room = if record.span_turn.load(Ordering::Relaxed) == CLEARED {
        0 // most likely it has to be cleared again: one call instead of two
    } else {
        make_room(reach << PAGE_SHIFT, (most / OTHERS).saturating_add(ready));
        most.saturating_add(ready).saturating_sub(resident()) >> PAGE_SHIFT
    };
    if reach > room && !cut(first, record, room) {
        return false;
    }
    let pages = record.span_pages.load(Ordering::Relaxed) as usize;
    let turn = TURN.fetch_add(1, Ordering::Relaxed) + 1;
    record.span_turn.store(turn as u32, Ordering::Relaxed);
    RESIDENT.fetch_add(pages << PAGE_SHIFT, Ordering::Relaxed);
    purge::shelve(resident);
    BYTES.fetch_add((len as usize) << UNIT_SHIFT, Ordering::Relaxed);
    let word = spans::word(first, len);
    for place in rolled(&SHELF) {
        if place.load(Ordering::Relaxed) == 0
            && place.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            return true;
        }
    }
    // All are taken: one goes, whichever it is, with pages that may stay.
    if let Some(place) = SHELF.get(turn % PLACES) {
        give_back(place.swap(word, Ordering::AcqRel), false);
    }
    true
}

/// Gives the oldest spans back until no more than `most` bytes would be resident with `more` of them.
fn make_room(more: usize, most: usize) {
    for _ in 0..PLACES {
        if resident() == 0 || resident() + more <= most {
            return;
        }
        // How long ago it was put, in turns that wrap around.
        let now = TURN.load(Ordering::Relaxed) as u32;
        let age = |place: &&AtomicU64| {
            let first = first_of(place.load(Ordering::Relaxed));
            now.wrapping_sub(head(first).span_turn.load(Ordering::Relaxed))
        };
        let taken = rolled(&SHELF).iter().filter(|place| place.load(Ordering::Relaxed) != 0);
        let Some(place) = taken.max_by_key(age) else { return };
        give_back(place.swap(0, Ordering::AcqRel), true);
    }
}

/// Takes a span that was taken from its place out of the sums.
fn forget(word: u64) {
    let pages = head(first_of(word)).span_pages.load(Ordering::Relaxed) as usize;
    RESIDENT.fetch_sub(pages << PAGE_SHIFT, Ordering::Relaxed);
    purge::shelve(resident);
    BYTES.fetch_sub((len_of(word) as usize) << UNIT_SHIFT, Ordering::Relaxed);
}

/// Gives a span that was taken from its place back to the arena, its pages to the system if `purged`.
/// Whether it was one.
#[inline(never)]
fn give_back(word: u64, purged: bool) -> bool {
    if word == 0 {
        return false;
    }
    forget(word);
    let (first, len) = (first_of(word), len_of(word));
    if purged && os::purge(window::address_of(first), (len as usize) << UNIT_SHIFT) {
        spans::give_back_empty(first, len);
    } else {
        spans::give_back(first, len);
    }
    true
}

/// Gives everything back, the pages too if `purged`; whether there was anything.
pub(crate) fn empty(purged: bool) -> bool {
    rolled(&SHELF).iter().fold(false, |any, place| {
        any | (place.load(Ordering::Relaxed) != 0
            && give_back(place.swap(0, Ordering::AcqRel), purged))
    })
}

/// Gives back what nobody took since this was called last, at most `most` spans, a system call each; how
/// many, and the bytes that may have been resident.
pub(crate) fn retire_idle(most: usize) -> (usize, usize) {
    let (mut done, mut bytes) = (0, 0);
    for place in rolled(&SHELF) {
        let word = place.load(Ordering::Relaxed);
        let seen = word & SEEN != 0;
        if word == 0 || (seen && done == most) {
            continue;
        }
        let next = if seen { 0 } else { word | SEEN };
        let changed = place.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed);
        if changed.is_ok() && seen {
            let pages = head(first_of(word)).span_pages.load(Ordering::Relaxed) as usize;
            bytes += pages << PAGE_SHIFT;
            give_back(word, true);
            done += 1;
        }
    }
    (done, bytes)
}

/// In the child of a fork: forgets what a vanished thread had in its hands.
pub(crate) fn after_fork() {
    let (mut all, mut resident) = (0, 0);
    for word in
        rolled(&SHELF).iter().map(|place| place.load(Ordering::Relaxed)).filter(|word| *word != 0)
    {
        all += (len_of(word) as usize) << UNIT_SHIFT;
        let pages = head(first_of(word)).span_pages.load(Ordering::Relaxed) as usize;
        resident += pages << PAGE_SHIFT;
    }
    BYTES.store(all, Ordering::Relaxed);
    RESIDENT.store(resident, Ordering::Relaxed);
    purge::shelve(|| resident);
}

/// Resident ones of the `pages` pages from `address` on; all if the system does not say.
fn count(address: usize, pages: usize) -> usize {
    const STEP: usize = 2048;
    let scale = (os::page_size() >> PAGE_SHIFT).max(1);
    let mut found = [0u8; STEP];
    let (mut sum, mut at) = (0, 0);
    while at < pages {
        let len = STEP.min((pages - at).div_ceil(scale));
        let Some(part) = found.get_mut(..len) else { break };
        if !os::residence(address + (at << PAGE_SHIFT), part) {
            return pages;
        }
        sum += part.iter().filter(|byte| **byte & 1 != 0).count() * scale;
        at += len * scale;
    }
    sum.min(pages)
}
