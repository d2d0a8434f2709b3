//! The tables that Markdown and HTML share, as text: one for each workload, one of standings, one of percentiles.

use super::figures::{self, Outcome, Spread};
use super::numbers::{mib, number, ratio, whole};
use crate::result::{Cell, Latency, Run, Workload};

/// Cells as text, not yet escaped.
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The order in which the groups are told; groups that it does not know come last.
const GROUPS: &[(&str, &str)] = &[
    ("single", "One thread"),
    ("threads", "Threads"),
    ("large", "Large blocks"),
    ("latency", "Latency"),
    ("memory", "Memory over time"),
    ("replay", "Traces of real programs"),
    ("programs", "Real programs"),
];

/// The groups that have workloads, each with its heading.
pub fn groups(run: &Run) -> Vec<(&str, Vec<&Workload>)> {
    let known = |group: &str| GROUPS.iter().position(|(name, _)| *name == group);
    let mut names: Vec<&str> = Vec::new();
    for workload in &run.workloads {
        if !names.contains(&workload.group.as_str()) {
            names.push(&workload.group);
        }
    }
    names.sort_by_key(|name| known(name).unwrap_or(GROUPS.len()));
    let of = |name| run.workloads.iter().filter(move |each| each.group == name).collect();
    names.iter().map(|name| (known(name).map_or(*name, |at| GROUPS[at].1), of(*name))).collect()
}

/// Everything about a workload but its percentiles. Measures that no allocator has leave no column.
pub fn workload(workload: &Workload) -> Table {
    let best = figures::best(workload, None);
    let mut table = Table {
        header: [
            "allocator",
            &format!("ns/{}", workload.unit),
            "spread",
            "ratio",
            "peak MiB",
            "final MiB",
            "faults",
            "instructions",
            "system calls",
        ]
        .map(String::from)
        .into(),
        rows: workload.cells.iter().map(|cell| row(cell, best)).collect(),
    };
    for column in (1..table.header.len()).rev() {
        if table.rows.iter().all(|row| row[column].is_empty()) {
            table.header.remove(column);
            table.rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
    }
    table
}

fn row(cell: &Cell, best: Option<&Cell>) -> Vec<String> {
    let mut row = vec![String::new(); 9];
    row[0] = cell.allocator.clone();
    if let Some(why) = &cell.failed {
        row[1] = format!("failed: {why}");
        return row;
    }
    let write = |spread: Option<Spread>, how: fn(f64) -> String| {
        spread.map_or(String::new(), |spread| how(spread.median))
    };
    let time = figures::spread(cell, figures::time);
    row[1] = write(time, number);
    row[2] = time.map_or(String::new(), |s| format!("{}..{}", number(s.low), number(s.high)));
    row[3] = match best {
        Some(best) if best.allocator == cell.allocator => "best".into(),
        Some(best) => figures::paired(cell, best, figures::time).map_or(String::new(), ratio_cell),
        None => String::new(),
    };
    row[4] = write(figures::spread(cell, figures::peak), mib);
    row[5] = write(figures::spread(cell, figures::settled), mib);
    let faults = Spread::of(cell.runs.iter().map(|sample| sample.minor_faults as f64));
    row[6] = faults.map_or(String::new(), |faults| whole(faults.median.round() as u64));
    row[7] = cell.instructions_per_operation.map_or(String::new(), number);
    row[8] = cell.system_calls.map_or(String::new(), whole);
    row
}

/// The ratio, and whether it is none.
pub fn ratio_cell(spread: Spread) -> String {
    match spread.outcome() {
        Outcome::Tie => format!("{} tie", ratio(spread.median)),
        _ => ratio(spread.median),
    }
}

/// One kind of call.
pub type Kind = (&'static str, fn(&Cell) -> Option<&Latency>);
pub const KINDS: [Kind; 2] =
    [("malloc", |cell| cell.malloc_latency.as_ref()), ("free", |cell| cell.free_latency.as_ref())];

/// None if no allocator has percentiles of this kind.
pub fn latency(workload: &Workload, (name, of): Kind) -> Option<Table> {
    let row = |cell: &Cell| {
        let l = of(cell).filter(|_| cell.failed.is_none())?;
        let percentiles = [l.p50, l.p90, l.p99, l.p99_9, l.p99_99, l.p99_999, l.max].map(whole);
        let mut row = vec![cell.allocator.clone(), whole(l.calls), number(l.mean)];
        row.extend(percentiles);
        Some(row)
    };
    let rows: Vec<_> = workload.cells.iter().filter_map(row).collect();
    let header = [&format!("{name}, ns"), "calls", "mean", "p50", "p90", "p99", "p99.9", "p99.99"];
    let header = header.into_iter().chain(["p99.999", "max"]).map(String::from).collect();
    (!rows.is_empty()).then_some(Table { header, rows })
}

/// All allocators over all workloads, the fastest first.
pub fn standings(run: &Run) -> Table {
    let mut standings = figures::standings(run);
    let by_time = |each: &figures::Standing| each.time.unwrap_or(f64::INFINITY);
    standings.sort_by(|a, b| by_time(a).total_cmp(&by_time(b)));
    let header = ["allocator", "time", "peak resident", "wins", "ties", "losses"];
    let mean = |mean: Option<f64>| mean.map_or("–".into(), ratio);
    let row = |s: &figures::Standing| {
        let counts = [s.wins, s.ties, s.losses].map(|count| count.to_string());
        let mut row = vec![s.allocator.to_string(), mean(s.time), mean(s.peak)];
        row.extend(counts);
        row
    };
    Table { header: header.map(String::from).into(), rows: standings.iter().map(row).collect() }
}

/// What the table of standings shows, in a sentence.
pub fn standings_note(run: &Run) -> String {
    format!(
        "Geometric means of the ratios to {} over the {} of {} workloads that all allocators have figures for; lower is better. Wins, ties \
         and losses are against the best of the others in each workload that the allocator has figures for; {}.",
        figures::reference(run).unwrap_or("nothing"),
        figures::common(run).len(),
        run.workloads.len(),
        figures::TIE_RULE,
    )
}

/// Where it ran, in a line.
pub fn machine(run: &Run) -> String {
    let m = &run.machine;
    format!(
        "{}, {} processors, {} MiB, Linux {}, {}, {}, huge pages {}",
        m.processor,
        m.processors,
        whole(m.memory_mib),
        m.kernel,
        m.libc,
        m.rustc,
        m.huge_pages
    )
}

/// The fewest and the most rounds of any cell.
pub fn rounds(run: &Run) -> String {
    let cells = run.workloads.iter().flat_map(|workload| &workload.cells);
    let counts: Vec<_> =
        cells.filter(|cell| cell.failed.is_none()).map(|cell| cell.runs.len()).collect();
    match (counts.iter().min(), counts.iter().max()) {
        (Some(1), Some(1)) => "one round".into(),
        (Some(least), Some(most)) if least == most => format!("{least} rounds"),
        (Some(least), Some(most)) => format!("{least} to {most} rounds"),
        _ => "no rounds".into(),
    }
}
