//! One connection's keys, as they must look in the server: the model that every answer is held
//! against. It chooses the next request, writes it into a batch together with the answer, and
//! changes itself accordingly. Most keys belong to one connection alone; the shared ones are what
//! makes values change threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use fastrand::Rng;

use super::batch::{Batch, Expect};
use super::board::Board;
use super::connection::Answer;
use super::values::{self, Blob, Pad};

/// How many keys of each kind a connection has; shared keys and counters are counted once for all.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub strings: u32,
    pub logs: u32,
    pub lists: u32,
    pub boards: u32,
    pub hashes: u32,
    pub fleeting: u32,
    pub shared: u32,
    pub counters: u32,
}

/// Fields of one hash.
pub const FIELDS: usize = 16;

/// A key with an end: its value, and the two instants between which the end lies.
#[derive(Clone, Copy, Debug)]
struct Fleeting {
    value: Blob,
    earliest: Instant,
    latest: Instant,
}

/// The model.
#[derive(Debug)]
pub struct Keyspace {
    pub(super) owner: u32,
    pub(super) rng: Rng,
    pub(super) pad: Arc<Pad>,
    pub(super) scale: Scale,
    pub(super) strings: Vec<Option<Blob>>,
    pub(super) logs: Vec<Vec<Blob>>,
    pub(super) lists: Vec<VecDeque<Blob>>,
    pub(super) boards: Vec<Board>,
    pub(super) hashes: Vec<[Option<Blob>; FIELDS]>,
    fleeting: Vec<Option<Fleeting>>,
    /// The highest value seen in each counter, and what this connection has added to it.
    counters: Vec<(i64, i64)>,
}

