//! A sorted set: members by name, and the same members by score.
//! The sorted-set commands are written on top of it; it knows nothing of the protocol.
//! A member's name is one reference-counted block that both orders share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

/// A score: any number but NaN, and one zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score(f64);

impl Score {
    /// `None` for what is not a number.
    pub fn new(value: f64) -> Option<Self> {
        // Adding zero turns -0 into 0, so that the total order agrees with equality.
        (!value.is_nan()).then_some(Self(value + 0.0))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The score at the end.
    pub score: Score,
    /// Whether that score itself is outside.
    pub exclusive: bool,
}

/// Members with scores, in the order of (score, name).
#[derive(Debug, Default)]
pub struct SortedSet {
    scores: HashMap<Arc<[u8]>, Score, RandomState>,
    order: BTreeSet<(Score, Arc<[u8]>)>,
}

impl SortedSet {
    /// How many members there are.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// The member's score.
    pub fn score(&self, member: &[u8]) -> Option<Score> {
        self.scores.get(member).copied()
    }

    /// Adds the member, or moves it; its old score.
    pub fn insert(&mut self, member: &[u8], score: Score) -> Option<Score> {
        if let Some((name, old)) = self.scores.get_key_value(member) {
            let (name, old) = (name.clone(), *old);
            if old != score {
                self.order.remove(&(old, name.clone()));
                self.order.insert((score, name.clone()));
                self.scores.insert(name, score);
            }
            return Some(old);
        }
        let name: Arc<[u8]> = Arc::from(member);
        self.order.insert((score, name.clone()));
        self.scores.insert(name, score);
        None
    }

    /// Takes the member out; whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.scores.remove_entry(member) {
            None => false,
            Some((name, score)) => {
                self.order.remove(&(score, name));
                true
            }
        }
    }

    /// Takes out the member with the lowest score, or with the highest.
    pub fn pop(&mut self, highest: bool) -> Option<(Arc<[u8]>, Score)> {
        let (score, name) =
            if highest { self.order.pop_last()? } else { self.order.pop_first()? };
        self.scores.remove(&name);
        Some((name, score))
    }

    /// How many members come before this one.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let (name, &score) = self.scores.get_key_value(member)?;
        Some(self.order.range(..(score, name.clone())).count())
    }

    /// All members in order, from either end.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], Score)> + ExactSizeIterator {
        self.order.iter().map(|(score, name)| (&**name, *score))
    }

    /// The members whose scores lie between two limits, in order.
    pub fn between(&self, low: Limit, high: Limit) -> impl Iterator<Item = (&[u8], Score)> {
        let start = (low.score, Arc::from(&[][..]));
        self.order
            .range(start..)
            .map(|(score, name)| (&**name, *score))
            .skip_while(move |(_, score)| low.exclusive && *score == low.score)
            .take_while(
                move |(_, score)| {
                    if high.exclusive { *score < high.score } else { *score <= high.score }
                },
            )
    }
}
