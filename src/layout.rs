//! The data model: every structure that lives in thread-local or mapped memory, in one place.
//!
//! Read it top down: what a thread owns (`Tls`, `Thread`), what a lock guards (`Heap`), what
//! describes 64 KiB of user memory (`Record` and the unit map), what finds it (`Chunk`, `Group`).
//! Nothing here is ever written into user memory: all of it lies beside the window of blocks.

use crate::size_class::{CLASSES, MEDIUM_CLASSES, SMALL_CLASSES};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::mem::{offset_of, size_of};

/// log2 of the bytes in a unit, the arena's smallest piece.
pub(crate) const UNIT_SHIFT: u32 = 16;
/// Bytes in a unit.
pub(crate) const UNIT_BYTES: usize = 1 << UNIT_SHIFT;
/// Units in a chunk: one row of bits in each of a chunk's bitsets.
pub(crate) const CHUNK_UNITS: usize = 512;
/// Words in one such row.
pub(crate) const CHUNK_WORDS: usize = CHUNK_UNITS / 64;
/// Chunks in a group: one bit each in a group's summary words.
pub(crate) const GROUP_CHUNKS: usize = 64;
/// log2 of the bytes in a granule, the smallest piece of a run slab.
pub(crate) const GRANULE_SHIFT: u32 = 7;
/// Granules in a run slab.
pub(crate) const GRANULES: usize = UNIT_BYTES >> GRANULE_SHIFT;
/// Words of a run slab's bitmaps.
pub(crate) const RUN_WORDS: usize = GRANULES / 64;
/// Words of the largest class slab's bitmaps (16-byte blocks).
pub(crate) const SLAB_WORDS: usize = UNIT_BYTES / 16 / 64;

/// Slots in a magazine; one of them holds the NULL that marks the bottom.
pub(crate) const SLOTS: usize = 32;
/// Bytes in a magazine, and its alignment: the push finds "full" in the carry of the low byte.
pub(crate) const MAGAZINE_BYTES: usize = SLOTS * size_of::<*mut u8>();
/// Most blocks a magazine can hold.
pub(crate) const MAX_DEPTH: usize = SLOTS - 1;

/// A pointer to the slot that a pop would read: a magazine's top.
pub(crate) type Top = *mut *mut u8;

/// What assembly reads of a thread: 544 bytes of static thread-local storage on 64-bit targets.
///
/// Written by its own thread only. A top that stands on the dummy sends every call of its class to
/// the slow path: class 0 always, all classes of a thread that is new, late or in checked mode, and
/// a class whose magazine a slow call is working on.
#[repr(C)]
pub(crate) struct Tls {
    /// One top per small class; entry 0 stands on the dummy for ever.
    pub tops: [Top; SMALL_CLASSES + 1],
    /// The thread's record, or the dummy record. Assembly reaches the medium tops through it.
    pub thread: *mut Thread,
    /// One of the `STATE_` constants of `thread.rs`.
    pub state: usize,
    /// Keeps the block's size a multiple of 16.
    pub spare: usize,
}

/// What a registered thread owns, in mapped memory, handed from thread to thread.
///
/// Written by the thread that holds it; `depths` are read by `stats()` of others.
#[repr(C, align(256))]
pub(crate) struct Thread {
    /// Tops of classes 65..=104 at 1..=40; entry 0 stands on the dummy for ever.
    pub medium_tops: [Top; MEDIUM_CLASSES + 1],
    /// Index of the heap this thread tries first.
    pub heap: u32,
    /// 1 while a living thread holds this record. Written at registration and exit.
    pub live: AtomicU32,
    /// Free records: 1 + index of the next one (0: none). Guarded by the record list's tag.
    pub next: AtomicU32,
    /// Position in the table of records.
    pub index: u32,
    /// Depth of each class's magazine in blocks in bits 0..5, 0 until the class is first used; bit 6
    /// set if the class was found sparse; bit 5 if the last refill's blocks were no neighbours; bit 7 if
    /// the last slow call was a flush.
    pub depths: [AtomicU8; CLASSES + 3],
    /// Slow calls of each class since its depth last changed, while it is not at its most; of one that the
    /// thread has not allocated yet, its frees.
    pub demand: [AtomicU8; CLASSES + 3],
    /// Both as the record's last thread left them: where the next one begins. Its thread only.
    pub last_depths: [u8; CLASSES + 3],
    pub last_demand: [u8; CLASSES + 3],
    /// The spans that the thread freed last.
    pub kept: KeptSpans,
    /// The magazines, by class. Slot 31 - depth holds NULL, blocks lie above it.
    pub magazines: [Magazine; CLASSES],
    /// The thread's block, where thread-local storage cannot be had without calls.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub tls: Tls,
}

