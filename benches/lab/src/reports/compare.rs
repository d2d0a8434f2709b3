//! A run against an older one. The two were made at different times, so there are no rounds to pair: a ratio is that of the medians, its
//! spread is as wide as the two spreads together allow, and a ratio whose spread has 1 inside is a tie.

use super::figures::{self, Outcome, SUBJECT, Spread};
use super::numbers::{mib, number, ratio};
use super::tables::{self, ratio_cell};
use crate::result::{Run, Sample};
use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use std::fmt::Write;

/// One workload under one allocator in both runs, new by old: below 1 is better.
pub struct Change<'a> {
    pub workload: &'a str,
    pub allocator: &'a str,
    pub ns: [f64; 2],
    pub time: Spread,
    pub peak: Option<(f64, f64)>,
}

/// In the order of the new run.
pub fn changes<'a>(old: &'a Run, new: &'a Run) -> Vec<Change<'a>> {
    let mut changes = Vec::new();
    for workload in &new.workloads {
        let Some(before) = old.workloads.iter().find(|each| each.name == workload.name) else {
            continue;
        };
        for cell in &workload.cells {
            let cells = figures::cell(before, &cell.allocator)
                .zip(figures::cell(workload, &cell.allocator));
            let Some((old, new)) = cells else { continue };
            let both =
                |of: fn(&Sample) -> f64| figures::spread(old, of).zip(figures::spread(new, of));
            let Some((a, b)) = both(figures::time) else { continue };
            changes.push(Change {
                workload: &workload.name,
                allocator: &cell.allocator,
                ns: [a.median, b.median],
                time: by(b, a),
                peak: both(figures::peak).map(|(old, new)| (old.median, new.median)),
            });
        }
    }
    changes
}

fn by(new: Spread, old: Spread) -> Spread {
    Spread {
        low: new.low / old.high,
        median: new.median / old.median,
        high: new.high / old.low,
        count: new.count.min(old.count),
    }
}

/// The comparison as text.
pub fn compare(old: &Run, new: &Run) -> String {
    let changes = changes(old, new);
    let mut out =
        format!("{} of {} against {} of {}\n", new.command, new.date, old.command, old.date);
    if tables::machine(old) != tables::machine(new) {
        out.push_str("the machines, systems or compilers differ: the ratios say little\n");
    }
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "workload",
        "allocator",
        "old ns",
        "new ns",
        "new/old",
        "spread",
        "peak MiB",
    ]);
    for change in &changes {
        let peak = change.peak.map_or(String::new(), |(a, b)| format!("{} -> {}", mib(a), mib(b)));
        table.add_row([
            change.workload.to_string(),
            change.allocator.to_string(),
            number(change.ns[0]),
            number(change.ns[1]),
            ratio_cell(change.time),
            format!("{}..{}", ratio(change.time.low), ratio(change.time.high)),
            peak,
        ]);
    }
    let _ = writeln!(out, "{table}\n");
    let mut allocators: Vec<_> = changes.iter().map(|change| change.allocator).collect();
    let mut seen = std::collections::HashSet::new();
    allocators.retain(|name| seen.insert(*name));
    for allocator in allocators {
        let of = || changes.iter().filter(|change| change.allocator == allocator);
        let count = |outcome| of().filter(|change| change.time.outcome() == outcome).count();
        let _ = writeln!(
            out,
            "{allocator}: {} faster, {} ties, {} slower; geometric mean {}",
            count(Outcome::Win),
            count(Outcome::Tie),
            count(Outcome::Loss),
            figures::geometric(of().map(|change| change.time.median)).map_or("–".into(), ratio),
        );
    }
    for (label, here, there) in
        [("only in the old run", old, new), ("only in the new run", new, old)]
    {
        for name in missing(here, there) {
            let _ = writeln!(out, "{label}: {name}");
        }
    }
    out
}

/// What has figures here and none there.
fn missing(here: &Run, there: &Run) -> Vec<String> {
    let mut names = Vec::new();
    for workload in &here.workloads {
        let other = there.workloads.iter().find(|each| each.name == workload.name);
        for cell in &workload.cells {
            let has = |workload| figures::cell(workload, &cell.allocator).is_some();
            if has(workload) && !other.is_some_and(has) {
                names.push(format!("{}, {}", workload.name, cell.allocator));
            }
        }
    }
    names
}

/// An error if bitmag became slower anywhere by more than so many percent and by more than the noise. What happened to the others is a
/// matter of the machine. An error too if there is nothing to compare, so that a renamed workload does not pass for a good one.
pub fn fail_above(old: &Run, new: &Run, percent: f64) -> Result<()> {
    let changes = changes(old, new);
    let of_subject = || changes.iter().filter(|change| change.allocator == SUBJECT);
    if of_subject().next().is_none() {
        bail!("the two runs have no workload of {SUBJECT} in common");
    }
    let slower = |change: &&Change| {
        change.time.outcome() == Outcome::Loss && change.time.median > 1.0 + percent / 100.0
    };
    let slower: Vec<_> = of_subject()
        .filter(slower)
        .map(|change| format!("{} {}", change.workload, ratio(change.time.median)))
        .collect();
    if !slower.is_empty() {
        bail!("slower by more than {percent}%: {}", slower.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::sample;

    /// All times of one cell multiplied.
    fn slowed(run: &Run, allocator: &str, by: f64) -> Run {
        let mut run = run.clone();
        let cell = run.workloads[0].cells.iter_mut().find(|cell| cell.allocator == allocator);
        cell.unwrap().runs.iter_mut().for_each(|sample| sample.ns *= by);
        run
    }

    #[test]
    fn a_run_ties_with_itself() {
        let run = sample::run();
        let changes = changes(&run, &run);
        assert!(changes.len() > 100);
        assert!(changes.iter().all(|change| change.time.outcome() == Outcome::Tie));
        assert!(fail_above(&run, &run, 0.0).is_ok());
        assert!(!compare(&run, &run).contains("only in"));
    }

    #[test]
    fn a_slower_subject_fails_and_a_slower_peer_does_not() {
        let run = sample::run();
        let slow = slowed(&run, SUBJECT, 1.5);
        let message = fail_above(&run, &slow, 10.0).unwrap_err().to_string();
        assert!(message.contains(&run.workloads[0].name) && message.contains("1.50"), "{message}");
        assert!(fail_above(&run, &slow, 60.0).is_ok());
        assert!(fail_above(&slow, &run, 0.0).is_ok());
        assert!(fail_above(&run, &slowed(&run, "glibc", 1.5), 0.0).is_ok());
        assert!(compare(&run, &slow).contains("bitmag: 0 faster"));
    }

    #[test]
    fn what_only_one_run_has_is_named() {
        let run = sample::run();
        let mut less = run.clone();
        let gone = less.workloads.remove(0);
        assert!(
            compare(&run, &less).contains(&format!("only in the old run: {}, bitmag", gone.name))
        );
        assert!(
            compare(&less, &run).contains(&format!("only in the new run: {}, bitmag", gone.name))
        );
        assert!(fail_above(&Run::default(), &run, 5.0).is_err());
        let mut elsewhere = run.clone();
        elsewhere.machine.kernel.push('x');
        assert!(compare(&run, &elsewhere).contains("differ"));
    }
}
