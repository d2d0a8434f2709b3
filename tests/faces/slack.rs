//! What C's `realloc` leaves where it is: a buffer that is appended to moves rarely, one that shrinks a little stays, and a sized free
//! still takes the size that was asked for last.

use crate::support::c_api::CApi;
use crate::support::child::Child;
use crate::support::verdict::{Scenario, Verdict, test};
use crate::{c_face, ensure};
use libtest_mimic::Trial;
use std::ptr::null_mut;

const MISSING: &str = "c_face has looked for all functions";

/// Appends 16 bytes at a time up to 32 KiB: four moves to a doubling, not one for each class (64 small and 40 medium ones).
fn appended() -> Result<(), String> {
    let c = c_face()?;
    let realloc = c.realloc.expect(MISSING);
    let (mut block, mut moves): (*mut u8, u32) = (null_mut(), 0);
    for size in (16..=32 << 10).step_by(16) {
        // SAFETY: the buffer is this test's; what it held and is to hold is within its size.
        unsafe {
            let grown = realloc(block, size);
            ensure!(!grown.is_null(), "realloc to {size}: NULL");
            moves += u32::from(grown != block);
            for piece in 1..size / 16 {
                let number = grown.add(16 * piece - 16).cast::<usize>().read();
                ensure!(number == piece, "{size}: piece {piece} holds {number}");
            }
            grown.add(size - 16).cast::<usize>().write(size / 16);
            block = grown;
        }
    }
    // SAFETY: the buffer is this test's.
    unsafe { c.free.expect(MISSING)(block) };
    // Eight to 128 bytes, then four to each of eight doublings.
    ensure!(moves <= 40, "{moves} moves");
    Ok(())
}

/// Shrinks by an eighth stay, shrinks by half do not.
fn shrunk() -> Result<(), String> {
    let c = c_face()?;
    let (malloc, free) = (c.malloc.expect(MISSING), c.free.expect(MISSING));
    let (realloc, usable) = (c.realloc.expect(MISSING), c.malloc_usable_size.expect(MISSING));
    for size in [128, 512, 1024, 2048, 10 << 10, 32 << 10] {
        // SAFETY: blocks of this test, written within their sizes.
        unsafe {
            let block = malloc(size);
            block.write_bytes(7, size);
            let same = realloc(block, size - size / 8);
            ensure!(same == block, "{size}: moved, shrunk by an eighth");
            let half = realloc(block, size / 2);
            ensure!(usable(half) < size, "{size}: halved, it has {} bytes", usable(half));
            for at in 0..size / 2 {
                ensure!(*half.add(at) == 7, "{size}: byte {at} was lost");
            }
            free(half);
        }
    }
    Ok(())
}

/// Blocks that grew by little are freed with the size that was asked for, enough of them for many flushes.
fn sized_frees(c: &CApi) -> Result<(), String> {
    let (malloc, realloc) = (c.malloc.expect(MISSING), c.realloc.expect(MISSING));
    let free_sized = c.free_sized.expect(MISSING);
    for size in (16..32usize << 10).step_by(208) {
        let grown = size + 1;
        // SAFETY: blocks of this test, freed once, with the size that each has.
        unsafe {
            let blocks: Vec<*mut u8> = (0..70).map(|_| realloc(malloc(size), grown)).collect();
            ensure!(!blocks.contains(&null_mut()), "realloc to {grown}: NULL");
            blocks.iter().for_each(|block| block.write_bytes(1, grown));
            blocks.into_iter().for_each(|block| free_sized(block, grown));
        }
    }
    // SAFETY: may be called at any time; folds what was freed.
    unsafe { c.malloc_trim.expect(MISSING)(0) };
    Ok(())
}

/// A block that was freed as one of a smaller class, handed out as what a third one grows to, and freed as one of a class that is smaller again.
fn freed_as_less_each_time(c: &CApi) -> Result<(), String> {
    let (malloc, realloc) = (c.malloc.expect(MISSING), c.realloc.expect(MISSING));
    let free_sized = c.free_sized.expect(MISSING);
    // SAFETY: blocks of this test, freed once, with the size that each has.
    unsafe {
        // Of 384 bytes, asked for as 320.
        let large: Vec<*mut u8> =
            (0..40).map(|_| realloc(realloc(malloc(320), 336), 320)).collect();
        ensure!(!large.contains(&null_mut()), "NULL");
        large.iter().for_each(|block| free_sized(*block, 320));
        // What grows from 256 to 272 gets one of 320.
        let grown: Vec<*mut u8> = (0..40).map(|_| realloc(malloc(256), 272)).collect();
        ensure!(grown.iter().any(|block| large.contains(block)), "the way is another by now");
        grown.into_iter().for_each(|block| free_sized(block, 272));
        c.malloc_trim.expect(MISSING)(0);
    }
    Ok(())
}

pub const SCENARIOS: &[Scenario] = &[
    ("sized_frees", || sized_frees(&c_face()?)),
    ("freed_as_less_each_time", || freed_as_less_each_time(&c_face()?)),
];

pub fn tests() -> Vec<Trial> {
    vec![
        test("slack::appended", || appended().map(|()| Verdict::Holds)),
        test("slack::shrunk", || shrunk().map(|()| Verdict::Holds)),
        test("slack::sized_frees", || {
            Child::scenario("sized_frees").succeed()?;
            Ok(Verdict::Holds)
        }),
        test("slack::freed_as_less_each_time", || {
            Child::scenario("freed_as_less_each_time").succeed()?;
            Ok(Verdict::Holds)
        }),
        test("slack::sized_frees_checked", || {
            Child::scenario("sized_frees").env("BITMAG_CHECK", "1").succeed()?;
            Ok(Verdict::Holds)
        }),
    ]
}
