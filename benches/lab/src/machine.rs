//! What a run ran on, and when.

use crate::result::Machine;
use crate::toolchain;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// This machine.
pub fn this() -> Machine {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let memory = toolchain::line_of("/proc/meminfo", "MemTotal");
    let kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let huge = "/sys/kernel/mm/transparent_hugepage/enabled";
    let huge = std::fs::read_to_string(huge).unwrap_or_default();
    let chosen = huge.split(['[', ']']).nth(1).unwrap_or("never");
    Machine {
        processor: toolchain::line_of("/proc/cpuinfo", "model name"),
        processors: std::thread::available_parallelism().map_or(0, |count| count.get()),
        kernel: toolchain::line_of("/proc/sys/kernel/osrelease", ""),
        libc: format!("glibc {}", toolchain::glibc()),
        rustc: toolchain::first_line(Path::new(&rustc), "--version"),
        memory_mib: kib / 1024,
        huge_pages: chosen.to_string(),
    }
}

/// Today, in UTC.
pub fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    day(seconds / 86_400)
}

/// A day by its number since 1970-01-01.
fn day(number: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, number);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::day;

    #[test]
    fn days_have_dates() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(19_782), "2024-02-29");
        assert_eq!(day(20_088), "2024-12-31");
        assert_eq!(day(20_089), "2025-01-01");
    }
}
