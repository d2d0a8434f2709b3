//! From raw samples to what the reports say: medians, spreads, ratios of runs of the same round, who is ahead, and geometric means.
//! A machine drifts while it is measured, and two runs of one round drifted alike: a ratio is the median of the rounds' ratios and never
//! the ratio of two medians. What cannot be told from noise is a tie.

use crate::result::{Cell, Run, Sample, Workload};

/// Whom the reports are about: the others are measured against it, and its losses are named.
pub const SUBJECT: &str = "bitmag";

/// Differences up to this are ties, however steady the runs were.
pub const TIE: f64 = 0.03;

/// How the reports describe `Spread`'s ends.
pub const SPREAD: &str = "the quartiles; with fewer than five rounds the least and the greatest";

/// How the reports describe a tie.
pub const TIE_RULE: &str =
    "a tie is a ratio within 3% of 1, or one whose spread over the rounds has 1 inside";

/// The middle of some values and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
    pub count: usize,
}

/// What a ratio of two times means for the first of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Win,
    Tie,
    Loss,
}

impl Spread {
    /// None of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let (first, last) = (*values.first()?, *values.last()?);
        let (low, high) = match count {
            0..5 => (first, last),
            _ => (quantile(&values, 0.25), quantile(&values, 0.75)),
        };
        Some(Spread { low, median: quantile(&values, 0.5), high, count })
    }

    /// Of a ratio.
    pub fn outcome(&self) -> Outcome {
        let inside = self.low <= 1.0 && self.high >= 1.0;
        match self.median {
            ratio if inside || (ratio - 1.0).abs() <= TIE + 1e-12 => Outcome::Tie,
            ratio if ratio < 1.0 => Outcome::Win,
            _ => Outcome::Loss,
        }
    }
}

/// Of sorted values, between two of them in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

/// The measures of a process that the reports take from samples. 0 means that it was not read.
pub fn time(sample: &Sample) -> f64 {
    sample.ns
}
pub fn peak(sample: &Sample) -> f64 {
    sample.peak_kib as f64
}
pub fn settled(sample: &Sample) -> f64 {
    sample.final_kib as f64
}

/// Of all rounds in which it was read.
pub fn spread(cell: &Cell, of: fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(cell.runs.iter().map(of).filter(|&value| value > 0.0))
}

/// `a` by `b` in each round in which both were read.
pub fn paired(a: &Cell, b: &Cell, of: fn(&Sample) -> f64) -> Option<Spread> {
    let ratio = |sample: &Sample| {
        let other = b.runs.iter().find(|other| other.round == sample.round)?;
        (of(sample) > 0.0 && of(other) > 0.0).then(|| of(sample) / of(other))
    };
    Spread::of(a.runs.iter().filter_map(ratio))
}

/// The cell of an allocator, if it has figures.
pub fn cell<'a>(workload: &'a Workload, allocator: &str) -> Option<&'a Cell> {
    workload.cells.iter().find(|cell| cell.allocator == allocator && has_figures(cell))
}

fn has_figures(cell: &Cell) -> bool {
    cell.failed.is_none() && spread(cell, time).is_some()
}

/// The cell with the lowest median time, among all allocators or all but one.
pub fn best<'a>(workload: &'a Workload, except: Option<&str>) -> Option<&'a Cell> {
    least(workload, except, time)
}

/// The same by any measure.
pub fn least<'a>(
    workload: &'a Workload,
    except: Option<&str>,
    of: fn(&Sample) -> f64,
) -> Option<&'a Cell> {
    let taking_part = workload.cells.iter().filter(|cell| has_figures(cell));
    let wanted = taking_part.filter(|cell| Some(cell.allocator.as_str()) != except);
    let read = wanted.filter_map(|cell| Some((cell, spread(cell, of)?.median)));
    read.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(cell, _)| cell)
}

/// The allocators with a figure anywhere, in the order of the run.
pub fn taking_part(run: &Run) -> Vec<&str> {
    let has_any = |name: &str| run.workloads.iter().any(|workload| cell(workload, name).is_some());
    run.allocators.iter().map(|each| each.name.as_str()).filter(|name| has_any(name)).collect()
}

/// Whom the ratios of the overview are taken to: bitmag, or the first where it is not there.
pub fn reference(run: &Run) -> Option<&str> {
    let names = taking_part(run);
    names.iter().find(|name| **name == SUBJECT).or(names.first()).copied()
}

/// The workloads in which all allocators of the run have figures: the ones that geometric means may be taken over.
pub fn common(run: &Run) -> Vec<&Workload> {
    let names = taking_part(run);
    let all = |workload: &&Workload| names.iter().all(|name| cell(workload, name).is_some());
    run.workloads.iter().filter(all).collect()
}

/// An allocator over all workloads.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing<'a> {
    pub allocator: &'a str,
    /// Geometric means of the ratios to the reference over `common`.
    pub time: Option<f64>,
    pub peak: Option<f64>,
    /// Against the best of the others, in each workload that it has figures for.
    pub wins: usize,
    pub ties: usize,
    pub losses: usize,
}

pub fn standings(run: &Run) -> Vec<Standing<'_>> {
    let common = common(run);
    let reference = reference(run);
    let mean = |allocator: &str, of| {
        let ratio = |workload: &&Workload| {
            paired(cell(workload, allocator)?, cell(workload, reference?)?, of)
        };
        geometric(common.iter().filter_map(ratio).map(|ratio| ratio.median))
    };
    let standing = |allocator| {
        let outcomes: Vec<_> =
            run.workloads.iter().filter_map(|each| against_best(each, allocator)).collect();
        let count = |wanted| outcomes.iter().filter(|(_, r)| r.outcome() == wanted).count();
        Standing {
            allocator,
            time: mean(allocator, time),
            peak: mean(allocator, peak),
            wins: count(Outcome::Win),
            ties: count(Outcome::Tie),
            losses: count(Outcome::Loss),
        }
    };
    taking_part(run).into_iter().map(standing).collect()
}

/// The best of the others and the ratio of the allocator's time to its.
pub fn against_best<'a>(workload: &'a Workload, allocator: &str) -> Option<(&'a str, Spread)> {
    let other = best(workload, Some(allocator))?;
    Some((&other.allocator, paired(cell(workload, allocator)?, other, time)?))
}

/// Where the allocator loses, the worst first: the workload, the best of the others, the ratio to it.
pub fn losses<'a>(run: &'a Run, allocator: &str) -> Vec<(&'a Workload, &'a str, Spread)> {
    let with = |workload: &'a Workload| {
        against_best(workload, allocator).map(|(other, ratio)| (workload, other, ratio))
    };
    let lost = |(_, _, ratio): &(_, _, Spread)| ratio.outcome() == Outcome::Loss;
    let mut losses: Vec<_> = run.workloads.iter().filter_map(with).filter(lost).collect();
    losses.sort_by(|a, b| b.2.median.total_cmp(&a.2.median));
    losses
}

/// None of no values.
pub fn geometric(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.into_iter().fold((0.0, 0), |(sum, n), v| (sum + v.ln(), n + 1));
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
