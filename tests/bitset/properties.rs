//! Property tests: bitmaps that proptest makes up and shrinks, over every operation.
//! They find what no sweep was written for; the oracle and the runner are the same.
//! A failure is printed as the smallest bitmap that shows it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::runner::{Random, Runner};

/// Words of the kinds that matter: anything, nothing, everything, one bit, one hole.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(0),
        Just(!0),
        (0..64u32).prop_map(|b| 1 << b),
        (0..64u32).prop_map(|b| !(1 << b)),
        (0..64u32).prop_map(|b| !0 << b),
        (0..64u32).prop_map(|b| !0 >> b),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn search(words in vec(word(), 0..100), from in 0..7000usize, bits in 0..7000usize) {
        Runner::new(100).searches(&words, from, bits);
    }

    #[test]
    fn pair(a in vec(word(), 0..60), b in vec(word(), 0..60), from in 0..4000usize, bits in 0..4000usize) {
        Runner::new(60).pairs(&a, &b, from, bits);
    }

    #[test]
    fn run(words in vec(word(), 0..60), n in 0..1000usize, short in 0..70usize, align in 0..10u32, max in 0..70usize) {
        let runner = Runner::new(60);
        runner.runs(&words, n, 1 << align, max);
        runner.runs(&words, short, 1 << align, max);
    }

    #[test]
    fn summary(words in vec(prop_oneof![4 => Just(0), 1 => word()], 0..300), group in 1..20usize, from in 0..20000usize, seed in 1..u64::MAX) {
        Runner::new(300).summary(&words, group, from, &mut Random(seed));
    }

    #[test]
    fn bytes(bytes in vec(any::<u8>(), 0..400), least in any::<u8>()) {
        Runner::new(400).bytes(&bytes, least);
    }

    #[test]
    fn expand(words in vec(word(), 0..70), from in 0..72usize, k in 0..40usize, size in 1..4096usize) {
        Runner::new(70).expand(&words, from, k, size * 16);
    }

    #[test]
    fn locate(deltas in vec(0..1usize << 22, 0..=32), size in 2..=65536usize, units in 0..64usize) {
        let base = 0x1234_0000;
        let pointers: Vec<usize> = deltas.iter().map(|d| base + d / size * size).collect();
        Runner::new(8).locate(&pointers, base, units, size);
    }
}
