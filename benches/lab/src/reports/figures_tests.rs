//! Hand-made runs with figures that can be worked out on paper.

use super::*;
use crate::result::Allocator;

fn cell_of(allocator: &str, ns: &[f64]) -> Cell {
    let run = |(round, &ns): (usize, &f64)| Sample {
        round: round as u32,
        ns,
        peak_kib: 1024 * (1 + round as u64),
        ..Sample::default()
    };
    Cell {
        allocator: allocator.into(),
        runs: ns.iter().enumerate().map(run).collect(),
        ..Cell::default()
    }
}

/// An allocator and its times, round by round.
type Times<'a> = (&'a str, &'a [f64]);

fn run_of(workloads: &[(&str, &[Times])]) -> Run {
    let workload = |(name, cells): &(&str, &[Times])| Workload {
        name: name.to_string(),
        cells: cells.iter().map(|(allocator, ns)| cell_of(allocator, ns)).collect(),
        ..Workload::default()
    };
    let allocator = |name: &str| Allocator { name: name.into(), ..Allocator::default() };
    Run {
        allocators: ["other", "bitmag", "third", "absent"].map(allocator).into(),
        workloads: workloads.iter().map(workload).collect(),
        ..Run::default()
    }
}

#[test]
fn a_spread_is_the_quartiles_from_five_values_on() {
    assert_eq!(Spread::of([]), None);
    let four = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
    assert_eq!(four, Spread { low: 1.0, median: 2.5, high: 4.0, count: 4 });
    let five = Spread::of([50.0, 10.0, 20.0, 40.0, 30.0]).unwrap();
    assert_eq!(five, Spread { low: 20.0, median: 30.0, high: 40.0, count: 5 });
}

#[test]
fn a_ratio_is_taken_within_the_rounds() {
    // The machine became slower and slower: medians alone would give 30 / 20.
    let a = cell_of("a", &[10.0, 30.0, 90.0]);
    let b = cell_of("b", &[5.0, 20.0, 45.0]);
    let ratio = paired(&a, &b, time).unwrap();
    assert_eq!((ratio.low, ratio.median, ratio.high, ratio.count), (1.5, 2.0, 2.0, 3));
    // Rounds that only one of the two has are left out, and so are values that were not read.
    let mut b = cell_of("b", &[5.0, 0.0]);
    assert_eq!(paired(&a, &b, time).unwrap().count, 1);
    b.runs[0].round = 9;
    assert_eq!(paired(&a, &b, time), None);
}

#[test]
fn ties_are_what_noise_or_three_percent_explain() {
    let outcome = |low, median, high| Spread { low, median, high, count: 9 }.outcome();
    assert_eq!(outcome(1.01, 1.03, 1.04), Outcome::Tie);
    assert_eq!(outcome(1.02, 1.04, 1.06), Outcome::Loss);
    assert_eq!(outcome(0.99, 1.2, 1.6), Outcome::Tie);
    assert_eq!(outcome(0.90, 0.96, 0.98), Outcome::Win);
    assert_eq!(outcome(0.96, 0.97, 0.98), Outcome::Tie);
    assert_eq!(outcome(0.5, 0.8, 1.0), Outcome::Tie);
}

#[test]
fn geometric_means_are_over_the_workloads_that_all_took_part_in() {
    let mut run = run_of(&[
        ("x", &[("bitmag", &[10.0; 5]), ("other", &[20.0; 5]), ("third", &[10.1; 5])]),
        ("y", &[("bitmag", &[10.0; 5]), ("other", &[80.0; 5]), ("third", &[5.0; 5])]),
        ("z", &[("bitmag", &[10.0; 5]), ("other", &[1.0; 5]), ("third", &[9.0; 5])]),
    ]);
    run.workloads[2].cells[2].failed = Some("killed by signal 11".into());
    assert_eq!(taking_part(&run), ["other", "bitmag", "third"]);
    assert_eq!(reference(&run), Some("bitmag"));
    assert_eq!(common(&run).len(), 2);
    let standings = standings(&run);
    let of = |name| standings.iter().find(|each| each.allocator == name).unwrap();
    assert!((of("other").time.unwrap() - 4.0).abs() < 1e-9);
    assert!((of("bitmag").time.unwrap() - 1.0).abs() < 1e-9);
    assert!((of("other").peak.unwrap() - 1.0).abs() < 1e-9);
    // x: a tie with third; y: half as fast as third; z: behind other.
    assert_eq!((of("bitmag").wins, of("bitmag").ties, of("bitmag").losses), (0, 1, 2));
    assert_eq!((of("other").wins, of("other").ties, of("other").losses), (1, 0, 2));
    assert_eq!((of("third").wins, of("third").ties, of("third").losses), (1, 1, 0));
    let losses = losses(&run, "bitmag");
    let named: Vec<_> = losses.iter().map(|(w, o, r)| (w.name.as_str(), *o, r.median)).collect();
    assert_eq!(named, [("z", "other", 10.0), ("y", "third", 2.0)]);
}

#[test]
fn a_run_without_the_subject_is_measured_by_its_first() {
    let run = run_of(&[("x", &[("third", &[10.0; 5]), ("other", &[20.0; 5])])]);
    assert_eq!(reference(&run), Some("other"));
    assert_eq!(reference(&Run::default()), None);
    assert_eq!(best(&run.workloads[0], None).unwrap().allocator, "third");
    assert_eq!(best(&run.workloads[0], Some("third")).unwrap().allocator, "other");
}
