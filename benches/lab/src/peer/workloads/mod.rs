//! The workloads: the same code for every allocator, over the C functions that `allocator` chose, with fixed seeds.
//! Each file holds one load or one small table of them, with the sentence that says what it does. `bench` is what they are given,
//! `block` a block that notices when somebody else writes to it, `array` room that comes from no allocator, `outcome` what they give.
//! Those on Rust's own collections (trees, strings, JSON) run on the program's global allocator, which is the peer as well.

pub mod array;
mod bench;
mod block;
mod clock;
mod outcome;
pub mod resident;
mod sizes;

mod appending;
mod churn;
mod growing;
mod hot;
mod idle_threads;
mod json;
mod larson;
mod mstress;
mod orders;
mod pairs;
mod peak;
mod replacing;
mod rptest;
mod service;
mod sharing;
mod size_sweep;
mod spans;
mod strings;
mod team;
mod thinning;
mod traces;
mod transfer;
mod tree;
mod xmalloc;

use crate::rows::Face;
pub use bench::{Bench, measured};
pub use outcome::Outcome;
use serde::Serialize;

/// A workload, as the lab is told of it.
#[derive(Clone, Copy, Serialize)]
pub struct Workload {
    pub name: &'static str,
    /// "single", "threads", "large", "latency", "memory" or "replay".
    pub group: &'static str,
    /// Sizes, counts, threads, seed, at full scale.
    pub what: &'static str,
    /// What one operation is.
    pub unit: &'static str,
    /// What the x of its points is; empty where it is no sweep.
    pub sweep: &'static str,
    /// Whether it is one of the quick ones.
    pub quick: bool,
    /// How many rounds are enough; 0: as many as the others.
    pub rounds: u32,
    /// Whether callgrind can count it: one thread, and time is not what it is about.
    pub counted: bool,
    /// Whether the allocator's background thread is to run, where it has one.
    pub background: bool,
    #[serde(skip)]
    run: fn(&Bench) -> Outcome,
}

/// A workload of one thread, to which others add what they are.
const fn single(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    run: fn(&Bench) -> Outcome,
) -> Workload {
    let (group, sweep) = ("single", "");
    Workload {
        name,
        group,
        what,
        unit,
        sweep,
        quick: false,
        rounds: 0,
        counted: true,
        background: false,
        run,
    }
}

/// A workload of several threads.
const fn threads(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    run: fn(&Bench) -> Outcome,
) -> Workload {
    Workload { group: "threads", counted: false, ..single(name, what, unit, run) }
}

impl Workload {
    const fn quick(self) -> Workload {
        Workload { quick: true, ..self }
    }

    /// Of another group, and too long or too large for callgrind, unless `counted` says otherwise.
    const fn of(self, group: &'static str) -> Workload {
        Workload { group, counted: false, ..self }
    }

    const fn counted(self) -> Workload {
        Workload { counted: true, ..self }
    }

    const fn rounds(self, rounds: u32) -> Workload {
        Workload { rounds, ..self }
    }

    const fn sweep(self, sweep: &'static str) -> Workload {
        Workload { sweep, counted: false, ..self }
    }
}

/// All of them, in the order of the tables.
pub fn all() -> Vec<Workload> {
    let tables: [&[Workload]; 22] = [
        &orders::ALL,
        &hot::ALL,
        &tree::ALL,
        &strings::ALL,
        &json::ALL,
        &growing::SMALL,
        &pairs::ALL,
        &replacing::ALL,
        &larson::ALL,
        &xmalloc::ALL,
        &mstress::ALL,
        &rptest::ALL,
        &sharing::ALL,
        &churn::ALL,
        &idle_threads::ALL,
        &thinning::ALL,
        &peak::ALL,
        &service::ALL,
        &spans::ALL,
        &appending::ALL,
        &growing::LARGE,
        &traces::ALL,
    ];
    let mut all = tables.concat();
    all.extend(size_sweep::ALL);
    all
}

/// Runs the workload of that name, if there is one.
pub fn run(name: &str, face: Face, percent: usize) -> Option<Outcome> {
    let workload = all().into_iter().find(|workload| workload.name == name)?;
    let mut outcome = (workload.run)(&Bench { face, percent });
    // The kernel's mark is kept from counters that may lag behind by some pages for each processor.
    let looks = outcome.resident.iter().map(|look| look.resident_kib).max().unwrap_or(0);
    let ends = outcome.start_kib.max(outcome.final_kib);
    outcome.peak_kib = resident::peak_kib().max(looks).max(ends);
    Some(outcome)
}
