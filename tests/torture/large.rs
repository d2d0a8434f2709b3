//! Large blocks: growing by moving pages, kept spans, zeroed blocks that touch nothing, wide alignments, blocks of many GiB, prewarming.
//! What must not happen shows in page faults, resident memory and system calls rather than in time, so that a busy machine changes nothing.

use crate::support::api::{Api, Way};
use crate::support::child::Child;
use crate::support::verdict::{Scenario, Verdict, native_test};
use crate::{ALL, Face, api, each_face, each_face_natively, ensure, resident};
use libtest_mimic::Trial;

const STEP: usize = 64 << 10;
const PAGE: usize = 4096;
/// What a scenario may add to resident memory and to page faults beside its blocks.
const NOISE: u64 = 4 << 20;

/// A block of numbers: the word at each page's start says which page it is.
struct Paged {
    block: *mut u8,
    size: usize,
}

impl Paged {
    fn new(api: &dyn Api, size: usize) -> Result<Paged, String> {
        // SAFETY: a plain allocation.
        let block = unsafe { api.alloc(Way::Malloc, size, 16) };
        ensure!(!block.is_null(), "malloc({size}): NULL");
        let paged = Paged { block, size };
        paged.number(0);
        Ok(paged)
    }

    /// Numbers the pages from the one at `from` on.
    fn number(&self, from: usize) {
        for offset in (from..self.size).step_by(PAGE) {
            // SAFETY: inside the block; sizes here are multiples of a page.
            unsafe { self.block.add(offset).cast::<usize>().write_unaligned(offset ^ 0xABCD) };
        }
    }

    fn check(&self) -> Result<(), String> {
        for offset in (0..self.size).step_by(PAGE) {
            // SAFETY: as above.
            let found = unsafe { self.block.add(offset).cast::<usize>().read_unaligned() };
            ensure!(found == offset ^ 0xABCD, "{found:#x} at {offset:#x} of {:#x}", self.size);
        }
        Ok(())
    }

    fn resize(&mut self, api: &dyn Api, size: usize) -> Result<(), String> {
        // SAFETY: the block is live and has this size.
        let moved = unsafe { api.realloc(self.block, self.size, 16, size) };
        ensure!(!moved.is_null(), "realloc to {size}: NULL");
        let old = std::mem::replace(self, Paged { block: moved, size }).size;
        self.number(old.min(size));
        Ok(())
    }

    fn free(self, api: &dyn Api) {
        // SAFETY: live, and freed once.
        unsafe { api.free(Way::Malloc, 3, self.block, self.size, 16) };
    }
}

fn faults() -> u64 {
    // SAFETY: getrusage writes the struct, which may be zero before.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage.ru_minflt as u64
    }
}

/// Two blocks that grow past each other, then shrink: the content stays, and what went is not resident.
fn grows() -> Result<(), String> {
    let api = api();
    let before = resident();
    let (mut one, mut two) = (Paged::new(api, STEP)?, Paged::new(api, STEP)?);
    while one.size < 48 << 20 {
        let (a, b) = (one.size + STEP, two.size + 3 * PAGE);
        one.resize(api, a)?;
        two.resize(api, b)?;
    }
    one.check()?;
    two.check()?;
    let live = (one.size + two.size) as u64;
    for size in [40 << 20, 4 << 20, 5 << 20, 100_000 / PAGE * PAGE, 20 << 20, PAGE] {
        one.resize(api, size)?;
        one.check()?;
        two.check()?;
    }
    two.resize(api, PAGE)?;
    api.trim();
    let after = resident();
    ensure!(after < before + NOISE + live / 8, "{after} bytes resident, {before} before {live}");
    one.free(api);
    two.free(api);
    Ok(())
}

/// Growth by small steps faults each page about once: pages move, their content is not copied.
fn moves_pages() -> Result<(), String> {
    let api = api();
    let mut block = Paged::new(api, STEP)?;
    let (before, start) = (faults(), resident());
    while block.size < 128 << 20 {
        block.resize(api, block.size + STEP)?;
    }
    let (faults, pages) = (faults() - before, (block.size / PAGE) as u64);
    ensure!(faults < pages + pages / 8, "{faults} faults for {pages} pages");
    let grown = resident() - start;
    ensure!(grown < (block.size as u64) * 9 / 8, "{grown} bytes resident for {}", block.size);
    block.check()?;
    block.free(api);
    Ok(())
}

