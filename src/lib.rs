//! bitmag: a general-purpose memory allocator. Bit(map) slabs behind mag(azines).
//!
//! Free memory is described by bitmaps outside the blocks and handed to threads in batches, as
//! arrays of pointers (magazines). An allocation that hits is a pop of eleven instructions, a free a
//! push; neither touches the block. Everything else happens once per batch.
//!
//! ```
//! #[global_allocator]
//! static A: bitmag::Bitmag = bitmag::Bitmag::new();
//!
//! fn main() {
//!     let words: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
//!     assert!(bitmag::stats().refilled_blocks > 0); // proof of who served them
//!     drop(words);
//! }
//! ```
//!
//! Any dynamically linked program can use it too, through the shared library that the package
//! `bitmag-malloc` builds: `LD_PRELOAD=libbitmag_malloc.so program`.
//!
//! ARCHITECTURE.md tells how it works, file by file.
//!
//! # Features
//! - `bitset`: the bitset engine (AVX2, AVX-512, NEON, scalar) as the public module `bitset`; see the example `bitset_scan`.
#![no_std]
#![warn(missing_docs)]
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

#[cfg(not(target_os = "linux"))]
compile_error!("bitmag runs on Linux only, so far: it speaks to the kernel directly");
#[cfg(not(target_has_atomic = "64"))]
compile_error!("bitmag needs 64-bit atomic operations, which this architecture lacks");
#[cfg(target_abi = "x32")]
compile_error!("bitmag does not support the x32 ABI");

#[cfg(any(test, loom))]
extern crate std;

mod arena;
mod background;
mod batch;
#[cfg(feature = "bitset")]
pub mod bitset;
#[cfg(not(feature = "bitset"))]
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the engine offers more than the allocator uses"
)]
mod bitset;
mod block;
mod burst;
mod check;
mod config;
mod environment;
mod face;
mod fork;
mod heap;
mod hit;
mod init;
mod layout;
mod magazine;
mod maintain;
mod misuse;
mod os;
mod prewarm;
mod rolled;
mod single;
mod size_class;
mod stats;
#[cfg(all(test, not(any(loom, asan, tsan)), target_arch = "x86_64", target_pointer_width = "64"))]
mod stepped;
mod sync;
mod thread;
mod trace;

#[doc(hidden)]
pub mod c_face;

/// Symbols that the assembly of the C face refers to.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
#[doc(hidden)]
pub mod symbols {
    pub use crate::hit::{TLS, WINDOW};
}

pub use background::start_background;
pub use batch::{alloc_batch, free_batch};
pub use bitset::Backend;
pub use config::{Config, Foreign, HugePages};
pub use face::{Bitmag, trim, usable_size};
pub use maintain::{Budget, Maintained, maintain, purge};
pub use prewarm::prewarm;
pub use stats::{ClassStats, Stats, stats};
