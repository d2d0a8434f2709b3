//! The heat map: each allocator's time in each workload by bitmag's, in runs of the same round. Blue is where the other takes longer,
//! orange where bitmag does; grey is a tie. Blue and orange differ for every kind of colour vision, and the figure is in the cell.

use super::part;
use super::svg::escape;
use crate::reports::figures::{self, Outcome, SPREAD, Spread, TIE_RULE};
use crate::reports::numbers::{number, ratio};
use crate::reports::tables;
use crate::result::{Run, Workload};
use std::fmt::Write;

/// Where the colours become stronger, for a ratio or its inverse.
const STEPS: [f64; 3] = [1.15, 1.5, 2.5];

pub fn section(run: &Run) -> String {
    let Some(reference) = figures::reference(run) else { return String::new() };
    let names = figures::taking_part(run);
    let mut body = key(reference);
    let _ = write!(
        body,
        "<div class=\"wide\"><table class=\"heat\">\n<thead><tr><th></th><th scope=\"col\">{}<br/><small>ns</small></th>",
        escape(reference)
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
            body.push_str(&own(workload, reference));
            others().for_each(|name| body.push_str(&other(workload, name, reference)));
            body.push_str("</tr>\n");
        }
        body.push_str("</tbody>\n");
    }
    body.push_str("</table></div>\n");
    body.push_str(&losses(run, reference));
    let note = format!(
        "Each allocator's time by {reference}'s, the median of the ratios of runs of the same round. Above 1, in blue, the other takes \
         longer; below 1, in orange, {reference} does. ≈ is a tie: {TIE_RULE}. The fastest of a row is framed."
    );
    part("time", &format!("Time by {reference}'s"), &note, &body)
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

/// The reference's own column: nanoseconds.
fn own(workload: &Workload, reference: &str) -> String {
    let time =
        figures::cell(workload, reference).and_then(|cell| figures::spread(cell, figures::time));
    let Some(time) = time else { return failed(workload, reference) };
    let class = if is_best(workload, reference) { "own best" } else { "own" };
    let title = title(workload, reference, time);
    format!(
        "<td class=\"{class}\" title=\"{title}\" data-a=\"{}\">{}</td>",
        escape(reference),
        number(time.median)
    )
}

fn other(workload: &Workload, name: &str, reference: &str) -> String {
    let Some(cell) = figures::cell(workload, name) else { return failed(workload, name) };
    let time = figures::spread(cell, figures::time).expect("cells with figures have times");
    let paired = figures::cell(workload, reference)
        .and_then(|reference| figures::paired(cell, reference, figures::time));
    let title = title(workload, name, time);
    let Some(paired) = paired else {
        return format!("<td class=\"even\" title=\"{title}\" data-a=\"{}\">–</td>", escape(name));
    };
    let best = if is_best(workload, name) { " best" } else { "" };
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

fn title(workload: &Workload, name: &str, time: Spread) -> String {
    let text = format!(
        "{name}, {}: {} ns/{}, {}..{} ({SPREAD})",
        workload.name,
        number(time.median),
        workload.unit,
        number(time.low),
        number(time.high)
    );
    escape(&text)
}

/// No figure, and why.
fn failed(workload: &Workload, name: &str) -> String {
    let cell = workload.cells.iter().find(|cell| cell.allocator == name);
    let why = cell.and_then(|cell| cell.failed.as_deref());
    let (word, why) = why.map_or(("–", "did not take part"), |why| ("failed", why));
    format!(
        "<td class=\"none\" title=\"{}: {}\" data-a=\"{0}\">{word}</td>",
        escape(name),
        escape(why)
    )
}

fn is_best(workload: &Workload, name: &str) -> bool {
    figures::best(workload, None).is_some_and(|best| best.allocator == name)
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
