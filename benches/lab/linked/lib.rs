//! bitmag's C face from the sources of `bitmag-malloc`, linked into the lab's program as the static libraries of the other allocators
//! are. `libbitmag_malloc.a` itself would bring a second copy of the crate `bitmag` beside the one whose Rust face the program uses.

#![no_std]

#[path = "../../../malloc/src/c/mod.rs"]
mod c;
#[path = "../../../malloc/src/constructor.rs"]
mod constructor;
#[allow(
    clippy::missing_safety_doc,
    reason = "they are C's functions, with what C asks of their callers"
)]
#[path = "../../../malloc/src/entry.rs"]
pub mod entry;