impl Keyspace {
    /// The model of an empty server.
    pub fn new(owner: u32, seed: u64, pad: Arc<Pad>, scale: Scale) -> Self {
        Self {
            owner,
            rng: Rng::with_seed(seed ^ (u64::from(owner) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            pad,
            scale,
            strings: vec![None; scale.strings as usize],
            logs: vec![Vec::new(); scale.logs as usize],
            lists: vec![VecDeque::new(); scale.lists as usize],
            boards: vec![Board::default(); scale.boards as usize],
            hashes: vec![[None; FIELDS]; scale.hashes as usize],
            fleeting: vec![None; scale.fleeting as usize],
            counters: vec![(0, 0); scale.counters as usize],
        }
    }

    /// Requests that `fill` will be called for.
    pub fn fill_steps(&self) -> u32 {
        let Scale { strings, lists, boards, hashes, shared, .. } = self.scale;
        strings + lists + boards + hashes + shared
    }

    /// One of the requests that put the first values in; kinds are mixed, as a server meets them.
    /// Shared keys are dealt out among the connections by their owners' numbers.
    pub fn fill(&mut self, step: u32, connections: u32, batch: &mut Batch) {
        let Scale { strings, lists, boards, hashes, .. } = self.scale;
        let mut index = step;
        if index < strings {
            return self.set(index, batch);
        }
        index -= strings;
        if index < lists {
            return self.fill_list(index, batch);
        }
        index -= lists;
        if index < boards {
            return self.fill_board(index, batch);
        }
        index -= boards;
        if index < hashes {
            return self.fill_hash(index, batch);
        }
        index -= hashes;
        if index % connections == self.owner {
            self.set_shared(index, batch);
        }
    }

    /// The next request of the steady load.
    pub fn step(&mut self, batch: &mut Batch) {
        match self.rng.u32(..100) {
            0..34 => {
                let index = self.skewed(self.scale.strings);
                self.get(index, batch);
            }
            34..54 => {
                let index = self.skewed(self.scale.strings);
                self.set(index, batch);
            }
            54..58 => self.delete(batch),
            58..63 => self.log(batch),
            63..66 => self.many(batch),
            66..74 => self.step_fleeting(batch),
            74..80 => self.step_shared(batch),
            80..82 => self.count(batch),
            82..90 => self.step_list(batch),
            90..96 => self.step_board(batch),
            _ => self.step_hash(batch),
        }
    }

    /// Deletes nine of ten strings and everything else of its own, `AT_ONCE` keys from `position`
    /// on; the next position, or `None` at the end.
    pub fn drain(&mut self, position: u32, batch: &mut Batch) -> Option<u32> {
        const AT_ONCE: u32 = 16;
        let Scale { strings, logs, lists, boards, hashes, .. } = self.scale;
        let mut keys = [("", 0); AT_ONCE as usize];
        let (mut chosen, mut existing) = (0, 0);
        let end = (position + AT_ONCE).min(strings + logs + lists + boards + hashes);
        for at in position..end {
            let mut index = at;
            let (kind, there) = if index < strings {
                if self.rng.u32(..10) == 0 {
                    continue;
                }
                ("string", self.strings[index as usize].take().is_some())
            } else if let Some(log) = below(&mut index, strings, logs) {
                ("log", !std::mem::take(&mut self.logs[log]).is_empty())
            } else if let Some(list) = below(&mut index, logs, lists) {
                ("list", !std::mem::take(&mut self.lists[list]).is_empty())
            } else if let Some(board) = below(&mut index, lists, boards) {
                ("board", !std::mem::take(&mut self.boards[board]).is_empty())
            } else {
                index -= boards;
                let hash = std::mem::take(&mut self.hashes[index as usize]);
                ("hash", hash.iter().any(Option::is_some))
            };
            keys[chosen] = (kind, index);
            chosen += 1;
            existing += usize::from(there);
        }
        if chosen > 0 {
            batch.command("DEL", chosen);
            for &(kind, index) in &keys[..chosen] {
                batch.key(kind, self.owner, index);
            }
            batch.integer(existing).exact();
        }
        (end > position).then_some(end)
    }

    /// Keys of its own that must be in the server now, those with an end left out, and the bytes of
    /// their values.
    pub fn live(&self) -> (usize, usize) {
        let sizes = |blobs: &mut dyn Iterator<Item = Blob>| blobs.map(Blob::len).sum::<usize>();
        let mut live = (0, 0);
        let mut add = |bytes: usize, there: bool| {
            live.0 += usize::from(there);
            live.1 += bytes;
        };
        self.strings.iter().flatten().for_each(|blob| add(blob.len(), true));
        self.logs.iter().for_each(|log| add(sizes(&mut log.iter().copied()), !log.is_empty()));
        self.lists.iter().for_each(|list| add(sizes(&mut list.iter().copied()), !list.is_empty()));
        self.boards.iter().for_each(|board| add(board.bytes(), !board.is_empty()));
        self.hashes.iter().for_each(|hash| {
            add(sizes(&mut hash.iter().flatten().copied()), hash.iter().any(Option::is_some));
        });
        live
    }

    /// What this connection has added to each counter.
    pub fn counted(&self) -> impl Iterator<Item = i64> {
        self.counters.iter().map(|&(_, added)| added)
    }

    /// Judges an answer that has no expected bytes. `sent` is when its batch was sent, `received`
    /// when it came in.
    pub fn check(
        &mut self,
        expect: Expect,
        answer: Option<Answer<'_>>,
        sent: Instant,
        received: Instant,
    ) -> Result<()> {
        match (expect, answer) {
            (Expect::Placed { key, value, life }, None) => {
                self.fleeting[key as usize] =
                    Some(Fleeting { value, earliest: sent + life, latest: received + life });
            }
            (Expect::Fleeting { key }, Some(Answer::Bulk(bytes))) => {
                match (self.fleeting[key as usize], bytes) {
                    (None, None) => {}
                    (Some(placed), None) => {
                        ensure!(received >= placed.earliest, "a key ended before its time")
                    }
                    (Some(placed), Some(bytes)) => {
                        ensure!(sent <= placed.latest, "a key outlived its time");
                        ensure!(
                            bytes == self.pad.get(placed.value),
                            "a key with an end holds another value"
                        );
                    }
                    (None, Some(_)) => bail!("a key exists that was never set"),
                }
            }
            (Expect::Shared { key }, Some(Answer::Bulk(Some(bytes)))) => {
                ensure!(self.is_shared(key, bytes), "a shared key holds what nobody has written");
            }
            (Expect::Counter { key }, Some(Answer::Integer(value))) => {
                let (seen, _) = &mut self.counters[key as usize];
                ensure!(value > *seen, "a counter went from {seen} to {value}");
                *seen = value;
            }
            (expect, answer) => bail!("wrong answer: expected {expect:?}, got {answer:?}"),
        }
        Ok(())
    }

    /// An index below `count`; low ones are the likelier, as some keys always are.
    pub(super) fn skewed(&mut self, count: u32) -> u32 {
        let uniform = self.rng.f64();
        (uniform * uniform * f64::from(count)) as u32
    }

    fn step_fleeting(&mut self, batch: &mut Batch) {
        let key = self.rng.u32(..self.scale.fleeting);
        if self.rng.bool() {
            let value = values::any(&mut self.rng);
            let life = self.rng.u32(50..800);
            batch.command("SET", 4).key("fleeting", self.owner, key).argument(self.pad.get(value));
            batch.argument(b"PX").number(life.into());
            let life = Duration::from_millis(life.into());
            batch.ok().close(Expect::Placed { key, value, life });
        } else {
            batch
                .command("GET", 1)
                .key("fleeting", self.owner, key)
                .close(Expect::Fleeting { key });
        }
    }

    fn step_shared(&mut self, batch: &mut Batch) {
        let key = self.skewed(self.scale.shared);
        if self.rng.bool() {
            self.set_shared(key, batch);
        } else {
            batch.command("GET", 1).key("shared", 0, key).close(Expect::Shared { key });
        }
    }

    /// A shared value says itself what it must be, so that any connection can check any other's.
    fn set_shared(&mut self, key: u32, batch: &mut Batch) {
        let value = values::any(&mut self.rng);
        let (start, length) = value.parts();
        let head = format!("{key} {start} {length}|");
        batch
            .command("SET", 2)
            .key("shared", 0, key)
            .argument_of(head.as_bytes(), self.pad.get(value))
            .ok()
            .exact();
    }

    fn is_shared(&self, key: u32, bytes: &[u8]) -> bool {
        let parse = || {
            let bar = memchr::memchr(b'|', bytes)?;
            let mut numbers =
                std::str::from_utf8(&bytes[..bar]).ok()?.split(' ').map(str::parse::<u32>);
            let mut number = || numbers.next()?.ok();
            let (written, value) = (number()?, Blob::from_parts(number()?, number()?)?);
            Some(written == key && &bytes[bar + 1..] == self.pad.get(value))
        };
        parse().unwrap_or(false)
    }

    fn count(&mut self, batch: &mut Batch) {
        let key = self.rng.u32(..self.scale.counters);
        self.counters[key as usize].1 += 1;
        batch.command("INCR", 1).key("counter", 0, key).close(Expect::Counter { key });
    }
}

/// Steps over one kind's keys: what is left of the index, if it lies among the next kind's.
fn below(index: &mut u32, before: u32, count: u32) -> Option<usize> {
    *index -= before;
    (*index < count).then_some(*index as usize)
}
