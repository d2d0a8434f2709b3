//! The heat maps: each allocator's time, and its peak of resident memory, in each workload by bitmag's in runs of the same round. Blue is
//! where the other takes more, orange where bitmag does; grey is a tie. Blue and orange differ for every kind of colour vision, and the figure is in the cell.

use super::part;
use super::svg::escape;
use crate::reports::figures::{self, Outcome, SPREAD, Spread, TIE_RULE};
use crate::reports::numbers::{duration, mib, number, ratio};
use crate::reports::tables;
use crate::result::{Run, Sample, Workload};
use std::fmt::Write;

/// Where the colours become stronger, for a ratio or its inverse.
const STEPS: [f64; 3] = [1.15, 1.5, 2.5];

/// What a map shows.
#[derive(Clone, Copy)]
struct Measure {
    id: &'static str,
    name: &'static str,
    /// What more of it is called.
    more: &'static str,
    unit: &'static str,
    of: fn(&Sample) -> f64,
    write: fn(f64) -> String,
}

const TIME: Measure = Measure {
    id: "time",
    name: "Time",
    more: "takes longer",
    unit: "ns",
    of: figures::time,
    write: nanoseconds,
};
const PEAK: Measure = Measure {
    id: "peak",
    name: "Peak resident memory",
    more: "takes more",
    unit: "MiB",
    of: figures::peak,
    write: mib,
};

/// Long ones with a unit of their own.
fn nanoseconds(ns: f64) -> String {
    if ns < 100_000.0 { number(ns) } else { duration(ns) }
}

pub fn section(run: &Run) -> String {
    let Some(reference) = figures::reference(run) else { return String::new() };
    map(run, reference, TIME, &losses(run, reference)) + &map(run, reference, PEAK, "")
}

fn map(run: &Run, reference: &str, measure: Measure, below: &str) -> String {
    let read = |sample: &Sample| (measure.of)(sample) > 0.0;
    let mut cells = run.workloads.iter().flat_map(|workload| &workload.cells);
    if !cells.any(|cell| cell.runs.iter().any(read)) {
        return String::new();
    }
    let names = figures::taking_part(run);
    let mut body = key(reference);
    let _ = write!(
        body,
        "<div class=\"wide\"><table class=\"heat\">\n<thead><tr><th></th><th scope=\"col\">{}<br/><small>{}</small></th>",
        escape(reference),
        measure.unit
    );
    let others = || names.iter().filter(|name| **name != reference);
    for name in others() {
        let _ = write!(body, "<th scope=\"col\">{}</th>", escape(name));
    }
    body.push_str("</tr></thead>\n");
    for (heading, workloads) in tables::groups(run) {
        let _ = writeln!(
            body,
            "<tbody><tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>",
            names.len() + 1,
            escape(heading)
        );
        for workload in workloads {
            let _ = write!(
                body,
                "<tr><th scope=\"row\" title=\"{}\">{}</th>",
                escape(&workload.what),
                escape(&workload.name)
            );
            body.push_str(&own(workload, reference, measure));
            others().for_each(|name| body.push_str(&other(workload, name, reference, measure)));
            body.push_str("</tr>\n");
        }
        body.push_str("</tbody>\n");
    }
    body.push_str("</table></div>\n");
    body.push_str(below);
    let note = format!(
        "{} of each allocator by {reference}'s, the median of the ratios of runs of the same round. Above 1, in blue, the other {more}; \
         below 1, in orange, {reference} {more}; grey with ≈ is a tie ({TIE_RULE}). The least of a row is framed.",
        measure.name,
        more = measure.more
    );
    part(measure.id, &format!("{}, relative to {reference}", measure.name), &note, &body)
}

fn key(reference: &str) -> String {
    let mut out = String::from("<p class=\"key\">");
    let _ = write!(out, "<span>{} behind</span>", escape(reference));
    for class in ["o4", "o3", "o2", "o1", "even", "b1", "b2", "b3", "b4"] {
        let _ = write!(out, "<i class=\"{class}\"></i>");
    }
    let _ = writeln!(out, "<span>{} ahead</span></p>", escape(reference));
    out
}

