//! The limits that programs live under: address space bounded from the start or lowered on the way, and everything locked into memory by an ordinary user.
//! An allocator that reserves too much ahead of use fails all three.
//! Locked memory depends on the machine's own programs fitting the limit, so the system's allocator runs first, as the control.

use crate::support::api::Way;
use crate::support::model::{self, Plan};
use crate::support::verdict::{Scenario, Verdict, native_test, seed};
use crate::{ALL, Face, api, ensure};
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

/// An ordinary user locks everything, present and future, under the usual limit of 8 MiB.
fn locked() -> Result<(), String> {
    let eight = libc::rlimit { rlim_cur: (8 << 20) as _, rlim_max: (8 << 20) as _ };
    // SAFETY: calls that change this process only.
    unsafe {
        ensure!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &eight) == 0, "setrlimit failed");
        if libc::geteuid() == 0 {
            // Giving up root gives up CAP_IPC_LOCK with it.
            ensure!(libc::setgid(65_534) == 0 && libc::setuid(65_534) == 0, "setuid failed");
        }
        if libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) != 0 {
            let status = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
            return Err(format!("mlockall: {}\n{status}", std::io::Error::last_os_error()));
        }
    }
    let small = Plan { operations: 20_000, most_live: 200, most_bytes: 256 << 10 };
    let api = api();
    let mut live = Vec::new();
    // A class takes a unit of its own: this program leaves room for some fifty of them.
    for size in (1..350usize).chain([2000, 5000, 20_000, 40_000, 100_000]) {
        // SAFETY: a plain allocation, filled, freed below.
        let block = unsafe { api.alloc(Way::Malloc, size, 16) };
        ensure!(!block.is_null(), "malloc({size}): NULL");
        // SAFETY: as above.
        unsafe { block.write_bytes(1, size) };
        live.push((block, size));
    }
    for (block, size) in live {
        // SAFETY: live blocks, freed once.
        unsafe { api.free(Way::Malloc, 3, block, size, 16) };
    }
    for number in 0..3 {
        let work = move || -> Result<(), String> {
            // A unit for each class here too, and the program's own code is locked beside them.
            for size in 1..800usize {
                // SAFETY: allocated, filled and freed here.
                unsafe {
                    let block = api.alloc(Way::Malloc, size, 16);
                    ensure!(!block.is_null(), "malloc({size}): NULL");
                    block.write_bytes(2, size);
                    api.free(Way::Malloc, 3, block, size, 16);
                }
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(work);
        thread
            .map_err(|e| format!("thread {number}: {e}"))?
            .join()
            .map_err(|_| "a thread panicked")??;
    }
    // Random sizes within what is left.
    for number in 0..4 {
        let mut rng = fastrand::Rng::with_seed(seed() + number);
        for _ in 0..small.operations {
            let size = rng.usize(1..=small.most_bytes / 8);
            // SAFETY: allocated and freed here.
            unsafe {
                let block = api.alloc(Way::Malloc, size, 16);
                ensure!(!block.is_null(), "malloc({size}): NULL");
                *block = 1;
                api.free(Way::Malloc, 3, block, size, 16);
            }
        }
    }
    Ok(())
}

pub const SCENARIOS: &[Scenario] =
    &[("three_quarters", three_quarters), ("lowered", lowered), ("locked", locked)];

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
        tests.push(native_test(format!("limits::locked::{face:?}"), move || {
            if let Err(why) = Face::System.child("locked")?.succeed() {
                return Ok(Verdict::NotHere(format!(
                    "the system's own allocator fails too here: {why}"
                )));
            }
            face.succeed(face.child("locked")?).map(|_| Verdict::Holds)
        }));
    }
    tests
}
