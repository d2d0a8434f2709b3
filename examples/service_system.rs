//! The key-value service of the example `service` on the system allocator, to be compared with.
//!
//! `cargo run --release --example service` builds and runs it by itself. Only the
//! `#[global_allocator]` line differs (and the name under which the program reports); bitmag is
//! linked here too, but serves nothing, and its counters prove that.

#[path = "service/mod.rs"]
mod service;

#[global_allocator]
static ALLOCATOR: std::alloc::System = std::alloc::System;

fn main() -> std::process::ExitCode {
    service::main("system")
}
