//! Latency tails: what one call in so many takes at least, malloc and free beside each other.

use super::axis::Axis;
use super::lines::{Series, plot};
use super::svg::escape;
use super::{Palette, part};
use crate::reports::numbers::{duration, whole};
use crate::reports::tables::{KINDS, Kind};
use crate::result::{Latency, Run, Workload};
use std::fmt::Write;

/// Percentiles by their nines: each step to the right is ten times rarer. The longest call of all is in the table alone.
const PLACES: &[(f64, &str)] = &[
    (std::f64::consts::LOG10_2, "p50"),
    (1.0, "p90"),
    (2.0, "p99"),
    (3.0, "p99.9"),
    (4.0, "p99.99"),
    (5.0, "p99.999"),
    (6.0, "max"),
];

pub fn section(run: &Run, palette: &Palette) -> String {
    let mut body = String::new();
    for workload in &run.workloads {
        let plots: Vec<_> = KINDS.iter().filter_map(|kind| one(workload, *kind, palette)).collect();
        if !plots.is_empty() {
            let _ = write!(
                body,
                "<h3>{}</h3>\n<p class=\"what\">{}</p>\n<div class=\"two\">\n{}</div>\n",
                escape(&workload.name),
                escape(&workload.what),
                plots.concat()
            );
        }
    }
    if body.is_empty() {
        return body;
    }
    let note = "How long one call takes, by how rare it is: each step to the right is ten times rarer. Lower is better; both axes are \
                logarithmic, and the clock's own cost is inside. The least of each column is underlined.";
    part("latency", "Latency tails", note, &body)
}

fn one(workload: &Workload, (kind, of): Kind, palette: &Palette) -> Option<String> {
    let has = |cell: &&crate::result::Cell| cell.failed.is_none();
    let cells = workload.cells.iter().filter(has).filter_map(|cell| Some((cell, of(cell)?)));
    let series: Vec<_> = cells
        .map(|(cell, latency)| Series {
            class: palette.class(&cell.allocator),
            allocator: &cell.allocator,
            points: points(&cell.allocator, kind, latency),
        })
        .collect();
    if series.is_empty() {
        return None;
    }
    let rows = percentiles(&series);
    // The longest call of all is one event, mostly the scheduler's; on the axis it would press everything else together.
    let mut series = series;
    series.iter_mut().for_each(|each| each.points.truncate(PLACES.len() - 1));
    let x = Axis::named(&PLACES[..PLACES.len() - 1], 0.0, 5.0, "share of calls that are faster");
    let values = series.iter().flat_map(|each| &each.points).map(|point| point.1);
    let y = Axis::log(values, "", duration);
    let plot = plot(&format!("latency of {kind} in {}", workload.name), &x, &y, &series);
    Some(format!("<figure><figcaption>{kind}</figcaption>\n{plot}{rows}</figure>\n"))
}

/// The plot's figures, the least of each column underlined.
fn percentiles(series: &[Series]) -> String {
    let mut out = String::from("<table class=\"tails\">\n<thead><tr><th scope=\"col\">ns</th>");
    for (_, name) in PLACES {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for each in series {
        let name = escape(each.allocator);
        let _ = write!(out, "<tr data-a=\"{name}\"><th scope=\"row\">{name}</th>");
        for (place, point) in each.points.iter().enumerate() {
            let least = series.iter().all(|other| other.points[place].1 >= point.1);
            let class = if least { " class=\"best\"" } else { "" };
            let _ = write!(out, "<td{class}>{}</td>", whole(point.1 as u64));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
    out
}

fn points(allocator: &str, kind: &str, l: &Latency) -> Vec<(f64, f64, String)> {
    let values = [l.p50, l.p90, l.p99, l.p99_9, l.p99_99, l.p99_999, l.max];
    let point = |(&(x, name), ns): (&(f64, &str), u64)| {
        // A clock that counts in larger steps than a call takes reads nothing, which has no place on this axis.
        (x, ns.max(1) as f64, format!("{allocator}, {kind}, {name}: {} ns", whole(ns)))
    };
    PLACES.iter().zip(values).map(point).collect()
}
