//! The faces under the live-set model: the Rust face and the C face, one thread and several, normal and checked mode.
//! Beside random sequences stand the systematic tests: every size, every alignment, every bad input, every register, three copies in one process.
//! `main` is our own (see `support/verdict.rs`), because the modes of a copy of the library are fixed by its first call and so need processes of their own.

#[path = "faces/bad_input.rs"]
mod bad_input;
#[path = "faces/copies.rs"]
mod copies;
#[cfg(target_pointer_width = "64")]
#[path = "faces/exports.rs"]
mod exports;
#[path = "faces/planted.rs"]
mod planted;
#[path = "faces/random.rs"]
mod random;
#[path = "faces/registers.rs"]
mod registers;
#[path = "faces/sizes.rs"]
mod sizes;
#[path = "faces/slack.rs"]
mod slack;
#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;

use std::process::ExitCode;
use support::verdict::{self, Scenario};

static BITMAG: bitmag::Bitmag = bitmag::Bitmag::with(bitmag::Config::new().environment(true));

/// The Rust face. Its copy of the library reads the environment, so that a child process can be put into checked mode.
static RUST: support::api::Layouts<bitmag::Bitmag> = support::api::Layouts {
    name: "the Rust face",
    allocator: &BITMAG,
    usable: Some(bitmag::usable_size),
    trim: Some(bitmag::trim),
};

/// The C face, loaded beside the system's allocator.
fn c_face() -> Result<support::c_api::CApi, String> {
    let c = support::c_api::CApi::load(support::library::path()?)?;
    if c.complete() { Ok(c) } else { Err("the library lacks functions".into()) }
}

fn main() -> ExitCode {
    let scenarios: Vec<Scenario> =
        [random::SCENARIOS, copies::SCENARIOS, sizes::SCENARIOS, slack::SCENARIOS].concat();
    verdict::main(&scenarios, || {
        let mut tests = planted::tests();
        tests.extend(random::tests());
        tests.extend(sizes::tests());
        tests.extend(bad_input::tests());
        tests.extend(registers::tests());
        tests.extend(copies::tests());
        tests.extend(slack::tests());
        #[cfg(target_pointer_width = "64")]
        tests.extend(exports::tests());
        tests
    })
}