/// Most spans that a thread keeps beside the last one. Fewer in models, which look at each place in every order.
pub(crate) const KEPT_SPANS: usize = if cfg!(loom) { 8 } else { 24 };

/// Spans that a thread keeps for its next large blocks. Still claimed. Written by the thread, but for the
/// places of spans, from which others take as `arena/kept.rs` tells.
#[repr(C, align(64))] // the short ways read and write one line of it
pub(crate) struct KeptSpans {
    /// Head of the one that was freed last.
    pub head: AtomicPtr<Record>,
    /// 1 while the thread is at work on these fields.
    pub busy: AtomicU32,
    /// What is left of the most units that a thread keeps, beside those freed before the last; less, where others
    /// took some.
    pub room: AtomicU32,
    /// Where the next of the older ones goes, on top of the oldest.
    pub next: AtomicU32,
    /// Units of each of those freed before the last.
    pub lens: [AtomicU8; KEPT_SPANS],
    /// Addresses: of the one that was freed last, then those that were freed before; 0: none.
    pub places: [AtomicUsize; 1 + KEPT_SPANS],
}

/// An array of block pointers, aligned to its own size.
#[cfg_attr(target_pointer_width = "64", repr(C, align(256)))]
#[cfg_attr(target_pointer_width = "32", repr(C, align(128)))]
pub(crate) struct Magazine {
    pub slots: [*mut u8; SLOTS],
}

/// Event counts of one class in one heap. Written under the heap's lock, read by `stats()`.
#[repr(C)]
pub(crate) struct Counters {
    pub refills: AtomicU64,
    pub refilled_blocks: AtomicU64,
    pub flushes: AtomicU64,
    pub flushed_blocks: AtomicU64,
    pub remote_frees: AtomicU64,
}

/// A lock and what it guards: the slabs whose records name this heap as owner.
#[repr(C, align(64))]
pub(crate) struct Heap {
    /// 0 free, else the holder's token. Tried, not waited for, on the way of a call.
    pub lock: AtomicUsize,
    /// Threads attached to this heap; any thread adds and subtracts.
    pub threads: AtomicU32,
    /// Own position in the table of heaps.
    pub index: AtomicU32,
    /// Unit at which the next sweep goes on. Lock holder only, as all below.
    pub sweep: AtomicU32,
    /// 1 from a fork until all slabs were swept regardless of hints.
    pub resweep: AtomicU32,
    /// Flushes so far, modulo 2^32: every 8th one sweeps.
    pub turn: AtomicU32,
    /// `turn` when somebody from another heap last came by. Written without the lock.
    pub visited: AtomicU32,
    /// Refills so far that left their slab for another, modulo 2^32: every 4th one sweeps.
    pub refill_turn: AtomicU32,
    /// Unit from which the next search for slabs of other heaps goes on.
    pub elsewhere: AtomicU32,
    /// The slab each small class refills from, `NO_UNIT` if none. Entry 65 is the run slab in use.
    pub current: [AtomicU32; SMALL_CLASSES + 2],
    /// Chunk at which the next search for claimable slabs goes on, per class.
    pub search: [AtomicU32; CLASSES],
    pub counters: [Counters; CLASSES],
    /// What `heap/walk.rs` knows of the heap's slabs. Lock holder only.
    pub pages: Pages,
}

