//! The live-set model that the fuzz targets and the soak share: a sequence of operations is run on the allocator, and a map of
//! the live blocks says after each of them what must hold. No two live blocks overlap, each is aligned and as large as asked
//! for, fresh zeroed memory is zero, and what was written into a block is there until it is freed. The allocator is used through
//! `GlobalAlloc` as an object and not as the program's global allocator: the model's own memory comes from the system.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod bitmaps;
mod block;
mod operation;
mod remote;

pub use operation::{Align, Operation, Size};

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;

use bitmag::{Bitmag, bitset};
use block::Block;
use remote::Remote;

/// Makes the bitset engine use the backend that BITMAG_BACKEND names. If the processor lacks it, nothing is tested and nothing
/// is called passed: the answer is false.
///
/// # Panics
/// When the variable names no backend.
pub fn force_backend() -> bool {
    let Ok(name) = std::env::var("BITMAG_BACKEND") else { return true };
    let backend = bitset::Backend::from_name(name.as_bytes());
    let there = bitset::set_backend(backend.unwrap_or_else(|| panic!("BITMAG_BACKEND={name}")));
    if !there {
        println!("fuzz: {name}: not run (this CPU lacks it)");
    }
    there
}

/// How many blocks a sequence can hold at once: a slot is named by one byte.
const SLOTS: usize = 256;
/// A sequence holds no more bytes than this; what would exceed it is left out.
const LIVE_BYTES: usize = 512 << 20;
/// One `Many` takes no more than this: faults on large blocks would leave no time for anything else.
const MANY_BYTES: usize = 4 << 20;

/// The state of one sequence.
pub struct LiveSet {
    allocator: &'static Bitmag,
    remote: Remote,
    slots: Vec<Option<Block>>,
    /// Start and end of each live block.
    ranges: BTreeMap<usize, usize>,
    live_bytes: usize,
    /// The next block's fill pattern.
    stamp: u64,
    /// Operations that really did something.
    done: u64,
}

impl LiveSet {
    /// An empty set on `allocator`, with one thread beside the caller's.
    pub fn new(allocator: &'static Bitmag) -> LiveSet {
        LiveSet {
            allocator,
            remote: Remote::new(allocator),
            slots: (0..SLOTS).map(|_| None).collect(),
            ranges: BTreeMap::new(),
            live_bytes: 0,
            stamp: 0,
            done: 0,
        }
    }

    /// Runs a sequence and frees what it left.
    ///
    /// # Panics
    /// When the allocator broke one of the rules.
    pub fn run(&mut self, operations: &[Operation]) -> u64 {
        let before = self.done;
        for operation in operations {
            self.step(operation);
        }
        for slot in 0..SLOTS {
            self.free(slot, slot % 2 == 0);
        }
        assert!(self.ranges.is_empty() && self.live_bytes == 0);
        self.done - before
    }

    fn step(&mut self, operation: &Operation) {
        match *operation {
            Operation::Allocate { slot, size, align, zeroed } => {
                let Some(layout) = layout(size, align) else {
                    return;
                };
                self.free(slot.into(), false);
                self.allocate(slot.into(), layout, zeroed);
            }
            Operation::Many { slot, count, size, align } => {
                let Some(layout) = layout(size, align) else {
                    return;
                };
                let count = usize::from(count).min(MANY_BYTES / layout.size());
                for i in 0..count {
                    let slot = (usize::from(slot) + i) % SLOTS;
                    self.free(slot, false);
                    self.allocate(slot, layout, false);
                }
            }
            Operation::Resize { slot, size } => self.resize(slot.into(), size.bytes()),
            Operation::Free { slot, remote } => self.free(slot.into(), remote),
            Operation::FreeMany { slot, count, step, remote } => {
                for i in 0..usize::from(count) {
                    self.free((usize::from(slot) + i * usize::from(step)) % SLOTS, remote);
                }
            }
            Operation::AllocateElsewhere { slot, size, align } => {
                let Some(layout) = layout(size, align) else {
                    return;
                };
                self.free(slot.into(), false);
                if self.room(layout.size()) {
                    let pointer = self.remote.allocate(layout);
                    self.enter(slot.into(), pointer, layout, false);
                }
            }
            Operation::Verify => self.slots.iter().flatten().for_each(Block::verify),
            Operation::Trim => {
                bitmag::trim();
                self.done += 1;
            }
            Operation::Statistics => {
                let stats = bitmag::stats();
                let holds = stats.slabs + stats.large;
                assert!(
                    holds >= self.live_bytes,
                    "{} bytes live, {holds} in slabs and large blocks",
                    self.live_bytes
                );
                self.done += 1;
            }
        }
    }

    fn room(&self, size: usize) -> bool {
        size <= LIVE_BYTES - self.live_bytes
    }

    fn allocate(&mut self, slot: usize, layout: Layout, zeroed: bool) {
        if !self.room(layout.size()) {
            return;
        }
        let pointer = if zeroed {
            // SAFETY: a `Size` is at least 1 byte, which is all that `alloc_zeroed` asks for.
            unsafe { self.allocator.alloc_zeroed(layout) }
        } else {
            // SAFETY: as above.
            unsafe { self.allocator.alloc(layout) }
        };
        self.enter(slot, pointer, layout, zeroed);
    }

    /// A fresh block comes into the set. NULL is an answer: memory may be short.
    fn enter(&mut self, slot: usize, pointer: *mut u8, layout: Layout, zeroed: bool) {
        self.done += 1;
        if pointer.is_null() {
            return;
        }
        self.stamp += 1;
        // SAFETY: the allocator gave `pointer` for `layout` just now; nobody else knows it.
        let block = unsafe { Block::fresh(pointer, layout, self.stamp, zeroed) };
        self.insert(&block);
        self.slots[slot] = Some(block);
    }

    fn insert(&mut self, block: &Block) {
        let (start, end) = block.range();
        if let Some((&s, &e)) = self.ranges.range(..end).next_back() {
            assert!(e <= start, "blocks overlap: {s:#x}..{e:#x} and {start:#x}..{end:#x}");
        }
        self.ranges.insert(start, end);
        self.live_bytes += block.size();
    }

    fn remove(&mut self, block: &Block) {
        assert_eq!(self.ranges.remove(&block.range().0), Some(block.range().1));
        self.live_bytes -= block.size();
    }

    fn resize(&mut self, slot: usize, size: usize) {
        let Some(block) = &self.slots[slot] else {
            return;
        };
        if size > block.size() && !self.room(size - block.size()) {
            return;
        }
        let Some(block) = self.slots[slot].take() else {
            return;
        };
        block.verify();
        self.remove(&block);
        self.done += 1;
        self.stamp += 1;
        // SAFETY: the block is live, of this allocator, and out of the set from here on.
        let block = unsafe { block.resize(self.allocator, size, self.stamp) };
        self.insert(&block);
        self.slots[slot] = Some(block);
    }

    fn free(&mut self, slot: usize, remote: bool) {
        let Some(block) = self.slots[slot].take() else {
            return;
        };
        block.verify();
        self.remove(&block);
        self.done += 1;
        let (pointer, layout) = block.into_parts();
        if remote {
            self.remote.free(pointer, layout);
        } else {
            // SAFETY: the block is live, came from this allocator with this layout, and has just left the set.
            unsafe { self.allocator.dealloc(pointer, layout) };
        }
    }
}

fn layout(size: Size, align: Align) -> Option<Layout> {
    Layout::from_size_align(size.bytes(), align.bytes()).ok()
}
