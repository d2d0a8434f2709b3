//! Everything locked into memory by an ordinary user, under the limit that systems set: an allocator that reserves much ahead of use fails.
//! A program of its own, since the program counts too. Whether the machine's own part fits depends on the machine, so the system's
//! allocator runs first, as the control.

#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;

use std::process::ExitCode;
use support::api::Way;
use support::face::{ALL, Face, api};
use support::model::Plan;
use support::verdict::{self, Verdict, native_test, seed};

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
    for size in (1..496usize).chain([2000, 5000, 20_000, 40_000, 100_000]) {
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
            for size in 1..1000usize {
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

fn main() -> ExitCode {
    verdict::main(&[("locked", locked)], || {
        ALL.iter()
            .map(|face| {
                native_test(format!("locked::{face:?}"), move || {
                    if let Err(why) = Face::System.child("locked")?.succeed() {
                        return Ok(Verdict::NotHere(format!(
                            "the system's own allocator fails too here: {why}"
                        )));
                    }
                    face.succeed(face.child("locked")?).map(|_| Verdict::Holds)
                })
            })
            .collect()
    })
}