/// How much of a heap's slabs is free and resident: one walk over them, some slabs at a time.
#[repr(C)]
pub(crate) struct Pages {
    /// Unit at which the walk goes on.
    pub cursor: AtomicU32,
    /// Steps that are left out before the next one, and after each. Anyone counts the first down.
    pub rest: AtomicU32,
    pub pause: AtomicU32,
    /// Small classes (bit 65: run slabs) among the slabs met by this walk.
    pub classes: [AtomicU64; 2],
    /// Sums of the walk so far: bytes in use, and free bytes of sparse slabs.
    pub live: AtomicUsize,
    pub idle: AtomicUsize,
    /// Free bytes of sparse slabs by the last whole walk.
    pub last_idle: AtomicUsize,
    /// Bytes that are to go back, by the sums of the last whole walk.
    pub excess: AtomicUsize,
    /// Whether some of that was asked for while the walk under way had begun.
    pub hurried: AtomicBool,
    /// The same sums by small class, and of run slabs: bytes in use, slabs.
    pub used: [AtomicU32; RUN + 1],
    pub slabs: [AtomicU32; RUN + 1],
    /// Whether in the last whole walk the class held several slabs and less than half of their bytes
    /// was in use, and it needed no fresh slab since. Read without the lock too.
    pub sparse: [AtomicBool; RUN + 1],
    /// By class: the most blocks that were out (refilled and not flushed) since a walk was last asked
    /// for, as every 8th flush saw it.
    pub peak: [AtomicU32; CLASSES],
    /// By class: twice the blocks refilled so far when last looked at, modulo 2^32, and whether there were
    /// any since the look before. Bytes replaced that were not told to the arena yet.
    pub refilled: [AtomicU32; CLASSES],
    pub replaced: AtomicUsize,
}

/// Rows of hints: row c for class slabs of a small class c, then two for run slabs, then the bytes of
/// a chunk's units. Padded to a whole number of lines.
pub(crate) const HINTS: usize = 80;
/// What stands for "run slab" in an identity, and their place in `Heap::current`.
pub(crate) const RUN: usize = SMALL_CLASSES + 1;
/// The row of run slabs of which is known what fits: `FITS` says it.
pub(crate) const FITTING: usize = SMALL_CLASSES + 1;
/// The row of run slabs of which nothing is known: anything may fit.
pub(crate) const UNKNOWN: usize = SMALL_CLASSES + 2;
/// The first of the rows that hold a byte for each unit: the largest medium class, counted from 1,
/// that may fit into the unit, if it has a bit in row `FITTING`. Its owner's lock holder writes it.
pub(crate) const FITS: usize = SMALL_CLASSES + 3;
/// The largest medium class: what a run slab's `fits` is when anything may fit.
pub(crate) const ROOMY: usize = CLASSES - 1;
/// No unit.
pub(crate) const NO_UNIT: u32 = u32::MAX;
/// No place to look for a row at: beyond every slab, and no overflow where a row's blocks are added.
pub(crate) const NO_ROW: u32 = u32::MAX - 63;

