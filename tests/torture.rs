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
use std::sync::OnceLock;
use support::api::{Api, Layouts};
use support::c_api::CApi;
use support::child::{Child, Ended};
use support::verdict::{self, Scenario, Verdict, native_test, test};

static BITMAG: bitmag::Bitmag = bitmag::Bitmag::with(bitmag::Config::new().environment(true));

static RUST: Layouts<bitmag::Bitmag> = Layouts {
    name: "the Rust face",
    allocator: &BITMAG,
    usable: Some(bitmag::usable_size),
    trim: Some(bitmag::trim),
};

/// Which allocator a child works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Face {
    Rust,
    RustChecked,
    C,
    CChecked,
    /// The system's allocator: the control of tests that depend on the machine's limits.
    System,
}

const ALL: [Face; 4] = [Face::Rust, Face::RustChecked, Face::C, Face::CChecked];

impl Face {
    fn child(self, scenario: &str) -> Result<Child, String> {
        let child = Child::scenario(scenario).env("BITMAG_FACE", format!("{self:?}"));
        let child = if matches!(self, Face::C | Face::CChecked) { child.preload()? } else { child };
        Ok(if matches!(self, Face::RustChecked | Face::CChecked) {
            child.env("BITMAG_CHECK", "1")
        } else {
            child
        })
    }

    /// Runs the child to a clean end and makes sure that it was ours who served it.
    fn succeed(self, child: Child) -> Result<Ended, String> {
        let ended = child.succeed()?;
        if matches!(self, Face::C | Face::CChecked) {
            ensure!(
                ended.refilled_blocks() > 0,
                "the counters do not show us: {:?}",
                ended.counters
            );
        }
        Ok(ended)
    }
}

/// The allocator that this child was told to work on.
fn api() -> &'static dyn Api {
    static PROCESS: OnceLock<CApi> = OnceLock::new();
    match std::env::var("BITMAG_FACE").as_deref() {
        Ok("Rust" | "RustChecked") => &RUST,
        _ => PROCESS.get_or_init(CApi::of_process),
    }
}

/// Whether this child works on the Rust face.
fn on_rust() -> bool {
    std::env::var("BITMAG_FACE").is_ok_and(|face| face.starts_with("Rust"))
}

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
