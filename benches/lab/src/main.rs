//! bitmag and its peers, side by side; `benches/lab/README.md` says how to run it and how to read what it prints.
//! `cli` is the command line. `peers` builds one program for each allocator with the flags of `toolchain`. Time and memory: `timed` runs
//! the workloads of those programs, `statistics` makes medians and ratios of the samples, `reports` the files (`result` is what they are
//! made from). Instruction counts: `callgrind` runs the rows of `plan`, which are those of `benches/instructions.rs`, `proof` holds the
//! profile against what the program says it is, `instructions` turns the counts into figures and `report` those into the table.

mod callgrind;
mod cli;
mod instructions;
#[allow(dead_code, reason = "the bench holds the limits; the lab takes the names and lengths")]
#[path = "../../instructions/limits.rs"]
mod limits;
mod machine;
mod peers;
mod plan;
mod programs;
mod proof;
mod report;
mod reports;
mod result;
mod statistics;
mod timed;
mod toolchain;
mod usage;

use anyhow::Result;
use clap::Parser;
use std::path::Path;

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let root = root.expect("the lab lies two folders below the root");
    // .../target/release/bitmag-lab
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).expect("cargo's target folder");
    cli::Arguments::parse().run(root, target)
}
