//! The README's section of times and memory, from the JSON of a run and between two marks, so that no figure in it is typed by hand.

use super::figures::{self, Outcome, SUBJECT, Spread};
use super::markdown::{losses, table, text};
use super::numbers::{mib, number, ratio};
use super::tables::{self, Table};
use crate::result::{Cell, Run, Workload};
use anyhow::{Result, ensure};
use std::fmt::Write;

const BEGIN: &str = "<!-- lab: begin -->";
const END: &str = "<!-- lab: end -->";

/// The page with this run's figures between the marks.
pub fn rewrite(page: &str, run: &Run) -> Result<String> {
    ensure!(page.matches(BEGIN).count() == 1, "the page needs one line {BEGIN}");
    ensure!(page.matches(END).count() == 1, "the page needs one line {END}");
    let (before, rest) = page.split_once(BEGIN).expect("it is there");
    let after = rest.split_once(END);
    ensure!(after.is_some(), "{END} has to stand behind {BEGIN}");
    let (_, after) = after.expect("checked");
    Ok(format!("{before}{BEGIN}\n{}{END}{after}", section(run)))
}

fn section(run: &Run) -> String {
    let mut out = format!(
        "Run `{}` of {}, {}: {}. ",
        text(&run.command),
        text(&run.date),
        tables::rounds(run),
        text(&tables::machine(run))
    );
    let versions = run.allocators.iter().filter(|each| each.not_built.is_none());
    let versions: Vec<_> =
        versions.map(|each| format!("{} {}", text(&each.name), text(&each.version))).collect();
    let _ = writeln!(out, "{}.\n", versions.join(", "));
    for each in &run.allocators {
        if let Some(why) = &each.not_built {
            let _ = writeln!(out, "Not built: {} ({}).\n", text(&each.name), text(why));
        }
    }
    table(&mut out, &tables::standings(run));
    let _ = writeln!(out, "\n{}\n", text(&tables::standings_note(run)));
    out.push_str(&losses(run));
    let _ = writeln!(
        out,
        "Nanoseconds for each operation, medians; then {SUBJECT}'s ratio to the best of the others in runs of the same round. The best of \
         a row is bold.\n"
    );
    table(&mut out, &times(run));
    out.push_str(&failures(run));
    out.push_str("\nPeak resident memory, MiB, medians; the least of a row is bold.\n\n");
    table(&mut out, &peaks(run));
    out.push('\n');
    for workload in &run.workloads {
        for kind in tables::KINDS {
            if let Some(percentiles) = tables::latency(workload, kind) {
                let _ = writeln!(out, "Latency in {}:\n", text(&workload.name));
                table(&mut out, &percentiles);
                out.push('\n');
            }
        }
    }
    out
}

/// Why a figure is missing, each in a line.
fn failures(run: &Run) -> String {
    let mut out = String::new();
    for workload in &run.workloads {
        for cell in &workload.cells {
            if let Some(why) = &cell.failed {
                let [name, allocator, why] =
                    [&workload.name, &cell.allocator, why].map(|t| text(t));
                let _ = writeln!(out, "- no figure of {allocator} in {name}: {why}");
            }
        }
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}

fn times(run: &Run) -> Table {
    rows(
        run,
        "ns",
        |cell| figures::spread(cell, figures::time),
        number,
        |workload| {
            let Some((other, spread)) = figures::against_best(workload, SUBJECT) else {
                return "–".into();
            };
            let word = match spread.outcome() {
                Outcome::Win => "ahead of",
                Outcome::Tie => "tie with",
                Outcome::Loss => "behind",
            };
            format!("{}, {word} {other}", ratio(spread.median))
        },
    )
}

fn peaks(run: &Run) -> Table {
    let mut peaks = rows(run, "MiB", |c| figures::spread(c, figures::peak), mib, |_| String::new());
    peaks.header.pop();
    peaks.rows.iter_mut().for_each(|row| drop(row.pop()));
    peaks
}

/// A row for each workload in the order of the groups, a column for each allocator, and one more.
fn rows(
    run: &Run,
    heading: &str,
    of: fn(&Cell) -> Option<Spread>,
    write: fn(f64) -> String,
    last: fn(&Workload) -> String,
) -> Table {
    let names = figures::taking_part(run);
    let row = |workload: &Workload| {
        let figure = |name: &&str| figures::cell(workload, name).and_then(of).map(|s| s.median);
        let figures: Vec<_> = names.iter().map(figure).collect();
        let least = figures.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let cell = |figure: &Option<f64>| match figure {
            Some(figure) if *figure == least => format!("**{}**", write(*figure)),
            Some(figure) => write(*figure),
            None => "–".into(),
        };
        let mut row = vec![workload.name.clone()];
        row.extend(figures.iter().map(cell));
        row.push(last(workload));
        row
    };
    let workloads = tables::groups(run).into_iter().flat_map(|(_, workloads)| workloads);
    let mut header = vec![heading.to_string()];
    header.extend(names.iter().map(|name| name.to_string()));
    header.push(format!("{SUBJECT} against the best"));
    Table { header, rows: workloads.map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::{self, sample};

    #[test]
    fn the_section_has_every_workload_and_every_loss() {
        let run = sample::run();
        let page = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let new = rewrite(&page, &run).unwrap();
        assert!(new.starts_with("above\n") && new.ends_with("\nbelow\n") && !new.contains("old\n"));
        for workload in &run.workloads {
            assert!(new.matches(&text(&workload.name)).count() >= 2, "{}", workload.name);
        }
        let losses = figures::losses(&run, SUBJECT);
        assert!(!losses.is_empty());
        for (workload, other, _) in losses {
            assert!(new.contains(&format!("- {}: ", text(&workload.name))) && new.contains(other));
        }
        assert!(new.contains("- no figure of rpmalloc in larson: ended by signal 11"));
        assert_eq!(rewrite(&new, &run).unwrap(), new);
    }

    #[test]
    fn a_page_without_both_marks_is_refused() {
        for page in ["", BEGIN, END, &format!("{END}{BEGIN}"), &format!("{BEGIN}{BEGIN}{END}")] {
            assert!(rewrite(page, &Run::default()).is_err(), "{page}");
        }
    }

    #[test]
    fn the_readme_says_what_the_committed_run_says() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let page = std::fs::read_to_string(root.join("README.md")).unwrap();
        let json = root.join("benches/lab/results/full.json");
        if json.exists() {
            let run = reports::read(&json).unwrap();
            assert!(
                rewrite(&page, &run).unwrap() == page,
                "run: bitmag-lab readme {}",
                json.display()
            );
        } else {
            let placeholder = format!("{BEGIN}\nNo full run recorded yet.\n{END}");
            assert!(page.contains(&placeholder), "there is no {}", json.display());
        }
    }
}
