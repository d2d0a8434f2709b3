//! The table at the end. Every figure is the median of its side's runs, with the lowest and the
//! highest beside it: one run that the machine disturbed changes the range, not the figure. The
//! last rows are the proof of which allocator served the runs.

use comfy_table::{CellAlignment, Table, presets};

use super::comparison::{Comparison, Run};

const MIB: f64 = (1 << 20) as f64;

/// One row: its name, and what it takes from a run.
struct Row {
    name: &'static str,
    decimals: usize,
    of: fn(&Run) -> f64,
    /// Whether a ratio of the two sides says anything.
    ratio: bool,
}

const fn row(name: &'static str, decimals: usize, of: fn(&Run) -> f64) -> Row {
    Row { name, decimals, of, ratio: true }
}

const fn proof(name: &'static str, decimals: usize, of: fn(&Run) -> f64) -> Row {
    Row { name, decimals, of, ratio: false }
}

fn microseconds(run: &Run, quantile: f64) -> f64 {
    run.latencies.value_at_quantile(quantile) as f64 / 1e3
}

const ROWS: [Row; 11] = [
    row("throughput, requests/s", 0, |run| run.throughput),
    row("server CPU, us per request", 2, |run| run.cost * 1e6),
    row("latency p50, us", 0, |run| microseconds(run, 0.5)),
    row("latency p99, us", 0, |run| microseconds(run, 0.99)),
    row("latency p99.9, us", 0, |run| microseconds(run, 0.999)),
    row("latency p99.99, us", 0, |run| microseconds(run, 0.9999)),
    row("latency max, us", 0, |run| run.latencies.max() as f64 / 1e3),
    row("resident at peak, MiB", 1, |run| run.full.peak.max(run.drained.peak) as f64 / MIB),
    row("resident after the drain, MiB", 1, |run| run.drained.current as f64 / MIB),
    proof("proof: blocks refilled by bitmag", 0, |run| run.proof.refilled_blocks as f64),
    proof("proof: in use in libc's heap, MiB", 1, |run| run.proof.libc_in_use as f64 / MIB),
];

/// Writes the table to the standard output.
pub fn print(comparison: &Comparison) {
    let Comparison { bitmag, system, rate } = comparison;
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["median (lowest - highest)", "bitmag", "system", "bitmag / system"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in &ROWS {
        let (left, right) = (Figures::of(bitmag, row), Figures::of(system, row));
        let ratio =
            if row.ratio { format!("{:.3}", left.median / right.median) } else { String::new() };
        table.add_row([
            row.name.to_owned(),
            left.show(row.decimals),
            right.show(row.decimals),
            ratio,
        ]);
    }
    println!("{table}");
    if let Some(run) = bitmag.first() {
        println!(
            "{} runs of each, {} keys with {:.0} MiB of values when full; throughput at full \
             speed, latencies at {:.0} requests/s; every answer was checked.",
            bitmag.len(),
            group(&format!("{}", run.live.keys)),
            run.live.bytes as f64 / MIB,
            rate
        );
    }
}

/// One row of one side.
struct Figures {
    median: f64,
    lowest: f64,
    highest: f64,
}

impl Figures {
    fn of(runs: &[Run], row: &Row) -> Self {
        let mut values: Vec<f64> = runs.iter().map(row.of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        Self { median, lowest: end(values.first()), highest: end(values.last()) }
    }

    fn show(&self, decimals: usize) -> String {
        let number = |value: f64| group(&format!("{value:.decimals$}"));
        if self.lowest == self.highest {
            return number(self.median);
        }
        format!("{} ({} - {})", number(self.median), number(self.lowest), number(self.highest))
    }
}

/// Puts commas between thousands.
fn group(number: &str) -> String {
    let (whole, rest) =
        number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.into_iter().for_each(|rest| grouped.extend([".", rest]));
    grouped
}
