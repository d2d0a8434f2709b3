//! The hit path: pop and push on a thread's magazine, and what it reads.
//!
//! x86_64 has it in assembly (`asm/x86_64/`), every other target in Rust (`portable`). Thread-local
//! storage is defined in assembly on x86_64 and aarch64 and reached through a pthread key elsewhere.
//! All variants offer the same functions; nothing but a magazine is touched on a hit.

use crate::layout::Top;

cfg_if::cfg_if! {
    if #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))] {
        mod block;
        pub(crate) mod inline;
        mod symbols;
        mod x86_64;
        pub(crate) use block::{ON_THREAD_EXIT, token, writable_tls};
        pub use symbols::{TLS, WINDOW};
        pub(crate) use symbols::{dummy_thread, dummy_top, window};
        pub(crate) use x86_64::{alloc, free_sized, size_at, slot_of, tls, try_free};
    } else if #[cfg(all(target_arch = "aarch64", target_pointer_width = "64"))] {
        mod aarch64;
        mod block;
        mod portable;
        pub(crate) use portable::layouts as inline;
        mod symbols;
        pub(crate) use block::{ON_THREAD_EXIT, token, writable_tls};
        pub(crate) use aarch64::tls;
        pub(crate) use portable::{alloc, free_sized, try_alloc, try_free};
        pub(crate) use symbols::{dummy_thread, dummy_top, window};
    } else {
        pub(crate) mod key;
        mod portable;
        pub(crate) use portable::layouts as inline;
        pub(crate) use key::{ON_THREAD_EXIT, dummy_thread, dummy_top, tls, token, window, writable_tls};
        pub(crate) use portable::{alloc, free_sized, try_alloc, try_free};
    }
}

/// Whether a top stands on the dummy.
#[inline(always)]
pub(crate) fn is_dummy(top: Top) -> bool {
    top == dummy_top()
}
