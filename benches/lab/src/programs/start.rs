//! Programs that do nothing: what it costs to start with a library preloaded.

use super::allocators::Preload;
use super::process::{preloaded, timed};
use crate::result::{Cell, Sample, Workload};
use crate::usage;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Starts `/bin/true` in turn under each; what is resident is read by `cat` from its own status, since what the kernel counts for a
/// process begins with its parent's pages.
pub fn measure(
    allocators: &[Preload],
    rounds: u32,
    random: &mut fastrand::Rng,
) -> Result<Workload> {
    let there: Vec<&Preload> = allocators.iter().filter(|each| each.missing.is_none()).collect();
    let mut cells: Vec<Cell> = there
        .iter()
        .map(|allocator| Cell { allocator: allocator.name.into(), ..Cell::default() })
        .collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..there.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let mut command = preloaded(Path::new("/bin/true"), Some(there[index]));
            let start = Instant::now();
            let (status, sample) = usage::wait(&command.stdin(Stdio::null()).spawn()?)?;
            let wall = start.elapsed();
            ensure!(status.success(), "/bin/true: {status}");
            let peak_kib = if round < 20 { peak(there[index])? } else { 0 };
            cells[index].runs.push(Sample { round, peak_kib, ..timed(sample, wall) });
        }
    }
    for cell in &mut cells {
        let known: Vec<u64> =
            cell.runs.iter().map(|run| run.peak_kib).filter(|kib| *kib != 0).collect();
        for run in cell.runs.iter_mut().filter(|run| run.peak_kib == 0) {
            run.peak_kib = known[run.round as usize % known.len()];
        }
    }
    Ok(Workload {
        name: "start".into(),
        group: "programs".into(),
        what: "/bin/true; resident is the peak of cat".into(),
        unit: "run".into(),
        cells,
    })
}

/// Most KiB that were resident, as `cat` reads it of itself. It also shows that the library was mapped.
fn peak(allocator: &Preload) -> Result<u64> {
    let mut command = preloaded(Path::new("/bin/cat"), Some(allocator));
    let output = command.args(["/proc/self/status", "/proc/self/maps"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(library) = &allocator.library {
        ensure!(text.contains(&*library.to_string_lossy()), "{} was not mapped", allocator.name);
    }
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}
