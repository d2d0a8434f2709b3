//! `bitmag-lab programs [--json FILE] [--rounds N]`: whole programs under LD_PRELOAD, with every allocator that there is a library of.
//!
//! `allocators` finds the libraries, `loads` says what is run, `process` runs one, measures it, and proves which library was mapped,
//! `start` measures programs that do nothing, `table` prints. The order of the allocators is shuffled in each round, what a program prints
//! must be what it prints without any of them, and each figure is a median, each ratio one of runs of the same round.

mod allocators;
mod loads;
mod process;
mod start;
mod table;

use crate::machine;
use crate::result::{Allocator, Cell, Run, Workload};
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// Rounds unless said otherwise.
const ROUNDS: u32 = 7;

/// Runs all of it, prints the tables and writes the file.
pub fn run(root: &Path, target: &Path, file: &Path, rounds: Option<u32>) -> Result<()> {
    let rounds = rounds.unwrap_or(ROUNDS);
    let allocators = allocators::find(root, target)?;
    let mut run = Run {
        format: 1,
        command: "programs".into(),
        date: machine::date(),
        machine: machine::this(),
        allocators: allocators.iter().map(allocators::Preload::describe).collect(),
        ..Run::default()
    };
    let mut random = fastrand::Rng::with_seed(6);
    for load in loads::all(root, target)? {
        match under_all(&load, &allocators, rounds, &mut random, &mut run.allocators) {
            Ok(workload) => {
                table::print(&workload);
                run.workloads.push(workload);
            }
            Err(why) => eprintln!("{}: not run: {why:#}", load.name),
        }
    }
    table::print_means(&run.workloads);
    let workload = start::measure(&allocators, rounds * 60, &mut random)?;
    table::print(&workload);
    run.workloads.push(workload);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, serde_json::to_string_pretty(&run)?)?;
    println!("written to {}", file.display());
    Ok(())
}

/// One program in each round under each allocator.
fn under_all(
    load: &loads::Load,
    allocators: &[allocators::Preload],
    rounds: u32,
    random: &mut fastrand::Rng,
    described: &mut [Allocator],
) -> Result<Workload> {
    let expected = process::run(load, None).context("without any allocator")?.output;
    let mut cells: Vec<Cell> = allocators
        .iter()
        .map(|allocator| Cell { allocator: allocator.name.into(), ..Cell::default() })
        .collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..allocators.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let (allocator, cell) = (&allocators[index], &mut cells[index]);
            if cell.failed.is_some() || allocator.missing.is_some() {
                continue;
            }
            let outcome = process::run(load, Some(allocator)).and_then(|done| {
                ensure!(done.output == expected, "prints something else than without it");
                Ok(done)
            });
            match outcome {
                Ok(done) => {
                    cell.runs.push(crate::result::Sample { round, ..done.sample });
                    described[index].proof.clone_from(&done.proof);
                }
                Err(why) => cell.failed = Some(format!("{why:#}")),
            }
        }
    }
    for (cell, allocator) in cells.iter_mut().zip(allocators) {
        cell.failed = cell.failed.take().or_else(|| allocator.missing.clone());
    }
    Ok(Workload {
        name: load.name.into(),
        group: "programs".into(),
        what: load.what.into(),
        unit: "run".into(),
        cells,
    })
}
