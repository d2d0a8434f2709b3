//! Real programs on the preloaded library: each runs once as it is and once under LD_PRELOAD, and what it prints must be the same.
//! The counters of `BITMAG_STATS` prove who served it: a floor of blocks out of refills that only the program itself can have asked for.
//! What a machine lacks is reported as not run, with what it needs; where `BITMAG_REQUIRE_TOOLS=1` it fails.

#[path = "preload/compiled.rs"]
mod compiled;
#[path = "preload/languages.rs"]
mod languages;
#[path = "preload/servers.rs"]
mod servers;
#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;
#[path = "preload/tools.rs"]
mod tools;
#[path = "preload/valgrind.rs"]
mod valgrind;

use std::process::ExitCode;
use support::child::{Child, Ended};
use support::verdict::{self, Tested, Verdict};

/// Runs the child as it is, preloaded, and preloaded in checked mode; compares what `judge` makes of each.
fn compare(child: impl Fn() -> Child, floor: u64, judge: impl Fn(&Ended) -> String) -> Tested {
    let plain = child().run()?;
    let wanted = judge(&plain);
    ensure!(!wanted.trim().is_empty(), "nothing to compare: {}", plain.describe());
    for checked in [false, true] {
        let preloaded = child().preload()?;
        let ended = if checked { preloaded.env("BITMAG_CHECK", "1") } else { preloaded }.run()?;
        ensure!(
            ended.status.map(|s| s.code()) == plain.status.map(|s| s.code()),
            "without the library: {}\nwith it (checked: {checked}): {}",
            plain.describe(),
            ended.describe()
        );
        let got = judge(&ended);
        ensure!(
            got == wanted,
            "checked: {checked}\nwithout the library:\n{wanted}\nwith it:\n{got}\n{}",
            ended.describe()
        );
        let blocks = ended.refilled_blocks();
        ensure!(
            blocks >= floor,
            "{}: only {blocks} blocks out of refills, {floor} wanted (checked: {checked})",
            ended.label
        );
    }
    Ok(Verdict::Holds)
}

/// What most programs are judged by: all that they wrote, and how they ended.
fn everything(ended: &Ended) -> String {
    format!("{:?}\n{}\n{}", ended.status, ended.stdout, ended.stderr)
}

fn main() -> ExitCode {
    verdict::main(&[], || {
        let mut tests = languages::tests();
        tests.extend(tools::tests());
        tests.extend(servers::tests());
        tests.extend(compiled::tests());
        tests.extend(valgrind::tests());
        tests
    })
}
