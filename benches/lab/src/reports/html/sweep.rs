//! Sweeps: what an operation costs by how many there are, and by the size of the blocks, there with the memory around each live byte.

use super::axis::Axis;
use super::lines::{Series, plot};
use super::svg::escape;
use super::{Palette, part};
use crate::reports::numbers::{bytes, count, duration, number, ratio};
use crate::reports::sweeps;
use crate::result::{Point, Run, Sweep};

pub fn section(run: &Run, palette: &Palette) -> String {
    run.sweeps.iter().enumerate().map(|(place, sweep)| one(place, sweep, palette)).collect()
}

fn one(place: usize, sweep: &Sweep, palette: &Palette) -> String {
    let mut body = String::from("<div class=\"two\">\n");
    let time = figure(sweep, palette, "time for each operation", |point| point.ns, duration);
    body.push_str(&time);
    if sweep.x == "operations" {
        let grown = growth(sweep);
        let caption = "growth: that time by the time at the fewest";
        body.push_str(&figure(&grown, palette, caption, |point| point.ns, ratio));
    }
    if sweeps::has_memory(sweep) {
        let of = |point: &Point| point.resident_per_live;
        body.push_str(&figure(sweep, palette, "resident bytes for each live byte", of, number));
    }
    body.push_str("</div>\n");
    part(&format!("sweep-{place}"), &sweep.name, &sweep.what, &body)
}

/// Each curve's times by that of its first point.
fn growth(sweep: &Sweep) -> Sweep {
    let mut grown = sweep.clone();
    for curve in &mut grown.curves {
        curve.points.retain(|point| point.ns > 0.0);
        let first = curve.points.iter().min_by_key(|point| point.x).map_or(1.0, |point| point.ns);
        curve.points.iter_mut().for_each(|point| point.ns /= first);
    }
    grown
}

fn figure(
    sweep: &Sweep,
    palette: &Palette,
    caption: &str,
    of: fn(&Point) -> f64,
    write: fn(f64) -> String,
) -> String {
    let sizes = sweep.x == "bytes";
    let write_x = if sizes { bytes } else { count };
    let series: Vec<_> = sweep
        .curves
        .iter()
        .map(|curve| {
            let read = curve.points.iter().filter(|point| of(point) > 0.0 && point.x > 0);
            let title = |p: &Point| {
                format!(
                    "{}, {} {}: {}",
                    curve.allocator,
                    write_x(p.x as f64),
                    sweep.x,
                    write(of(p))
                )
            };
            Series {
                class: palette.class(&curve.allocator),
                allocator: &curve.allocator,
                points: read.map(|point| (point.x as f64, of(point), title(point))).collect(),
            }
        })
        .collect();
    let xs = series.iter().flat_map(|each| each.points.iter().map(|point| point.0));
    let ys = || series.iter().flat_map(|each| each.points.iter().map(|point| point.1));
    let x = if sizes {
        Axis::sizes(xs, "block size", write_x)
    } else {
        Axis::log(xs, &sweep.x, write_x)
    };
    let least = ys().fold(f64::INFINITY, f64::min);
    let log = sizes || ys().fold(0.0, f64::max) > 12.0 * least;
    let y = if log { Axis::log(ys(), "", write) } else { Axis::linear(ys(), 6.0, "", write) };
    let scale = if log { "logarithmic" } else { "linear" };
    let plot = plot(&format!("{}: {caption}", sweep.name), &x, &y, &series);
    format!(
        "<figure><figcaption>{} <span>({scale}, lower is better)</span></figcaption>\n{plot}</figure>\n",
        escape(caption)
    )
}
