//! The C++ operators `new` and `delete` in all their forms, under their mangled names.
//! `failure` decides what a failing `new` does next, `family` keeps programs working that replace
//! only some of the operators, and one file per architecture holds the entries: assembly where
//! an exception may pass, because none may pass through a frame of Rust.
//! Elsewhere the portable entries serve everything but the exceptions.

mod failure;
mod family;

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod personality;
        mod x86_64;
        pub use x86_64::WHOLE_FAMILY;
    } else if #[cfg(target_arch = "aarch64")] {
        mod personality;
        mod aarch64;
        pub use aarch64::WHOLE_FAMILY;
    } else {
        mod portable;
        pub use portable::WHOLE_FAMILY;
    }
}
