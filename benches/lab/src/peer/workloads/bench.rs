//! What a workload is given: the allocator's functions, how much of its full length it runs, and the measuring itself.
//! Every block is sealed when it is handed out (its size and address in the first eight bytes, a byte of the address in the last one)
//! and looked at when it is freed, so that a run whose blocks overlap ends instead of reporting a figure.

use super::block::Block;
use super::outcome::Outcome;
use super::{resident, team};
use crate::rows::Face;
use std::ptr::NonNull;
use std::time::Instant;

/// The face of one allocator, and the scale of the run.
#[derive(Clone, Copy)]
pub struct Bench {
    pub face: Face,
    /// How much of the full length, in percent.
    pub percent: usize,
}

impl Bench {
    /// So much of a full count.
    pub fn scaled(&self, full: usize) -> usize {
        (full * self.percent / 100).max(1)
    }

    /// A block of so many bytes, eight at least, sealed.
    #[inline(always)]
    pub fn take(&self, size: usize) -> Block {
        Block::sealed(self.malloc(size), size)
    }

    /// A block that `Block::sealed` has to make one of.
    #[inline(always)]
    pub fn malloc(&self, size: usize) -> NonNull<u8> {
        // SAFETY: allocation has no precondition.
        NonNull::new(unsafe { (self.face.malloc)(size) }).expect("memory")
    }

    /// A block of zeroes, not sealed.
    pub fn take_zeroed(&self, size: usize) -> NonNull<u8> {
        // SAFETY: allocation has no precondition.
        NonNull::new(unsafe { (self.face.calloc)(1, size) }).expect("memory")
    }

    /// Gives a block back that is whole.
    #[inline(always)]
    pub fn give(&self, block: Block) {
        block.check();
        self.free(block);
    }

    /// Gives a block back without a look at it.
    #[inline(always)]
    pub fn free(&self, block: Block) {
        // SAFETY: a block of this allocator that nobody else has: `Block` is not copied.
        unsafe { (self.face.free)(block.start().as_ptr()) }
    }

    /// Gives back what `take_zeroed` handed out.
    ///
    /// # Safety
    /// A live block of `take_zeroed`, not used afterwards.
    pub unsafe fn give_raw(&self, block: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { (self.face.free)(block.as_ptr()) }
    }

    /// Makes a block larger or smaller; its seal has to have moved along.
    #[inline(always)]
    pub fn resize(&self, block: Block, size: usize) -> Block {
        let before = block.start().as_ptr() as usize;
        block.check();
        // SAFETY: a block of this allocator that nobody else has.
        let moved = unsafe { (self.face.realloc)(block.start().as_ptr(), size) };
        let moved = NonNull::new(moved).expect("memory");
        Block::resealed(moved, before, size)
    }

    /// Runs the part that counts, of so many operations.
    pub fn measure(&self, operations: usize, mut body: impl FnMut()) -> Outcome {
        let start_kib = resident::kib();
        let begin = Instant::now();
        measured(&mut body);
        let ns = begin.elapsed().as_nanos() as f64 / operations.max(1) as f64;
        let final_kib = resident::kib();
        let operations = operations as u64;
        Outcome { operations, ns, start_kib, final_kib, ..Outcome::default() }
    }

    /// Runs `body` on so many threads at once, each with its number, from a common start.
    pub fn threads(&self, count: usize, body: impl Fn(usize) + Sync) {
        let gate = std::sync::Barrier::new(count);
        let started = |index| {
            gate.wait();
            body(index);
        };
        team::run(self.face, count, &started, || {});
    }
}

/// Callgrind counts what happens in here.
#[unsafe(no_mangle)]
#[inline(never)]
fn bitmag_lab_measured(body: &mut dyn FnMut()) {
    body();
}

/// Runs what is measured.
pub fn measured(body: &mut dyn FnMut()) {
    bitmag_lab_measured(body);
}
