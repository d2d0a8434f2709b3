//! How figures are written: three digits that mean something, and units that are read without counting zeros.

/// Two places below 10, one below 100, none above, thousands set apart.
pub fn number(value: f64) -> String {
    match value {
        v if !v.is_finite() => "–".into(),
        0.0 => "0".into(),
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => whole(v.round() as u64),
    }
}

/// With thousands set apart.
pub fn whole(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A ratio: always two places.
pub fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// KiB as MiB, without the unit.
pub fn mib(kib: f64) -> String {
    number(kib / 1024.0)
}

/// For axes: 100 ns, 1 µs, 20 ms.
pub fn duration(ns: f64) -> String {
    scaled(ns, 1000.0, &["ns", "µs", "ms", "s"])
}

/// For axes: 16 B, 4 KiB.
pub fn bytes(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB"])
}

/// For axes: 100, 10 k, 1 M.
pub fn count(count: f64) -> String {
    scaled(count, 1000.0, &["", "k", "M", "G"]).trim_end().into()
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= step * 0.9999 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = format!("{value:.2}");
    format!("{} {}", digits.trim_end_matches('0').trim_end_matches('.'), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let written = [0.0, 0.4567, 9.99, 9.996, 99.94, 99.96, 1234.5, 1e6].map(number);
        assert_eq!(written, ["0", "0.46", "9.99", "10.0", "99.9", "100", "1,235", "1,000,000"]);
        assert_eq!(number(f64::NAN), "–");
        assert_eq!(mib(1536.0), "1.50");
    }

    #[test]
    fn axes_have_units() {
        assert_eq!([1.0, 999.0, 1000.0, 2.5e6].map(duration), ["1 ns", "999 ns", "1 µs", "2.5 ms"]);
        assert_eq!([16.0, 4096.0, 1048576.0].map(bytes), ["16 B", "4 KiB", "1 MiB"]);
        assert_eq!([100.0, 10_000.0, 1e6].map(count), ["100", "10 k", "1 M"]);
    }
}
