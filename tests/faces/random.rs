//! Random operation sequences over both faces, ten million operations and more in all.
//! The normal mode runs in this process; the checked mode, and the C face preloaded under everything that this program itself allocates, in children.
//! The number of operations is asserted at compile time together with those of `global.rs`.

use crate::support::c_api::CApi;
use crate::support::child::Child;
use crate::support::crowd::{self, Crowd};
use crate::support::model::{self, Plan};
use crate::support::verdict::{Scenario, Tested, Verdict, operations, seed, test};
use crate::{RUST, c_face, ensure};
#[cfg(target_arch = "x86_64")]
use bitmag::Backend;
use libtest_mimic::Trial;

const ONE: u64 = 2_000_000;
const MANY: u64 = 2_800_000;
const CHECKED: u64 = 300_000;
// global.rs adds its own on top.
const _: () = assert!(2 * (ONE + MANY) + 4 * CHECKED >= 10_000_000);

const CROWD: Crowd = Crowd { threads: 4, rounds: 8 };

fn plan(full: u64) -> Plan {
    Plan { operations: operations(full), most_live: 60_000, most_bytes: 192 << 20 }
}

pub const SCENARIOS: &[Scenario] = &[
    ("random_rust", || {
        model::run(&RUST, seed(), plan(CHECKED))?;
        crowd::run(&RUST, seed(), plan(CHECKED), CROWD)?;
        let stats = bitmag::stats();
        checked_mode(stats.refills, stats.refilled_blocks)
    }),
    ("random_process", || {
        let process = CApi::of_process();
        model::run(&process, seed(), plan(CHECKED))?;
        crowd::run(&process, seed(), plan(CHECKED), CROWD)
    }),
];

/// In checked mode every allocation of a slab's block is a refill of one.
fn checked_mode(refills: u64, blocks: u64) -> Result<(), String> {
    ensure!(refills == blocks, "{refills} refills of {blocks} blocks are not the checked mode");
    ensure!(blocks > operations(CHECKED) / 2, "only {blocks} blocks out of refills");
    Ok(())
}

/// Blocks out of refills that show who served a run of `CHECKED` operations.
fn floor() -> u64 {
    operations(CHECKED) / 30
}

/// The whole library on one bitset backend.
fn on_backend(backend: &str) -> Tested {
    let ended =
        Child::scenario("random_process").env("BITMAG_BACKEND", backend).preload()?.succeed()?;
    ensure!(ended.stderr.is_empty(), "{}", ended.describe());
    ensure!(ended.refilled_blocks() > floor(), "too few blocks: {:?}", ended.counters);
    Ok(Verdict::Holds)
}

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("random::c_face::backend::scalar", || on_backend("scalar")),
        #[cfg(target_arch = "aarch64")]
        test("random::c_face::backend::neon", || on_backend("neon")),
    ];
    #[cfg(target_arch = "x86_64")]
    for backend in ["avx2", "avx512"] {
        let there = Backend::from_name(backend.as_bytes()).is_some_and(Backend::is_available);
        tests.push(test(format!("random::c_face::backend::{backend}"), move || match there {
            true => on_backend(backend),
            false => Ok(Verdict::NotHere(format!("the processor has no {backend}"))),
        }));
    }
    tests.extend(modes());
    tests
}

fn modes() -> Vec<Trial> {
    vec![
        test("random::rust_face::one_thread", || {
            let before = bitmag::stats().refilled_blocks;
            model::run(&RUST, seed(), plan(ONE))?;
            let blocks = bitmag::stats().refilled_blocks - before;
            ensure!(blocks > floor(), "only {blocks} blocks came out of refills");
            Ok(Verdict::Holds)
        }),
        test("random::rust_face::four_threads", || {
            crowd::run(&RUST, seed(), plan(MANY), CROWD)?;
            Ok(Verdict::Holds)
        }),
        test("random::c_face::one_thread", || {
            model::run(&c_face()?, seed(), plan(ONE))?;
            Ok(Verdict::Holds)
        }),
        test("random::c_face::four_threads", || {
            crowd::run(&c_face()?, seed(), plan(MANY), CROWD)?;
            Ok(Verdict::Holds)
        }),
        test("random::rust_face::checked", || {
            Child::scenario("random_rust").env("BITMAG_CHECK", "1").succeed()?;
            Ok(Verdict::Holds)
        }),
        test("random::c_face::checked", || {
            let ended =
                Child::scenario("random_process").env("BITMAG_CHECK", "1").preload()?.succeed()?;
            let counters = ended.counters.first().ok_or("no counters")?;
            checked_mode(counters.get("refills"), counters.get("refilled_blocks"))?;
            Ok(Verdict::Holds)
        }),
        test("random::c_face::preloaded", || {
            let ended = Child::scenario("random_process").preload()?.succeed()?;
            ensure!(ended.refilled_blocks() > floor(), "too few blocks: {:?}", ended.counters);
            Ok(Verdict::Holds)
        }),
    ]
}
