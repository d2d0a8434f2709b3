//! The tables on the terminal.

use crate::result::{Cell, Sample, Workload};
use crate::statistics::{geometric_mean, median};
use comfy_table::{Table, presets};

/// The median of a figure over a cell's runs.
fn middle(cell: &Cell, figure: impl Fn(&Sample) -> f64) -> f64 {
    median(&cell.runs.iter().map(figure).collect::<Vec<_>>())
}

/// The median of the ratios between runs of one round.
fn ratio(cell: &Cell, base: &Cell, figure: impl Fn(&Sample) -> f64) -> f64 {
    let of = |run: &Sample| {
        let other = base.runs.iter().find(|other| other.round == run.round)?;
        Some(figure(run) / figure(other))
    };
    median(&cell.runs.iter().filter_map(of).collect::<Vec<_>>())
}

/// One workload: a line for each allocator, ratios to glibc.
pub fn print(workload: &Workload) {
    println!("\n{}: {}", workload.name, workload.what);
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "allocator",
        "wall ms",
        "to glibc",
        "user+sys ms",
        "to glibc",
        "faults",
        "peak KiB",
        "to glibc",
    ]);
    let base = workload.cells.iter().find(|cell| cell.allocator == "glibc");
    for cell in &workload.cells {
        if let Some(why) = &cell.failed {
            println!("{}: {why}", cell.allocator);
            continue;
        }
        let to = |figure: fn(&Sample) -> f64| {
            base.map_or_else(String::new, |base| format!("{:.3}", ratio(cell, base, figure)))
        };
        table.add_row([
            cell.allocator.clone(),
            format!("{:.2}", middle(cell, |run| run.wall * 1e3)),
            to(|run| run.wall),
            format!("{:.2}", middle(cell, |run| (run.user + run.system) * 1e3)),
            to(|run| run.user + run.system),
            format!("{:.0}", middle(cell, |run| run.minor_faults as f64)),
            format!("{:.0}", middle(cell, |run| run.peak_kib as f64)),
            to(|run| run.peak_kib as f64),
        ]);
    }
    println!("{table}");
}

/// Geometric means over the programs of the ratios to glibc.
pub fn print_means(workloads: &[Workload]) {
    let Some(first) = workloads.first() else { return };
    println!("\ngeometric means over {} programs, to glibc", workloads.len());
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["allocator", "wall", "user+sys", "peak"]);
    for name in first.cells.iter().map(|cell| &cell.allocator) {
        let mean = |figure: fn(&Sample) -> f64| {
            let ratios: Vec<f64> = workloads
                .iter()
                .filter_map(|workload| {
                    let of = |name: &str| workload.cells.iter().find(|cell| cell.allocator == name);
                    Some(ratio(of(name)?, of("glibc")?, figure))
                })
                .filter(|ratio| ratio.is_finite() && *ratio > 0.0)
                .collect();
            format!("{:.3}", geometric_mean(&ratios))
        };
        let (wall, processor) = (mean(|run| run.wall), mean(|run| run.user + run.system));
        table.add_row([name.clone(), wall, processor, mean(|run| run.peak_kib as f64)]);
    }
    println!("{table}");
}
