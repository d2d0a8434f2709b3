//! The store: keys, values and deadlines, in shards that each have a lock of their own. Commands
//! reach it through `Store::shard`; a shard hides keys whose time is over from everyone who asks.
//! Requests run on several threads, so a value is often freed by another thread than the one that
//! allocated it.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use foldhash::fast::RandomState;

use super::sorted_set::SortedSet;

/// Enough that two busy threads seldom meet, few enough that SCAN need not visit many.
pub const SHARDS: usize = 256;

/// A field of a hash, or a member of a set.
pub type Name = Box<[u8]>;

/// What a key holds.
#[derive(Debug)]
pub enum Value {
    /// Bytes.
    String(Vec<u8>),
    /// Elements in order.
    List(VecDeque<Vec<u8>>),
    /// Members by score.
    SortedSet(Box<SortedSet>),
    /// Members.
    Set(HashSet<Name, RandomState>),
    /// Fields and their values.
    Hash(HashMap<Name, Vec<u8>, RandomState>),
}

impl Value {
    /// The name that TYPE gives it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::SortedSet(_) => "zset",
            Self::Set(_) => "set",
            Self::Hash(_) => "hash",
        }
    }

    /// A collection that has lost its last element ceases to exist.
    fn is_empty(&self) -> bool {
        match self {
            Self::String(_) => false,
            Self::List(list) => list.is_empty(),
            Self::SortedSet(members) => members.is_empty(),
            Self::Set(members) => members.is_empty(),
            Self::Hash(fields) => fields.is_empty(),
        }
    }
}

/// When a key ends; the number tells apart two keys that end at the same instant.
type Deadline = (Instant, u64);

#[derive(Debug)]
struct Entry {
    value: Value,
    deadline: Option<Deadline>,
}

/// Some of the keys, under one lock.
#[derive(Debug, Default)]
pub struct Shard {
    entries: HashMap<Name, Entry, RandomState>,
    deadlines: BTreeMap<Deadline, Name>,
    next_deadline: u64,
}

impl Shard {
    /// The value of a key that is still alive.
    pub fn get(&mut self, key: &[u8], now: Instant) -> Option<&mut Value> {
        self.expire(key, now);
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// The same, made by `make` when there is none. Call `drop_if_empty` when nothing was added
    /// after all.
    pub fn get_or_insert(
        &mut self,
        key: Vec<u8>,
        now: Instant,
        make: impl FnOnce() -> Value,
    ) -> &mut Value {
        self.expire(&key, now);
        let slot = self.entries.entry(key.into_boxed_slice());
        &mut slot.or_insert_with(|| Entry { value: make(), deadline: None }).value
    }

    /// Sets a key whatever it held, and its end; hands back the old value, to be dropped without
    /// the lock.
    pub fn insert(
        &mut self,
        key: Vec<u8>,
        value: Value,
        end: Option<Instant>,
        now: Instant,
    ) -> Option<Value> {
        self.expire(&key, now);
        let key = key.into_boxed_slice();
        let deadline =
            end.map(|end| Self::plan(&mut self.deadlines, &mut self.next_deadline, end, &key));
        let entry = Entry { value, deadline };
        match self.entries.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
                None
            }
            Slot::Occupied(mut slot) => {
                let old = slot.insert(entry);
                if let Some(deadline) = old.deadline {
                    self.deadlines.remove(&deadline);
                }
                Some(old.value)
            }
        }
    }

    /// Takes a key out; its value is to be dropped without the lock.
    pub fn remove(&mut self, key: &[u8], now: Instant) -> Option<Value> {
        self.expire(key, now);
        self.take(key)
    }

    /// Takes the key out if its value is an empty collection.
    pub fn drop_if_empty(&mut self, key: &[u8]) {
        if self.entries.get(key).is_some_and(|entry| entry.value.is_empty()) {
            self.take(key);
        }
    }

    /// When a living key ends: the outer `None` is "no such key", the inner one "never".
    pub fn end(&mut self, key: &[u8], now: Instant) -> Option<Option<Instant>> {
        self.expire(key, now);
        self.entries.get(key).map(|entry| entry.deadline.map(|(end, _)| end))
    }

    /// Gives a living key an end, or takes it away; whether there is such a key.
    pub fn set_end(&mut self, key: &[u8], end: Option<Instant>, now: Instant) -> bool {
        self.expire(key, now);
        let Some(entry) = self.entries.get_mut(key) else { return false };
        if let Some(deadline) = entry.deadline.take() {
            self.deadlines.remove(&deadline);
        }
        entry.deadline =
            end.map(|end| Self::plan(&mut self.deadlines, &mut self.next_deadline, end, key));
        true
    }

    /// All living keys and what they hold.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = (&[u8], &Value)> {
        self.entries
            .iter()
            .filter(move |(_, entry)| entry.deadline.is_none_or(|(end, _)| end > now))
            .map(|(key, entry)| (&**key, &entry.value))
    }

    /// How many keys there are, those included whose end has come but which nobody has met since.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them have an end.
    pub fn ending(&self) -> usize {
        self.deadlines.len()
    }

    /// Takes out at most `limit` keys whose end has come; their values are to be dropped without
    /// the lock.
    pub fn sweep(&mut self, now: Instant, limit: usize) -> Vec<Value> {
        let mut ended = Vec::new();
        while ended.len() < limit
            && let Some(first) = self.deadlines.first_entry()
            && first.key().0 <= now
        {
            let key = first.remove();
            ended.extend(self.entries.remove(&key).map(|entry| entry.value));
        }
        ended
    }

    fn expire(&mut self, key: &[u8], now: Instant) {
        if !self.deadlines.is_empty()
            && let Some(Entry { deadline: Some((end, _)), .. }) = self.entries.get(key)
            && *end <= now
        {
            self.take(key);
        }
    }

    fn take(&mut self, key: &[u8]) -> Option<Value> {
        let entry = self.entries.remove(key)?;
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&deadline);
        }
        Some(entry.value)
    }

    fn plan(
        deadlines: &mut BTreeMap<Deadline, Name>,
        next: &mut u64,
        end: Instant,
        key: &[u8],
    ) -> Deadline {
        let deadline = (end, *next);
        *next += 1;
        deadlines.insert(deadline, Box::from(key));
        deadline
    }
}

/// All shards.
#[derive(Debug)]
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

impl Store {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    /// The shard that a key lies in, locked. Never hold two at once.
    pub fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        self.shard_at((self.hasher.hash_one(key) >> 32) as usize % SHARDS)
    }

    /// A shard by its number, locked.
    pub fn shard_at(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().expect("no holder of a shard panics")
    }

    /// How many keys there are, and how many of them have an end.
    pub fn len(&self) -> (usize, usize) {
        (0..SHARDS)
            .map(|index| self.shard_at(index))
            .fold((0, 0), |(keys, ending), shard| (keys + shard.len(), ending + shard.ending()))
    }

    /// Takes everything out.
    pub fn clear(&self) {
        for index in 0..SHARDS {
            // The shard is dropped after its lock is free again.
            let _old = std::mem::take(&mut *self.shard_at(index));
        }
    }

    /// Takes out keys whose end has come, a bounded number per shard and lock.
    pub fn sweep(&self, now: Instant) {
        const AT_ONCE: usize = 64;
        for index in 0..SHARDS {
            while {
                let ended = self.shard_at(index).sweep(now, AT_ONCE);
                ended.len() == AT_ONCE
            } {}
        }
    }
}
