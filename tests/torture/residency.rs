//! Resident memory: what comes back to the system, by itself, when asked to, and from an idle process.
//! The loads are those on which allocators keep what nobody uses: a heap thinned at random and worked in afterwards, a peak that is over, slabs with one block left in each, hundreds of threads.
//! Each prints what it found, so that `BITMAG_SCENARIO=NAME BITMAG_FACE=System torture` shows any allocator's figures, preloaded or not.

use crate::support::api::Way;
use crate::support::verdict::{Scenario, Verdict, native_test, seed};
use crate::{Face, api, each_face_natively, ensure};
use libtest_mimic::Trial;
use std::sync::Barrier;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Resident bytes, counted by the kernel page by page.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// A touched block. The table of blocks lies in a mapping of its own, which is not part of what is measured.
#[derive(Clone, Copy)]
pub struct Held {
    address: *mut u8,
    size: usize,
}

pub fn take(size: usize) -> Held {
    // SAFETY: a plain allocation, whose bytes are this test's.
    unsafe {
        let address = api().alloc(Way::Malloc, size, 16);
        assert!(!address.is_null(), "malloc({size}): NULL");
        address.write_bytes(size as u8, size);
        Held { address, size }
    }
}

pub fn give(held: Held) -> Result<(), String> {
    // SAFETY: taken above and freed once; its bytes are read first.
    unsafe {
        let whole =
            *held.address == held.size as u8 && *held.address.add(held.size - 1) == held.size as u8;
        ensure!(whole, "a block of {} bytes at {:p} was overwritten", held.size, held.address);
        api().free(Way::Malloc, 3, held.address, held.size, 16);
    }
    Ok(())
}

/// Room for blocks, outside of the heap under test.
pub struct Table {
    pub blocks: &'static mut [Held],
    pub len: usize,
}

impl Table {
    pub fn new(most: usize) -> Table {
        let bytes = most * size_of::<Held>();
        let (access, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh mapping, kept for ever; all of its bytes are written here, so that it counts from the start.
        let blocks = unsafe {
            let start = libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0);
            assert!(start != libc::MAP_FAILED, "mmap");
            start.cast::<u8>().write_bytes(0, bytes);
            std::slice::from_raw_parts_mut(start.cast::<Held>(), most)
        };
        Table { blocks, len: 0 }
    }

    pub fn push(&mut self, held: Held) {
        self.blocks[self.len] = held;
        self.len += 1;
    }

    pub fn swap_remove(&mut self, at: usize) -> Held {
        self.len -= 1;
        self.blocks.swap(at, self.len);
        self.blocks[self.len]
    }
}

/// Mostly 16 to 512 bytes, some up to 16 KiB.
pub fn mixed(rng: &mut fastrand::Rng) -> usize {
    match rng.u32(0..100) {
        0..95 => rng.usize(16..=512),
        _ => rng.usize(512..=16 << 10),
    }
}

fn show(what: &str, start: u64) -> u64 {
    let grown = resident().saturating_sub(start);
    eprintln!("{what}: {} KiB above the start", grown >> 10);
    grown
}

/// Grown to 128 MiB, thinned to 5% at random, and 20 times as many blocks replaced as are left.
fn thinned() -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed());
    let mut table = Table::new(500_000);
    give(take(100))?;
    let start = resident();
    let (mut bytes, mut live) = (0u64, 0u64);
    while bytes < 128 * MIB {
        let size = mixed(&mut rng);
        bytes += size as u64;
        table.push(take(size));
    }
    show("128 MiB live", start);
    let left = table.len / 20;
    while table.len > left {
        let at = rng.usize(0..table.len);
        give(table.swap_remove(at))?;
    }
    show("thinned", start);
    for _ in 0..20 * left {
        let at = rng.usize(0..table.len);
        give(table.swap_remove(at))?;
        table.push(take(mixed(&mut rng)));
    }
    std::thread::sleep(Duration::from_secs(1));
    for held in &table.blocks[..table.len] {
        live += held.size as u64;
    }
    eprintln!("{} KiB live in {} blocks", live >> 10, table.len);
    let worked = show("replaced 20 times", start);
    api().trim();
    let trimmed = show("trimmed", start);
    while table.len > 0 {
        let last = table.len - 1;
        give(table.swap_remove(last))?;
    }
    api().trim();
    let emptied = show("all freed and trimmed", start);
    ensure!(worked <= WORKED, "{worked} bytes resident after the work, {WORKED} allowed");
    ensure!(trimmed <= TRIMMED, "{trimmed} bytes resident after a trim, {TRIMMED} allowed");
    ensure!(emptied <= EMPTIED, "{emptied} bytes resident with nothing live, {EMPTIED} allowed");
    Ok(())
}

/// Half of the 139 MiB that the lowest of the other allocators keeps; the live blocks are 7 MiB.
const WORKED: u64 = 69 * MIB;
const TRIMMED: u64 = 15 * MIB;
const EMPTIED: u64 = 4 * MIB;

fn peak(table: &mut Table, bytes: u64) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed());
    let mut done = 0;
    while done < bytes {
        let size =
            if rng.u32(0..5000) == 0 { rng.usize(16 << 10..=4 << 20) } else { mixed(&mut rng) };
        done += size as u64;
        table.push(take(size));
    }
    Ok(())
}

/// Everything of a peak freed by the thread that made it, then one trim.
fn peak_and_trim() -> Result<(), String> {
    let mut table = Table::new(4_000_000);
    give(take(100))?;
    let start = resident();
    peak(&mut table, GIB)?;
    show("1 GiB live", start);
    while table.len > 0 {
        let last = table.len - 1;
        give(table.swap_remove(last))?;
    }
    show("all freed", start);
    api().trim();
    let left = show("trimmed", start);
    ensure!(left <= 8 * MIB, "{left} bytes resident after the trim, 8 MiB allowed");
    Ok(())
}

