//! One runner drives every backend of the bitset engine over the same bitmaps and compares with the oracle.
//! Each bitmap lies against a guard page; a backend that the CPU lacks is reported as "not run", never as passed.
//! The sweeps, the property tests and the fuzz targets (`fuzz/src/bitmaps.rs`) all go through it.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::Ordering::Relaxed;

use super::bitset::{BATCH, Backend, Engine, Located, Spacing};
use super::memory::Guarded;
use super::oracle::Bits;

/// The backends to test: all that this CPU has, or the one that BITMAG_BACKEND names. If the CPU lacks that one,
/// nothing is tested and nothing is called passed: the process says so and ends.
pub(crate) fn engines() -> Vec<Engine> {
    let wanted = std::env::var("BITMAG_BACKEND").ok();
    if let Some(name) = &wanted {
        assert!(Backend::from_name(name.as_bytes()).is_some(), "BITMAG_BACKEND={name}");
    }
    let mut engines = Vec::new();
    let mut lacking = String::new();
    for backend in Backend::ALL {
        if wanted.as_deref().is_some_and(|name| name != backend.name()) {
            continue;
        }
        match Engine::new(backend) {
            Some(engine) => engines.push(engine),
            None => lacking += &format!("{}: not run (this CPU lacks it)\n", backend.name()),
        }
    }
    // Written past the test harness, which would keep it back.
    static SAID: Once = Once::new();
    SAID.call_once(|| _ = std::io::stderr().write_all(lacking.as_bytes()));
    if engines.is_empty() {
        std::process::exit(0);
    }
    engines
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

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.draw() >> 32) as usize % n.max(1)
    }
}

/// Memory for one runner, allocated once.
pub(crate) struct Runner {
    pub(crate) engines: Vec<Engine>,
    a: Guarded,
    b: Guarded,
    slots: Guarded,
}

impl Runner {
    pub(crate) fn new(words: usize) -> Runner {
        Runner {
            engines: engines(),
            a: Guarded::new(words * 8),
            b: Guarded::new(words * 8),
            slots: Guarded::new(4096),
        }
    }

    /// Every search and test over these words; `from` and `bits` are positions to start from and to end at.
    pub(crate) fn searches(&self, words: &[u64], from: usize, bits: usize) {
        let oracle = Bits::of_words(words);
        let first = oracle.first_set_from(0);
        let first_from = oracle.first_set_from(from);
        let last = oracle.last_set();
        let count = oracle.count(bits);
        let all = oracle.all_set(bits);
        for back in [true, false] {
            let placed = self.a.words(words, back);
            for engine in &self.engines {
                let name = engine.backend().name();
                let what = || format!("{name}: {} words, from {from}, bits {bits}", words.len());
                assert_eq!(engine.first_set(placed), first, "first_set, {}", what());
                assert_eq!(engine.first_set_from(placed, from), first_from, "from, {}", what());
                assert_eq!(engine.last_set(placed), last, "last_set, {}", what());
                assert_eq!(engine.count(placed, bits), count, "count, {}", what());
                assert_eq!(engine.all_set(placed, bits), all, "all_set, {}", what());
                assert_eq!(engine.any_set(placed, bits), count > 0, "any_set, {}", what());
            }
        }
    }

    /// Everything that takes two bitmaps.
    pub(crate) fn pairs(&self, a: &[u64], b: &[u64], from: usize, bits: usize) {
        let (oracle_a, oracle_b) = (Bits::of_words(a), Bits::of_words(b));
        let both = oracle_a.and(&oracle_b);
        let either = oracle_a.or(&oracle_b);
        let first = both.first_set_from(0);
        let first_from = both.first_set_from(from);
        let all = either.all_set(bits);
        let (a, b) = (self.a.words(a, true), self.b.words(b, true));
        for engine in &self.engines {
            let name = engine.backend().name();
            let what = || format!("{name}: {} and {} words, from {from}", a.len(), b.len());
            assert_eq!(engine.first_set_and(a, b), first, "and, {}", what());
            assert_eq!(engine.first_set_and_from(a, b, from), first_from, "and from, {}", what());
            assert_eq!(engine.all_set_or(a, b, bits), all, "all_set_or, {}", what());
        }
    }

    /// The lowest run of n, free and aligned, and within fewer words.
    pub(crate) fn runs(&self, words: &[u64], n: usize, align: usize, max_words: usize) {
        let oracle = Bits::of_words(words);
        let bounded = oracle.first_run(n, 1, max_words);
        let aligned = oracle.first_run(n, align, usize::MAX);
        let placed = self.a.words(words, true);
        for engine in &self.engines {
            let name = engine.backend().name();
            let what = || format!("{name}: {} words, n {n}", words.len());
            let found = engine.first_run(placed, n, max_words);
            assert_eq!(found, bounded, "run within {max_words}, {}", what());
            let found = engine.first_run_aligned(placed, n, align);
            assert_eq!(found, aligned, "run at {align}, {}", what());
        }
    }

