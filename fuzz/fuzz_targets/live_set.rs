//! `cargo +nightly fuzz run live_set`: operation sequences on the default configuration (see `src/lib.rs`).
//! Each input is one sequence with a second thread of its own, so that every input ends with a thread exit.
//! The allocator keeps its state from one input to the next, as it would in a program.
#![no_main]

use bitmag::Bitmag;
use bitmag_fuzz::{LiveSet, Operation};
use libfuzzer_sys::fuzz_target;

static ALLOCATOR: Bitmag = Bitmag::new();

fuzz_target!(|operations: Vec<Operation>| {
    LiveSet::new(&ALLOCATOR).run(&operations);
});
