//! The rounds: each workload on every allocator, one after the other, in an order that is shuffled anew each time. A fixed order would
//! let one allocator pay for the pages that the next one finds warm; what a round compares stands side by side in time.

use super::{Plan, Ready, Work, process};
use crate::result::{Cell, Curve, Point, Run, Sample, Sweep, Workload};
use crate::statistics::median;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::path::Path;

/// What one run gave.
struct Got {
    sample: Sample,
    outcome: process::Outcome,
}

/// Runs everything and puts it into `run`.
pub fn run(
    plan: &Plan,
    works: &[Work],
    ready: &mut [Ready],
    library: &Path,
    run: &mut Run,
) -> Result<()> {
    let rounds =
        |work: &Work| if work.rounds == 0 { plan.rounds } else { plan.rounds.min(work.rounds) };
    let count: u32 = works.iter().map(rounds).sum();
    let bar = ProgressBar::new(u64::from(count) * ready.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left: {msg}")?);
    let mut cells = BTreeMap::<(usize, usize), Cell>::new();
    let mut points = BTreeMap::<(usize, usize), Vec<Vec<Point>>>::new();
    for round in 0..plan.rounds {
        if bar.is_hidden() {
            eprintln!("round {} of {}", round + 1, plan.rounds);
        }
        for (at, work) in works.iter().enumerate().filter(|(_, work)| round < rounds(work)) {
            let mut order: Vec<_> = (0..ready.len()).collect();
            fastrand::shuffle(&mut order);
            for who in order {
                let one = &mut ready[who];
                bar.set_message(format!("{} on {}", work.name, one.peer.name));
                let cell = cells.entry((at, who)).or_insert_with(|| new_cell(one));
                if cell.failed.is_none() {
                    match sample(work, one, plan.percent, round, library) {
                        Ok(got) if work.sweep.is_empty() => keep(cell, got),
                        Ok(got) => points.entry((at, who)).or_default().push(got.outcome.points),
                        Err(why) => cell.failed = Some(format!("{why:#}")),
                    }
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    for (at, work) in works.iter().enumerate() {
        let cells = (0..ready.len()).filter_map(|who| cells.remove(&(at, who)));
        if work.sweep.is_empty() {
            let Work { name, group, what, unit, .. } = work.clone();
            run.workloads.push(Workload { name, group, what, unit, cells: cells.collect() });
            continue;
        }
        for cell in cells {
            if let Some(why) = cell.failed {
                eprintln!("failed: {}, {}: {why}", cell.allocator, work.name);
            }
        }
        let curve = |who: usize| {
            let points = middle(&points.remove(&(at, who)).unwrap_or_default());
            Curve { allocator: ready[who].peer.name.into(), points }
        };
        let curves = (0..ready.len()).map(curve).collect();
        let (name, what, x) = (work.name.clone(), work.what.clone(), work.sweep.clone());
        run.sweeps.push(Sweep { name, what, x, curves });
    }
    Ok(())
}

fn new_cell(ready: &Ready) -> Cell {
    Cell { allocator: ready.peer.name.into(), ..Cell::default() }
}

/// One process, and the proof that it was served by the right allocator.
fn sample(work: &Work, ready: &mut Ready, percent: u32, round: u32, library: &Path) -> Result<Got> {
    let mut command = process::command(&ready.program, library);
    command.args(["work", &work.name, &percent.to_string()]);
    if work.background {
        command.env("BITMAG_BACKGROUND", "1");
    }
    let (printed, mut sample) = process::run(command)?;
    ready.wiring.check(ready.peer, &printed)?;
    let outcome = process::outcome(&printed, &mut sample)?;
    sample.round = round;
    Ok(Got { sample, outcome })
}

/// Adds a run to its cell. Memory over time is that of the last round.
fn keep(cell: &mut Cell, got: Got) {
    cell.runs.push(got.sample);
    let outcome = got.outcome;
    if !outcome.resident.is_empty() {
        cell.resident = outcome.resident;
    }
    // Of several rounds the one with the lowest tail: what another program on this machine did is not the allocator's.
    let lower = |new: &Option<_>, old: &Option<crate::result::Latency>| match (new, old) {
        (Some(crate::result::Latency { p99_99, .. }), Some(old)) => *p99_99 < old.p99_99,
        (new, _) => new.is_some(),
    };
    if lower(&outcome.malloc_latency, &cell.malloc_latency) {
        cell.malloc_latency = outcome.malloc_latency;
    }
    if lower(&outcome.free_latency, &cell.free_latency) {
        cell.free_latency = outcome.free_latency;
    }
}

/// Point by point the median of the rounds.
fn middle(rounds: &[Vec<Point>]) -> Vec<Point> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let at = |index: usize, of: fn(&Point) -> f64| {
        let values: Vec<_> = rounds.iter().filter_map(|round| round.get(index)).map(of).collect();
        median(&values)
    };
    let point = |index: usize| Point {
        x: first[index].x,
        ns: at(index, |point| point.ns),
        resident_per_live: at(index, |point| point.resident_per_live),
    };
    (0..first.len()).map(point).collect()
}

/// Curves that no run gave.
pub fn missing_curves(run: &Run) -> usize {
    let curves = run.sweeps.iter().flat_map(|sweep| &sweep.curves);
    curves.filter(|curve| curve.points.is_empty()).count()
}
