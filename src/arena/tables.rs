//! The tables that describe the window's units: where each lies and how it grows.
//!
//! Each table is a region of address space as long as the largest window would need, mapped from
//! its start in steps as the window grows, never moved and never shrunk. The accessors here are the
//! only way from a unit's number to what is known of it.

use crate::hit::window;
use crate::layout::{
    CHUNK_UNITS, CHUNK_WORDS, FITS, GRANULES, GROUP_CHUNKS, HINTS, MapEntry, Record, Row,
};
use crate::os::{self, Access};
use crate::rolled::{opaque, rolled};
use crate::sync::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// One of the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Region {
    /// `MapEntry` per unit.
    Map,
    /// A class byte per granule.
    Granules,
    /// `Record` per unit.
    Records,
    /// A bit per unit: free to claim.
    Free,
    /// A bit per unit: its content, should it be free, may be non-zero and resident.
    Dirty,
    /// Per chunk: `HINTS` rows "claimable", then a row "owned" per heap, then 8 bytes "most" per heap.
    Chunks,
    /// Per group of 64 chunks: `HINTS` words "has claimable", then a word "has owned" per heap.
    Groups,
    /// A bit per 16 bytes: a live block starts here. Checked mode only.
    Live,
}

/// All tables, in the order in which they lie.
pub(crate) const REGIONS: [Region; 8] = [
    Region::Map,
    Region::Granules,
    Region::Records,
    Region::Free,
    Region::Dirty,
    Region::Chunks,
    Region::Groups,
    Region::Live,
];

struct Table {
    /// Address, once the window is placed; before that, the offset from its start.
    base: AtomicUsize,
    /// Bytes mapped so far. Written by the grower only.
    mapped: AtomicUsize,
}

static TABLES: [Table; 8] =
    [const { Table { base: AtomicUsize::new(0), mapped: AtomicUsize::new(0) } }; 8];

/// Bytes between chunks and between groups: they depend on the number of heaps.
static CHUNK_BYTES: AtomicUsize = AtomicUsize::new(0);
/// The first of a chunk's rows that say what fits at most, and the heaps in each of them.
static MOST: AtomicUsize = AtomicUsize::new(0);
const ROW_HEAPS: usize = size_of::<Row>() / CHUNK_WORDS;
static GROUP_BYTES: AtomicUsize = AtomicUsize::new(0);
static PAGE: AtomicUsize = AtomicUsize::new(4096);
static CHECKED: AtomicUsize = AtomicUsize::new(0);

fn table(region: Region) -> &'static Table {
    // SAFETY: the discriminants of Region are 0..8, the length of TABLES.
    unsafe { TABLES.get_unchecked(region as usize) }
}

/// Address of a region.
#[inline(always)]
pub(crate) fn region(region: Region) -> usize {
    table(region).base.load(Ordering::Relaxed)
}

/// Sets the strides that depend on the number of heaps. Called once, before `lay_out`.
pub(crate) fn set_heaps(heaps: usize) {
    MOST.store(HINTS + heaps, Ordering::Relaxed);
    // An odd number of lines: chunks do not share cache sets.
    let rows = (HINTS + heaps + heaps.div_ceil(ROW_HEAPS)) | 1;
    CHUNK_BYTES.store(rows * size_of::<Row>(), Ordering::Relaxed);
    GROUP_BYTES.store(((HINTS + heaps) * 8).next_multiple_of(64), Ordering::Relaxed);
}

/// Bytes that `region` needs to describe `units` units.
fn bytes(region: Region, units: usize) -> usize {
    match region {
        Region::Map => units * size_of::<MapEntry>(),
        Region::Granules => units * GRANULES,
        Region::Records => units * size_of::<Record>(),
        Region::Free | Region::Dirty => units.div_ceil(64) * 8,
        Region::Chunks => units.div_ceil(CHUNK_UNITS) * CHUNK_BYTES.load(Ordering::Relaxed),
        Region::Groups => {
            units.div_ceil(CHUNK_UNITS * GROUP_CHUNKS) * GROUP_BYTES.load(Ordering::Relaxed)
        }
        Region::Live => {
            if CHECKED.load(Ordering::Relaxed) != 0 {
                units * 512
            } else {
                0
            }
        }
    }
}

