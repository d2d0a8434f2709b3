//! The bitset engine under the fuzzer: each function turns bytes into the arguments of one operation and lets the runner of
//! `tests/bitset` compare every backend with its oracle. The bytes choose words of the kinds that matter (anything, nothing,
//! everything, one bit, one hole), so that a short input reaches long bitmaps.

use arbitrary::{Result, Unstructured};
use bitmag::bitset;

#[path = "../../tests/bitset/memory.rs"]
mod memory;
#[path = "../../tests/bitset/oracle.rs"]
mod oracle;
#[path = "../../tests/bitset/runner.rs"]
mod runner;

use runner::{Random, Runner};

/// Longest bitmap made here.
const WORDS: usize = 600;

thread_local! {
    static RUNNER: Runner = Runner::new(WORDS);
}

/// A bitmap of at most `most` words.
fn words(u: &mut Unstructured, most: usize) -> Result<Vec<u64>> {
    let mut words = Vec::new();
    for _ in 0..u.int_in_range(0..=24)? {
        let word = match u.int_in_range(0..=5)? {
            0 => u.arbitrary()?,
            1 => 0,
            2 => !0,
            3 => 1 << u.int_in_range(0..=63)?,
            4 => !(1 << u.int_in_range(0..=63)?),
            _ => !0 << u.int_in_range(0..=63)?,
        };
        let times = 1 << u.int_in_range(0..=7)?;
        words.extend(std::iter::repeat_n(word, times));
    }
    words.truncate(most);
    Ok(words)
}

/// A position in or behind a bitmap.
fn position(u: &mut Unstructured, words: &[u64]) -> Result<usize> {
    u.int_in_range(0..=words.len() * 64 + 70)
}

/// First and last set bit, counts, all and any.
pub fn search(u: &mut Unstructured) -> Result<()> {
    let words = words(u, WORDS)?;
    let (from, bits) = (position(u, &words)?, position(u, &words)?);
    RUNNER.with(|runner| runner.searches(&words, from, bits));
    Ok(())
}

/// What two bitmaps have in common, or together.
pub fn pair(u: &mut Unstructured) -> Result<()> {
    let (a, b) = (words(u, WORDS)?, words(u, WORDS)?);
    let (from, bits) = (position(u, &a)?, position(u, &b)?);
    RUNNER.with(|runner| runner.pairs(&a, &b, from, bits));
    Ok(())
}

/// Runs of set bits.
pub fn run(u: &mut Unstructured) -> Result<()> {
    let words = words(u, WORDS)?;
    let n = if u.arbitrary()? { u.int_in_range(0..=70)? } else { position(u, &words)? };
    let (align, most) = (1 << u.int_in_range(0..=10)?, position(u, &words)? / 64);
    RUNNER.with(|runner| runner.runs(&words, n, align, most));
    Ok(())
}

/// The two-level search.
pub fn summary(u: &mut Unstructured) -> Result<()> {
    let words = words(u, WORDS)?;
    let (group, from) = (u.int_in_range(1..=20)?, position(u, &words)?);
    let stale = u.int_in_range(1..=u64::MAX)?;
    RUNNER.with(|runner| runner.summary(&words, group, from, &mut Random(stale)));
    Ok(())
}

/// The first large byte.
pub fn bytes(u: &mut Unstructured) -> Result<()> {
    let least = u.arbitrary()?;
    let bytes = words(u, 100)?.into_iter().flat_map(u64::to_le_bytes);
    let bytes: Vec<u8> = bytes.skip(u.int_in_range(0..=7)?).collect();
    RUNNER.with(|runner| runner.bytes(&bytes, least));
    Ok(())
}

/// Taking bits out as pointers.
pub fn expand(u: &mut Unstructured) -> Result<()> {
    let words = words(u, 128)?;
    let (from, k) = (u.int_in_range(0..=words.len() + 1)?, u.int_in_range(0..=80)?);
    let size = u.int_in_range(1..=4096)? * 16;
    RUNNER.with(|runner| runner.expand(&words, from, k, size));
    Ok(())
}

/// Finding where pointers lie.
pub fn locate(u: &mut Unstructured) -> Result<()> {
    let (base, units) = (0x1234_0000, u.int_in_range(0..=64)?);
    let size = u.int_in_range(2..=65536)?;
    let mut pointers = Vec::new();
    for _ in 0..u.int_in_range(0..=32)? {
        let block: usize = u.int_in_range(0..=65535 / size)?;
        let unit: usize = u.int_in_range(0..=65)?;
        let pointer = base + (unit << 16) + block * size;
        pointers.push(if u.ratio(1u8, 16)? { u.arbitrary()? } else { pointer });
    }
    RUNNER.with(|runner| runner.locate(&pointers, base, units, size));
    Ok(())
}