/// A block that grew is the child's as much as the parent's, and grows on in both.
fn grows_across_forks() -> Result<(), String> {
    let api = api();
    let mut block = Paged::new(api, STEP)?;
    for _ in 0..20 {
        block.resize(api, block.size + 7 * STEP)?;
        // SAFETY: the child works on its own copy and leaves by _exit.
        let child = unsafe { libc::fork() };
        ensure!(child >= 0, "fork failed");
        if child == 0 {
            let grown = block.resize(api, block.size * 2).and_then(|()| block.check());
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(grown.is_err())) };
        }
        let mut status = 0;
        // SAFETY: waits for the child from above.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        ensure!(status == 0, "the child ended with {status:#x}");
        block.check()?;
    }
    block.free(api);
    Ok(())
}

/// No size between 1 KiB and 8 MiB costs page faults when it comes again and again.
fn no_cliff() -> Result<(), String> {
    let api = api();
    let mut size = 1024;
    while size <= 8 << 20 {
        let mut first = 0;
        for round in 0..300 {
            if round == 100 {
                first = faults();
            }
            // SAFETY: a plain allocation, written at both ends and freed once.
            unsafe {
                let block = api.alloc(Way::Malloc, size, 16);
                ensure!(!block.is_null(), "malloc({size}): NULL");
                block.write_volatile(1);
                block.add(size - 1).write_volatile(1);
                api.free(Way::Malloc, 3, block, size, 16);
            }
        }
        let faults = faults() - first;
        ensure!(faults < 20, "{faults} page faults in 200 pairs of {size} bytes");
        size += size / 3;
    }
    Ok(())
}

/// What threads keep of large blocks goes when they go.
fn threads_keep_nothing() -> Result<(), String> {
    let api = api();
    let one = || {
        let all = [1 << 20, 700_000, 300_000].map(|size| Paged::new(api, size / PAGE * PAGE));
        for paged in all.into_iter().flatten() {
            paged.free(api);
        }
    };
    let live = bitmag_large();
    for _ in 0..50 {
        std::thread::spawn(one).join().map_err(|_| "a thread panicked")?;
    }
    api.trim();
    let left = bitmag_large();
    ensure!(left <= live, "{left} bytes in large blocks, {live} before");
    Ok(())
}

/// The Rust face's own word.
fn bitmag_large() -> usize {
    let stats = bitmag::stats();
    stats.large + stats.magazines.saturating_sub(8 << 20)
}

/// Zeroed blocks of 64 MiB reuse memory that was written to: they read as zero and touch nothing.
fn zeroed_touch_nothing() -> Result<(), String> {
    let api = api();
    let size = 64 << 20;
    let zeroing = if crate::on_rust() { Way::LayoutZeroed } else { Way::Calloc };
    for _ in 0..3 {
        Paged::new(api, size)?.free(api);
        let (before, start) = (resident(), faults());
        // SAFETY: a plain allocation.
        let block = unsafe { api.alloc(zeroing, size, 16) };
        ensure!(!block.is_null(), "calloc({size}): NULL");
        let (after, faults) = (resident(), faults() - start);
        ensure!(after < before + (1 << 20), "{} bytes were touched", after - before);
        ensure!(faults < 200, "{faults} page faults in a calloc of {size}");
        for offset in (0..size).step_by(PAGE) {
            // SAFETY: inside the block.
            let byte = unsafe { block.add(offset).read_volatile() };
            ensure!(byte == 0, "{byte} at {offset:#x} of a zeroed block");
        }
        // SAFETY: live, and freed once.
        unsafe { api.free(zeroing, 3, block, size, 16) };
    }
    Ok(())
}

