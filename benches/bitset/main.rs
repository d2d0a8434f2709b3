//! The bitset engine's bench: every backend against the shipped scalar one, a plain loop, and reading alone.
//! `cargo bench --bench bitset` prints each table, then the rows to reach with what was measured; `-- quick` leaves out
//! the larger sizes. All of a table is measured in one run, interleaved; results are checked before they are timed.

/// Where the engine takes its atomics from.
#[cfg(not(feature = "bitset"))]
#[allow(unused_imports, reason = "which ones depends on the target")]
mod sync {
    pub use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
}

#[cfg(feature = "bitset")]
use bitmag::bitset;
#[cfg(not(feature = "bitset"))]
#[path = "../../src/bitset/mod.rs"]
#[allow(dead_code, unused_imports)]
mod bitset;

mod batches;
mod measure;
mod plain;

use std::hint::black_box;
use std::sync::atomic::{AtomicU8, AtomicU64};

use bitset::{Backend, Engine};
use measure::{Candidate, nanoseconds};

/// A row of the table of what is to be reached.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) reach: f64,
    /// Whether more is better.
    pub(crate) more: bool,
    pub(crate) unit: &'static str,
}

/// What was measured so far of that table.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// A ratio that should be at least `reach`.
    pub(crate) fn at_least(&mut self, what: String, measured: f64, reach: f64) {
        self.push(what, measured, reach, true, "x");
    }

    /// A figure that should be at most `reach`.
    pub(crate) fn at_most(&mut self, what: String, measured: f64, reach: f64, unit: &'static str) {
        self.push(what, measured, reach, false, unit);
    }

    fn push(&mut self, what: String, measured: f64, reach: f64, more: bool, unit: &'static str) {
        self.0.push(Row { what, measured, reach, more, unit });
    }

    fn print(&self) {
        println!("\n{:64} {:>9} {:>10}", "to reach", "measured", "");
        for row in &self.0 {
            let reached =
                if row.more { row.measured >= row.reach } else { row.measured <= row.reach };
            let (sign, verdict) =
                (if row.more { ">=" } else { "<=" }, if reached { "reached" } else { "MISSED" });
            println!(
                "{:64} {:7.2} {:2} {sign} {:5.2}   {verdict}",
                row.what, row.measured, row.unit, row.reach
            );
        }
    }
}

/// The engines of this machine, the scalar one first.
pub(crate) fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for backend in Backend::ALL {
        match Engine::new(backend) {
            Some(engine) => engines.push(engine),
            None => println!("{}: not run (this CPU lacks it)", backend.name()),
        }
    }
    engines
}

/// Words as atomics, aligned as bitmaps in mapped memory are.
pub(crate) fn bitmap(words: impl IntoIterator<Item = u64>) -> &'static [AtomicU64] {
    #[repr(align(64))]
    struct Line(#[allow(dead_code)] [AtomicU64; 8]);
    let words: Vec<u64> = words.into_iter().collect();
    let mut lines = Vec::new();
    for chunk in words.chunks(8) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        lines.push(Line(eight.map(AtomicU64::new)));
    }
    let lines = lines.leak();
    // SAFETY: a line is eight words, and the lines hold at least words.len() of them.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), words.len()) }
}

/// A generator that every run repeats.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// One line of a table: what, then nanoseconds of each candidate.
fn line(what: &str, candidates: &mut [Candidate]) -> Vec<f64> {
    let times = nanoseconds(candidates);
    print!("{what:34}");
    for (candidate, time) in candidates.iter().zip(&times) {
        print!(" {:>9} {time:8.2}", candidate.name);
    }
    println!();
    times
}

/// A candidate for each backend, after the plain loop whose answer they must give.
fn compare<'a, T: PartialEq + std::fmt::Debug>(
    engines: &'a [Engine],
    plain: impl Fn() -> T + 'a,
    engine: impl Fn(Engine) -> T + Copy + 'a,
) -> Vec<Candidate<'a>> {
    let expected = plain();
    let mut candidates = vec![Candidate::new("loop", move |n| {
        for _ in 0..n {
            black_box(plain());
        }
    })];
    for &e in engines {
        assert_eq!(engine(e), expected, "{:?}", e.backend());
        candidates.push(Candidate::new(e.backend().name(), move |n| {
            // Chosen once for many calls, as in a refill; each call still asks which it is.
            let e = black_box(e);
            for _ in 0..n {
                black_box(engine(e));
            }
        }));
    }
    candidates
}

