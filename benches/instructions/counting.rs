//! How every bench of instructions is run: in an empty environment, counting what happens inside one function, held to its limit.

use crate::limits::limit;
use crate::loaded;
use iai_callgrind::{Callgrind, EntryPoint, EventKind, LibraryBenchmarkConfig};

/// What all benches of a program have in common.
pub fn config() -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.env_clear(true).env("BITMAG_BACKEND", "avx2");
    config.env(loaded::LIBRARY, std::env::var(loaded::LIBRARY).unwrap_or_default());
    config
}

/// Counts what happens inside functions of that name, and holds it to the limit.
pub fn counted(entry: &str, row: &str, length: usize) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    callgrind.entry_point(EntryPoint::Custom(entry.into()));
    if let Some(limit) = limit(row, length) {
        callgrind.hard_limits([(EventKind::Ir, limit)]);
    }
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}
