//! The C face of bitmag: `malloc`, `operator new` and their kin, as a shared library for
//! `LD_PRELOAD` or direct linking, and as a static library.
//! `constructor` runs at load; `entry` holds the three hot entries (`malloc`, `free`, `free_sized`), `c` every other function
//! and the slow sides of those three, and `freestanding` what a program without Rust's standard
//! library has to define.
//! The allocator itself is the crate `bitmag`; nothing here keeps state of its own beyond a few
//! cached addresses.

#![cfg_attr(not(test), no_std)]

#[cfg(not(test))]
mod c;
#[cfg(not(test))]
mod constructor;
#[cfg(not(test))]
mod entry;
#[cfg(not(test))]
mod freestanding;
