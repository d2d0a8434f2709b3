//! A plot of one line for each allocator, with its name at its end.

use super::axis::Axis;
use super::svg::{Svg, spread_apart};

/// An allocator's line: points in the axes' values, and what each says when pointed at.
pub struct Series<'a> {
    pub class: usize,
    pub allocator: &'a str,
    pub points: Vec<(f64, f64, String)>,
}

/// The ground of a plot: where the axes are.
pub struct Ground<'a> {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub x: &'a Axis,
    pub y: &'a Axis,
}

impl Ground<'_> {
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let across = self.left + self.x.share(x) * (self.right - self.left);
        (across, self.bottom - self.y.share(y) * (self.bottom - self.top))
    }

    /// Grid, ticks and titles.
    pub fn draw(&self, svg: &mut Svg) {
        for (value, label) in &self.y.ticks {
            let y = self.bottom - self.y.share(*value) * (self.bottom - self.top);
            svg.line("grid", [self.left, y, self.right, y]);
            svg.text("end tick", self.left - 8.0, y + 4.0, label);
        }
        for (value, label) in &self.x.ticks {
            let x = self.left + self.x.share(*value) * (self.right - self.left);
            svg.line("grid", [x, self.top, x, self.bottom]);
            svg.text("middle tick", x, self.bottom + 17.0, label);
        }
        svg.line("axis", [self.left, self.bottom, self.right, self.bottom]);
        let middle = (self.left + self.right) / 2.0;
        svg.text("middle title", middle, self.bottom + 35.0, &self.x.title);
        if !self.y.title.is_empty() {
            svg.upright(self.left - 54.0, (self.top + self.bottom) / 2.0, &self.y.title);
        }
    }
}

/// The lines in reverse, so that the first allocator's is on top.
pub fn plot(label: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let (width, height) = (590.0, 380.0);
    let mut svg = Svg::new(width, height, label);
    let ground =
        Ground { left: 68.0, right: width - 104.0, top: 14.0, bottom: height - 46.0, x, y };
    ground.draw(&mut svg);
    let place = |each: &Series| -> Vec<(f64, f64)> {
        each.points.iter().map(|(x, y, _)| ground.at(*x, *y)).collect()
    };
    let ends: Vec<_> =
        series.iter().map(|each| place(each).last().copied().unwrap_or_default()).collect();
    let heights: Vec<_> = ends.iter().map(|end| end.1).collect();
    let heights = spread_apart(&heights, 15.0, ground.top + 4.0, ground.bottom);
    for ((each, end), height) in series.iter().zip(&ends).zip(heights).rev() {
        let points = place(each);
        if points.is_empty() {
            continue;
        }
        svg.series(each.class, each.allocator);
        svg.path("line", &points);
        for (at, (_, _, title)) in points.iter().zip(&each.points) {
            svg.dot(*at, 3.2, title);
        }
        svg.path(
            "leader",
            &[(end.0 + 5.0, end.1), (ground.right + 9.0, height), (ground.right + 14.0, height)],
        );
        svg.text("start name", ground.right + 18.0, height + 4.0, each.allocator);
        svg.close();
    }
    svg.finish()
}
