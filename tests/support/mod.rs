//! The test language that all test programs share: faces, blocks, the live-set model, child processes, counters, the preloadable library.
//! Each test program is a `harness = false` target whose `main` hands its tests and its scenarios to `verdict::main`.
//! A scenario is a function that runs alone in a child process of the same program, so that counters, limits and crashes are its own.

pub mod api;
pub mod block;
pub mod c_api;
pub mod child;
pub mod counters;
pub mod crowd;
pub mod face;
pub mod library;
pub mod model;
pub mod places;
pub mod verdict;

/// Returns an `Err` with a message unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