/// What is known of one unit: 1,088 bytes, 17 cache lines, so that neighbours do not share sets.
///
/// `local` is read and written with relaxed loads and stores by the holder of the owning heap's
/// lock; `remote` is added to by anyone and swapped with zero by that holder.
#[repr(C, align(64))]
pub(crate) struct Record {
    /// What the unit is and whose: `Identity`. 0: no slab. Changes under the owner's lock, and
    /// under both locks when the owner changes; anyone reads.
    pub identity: AtomicU64,
    /// Blocks (granules) whose bit in `local` is clear. Lock holder only.
    pub used: AtomicU32,
    /// Blocks of a class slab; granules of a run slab. Fixed while carved.
    pub blocks: AtomicU32,
    /// Run slab: the largest class for which a run may be free (65..=104), or 64: none. Lock holder
    /// only. Exact after a search that failed, `ROOMY` after a free.
    pub fits: AtomicU32,
    /// Class slab: its lowest free block, as far as is known, or `NO_ROW`: where the next refill looks for
    /// a row first (`heap/row.rs`), and no more than a guess. Lock holder only.
    pub row: AtomicU32,
    /// Pages that were returned since the slab was last its class's current one, a bit each, and `REQUESTED`. Lock
    /// holder only, as the next.
    pub purged: AtomicU32,
    /// 1 + `used` when `heap/walk.rs` last looked, 0: not since the slab was current.
    pub seen: AtomicU32,
    /// One bit per block (class slab) or granule (run slab), set: free.
    pub local: [AtomicU64; SLAB_WORDS],
    /// Span head: units of the span. Written by the span's holder.
    pub span_units: AtomicU32,
    /// Span head: 1 while the program has it, 0 once nobody has, above that: which thread keeps it
    /// (`arena/kept.rs`). A free swaps it, or its thread writes its name.
    pub span_live: AtomicU32,
    /// Span head: bytes asked for.
    pub span_bytes: AtomicUsize,
    /// Span head above 2 MiB, in pages of 4 KiB: from the start to the last that may be resident; how many
    /// are, as far as is known; and how many of them the block is not expected to use (`arena/shelf.rs`).
    pub span_reach: AtomicU32,
    pub span_pages: AtomicU32,
    pub span_excess: AtomicU32,
    /// When it was put on the shelf; of a live one, whether it was cleared by returning its pages.
    pub span_turn: AtomicU32,
    _pad: [u8; 32 - 6 * 4 - size_of::<usize>()],
    /// One bit per block, or per first granule of a block, set: freed by somebody without the lock.
    pub remote: [AtomicU64; SLAB_WORDS],
}

/// The value of `Record::identity`: class in bits 0..8 (1..=64, or `RUN`), `QUIET` in bit 8, the
/// owning heap in bits 32..64. One comparison tells the lock's holder that a block of its class may
/// be freed into the slab with nothing else to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub u64);

impl Identity {
    /// No slab.
    pub(crate) const NONE: Self = Self(0);
    /// The slab is its class's current one or has its hint: a free need not see to that.
    const QUIET: u64 = 1 << 8;

    /// A slab of `class` in `heap`, not quiet.
    #[inline(always)]
    pub(crate) const fn new(class: usize, heap: u32) -> Self {
        Self((heap as u64) << 32 | class as u64)
    }

    /// The same, quiet.
    #[inline(always)]
    pub(crate) const fn quiet(self) -> Self {
        Self(self.0 | Self::QUIET)
    }

    /// The same, not quiet.
    #[inline(always)]
    pub(crate) const fn loud(self) -> Self {
        Self(self.0 & !Self::QUIET)
    }

    /// Class, or `RUN`; 0 for no slab.
    #[inline(always)]
    pub(crate) const fn class(self) -> usize {
        (self.0 & 0xff) as usize
    }

    /// Whether it is a slab of this heap.
    #[inline(always)]
    pub(crate) const fn is_of(self, heap: u32) -> bool {
        self.0 as u8 != 0 && (self.0 >> 32) as u32 == heap
    }

    /// The owning heap, if it is a slab.
    #[inline(always)]
    pub(crate) const fn owner(self) -> Option<u32> {
        if self.0 as u8 == 0 { None } else { Some((self.0 >> 32) as u32) }
    }
}

/// Set in `Record::purged`: pages were returned because somebody asked for it, not because there were too many.
pub(crate) const REQUESTED: u32 = 1 << 31;

impl Record {
    /// Pages that were returned since the slab was last current.
    #[inline(always)]
    pub(crate) fn purged_pages(&self) -> usize {
        (self.purged.load(Ordering::Relaxed) & !REQUESTED).count_ones() as usize
    }

    /// The identity as of now.
    #[inline(always)]
    pub(crate) fn identity(&self) -> Identity {
        Identity(self.identity.load(Ordering::Relaxed))
    }

    /// Changes the identity. Under the owner's lock.
    #[inline(always)]
    pub(crate) fn set_identity(&self, identity: Identity) {
        self.identity.store(identity.0, Ordering::Relaxed);
    }
}

