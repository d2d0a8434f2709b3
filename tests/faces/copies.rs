//! Three copies of the library under different file names, loaded into one running process.
//! Static thread-local storage is what usually forbids that ("cannot allocate memory in static TLS block"), so it is the late load that is tested, by a process that has threads already.
//! All three serve in turn, on several threads, and none hands out what another has.

use crate::ensure;
use crate::support::api::{Api, Way};
use crate::support::block::Block;
use crate::support::c_api::CApi;
use crate::support::child::Child;
use crate::support::crowd::{self, Crowd};
use crate::support::model::{self, Intervals, Plan};
use crate::support::verdict::{Scenario, Verdict, seed, test};
use crate::support::{library, places};
use libtest_mimic::Trial;

const PLAN: Plan = Plan { operations: 60_000, most_live: 4000, most_bytes: 32 << 20 };

pub const SCENARIOS: &[Scenario] = &[("three_copies", three_copies)];

fn three_copies() -> Result<(), String> {
    let folder = places::fresh_folder("copies");
    let mut copies = Vec::new();
    let before = std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_millis(300)));
    for name in ["one.so", "two.so", "three.so"] {
        let path = folder.join(name);
        std::fs::copy(library::path()?, &path).map_err(|e| e.to_string())?;
        let mut copy = CApi::load(&path)?;
        ensure!(copy.complete(), "{name} lacks functions");
        if std::env::var_os("LD_PRELOAD").is_some() {
            // A process has one `operator new`: those of the copies call the preloaded one, as the C++ standard wants.
            copy.new = None;
        }
        copies.push(copy);
    }
    let distinct: std::collections::HashSet<_> =
        copies.iter().map(|copy| copy.malloc.map(|f| f as usize)).collect();
    ensure!(distinct.len() == 3, "the loader gave the same copy more than once");
    let mut together = Intervals::default();
    let mut live = Vec::new();
    for round in 0..3000usize {
        let copy = &copies[round % 3];
        let size = 1 + round * 37 % 9000;
        // SAFETY: a plain allocation.
        let addr = unsafe { copy.alloc(Way::Malloc, size, 16) } as usize;
        ensure!(addr != 0, "{}: NULL", copy.name());
        let block =
            Block { addr, size, align: 16, way: Way::Malloc, extent: size, seed: round as u64 };
        together.add(&block)?;
        // SAFETY: the block is live.
        unsafe { block.fill() };
        live.push((round % 3, block));
    }
    for (owner, block) in live {
        // SAFETY: each block goes back to the copy that it came from.
        unsafe {
            block.check(block.extent)?;
            copies[owner].free(Way::Malloc, 3, block.addr as *mut u8, block.size, 16);
        }
    }
    for copy in &copies {
        model::run(copy, seed(), PLAN)?;
        crowd::run(copy, seed(), PLAN, Crowd { threads: 3, rounds: 2 })?;
    }
    before.join().map_err(|_| "a thread panicked")?;
    let _ = std::fs::remove_dir_all(folder);
    Ok(())
}

pub fn tests() -> Vec<Trial> {
    vec![
        test("copies::three_in_one_process", || {
            Child::scenario("three_copies").env("BITMAG_LIBRARY", library::path()?).succeed()?;
            Ok(Verdict::Holds)
        }),
        test("copies::three_beside_a_preloaded_one", || {
            Child::scenario("three_copies").preload()?.succeed()?;
            Ok(Verdict::Holds)
        }),
    ]
}