/// Zeroed blocks that get a large block's place again read as zero to the last byte, whatever the ones before them were: written in
/// full, cut at the end, made shorter within their last pages, or zeroed blocks themselves.
fn zeroed_again() -> Result<(), String> {
    let api = api();
    let zeroing = if crate::on_rust() { Way::LayoutZeroed } else { Way::Calloc };
    let all_zero = |size: usize| -> Result<(), String> {
        // SAFETY: a plain allocation; live until it is freed, and freed once.
        unsafe {
            let block = api.alloc(zeroing, size, 16);
            ensure!(!block.is_null(), "calloc({size}): NULL");
            let bytes = std::slice::from_raw_parts_mut(block, size);
            let dirty = bytes.iter().position(|byte| *byte != 0);
            ensure!(dirty.is_none(), "{dirty:x?} of a zeroed block of {size:#x} is not zero");
            bytes.fill(0xa5);
            api.free(zeroing, 3, block, size, 16);
        }
        Ok(())
    };
    for size in [3 << 20, 5 << 20, (20 << 20) + 5000, 40 << 20, 70 << 20] {
        for shorter in [3 * PAGE, 20 * PAGE, 0] {
            let mut written = Paged::new(api, size)?;
            // SAFETY: live and of that size.
            unsafe { written.block.write_bytes(0xa5, size) };
            if shorter != 0 {
                written.resize(api, size - shorter)?;
            }
            written.free(api);
            for next in [size, size - shorter, size, size / 2, size] {
                all_zero(next)?;
            }
        }
    }
    Ok(())
}

/// Alignments up to 1 GiB and blocks of many GiB cost what is touched of them.
fn wide() -> Result<(), String> {
    let api = api();
    let before = resident();
    let mut blocks = Vec::new();
    for shift in 16..=30 {
        for size in [1, 100_000, 3 << 20] {
            let align = 1usize << shift;
            let way = if crate::on_rust() { Way::Layout } else { Way::PosixMemalign };
            // SAFETY: a plain allocation.
            let block = unsafe { api.alloc(way, size, align) };
            ensure!(!block.is_null(), "{size} bytes at {align:#x}: NULL");
            ensure!((block as usize).is_multiple_of(align), "{block:p} for {align:#x}");
            // SAFETY: first and last byte of the block.
            unsafe {
                *block = 1;
                *block.add(size - 1) = 2;
            }
            blocks.push((way, block, size, align));
        }
    }
    let wide = resident();
    ensure!(wide < before + NOISE, "alignments cost {} resident bytes", wide - before);
    for (way, block, size, align) in blocks {
        // SAFETY: live, and freed once.
        unsafe { api.free(way, 3, block, size, align) };
    }
    let mut size = 1usize << 30;
    let mut last = std::ptr::null_mut::<u8>();
    for _ in 0..4 {
        // SAFETY: live with that size; the first byte stays.
        unsafe {
            let block = if last.is_null() {
                api.alloc(Way::Malloc, size, 16)
            } else {
                size *= 2;
                api.realloc(last, size / 2, 16, size)
            };
            ensure!(!block.is_null(), "{size} bytes: NULL");
            ensure!(last.is_null() || *block == 7, "the first byte went");
            *block = 7;
            *block.add(size - 1) = 7;
            last = block;
        }
    }
    ensure!(resident() < before + 2 * NOISE, "GiBs cost {} resident bytes", resident() - before);
    // SAFETY: live, and freed once.
    unsafe { api.free(Way::Malloc, 3, last, size, 16) };
    Ok(())
}

