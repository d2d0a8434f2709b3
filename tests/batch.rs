//! Batches against the ordinary calls: every block is whole, its own, and freed by either.
//! Misuse in a batch must end the process like any other; those cases run in child processes.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::process::Command;
use std::ptr::null_mut;

static BITMAG: bitmag::Bitmag = bitmag::Bitmag::new();

/// Allocates a batch, fills each block with its number, and checks that none lies in another.
fn take(layout: Layout, count: usize) -> Vec<*mut u8> {
    let mut blocks = vec![null_mut(); count];
    assert_eq!(bitmag::alloc_batch(layout, &mut blocks), count, "{layout:?}");
    let mut by_address = BTreeMap::new();
    for (number, block) in blocks.iter().enumerate() {
        assert_eq!(*block as usize % layout.align(), 0, "{layout:?}");
        assert!(by_address.insert(*block as usize, number).is_none(), "handed out twice");
        // SAFETY: a block of this layout.
        unsafe { block.write_bytes(number as u8, layout.size()) };
    }
    let addresses: Vec<usize> = by_address.into_keys().collect();
    for pair in addresses.windows(2) {
        assert!(pair[0] + layout.size() <= pair[1], "{layout:?}: blocks overlap");
    }
    blocks
}

fn check(layout: Layout, blocks: &[*mut u8], number: impl Fn(usize) -> usize) {
    for (index, block) in blocks.iter().enumerate() {
        for offset in [0, layout.size() / 2, layout.size().saturating_sub(1)] {
            if layout.size() != 0 {
                // SAFETY: a live block of this layout, filled by `take`.
                let byte = unsafe { *block.add(offset) };
                assert_eq!(byte, number(index) as u8, "{layout:?}: block {index} was overwritten");
            }
        }
    }
}

fn layouts() -> Vec<Layout> {
    let sizes = [0, 1, 16, 24, 64, 100, 500, 1008, 1024, 1025, 4096, 20_000, 32_768, 100_000];
    let mut layouts: Vec<_> =
        sizes.iter().map(|size| Layout::from_size_align(*size, 8).unwrap()).collect();
    layouts
        .extend([64, 512, 4096, 1 << 16].map(|align| Layout::from_size_align(96, align).unwrap()));
    layouts
}

#[test]
fn every_layout_and_length() {
    for layout in layouts() {
        for count in [0, 1, 2, 7, 8, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000, 3000] {
            if count * layout.size() <= 16 << 20 {
                let blocks = take(layout, count);
                check(layout, &blocks, |index| index);
                // SAFETY: the blocks of the batch, each once.
                unsafe { bitmag::free_batch(layout, &blocks) };
            }
        }
    }
}

#[test]
fn batches_and_single_calls_mix() {
    let mut rng = fastrand::Rng::with_seed(5);
    for layout in layouts() {
        let count = (8 << 20) / layout.size().max(1 << 12);
        let mut blocks = take(layout, count);
        for (index, block) in blocks.iter_mut().enumerate().filter(|(index, _)| index % 3 == 0) {
            // SAFETY: a block of the batch is like any other; what replaces it is of the same layout.
            unsafe {
                BITMAG.dealloc(*block, layout);
                *block = BITMAG.alloc(layout);
                block.write_bytes(index as u8, layout.size());
            }
        }
        check(layout, &blocks, |index| index);
        rng.shuffle(&mut blocks);
        blocks.insert(count / 2, null_mut());
        // SAFETY: each block once, in any order; NULL is passed over.
        unsafe { bitmag::free_batch(layout, &blocks) };
    }
}

