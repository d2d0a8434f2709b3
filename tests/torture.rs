//! The allocator where programs break allocators: forks, thread exits, signal handlers, before main, without memory, under every limit.
//! Each scenario runs in a child process of its own, once on the Rust face and once on the C face preloaded under the whole child, most in checked mode too.
//! A child that hangs is killed and reported; nothing here waits without a bound.

#[path = "torture/early.rs"]
mod early;
#[path = "torture/fork.rs"]
mod fork;
#[path = "torture/large.rs"]
mod large;
#[path = "torture/limits.rs"]
mod limits;
#[path = "torture/memory.rs"]
mod memory;
#[path = "torture/residency.rs"]
mod residency;
#[path = "torture/returning.rs"]
mod returning;
#[path = "torture/signals.rs"]
mod signals;
#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;
#[path = "torture/threads.rs"]
mod threads;

use libtest_mimic::Trial;
use std::process::ExitCode;
use support::face::{ALL, BITMAG, Face, api, on_rust};
use support::verdict::{self, Scenario, Verdict, native_test, test};

/// One test per face that only runs a scenario.
fn each_face(name: &'static str, scenario: &'static str, faces: &[Face]) -> Vec<Trial> {
    let body = move |face: Face| face.succeed(face.child(scenario)?).map(|_| Verdict::Holds);
    faces
        .iter()
        .copied()
        .map(|face| test(format!("{name}::{face:?}"), move || body(face)))
        .collect()
}

/// The same for a scenario that sets limits of the machine.
fn each_face_natively(name: &'static str, scenario: &'static str, faces: &[Face]) -> Vec<Trial> {
    let body = move |face: Face| face.succeed(face.child(scenario)?).map(|_| Verdict::Holds);
    faces
        .iter()
        .copied()
        .map(|face| native_test(format!("{name}::{face:?}"), move || body(face)))
        .collect()
}

/// The process's resident bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        status.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: sysconf only reads.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

fn main() -> ExitCode {
    let scenarios: Vec<Scenario> = [
        early::SCENARIOS,
        fork::SCENARIOS,
        large::SCENARIOS,
        limits::SCENARIOS,
        memory::SCENARIOS,
        residency::SCENARIOS,
        returning::SCENARIOS,
        signals::SCENARIOS,
        threads::SCENARIOS,
    ]
    .concat();
    verdict::main(&scenarios, || {
        let mut tests = early::tests();
        tests.extend(fork::tests());
        tests.extend(threads::tests());
        tests.extend(signals::tests());
        tests.extend(memory::tests());
        tests.extend(limits::tests());
        tests.extend(residency::tests());
        tests.extend(returning::tests());
        tests.extend(large::tests());
        tests
    })
}