/// Allocations that were made ready take no page fault; between the two lines that it writes, no system call.
fn prewarmed() -> Result<(), String> {
    use std::alloc::{GlobalAlloc, Layout};
    let layout = |size, align| Layout::from_size_align(size, align).expect("a layout");
    let wanted = [
        (layout(48, 8), 20_000),
        (layout(1000, 16), 2_000),
        (layout(9_000, 8), 500),
        (layout(100_000, 8), 60),
        (layout(3 << 20, 8), 5),
    ];
    let mut blocks = Vec::with_capacity(30_000);
    // Not NULL: zeros could come from a calloc that touches nothing.
    blocks.resize(30_000, std::ptr::dangling_mut::<u8>());
    if std::env::var_os("BITMAG_LOCKED").is_some() {
        // SAFETY: locks the process's memory, as far as it may.
        unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
    }
    ensure!(bitmag::prewarm(&wanted), "prewarm failed");
    let mark = |text: &str| {
        // SAFETY: writes the text.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    };
    mark("begin\n");
    let mut index = 0;
    let mut marks = [faults(); 6];
    for (kind, (layout, count)) in wanted.into_iter().enumerate() {
        for _ in 0..count {
            // SAFETY: a layout with a size; the first and last byte are the block's.
            unsafe {
                let block = crate::BITMAG.alloc(layout);
                block.write_volatile(1);
                block.add(layout.size() - 1).write_volatile(1);
                blocks[index] = block;
            }
            index += 1;
        }
        marks[kind + 1] = faults();
    }
    mark("end\n");
    let taken = [1, 2, 3, 4, 5].map(|kind| marks[kind] - marks[kind - 1]);
    ensure!(taken == [0; 5], "page faults in {index} prewarmed allocations, by kind: {taken:?}");
    let outside = bitmag::prewarm(&[(layout(1 << 30, 8), 1)]);
    ensure!(!outside, "a block that cannot be kept was promised");
    Ok(())
}

/// The scenario under strace: nothing between "begin" and "end" but the two calls of getrusage.
fn prewarmed_calls() -> Result<Verdict, String> {
    let Ok(found) = std::process::Command::new("strace").arg("-V").output() else {
        return Ok(Verdict::Missing("strace, to count system calls".into()));
    };
    ensure!(found.status.success(), "strace -V failed");
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let ended = Child::program("strace")
        .args(["-f", "-o", "/dev/stdout"])
        .args([program])
        .env("BITMAG_SCENARIO", "prewarmed")
        .env("BITMAG_FACE", "Rust")
        .run()?;
    if ended.stdout.contains("Operation not permitted") && !ended.stdout.contains("begin") {
        return Ok(Verdict::NotHere("this process may not trace".into()));
    }
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let place = |what: &str| lines.iter().position(|line| line.contains(what));
    let (Some(begin), Some(end)) = (place("\"begin\\n\""), place("\"end\\n\"")) else {
        return Err(ended.describe());
    };
    let between: Vec<_> =
        lines[begin + 1..end].iter().filter(|line| !line.contains("getrusage(")).collect();
    ensure!(between.is_empty(), "system calls in prewarmed allocations: {between:?}");
    Ok(Verdict::Holds)
}

pub const SCENARIOS: &[Scenario] = &[
    ("grows", grows),
    ("moves_pages", moves_pages),
    ("grows_across_forks", grows_across_forks),
    ("no_cliff", no_cliff),
    ("threads_keep_nothing", threads_keep_nothing),
    ("zeroed_touch_nothing", zeroed_touch_nothing),
    ("zeroed_again", zeroed_again),
    ("wide", wide),
    ("prewarmed", prewarmed),
];

pub fn tests() -> Vec<Trial> {
    let mut tests = each_face("large::grows", "grows", &ALL);
    tests.extend(each_face("large::grows_across_forks", "grows_across_forks", &ALL));
    let unchecked = [Face::Rust, Face::C];
    tests.extend(each_face_natively("large::moves_pages", "moves_pages", &unchecked));
    tests.extend(each_face_natively("large::no_cliff", "no_cliff", &unchecked));
    tests.extend(each_face_natively("large::zeroed_touch_nothing", "zeroed_touch_nothing", &ALL));
    tests.extend(each_face_natively("large::zeroed_again", "zeroed_again", &ALL));
    tests.extend(each_face_natively("large::wide", "wide", &ALL));
    tests.extend(each_face_natively(
        "large::threads_keep_nothing",
        "threads_keep_nothing",
        &[Face::Rust],
    ));
    tests.extend(each_face_natively("large::prewarmed", "prewarmed", &[Face::Rust]));
    tests.push(native_test("large::prewarmed_locked", || {
        Face::Rust
            .succeed(Face::Rust.child("prewarmed")?.env("BITMAG_LOCKED", "1"))
            .map(|_| Verdict::Holds)
    }));
    tests.push(native_test("large::prewarmed_calls", prewarmed_calls));
    tests
}
