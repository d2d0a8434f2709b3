//! The symbols that assembly defines: thread-local block, dummies, window.
//!
//! Their names carry the crate's version, so that two versions of the crate can be linked into one
//! program. All are hidden: every shared object that holds the crate has its own.

use crate::layout::{SLOTS, Thread, Top, Window};
use core::arch::global_asm;

#[cfg(target_arch = "x86_64")]
global_asm!(
    include_str!("../../asm/x86_64/data.s"),
    tls = sym TLS, dummy = sym DUMMY, dummy_thread = sym DUMMY_THREAD, window = sym WINDOW,
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    include_str!("../../asm/aarch64/data.s"),
    tls = sym TLS, dummy = sym DUMMY, dummy_thread = sym DUMMY_THREAD, window = sym WINDOW,
);

/// What `WINDOW` is outside the crate: words of which only assembly reads four.
#[doc(hidden)]
#[repr(transparent)]
pub struct WindowSymbol(Window);

unsafe extern "C" {
    /// The thread-local block. Its address is an offset: only assembly may use it.
    #[doc(hidden)]
    #[link_name = concat!("bitmag_tls_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"))]
    pub static TLS: u8;
    /// The window.
    #[doc(hidden)]
    #[link_name = concat!("bitmag_window_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"))]
    pub static WINDOW: WindowSymbol;
    #[link_name = concat!("bitmag_dummy_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"))]
    static DUMMY: [usize; SLOTS];
    #[link_name = concat!("bitmag_dummy_thread_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"))]
    static DUMMY_THREAD: u8;
}

/// The window's description.
#[inline(always)]
pub(crate) fn window() -> &'static Window {
    // SAFETY: defined in assembly with the layout of Window, zero at first, all fields atomic.
    unsafe { &WINDOW.0 }
}

/// The top that is both empty and full.
#[inline(always)]
pub(crate) fn dummy_top() -> Top {
    // SAFETY: the dummy has SLOTS entries; only its address is taken here.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            // One instruction, where the compiler looks the address up in a table.
            let top: Top;
            core::arch::asm!(
                "lea {top}, [rip + {dummy} + {last}]",
                top = out(reg) top,
                dummy = sym DUMMY,
                last = const (SLOTS - 1) * size_of::<*mut u8>(),
                options(pure, nomem, nostack, preserves_flags)
            );
            top
        }
        #[cfg(not(target_arch = "x86_64"))]
        (&raw const DUMMY).cast::<*mut u8>().add(SLOTS - 1).cast_mut()
    }
}

/// The record of threads that have none: medium tops on the dummy, nothing else.
#[inline(always)]
pub(crate) fn dummy_thread() -> *mut Thread {
    (&raw const DUMMY_THREAD).cast::<Thread>().cast_mut()
}
