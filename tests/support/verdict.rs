//! What a test answers, and the `main` of every test program.
//! A test that lacks an external tool is reported as ignored with what it needs; where `BITMAG_REQUIRE_TOOLS=1` it fails instead.
//! With `BITMAG_SCENARIO=name` in the environment the program runs that scenario alone, without any harness or extra thread.

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// How a test that did not fail ended.
pub enum Verdict {
    /// It ran and what it checks holds.
    Holds,
    /// A tool of this name and purpose is missing.
    Missing(String),
    /// It has no meaning on this machine or target.
    NotHere(String),
}

/// A test's answer; the error is the message of the failure.
pub type Tested = Result<Verdict, String>;

/// A test of the machine itself: its limits, its own programs. Under emulation these are the host's.
pub fn native_test(
    name: impl Into<String>,
    body: impl FnOnce() -> Tested + Send + 'static,
) -> Trial {
    test(name, || match super::child::emulator() {
        Some(_) => Ok(Verdict::NotHere("an emulator runs this".into())),
        None => body(),
    })
}

/// One test.
pub fn test(name: impl Into<String>, body: impl FnOnce() -> Tested + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match body() {
        Ok(Verdict::Holds) => Ok(Completion::Completed),
        Ok(Verdict::NotHere(why)) => Ok(Completion::ignored_with(format!("not run: {why}"))),
        Ok(Verdict::Missing(what))
            if std::env::var_os("BITMAG_REQUIRE_TOOLS").is_some_and(|v| v == "1") =>
        {
            Err(Failed::from(format!("BITMAG_REQUIRE_TOOLS is set, and this needs {what}")))
        }
        Ok(Verdict::Missing(what)) => {
            Ok(Completion::ignored_with(format!("not run: needs {what}")))
        }
        Err(why) => Err(Failed::from(why)),
    })
}

/// A scenario: its name and its body.
pub type Scenario = (&'static str, fn() -> Result<(), String>);

/// Runs one scenario or all tests.
pub fn main(scenarios: &[Scenario], tests: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    let Ok(wanted) = std::env::var("BITMAG_SCENARIO") else {
        return libtest_mimic::run(&Arguments::from_args(), tests()).exit_code();
    };
    let Some((_, body)) = scenarios.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("no scenario {wanted}");
        return ExitCode::from(3);
    };
    match body() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{wanted}: {why}");
            ExitCode::from(1)
        }
    }
}

/// The seed of the random tests: fixed, so that a failure repeats, unless `BITMAG_SEED` gives another.
pub fn seed() -> u64 {
    std::env::var("BITMAG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260)
}

/// Operations of a random test, shortened by `BITMAG_TEST_SHARE` (percent) where a machine is slow, as under emulation.
pub fn operations(full: u64) -> u64 {
    let percent = std::env::var("BITMAG_TEST_SHARE")
        .ok()
        .and_then(|share| share.parse().ok())
        .unwrap_or(100u64);
    (full * percent / 100).max(1000)
}
