//! What every operation must answer, computed bit by bit in the most obvious way.
//! A bitmap here is a vector of bools; nothing is shared with the engine, no word, no trick.
//! The runner (`main.rs`) compares each backend with these.

/// A bitmap as bools.
#[derive(Clone)]
pub(crate) struct Bits(pub Vec<bool>);

impl Bits {
    pub(crate) fn of_words(words: &[u64]) -> Bits {
        let bit = |i: usize| words[i / 64] >> (i % 64) & 1 == 1;
        Bits((0..words.len() * 64).map(bit).collect())
    }

    pub(crate) fn first_set_from(&self, from: usize) -> Option<usize> {
        (from..self.0.len()).find(|&i| self.0[i])
    }

    pub(crate) fn last_set(&self) -> Option<usize> {
        self.0.iter().rposition(|&b| b)
    }

    pub(crate) fn and(&self, other: &Bits) -> Bits {
        Bits(self.0.iter().zip(&other.0).map(|(a, b)| *a && *b).collect())
    }

    pub(crate) fn or(&self, other: &Bits) -> Bits {
        Bits(self.0.iter().zip(&other.0).map(|(a, b)| *a || *b).collect())
    }

    pub(crate) fn count(&self, bits: usize) -> usize {
        self.0.iter().take(bits).filter(|b| **b).count()
    }

    pub(crate) fn all_set(&self, bits: usize) -> bool {
        self.0.iter().take(bits).all(|b| *b)
    }

    pub(crate) fn first_run(&self, n: usize, align: usize, max_words: usize) -> Option<usize> {
        let n = n.max(1);
        let mut length = 0;
        for (i, bit) in self.0.iter().take(max_words.saturating_mul(64)).enumerate() {
            length = if *bit { length + 1 } else { 0 };
            // Every run of n that ends here starts at i + 1 - n; the lowest aligned one ends first.
            if length >= n && (i + 1 - n).is_multiple_of(align) {
                return Some(i + 1 - n);
            }
        }
        None
    }

    /// Takes the `k` lowest bits from word `from_word` on: their numbers, lowest first.
    pub(crate) fn take(&mut self, from_word: usize, k: usize) -> Vec<usize> {
        let mut taken = Vec::new();
        let from = from_word.saturating_mul(64);
        for i in from.min(self.0.len())..self.0.len() {
            if self.0[i] && taken.len() < k {
                self.0[i] = false;
                taken.push(i);
            }
        }
        taken
    }
}
