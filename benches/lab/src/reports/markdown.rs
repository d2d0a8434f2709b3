//! `report.md`: every figure of the run in tables, the losses before them.

use super::figures::{self, SUBJECT};
use super::numbers::ratio;
use super::tables::{self, Table};
use crate::result::Run;
use std::fmt::Write;

pub fn render(run: &Run) -> String {
    let mut out =
        format!("# Timed run of the lab: {}, {}\n\n", text(&run.command), text(&run.date));
    let _ = writeln!(
        out,
        "{}; {}. Spread: {}.\n",
        text(&tables::machine(run)),
        tables::rounds(run),
        figures::SPREAD
    );
    out.push_str("## All workloads together\n\n");
    table(&mut out, &tables::standings(run));
    let _ = writeln!(out, "\n{}\n", text(&tables::standings_note(run)));
    out.push_str(&losses(run));
    for (heading, workloads) in tables::groups(run) {
        let _ = writeln!(out, "## {}\n", text(heading));
        for workload in workloads {
            let _ = writeln!(out, "### {}\n\n{}\n", text(&workload.name), text(&workload.what));
            table(&mut out, &tables::workload(workload));
            out.push('\n');
            for kind in tables::KINDS {
                if let Some(percentiles) = tables::latency(workload, kind) {
                    table(&mut out, &percentiles);
                    out.push('\n');
                }
            }
        }
    }
    sweeps(run, &mut out);
    out.push_str("## Allocators, and the proof of each\n\n");
    table(&mut out, &allocators(run));
    out
}

/// Where bitmag is behind, the worst first; a sentence where it is not.
pub fn losses(run: &Run) -> String {
    let losses = figures::losses(run, SUBJECT);
    if losses.is_empty() {
        return format!("No workload of this run is lost by {SUBJECT} to another allocator.\n\n");
    }
    let mut out = format!("{SUBJECT} is behind the best of the others here:\n\n");
    for (workload, other, spread) in losses {
        let name = text(&workload.name);
        let _ = writeln!(out, "- {name}: {} x {}", ratio(spread.median), text(other));
    }
    out.push('\n');
    out
}

fn sweeps(run: &Run, out: &mut String) {
    for sweep in &run.sweeps {
        let _ = writeln!(out, "## {}\n\n{}\n", text(&sweep.name), text(&sweep.what));
        table(out, &super::sweeps::table(sweep, |point| point.ns, "ns"));
        out.push('\n');
        if super::sweeps::has_memory(sweep) {
            let of = |point: &crate::result::Point| point.resident_per_live;
            table(out, &super::sweeps::table(sweep, of, "resident bytes per live byte"));
            out.push('\n');
        }
    }
}

pub fn allocators(run: &Run) -> Table {
    let row = |each: &crate::result::Allocator| {
        let proof = match &each.not_built {
            Some(why) => format!("not built: {why}"),
            None => each.proof.clone(),
        };
        vec![each.name.clone(), each.version.clone(), proof]
    };
    Table {
        header: ["allocator", "version", "proof"].map(String::from).into(),
        rows: run.allocators.iter().map(row).collect(),
    }
}

/// The first column to the left, figures to the right.
pub fn table(out: &mut String, table: &Table) {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| text(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    out.push_str(&line(&table.header));
    out.push_str("|---|");
    out.push_str(&"---:|".repeat(table.header.len() - 1));
    out.push('\n');
    for row in &table.rows {
        out.push_str(&line(row));
    }
}

/// Text that cannot end a cell, open a tag or begin a line.
pub fn text(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::sample;

    /// Bars that end a cell.
    fn bars(line: &str) -> usize {
        line.replace("\\|", "").matches('|').count()
    }

    #[test]
    fn rows_have_as_many_cells_as_their_header() {
        let report = render(&sample::run());
        let lines: Vec<_> = report.lines().collect();
        let mut rows = 0;
        for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| line.starts_with('|'))) {
            assert_eq!(bars(pair[0]), bars(pair[1]), "{pair:?}");
            rows += 1;
        }
        assert!(rows > 250, "{rows}");
    }

    #[test]
    fn every_measure_every_failure_and_every_proof_is_there() {
        let run = sample::run();
        let report = render(&run);
        for word in [
            "final MiB",
            "faults",
            "instructions",
            "system calls",
            "p99.999",
            "resident bytes per live byte",
        ] {
            assert!(report.contains(word), "{word}");
        }
        assert!(report.contains("failed: ended by signal 11 \\| in round 3"));
        assert!(report.contains("failed: the proof named &lt;another> allocator"));
        assert!(report.contains("not built: needs a nightly compiler"));
        for allocator in &run.allocators {
            assert!(report.contains(&allocator.proof), "{}", allocator.name);
        }
    }

    #[test]
    fn measures_that_nobody_has_leave_no_column() {
        let mut run = sample::run();
        for cell in run.workloads.iter_mut().flat_map(|workload| &mut workload.cells) {
            cell.instructions_per_operation = None;
            cell.runs.iter_mut().for_each(|sample| sample.final_kib = 0);
        }
        let report = render(&run);
        assert!(!report.contains("instructions") && !report.contains("final MiB"));
        assert!(report.contains("system calls"));
    }

    #[test]
    fn losses_are_named_and_their_absence_is_said() {
        let mut run = sample::run();
        let all = figures::losses(&run, SUBJECT).len();
        assert!(all > 0);
        assert_eq!(losses(&run).matches("\n- ").count(), all);
        run.workloads.iter_mut().for_each(|workload| workload.cells.truncate(1));
        assert!(losses(&run).contains("No workload"));
    }
}
