//! Axes: from values to places in a plot, and ticks where a reader expects them.

/// A logarithmic or a linear range, and the labels along it.
pub struct Axis {
    from: f64,
    to: f64,
    log: bool,
    pub ticks: Vec<(f64, String)>,
    pub title: String,
}

impl Axis {
    /// From a round figure below all values to one above.
    pub fn log(values: impl Iterator<Item = f64>, title: &str, write: fn(f64) -> String) -> Axis {
        let (least, most) = bounds(values.filter(|&value| value > 0.0));
        let fine: &[f64] = &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0];
        let from = steps(fine).rfind(|step| *step <= least * 1.0001).unwrap_or(least);
        let to = steps(fine).find(|step| *step >= most * 0.9999).unwrap_or(most);
        let to = if to > from { to } else { from * 2.0 };
        let inside = |factors| -> Vec<f64> {
            steps(factors).filter(|v| *v >= from * 0.999 && *v <= to * 1.001).collect()
        };
        let choices =
            [fine, &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
        let ticks = choices.map(inside).into_iter().find(|ticks| ticks.len() <= 9);
        Axis::new(from, to, true, ticks.unwrap_or_else(|| vec![from, to]), title, write)
    }

    /// Powers of two.
    pub fn sizes(values: impl Iterator<Item = f64>, title: &str, write: fn(f64) -> String) -> Axis {
        let (least, most) = bounds(values.filter(|&value| value > 0.0));
        let (first, last) = (least.log2().floor() as i32, most.log2().ceil() as i32);
        let step = (last - first).div_euclid(8) + 1;
        let ticks = (first..=last).step_by(step as usize).map(|power| 2_f64.powi(power)).collect();
        let to = 2_f64.powi(last.max(first + 1));
        Axis::new(2_f64.powi(first), to, true, ticks, title, write)
    }

    /// From 0, with about so many steps at most.
    pub fn linear(
        values: impl Iterator<Item = f64>,
        steps: f64,
        title: &str,
        write: fn(f64) -> String,
    ) -> Axis {
        let most = bounds(values).1.max(1e-9);
        let power = 10_f64.powf((most / steps).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| most / step <= steps).unwrap_or(10.0 * power);
        let count = (most / step - 1e-9).ceil().max(1.0);
        let ticks = (0..=count as u32).map(|n| f64::from(n) * step).collect();
        Axis::new(0.0, count * step, false, ticks, title, write)
    }

    /// Named places.
    pub fn named(places: &[(f64, &str)], from: f64, to: f64, title: &str) -> Axis {
        let ticks = places.iter().map(|(at, name)| (*at, name.to_string())).collect();
        Axis { from, to, log: false, ticks, title: title.into() }
    }

    fn new(
        from: f64,
        to: f64,
        log: bool,
        ticks: Vec<f64>,
        title: &str,
        write: fn(f64) -> String,
    ) -> Axis {
        let ticks = ticks.into_iter().map(|tick| (tick, write(tick))).collect();
        Axis { from, to, log, ticks, title: title.into() }
    }

    /// 0 at the beginning, 1 at the end.
    pub fn share(&self, value: f64) -> f64 {
        match self.log {
            true => (value / self.from).ln() / (self.to / self.from).ln(),
            false => (value - self.from) / (self.to - self.from),
        }
    }
}

/// These factors of all powers of ten.
fn steps(factors: &[f64]) -> impl DoubleEndedIterator<Item = f64> {
    (-9..15).flat_map(move |power| factors.iter().map(move |f| f * 10_f64.powi(power)))
}

/// 1 and 1 of no values.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values: Vec<_> = values.filter(|value| value.is_finite()).collect();
    let least = values.iter().copied().reduce(f64::min).unwrap_or(1.0);
    (least, values.iter().copied().reduce(f64::max).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(axis: &Axis) -> Vec<f64> {
        axis.ticks.iter().map(|(at, _)| (at * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn logarithmic_axes_hold_their_values() {
        let axis = Axis::log([3.0, 700.0].into_iter(), "", |v| v.to_string());
        assert_eq!(at(&axis), [5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
        assert!((axis.share(3.0), axis.share(800.0)) == (0.0, 1.0));
        assert!((axis.share(2400_f64.sqrt()) - 0.5).abs() < 1e-9);
        let wide = Axis::log([3.0, 7e6].into_iter(), "", |v| v.to_string());
        assert_eq!(at(&wide), [10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
        let near = Axis::log([0.93, 1.3].into_iter(), "", |v| v.to_string());
        assert_eq!(at(&near), [0.8, 1.0, 1.2, 1.5]);
        let one = Axis::log([5.0].into_iter(), "", |v| v.to_string());
        assert!(one.share(5.0).is_finite());
        assert!(Axis::log([].into_iter(), "", |v| v.to_string()).share(1.0).is_finite());
    }

    #[test]
    fn linear_axes_begin_at_nothing() {
        let axis = Axis::linear([3.0, 17.0].into_iter(), 5.0, "", |v| v.to_string());
        assert_eq!(at(&axis), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(axis.share(5.0), 0.25);
    }

    #[test]
    fn sizes_are_powers_of_two() {
        let axis = Axis::sizes([16.0, 1048576.0].into_iter(), "", |v| v.to_string());
        assert_eq!(at(&axis), [16.0, 128.0, 1024.0, 8192.0, 65536.0, 524288.0]);
        assert_eq!(axis.share(4096.0), 0.5);
    }
}
