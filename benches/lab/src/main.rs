//! `cargo run --release -p bitmag-lab -- instructions [FILE.json [PEER...]]`: bitmag and its peers, side by side.
//! `peers` builds one program for each allocator with the flags of `toolchain`, `callgrind` runs it, `proof` holds the profile against what
//! the program says it is, `instructions` turns the counts into figures and `report` these into the table and the JSON.
//! The rows are those of `benches/instructions.rs`, listed in `plan`.

mod callgrind;
mod instructions;
#[allow(dead_code, reason = "the bench holds the limits; the lab takes the names and lengths")]
#[path = "../../instructions/limits.rs"]
mod limits;
mod peers;
mod plan;
mod programs;
mod proof;
mod report;
#[allow(dead_code, reason = "written by the timed runs")]
mod result;
mod toolchain;

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("instructions") => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
            let root = root.expect("the lab lies two folders below the root");
            // .../target/release/bitmag-lab
            let program = std::env::current_exe()?;
            let target = program.ancestors().nth(2).expect("cargo's target folder");
            let json = arguments.next().map(PathBuf::from);
            let json = json.unwrap_or_else(|| target.join("lab/instructions.json"));
            let wanted: Vec<_> = arguments.collect();
            instructions::run(root, target, &json, &wanted)
        }
        Some("programs") => programs::run(arguments),
        _ => bail!(
            "usage: bitmag-lab instructions [FILE.json [PEER...]] | programs [FILE.json [ROUNDS]]"
        ),
    }
}
