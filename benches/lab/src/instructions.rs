//! Every row of the instruction counts for every allocator: two lengths each, and the difference.
//! The order in which allocators run is shuffled; counts do not depend on it, and a row that does would show.
//! Each run proves whose it was: its profile must name the peer's functions and no other allocator's.

use crate::{callgrind, peers};
use anyhow::{Result, ensure};
use comfy_table::Table;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A row: its name, the two lengths, and the calls in one operation (each returns, which the loop around nothing does too).
struct Row {
    name: &'static str,
    says: &'static str,
    lengths: [usize; 2],
    calls: f64,
}

const fn row(name: &'static str, says: &'static str, lengths: [usize; 2], calls: f64) -> Row {
    Row { name, says, lengths, calls }
}

/// The rows of `benches/instructions/rows.rs` and `rust_rows.rs`.
const ROWS: [Row; 18] = [
    row("malloc_hit", "malloc hit, 64 B", [2, 10], 1.0),
    row("free_hit", "free hit", [2, 10], 1.0),
    row("free_sized_hit", "sized free hit", [2, 10], 1.0),
    row("box_loop", "Box::new + drop, in a loop (Rust)", [1000, 2000], 0.0),
    row("box_once", "Box::new + drop, straight-line (Rust)", [1000, 2000], 0.0),
    row("malloc_4096", "malloc hit, 4096 B", [0, 1], 1.0),
    row("free_4096", "free hit, 4096 B", [1, 3], 1.0),
    row("free_sized_4096", "sized free hit, 4096 B", [1, 3], 1.0),
    row("aligned_alloc", "aligned_alloc(64, 256) + free", [1000, 2000], 2.0),
    row("first_malloc", "first allocation of a thread", [0, 1], 1.0),
    row("thousand", "1,000 allocs then 1,000 frees, per pair", [10_000, 20_000], 2.0),
    row("shuffled", "100,000 allocs, frees shuffled, per pair", [100_000, 200_000], 2.0),
    row("mixed", "1..1024 B among 10,000 live, per pair", [100_000, 200_000], 2.0),
    row("remote_free", "remote free, per block", [50_000, 100_000], 1.0),
    row("remote_refill", "malloc after remote frees, per block", [50_000, 100_000], 1.0),
    row("calloc", "calloc(1, 64) + free", [1000, 2000], 2.0),
    row("realloc", "malloc + realloc 64 -> 128 + free", [1000, 2000], 3.0),
    row("vec_growth", "Vec<u8> push 0 -> 4096, all (Rust)", [100, 200], 0.0),
];

/// Builds, counts, prints and writes everything, for the peers of those names or for all.
pub fn run(root: &Path, target: &Path, json_file: &Path, wanted: &[String]) -> Result<()> {
    let library = peers::library(root, target)?;
    let mut built = Vec::new();
    let chosen =
        |peer: &&peers::Peer| wanted.is_empty() || wanted.iter().any(|name| name == peer.name);
    for peer in peers::PEERS.iter().filter(chosen) {
        match peer.build(root, target) {
            Ok(program) => built.push((peer, program)),
            Err(why) => println!("{} {}: not built: {why}", peer.name, peer.version()),
        }
    }
    fastrand::shuffle(&mut built);
    let folder = target.join("lab");
    let mut figures = BTreeMap::new();
    for (peer, program) in &built {
        eprintln!("counting {} {}", peer.name, peer.version());
        for row in &ROWS {
            figures.insert((row.name, peer.name), figure(row, peer, program, &library, &folder)?);
        }
    }
    print(&built, &figures);
    let rows: Vec<_> = ROWS
        .iter()
        .map(|row| {
            let each: BTreeMap<_, _> =
                built.iter().map(|(peer, _)| (peer.name, figures[&(row.name, peer.name)])).collect();
            json!({ "row": row.name, "title": row.says, "lengths": row.lengths, "instructions": each })
        })
        .collect();
    let versions: BTreeMap<_, _> =
        built.iter().map(|(peer, _)| (peer.name, peer.version())).collect();
    let all = json!({ "measure": "instructions", "versions": versions, "rows": rows });
    std::fs::write(json_file, serde_json::to_string_pretty(&all)?)?;
    println!("written to {}", json_file.display());
    Ok(())
}

/// Instructions of one operation, call site and loop taken off.
fn figure(
    row: &Row,
    peer: &peers::Peer,
    program: &Path,
    library: &Path,
    folder: &Path,
) -> Result<f64> {
    let file = folder.join("callgrind.out");
    let mut per_operation = [0.0; 2];
    for (figure, nothing) in per_operation.iter_mut().zip([false, true]) {
        let mut counts = [0; 2];
        for (count, length) in counts.iter_mut().zip(row.lengths) {
            let length_text = length.to_string();
            let mut arguments = vec![row.name, &length_text];
            if nothing {
                arguments.push("nothing");
            }
            let profile = callgrind::count(program, library, &arguments, &file)?;
            if !nothing && length > 0 && row.calls > 0.0 {
                ensure!(profile.names(peer.marker), "{} did not serve {}", peer.name, row.name);
                for other in peers::PEERS.iter().filter(|other| other.distinct(peer)) {
                    ensure!(!profile.names(other.marker), "{} served {}", other.name, row.name);
                }
            }
            *count = profile.instructions;
        }
        *figure = (counts[1] as f64 - counts[0] as f64) / (row.lengths[1] - row.lengths[0]) as f64;
    }
    let adapter = if row.name.starts_with("free_sized") { peer.adapter } else { 0.0 };
    Ok(per_operation[0] - per_operation[1] + row.calls - adapter)
}

fn print(
    built: &[(&'static peers::Peer, PathBuf)],
    figures: &BTreeMap<(&'static str, &'static str), f64>,
) {
    let shown: Vec<_> = peers::PEERS
        .iter()
        .filter(|peer| built.iter().any(|(other, _)| other.name == peer.name))
        .collect();
    let mut table = Table::new();
    let head = shown.iter().map(|peer| format!("{}\n{}", peer.name, peer.version()));
    table.set_header(std::iter::once("instructions".to_string()).chain(head));
    for row in &ROWS {
        let cells = shown.iter().map(|peer| format!("{:.1}", figures[&(row.name, peer.name)]));
        table.add_row(std::iter::once(row.says.to_string()).chain(cells));
    }
    println!("{table}");
}
