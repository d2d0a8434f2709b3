//! Sweeps as tables: a row for each x, a column for each allocator.

use super::numbers::{bytes, number, whole};
use super::tables::Table;
use crate::result::{Point, Sweep};

/// One measure of the sweep; `unit` heads the first column.
pub fn table(sweep: &Sweep, of: fn(&Point) -> f64, unit: &str) -> Table {
    let mut xs: Vec<u64> = sweep.curves.iter().flat_map(|c| &c.points).map(|p| p.x).collect();
    xs.sort_unstable();
    xs.dedup();
    let header = sweep.curves.iter().map(|curve| curve.allocator.clone());
    let value = |curve: &crate::result::Curve, x| {
        let point = curve.points.iter().find(|point| point.x == x);
        point.map(of).filter(|&value| value > 0.0).map_or("–".into(), number)
    };
    let row = |&x: &u64| {
        let cells = sweep.curves.iter().map(|curve| value(curve, x));
        std::iter::once(label(sweep, x)).chain(cells).collect()
    };
    Table {
        header: std::iter::once(format!("{} ({unit})", sweep.x)).chain(header).collect(),
        rows: xs.iter().map(row).collect(),
    }
}

fn label(sweep: &Sweep, x: u64) -> String {
    if sweep.x == "bytes" { bytes(x as f64) } else { whole(x) }
}

/// Whether resident bytes were read for any point.
pub fn has_memory(sweep: &Sweep) -> bool {
    sweep.curves.iter().flat_map(|curve| &curve.points).any(|point| point.resident_per_live > 0.0)
}
