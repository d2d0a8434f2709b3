//! The environment: `BITMAG_` variables, read once before the first allocation, without allocating.
//!
//! libc's `environ` is used where it is set; before libc has started (a call from inside the dynamic
//! loader) the kernel's copy in `/proc/self/environ` is. A bad value is named on stderr and ignored.

use crate::background::PERIOD_MS;
use crate::bitset::Backend;
use crate::config::{Config, Foreign, HugePages};
use crate::misuse::write_line;
use crate::os;
use crate::trace::{Event, Recorder};

/// Longest path that `BITMAG_STATS` can hold, its NUL included.
const PATH_BYTES: usize = 512;

/// Where statistics go when the process ends.
#[allow(clippy::large_enum_variant, reason = "there is one, in static memory")]
#[derive(Clone, Copy)]
pub(crate) enum StatsTarget {
    /// Nowhere.
    None,
    /// Stderr.
    Stderr,
    /// A file; NUL-terminated, `%p` stands for the process id.
    Path([u8; PATH_BYTES]),
}

/// Overrides `config` with what the environment says; returns where statistics go.
pub(crate) fn read(config: &mut Config) -> StatsTarget {
    let mut stats = StatsTarget::None;
    let recorder = config.recorder.take();
    if os::is_privileged() {
        return stats;
    }
    let mut variables = os::environment();
    if variables.is_null() {
        from_kernel(config, recorder, &mut stats);
        return stats;
    }
    loop {
        // SAFETY: the environment is an array of strings that ends with NULL; nobody changes it
        // before the first allocation.
        let variable = unsafe { variables.read() };
        if variable.is_null() {
            return stats;
        }
        // SAFETY: as above; each string ends with NUL.
        let bytes = unsafe { core::ffi::CStr::from_ptr(variable.cast()) }.to_bytes();
        apply(bytes, config, recorder, &mut stats);
        // SAFETY: not the terminator, so there is another entry.
        variables = unsafe { variables.add(1) };
    }
}

/// Whether there is a `BITMAG_BACKGROUND`, whatever it says. For a library that is just being loaded.
pub(crate) fn asks_for_background() -> bool {
    let mut variables = os::environment();
    while !variables.is_null() {
        // SAFETY: the environment is an array of strings that ends with NULL, each of which ends with
        // NUL; nobody changes it while libraries are being loaded.
        let bytes = unsafe {
            let variable = variables.read();
            if variable.is_null() {
                return false;
            }
            variables = variables.add(1);
            core::ffi::CStr::from_ptr(variable.cast()).to_bytes()
        };
        if bytes.starts_with(b"BITMAG_BACKGROUND=") {
            return !os::is_privileged();
        }
    }
    false
}

/// Reads the kernel's copy piece by piece; variables longer than a piece are passed over.
fn from_kernel(config: &mut Config, recorder: Option<Recorder>, stats: &mut StatsTarget) {
    let Ok(file) = os::open(c"/proc/self/environ".as_ptr().cast(), false) else { return };
    let mut piece = [0u8; 1024];
    let mut kept = 0;
    let mut skipping = false;
    while let Some(room) = piece.get_mut(kept..) {
        let Ok(count @ 1..) = os::read(file, room) else { break };
        let filled = kept + count;
        let mut start = 0;
        while let Some(rest) = piece.get(start..filled) {
            let Some(end) = rest.iter().position(|byte| *byte == 0) else { break };
            if !skipping {
                apply(&rest[..end], config, recorder, stats);
            }
            skipping = false;
            start += end + 1;
        }
        piece.copy_within(start..filled, 0);
        kept = filled - start;
        if kept == piece.len() {
            kept = 0;
            skipping = true;
        }
    }
    os::close(file);
}

fn apply(
    variable: &[u8],
    config: &mut Config,
    recorder: Option<Recorder>,
    stats: &mut StatsTarget,
) {
    let Some(rest) = variable.strip_prefix(b"BITMAG_") else { return };
    let Some(equals) = rest.iter().position(|byte| *byte == b'=') else { return };
    let (name, value) = (&rest[..equals], &rest[equals + 1..]);
    let good = match name {
        b"CHECK" => match value {
            b"1" => {
                config.check = true;
                true
            }
            b"0" | b"" => true,
            _ => false,
        },
        b"FOREIGN" => match value {
            b"abort" => set(&mut config.foreign, Foreign::Abort),
            b"forward" => set(&mut config.foreign, Foreign::Forward),
            b"ignore" => set(&mut config.foreign, Foreign::Ignore),
            _ => false,
        },
        b"BACKEND" => match Backend::from_name(value) {
            Some(backend) if backend.is_available() => set(&mut config.backend, Some(backend)),
            _ => false,
        },
        b"PURGE_SHARE" => match value {
            b"never" => set(&mut config.purge_share, Config::NEVER),
            _ => number(value).is_some_and(|percent| set(&mut config.purge_share, percent)),
        },
        b"PURGE_FLOOR" => kibibytes(value, &mut config.purge_floor),
        b"HUGE_PAGES" => match value {
            b"never" => set(&mut config.huge_pages, HugePages::Never),
            b"auto" => set(&mut config.huge_pages, HugePages::Auto),
            b"always" => set(&mut config.huge_pages, HugePages::Always),
            _ => false,
        },
        b"POPULATE" => kibibytes(value, &mut config.populate),
        b"RESERVE" => kibibytes(value, &mut config.reserve),
        b"SOFT_LIMIT" => kibibytes(value, &mut config.soft_limit),
        b"BACKGROUND" => match (value, number(value)) {
            (b"", _) | (_, Some(0)) => set(&mut config.background, 0),
            (_, Some(1)) => set(&mut config.background, PERIOD_MS),
            (_, Some(period @ 10..=0x4000_0000)) => set(&mut config.background, period),
            _ => false,
        },
        b"STATS" => match value {
            b"0" | b"" => true,
            b"1" => set(stats, StatsTarget::Stderr),
            path if path.len() < PATH_BYTES => {
                let mut bytes = [0; PATH_BYTES];
                bytes[..path.len()].copy_from_slice(path);
                set(stats, StatsTarget::Path(bytes))
            }
            _ => false,
        },
        b"TRACE" => match (value, recorder) {
            (b"0" | b"", _) => true,
            (_, None) => false,
            (path, Some(recorder)) => {
                // Once; a path that cannot be opened is named by the recorder.
                if config.recorder.is_none() && recorder(Event::Start(path)) {
                    config.recorder = Some(recorder);
                    config.check = true;
                }
                true
            }
        },
        _ => return, // a name that another version may know
    };
    if !good {
        write_line(&[b"bitmag: ignoring ", variable, b"\n"]);
    }
}

/// A decimal number, all digits, at most 9 of them.
#[inline(never)]
fn number(value: &[u8]) -> Option<u32> {
    if value.is_empty() || value.len() > 9 {
        return None;
    }
    value.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

/// Sets a number of bytes that is given in KiB.
#[inline(never)]
fn kibibytes(value: &[u8], bytes: &mut usize) -> bool {
    number(value)
        .and_then(|kib| (kib as usize).checked_mul(1024))
        .is_some_and(|number| set(bytes, number))
}

fn set<T>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}
