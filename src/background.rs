//! The optional background thread: gives memory back in a process that makes no calls.
//!
//! Off unless the settings ask for it. It sleeps, does a round of `maintain`, and sleeps again; it
//! never allocates, so it has no magazines, blocks all signals, and waits for no lock. It is created
//! by `pthread_create`, which calls into libc and may allocate: never under a lock, and only where no
//! lock of libc's can be held. That is, in a Rust program at the first slow call that leaves free
//! memory behind; in the C face, whose `free` may be called by libc itself, when the library is
//! loaded.
//!
//! A thread of its own must not keep a process alive whose others have all ended by `pthread_exit`:
//! it looks after each round, and ends as the last one.
//!
//! In the child of a fork it does not run. A Rust program starts it again at its next need; others
//! by `start_background`.

use crate::config::Background;
use crate::maintain::{Budget, maintain};
use crate::os;
use crate::sync::{AtomicU32, Ordering};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;

const OFF: u32 = 0;
/// Somebody is creating it, or it runs.
const ON: u32 = 1;
/// The system has refused to create it.
const REFUSED: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(OFF);
/// Milliseconds between two rounds; 0: not wanted.
static PERIOD: AtomicU32 = AtomicU32::new(0);
/// Whether slow calls may start it: not in the C face.
static LAZY: AtomicU32 = AtomicU32::new(0);

/// Period of "on" without a number, milliseconds.
pub(crate) const PERIOD_MS: u32 = 500;
/// Address space of its stack; it touches two pages or three.
const STACK_BYTES: usize = 256 << 10;
/// Calls of `maintain` in a round.
const CALLS: usize = 64;
/// What each may do.
const BUDGET: Budget = Budget::new().slabs(4096).system_calls(64);

/// Takes the settings over. Before the first allocation only.
pub(crate) fn configure(wanted: Option<Background>, lazy: bool) {
    LAZY.store(u32::from(lazy), Ordering::Relaxed);
    PERIOD.store(wanted.map_or(0, |(period, _)| period), Ordering::Relaxed);
}

/// Starts the thread if it is wanted and may be started here. For slow calls that have left free
/// memory behind and hold no lock: two loads where it is off.
#[inline]
pub(crate) fn start_if_wanted() {
    if PERIOD.load(Ordering::Relaxed) != 0
        && STATE.load(Ordering::Relaxed) == OFF
        && LAZY.load(Ordering::Relaxed) != 0
        && crate::init::is_complete()
    {
        start_as_set();
    }
}

/// By way of the settings, so that programs that do not ask for the thread do not have it.
#[cold]
#[inline(never)]
fn start_as_set() {
    if let Some((_, start)) = crate::init::background() {
        start();
    }
}

/// Starts the background thread now, if the settings ask for one: before a sandbox forbids it, or in
/// the child of a fork. Whether it runs.
///
/// It creates a thread, and so must not be called from a signal handler.
pub fn start_background() -> bool {
    PERIOD.load(Ordering::Relaxed) != 0 && (STATE.load(Ordering::Relaxed) == ON || start())
}

/// In the child of a fork: it did not come along.
pub(crate) fn after_fork() {
    if STATE.load(Ordering::Relaxed) == ON {
        STATE.store(OFF, Ordering::Relaxed);
    }
}

/// Creates the thread, unless somebody has: whether it runs.
#[cold]
#[inline(never)]
pub(crate) fn start() -> bool {
    if STATE.compare_exchange(OFF, ON, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return STATE.load(Ordering::Relaxed) == ON;
    }
    // SAFETY: plain calls of libc with values of this function's. All signals are blocked while the
    // thread is created, so that it inherits that; errno is put back for the caller.
    let created = unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let mut all = MaybeUninit::uninit();
        let mut old = MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        let mut attributes = MaybeUninit::uninit();
        let mut created = false;
        if libc::pthread_attr_init(attributes.as_mut_ptr()) == 0 {
            let detached = libc::PTHREAD_CREATE_DETACHED;
            libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), detached);
            libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK_BYTES);
            let mut thread = MaybeUninit::uninit();
            created = libc::pthread_create(
                thread.as_mut_ptr(),
                attributes.as_ptr(),
                run,
                ptr::null_mut(),
            ) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut());
        *errno = before;
        created
    };
    if !created {
        STATE.store(REFUSED, Ordering::Relaxed);
    }
    created
}

extern "C" fn run(_: *mut c_void) -> *mut c_void {
    loop {
        os::sleep(PERIOD.load(Ordering::Relaxed));
        for _ in 0..CALLS {
            if maintain(BUDGET).complete {
                break;
            }
        }
        if is_last() {
            return ptr::null_mut();
        }
    }
}

/// Whether all other threads have ended: the process's first is a zombie, and there is one more.
fn is_last() -> bool {
    let Ok(file) = os::open(c"/proc/self/stat".as_ptr().cast(), false) else { return false };
    let mut text = [0; 512];
    let length = os::read(file, &mut text).unwrap_or(0);
    os::close(file);
    leader_is_gone(text.get(..length).unwrap_or(&[]))
}

/// What `/proc/self/stat` says behind the program's name: state is the first field, the number of
/// threads the eighteenth.
fn leader_is_gone(stat: &[u8]) -> bool {
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else { return false };
    let mut fields = stat.get(end + 2..).unwrap_or(&[]).split(|byte| *byte == b' ');
    fields.next() == Some(b"Z") && fields.nth(16) == Some(b"2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thread_knows_that_it_is() {
        let stat = |state: &str, threads: &str| {
            let text = std::format!(
                "77 (a) b) {state} 1 77 77 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 {threads} 0 123 4"
            );
            leader_is_gone(text.as_bytes())
        };
        assert!(stat("Z", "2"));
        assert!(!stat("Z", "3"));
        assert!(!stat("S", "2"));
        assert!(!leader_is_gone(b""));
        assert!(!is_last());
    }
}
