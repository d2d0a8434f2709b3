//! What is counted in runs of their own, because counting slows a program down: system calls by strace, instructions by callgrind.
//! Where the tool is missing there is no figure.

use super::{Ready, Work, process};
use crate::callgrind;
use crate::result::{Run, Sample};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::process::Command;

/// Adds both to the cells that have samples.
pub fn count(
    works: &[Work],
    ready: &[Ready],
    library: &Path,
    folder: &Path,
    run: &mut Run,
) -> Result<()> {
    let has = |tool: &str| {
        Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success())
    };
    let (strace, valgrind) = (has("strace"), has("valgrind"));
    let bar = ProgressBar::new(run.workloads.iter().map(|work| work.cells.len() as u64).sum());
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} counted, {eta} left: {msg}")?);
    for workload in &mut run.workloads {
        let Some(work) = works.iter().find(|work| work.name == workload.name) else { continue };
        for cell in workload.cells.iter_mut().filter(|cell| cell.failed.is_none()) {
            let Some(ready) = ready.iter().find(|ready| ready.peer.name == cell.allocator) else {
                continue;
            };
            bar.set_message(format!("{} on {}", work.name, ready.peer.name));
            if strace {
                cell.system_calls =
                    system_calls(work, ready, library, &folder.join("strace.out")).ok();
            }
            if valgrind && work.counted {
                let file = folder.join("callgrind.work.out");
                cell.instructions_per_operation = instructions(work, ready, library, &file).ok();
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// System calls of the whole process, at a fifth of the length.
fn system_calls(work: &Work, ready: &Ready, library: &Path, file: &Path) -> Result<u64> {
    let mut command = process::command(Path::new("strace"), library);
    command.args(["-c", "-f", "-U", "calls", "-o"]).arg(file).arg(&ready.program);
    command.args(["work", &work.name, "20"]);
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    process::run(command)?;
    let text = std::fs::read_to_string(file)?;
    sum_of_calls(&text).context("strace printed no sum")
}

/// The last line of strace's table: the sum, where that is the only column.
fn sum_of_calls(text: &str) -> Option<u64> {
    let last = text.lines().rfind(|line| !line.trim().is_empty())?;
    last.split_whitespace().next()?.parse().ok()
}

/// Instructions of one operation of the measured part, the loop and the workload's own work included.
fn instructions(work: &Work, ready: &Ready, library: &Path, file: &Path) -> Result<f64> {
    let profile = callgrind::count(&ready.counted, library, &["work", &work.name, "1"], file)?;
    super::wiring::Wiring::default().check(ready.peer.counted(), &profile.printed)?;
    let outcome = process::outcome(&profile.printed, &mut Sample::default())?;
    Ok(profile.instructions as f64 / outcome.operations.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::sum_of_calls;

    #[test]
    fn the_sum_is_the_last_line() {
        assert_eq!(
            sum_of_calls("    calls\n---------\n   12\n   30\n---------\n   42\n"),
            Some(42)
        );
        assert_eq!(sum_of_calls("strace: no such program"), None);
    }
}