/// Computes every region's place for a window of `units` units; the bytes that all of them take.
pub(crate) fn lay_out(units: usize, page: usize, checked: bool) -> usize {
    PAGE.store(page, Ordering::Relaxed);
    CHECKED.store(usize::from(checked), Ordering::Relaxed);
    let mut offset = 0;
    for &region in rolled(&REGIONS) {
        let limit = bytes(region, units).next_multiple_of(page);
        let table = table(region);
        table.base.store(offset, Ordering::Relaxed);
        offset += limit + page; // a page that is never mapped between neighbours
    }
    offset
}

/// Turns the offsets of `lay_out` into addresses.
pub(crate) fn set_bases(start: usize) {
    for &region in rolled(&REGIONS) {
        table(region).base.fetch_add(start, Ordering::Relaxed);
    }
}

/// Maps as much of `region` as `units` units need. `false` if the system has no memory for it.
#[inline(never)]
pub(crate) fn grow(region: Region, units: usize) -> bool {
    let table = table(region);
    let mapped = table.mapped.load(Ordering::Relaxed);
    let need = bytes(region, units).next_multiple_of(PAGE.load(Ordering::Relaxed));
    if need <= mapped {
        return true;
    }
    let start = table.base.load(Ordering::Relaxed) + mapped;
    if os::map_at(start, need - mapped, Access::ReadWrite).is_err() {
        return false;
    }
    if need - mapped >= 1 << 21 {
        os::small_pages(start, need - mapped);
    }
    table.mapped.store(need, Ordering::Relaxed);
    true
}

/// The whole pages of `region` that describe nothing but the 64 units of word `word`: address and
/// length, which is 0 where pages are larger than that or the region is not mapped.
pub(crate) fn pages_of_word(which: Region, word: usize) -> (usize, usize) {
    let page = PAGE.load(Ordering::Relaxed);
    let base = region(which);
    let start = (base + bytes(which, word * 64)).next_multiple_of(page);
    let end = (base + bytes(which, word * 64 + 64)) & !(page - 1);
    (start, end.saturating_sub(start))
}

/// Bytes in a page of the system's.
#[inline(always)]
pub(crate) fn page() -> usize {
    PAGE.load(Ordering::Relaxed)
}

/// Bytes mapped for all tables.
pub(crate) fn mapped() -> usize {
    REGIONS.iter().map(|region| table(*region).mapped.load(Ordering::Relaxed)).sum()
}

/// A unit's record.
///
/// # Safety
/// `unit` is below the window's bound, or about to be (the grower).
#[inline(always)]
pub(crate) unsafe fn record(unit: u32) -> &'static Record {
    // SAFETY: the records of all units below the bound are mapped for ever, zero at first, and all
    // their fields are atomics.
    unsafe { &*(window().records.load(Ordering::Relaxed) as *const Record).add(unit as usize) }
}

/// A unit's entry in the map.
///
/// # Safety
/// As for `record`.
#[inline(always)]
pub(crate) unsafe fn entry(unit: u32) -> &'static MapEntry {
    // SAFETY: as in `record`; window().map is the same address.
    unsafe { &*(window().map.load(Ordering::Relaxed) as *const MapEntry).add(unit as usize) }
}

/// Describes units as those of no class, as zeroed memory does elsewhere.
///
/// # Safety
/// The caller is the grower, the units are about to be below the window's bound, and their map is mapped.
#[inline(never)]
pub(crate) unsafe fn begin(first: usize, count: usize) {
    if cfg!(not(all(target_arch = "x86_64", target_pointer_width = "64"))) {
        return;
    }
    for unit in first..first + opaque(count) {
        // SAFETY: the caller's contract.
        unsafe { entry(unit as u32) }.set_class(0);
    }
}

