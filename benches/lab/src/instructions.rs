//! Every row of the instruction counts for every allocator: two lengths each, and the difference.
//! The order of the runs is shuffled, and as many run at a time as there are processors; counts depend on neither, and a row that did
//! would show. What fails is one cell of the table: the others are counted all the same, and the command fails at its end.

use crate::peers::{self, Peer};
use crate::plan::{self, Row};
use crate::{callgrind, proof, report};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A figure, or the reason why there is none.
pub type Figure = Result<f64, String>;

/// All that was found out.
pub struct Results {
    pub rows: Vec<Row>,
    /// The peers that were built, in the order of the table.
    pub peers: Vec<&'static Peer>,
    pub not_built: Vec<(&'static Peer, String)>,
    /// By row and peer.
    pub figures: BTreeMap<(&'static str, &'static str), Figure>,
}

/// A peer that is ready to run.
struct Ready {
    peer: &'static Peer,
    program: PathBuf,
}

/// Builds, counts, prints and writes everything, for the peers of those names or for all.
pub fn run(root: &Path, target: &Path, json_file: &Path, wanted: &[String]) -> Result<()> {
    for name in wanted {
        ensure!(peers::PEERS.iter().any(|peer| peer.name == name), "no peer is called {name:?}");
    }
    let library = peers::library(root, target).context("the C face")?;
    let library = library.canonicalize()?;
    let mut ready = Vec::new();
    let mut not_built = Vec::new();
    let chosen = |peer: &&Peer| wanted.is_empty() || wanted.iter().any(|name| name == peer.name);
    for peer in peers::PEERS.iter().filter(chosen) {
        eprintln!("building {}", peer.name);
        match peer.build(root, target) {
            Ok(program) => ready.push(Ready { peer, program }),
            Err(why) => not_built.push((peer, format!("{why:#}"))),
        }
    }
    let rows = plan::rows();
    let jobs: Vec<_> =
        ready.iter().flat_map(|ready| rows.iter().map(move |row| (ready, row))).collect();
    let figures = all(jobs, &library, &target.join("lab"))?;
    let peers = ready.iter().map(|ready| ready.peer).collect();
    let results = Results { rows, peers, not_built, figures };
    report::print(&results);
    report::write(&results, json_file)?;
    let failed = results.figures.values().filter(|figure| figure.is_err()).count();
    ensure!(failed == 0, "{failed} figures are missing");
    Ok(())
}

/// The figures of all jobs.
fn all(
    mut jobs: Vec<(&Ready, &Row)>,
    library: &Path,
    folder: &Path,
) -> Result<BTreeMap<(&'static str, &'static str), Figure>> {
    fastrand::shuffle(&mut jobs);
    let count = jobs.len();
    let jobs = Mutex::new(jobs);
    let figures = Mutex::new(BTreeMap::new());
    let workers = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (jobs, figures) = (&jobs, &figures);
            let file = folder.join(format!("callgrind.{worker}.out"));
            scope.spawn(move || {
                let next = || jobs.lock().expect("no worker panics").pop();
                while let Some((ready, row)) = next() {
                    let found = figure(row, ready, library, &file);
                    let found = found.map_err(|why| format!("{why:#}"));
                    let mut figures = figures.lock().expect("no worker panics");
                    figures.insert((row.name, ready.peer.name), found);
                    if std::io::stderr().is_terminal() {
                        eprint!("\r{} of {count} figures", figures.len());
                    }
                }
            });
        }
    });
    Ok(figures.into_inner().expect("no worker panics"))
}

/// Instructions of one operation, call site and loop taken off.
fn figure(row: &Row, ready: &Ready, library: &Path, file: &Path) -> Result<f64> {
    let run = |length: usize, mode: &str, kept: usize| {
        let arguments = [row.name, &length.to_string(), mode, &kept.to_string()];
        callgrind::count(&ready.program, library, &arguments, file)
    };
    // The proof is worth something where it refuses a run that another allocator served.
    if row.name == "thousand" {
        let miswired = run(1000, "miswired", 0)?;
        if proof::check(ready.peer, row, 1000, &miswired).is_ok() {
            bail!("another allocator passed for {}: the proof proves nothing", ready.peer.name);
        }
    }
    // What one operation costs more than none, over the difference of the two lengths.
    let slope = |mode: &str, kept: usize| -> Result<f64> {
        let mut counts = [0.0; 2];
        for (count, length) in counts.iter_mut().zip(row.lengths) {
            let profile = run(length, mode, kept)?;
            match mode {
                "real" => proof::check(ready.peer, row, length, &profile)?,
                // The vector's room is allocated inside the counted part, once at either length.
                _ if row.name == "vec_growth" => {}
                _ => proof::nobody_else(None, row, &profile)?,
            }
            *count = profile.instructions as f64;
        }
        Ok((counts[1] - counts[0]) / (row.lengths[1] - row.lengths[0]) as f64)
    };
    let mut least = f64::INFINITY;
    for &kept in plan::kept(row.name) {
        least = least.min(slope("real", kept)?);
    }
    let sized = plan::functions(row.name).contains(&"free_sized");
    let adapter = if sized { ready.peer.adapter } else { 0.0 };
    Ok(least - slope("nothing", 0)? + row.calls as f64 - adapter)
}
