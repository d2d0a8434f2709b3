//! The requests on a connection's own keys, each with its answer and its effect on the model.
//! Strings and logs first, then lists, boards and hashes.
//! `Keyspace::step` chooses among them.

use super::batch::Batch;
use super::board::{self, PLAYERS};
use super::keyspace::{FIELDS, Keyspace};
use super::values;

/// A log is deleted when it has this many entries.
const LOG: usize = 32;

/// A list is only added to while it is shorter.
const LIST: usize = 96;

impl Keyspace {
    pub(super) fn get(&mut self, index: u32, batch: &mut Batch) {
        batch.command("GET", 1).key("string", self.owner, index);
        self.expect_string(index, batch);
        batch.exact();
    }

    fn expect_string(&self, index: u32, batch: &mut Batch) {
        match self.strings[index as usize] {
            Some(value) => batch.bulk(self.pad.get(value)),
            None => batch.nil(),
        };
    }

    pub(super) fn set(&mut self, index: u32, batch: &mut Batch) {
        let value = values::any(&mut self.rng);
        self.strings[index as usize] = Some(value);
        batch
            .command("SET", 2)
            .key("string", self.owner, index)
            .argument(self.pad.get(value))
            .ok()
            .exact();
    }

    pub(super) fn delete(&mut self, batch: &mut Batch) {
        let count = self.rng.usize(1..=3);
        let mut existing = 0;
        batch.command("DEL", count);
        for _ in 0..count {
            let index = self.skewed(self.scale.strings);
            existing += usize::from(self.strings[index as usize].take().is_some());
            batch.key("string", self.owner, index);
        }
        batch.integer(existing).exact();
    }

    /// Several strings at once, read or written.
    pub(super) fn many(&mut self, batch: &mut Batch) {
        let count = self.rng.u32(2..=8);
        let first = self.rng.u32(..self.scale.strings - count);
        if self.rng.bool() {
            batch.command("MGET", count as usize).array(count as usize);
            for index in first..first + count {
                batch.key("string", self.owner, index);
                self.expect_string(index, batch);
            }
        } else {
            batch.command("MSET", 2 * count as usize);
            for index in first..first + count {
                let value = values::between(&mut self.rng, 16, 1 << 10);
                self.strings[index as usize] = Some(value);
                batch.key("string", self.owner, index).argument(self.pad.get(value));
            }
            batch.ok();
        }
        batch.exact();
    }

    /// A string that grows piece by piece.
    pub(super) fn log(&mut self, batch: &mut Batch) {
        let index = self.rng.u32(..self.scale.logs);
        let log = &mut self.logs[index as usize];
        if log.len() >= LOG {
            log.clear();
            batch.command("DEL", 1).key("log", self.owner, index).integer(1).exact();
        } else if self.rng.u32(..8) == 0 {
            batch.command("GET", 1).key("log", self.owner, index);
            let whole: Vec<u8> =
                log.iter().flat_map(|&piece| self.pad.get(piece)).copied().collect();
            if whole.is_empty() {
                batch.nil()
            } else {
                batch.bulk(&whole)
            };
            batch.exact();
        } else {
            let piece = values::between(&mut self.rng, 40, 400);
            log.push(piece);
            let length = log.iter().map(|piece| piece.len()).sum();
            batch.command("APPEND", 2).key("log", self.owner, index).argument(self.pad.get(piece));
            batch.integer(length).exact();
        }
    }

    pub(super) fn fill_list(&mut self, index: u32, batch: &mut Batch) {
        let count = self.rng.usize(8..64);
        self.push(index, count, false, batch);
    }

    fn push(&mut self, index: u32, count: usize, left: bool, batch: &mut Batch) {
        batch
            .command(if left { "LPUSH" } else { "RPUSH" }, 1 + count)
            .key("list", self.owner, index);
        let list = &mut self.lists[index as usize];
        for _ in 0..count {
            let element = values::between(&mut self.rng, 16, 600);
            batch.argument(self.pad.get(element));
            if left { list.push_front(element) } else { list.push_back(element) }
        }
        batch.integer(list.len()).exact();
    }