/// The class byte of a granule of a unit.
///
/// # Safety
/// As for `record`; `granule` is below `GRANULES`.
#[inline(always)]
pub(crate) unsafe fn granule(unit: u32, granule: usize) -> &'static AtomicU8 {
    // SAFETY: as in `record`.
    unsafe {
        &*(region(Region::Granules) as *const AtomicU8).add(unit as usize * GRANULES + granule)
    }
}

/// A word of the bitset of free (or dirty) units.
///
/// # Safety
/// `word * 64` is below the window's bound.
#[inline(always)]
pub(crate) unsafe fn unit_word(which: Region, word: usize) -> &'static AtomicU64 {
    debug_assert!(matches!(which, Region::Free | Region::Dirty));
    // SAFETY: both bitsets are mapped up to the bound, in whole words.
    unsafe { &*(region(which) as *const AtomicU64).add(word) }
}

/// The bitset of free units as words, up to the window's bound.
pub(crate) fn free_words() -> &'static [AtomicU64] {
    let words = window().units.load(Ordering::Acquire).div_ceil(64);
    // SAFETY: as in `unit_word`.
    unsafe { core::slice::from_raw_parts(region(Region::Free) as *const AtomicU64, words) }
}

/// Row `row` of a chunk: "claimable" for a row of hints, "owned" for `HINTS + heap`.
///
/// # Safety
/// The chunk holds a unit below the bound; `row` is below `HINTS` plus the number of heaps.
#[inline(always)]
pub(crate) unsafe fn row(chunk: usize, row: usize) -> &'static Row {
    // SAFETY: the chunk's rows are mapped for ever and all their fields are atomics.
    unsafe {
        let chunk =
            (region(Region::Chunks) as *const u8).add(chunk * CHUNK_BYTES.load(Ordering::Relaxed));
        &*chunk.cast::<Row>().add(row)
    }
}

/// What fits into units `word * 64` to `word * 64 + 63` of a chunk: rows `FITS` to `FITS + 7`.
///
/// # Safety
/// As for `row`; `word` is below 8.
#[inline(always)]
pub(crate) unsafe fn fits(chunk: usize, word: usize) -> &'static [AtomicU8; 64] {
    // SAFETY: a row has 64 bytes, and these are read and written as bytes alone.
    unsafe { &*core::ptr::from_ref(row(chunk, FITS + word)).cast() }
}

/// For each word of a chunk a byte that is at least what `fits` says of any of this heap's units in
/// it that have a bit in row `FITTING`; word 0 has the lowest. The holder of the heap's lock alone
/// reads and writes it.
///
/// # Safety
/// As for `row`; `heap` is below the number of heaps.
#[inline(always)]
pub(crate) unsafe fn most(chunk: usize, heap: usize) -> &'static AtomicU64 {
    let row_of = MOST.load(Ordering::Relaxed) + heap / ROW_HEAPS;
    // SAFETY: the chunk has that row, with a word for each of 8 heaps.
    unsafe { row(chunk, row_of).words.get_unchecked(heap % ROW_HEAPS) }
}

/// Summary word of a group: which of its chunks have a bit in row `row`.
///
/// # Safety
/// As for `row`, for any chunk of the group.
#[inline(always)]
pub(crate) unsafe fn summary(group: usize, row: usize) -> &'static AtomicU64 {
    // SAFETY: as in `row`.
    unsafe {
        let group =
            (region(Region::Groups) as *const u8).add(group * GROUP_BYTES.load(Ordering::Relaxed));
        &*group.cast::<AtomicU64>().add(row)
    }
}

/// The word and bit that say whether a live block starts at `offset` bytes into the window.
///
/// # Safety
/// Checked mode; `offset` is below the window's bound.
pub(crate) unsafe fn live_bit(offset: usize) -> (&'static AtomicU64, u64) {
    let index = offset / 16;
    // SAFETY: in checked mode the table has a bit for every 16 bytes up to the bound.
    let word = unsafe { &*(region(Region::Live) as *const AtomicU64).add(index / 64) };
    (word, 1 << (index % 64))
}
