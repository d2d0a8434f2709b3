//! Initialisation: on the first slow call of the process, whoever makes it.
//!
//! First what needs raw system calls only (settings, heaps, the window): from then on allocation
//! works. Then what calls into libc and may allocate itself (the thread-exit key, the fork
//! handlers, the exit handler): such calls are served in single-block mode, and so is any other
//! thread until it is done.

use crate::arena::{policy, purge, tables, window};
use crate::background;
use crate::bitset;
use crate::check;
use crate::config::{Background, Config, Foreign};
use crate::fork;
use crate::heap;
use crate::hit;
use crate::layout::Thread;
use crate::os;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use crate::trace::Recorder;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};

const NONE: usize = 0;
const READY: usize = 2;
const COMPLETE: usize = 3;
const FAILED: usize = 4;

static STATE: AtomicUsize = AtomicUsize::new(NONE);
/// The thread that initialises, or has: 0 at first.
static STARTED_BY: AtomicUsize = AtomicUsize::new(0);

/// Whether slow calls need not look closer: allocation works, and nobody is told of every call.
static OPEN: AtomicBool = AtomicBool::new(false);

/// What the first slow call settled. Written by one thread before READY.
struct Settings {
    config: Config,
    key: libc::pthread_key_t,
}

struct Place(UnsafeCell<Settings>);
// SAFETY: written once, before STATE says READY (the key: COMPLETE) with release; read after.
unsafe impl Sync for Place {}
static SETTINGS: Place = Place(UnsafeCell::new(Settings { config: Config::new(), key: 0 }));

/// Whether allocation works.
#[inline(always)]
pub(crate) fn is_ready() -> bool {
    matches!(STATE.load(Ordering::Acquire), READY | COMPLETE)
}

/// Whether allocation works and calls need not be reported. Asked first by whoever hands out blocks.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    OPEN.load(Ordering::Acquire)
}

/// Who is to be told of every call.
pub(crate) fn recorder() -> Option<Recorder> {
    if !is_ready() {
        return None;
    }
    // SAFETY: READY was seen with acquire.
    unsafe { (*SETTINGS.0.get()).config.recorder }
}

/// Whether threads can be registered.
#[inline(always)]
pub(crate) fn is_complete() -> bool {
    STATE.load(Ordering::Acquire) == COMPLETE
}

/// The background thread that the settings ask for.
pub(crate) fn background() -> Option<Background> {
    if !is_ready() {
        return None;
    }
    // SAFETY: READY was seen with acquire.
    unsafe { (*SETTINGS.0.get()).config.background }
}

/// What to do with foreign pointers.
pub(crate) fn foreign() -> Foreign {
    if !is_ready() {
        return Foreign::Abort;
    }
    // SAFETY: READY was seen with acquire.
    unsafe { (*SETTINGS.0.get()).config.foreign }
}

/// Makes sure that allocation works; `false` if there is no memory even for its tables.
#[inline(always)]
pub(crate) fn ensure(config: &Config) -> bool {
    is_ready() || start(config)
}

#[cold]
#[inline(never)]
fn start(config: &Config) -> bool {
    loop {
        match STARTED_BY.compare_exchange(0, hit::token(), Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => break,
            _ if is_ready() => return true,
            _ if STATE.load(Ordering::Acquire) == FAILED => return false,
            // A signal handler inside this very thread's initialisation gets nothing.
            Err(starter) if starter == hit::token() => return false,
            Err(_) => os::yield_now(),
        }
    }
    let mut config = *config;
    let mut at_exit = None;
    match config.environment {
        Some(read) => at_exit = read(&mut config),
        None => config.recorder = None,
    }
    if let Some(backend) = config.backend {
        bitset::set_backend(backend);
    }
    let wide = matches!(bitset::backend(), bitset::Backend::Avx2 | bitset::Backend::Avx512);
    hit::window().wide.store(usize::from(wide), Ordering::Relaxed);
    if config.check {
        check::turn_on();
    }
    purge::configure(&config);
    policy::configure(&config);
    background::configure(config.background, !config.c_face);
    // SAFETY: this thread alone initialises: nobody else reads or writes the settings yet.
    unsafe {
        (*SETTINGS.0.get()).config = config;
    }
    let heaps = heap::wanted();
    tables::set_heaps(heaps);
    if !heap::init(heaps) || !window::place(config.check) {
        STATE.store(FAILED, Ordering::Release);
        return false;
    }
    STATE.store(READY, Ordering::Release);
    OPEN.store(config.recorder.is_none(), Ordering::Release);
    complete(&config, at_exit);
    if let Some((prewarm, wanted)) = config.prewarm {
        prewarm(wanted);
    }
    true
}

