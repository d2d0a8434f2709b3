//! Time and memory: runs the workloads of the peers' programs in rounds and keeps every sample.
//! `process` is one run of a program, `wiring` the proof of which allocator served it, `rounds` their order, `machine` what it ran on,
//! `extra` what is counted in runs of their own, `table` what the terminal shows.

mod extra;
mod process;
mod rounds;
mod table;
mod wiring;

use crate::machine;
use crate::peers::{self, Peer};
use crate::result::{Allocator, Run};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What is asked for.
pub struct Plan {
    pub command: &'static str,
    /// Allocators by name; all if empty.
    pub peers: Vec<String>,
    /// Workloads by name; those of the command if empty.
    pub only: Vec<String>,
    pub rounds: u32,
    pub percent: u32,
}

impl Plan {
    fn new(command: &'static str) -> Plan {
        Plan { command, peers: vec![], only: vec![], rounds: 5, percent: 100 }
    }

    pub fn quick() -> Plan {
        let main = ["bitmag", "mimalloc 3", "jemalloc", "snmalloc", "glibc"];
        let peers = main.map(String::from).to_vec();
        Plan { peers, rounds: 7, percent: 20, ..Plan::new("quick") }
    }

    pub fn full() -> Plan {
        Plan::new("full")
    }

    pub fn of_group(group: &'static str) -> Plan {
        Plan::new(group)
    }

    /// Single workloads.
    pub fn chosen() -> Plan {
        Plan::new("only")
    }

    fn has_peer(&self, name: &str) -> bool {
        if self.peers.is_empty() {
            name != peers::SHARED
        } else {
            self.peers.iter().any(|own| own == name)
        }
    }

    fn has(&self, work: &Work) -> bool {
        match self.command {
            _ if !self.only.is_empty() => self.only.contains(&work.name),
            "quick" => work.quick,
            "full" => true,
            group => work.group == group,
        }
    }
}

/// A workload, as the programs describe it.
#[derive(Clone, Deserialize)]
struct Work {
    name: String,
    group: String,
    what: String,
    unit: String,
    sweep: String,
    quick: bool,
    rounds: u32,
    counted: bool,
    background: bool,
}

/// A peer that is ready to run.
struct Ready {
    peer: &'static Peer,
    program: PathBuf,
    /// The program whose instructions are counted, in a full run.
    counted: PathBuf,
    wiring: wiring::Wiring,
}

/// Builds everything, runs every round, shows the table, and writes the samples.
pub fn run(root: &Path, target: &Path, plan: &Plan, file: &Path) -> Result<Run> {
    let chosen = |peer: &&Peer| plan.has_peer(peer.name);
    let library = peers::library(root, target).context("bitmag's C face")?;
    let library = library.canonicalize()?;
    let mut ready = Vec::new();
    let mut run =
        Run { format: 1, command: plan.command.into(), date: machine::date(), ..Run::default() };
    run.machine = machine::this();
    let chosen: Vec<_> = peers::timed().into_iter().filter(chosen).collect();
    let built = peers::in_parallel(&chosen, |peer| {
        build(peer, root, target, &library, plan.command == "full")
    })?;
    for (peer, built) in chosen.into_iter().zip(built) {
        let (name, version) = (peer.name.to_string(), peer.version());
        let mut allocator = Allocator { name, version, ..Allocator::default() };
        match built {
            Ok((one, proof)) => {
                ready.push(one);
                allocator.proof = proof;
            }
            Err(why) => allocator.not_built = Some(format!("{why:#}")),
        }
        run.allocators.push(allocator);
    }
    let works: Vec<_> = works(&ready)?.into_iter().filter(|work| plan.has(work)).collect();
    ensure!(!works.is_empty(), "no workload is called that: `list` names them");
    rounds::run(plan, &works, &mut ready, &library, &mut run)?;
    if plan.command == "full" {
        extra::count(&works, &ready, &library, &target.join("lab"), &mut run)?;
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, serde_json::to_string_pretty(&run)?)?;
    table::print(&run);
    Ok(run)
}

/// Builds a peer's program, and sees that the proof holds for it and would not hold for another allocator.
fn build(
    peer: &'static Peer,
    root: &Path,
    target: &Path,
    library: &Path,
    full: bool,
) -> Result<(Ready, String)> {
    let program = peer.build(root, target)?.canonicalize()?;
    let mut wiring = wiring::Wiring::default();
    let miswired = process::ask(&program, library, &["miswired"])?;
    if wiring.check(peer, &miswired).is_ok() {
        bail!("another allocator passed for {}: the proof proves nothing", peer.name);
    }
    let first = process::ask(&program, library, &["work", "lifo", "1"])?;
    let proof = wiring.check(peer, &first)?;
    let mut counted = program.clone();
    if full && !std::ptr::eq(peer.counted(), peer) {
        counted = peer.counted().build(root, target)?.canonicalize()?;
    }
    Ok((Ready { peer, program, counted, wiring }, proof))
}

/// Every workload: the programs have them all, whatever the allocator.
fn works(ready: &[Ready]) -> Result<Vec<Work>> {
    let first = ready.first().context("no allocator could be built")?;
    let list = process::ask(&first.program, Path::new(""), &["list"])?;
    Ok(serde_json::from_str(&list)?)
}

/// Says what there is to run.
pub fn list(root: &Path, target: &Path) -> Result<()> {
    let glibc = peers::named("glibc").expect("the system has an allocator");
    let program = glibc.build(root, target)?;
    let list = process::ask(&program, Path::new(""), &["list"])?;
    for Work { name, group, what, quick, .. } in serde_json::from_str::<Vec<Work>>(&list)? {
        println!("{name} ({group}{}): {what}", if quick { ", quick" } else { "" });
    }
    Ok(())
}

/// How many cells have no figure.
pub fn failures(run: &Run) -> usize {
    let cells = run.workloads.iter().flat_map(|workload| &workload.cells);
    cells.filter(|cell| cell.failed.is_some()).count() + rounds::missing_curves(run)
}
