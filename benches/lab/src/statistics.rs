//! What is made of samples: medians, how far they scatter, and ratios of runs that stand side by side in time.

/// The middle one, or the mean of the two in the middle; not a number for nothing.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which that share of them lies, between neighbours in proportion.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}

/// Half of the range that the middle half of them takes, as a share of the median.
pub fn spread(values: &[f64]) -> f64 {
    (quantile(values, 0.75) - quantile(values, 0.25)) / 2.0 / median(values)
}

/// A ratio of two allocators, and how much of it may be noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the rounds' ratios.
    pub value: f64,
    /// Their spread.
    pub noise: f64,
}

/// A difference below this is one of the machine and the day, however quiet the rounds were.
const LEAST: f64 = 0.03;

impl Ratio {
    /// The one over the other, round by round: each is (round, value), and rounds that only one of them has do not count.
    pub fn paired(own: &[(u32, f64)], other: &[(u32, f64)]) -> Option<Ratio> {
        let of = |(round, own): &(u32, f64)| {
            let other = other.iter().find(|other| other.0 == *round)?;
            Some(own / other.1)
        };
        let ratios: Vec<_> = own.iter().filter_map(of).collect();
        let (value, noise) = (median(&ratios), spread(&ratios));
        (!ratios.is_empty()).then_some(Ratio { value, noise })
    }

    /// Whether the difference lies within the noise.
    pub fn is_tie(&self) -> bool {
        (self.value - 1.0).abs() <= self.noise.max(LEAST)
    }
}

/// The mean of ratios.
pub fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_care_about_order_or_one_slow_run() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[900.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_spread_is_that_of_the_middle_half() {
        assert_eq!(spread(&[10.0, 10.0, 10.0]), 0.0);
        assert_eq!(spread(&[8.0, 9.0, 10.0, 11.0, 99.0]), 0.1);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was twice as slow in round 1: that is no difference between the two.
        let own = [(0, 11.0), (1, 22.0), (2, 11.0)];
        let other = [(2, 10.0), (0, 10.0), (1, 20.0), (3, 1.0)];
        let ratio = Ratio::paired(&own, &other).expect("three rounds");
        assert!((ratio.value - 1.1).abs() < 1e-12 && ratio.noise < 1e-12, "{ratio:?}");
        assert_eq!(Ratio::paired(&own, &[(9, 1.0)]), None);
    }

    #[test]
    fn a_difference_within_the_noise_is_a_tie() {
        assert!(Ratio { value: 1.02, noise: 0.0 }.is_tie());
        assert!(Ratio { value: 0.98, noise: 0.0 }.is_tie());
        assert!(!Ratio { value: 1.04, noise: 0.0 }.is_tie());
        assert!(Ratio { value: 1.15, noise: 0.2 }.is_tie());
        assert!(!Ratio { value: 1.25, noise: 0.2 }.is_tie());
    }

    #[test]
    fn twice_as_slow_and_twice_as_fast_are_even() {
        assert!((geometric_mean(&[2.0, 0.5]) - 1.0).abs() < 1e-12);
    }
}
