//! Resident memory over time: a panel for each allocator, all to the same scale. What the program holds is grey; what the allocator has
//! resident above it is in its colour.

use super::axis::Axis;
use super::lines::Ground;
use super::svg::{Svg, escape};
use super::{Palette, part};
use crate::reports::numbers::{mib, number, ratio};
use crate::result::{Cell, Resident, Run, Workload};
use std::fmt::Write;

pub fn section(run: &Run, palette: &Palette) -> String {
    let mut body = String::new();
    for workload in &run.workloads {
        let has = |cell: &&Cell| cell.failed.is_none() && cell.resident.len() > 1;
        let cells: Vec<_> = workload.cells.iter().filter(has).collect();
        if !cells.is_empty() {
            body.push_str(&panels(workload, &cells, palette));
        }
    }
    if body.is_empty() {
        return body;
    }
    let note = "Grey is what the program holds, the line is what the process has resident. The band between them is the allocator's; all \
                panels have the same scale.";
    part("resident", "Resident memory over time", note, &body)
}

fn panels(workload: &Workload, cells: &[&Cell], palette: &Palette) -> String {
    let looks = || cells.iter().flat_map(|cell| &cell.resident);
    let most = |look: &Resident| look.resident_kib.max(look.live_kib) as f64 / 1024.0;
    let x =
        Axis::linear(looks().map(|look| look.seconds), 4.0, "", |s| format!("{} s", trimmed(s)));
    let y = Axis::linear(looks().map(most), 6.0, "", trimmed);
    let mut out = format!(
        "<h3>{} <span>MiB</span></h3>\n<p class=\"what\">{}</p>\n<div class=\"four\">\n",
        escape(&workload.name),
        escape(&workload.what)
    );
    for cell in cells {
        let class = palette.class(&cell.allocator);
        let last = cell.resident.last().map_or(0, |look| look.resident_kib);
        let peak = cell.resident.iter().map(|look| look.resident_kib).max().unwrap_or(0);
        let over = over_live(&cell.resident).map_or("–".into(), ratio);
        let _ = write!(
            out,
            "<figure class=\"c{class}\" data-a=\"{0}\"><figcaption><i></i>{0} <span>{over} × live; peak {1}, end {2}</span></figcaption>\n{3}</figure>\n",
            escape(&cell.allocator),
            mib(peak as f64),
            mib(last as f64),
            panel(workload, cell, class, &x, &y)
        );
    }
    out.push_str("</div>\n");
    out
}

fn panel(workload: &Workload, cell: &Cell, class: usize, x: &Axis, y: &Axis) -> String {
    let label = format!("resident memory of {} in {}", cell.allocator, workload.name);
    let mut svg = Svg::new(300.0, 190.0, &label);
    let ground = Ground { left: 38.0, right: 288.0, top: 10.0, bottom: 166.0, x, y };
    ground.draw(&mut svg);
    let line = |of: fn(&Resident) -> u64| -> Vec<(f64, f64)> {
        let at = |look: &Resident| ground.at(look.seconds, of(look) as f64 / 1024.0);
        cell.resident.iter().map(at).collect()
    };
    let (live, resident) = (line(|look| look.live_kib), line(|look| look.resident_kib));
    let floor = ground.at(0.0, 0.0).1;
    let ends = (live[0].0, live[live.len() - 1].0);
    let area: Vec<_> =
        [(ends.0, floor)].into_iter().chain(live.clone()).chain([(ends.1, floor)]).collect();
    let band: Vec<_> = resident.iter().copied().chain(live.into_iter().rev()).collect();
    svg.path("live", &area);
    svg.series(class, &cell.allocator);
    svg.path("band", &band);
    svg.path("line", &resident);
    svg.close();
    svg.finish()
}

/// Resident by live memory, both summed over the time.
fn over_live(looks: &[Resident]) -> Option<f64> {
    let sum = |of: fn(&Resident) -> u64| -> f64 {
        let slice = |pair: &[Resident]| {
            (pair[1].seconds - pair[0].seconds) * (of(&pair[0]) + of(&pair[1])) as f64
        };
        looks.windows(2).map(slice).sum()
    };
    let live = sum(|look| look.live_kib);
    (live > 0.0).then(|| sum(|look| look.resident_kib) / live)
}

fn trimmed(value: f64) -> String {
    let digits = number(value);
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').into(),
        false => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_by_live_is_weighed_by_time() {
        let look = |seconds, live_kib, resident_kib| Resident { seconds, live_kib, resident_kib };
        // One second at 2, then three at 4.
        let looks = [look(0.0, 10, 20), look(1.0, 10, 20), look(1.0, 10, 40), look(4.0, 10, 40)];
        assert_eq!(over_live(&looks), Some(3.5));
        assert_eq!(over_live(&looks[..1]), None);
    }
}
