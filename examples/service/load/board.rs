//! The model of one sorted set: players and their scores.
//! Kept in the order in which the server must list them, by score and then by name.
//! Names have leading zeros, so that the order of names is the order of numbers.

use std::collections::BTreeSet;

use super::batch::Batch;

/// Players that one board can have.
pub const PLAYERS: u32 = 128;

/// Players with scores.
#[derive(Clone, Debug, Default)]
pub struct Board {
    scores: Vec<Option<i64>>,
    order: BTreeSet<(i64, u32)>,
}

impl Board {
    /// Sets a player's score; whether the player is new.
    pub fn set(&mut self, player: u32, score: i64) -> bool {
        self.scores.resize(PLAYERS as usize, None);
        let old = self.scores[player as usize].replace(score);
        if let Some(old) = old {
            self.order.remove(&(old, player));
        }
        self.order.insert((score, player));
        old.is_none()
    }

    /// Takes a player out; whether there was one.
    pub fn remove(&mut self, player: u32) -> bool {
        let old = self.scores.get_mut(player as usize).and_then(Option::take);
        old.is_some_and(|old| self.order.remove(&(old, player)))
    }

    /// A player's score.
    pub fn score(&self, player: u32) -> Option<i64> {
        self.scores.get(player as usize).copied().flatten()
    }

    /// How many players there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes of all names.
    pub fn bytes(&self) -> usize {
        self.len() * name(0).len()
    }

    /// Writes the players from a place on into the expected answer, with scores.
    pub fn expect_places(&self, first: usize, count: usize, batch: &mut Batch) {
        let found: Vec<_> = self.order.iter().skip(first).take(count).copied().collect();
        batch.array(2 * found.len());
        for (score, player) in found {
            batch.bulk(&name(player)).bulk(itoa::Buffer::new().format(score).as_bytes());
        }
    }

    /// Writes the players between two scores, both included, into the expected answer.
    pub fn expect_scores(&self, low: i64, high: i64, batch: &mut Batch) {
        let found: Vec<_> =
            self.order.range((low, 0)..=(high, PLAYERS)).map(|&(_, player)| player).collect();
        batch.array(found.len());
        for player in found {
            batch.bulk(&name(player));
        }
    }
}

/// A player's name.
pub fn name(player: u32) -> [u8; 12] {
    let mut name = *b"player:00000";
    let mut rest = player;
    for digit in name[7..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    name
}
