//! Atomics: the core library's. Under `cfg(loom)` the same types with the same layout, so that mapped memory, statics and
//! the assertions on structures stay as they are, whose operations a model can follow (`sync/modelled.rs`).
//!
//! Every module takes its atomics from here.

cfg_if::cfg_if! {
    if #[cfg(loom)] {
        mod modelled;
        pub use modelled::{
            AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence,
        };
        #[cfg(test)]
        pub(crate) use modelled::{check, ready, spawn};
    } else {
        #[allow(unused_imports, reason = "some are for other processors")]
        pub(crate) use core::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence,
        };
    }
}