/// What the hit path may read about a unit: 8 bytes on x86_64, 2 elsewhere.
#[repr(C)]
pub(crate) struct MapEntry {
    /// Class of a class slab, 0 for everything else. Assembly reads it.
    pub class: AtomicU8,
    /// One of the `KIND_` constants.
    pub kind: AtomicU8,
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
    _pad: [u8; 2],
    /// Offset of the top of `class` from the thread pointer, the same in all threads, from before the unit is
    /// below the window's bound: a free needs neither the class nor where thread-local storage lies.
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
    pub slot: AtomicU32,
}

impl MapEntry {
    /// Changes the class. By whoever has the unit.
    #[inline(always)]
    pub(crate) fn set_class(&self, class: usize) {
        #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
        self.slot.store(crate::hit::slot_of(class), Ordering::Relaxed);
        self.class.store(class as u8, Ordering::Release);
    }
}

/// Free, not handed out, or the inside of a span.
pub(crate) const KIND_NONE: u8 = 0;
/// A slab of one small class.
pub(crate) const KIND_SLAB: u8 = 1;
/// A slab of runs.
pub(crate) const KIND_RUN: u8 = 2;
/// The first unit of a span.
pub(crate) const KIND_SPAN: u8 = 3;

/// One row of bits, a bit per unit of a chunk.
#[repr(C, align(64))]
pub(crate) struct Row {
    pub words: [AtomicU64; CHUNK_WORDS],
}

/// What every call may have to read, in one line; assembly reads the first four words.
///
/// All but `units` and `forking` are written once, before `units` becomes non-zero; `units` only
/// grows.
#[repr(C)]
pub(crate) struct Window {
    /// Address of unit 0.
    pub base: AtomicUsize,
    /// Units that are committed: an offset below this many units has valid tables.
    pub units: AtomicUsize,
    /// Address of `[MapEntry]`, by unit.
    pub map: AtomicUsize,
    /// Address that the granule classes would have if the window began at address 0, one byte per 128 bytes of
    /// window: 1..=40 where a block of that medium class starts, else 0. Written by the holder of the run slab's lock.
    pub granules: AtomicUsize,
    /// Address of `[Record]`, by unit.
    pub records: AtomicUsize,
    /// Address of `[Heap]`.
    pub heaps: AtomicUsize,
    /// Not 0 if the process uses AVX2 or above on x86_64: the bitset engine's backend. Written once.
    pub wide: AtomicUsize,
    /// The thread that is forking and takes or holds all locks: its token, or 0. `fork.rs` writes it.
    pub forking: AtomicUsize,
}

const _: () = {
    assert!(size_of::<Record>() == 1088 && (size_of::<Record>() / 64) % 2 == 1);
    assert!(size_of::<Row>() == 64);
    assert!(size_of::<Magazine>() == MAGAZINE_BYTES);
    assert!(offset_of!(Thread, magazines) % MAGAZINE_BYTES == 0);
    assert!(offset_of!(Thread, medium_tops) == 0);
    assert!(HINTS >= FITS + CHUNK_UNITS / size_of::<Row>() && HINTS.is_multiple_of(8));
    assert!(RUN > SMALL_CLASSES && ROOMY - SMALL_CLASSES < 128);
    #[cfg(target_pointer_width = "64")]
    {
        assert!(size_of::<Tls>() == 544);
        assert!(offset_of!(Tls, thread) == 520);
        assert!(MAGAZINE_BYTES == 256);
        assert!(offset_of!(Window, units) == 8);
        assert!(offset_of!(Window, map) == 16);
        assert!(offset_of!(Window, granules) == 24);
        assert!(size_of::<Window>() <= 64);
    }
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
    {
        assert!(size_of::<MapEntry>() == 8);
        assert!(offset_of!(MapEntry, class) == 0 && offset_of!(MapEntry, slot) == 4);
    }
    #[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
    assert!(size_of::<MapEntry>() == 2);
};
