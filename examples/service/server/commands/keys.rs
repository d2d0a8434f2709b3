//! Commands on keys whatever they hold: deleting, ending, listing.
//! KEYS and SCAN go over the shards one after the other, each under its own lock.
//! A SCAN cursor is the number of the next shard, so a key that stays is seen exactly once.

use std::time::{Duration, Instant};

use super::super::reply::Replies;
use super::super::store::SHARDS;
use super::{Arguments, Command, Context, Failure, Outcome, glob};

const NONE: (i32, i32, i32) = (0, 0, 0);
const ONE: (i32, i32, i32) = (1, 1, 1);
const ALL: (i32, i32, i32) = (1, -1, 1);

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

pub const COMMANDS: &[Command] = &[
    Command::new("DEL", -2, ALL, delete),
    Command::new("UNLINK", -2, ALL, delete),
    Command::new("EXISTS", -2, ALL, exists),
    Command::new("TYPE", 2, ONE, kind),
    Command::new("EXPIRE", 3, ONE, |context, arguments, replies| {
        expire(context, arguments, replies, SECOND)
    }),
    Command::new("PEXPIRE", 3, ONE, |context, arguments, replies| {
        expire(context, arguments, replies, MILLISECOND)
    }),
    Command::new("TTL", 2, ONE, |context, arguments, replies| {
        left(context, arguments, replies, SECOND)
    }),
    Command::new("PTTL", 2, ONE, |context, arguments, replies| {
        left(context, arguments, replies, MILLISECOND)
    }),
    Command::new("PERSIST", 2, ONE, persist),
    Command::new("KEYS", 2, NONE, keys),
    Command::new("SCAN", -2, NONE, scan),
    Command::new("DBSIZE", 1, NONE, |context, _, replies| {
        replies.count(context.store.len().0);
        Ok(())
    }),
    Command::new("FLUSHALL", -1, NONE, flush),
    Command::new("FLUSHDB", -1, NONE, flush),
];

fn delete(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let removed = arguments.from(1).filter(|key| {
        let value = context.store.shard(key).remove(key, context.now);
        value.is_some()
    });
    replies.count(removed.count());
    Ok(())
}

fn exists(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    replies.count(
        arguments
            .from(1)
            .filter(|key| context.store.shard(key).get(key, context.now).is_some())
            .count(),
    );
    Ok(())
}

fn kind(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    replies.simple(shard.get(&arguments[1], context.now).map_or("none", |value| value.kind()));
    Ok(())
}

/// An end that is not in the future deletes the key.
fn expire(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
    unit: Duration,
) -> Outcome {
    let end = arguments.deadline(2, unit, context.now)?;
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let known = match end {
        Some(end) => shard.set_end(key, Some(end), context.now),
        None => shard.remove(key, context.now).is_some(),
    };
    replies.integer(known.into());
    Ok(())
}

fn left(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
    unit: Duration,
) -> Outcome {
    let left = |end: Instant| (end - context.now).as_millis().div_ceil(unit.as_millis()) as i64;
    let mut shard = context.store.shard(&arguments[1]);
    replies.integer(match shard.end(&arguments[1], context.now) {
        None => -2,
        Some(None) => -1,
        Some(Some(end)) => left(end),
    });
    Ok(())
}

fn persist(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    let ending = shard.end(&arguments[1], context.now).flatten().is_some();
    if ending {
        shard.set_end(&arguments[1], None, context.now);
    }
    replies.integer(ending.into());
    Ok(())
}

fn keys(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut found = Vec::new();
    for index in 0..SHARDS {
        let shard = context.store.shard_at(index);
        found.extend(
            shard
                .iter(context.now)
                .filter(|(key, _)| glob::matches(&arguments[1], key))
                .map(|(key, _)| Vec::from(key)),
        );
    }
    replies.array(found.len());
    for key in &found {
        replies.bulk(key);
    }
    Ok(())
}

/// Whole shards until COUNT keys have been looked at.
fn scan(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    const BAD_CURSOR: Failure = Failure::of("ERR invalid cursor");
    let cursor = arguments
        .integer(1)
        .ok()
        .and_then(|cursor| usize::try_from(cursor).ok())
        .ok_or(BAD_CURSOR)?;
    let (mut pattern, mut kind, mut count) = (&b"*"[..], None, 10);
    let mut at = 2;
    while at + 1 < arguments.len() {
        if arguments.is(at, "MATCH") {
            pattern = &arguments[at + 1];
        } else if arguments.is(at, "TYPE") {
            kind = Some(arguments[at + 1].to_ascii_lowercase());
        } else if arguments.is(at, "COUNT") {
            count = usize::try_from(arguments.integer(at + 1)?)
                .ok()
                .filter(|&count| count > 0)
                .ok_or(Failure::SYNTAX)?;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 2;
    }
    if at < arguments.len() {
        return Err(Failure::SYNTAX);
    }
    let mut found = Vec::new();
    let (mut index, mut seen) = (cursor.min(SHARDS), 0);
    while index < SHARDS && seen < count {
        let shard = context.store.shard_at(index);
        for (key, value) in shard.iter(context.now) {
            seen += 1;
            let wanted = kind.as_ref().is_none_or(|kind| kind == value.kind().as_bytes());
            if wanted && glob::matches(pattern, key) {
                found.push(Vec::from(key));
            }
        }
        index += 1;
    }
    replies.array(2);
    replies.bulk(itoa::Buffer::new().format(index % SHARDS).as_bytes());
    replies.array(found.len());
    for key in &found {
        replies.bulk(key);
    }
    Ok(())
}

fn flush(context: Context<'_>, _: &mut Arguments, replies: &mut Replies) -> Outcome {
    context.store.clear();
    replies.simple("OK");
    Ok(())
}
