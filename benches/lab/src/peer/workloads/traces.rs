//! Recorded traces of real programs (`benches/lab/traces`), replayed.

use super::{Bench, Outcome, Workload, single};
use crate::replay;
use std::path::Path;

pub const ALL: [Workload; 2] = [
    single(
        "trace_sqlite3",
        "the 639,117 calls of sqlite3 that fills, indexes and asks a table, at any scale",
        "call",
        sqlite3,
    )
    .of("replay")
    .counted(),
    single(
        "trace_python3",
        "the 1,043,762 calls of python3 (PYTHONMALLOC=malloc) that works on small objects, at any scale",
        "call",
        python3,
    )
    .of("replay")
    .counted(),
];

fn sqlite3(bench: &Bench) -> Outcome {
    replayed(bench, "sqlite3.trace")
}

fn python3(bench: &Bench) -> Outcome {
    replayed(bench, "python3.trace")
}

fn replayed(bench: &Bench, name: &str) -> Outcome {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/traces")).join(name);
    let replayed = replay::replay(bench.face, &path).unwrap_or_else(|why| panic!("{name}: {why}"));
    Outcome {
        operations: replayed.operations,
        ns: replayed.ns,
        start_kib: replayed.start_kib,
        final_kib: replayed.final_kib,
        peak_kib: replayed.peak_kib,
        ..Outcome::default()
    }
}
