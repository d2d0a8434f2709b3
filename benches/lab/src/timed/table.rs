//! What the terminal shows: time, then memory, one line for each workload.

use crate::result::{Cell, Latency, Run, Sample, Workload};
use crate::statistics::{Ratio, geometric_mean, median, spread};
use comfy_table::{CellAlignment, Table, presets};

/// A figure of a run that is compared.
type Measure = fn(&Sample) -> f64;

/// Where the latencies of one kind of call are, and one of their figures.
type Kind = fn(&Cell) -> Option<Latency>;
type Percentile = fn(&Latency) -> f64;

/// All tables, and below them what is missing.
pub fn print(run: &Run) {
    let time: Measure = |sample| sample.ns;
    let processor: Measure = |sample| 1e3 * (sample.user + sample.system);
    let peak: Measure = |sample| sample.peak_kib as f64 / 1024.0;
    let stays: Measure =
        |sample| (sample.final_kib as f64 - sample.start_kib as f64).max(64.0) / 1024.0;
    let all: Vec<_> = run.workloads.iter().collect();
    let memory: Vec<_> = all.iter().copied().filter(|work| work.group == "memory").collect();
    compare(run, "time per operation", &all, time, duration);
    compare(run, "processor time of the process, ms", &all, processor, |ms| format!("{ms:.0}"));
    compare(run, "peak resident, MiB", &all, peak, |mib| format!("{mib:.1}"));
    compare(run, "resident at the end above the start, MiB", &memory, stays, |mib| {
        format!("{mib:.1}")
    });
    latencies(run);
    for sweep in &run.sweeps {
        let mut table = new_table(run, &format!("{}: ns by {}", sweep.name, sweep.x));
        let first = sweep.curves.first().map(|curve| &*curve.points).unwrap_or_default();
        for (index, point) in first.iter().enumerate() {
            let of = |curve: &crate::result::Curve| {
                curve.points.get(index).map_or("-".into(), |point| match point.resident_per_live {
                    0.0 => duration(point.ns),
                    share => format!("{}, resident {share:.2}", duration(point.ns)),
                })
            };
            table.add_row([point.x.to_string()].into_iter().chain(sweep.curves.iter().map(of)));
        }
        println!("{table}\n");
    }
    println!(
        "Median of the rounds ± half of what the middle half of them spans; then the ratio to the best of the line, from runs of the same \
         round. A difference within the noise of those ratios, or within 3%, is a tie."
    );
    if let Some(share) = lost(run).filter(|share| *share > 0.1) {
        println!(
            "This machine was busy: loads of one thread had a processor for {:.0}% of their time. Trust processor time more than time.",
            100.0 * (1.0 - share)
        );
    }
    for allocator in &run.allocators {
        match &allocator.not_built {
            Some(why) => println!("{}: {}: not built: {why}", allocator.name, allocator.version),
            None => println!("{}: {}; {}", allocator.name, allocator.version, allocator.proof),
        }
    }
    for workload in &run.workloads {
        for cell in &workload.cells {
            if let Some(why) = &cell.failed {
                println!("failed: {}, {}: {why}", cell.allocator, workload.name);
            }
        }
    }
}

/// How much of the time of loads of one thread they spent without a processor.
fn lost(run: &Run) -> Option<f64> {
    let single = run.workloads.iter().filter(|work| work.group == "single");
    let runs: Vec<_> = single.flat_map(|work| &work.cells).flat_map(|cell| &cell.runs).collect();
    let wall: f64 = runs.iter().map(|run| run.wall).sum();
    let used: f64 = runs.iter().map(|run| run.user + run.system).sum();
    (wall > 0.0).then(|| 1.0 - used / wall)
}

fn new_table(run: &Run, title: &str) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let built = run.allocators.iter().filter(|allocator| allocator.not_built.is_none());
    let names = built.map(|allocator| allocator.name.clone());
    table.set_header([title.to_string()].into_iter().chain(names));
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    table
}