    /// The two-level search; `stale` sets summary bits over groups without any.
    pub(crate) fn summary(&self, words: &[u64], group: usize, from: usize, stale: &mut Random) {
        let mut summary = vec![0u64; words.len().div_ceil(group).div_ceil(64)];
        for (i, chunk) in words.chunks(group).enumerate() {
            if chunk.iter().any(|w| *w != 0) || stale.below(4) == 0 {
                summary[i / 64] |= 1 << (i % 64);
            }
        }
        let expected = Bits::of_words(words).first_set_from(from);
        let (words, summary) = (self.a.words(words, true), self.b.words(&summary, true));
        for engine in &self.engines {
            let found = engine.first_set_summary(summary, words, group, from);
            assert_eq!(found, expected, "{:?}, group {group}, from {from}", engine.backend());
        }
    }

    /// The first byte that is large enough.
    pub(crate) fn bytes(&self, bytes: &[u8], least: u8) {
        let expected = bytes.iter().position(|b| *b >= least);
        for back in [true, false] {
            let placed = self.a.bytes(bytes, back);
            for engine in &self.engines {
                let found = engine.first_byte_at_least(placed, least);
                assert_eq!(found, expected, "{:?}, {} bytes", engine.backend(), bytes.len());
            }
        }
    }

    /// Takes k bits: the pointers, the words left, the place to go on from, nothing written outside k slots.
    pub(crate) fn expand(&self, words: &[u64], from_word: usize, k: usize, size: usize) {
        // The second base lies shortly before a multiple of 4 GiB.
        for base in [0x7f12_3456_0000_u64, 0x7f12_ffff_fa00] {
            self.expand_from(words, from_word, k, base as usize, size);
        }
    }

    fn expand_from(&self, words: &[u64], from_word: usize, k: usize, base: usize, size: usize) {
        let mut left = Bits::of_words(words);
        let taken = left.take(from_word, k);
        for engine in &self.engines {
            let name = engine.backend().name();
            let what =
                format!("{name}: {} words from {from_word}, k {k}, size {size}", words.len());
            for back in [true, false] {
                let placed = self.a.words(words, true);
                let slots = self.slots.place::<usize>(k, back);
                // SAFETY: nobody else uses the words or the k slots, which lie in the guarded region.
                let (done, written) = unsafe {
                    let done = engine.expand(placed, from_word, k, base, size, slots.add(k).cast());
                    (done, std::slice::from_raw_parts(slots, k))
                };
                assert_eq!(done.taken, taken.len(), "taken, {what}");
                for (i, index) in taken.iter().enumerate() {
                    let expected = base.wrapping_add(index * size);
                    assert_eq!(written[k - 1 - i], expected, "pointer {i}, {what}");
                }
                let after: Vec<u64> = placed.iter().map(|w| w.load(Relaxed)).collect();
                assert!(Bits::of_words(&after).0 == left.0, "words left, {what}");
                let next = left.first_set_from(from_word.saturating_mul(64));
                let bound = next.map_or(words.len().max(from_word), |bit| bit / 64);
                assert!(done.next_word >= from_word && done.next_word <= bound, "next, {what}");
                if let Some(last) = taken.last() {
                    assert!(done.next_word >= last / 64, "next, {what}");
                }
            }
        }
    }

    /// Finds where pointers lie.
    pub(crate) fn locate(&self, pointers: &[usize], base: usize, units: usize, size: usize) {
        let slots = self.slots.place::<usize>(pointers.len(), true);
        // SAFETY: the region holds the pointers.
        unsafe { slots.copy_from_nonoverlapping(pointers.as_ptr(), pointers.len()) };
        for engine in &self.engines {
            let mut out = [Located::default(); BATCH];
            let spacing = Spacing::new(size);
            // SAFETY: so many pointers lie there.
            let faults = unsafe {
                engine.locate(slots.cast(), pointers.len(), base, units, &spacing, &mut out)
            };
            for (i, pointer) in pointers.iter().enumerate() {
                let delta = pointer.wrapping_sub(base);
                let offset = delta & 0xffff;
                let whole = offset % size == 0 && offset + size <= 0x1_0000;
                let fault = delta >> 16 >= units || !whole;
                let what = format!("{:?}, {pointer:#x} in {size}", engine.backend());
                assert_eq!(faults >> i & 1 == 1, fault, "{what}");
                if !fault {
                    assert_eq!(out[i].unit as usize, delta >> 16, "unit, {what}");
                    assert_eq!(out[i].index as usize, (delta & 0xffff) / size, "index, {what}");
                }
            }
            let beyond = (!0u64 << pointers.len()) as u32;
            assert_eq!(faults & if pointers.len() < 32 { beyond } else { 0 }, 0);
        }
    }
}