const GIB: u64 = 1 << 30;

/// The same without a trim and without a call: what runs in the background gives it back.
fn peak_and_idle() -> Result<(), String> {
    let mut table = Table::new(4_000_000);
    give(take(100))?;
    let start = resident();
    peak(&mut table, GIB)?;
    show("1 GiB live", start);
    while table.len > 0 {
        let last = table.len - 1;
        give(table.swap_remove(last))?;
    }
    show("all freed", start);
    std::thread::sleep(Duration::from_secs(2));
    let left = show("idle for 2 s", start);
    ensure!(left <= 16 * MIB, "{left} bytes resident after 2 s, 16 MiB allowed");
    Ok(())
}

/// Slabs with one block left in each, of small and of medium classes: the pages around it come back.
fn sparse() -> Result<(), String> {
    // Bytes, and MiB allowed: before a trim little of the largest, whose blocks are few, has gone.
    for (size, before, most) in
        [(64, 32, 12), (500, 64, 12), (1024, 64, 12), (3000, 80, 12), (16_000, 80, 20)]
    {
        let count = (64 << 20) / size;
        let mut table = Table::new(count);
        give(take(size))?;
        api().trim();
        let start = resident();
        for _ in 0..count {
            table.push(take(size));
        }
        // Every block that holds the first byte of 64 KiB stays.
        let mut kept = Table::new(2048);
        for held in &table.blocks[..table.len] {
            if held.address as usize % (64 << 10) < size && kept.len < 2048 {
                kept.push(*held);
            } else {
                give(*held)?;
            }
        }
        let by_itself =
            show(&format!("{} of {count} blocks of {size} bytes live", kept.len), start);
        api().trim();
        let left = show("trimmed", start);
        ensure!(kept.len > 500, "only {} blocks were kept", kept.len);
        ensure!(left <= most * MIB, "{left} bytes resident, {most} MiB allowed");
        ensure!(by_itself <= before * MIB, "{by_itself} bytes resident before a trim");
        // What was given back is zero, and can be had again.
        for index in 0..table.len {
            table.blocks[index] = take(size);
        }
        for index in 0..table.len {
            give(table.blocks[index])?;
        }
        for held in &kept.blocks[..kept.len] {
            give(*held)?;
        }
        api().trim();
        show("all freed and trimmed", start);
    }
    Ok(())
}

/// Threads that each used 32 classes once and then wait.
fn crowd() -> Result<(), String> {
    const THREADS: usize = 500;
    give(take(100))?;
    let start = resident();
    let (worked, leave) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let mut each = 0;
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut held = [const { None }; 20];
                for size in (0..32).map(|step| 16 + step * 1008 / 31) {
                    for place in &mut held {
                        *place = Some(take(size));
                    }
                    for place in &mut held {
                        let block = place.take().ok_or("no block");
                        if block.map_err(String::from).and_then(give).is_err() {
                            std::process::abort();
                        }
                    }
                }
                worked.wait();
                leave.wait();
            });
        }
        worked.wait();
        each = resident().saturating_sub(start) / THREADS as u64;
        leave.wait();
    });
    eprintln!("{} KiB a thread", each >> 10);
    ensure!(each <= 140 << 10, "{} KiB a thread, 140 allowed", each >> 10);
    Ok(())
}

/// What was freed comes back by `maintain` alone, at most as many system calls at a time as the budget says.
fn maintained() -> Result<(), String> {
    let mut table = Table::new(1 << 20);
    give(take(100))?;
    let start = resident();
    for _ in 0..64 << 10 {
        table.push(take(1000));
    }
    while table.len > 0 {
        let last = table.len - 1;
        give(table.swap_remove(last))?;
    }
    let before = show("64 MiB freed", start);
    let (mut rounds, mut calls) = (0, 0);
    let budget = bitmag::Budget::new().slabs(100).system_calls(2);
    for _ in 0..2000 {
        let done = bitmag::maintain(budget);
        ensure!(done.slabs <= 164 && done.system_calls <= 2, "over the budget: {done:?}");
        calls += done.system_calls;
        rounds += usize::from(done.complete);
        if rounds == 4 {
            break;
        }
    }
    let left = show(&format!("{calls} system calls"), start);
    ensure!(rounds == 4, "only {rounds} rounds were completed");
    ensure!(left <= 2 * MIB, "{left} of {before} bytes resident after four rounds");
    Ok(())
}

pub const SCENARIOS: &[Scenario] = &[
    ("thinned", thinned),
    ("peak_and_trim", peak_and_trim),
    ("peak_and_idle", peak_and_idle),
    ("sparse", sparse),
    ("crowd", crowd),
    ("maintained", maintained),
];

pub fn tests() -> Vec<Trial> {
    let faces = [Face::Rust, Face::C];
    let mut tests = each_face_natively("residency::thinned_at_random", "thinned", &faces);
    tests.extend(each_face_natively("residency::after_a_peak", "peak_and_trim", &faces));
    tests.extend(each_face_natively("residency::in_sparse_slabs", "sparse", &faces));
    tests.extend(each_face_natively("residency::of_many_threads", "crowd", &faces));
    let rust = [Face::Rust];
    tests.extend(each_face_natively("residency::by_maintenance", "maintained", &rust));
    // With the thread that runs in the background, asked for through the environment.
    tests.extend(faces.map(|face| {
        native_test(format!("residency::of_an_idle_process::{face:?}"), move || {
            face.succeed(face.child("peak_and_idle")?.env("BITMAG_BACKGROUND", "1"))?;
            Ok(Verdict::Holds)
        })
    }));
    tests
}
