//! The environment: `BITMAG_` variables, read once before the first allocation, without allocating.
//!
//! libc's `environ` is used where it is set; before libc has started (a call from inside the dynamic
//! loader) the kernel's copy in `/proc/self/environ` is. A bad value is named on stderr and ignored.

use crate::background::{self, PERIOD_MS};
use crate::bitset::Backend;
use crate::config::{Config, Foreign, HugePages};
use crate::misuse::write_line;
use crate::os;
use crate::stats;
use crate::trace::{Event, Recorder};
use core::cell::UnsafeCell;

/// Longest path that `BITMAG_STATS` can hold, its NUL included.
const PATH_BYTES: usize = 512;

/// Where statistics go when the process ends.
#[allow(clippy::large_enum_variant, reason = "there is one, in static memory")]
enum StatsTarget {
    /// Nowhere.
    None,
    /// Stderr.
    Stderr,
    /// A file; NUL-terminated, `%p` stands for the process id.
    Path([u8; PATH_BYTES]),
}

/// Where statistics go: what `read` found.
struct Place(UnsafeCell<StatsTarget>);
// SAFETY: written once, by the thread that initialises, before `write_stats` is registered; read there.
unsafe impl Sync for Place {}
static TARGET: Place = Place(UnsafeCell::new(StatsTarget::None));

/// Overrides `config` with what the environment says; returns what writes statistics at the end, if they are asked for.
///
/// Called once, by the thread that initialises.
pub(crate) fn read(config: &mut Config) -> Option<extern "C" fn()> {
    let recorder = config.recorder.take();
    if os::is_privileged() {
        return None;
    }
    // SAFETY: this thread alone initialises: nobody else reads or writes the target yet.
    let stats = unsafe { &mut *TARGET.0.get() };
    let variables = os::environment();
    if variables.is_null() {
        from_kernel(config, recorder, stats);
    } else {
        from_libc(variables, config, recorder, stats);
    }
    if matches!(stats, StatsTarget::None) { None } else { Some(write_stats) }
}

/// Writes the statistics where the environment said. An exit handler.
extern "C" fn write_stats() {
    // SAFETY: it was registered after the target was written.
    match unsafe { &*TARGET.0.get() } {
        StatsTarget::None => {}
        StatsTarget::Stderr => stats::write(libc::STDERR_FILENO),
        StatsTarget::Path(path) => {
            let mut expanded = [0u8; 1024];
            stats::expand_path(path, &mut expanded);
            if let Ok(file) = os::open(expanded.as_ptr(), true) {
                stats::write(file);
                os::close(file);
            }
        }
    }
}

/// Applies what libc has.
fn from_libc(
    mut variables: *const *const u8,
    config: &mut Config,
    recorder: Option<Recorder>,
    stats: &mut StatsTarget,
) {
    loop {
        // SAFETY: the environment is an array of strings that ends with NULL; nobody changes it
        // before the first allocation.
        let variable = unsafe { variables.read() };
        if variable.is_null() {
            return;
        }
        // SAFETY: as above; each string ends with NUL.
        let bytes = unsafe { core::ffi::CStr::from_ptr(variable.cast()) }.to_bytes();
        apply(bytes, config, recorder, stats);
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
            (b"", _) | (_, Some(0)) => set(&mut config.background, None),
            (_, Some(1)) => set(&mut config.background, Some((PERIOD_MS, background::start))),
            (_, Some(period @ 10..=0x4000_0000)) => {
                set(&mut config.background, Some((period, background::start)))
            }
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