    pub(super) fn step_list(&mut self, batch: &mut Batch) {
        let index = self.skewed(self.scale.lists);
        let choice = self.rng.u32(..10);
        let length = self.lists[index as usize].len();
        match choice {
            0..4 if length < LIST => {
                let count = self.rng.usize(1..=4);
                self.push(index, count, choice < 2, batch);
            }
            0..7 => {
                let left = self.rng.bool();
                let list = &mut self.lists[index as usize];
                let element = if left { list.pop_front() } else { list.pop_back() };
                batch.command(if left { "LPOP" } else { "RPOP" }, 1).key("list", self.owner, index);
                match element {
                    Some(element) => batch.bulk(self.pad.get(element)),
                    None => batch.nil(),
                };
                batch.exact();
            }
            7 => batch.command("LLEN", 1).key("list", self.owner, index).integer(length).exact(),
            _ => {
                let list = &self.lists[index as usize];
                let count = length.min(10);
                batch
                    .command("LRANGE", 3)
                    .key("list", self.owner, index)
                    .number(0)
                    .number(9)
                    .array(count);
                for &element in list.range(..count) {
                    batch.bulk(self.pad.get(element));
                }
                batch.exact();
            }
        }
    }

    pub(super) fn fill_board(&mut self, index: u32, batch: &mut Batch) {
        let count = self.rng.usize(16..96);
        self.add_players(index, count, batch);
    }

    fn add_players(&mut self, index: u32, count: usize, batch: &mut Batch) {
        batch.command("ZADD", 1 + 2 * count).key("board", self.owner, index);
        let mut added = 0;
        for _ in 0..count {
            let (player, score) = (self.rng.u32(..PLAYERS), self.rng.i64(-1_000..100_000));
            added += usize::from(self.boards[index as usize].set(player, score));
            batch.number(score).argument(&board::name(player));
        }
        batch.integer(added).exact();
    }

    pub(super) fn step_board(&mut self, batch: &mut Batch) {
        let index = self.skewed(self.scale.boards);
        let player = self.rng.u32(..PLAYERS);
        let choice = self.rng.u32(..10);
        let board = &mut self.boards[index as usize];
        match choice {
            0..3 => {
                let count = self.rng.usize(1..=3);
                return self.add_players(index, count, batch);
            }
            3..5 => {
                let removed = board.remove(player);
                batch
                    .command("ZREM", 2)
                    .key("board", self.owner, index)
                    .argument(&board::name(player));
                batch.integer(removed.into());
            }
            5..7 => {
                batch
                    .command("ZSCORE", 2)
                    .key("board", self.owner, index)
                    .argument(&board::name(player));
                match board.score(player) {
                    Some(score) => batch.bulk(itoa::Buffer::new().format(score).as_bytes()),
                    None => batch.nil(),
                };
            }
            7 => {
                batch.command("ZCARD", 1).key("board", self.owner, index).integer(board.len());
            }
            8 => {
                batch.command("ZRANGE", 4).key("board", self.owner, index);
                batch.number(2).number(11).argument(b"WITHSCORES");
                board.expect_places(2, 10, batch);
            }
            _ => {
                let low = self.rng.i64(0..90_000);
                batch
                    .command("ZRANGEBYSCORE", 3)
                    .key("board", self.owner, index)
                    .number(low)
                    .number(low + 5_000);
                board.expect_scores(low, low + 5_000, batch);
            }
        }
        batch.exact();
    }

    pub(super) fn fill_hash(&mut self, index: u32, batch: &mut Batch) {
        let count = self.rng.usize(4..FIELDS);
        batch.command("HSET", 1 + 2 * count).key("hash", self.owner, index);
        for field in 0..count {
            let value = values::between(&mut self.rng, 8, 200);
            self.hashes[index as usize][field] = Some(value);
            batch.key("field", 0, field as u32).argument(self.pad.get(value));
        }
        batch.integer(count).exact();
    }

    pub(super) fn step_hash(&mut self, batch: &mut Batch) {
        let index = self.skewed(self.scale.hashes);
        let field = self.rng.usize(..FIELDS);
        let choice = self.rng.u32(..10);
        let slot = &mut self.hashes[index as usize][field];
        let (name, count) = match choice {
            0..5 => ("HGET", 2),
            5..9 => ("HSET", 3),
            _ => ("HDEL", 2),
        };
        batch.command(name, count).key("hash", self.owner, index).key("field", 0, field as u32);
        match choice {
            0..5 => match *slot {
                Some(value) => batch.bulk(self.pad.get(value)),
                None => batch.nil(),
            },
            5..9 => {
                let value = values::between(&mut self.rng, 8, 200);
                let added = slot.replace(value).is_none();
                batch.argument(self.pad.get(value)).integer(added.into())
            }
            _ => batch.integer(slot.take().is_some().into()),
        };
        batch.exact();
    }
}
