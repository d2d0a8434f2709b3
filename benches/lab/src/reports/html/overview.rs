//! The head of the page: what ran where, four figures to take away, and time against memory.

use super::axis::Axis;
use super::lines::Ground;
use super::svg::{Svg, escape};
use super::{Palette, part, table};
use crate::reports::figures::{self, Standing};
use crate::reports::numbers::ratio;
use crate::reports::tables;
use crate::result::Run;
use std::fmt::Write;

pub fn header(run: &Run) -> String {
    let mut out = String::from("<header>\n");
    let subject = figures::reference(run).unwrap_or("bitmag");
    let _ =
        writeln!(out, "<h1>{} <span>and what you would pick instead</span></h1>", escape(subject));
    let _ = writeln!(
        out,
        "<p>Run <b>{}</b> of {}, {}, allocators in a new order each round. {}.</p>",
        escape(&run.command),
        escape(&run.date),
        tables::rounds(run),
        escape(&tables::machine(run))
    );
    out.push_str("<div class=\"tiles\">\n");
    for (figure, unit, words) in tiles(run) {
        let _ = writeln!(
            out,
            "<div><b>{}</b><em>{}</em><p>{}</p></div>",
            escape(&figure),
            escape(&unit),
            escape(&words)
        );
    }
    out.push_str("</div>\n</header>\n");
    out
}

/// A geometric mean, its name, and what the best at it is.
type Mean = (fn(&Standing) -> Option<f64>, &'static str, &'static str);

