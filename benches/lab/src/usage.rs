//! What the system says that a process used.

use crate::result::Sample;
use anyhow::{Result, ensure};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

/// Waits for a process: how it ended, and a sample with its processor time, its page faults and its peak. That one is no less than what
/// the calling process had when it started the other.
pub fn wait(child: &Child) -> Result<(ExitStatus, Sample)> {
    let id = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: an all-zero rusage is one.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both out-pointers are live.
    let got = unsafe { libc::wait4(id, &raw mut status, 0, &raw mut used) };
    ensure!(got == id, "wait4: {}", std::io::Error::last_os_error());
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let sample = Sample {
        user: seconds(used.ru_utime),
        system: seconds(used.ru_stime),
        minor_faults: u64::try_from(used.ru_minflt)?,
        peak_kib: u64::try_from(used.ru_maxrss)?,
        ..Sample::default()
    };
    Ok((ExitStatus::from_raw(status), sample))
}
