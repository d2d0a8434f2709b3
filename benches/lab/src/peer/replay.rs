//! Replays a program's trace on this program's allocator: the calls that the program made, in their order, with their sizes and
//! alignments, and blocks touched as by a program that uses them.
//!
//! A trace of several threads is replayed by one, in the order of the record: what threads cost each other is not in the figure.
//! All that belongs to the replaying (the calls, unpacked, and the table of live blocks) lies in mappings of its own, made before the
//! clock starts, so that the allocator serves the program's blocks and nothing else.
//!
//! Of each block the first and the last byte are written, and one byte of each page up to `PAGES`; a number that only this block has
//! stands at both ends and is looked at when it is freed or resized: blocks that overlap end the run.

use crate::packed::{self, Head, Room};
use crate::rows::Face;
use crate::trace::{Kind, Operation};
use crate::workloads::array::{Zeroed, zeroed};
use crate::workloads::measured;
use crate::workloads::resident;
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

/// Pages of a block that are touched: what a program does with 256 KiB at once it does with all of it, but that is its own time.
const PAGES: usize = 64;
const PAGE: usize = 4096;

/// What a replay came to.
#[derive(Clone, Copy, Serialize, Debug)]
pub struct Outcome {
    /// Calls made.
    pub operations: u64,
    /// Time of one, touching included.
    pub ns: f64,
    /// The most bytes that were live at a time, as they were asked for.
    pub live_kib: u64,
    /// Resident before the first call and after the last one, when what the program left is still live.
    pub start_kib: u64,
    pub final_kib: u64,
    /// The most that was resident.
    pub peak_kib: u64,
}

/// A live block.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    start: *mut u8,
    size: usize,
}

/// Runs the packed trace at `path`. What is live at its end stays so, as it does when a program ends.
pub fn replay(face: Face, path: &Path) -> Result<Outcome, String> {
    let packed = mapped_file(path)?;
    let head = packed::head(packed)?;
    let calls = unpacked(packed, head)?;
    let slots: &mut [Slot] = zeroed(head.blocks);
    // SAFETY: no precondition; what a thread calls first.
    unsafe { (face.enter)() };
    let start_kib = resident::kib();
    let live = most_live(calls, head.blocks);
    let begin = Instant::now();
    measured(&mut || run(face, calls, slots));
    let ns = begin.elapsed().as_nanos() as f64 / calls.len().max(1) as f64;
    Ok(Outcome {
        operations: calls.len() as u64,
        ns,
        live_kib: live / 1024,
        start_kib,
        final_kib: resident::kib(),
        peak_kib: resident::peak_kib(),
    })
}

#[inline(never)]
fn run(face: Face, calls: &[Operation], slots: &mut [Slot]) {
    for call in calls {
        let slot = &mut slots[call.block as usize];
        let size = call.size as usize;
        // SAFETY: the trace allocates a block before it resizes or frees it, once; `Slot` says where it is and how large.
        unsafe {
            match call.kind {
                Kind::Allocate if call.align != 0 => {
                    let align = 1 << call.align;
                    // C wants a multiple of the alignment.
                    let start = (face.aligned_alloc)(align, size.next_multiple_of(align));
                    *slot = begin(start, size, call.block);
                }
                Kind::Allocate => *slot = begin((face.malloc)(size), size, call.block),
                Kind::AllocateZeroed => *slot = begin((face.calloc)(1, size), size, call.block),
                Kind::Reallocate => {
                    check(slot, call.block);
                    let kept = slot.size.min(size);
                    let start = (face.realloc)(slot.start, size);
                    assert!(!start.is_null(), "no memory for {size} bytes");
                    assert!(kept == 0 || *start == mark(call.block), "a block lost what was in it");
                    touch(start, kept, size);
                    *slot = seal(start, size, call.block);
                }
                Kind::Free => {
                    check(slot, call.block);
                    (face.free)(slot.start);
                }
            }
        }
    }
}

/// What stands at both ends of a block.
fn mark(block: u32) -> u8 {
    (block ^ block >> 8) as u8
}

/// Writes to a fresh block.
///
/// # Safety
/// NULL, which ends the program, or a block of `size` bytes.
#[inline(always)]
unsafe fn begin(start: *mut u8, size: usize, block: u32) -> Slot {
    assert!(!start.is_null(), "no memory for {size} bytes");
    // SAFETY: the caller's contract.
    unsafe {
        touch(start, 0, size);
        seal(start, size, block)
    }
}

/// Writes a byte of each page of `from..to`, `PAGES` at most.
///
/// # Safety
/// `start` has `to` bytes.
#[inline(always)]
unsafe fn touch(start: *mut u8, from: usize, to: usize) {
    let mut at = from.next_multiple_of(PAGE).max(PAGE);
    while at < to.min(from.saturating_add(PAGES * PAGE)) {
        // SAFETY: `at` is below `to`.
        unsafe { start.add(at).write_volatile(1) };
        at += PAGE;
    }
}

/// Writes the mark to both ends.
///
/// # Safety
/// `start` has `size` bytes.
#[inline(always)]
unsafe fn seal(start: *mut u8, size: usize, block: u32) -> Slot {
    if size != 0 {
        // SAFETY: both ends are within the block.
        unsafe {
            start.write_volatile(mark(block));
            start.add(size - 1).write_volatile(mark(block));
        }
    }
    Slot { start, size }
}

/// Looks at both ends.
///
/// # Safety
/// `slot` is a live block.
#[inline(always)]
unsafe fn check(slot: &Slot, block: u32) {
    if slot.size != 0 {
        // SAFETY: both ends are within the block.
        let ends = unsafe { [slot.start.read(), slot.start.add(slot.size - 1).read()] };
        assert!(ends == [mark(block); 2], "somebody else wrote into a block");
    }
}

/// The calls, in a mapping.
fn unpacked(packed: &[u8], head: Head) -> Result<&'static [Operation], String> {
    let calls: &mut [Operation] = zeroed(head.operations);
    let room =
        Room { body: zeroed(head.body), born: zeroed(head.allocations), free: zeroed(head.blocks) };
    let mut places = calls.iter_mut();
    packed::unpack(packed, room, |operation| {
        if let Some(place) = places.next() {
            *place = operation;
        }
    })?;
    Ok(calls)
}

/// The most bytes that are live at a time.
fn most_live(calls: &[Operation], blocks: usize) -> u64 {
    let sizes: &mut [u64] = zeroed(blocks);
    let (mut live, mut most) = (0, 0);
    for call in calls {
        let size = &mut sizes[call.block as usize];
        live = live - *size + call.size;
        *size = call.size;
        most = most.max(live);
    }
    most
}

// SAFETY: numbers, and a kind that begins with 0.
unsafe impl Zeroed for Operation {}
// SAFETY: NULL and a number.
unsafe impl Zeroed for Slot {}

/// A file's content.
fn mapped_file(path: &Path) -> Result<&'static [u8], String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len() as usize;
    let content: &mut [u8] = zeroed(len);
    file.read_exact(content).map_err(failed)?;
    Ok(content)
}
