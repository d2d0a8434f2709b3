//! How much of the process is in memory, read without allocating.
//! The rollup of its mappings is exact where `statm` may lag behind by some pages for each processor; the peak is the kernel's own.

use std::ffi::CStr;

/// Resident now, in KiB.
pub fn kib() -> u64 {
    field(c"/proc/self/smaps_rollup", b"Rss:").unwrap_or_else(|| {
        field(c"/proc/self/status", b"VmRSS:").expect("the kernel says what is resident")
    })
}

/// The most that was ever resident, in KiB: of this program alone, where `ru_maxrss` counts from before its `exec`.
pub fn peak_kib() -> u64 {
    field(c"/proc/self/status", b"VmHWM:").expect("the kernel keeps the peak")
}

fn field(path: &CStr, key: &[u8]) -> Option<u64> {
    let mut text = [0u8; 4096];
    // SAFETY: reads into the buffer, no more than it holds.
    let length = unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return None;
        }
        let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        usize::try_from(length).ok()?
    };
    let line = text[..length].split(|byte| *byte == b'\n').find(|line| line.starts_with(key))?;
    let digits = line.iter().filter(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
