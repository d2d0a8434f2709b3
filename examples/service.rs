//! A key-value service on bitmag: the main job that the allocator is measured by.
//!
//! `cargo run --release --example service` builds the same program once more on the system
//! allocator (the example `service_system`: one line differs), then sends both the same load by
//! turns and prints one table. The server is a child process, and it is the child that is built
//! twice; the load comes from the parent, always this program. So the clients' allocations touch
//! neither the server's memory figures nor its allocator, and cost both sides the same. `--serve
//! ADDR` leaves the service running for a real client, such as redis-cli; `--help` tells the rest.

#[path = "service/mod.rs"]
mod service;

#[global_allocator]
static ALLOCATOR: bitmag::Bitmag = bitmag::Bitmag::new();

fn main() -> std::process::ExitCode {
    service::main("bitmag")
}
