//! What a timed run of the lab leaves behind: raw samples, so that every report (terminal, Markdown, HTML, a comparison with an older
//! file) is made from the JSON alone and nothing in it has to be measured again. Medians, spreads and ratios are made by the reports.

use serde::{Deserialize, Serialize};

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// Of this layout; raised when a field changes its meaning.
    pub format: u32,
    /// What was asked for: "quick", "full", "threads", "latency", "memory", "large" or "programs".
    pub command: String,
    /// UTC, as in 2026-11-21.
    pub date: String,
    pub machine: Machine,
    pub allocators: Vec<Allocator>,
    pub workloads: Vec<Workload>,
    pub sweeps: Vec<Sweep>,
}

/// Where it ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub processors: usize,
    pub kernel: String,
    pub libc: String,
    pub rustc: String,
    pub memory_mib: u64,
    /// "always", "madvise" or "never": what the system does with huge pages by itself.
    pub huge_pages: String,
}

/// An allocator that took part, or why it did not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Allocator {
    pub name: String,
    pub version: String,
    /// How each of its runs showed whose functions served it: symbol, object and address, or a counter.
    pub proof: String,
    pub not_built: Option<String>,
}

/// A workload and what it gave under each allocator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Workload {
    pub name: String,
    /// "single", "threads", "large", "latency", "memory", "replay" or "programs".
    pub group: String,
    /// One sentence: sizes, counts, threads, seed.
    pub what: String,
    /// What one operation is: "pair", "block", "element", "run".
    pub unit: String,
    pub cells: Vec<Cell>,
}

/// One workload under one allocator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cell {
    pub allocator: String,
    /// In the order of the rounds; the allocators' order is shuffled in each, and runs of one round are compared with one another.
    pub runs: Vec<Sample>,
    /// Counted by callgrind in a run of its own.
    pub instructions_per_operation: Option<f64>,
    /// In a run of its own, of the whole process.
    pub system_calls: Option<u64>,
    pub malloc_latency: Option<Latency>,
    pub free_latency: Option<Latency>,
    /// Over the run's time, where the workload is about memory.
    pub resident: Vec<Resident>,
    /// Why there is no figure.
    pub failed: Option<String>,
}

/// One process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub round: u32,
    pub operations: u64,
    /// Nanoseconds per operation, of the measured part alone.
    pub ns: f64,
    /// Seconds of the whole process, and processor time in it.
    pub wall: f64,
    pub user: f64,
    pub system: f64,
    pub minor_faults: u64,
    pub peak_kib: u64,
    /// Resident at the end of the measured part, everything freed that the workload frees; 0 where it was not read.
    pub final_kib: u64,
    /// Resident before it.
    pub start_kib: u64,
}

/// Percentiles of one kind of call, in nanoseconds, the clock's own cost inside.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    pub calls: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub p99_999: u64,
    pub max: u64,
}

/// A look at the process while it runs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Resident {
    pub seconds: f64,
    pub live_kib: u64,
    pub resident_kib: u64,
}

/// A figure against a size or a count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sweep {
    pub name: String,
    pub what: String,
    /// What the points' x is: "bytes" or "operations".
    pub x: String,
    pub curves: Vec<Curve>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Curve {
    pub allocator: String,
    pub points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Point {
    pub x: u64,
    /// Nanoseconds per operation, the median of the rounds.
    pub ns: f64,
    /// Resident bytes for each byte that is live; 0 where it was not read.
    pub resident_per_live: f64,
}
