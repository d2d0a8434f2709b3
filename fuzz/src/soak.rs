//! The same sequences from a random number generator instead of a fuzzer, on any toolchain:
//! `cargo run --release --manifest-path fuzz/Cargo.toml --no-default-features --bin soak -- SECONDS [checked] [SEED]`.
//! `BITMAG_BACKEND` forces a backend of the bitset engine. It prints the seed first; a failure repeats with it. No coverage guides it: it finds what long runs find.

use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use bitmag::{Bitmag, Config};
use bitmag_fuzz::{LiveSet, Operation, force_backend};

static PLAIN: Bitmag = Bitmag::new();
static CHECKED: Bitmag = Bitmag::with(Config::new().check(true));

fn main() {
    let mut checked = false;
    let mut numbers = Vec::new();
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), argument.parse::<u64>()) {
            ("checked", _) => checked = true,
            (_, Ok(number)) => numbers.push(number),
            _ => {
                eprintln!("usage: soak SECONDS [checked] [SEED]");
                std::process::exit(2);
            }
        }
    }
    if !force_backend() {
        return;
    }
    let seconds = numbers.first().copied().unwrap_or(10);
    let mut state = numbers.get(1).copied().unwrap_or_else(|| u64::from(std::process::id()));
    println!(
        "fuzz: soak of {seconds} s, seed {state}, checked mode {}, backend {}",
        if checked { "on" } else { "off" },
        bitmag::bitset::backend().name()
    );
    state = state.wrapping_mul(2).wrapping_add(1);

    let end = Instant::now() + Duration::from_secs(seconds);
    let mut bytes = vec![0u8; 16 << 10];
    let (mut sequences, mut done) = (0u64, 0u64);
    while Instant::now() < end {
        for chunk in bytes.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        let mut source = Unstructured::new(&bytes);
        let mut operations = Vec::new();
        while !source.is_empty() {
            operations
                .push(Operation::arbitrary(&mut source).expect("the generator gives bytes enough"));
        }
        done += LiveSet::new(if checked { &CHECKED } else { &PLAIN }).run(&operations);
        sequences += 1;
    }
    let stats = bitmag::stats();
    println!(
        "fuzz: {sequences} sequences, {done} operations; {} blocks by refills, {} remote frees",
        stats.refilled_blocks, stats.remote_frees
    );
    assert!(
        stats.refilled_blocks > 0 && stats.remote_frees > 0,
        "the counters show that bitmag served nothing"
    );
}
