//! The example service's protocol and commands: what it must answer, and what it must not let a
//! client do to it. The server's own source is taken in by path; the modules test the parser and
//! its helpers, the commands without a socket, and connections, in this order. Everything runs on
//! bitmag, behind a counter of the largest block that a test has asked for.

#[path = "../examples/service/server/mod.rs"]
#[allow(dead_code, reason = "the example uses the rest")]
mod server;

#[path = "service_protocol/commands.rs"]
mod commands;
#[path = "service_protocol/connections.rs"]
mod connections;
#[path = "service_protocol/parts.rs"]
mod parts;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

struct Watched(bitmag::Bitmag);

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Watched = Watched(bitmag::Bitmag::new());

fn watch(size: usize) {
    LARGEST.set(LARGEST.get().max(size));
}

// SAFETY: every call goes to bitmag as it came.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch(size);
        // SAFETY: as above.
        unsafe { self.0.realloc(block, layout, size) }
    }
}

fn words(words: &[&str]) -> server::request::Request {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}