/// The reference's own column, in the measure's unit.
fn own(workload: &Workload, reference: &str, measure: Measure) -> String {
    let value =
        figures::cell(workload, reference).and_then(|cell| figures::spread(cell, measure.of));
    let Some(value) = value else { return failed(workload, reference) };
    let class = if is_best(workload, reference, measure) { "own best" } else { "own" };
    let title = title(workload, reference, value, measure);
    format!(
        "<td class=\"{class}\" title=\"{title}\" data-a=\"{}\">{}</td>",
        escape(reference),
        (measure.write)(value.median)
    )
}

fn other(workload: &Workload, name: &str, reference: &str, measure: Measure) -> String {
    let Some(cell) = figures::cell(workload, name) else { return failed(workload, name) };
    let value = figures::spread(cell, measure.of);
    let Some(value) = value else { return failed(workload, name) };
    let paired = figures::cell(workload, reference)
        .and_then(|reference| figures::paired(cell, reference, measure.of));
    let title = title(workload, name, value, measure);
    let Some(paired) = paired else {
        return format!("<td class=\"even\" title=\"{title}\" data-a=\"{}\">–</td>", escape(name));
    };
    let best = if is_best(workload, name, measure) { " best" } else { "" };
    let mark = if paired.outcome() == Outcome::Tie { "≈ " } else { "" };
    format!(
        "<td class=\"{}{best}\" title=\"{title}; ratio {}..{}\" data-a=\"{}\">{mark}{}</td>",
        colour(paired),
        ratio(paired.low),
        ratio(paired.high),
        escape(name),
        ratio(paired.median)
    )
}

fn title(workload: &Workload, name: &str, value: Spread, measure: Measure) -> String {
    let write = measure.write;
    let text = format!(
        "{name}, {}: {} {}, {}..{} ({SPREAD})",
        workload.name,
        write(value.median),
        measure.unit,
        write(value.low),
        write(value.high)
    );
    escape(&text)
}

/// No figure, and why.
fn failed(workload: &Workload, name: &str) -> String {
    let cell = workload.cells.iter().find(|cell| cell.allocator == name);
    let why = cell.and_then(|cell| cell.failed.as_deref());
    let (word, why) = why.map_or(("–", "not measured"), |why| ("failed", why));
    format!(
        "<td class=\"none\" title=\"{}: {}\" data-a=\"{0}\">{word}</td>",
        escape(name),
        escape(why)
    )
}

fn is_best(workload: &Workload, name: &str, measure: Measure) -> bool {
    figures::least(workload, None, measure.of).is_some_and(|best| best.allocator == name)
}

fn colour(paired: Spread) -> String {
    let strength = |ratio: f64| 1 + STEPS.iter().filter(|step| ratio >= **step).count();
    match paired.outcome() {
        Outcome::Tie => "even".into(),
        Outcome::Loss => format!("b{}", strength(paired.median)),
        Outcome::Win => format!("o{}", strength(1.0 / paired.median)),
    }
}

/// By name, the worst first.
fn losses(run: &Run, reference: &str) -> String {
    let losses = figures::losses(run, reference);
    let reference = escape(reference);
    if losses.is_empty() {
        return format!("<p>No workload of this run is lost by {reference}.</p>\n");
    }
    let mut out = format!(
        "<h3>Where {reference} is behind the best of the others</h3>\n<ul class=\"losses\">\n"
    );
    for (workload, other, spread) in losses {
        let _ = writeln!(
            out,
            "<li><b>{}</b> {} × {}</li>",
            escape(&workload.name),
            ratio(spread.median),
            escape(other)
        );
    }
    out.push_str("</ul>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_ratio() {
        let of = |median| colour(Spread { low: median, median, high: median, count: 5 });
        let colours = [0.2, 0.9, 0.98, 1.03, 1.04, 1.2, 2.0, 9.0].map(of);
        assert_eq!(colours, ["o4", "o1", "even", "even", "b1", "b2", "b3", "b4"]);
        assert_eq!(colour(Spread { low: 0.9, median: 1.3, high: 1.6, count: 5 }), "even");
    }
}