/// (round, value) of every run of a cell.
fn values(cell: &Cell, measure: Measure) -> Vec<(u32, f64)> {
    cell.runs.iter().map(|run| (run.round, measure(run))).collect()
}

fn middle(values: &[(u32, f64)]) -> (f64, f64) {
    let values: Vec<_> = values.iter().map(|value| value.1).collect();
    (median(&values), spread(&values))
}

/// One measure over workloads: the figure, its spread, the ratio to the best of the line; geometric means of the ratios at the bottom.
fn compare(
    run: &Run,
    title: &str,
    works: &[&Workload],
    measure: Measure,
    show: impl Fn(f64) -> String,
) {
    if works.is_empty() {
        return;
    }
    let mut table = new_table(run, title);
    let columns = run.allocators.iter().filter(|allocator| allocator.not_built.is_none()).count();
    let mut ratios = vec![Vec::new(); columns];
    for work in works {
        let samples: Vec<_> = work.cells.iter().map(|cell| values(cell, measure)).collect();
        let whole = samples.iter().filter(|samples| !samples.is_empty());
        let Some(best) = whole.min_by(|one, other| middle(one).0.total_cmp(&middle(other).0))
        else {
            continue;
        };
        let mut line = vec![format!("{} ({})", work.name, work.unit)];
        for (column, (cell, samples)) in work.cells.iter().zip(&samples).enumerate() {
            let ratio = Ratio::paired(samples, best).filter(|_| cell.failed.is_none());
            line.push(ratio.map_or("failed".into(), |ratio| {
                ratios[column].push(ratio.value);
                let (middle, spread) = middle(samples);
                let place = match ratio {
                    _ if std::ptr::eq(samples, best) => "best".into(),
                    ratio if ratio.is_tie() => "tie".into(),
                    ratio => format!("{:.2}x", ratio.value),
                };
                format!("{} ±{:.0}% {place:>5}", show(middle), 100.0 * spread)
            }));
        }
        table.add_row(line);
    }
    let means = ratios.iter().map(|ratios| match geometric_mean(ratios) {
        _ if ratios.len() < works.len() => "-".into(),
        mean => format!("{mean:.2}x"),
    });
    table.add_row(["geometric mean of the ratios".to_string()].into_iter().chain(means));
    println!("{table}\n");
}

/// Percentiles, where calls were timed one by one.
fn latencies(run: &Run) {
    for workload in &run.workloads {
        let kinds: [(&str, Kind); 2] =
            [("malloc", |cell| cell.malloc_latency), ("free", |cell| cell.free_latency)];
        for (kind, of) in kinds {
            let found: Vec<_> = workload.cells.iter().map(of).collect();
            if found.iter().all(Option::is_none) {
                continue;
            }
            let mut table = new_table(run, &format!("{}: {kind}, ns", workload.name));
            let rows: [(&str, Percentile); 8] = [
                ("mean", |latency| latency.mean),
                ("p50", |latency| latency.p50 as f64),
                ("p90", |latency| latency.p90 as f64),
                ("p99", |latency| latency.p99 as f64),
                ("p99.9", |latency| latency.p99_9 as f64),
                ("p99.99", |latency| latency.p99_99 as f64),
                ("p99.999", |latency| latency.p99_999 as f64),
                ("max", |latency| latency.max as f64),
            ];
            for (name, figure) in rows {
                let cells = found.iter().map(|latency| match latency {
                    Some(latency) => format!("{:.0}", figure(latency)),
                    None => "-".into(),
                });
                table.add_row([name.to_string()].into_iter().chain(cells));
            }
            println!("{table}\n");
        }
    }
}

/// Nanoseconds, in a unit that fits.
fn duration(ns: f64) -> String {
    match ns {
        ns if ns < 100.0 => format!("{ns:.1} ns"),
        ns if ns < 10_000.0 => format!("{ns:.0} ns"),
        ns if ns < 1e7 => format!("{:.1} us", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}
