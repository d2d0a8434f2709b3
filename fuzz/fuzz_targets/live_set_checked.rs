//! `cargo +nightly fuzz run live_set_checked`: the sequences of `live_set` in the checked mode.
//! There every call takes the slow path for one block, and the allocator looks at each free itself.
//! A correct sequence must pass without a word from it.
#![no_main]

use bitmag::{Bitmag, Config};
use bitmag_fuzz::{LiveSet, Operation};
use libfuzzer_sys::fuzz_target;

static ALLOCATOR: Bitmag = Bitmag::with(Config::new().check(true));

fuzz_target!(|operations: Vec<Operation>| {
    LiveSet::new(&ALLOCATOR).run(&operations);
});