/// The part that calls into libc. Allocations on its way are served in single-block mode.
fn complete(config: &Config, at_exit: Option<extern "C" fn()>) {
    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<unsafe extern "C" fn()>,
            parent: Option<unsafe extern "C" fn()>,
            child: Option<unsafe extern "C" fn()>,
        ) -> c_int;
    }
    let mut key = 0;
    let mut good = true;
    if needs_key(config) {
        // SAFETY: `on_exit` takes the record that `at_thread_exit` sets; the library that holds it
        // is never unloaded (C face), or is the program.
        good = unsafe { libc::pthread_key_create(&raw mut key, Some(hit::ON_THREAD_EXIT)) } == 0;
    }
    // SAFETY: nobody reads the key before COMPLETE.
    unsafe { (*SETTINGS.0.get()).key = key };
    // SAFETY: plain functions that stay where they are.
    unsafe {
        pthread_atfork(Some(fork::prepare), Some(fork::in_parent), Some(fork::in_child));
        if let Some(write_stats) = at_exit {
            libc::atexit(write_stats);
        }
    }
    if good {
        STATE.store(COMPLETE, Ordering::Release);
    }
}

/// Whether thread exits are learnt of by a pthread key: in the C face, which is never unloaded, and
/// where libc has nothing better.
const fn needs_key(config: &Config) -> bool {
    config.c_face
        || cfg!(not(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))
}

/// The key whose destructor runs at thread exit.
#[allow(dead_code, reason = "not every target reaches its block through it")]
pub(crate) fn key() -> libc::pthread_key_t {
    // SAFETY: callers have seen COMPLETE.
    unsafe { (*SETTINGS.0.get()).key }
}

/// Has `record` given back when the calling thread exits. May call `calloc` on its way.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "threads are registered by the key there: hit/key.rs")
)]
pub(crate) fn at_thread_exit(record: *mut Thread) -> bool {
    // SAFETY: COMPLETE, so the settings are final.
    let settings = unsafe { &*SETTINGS.0.get() };
    if needs_key(&settings.config) {
        // SAFETY: the key exists, see `complete`.
        return unsafe { libc::pthread_setspecific(settings.key, record.cast::<c_void>()) } == 0;
    }
    register_destructor(record.cast())
}

cfg_if::cfg_if! {
    if #[cfg(target_env = "gnu")] {
        /// Registers with the C++ runtime's list, which pins the library that holds the function.
        fn register_destructor(record: *mut c_void) -> bool {
            unsafe extern "C" {
                fn __cxa_thread_atexit_impl(
                    destructor: unsafe extern "C" fn(*mut c_void),
                    object: *mut c_void,
                    library: *const u8,
                ) -> c_int;
                static __dso_handle: u8;
            }
            // SAFETY: the record outlives the thread; __dso_handle names this library.
            unsafe { __cxa_thread_atexit_impl(hit::ON_THREAD_EXIT, record, &raw const __dso_handle) == 0 }
        }
    } else {
        /// There is no such list: the key serves.
        fn register_destructor(_: *mut c_void) -> bool {
            false
        }
    }
}
