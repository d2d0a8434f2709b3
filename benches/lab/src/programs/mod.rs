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

use crate::result::{Allocator, Cell, Machine, Run, Workload};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Rounds unless said otherwise.
const ROUNDS: u32 = 7;

/// Runs all of it, prints the tables and writes the file.
pub fn run(root: &Path, target: &Path, file: &Path, rounds: Option<u32>) -> Result<()> {
    let rounds = rounds.unwrap_or(ROUNDS);
    let allocators = allocators::find(root, target)?;
    let mut run = Run {
        format: 1,
        command: "programs".into(),
        date: first_line(Command::new("date").args(["-u", "+%Y-%m-%d"])),
        machine: machine(),
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

fn first_line(command: &mut Command) -> String {
    let printed = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&printed).lines().next().unwrap_or_default().into()
}

fn machine() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().into()).unwrap_or_default()
    };
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let huge = read("/sys/kernel/mm/transparent_hugepage/enabled");
    Machine {
        processor: value(&read("/proc/cpuinfo"), "model name"),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().into(),
        libc: first_line(Command::new("getconf").arg("GNU_LIBC_VERSION")),
        rustc: first_line(Command::new("rustc").arg("--version")),
        memory_mib: memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
            / 1024,
        huge_pages: huge.split(['[', ']']).nth(1).unwrap_or_default().into(),
    }
}
