//! `cargo +nightly fuzz run bitset_expand`: every backend of the bitset engine against the oracle (see `src/bitmaps.rs`).
//! Backends that the processor lacks are named as not run at the start.
//! An input that is too short for its operation is passed over.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = bitmag_fuzz::bitmaps::expand(&mut arbitrary::Unstructured::new(data));
});
