//! The sweeps: every length at every offset, and the patterns that break vector code.
//! Single bits, single holes, and runs that cross word, vector and page borders, at each place where they can lie.
//! Each test here drives `Runner`, which compares all backends with the oracle.

use super::runner::{Random, Runner};

/// A word in which about one bit in 2^sparse is set, or clear if `sparse` is negative.
fn word(random: &mut Random, sparse: i32) -> u64 {
    let word = (1..sparse.abs().max(1)).fold(random.draw(), |w, _| w & random.draw());
    if sparse < 0 { !word } else { word }
}

/// Words with bits from `offset` up to `offset + length` of one of eight kinds.
fn pattern(kind: usize, offset: usize, length: usize, random: &mut Random) -> Vec<u64> {
    let end = offset + length;
    let mut words = vec![0u64; end.div_ceil(64)];
    let mut set = |bit: usize, on: bool| {
        if on && bit >= offset && bit < end {
            words[bit / 64] |= 1 << (bit % 64);
        }
    };
    let chosen = offset + random.below(length);
    match kind {
        0 => set(end.wrapping_sub(1), true),
        1 => set(chosen, true),
        2 => (offset..end).for_each(|i| set(i, true)),
        3 => (offset..end).for_each(|i| set(i, i != chosen)),
        4 => (offset..end).for_each(|i| set(i, random.below(2) == 0)),
        5 => (offset..end).for_each(|i| set(i, random.below(40) != 0)),
        6 => (offset..end).for_each(|i| set(i, random.below(40) == 0)),
        _ => {}
    }
    words
}

/// Every bit length 0..=1100 at each of 64 offsets.
#[test]
fn every_length_at_every_offset() {
    let runner = Runner::new(32);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for length in 0..=1100 {
        for offset in 0..64 {
            let kind = (length * 7 + offset) % 8;
            for kind in [kind, (kind + 3) % 8] {
                let words = pattern(kind, offset, length, &mut random);
                let from = random.below(offset + length + 70);
                runner.searches(&words, from, offset + length);
            }
            let n = 1 + random.below(length.min(100) + 2);
            let words = pattern(2 + kind % 4, offset, length, &mut random);
            runner.runs(&words, n, 1 << random.below(8), random.below(words.len() + 2));
            let other = pattern(random.below(8), offset, length, &mut random);
            runner.pairs(&words, &other, random.below(length + 70), offset + length);
        }
    }
}

/// Every word length 0..=1100 at offsets 0, 1 and 63.
#[test]
fn every_word_length() {
    let runner = Runner::new(1200);
    let mut random = Random(0x0123_4567_89ab_cdef);
    for length in 0..=1100 {
        for offset in [0, 1, 63] {
            let bits = (length * 64usize).saturating_sub(offset);
            let kind = length % 8;
            let words = pattern(kind, offset, bits, &mut random);
            runner.searches(&words, offset, offset + bits);
            let other = pattern((kind + 2) % 8, offset, bits, &mut random);
            runner.pairs(&words, &other, offset, offset + bits);
            let longest = bits.min(1 << random.below(17));
            let n = 1 + random.below(longest + 1);
            runner.runs(&words, n, 1 << random.below(12), random.below(length + 2));
            let group = 1 + random.below(12);
            let sparse = pattern([0, 1, 6, 7][random.below(4)], offset, bits, &mut random);
            runner.summary(&sparse, group, random.below(bits + 1), &mut random);
        }
    }
}

/// One bit, one hole, one common bit, at each bit of bitmaps around the vector widths.
#[test]
fn single_bits_and_single_holes() {
    let runner = Runner::new(128);
    for length in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 18, 31, 32, 33, 34, 40, 65] {
        for bit in 0..length * 64 {
            let mut words = vec![0u64; length];
            words[bit / 64] = 1 << (bit % 64);
            runner.searches(&words, bit, bit);
            runner.searches(&words, bit + 1, bit + 1);
            runner.pairs(&words, &vec![!0; length], bit, bit + 1);
            let holes: Vec<u64> = words.iter().map(|w| !w).collect();
            runner.searches(&holes, bit, length * 64);
            runner.pairs(&holes, &words, bit, length * 64);
            runner.pairs(&holes, &vec![0; length], bit, length * 64);
        }
    }
}

/// A run of each length at each place, between bits that almost make one.
#[test]
fn runs_across_borders() {
    let runner = Runner::new(128);
    let mut random = Random(77);
    for n in (1..=70).chain([95, 127, 128, 129, 191, 192, 193, 256, 300, 512, 1000]) {
        for start in (0..192usize).chain([255, 256, 510, 511, 512, 1023, 1024, 1090]) {
            // Before the run: runs of n - 1. After it: ones.
            let length = (start + n).div_ceil(64) + random.below(3);
            let mut words = vec![0u64; length];
            for bit in 0..length * 64 {
                let inside = bit >= start && bit < start + n;
                let before = bit + 1 < start && n > 1 && (start - 2 - bit) % n != n - 1;
                if inside || before || bit > start + n {
                    words[bit / 64] |= 1 << (bit % 64);
                }
            }
            runner.runs(&words, n, 1, length);
            runner.runs(&words, n, 1 << random.below(9), (start + n) / 64);
        }
    }
}

