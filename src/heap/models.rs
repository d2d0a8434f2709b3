//! loom models of what happens to slabs: remote free, fold, refill, adoption and retirement, on the shipped functions.
//!
//! Each model ends with the invariant put to the test: what was freed can be found again by the shipped refill.

use super::*;
use crate::arena::window;
use crate::sync::{check, ready, spawn};
use core::ptr;
use loom::cell::UnsafeCell;
use std::sync::Arc;
use std::vec::Vec;

/// 512 bytes: 128 blocks, two words of bits.
const CLASS: usize = 32;
const BLOCKS: usize = 128;

fn class() -> Class {
    Class::from_index(CLASS)
}

/// The content of a block: loom fails the model if two threads use it without an order between them.
#[derive(Clone)]
struct Content(Arc<UnsafeCell<u32>>);

impl Content {
    fn new() -> Self {
        Self(Arc::new(UnsafeCell::new(0)))
    }

    fn touch(&self) {
        // SAFETY: only the block's owner calls it, which is what the model is about.
        self.0.with_mut(|content| unsafe { *content += 1 });
    }
}

fn lock(index: u32) -> Held {
    lock::try_lock(heap(index)).expect("free")
}

/// A new slab of heap 0, current, all its blocks taken: their addresses.
fn full_slab() -> Vec<usize> {
    let unit = units::claim(1, 1, crate::hit::token()).unwrap();
    let held = lock(0);
    slab::carve(&held, unit, class());
    take_up_to(&held, BLOCKS)
}

/// Up to `want` blocks of the shipped refill under a lock.
fn take_up_to(held: &Held, want: usize) -> Vec<usize> {
    let mut slots = [ptr::null_mut::<u8>(); BLOCKS];
    // SAFETY: the array has room for as many.
    let mut batch = unsafe { Batch::below(slots.as_mut_ptr().add(BLOCKS)) };
    assert!(slab::take(held, class(), want, &mut batch).is_ok());
    slots[BLOCKS - batch.len()..].iter().map(|block| *block as usize).collect()
}

/// Frees blocks without a lock.
fn free_remotely(blocks: &[usize]) {
    let blocks: Vec<*mut u8> = blocks.iter().map(|block| *block as *mut u8).collect();
    assert!(remote::give_all(None, class(), &blocks).is_ok());
}

fn unit_of(block: usize) -> u32 {
    window::unit_of(block).unwrap()
}

/// What can be found with heap 0's lock when all is quiet: of the blocks that are waited for.
fn find_all(missing: &mut Vec<usize>) {
    let held = lock(0);
    for _ in 0..missing.len() {
        for block in take_up_to(&held, 1) {
            missing.retain(|other| *other != block);
        }
    }
}

/// Two remote frees into different words of a slab that is current, while its heap refills from it.
#[test]
fn remote_free_against_refill_of_the_current_slab() {
    ready();
    check(3, || {
        let blocks = full_slab();
        let (one, two) = (blocks[0], blocks[BLOCKS - 1]);
        let content = [Content::new(), Content::new()];
        let freers: Vec<_> = [one, two]
            .into_iter()
            .zip(content.clone())
            .map(|(block, content)| {
                spawn(move || {
                    content.touch();
                    free_remotely(&[block]);
                })
            })
            .collect();
        let held = lock(0);
        let unit = held.current(CLASS).load(Ordering::Relaxed);
        // The refill's first step alone: the whole would go on to a sweep.
        // SAFETY: a current slab.
        let record = unsafe { crate::arena::tables::record(unit) };
        hint::clear(unit, CLASS);
        assert!(slab::fold(record, unit, class()).is_ok());
        let mut slots = [ptr::null_mut::<u8>(); 2];
        // SAFETY: two slots.
        let mut batch = unsafe { Batch::below(slots.as_mut_ptr().add(2)) };
        slab::take_from_current(&held, class(), 2, &mut batch);
        let mut missing = Vec::from([one, two]);
        for block in slots.iter().map(|block| *block as usize).filter(|block| *block != 0) {
            content[usize::from(block == two)].touch();
            missing.retain(|other| *other != block);
        }
        drop(held);
        for freer in freers {
            freer.join().unwrap();
        }
        find_all(&mut missing);
        assert!(missing.is_empty(), "lost: {missing:x?}");
    });
}

/// Two remote frees into a slab that is not current, while its heap looks for something to take.
#[test]
fn remote_free_against_refill_from_a_hint() {
    ready();
    check(2, || {
        let blocks = full_slab();
        full_slab();
        let (one, two) = (blocks[0], blocks[BLOCKS - 1]);
        let content = [Content::new(), Content::new()];
        let shared = content.clone();
        let freer = spawn(move || {
            shared[0].touch();
            shared[1].touch();
            free_remotely(&[one]);
            free_remotely(&[two]);
        });
        let held = lock(0);
        let mut missing = Vec::from([one, two]);
        for block in take_up_to(&held, 2) {
            content[usize::from(block == two)].touch();
            missing.retain(|other| *other != block);
        }
        drop(held);
        freer.join().unwrap();
        find_all(&mut missing);
        assert!(missing.is_empty(), "lost: {missing:x?}");
    });
}
