//! The limits that programs live under: address space bounded from the start or lowered on the way (and locked memory: `locked.rs`).
//! An allocator that reserves too much ahead of use fails both.

use crate::support::api::Way;
use crate::support::model::{self, Plan};
use crate::support::verdict::{Scenario, Verdict, native_test, seed};
use crate::{ALL, api, ensure};
use libtest_mimic::Trial;

const GIB: u64 = 1 << 30;
const PLAN: Plan = Plan { operations: 30_000, most_live: 3000, most_bytes: 8 << 20 };

/// Allocates until nothing is left, and frees everything again.
fn reach(size: usize) -> u64 {
    let api = api();
    let (mut chain, mut bytes) = (std::ptr::null_mut::<*mut u8>(), 0u64);
    loop {
        // SAFETY: a plain allocation, whose first word is ours.
        unsafe {
            let block = api.alloc(Way::Malloc, size, 16).cast::<*mut u8>();
            if block.is_null() {
                break;
            }
            block.write(chain.cast());
            chain = block;
            // What rounding wastes is a matter of size classes, not of the limit.
            bytes += api.usable(block.cast()).unwrap_or(size) as u64;
        }
    }
    while !chain.is_null() {
        // SAFETY: the chain's blocks are live, and freed once.
        unsafe {
            let before = chain.read();
            api.free(Way::Malloc, 3, chain.cast(), size, 16);
            chain = before.cast();
        }
    }
    bytes
}

/// `ulimit -v 1048576` was set before the program started: three quarters of it must be the heap's to use.
fn three_quarters() -> Result<(), String> {
    // Large blocks first and small ones last, and the other way round: what one kind used, the other must get.
    for size in [5 << 20, 120_000, 20_000, 1000, 60_000, 30 << 20] {
        let bytes = reach(size);
        eprintln!("blocks of {size}: {} MiB", bytes >> 20);
        ensure!(bytes >= GIB / 4 * 3, "only {} MiB of 1024 in blocks of {size}", bytes >> 20);
    }
    model::run(api(), seed(), PLAN)
}

/// The limit is lowered while memory is in use, then threads are started.
fn lowered() -> Result<(), String> {
    let api = api();
    let live: Vec<(usize, usize)> = (0..4000usize)
        .map(|i| 500 + i * 37 % 60_000)
        // SAFETY: plain allocations, freed below.
        .map(|size| (unsafe { api.alloc(Way::Malloc, size, 16) } as usize, size))
        .collect();
    ensure!(live.iter().all(|(addr, _)| *addr != 0), "NULL before any limit");
    let limit = libc::rlimit { rlim_cur: (512 << 20) as _, rlim_max: (512 << 20) as _ };
    // SAFETY: setrlimit reads the struct.
    ensure!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) } == 0, "setrlimit failed");
    let mut threads = Vec::new();
    for number in 0..12 {
        let work = move || model::run(api, seed() + number, PLAN);
        threads.push(
            std::thread::Builder::new().spawn(work).map_err(|e| format!("thread {number}: {e}"))?,
        );
    }
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    for (addr, size) in live {
        // SAFETY: live blocks, freed once.
        unsafe { api.free(Way::Malloc, 3, addr as *mut u8, size, 16) };
    }
    model::run(api, seed(), PLAN)
}

pub const SCENARIOS: &[Scenario] = &[("three_quarters", three_quarters), ("lowered", lowered)];

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for face in ALL {
        tests.push(native_test(format!("limits::lowered_on_the_way::{face:?}"), move || {
            // Beside the Rust face the system's allocator serves the rest of the program, and would reserve 64 MiB a thread.
            face.succeed(face.child("lowered")?.env("MALLOC_ARENA_MAX", "1"))
                .map(|_| Verdict::Holds)
        }));
        tests.push(native_test(format!("limits::address_space::{face:?}"), move || {
            let child = face.child("three_quarters")?.address_space(GIB);
            face.succeed(child).map(|_| Verdict::Holds)
        }));
    }
    tests
}