/// The column of a backend in a line of `compare`.
fn column(engines: &[Engine], backend: Backend) -> Option<usize> {
    Some(1 + engines.iter().position(|e| e.backend() == backend)?)
}

fn first_set(engines: &[Engine], report: &mut Report, sizes: &[usize]) {
    println!("\nfirst set, only the last bit, ns");
    for &size in sizes {
        let words = bitmap((0..size).map(|i| if i + 1 == size { 1 << 63 } else { 0 }));
        let plain = || plain::first_set(black_box(words));
        let mut candidates = compare(engines, plain, |e| e.first_set(black_box(words)));
        candidates.push(Candidate::new("reading", |n| {
            for _ in 0..n {
                plain::read_alone(black_box(words));
            }
        }));
        let times = line(&format!("{size} words"), &mut candidates);
        let reading = times[times.len() - 1];
        if let Some(avx2) = column(engines, Backend::Avx2) {
            for (of, words, reach) in [
                (0, 64, 5.0),
                (0, 512, 7.4),
                (0, 4096, 7.0),
                (1, 64, 1.4),
                (1, 512, 2.3),
                (1, 4096, 2.4),
            ] {
                if words == size {
                    let name = ["word by word", "scalar"][of];
                    let what = format!("first set, {size} words, AVX2 over {name}");
                    report.at_least(what, times[of] / times[avx2], reach);
                }
            }
        }
        if let Some(avx512) = column(engines, Backend::Avx512)
            && size >= 256
        {
            let reach = if size == 4096 { 1.1 } else { 1.35 };
            let what = format!("first set, {size} words, AVX-512 against reading alone");
            report.at_most(what, times[avx512] / reading, reach, "x");
        }
        if size <= 8 {
            for (column, engine) in engines.iter().enumerate().skip(1) {
                let what =
                    format!("first set, {size} words, {:?} against scalar", engine.backend());
                // Twice the same code differs by so much on this kind of machine.
                report.at_most(what, times[column + 1] / times[1], 1.05, "x");
            }
        }
    }
}

/// Words of random bits in which no run reaches n, but for one in the last word.
fn fragments(size: usize, n: usize, dense: bool) -> &'static [AtomicU64] {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ n as u64);
    let mut length = 0;
    let mut words = vec![0u64; size];
    for bit in 0..size * 64 - 2 * n.max(32) {
        let one = if dense { length < n - 1 } else { random.draw() >> 63 == 1 };
        if one && length < n - 1 {
            words[bit / 64] |= 1 << (bit % 64);
            length += 1;
        } else {
            length = 0;
        }
    }
    for bit in size * 64 - n..size * 64 {
        words[bit / 64] |= 1 << (bit % 64);
    }
    bitmap(words)
}

fn runs(engines: &[Engine], report: &mut Report, sizes: &[usize]) {
    for dense in [false, true] {
        let kind = if dense { "runs of n - 1 in a row" } else { "random bits, half of them set" };
        println!("\nfirst run of n bits, only at the end, before it {kind}, ns");
        for n in [4usize, 16, 64] {
            for &size in sizes.iter().filter(|s| **s >= 64) {
                let words = fragments(size, n, dense);
                let plain = || plain::first_run(black_box(words), n as u32);
                let mut candidates =
                    compare(engines, plain, |e| e.first_run(black_box(words), n, size));
                let times = line(&format!("n {n}, {size} words"), &mut candidates);
                for (backend, reach) in [(Backend::Avx2, 6.0), (Backend::Avx512, 10.0)] {
                    if let Some(column) = column(engines, backend) {
                        let kind = if dense { "near runs" } else { "random" };
                        let what = format!(
                            "run of {n}, {size} words, {kind}, {backend:?} over word by word"
                        );
                        report.at_least(what, times[0] / times[column], reach);
                    }
                }
            }
        }
    }
    println!(
        "\nfirst run of n bits in 8 words (a run slab), only at the end, before it random bits, ns"
    );
    for n in [9usize, 16, 32, 48, 64, 80, 128, 200] {
        let words = fragments(8, n, false);
        let plain = || plain::first_long_run(black_box(words), n);
        let mut candidates = vec![];
        if n <= 64 {
            candidates = compare(
                engines,
                || plain::first_run(black_box(words), n as u32),
                |e| e.first_run(black_box(words), n, 8),
            );
        } else {
            candidates.extend(compare(engines, plain, |e| e.first_run(black_box(words), n, 8)));
        }
        line(&format!("n {n}, 8 words"), &mut candidates);
    }
    println!("\nfirst run of n bits, only at the end, before it random bits, ns");
    for n in [100usize, 256, 1000, 10_000] {
        for &size in sizes.iter().filter(|s| **s * 64 > 4 * n) {
            let words = fragments(size, n, false);
            let plain = || plain::first_long_run(black_box(words), n);
            let mut candidates =
                compare(engines, plain, |e| e.first_run(black_box(words), n, size));
            line(&format!("n {n}, {size} words"), &mut candidates);
        }
    }
}