/// Runs of units in a large arena, across page borders, with the length as a bound and as a start.
#[test]
fn long_runs() {
    let runner = Runner::new(2048);
    let mut random = Random(4242);
    for n in [65, 100, 128, 1000, 4096, 10_000, 32_768, 65_000, 100_000] {
        for _ in 0..12 {
            let mut words: Vec<u64> = (0..2048).map(|_| word(&mut random, -8)).collect();
            let start = random.below(2048 * 64 - n);
            for bit in start..start + n {
                words[bit / 64] |= 1 << (bit % 64);
            }
            runner.runs(&words, n, 1 << random.below(18), 2048 - random.below(3));
            runner.runs(&words, n + 1, 64, (start + n) / 64);
            runner.runs(&vec![0; 2048], n, 1, 2048);
            runner.runs(&vec![!0; 2048], n, 1 << random.below(18), n / 64 + random.below(2));
        }
    }
    runner.runs(&[!0; 4], usize::MAX, usize::MAX, usize::MAX);
    runner.runs(&[!0; 4], 3, 1 << (usize::BITS - 2), usize::MAX);
    runner.runs(&[], 0, 1, 0);
}

/// Every length of byte array, every place of the first large byte.
#[test]
fn first_byte() {
    let runner = Runner::new(256);
    let mut random = Random(5);
    for length in 0..=200 {
        for place in 0..=length {
            let least = [0, 1, 127, 128, 200, 255][random.below(6)];
            let small = |r: &mut Random| if least == 0 { 0 } else { r.below(least.into()) as u8 };
            let mut bytes: Vec<u8> = (0..length).map(|_| small(&mut random)).collect();
            if place < length {
                bytes[place] = least + random.below(256 - usize::from(least)) as u8;
            }
            runner.bytes(&bytes, least);
        }
    }
}

/// Taking bits out of words of every density, k from nothing to more than there is.
#[test]
fn expanding() {
    let runner = Runner::new(128);
    let mut random = Random(99);
    let sizes = [16, 48, 64, 112, 1024, 1152, 28672, 32768, 65536];
    for length in [0, 1, 2, 3, 8, 16, 64] {
        for sparse in [-64, -9, -5, -3, -2, 1, 2, 3, 4, 5, 7] {
            for k in 0..=70 {
                let mut words: Vec<u64> = (0..length).map(|_| word(&mut random, sparse)).collect();
                if k % 3 == 0 && length > 1 {
                    words[random.below(length)] = [0, !0, 1, 1 << 63][random.below(4)];
                }
                let size = sizes[random.below(sizes.len())];
                runner.expand(&words, random.below(length + 1), k, size);
                runner.expand(&words, 0, k, size);
            }
        }
    }
    // Runs of each length at each place of a word, and each number of bits left to take.
    for start in 0..64 {
        for n in 0..=64 - start {
            let word = (((1u128 << n) - 1) << start) as u64;
            let k = random.below(n + 3);
            runner.expand(&[word, !word], 0, k, 64);
            runner.expand(&[!word, word], 0, 31, 48);
        }
    }
    // Empty words at the beginning, and nothing else.
    for empty in 0..80 {
        let mut words = vec![0; empty];
        runner.expand(&words, random.below(empty + 1), 31, 64);
        words.extend([1 << (empty % 64), !0, 0, 0x8421]);
        runner.expand(&words, random.below(empty + 1), empty % 40, 64);
        runner.expand(&words, 0, 80, 48);
    }
    runner.expand(&[1, 2, 3], usize::MAX / 64, 5, 16);
}

/// Units in the window: 1 TiB on 64-bit targets, 256 MiB on others.
const UNITS: usize = 1 << (usize::BITS * 3 / 8);

/// The beginning, the inside and the end of every block under every size: right, misaligned, outside, NULL.
#[test]
fn locating() {
    let runner = Runner::new(8);
    let mut random = Random(3);
    let base = 0x5123_4567_0000_u64 as usize;
    let sizes = (1..=64).map(|i| i * 16).chain((0..40).map(|i| (8 + i % 8) << (7 + i / 8)));
    for size in sizes.chain([2, 3, 24, 4095, 65535, 65536]) {
        let mut offsets = Vec::new();
        for block in 0..65536usize.div_ceil(size) {
            let at = block * size;
            offsets.extend([at, at + 1, at + 8, (at + size).wrapping_sub(1)].map(|o| o & 0xffff));
        }
        for chunk in offsets.chunks(1 + random.below(32)) {
            let unit = random.below(UNITS);
            let mut pointers: Vec<usize> = chunk.iter().map(|o| base + (unit << 16) + o).collect();
            let odd = random.below(pointers.len() * 3);
            if odd < pointers.len() {
                pointers[odd] =
                    [0, base - 16, usize::MAX, base.wrapping_add(UNITS << 16)][random.below(4)];
            }
            runner.locate(&pointers, base, UNITS, size);
            runner.locate(&pointers, base, unit, size);
        }
    }
    runner.locate(&[], base, 1, 16);
}