/// A figure, what stands behind it, and a sentence.
fn tiles(run: &Run) -> Vec<(String, String, String)> {
    let Some(subject) = figures::reference(run) else { return Vec::new() };
    let standings = figures::standings(run);
    let count = figures::common(run).len();
    let mut tiles = Vec::new();
    let means: [Mean; 2] = [
        (|standing| standing.time, "time", "fastest"),
        (|standing| standing.peak, "peak memory", "thriftiest"),
    ];
    for (of, what, most) in means {
        let others = standings.iter().filter(|each| each.allocator != subject);
        let best = others
            .filter_map(|each| Some((each.allocator, of(each)?)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((other, mean)) = best {
            let words =
                format!("of {other}, {most} of the others: geometric mean over {count} workloads");
            tiles.push((ratio(1.0 / mean), format!("× the {what}"), words));
        }
    }
    if let Some(own) = standings.iter().find(|each| each.allocator == subject) {
        let figure = format!("{} : {} : {}", own.wins, own.ties, own.losses);
        let words = "workloads ahead of, level with, and behind the best of the others in each";
        tiles.push((figure, String::new(), words.into()));
    }
    match figures::losses(run, subject).first() {
        Some((workload, other, spread)) => {
            let words =
                format!("{}: {subject}'s worst workload, by the time of {other}", workload.name);
            tiles.push((ratio(spread.median), "× at worst".into(), words));
        }
        None => tiles.push(("none".into(), String::new(), "of the workloads lost".into())),
    }
    tiles
}

pub fn section(run: &Run, palette: &Palette) -> String {
    let standings = figures::standings(run);
    let both: Vec<_> = standings
        .iter()
        .filter_map(|each| Some((each.allocator, each.time?, each.peak?)))
        .collect();
    if both.is_empty() {
        return String::new();
    }
    let bars = [
        bars("time", "time", &both, |each| each.1, palette),
        bars("peak", "peak resident memory", &both, |each| each.2, palette),
    ];
    let body = format!(
        "<div class=\"two\">\n<figure><figcaption>{} <span>(geometric means, logarithmic)</span></figcaption>\n{}</figure>\n<div>\n{}</div>\n</div>\n{}",
        escape(&verdict(&both)),
        scatter(&both, palette),
        bars.concat(),
        table(&tables::standings(run))
    );
    part("overview", "Time and memory", &tables::standings_note(run), &body)
}

type Both<'a> = (&'a str, f64, f64);

/// Who has the lowest of each.
fn verdict(both: &[Both]) -> String {
    let least = |of: fn(&Both) -> f64| both.iter().min_by(|a, b| of(a).total_cmp(&of(b)));
    match (least(|each| each.1), least(|each| each.2)) {
        (Some(time), Some(memory)) if time.0 == memory.0 => format!("{} has both", time.0),
        (Some(time), Some(memory)) => {
            format!(
                "Nobody has both: {} takes the least time, {} the least memory",
                time.0, memory.0
            )
        }
        _ => String::new(),
    }
}

fn scatter(both: &[Both], palette: &Palette) -> String {
    let mut svg = Svg::new(590.0, 420.0, "time against peak memory");
    let around = |value: f64| [value * 0.95, value * 1.05];
    let x = both.iter().flat_map(|each| around(each.1)).chain([1.0]);
    let x = Axis::log(x, "time →", ratio);
    let y = both.iter().flat_map(|each| around(each.2)).chain([1.0]);
    let y = Axis::log(y, "peak resident →", ratio);
    let ground = Ground { left: 68.0, right: 576.0, top: 14.0, bottom: 372.0, x: &x, y: &y };
    ground.draw(&mut svg);
    let (one_x, one_y) = ground.at(1.0, 1.0);
    svg.line("one", [one_x, ground.top, one_x, ground.bottom]);
    svg.line("one", [ground.left, one_y, ground.right, one_y]);
    svg.text("start corner", ground.left + 8.0, ground.bottom - 8.0, "faster and smaller");
    svg.text("end corner", ground.right - 8.0, ground.top + 16.0, "slower and larger");
    let points: Vec<_> = both.iter().map(|each| ground.at(each.1, each.2)).collect();
    let labels = place_labels(both, &points, ground.right);
    for ((each, point), label) in both.iter().zip(&points).zip(labels) {
        svg.series(palette.class(each.0), each.0);
        let title = format!("{}: time {}, peak {}", each.0, ratio(each.1), ratio(each.2));
        svg.dot(*point, 7.0, &title);
        svg.text("start name", label.0, label.1, each.0);
        svg.close();
    }
    svg.finish()
}

/// Where each name begins: right of its point, or left, above or below it where something is in the way.
fn place_labels(both: &[Both], points: &[(f64, f64)], right: f64) -> Vec<(f64, f64)> {
    let mut taken: Vec<[f64; 4]> =
        points.iter().map(|(x, y)| [x - 8.0, y - 8.0, x + 8.0, y + 8.0]).collect();
    let mut labels = Vec::new();
    for (each, (x, y)) in both.iter().zip(points) {
        let width = 7.2 * each.0.chars().count() as f64;
        let places = [
            (x + 12.0, y + 4.0),
            (x - 12.0 - width, y + 4.0),
            (x - width / 2.0, y - 13.0),
            (x - width / 2.0, y + 21.0),
            (x + 9.0, y - 11.0),
            (x + 9.0, y + 19.0),
        ];
        let area = |(x, y): (f64, f64)| [x - 2.0, y - 13.0, x + width + 2.0, y + 6.0];
        let free = |place: &&(f64, f64)| {
            let a = area(**place);
            let apart = |b: &[f64; 4]| a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1];
            a[2] <= right && taken.iter().all(apart)
        };
        let place = *places.iter().find(free).unwrap_or(&places[0]);
        taken.push(area(place));
        labels.push(place);
    }
    labels
}

/// One measure, the least on top.
fn bars(id: &str, caption: &str, both: &[Both], of: fn(&Both) -> f64, palette: &Palette) -> String {
    let mut sorted: Vec<_> = both.iter().collect();
    sorted.sort_by(|a, b| of(a).total_cmp(&of(b)));
    let most = sorted.iter().map(|each| of(each)).fold(1.0, f64::max);
    let (step, left, width) = (21.0, 104.0, 420.0);
    let height = step * sorted.len() as f64 + 8.0;
    let mut svg = Svg::new(590.0, height, &format!("geometric means of {caption}"));
    let one = left + width / most;
    svg.line("one", [one, 0.0, one, height]);
    for (place, each) in sorted.iter().enumerate() {
        let y = 5.0 + step * place as f64;
        svg.series(palette.class(each.0), each.0);
        svg.text("end name", left - 9.0, y + 11.5, each.0);
        svg.rect("bar", [left, y, width * of(each) / most, step - 6.0]);
        svg.text("start value", left + width * of(each) / most + 7.0, y + 11.5, &ratio(of(each)));
        svg.close();
    }
    format!(
        "<figure id=\"bars-{id}\"><figcaption>{caption} <span>(lower is better)</span></figcaption>\n{}</figure>\n",
        svg.finish()
    )
}