fn others(engines: &[Engine], sizes: &[usize]) {
    println!("\nthe other operations, ns");
    for &size in sizes {
        let last = bitmap((0..size).map(|i| if i + 1 == size { 1 << 63 } else { 0 }));
        let first = bitmap((0..size).map(|i| u64::from(i == 0)));
        let ones = bitmap((0..size).map(|_| !0));
        let halves = bitmap((0..size).map(|i| if i % 2 == 0 { !0 } else { 0x0f0f }));
        let others = bitmap((0..size).map(|i| if i % 2 == 1 { !0 } else { 0xf0f0 }));
        let plain = || plain::last_set(black_box(first));
        let mut candidates = compare(engines, plain, |e| e.last_set(black_box(first)));
        line(&format!("last set, {size} words"), &mut candidates);
        let plain = || plain::first_set_and(black_box(ones), black_box(last));
        let mut candidates =
            compare(engines, plain, |e| e.first_set_and(black_box(ones), black_box(last)));
        line(&format!("first set of a AND b, {size} words"), &mut candidates);
        let plain = || plain::all_set(black_box(ones));
        let mut candidates = compare(engines, plain, |e| e.all_set(black_box(ones), size * 64));
        line(&format!("all set, {size} words"), &mut candidates);
        let plain = || plain::all_set_or(black_box(halves), black_box(others));
        let mut candidates = compare(engines, plain, |e| {
            e.all_set_or(black_box(halves), black_box(others), size * 64)
        });
        line(&format!("all set of a OR b, {size} words"), &mut candidates);
        let plain = || plain::count(black_box(halves));
        let mut candidates = compare(engines, plain, |e| e.count(black_box(halves), size * 64));
        line(&format!("count, {size} words"), &mut candidates);
        // SAFETY: the words seen as bytes.
        let bytes: &[AtomicU8] =
            unsafe { std::slice::from_raw_parts(last.as_ptr().cast(), size * 8) };
        let plain = || plain::first_byte_at_least(black_box(bytes), 100);
        let mut candidates =
            compare(engines, plain, |e| e.first_byte_at_least(black_box(bytes), 100));
        line(&format!("first byte of {}", size * 8), &mut candidates);
    }
}

/// The processor as the system names it; family and model tell what a virtual machine's name does not.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|l| l.split('\t').next() == Some(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let name = field("model name").unwrap_or_else(|| "unknown processor".into());
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{name}, family {family}, model {model}"),
        _ => name,
    }
}

fn main() {
    let quick = std::env::args().any(|a| a == "quick");
    println!("{}", machine());
    let engines = engines();
    let mut report = Report::default();
    let sizes: &[usize] =
        if quick { &[1, 8, 64, 512] } else { &[1, 2, 3, 4, 6, 8, 9, 16, 32, 64, 256, 512, 4096] };
    // Names of sections on the command line limit the run to them.
    let sections = ["first", "runs", "expand", "flush", "others", "instructions"];
    let named = |s: &str| std::env::args().any(|a| a == s);
    let wanted = |s: &str| named(s) || !sections.iter().any(|s| named(s));
    if wanted("first") {
        first_set(&engines, &mut report, sizes);
    }
    if wanted("runs") {
        runs(&engines, &mut report, if quick { &[64, 512] } else { &[64, 256, 512, 4096] });
    }
    if wanted("expand") {
        batches::expand(&engines, &mut report);
    }
    if wanted("flush") {
        batches::flush(&engines, &mut report);
    }
    if wanted("others") {
        others(&engines, if quick { &[64] } else { &[8, 16, 64, 512, 4096] });
    }
    if wanted("instructions") {
        batches::instructions(&engines, &mut report);
    }
    report.print();
}
