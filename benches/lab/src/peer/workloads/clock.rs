//! A clock for single calls: the processor's own counter where there is one, calibrated against the system's monotonic clock before
//! anything is measured; the same for every allocator.

use std::time::{Duration, Instant};

/// Ticks since some time.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86_64 has the counter.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        use std::sync::OnceLock;
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Nanoseconds of one tick.
pub fn nanoseconds() -> f64 {
    let (begin, first) = (Instant::now(), ticks());
    while begin.elapsed() < Duration::from_millis(20) {}
    let (took, last) = (begin.elapsed(), ticks());
    took.as_nanos() as f64 / (last - first) as f64
}