#[test]
fn rows_forwards_backwards_and_interrupted() {
    let layout = Layout::from_size_align(64, 8).unwrap();
    for round in 0..6 {
        let mut blocks = take(layout, 5000);
        match round {
            0 => blocks.sort(),
            1 => blocks.sort_by(|a, b| b.cmp(a)),
            2 => blocks.rotate_left(1234),
            3 => blocks.swap(700, 3000),
            4 => {
                blocks.sort();
                let every_other: Vec<_> = blocks.iter().copied().step_by(2).collect();
                // SAFETY: half of the blocks; the others follow.
                unsafe { bitmag::free_batch(layout, &every_other) };
                blocks = blocks.into_iter().skip(1).step_by(2).collect();
            }
            _ => {}
        }
        // SAFETY: the blocks of the batch, each once.
        unsafe { bitmag::free_batch(layout, &blocks) };
    }
    // Nothing was lost and nothing is free twice.
    let blocks = take(layout, 20_000);
    check(layout, &blocks, |index| index);
    // SAFETY: as above.
    unsafe { bitmag::free_batch(layout, &blocks) };
}

#[test]
fn other_threads_blocks() {
    let layout = Layout::from_size_align(200, 8).unwrap();
    for _ in 0..20 {
        let handed: Vec<Vec<usize>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| take(layout, 3000).into_iter().map(|b| b as usize).collect())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for batch in handed {
            let blocks: Vec<*mut u8> = batch.into_iter().map(|block| block as *mut u8).collect();
            check(layout, &blocks, |index| index);
            // SAFETY: blocks of a thread that has ended, each once.
            unsafe { bitmag::free_batch(layout, &blocks) };
        }
    }
}

/// Runs the ignored test of that name in a process of its own; what it wrote to stderr.
fn dies(name: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(!output.status.success(), "{name} went unnoticed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn misuse_is_found() {
    assert!(dies("child_frees_twice").contains("bitmag: double free: 0x"));
    assert!(dies("child_frees_a_row_twice").contains("bitmag: double free: 0x"));
    assert!(dies("child_frees_the_inside").contains("bitmag: pointer inside a block: 0x"));
    assert!(dies("child_frees_another_size").contains("bitmag: wrong size: 0x"));
    assert!(dies("child_frees_twice_what_was_purged").contains("bitmag: double free: 0x"));
}

#[test]
#[ignore = "runs in a process of its own, and dies"]
fn child_frees_twice() {
    let layout = Layout::from_size_align(64, 8).unwrap();
    let mut blocks = take(layout, 100);
    blocks[60] = blocks[10];
    // SAFETY: none: that is the point.
    unsafe { bitmag::free_batch(layout, &blocks) };
}

#[test]
#[ignore = "runs in a process of its own, and dies"]
fn child_frees_a_row_twice() {
    let layout = Layout::from_size_align(64, 8).unwrap();
    let keep = take(layout, 1000);
    // SAFETY: none: that is the point.
    unsafe {
        bitmag::free_batch(layout, &keep[100..500]);
        bitmag::free_batch(layout, &keep[100..500]);
    }
}

#[test]
#[ignore = "runs in a process of its own, and dies"]
fn child_frees_the_inside() {
    let layout = Layout::from_size_align(64, 8).unwrap();
    let mut blocks = take(layout, 100);
    // SAFETY: none: that is the point.
    unsafe {
        blocks[60] = blocks[60].add(16);
        bitmag::free_batch(layout, &blocks);
    }
}

#[test]
#[ignore = "runs in a process of its own, and dies"]
fn child_frees_another_size() {
    let blocks = take(Layout::from_size_align(64, 8).unwrap(), 100);
    // SAFETY: none: that is the point.
    unsafe { bitmag::free_batch(Layout::from_size_align(80, 8).unwrap(), &blocks) };
}

/// A block whose page went back to the system, in a slab that lives on.
#[test]
#[ignore = "runs in a process of its own, and dies"]
fn child_frees_twice_what_was_purged() {
    let layout = Layout::from_size_align(64, 8).unwrap();
    let mut blocks = take(layout, 10_000);
    blocks.sort();
    // SAFETY: each block once; the first of 500 stays.
    unsafe {
        for part in blocks.chunks(500) {
            bitmag::free_batch(layout, &part[1..]);
        }
        assert!(bitmag::purge() > 100_000);
        // And once more, one by one: that is the point.
        for part in blocks.chunks(500) {
            BITMAG.dealloc(part[250], layout);
        }
    }
    bitmag::purge();
}
