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

/// One remote free into a slab that is not current, against a refill that follows its hint: the hint comes after the bit.
#[test]
fn remote_free_against_fold() {
    ready();
    check(3, || {
        let blocks = full_slab();
        full_slab();
        let one = blocks[70];
        let freer = spawn(move || free_remotely(&[one]));
        let held = lock(0);
        let mut missing = Vec::from([one]);
        missing.retain(|block| !take_up_to(&held, 1).contains(block));
        drop(held);
        freer.join().unwrap();
        find_all(&mut missing);
        assert!(missing.is_empty(), "lost: {missing:x?}");
    });
}

/// Two blocks of one word: the second comes while the first is folded.
#[test]
fn remote_frees_into_one_word() {
    ready();
    check(3, || {
        let blocks = full_slab();
        let (one, two) = (blocks[3], blocks[4]);
        free_remotely(&[one]);
        let freer = spawn(move || free_remotely(&[two]));
        let held = lock(0);
        // SAFETY: a slab's unit.
        let record = unsafe { crate::arena::tables::record(unit_of(one)) };
        hint::clear(unit_of(one), CLASS);
        assert!(slab::fold(record, unit_of(one), class()).is_ok());
        drop(held);
        freer.join().unwrap();
        let mut missing = Vec::from([one, two]);
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

/// A slab moves to a heap that has nothing while somebody frees into it and its owner looks for blocks too.
#[test]
fn remote_free_against_a_move_to_another_heap() {
    ready();
    check(2, || {
        let blocks = full_slab();
        full_slab();
        let (one, two) = (blocks[0], blocks[BLOCKS - 1]);
        free_remotely(&[two]);
        let content = [Content::new(), Content::new()];
        let shared = content.clone();
        let freer = spawn(move || {
            shared[0].touch();
            free_remotely(&[one]);
        });
        let owner = spawn(|| {
            let Some(held) = lock::try_lock(heap(0)) else { return Vec::new() };
            take_up_to(&held, 1)
        });
        let mut missing = Vec::from([one, two]);
        let held = lock(1);
        let mut got = take_up_to(&held, 1);
        drop(held);
        got.extend(owner.join().unwrap());
        freer.join().unwrap();
        for block in got {
            content[usize::from(block == two)].touch();
            assert!(missing.contains(&block), "handed out twice, or never freed: {block:x}");
            missing.retain(|other| *other != block);
        }
        // Either heap finds what is left, wherever the slab is now.
        let held = lock(1);
        for _ in 0..missing.len() {
            for block in take_up_to(&held, 1) {
                missing.retain(|other| *other != block);
            }
        }
        drop(held);
        find_all(&mut missing);
        assert!(missing.is_empty(), "lost: {missing:x?}");
    });
}

/// The last two blocks of a slab: one is freed remotely, one under the lock, which may retire the slab before the hint is set.
#[test]
fn retire_against_remote_free() {
    ready();
    check(3, || {
        let blocks = full_slab();
        full_slab();
        let (one, two) = (blocks[0], blocks[BLOCKS - 1]);
        let unit = unit_of(one);
        let held = lock(0);
        give(&held, &blocks[1..BLOCKS - 1]);
        drop(held);
        let content = Content::new();
        let shared = content.clone();
        let freer = spawn(move || {
            shared.touch();
            free_remotely(&[one]);
        });
        let held = lock(0);
        give(&held, &[two]);
        assert!(sweep::look_around(&held, 2).is_ok());
        drop(held);
        if units::is_free(unit) {
            // Only once all of its blocks were back, so whoever gets the unit now may write there.
            content.touch();
        }
        freer.join().unwrap();
        // A hint that came late misleads nobody: the sweep retires the slab, or passes over a free unit.
        let held = lock(0);
        held.heap().sweep.store(0, Ordering::Relaxed);
        assert!(sweep::look_around(&held, 4).is_ok());
        drop(held);
        assert!(units::is_free(unit), "an empty slab stays behind");
        // Carved again, for another class, under the stale hint: the search finds it out.
        assert!(units::claim_at(unit, 1));
        let held = lock(0);
        slab::carve(&held, unit, Class::from_index(CLASS + 1));
        let taken = take_up_to(&held, 1);
        assert!(
            taken.iter().all(|block| unit_of(*block) != unit),
            "a block of another class's slab"
        );
    });
}

/// A slab is retired while another heap claims its unit and carves it: all of the retirement is over by then.
#[test]
fn retire_against_a_claim_of_the_unit() {
    ready();
    check(3, || {
        let blocks = full_slab();
        full_slab();
        let unit = unit_of(blocks[0]);
        let held = lock(0);
        give(&held, &blocks[1..]);
        drop(held);
        let content = Content::new();
        let shared = content.clone();
        let last = blocks[0];
        let carver = spawn(move || {
            if !units::claim_at(unit, 1) {
                return false;
            }
            shared.touch();
            let held = lock(1);
            slab::carve(&held, unit, Class::from_index(CLASS + 1));
            true
        });
        content.touch();
        let held = lock(0);
        give(&held, &[last]);
        drop(held);
        if carver.join().unwrap() {
            let place = locate(window::address_of(unit));
            assert!(
                place.is_ok_and(|place| place.class.index() == CLASS + 1),
                "the carved slab is not whole"
            );
        } else {
            assert!(units::is_free(unit));
        }
    });
}

/// Frees blocks under a lock, as a flush does.
fn give(held: &Held, blocks: &[usize]) {
    let blocks: Vec<*mut u8> = blocks.iter().map(|block| *block as *mut u8).collect();
    for some in blocks.chunks(MAX_DEPTH) {
        assert!(flush::give(held, class(), some).is_ok());
    }
}

/// The lock of one heap says nothing of another heap's slab: what is freed there goes by `remote`, while the owner takes.
#[test]
fn a_free_under_another_heaps_lock() {
    ready();
    check(3, || {
        let blocks = full_slab();
        let (one, two) = (blocks[0], blocks[1]);
        free_remotely(&[two]);
        let owner = spawn(|| {
            let held = lock(0);
            take_up_to(&held, 1)
        });
        let held = lock(1);
        give(&held, &[one]);
        drop(held);
        let got = owner.join().unwrap();
        let mut missing = Vec::from([one, two]);
        missing.retain(|block| !got.contains(block));
        assert!(missing.len() + got.len() == 2);
        find_all(&mut missing);
        assert!(missing.is_empty(), "lost: {missing:x?}");
    });
}

/// The summary of a row is dropped by a search while another thread sets a hint there.
#[test]
fn a_hint_against_a_search_that_drops_the_summary() {
    ready();
    check(3, || {
        let blocks = full_slab();
        full_slab();
        let (unit, one) = (unit_of(blocks[0]), blocks[0]);
        // A hint that was there once: the summary stands, the row is empty.
        hint::set(unit, CLASS);
        hint::clear(unit, CLASS);
        let freer = spawn(move || free_remotely(&[one]));
        let held = lock(0);
        let found = hint::find_own(&held, hint::OfClass(CLASS));
        assert!(found.is_none_or(|found| found == unit));
        drop(held);
        freer.join().unwrap();
        let held = lock(0);
        assert_eq!(
            hint::find_own(&held, hint::OfClass(CLASS)),
            Some(unit),
            "a hint that no search finds"
        );
    });
}

/// Two heaps' threads take the same lock: what one did under it the other sees.
#[test]
fn the_lock_orders_its_holders() {
    ready();
    check(3, || {
        let content = Content::new();
        let shared = content.clone();
        let other = spawn(move || {
            if let Some(_held) = lock::try_quickly(0, crate::hit::token()) {
                shared.touch();
            }
        });
        if let Some(_held) = lock::try_lock(heap(0)) {
            content.touch();
        }
        other.join().unwrap();
        assert_eq!(heap(0).lock.load(Ordering::Relaxed), 0, "given up");
    });
}

/// A lock that was not got is not given up.
#[test]
fn a_lock_that_is_taken_stays_taken() {
    ready();
    check(0, || {
        let held = lock(0);
        assert!(lock::try_quickly(0, crate::hit::token()).is_none());
        assert!(lock::try_lock(heap(0)).is_none());
        assert_ne!(held.heap().lock.load(Ordering::Relaxed), 0, "given up by who did not get it");
    });
}

/// A block freed twice is found on each of the ways: both by `remote`, one of them folded, the slab full again at the end.
#[test]
fn a_block_freed_twice_is_found() {
    fn is_double(outcome: Result<(), Misuse>) -> bool {
        outcome.is_err_and(|misuse| misuse.fault == crate::misuse::Fault::DoubleFree)
    }
    fn remotely(block: usize) -> Result<(), Misuse> {
        remote::give_all(None, class(), &[block as *mut u8])
    }
    ready();
    // Both in `remote`.
    check(0, || {
        let blocks = full_slab();
        assert!(remotely(blocks[5]).is_ok());
        assert!(is_double(remotely(blocks[5])));
    });
    // One in `local`, one in `remote`: found by the fold.
    check(0, || {
        let blocks = full_slab();
        let held = lock(0);
        give(&held, &[blocks[70]]);
        assert!(remotely(blocks[70]).is_ok());
        let unit = unit_of(blocks[70]);
        // SAFETY: a slab's unit.
        let record = unsafe { crate::arena::tables::record(unit) };
        assert!(is_double(slab::fold(record, unit, class())));
    });
    // Both in `local`.
    check(0, || {
        let blocks = full_slab();
        let held = lock(0);
        give(&held, &[blocks[70]]);
        assert!(is_double(flush::give(&held, class(), &[blocks[70] as *mut u8])));
        assert!(is_double(remote::give_all(Some(&held), class(), &[blocks[70] as *mut u8])));
    });
    // One in `remote` while the rest empties the slab: found when it is retired.
    check(0, || {
        let blocks = full_slab();
        full_slab();
        let held = lock(0);
        give(&held, &blocks[..BLOCKS - 1]);
        assert!(remotely(blocks[3]).is_ok());
        assert!(is_double(flush::give(&held, class(), &[blocks[BLOCKS - 1] as *mut u8])));
    });
}

/// The same as for class slabs with a run slab: the hint lies in a row of its own, the fold finds lengths in the granule table.
#[test]
fn remote_free_against_refill_from_a_run_slab() {
    fn take_runs(held: &Held, want: usize) -> Vec<usize> {
        let mut slots = [ptr::null_mut::<u8>(); 2];
        // SAFETY: the array has room for as many.
        let mut batch = unsafe { Batch::below(slots.as_mut_ptr().add(2)) };
        assert!(run::take(held, largest(), want, &mut batch).is_ok());
        slots[2 - batch.len()..].iter().map(|block| *block as usize).collect()
    }
    fn largest() -> Class {
        Class::from_index(crate::layout::ROOMY) // 32 KiB: two in a slab
    }
    ready();
    check(2, || {
        let fresh = || {
            let unit = units::claim(1, 1, crate::hit::token()).unwrap();
            let held = lock(0);
            run::carve(&held, unit);
            take_runs(&held, 2)
        };
        let blocks = fresh();
        fresh();
        let content = [Content::new(), Content::new()];
        let shared = content.clone();
        let freed = blocks.clone();
        let freer = spawn(move || {
            for (block, content) in freed.into_iter().zip(shared) {
                content.touch();
                assert!(remote::give_all(None, largest(), &[block as *mut u8]).is_ok());
            }
        });
        let mut missing = blocks.clone();
        let held = lock(0);
        for block in take_runs(&held, 2) {
            content[usize::from(block == blocks[1])].touch();
            assert!(missing.contains(&block), "not freed, or handed out twice: {block:x}");
            missing.retain(|other| *other != block);
        }
        drop(held);
        freer.join().unwrap();
        let held = lock(0);
        for _ in 0..missing.len() {
            for block in take_runs(&held, 1) {
                missing.retain(|other| *other != block);
            }
        }
        // With both blocks back, a sweep may have retired the slab.
        let retired = missing.len() == 2 && units::is_free(unit_of(blocks[0]));
        assert!(missing.is_empty() || retired, "lost: {missing:x?}");
    });
}
