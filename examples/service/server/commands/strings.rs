//! Commands on strings: SET and its relatives, counters, APPEND and parts of strings.
//! A value arrives as the parser's own vector and moves into the store as it is.
//! Values that are replaced are dropped after the shard's lock has been given back.

use std::time::Duration;

use super::super::reply::Replies;
use super::super::request::{Limits, parse_integer};
use super::super::store::{Shard, Value};
use super::{Arguments, Command, Context, Failure, Outcome, span};

const ONE: (i32, i32, i32) = (1, 1, 1);

pub const COMMANDS: &[Command] = &[
    Command::new("GET", 2, ONE, get),
    Command::new("SET", -3, ONE, set),
    Command::new("SETEX", 4, ONE, |context, arguments, replies| {
        set_for(context, arguments, replies, 1000)
    }),
    Command::new("PSETEX", 4, ONE, |context, arguments, replies| {
        set_for(context, arguments, replies, 1)
    }),
    Command::new("SETNX", 3, ONE, set_if_absent),
    Command::new("GETSET", 3, ONE, get_set),
    Command::new("GETDEL", 2, ONE, get_delete),
    Command::new("GETRANGE", 4, ONE, get_range),
    Command::new("STRLEN", 2, ONE, length),
    Command::new("APPEND", 3, ONE, append),
    Command::new("INCR", 2, ONE, |context, arguments, replies| add(context, arguments, replies, 1)),
    Command::new("DECR", 2, ONE, |context, arguments, replies| {
        add(context, arguments, replies, -1)
    }),
    Command::new("INCRBY", 3, ONE, |context, arguments, replies| {
        let amount = arguments.integer(2)?;
        add(context, arguments, replies, amount)
    }),
    Command::new("DECRBY", 3, ONE, |context, arguments, replies| {
        let amount = arguments.integer(2)?.checked_neg().ok_or(Failure::OVERFLOW)?;
        add(context, arguments, replies, amount)
    }),
    Command::new("MGET", -2, (1, -1, 1), get_many),
    Command::new("MSET", -3, (1, -1, 2), set_many),
];

/// The string under a key.
fn string<'a>(
    shard: &'a mut Shard,
    context: Context<'_>,
    key: &[u8],
) -> Result<Option<&'a mut Vec<u8>>, Failure> {
    match shard.get(key, context.now) {
        None => Ok(None),
        Some(Value::String(bytes)) => Ok(Some(bytes)),
        Some(_) => Err(Failure::WRONG_TYPE),
    }
}

fn get(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    replies.optional(string(&mut shard, context, &arguments[1])?.map(|bytes| &**bytes));
    Ok(())
}

fn set(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let (mut must_exist, mut must_not, mut return_old, mut keep) = (false, false, false, false);
    let mut end = None;
    let mut at = 3;
    while at < arguments.len() {
        if arguments.is(at, "NX") {
            must_not = true;
        } else if arguments.is(at, "XX") {
            must_exist = true;
        } else if arguments.is(at, "GET") {
            return_old = true;
        } else if arguments.is(at, "KEEPTTL") {
            keep = true;
        } else if (arguments.is(at, "EX") || arguments.is(at, "PX"))
            && end.is_none()
            && at + 1 < arguments.len()
        {
            let unit = if arguments.is(at, "EX") {
                Duration::from_secs(1)
            } else {
                Duration::from_millis(1)
            };
            end = Some(arguments.deadline(at + 1, unit, context.now)?.ok_or(INVALID_EXPIRE)?);
            at += 1;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 1;
    }
    if must_exist && must_not || keep && end.is_some() {
        return Err(Failure::SYNTAX);
    }
    let (key, value) = (arguments.take(1), arguments.take(2));
    let mut shard = context.store.shard(&key);
    let previous = shard.end(&key, context.now);
    if return_old {
        let old = string(&mut shard, context, &key)?;
        replies.optional(old.map(|bytes| &**bytes));
    }
    if must_exist && previous.is_none() || must_not && previous.is_some() {
        if !return_old {
            replies.nil();
        }
        return Ok(());
    }
    let end = if keep { previous.flatten() } else { end };
    let old = shard.insert(key, Value::String(value), end, context.now);
    drop(shard);
    drop(old);
    if !return_old {
        replies.simple("OK");
    }
    Ok(())
}

const INVALID_EXPIRE: Failure = Failure::of("ERR invalid expire time in 'set' command");

fn set_for(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
    unit: u64,
) -> Outcome {
    let end =
        arguments.deadline(2, Duration::from_millis(unit), context.now)?.ok_or(INVALID_EXPIRE)?;
    let (key, value) = (arguments.take(1), arguments.take(3));
    let old = context.store.shard(&key).insert(key, Value::String(value), Some(end), context.now);
    drop(old);
    replies.simple("OK");
    Ok(())
}

fn set_if_absent(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
) -> Outcome {
    let (key, value) = (arguments.take(1), arguments.take(2));
    let mut shard = context.store.shard(&key);
    let absent = shard.get(&key, context.now).is_none();
    if absent {
        shard.insert(key, Value::String(value), None, context.now);
    }
    replies.integer(i64::from(absent));
    Ok(())
}

fn get_set(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let (key, value) = (arguments.take(1), arguments.take(2));
    let mut shard = context.store.shard(&key);
    replies.optional(string(&mut shard, context, &key)?.map(|bytes| &**bytes));
    let old = shard.insert(key, Value::String(value), None, context.now);
    drop(shard);
    drop(old);
    Ok(())
}

fn get_delete(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    replies.optional(string(&mut shard, context, &arguments[1])?.map(|bytes| &**bytes));
    let old = shard.remove(&arguments[1], context.now);
    drop(shard);
    drop(old);
    Ok(())
}

fn get_range(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let (start, stop) = (arguments.integer(2)?, arguments.integer(3)?);
    let mut shard = context.store.shard(&arguments[1]);
    let bytes = string(&mut shard, context, &arguments[1])?.map_or(&[][..], |bytes| bytes);
    let (first, count) = span(start, stop, bytes.len());
    replies.bulk(&bytes[first..first + count]);
    Ok(())
}

fn length(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    replies.count(string(&mut shard, context, &arguments[1])?.map_or(0, |bytes| bytes.len()));
    Ok(())
}

fn append(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let (key, tail) = (arguments.take(1), arguments.take(2));
    let mut shard = context.store.shard(&key);
    let length = match string(&mut shard, context, &key)? {
        None => {
            let length = tail.len();
            shard.insert(key, Value::String(tail), None, context.now);
            length
        }
        Some(bytes) if bytes.len() + tail.len() > Limits::DEFAULT.argument => {
            return Err(Failure::TOO_LONG);
        }
        Some(bytes) => {
            bytes.extend_from_slice(&tail);
            bytes.len()
        }
    };
    replies.count(length);
    Ok(())
}

fn add(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
    amount: i64,
) -> Outcome {
    let key = arguments.take(1);
    let mut shard = context.store.shard(&key);
    let mut digits = itoa::Buffer::new();
    let sum = match string(&mut shard, context, &key)? {
        None => {
            let text = Vec::from(digits.format(amount));
            shard.insert(key, Value::String(text), None, context.now);
            amount
        }
        Some(bytes) => {
            let sum = parse_integer(bytes).ok_or(Failure::NOT_INTEGER)?;
            let sum = sum.checked_add(amount).ok_or(Failure::OVERFLOW)?;
            bytes.clear();
            bytes.extend_from_slice(digits.format(sum).as_bytes());
            sum
        }
    };
    replies.integer(sum);
    Ok(())
}

/// Each key by itself: other requests may come in between.
fn get_many(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    replies.array(arguments.len() - 1);
    for key in arguments.from(1) {
        match context.store.shard(key).get(key, context.now) {
            Some(Value::String(bytes)) => replies.bulk(bytes),
            _ => replies.nil(),
        }
    }
    Ok(())
}

/// Each key by itself: other requests may come in between.
fn set_many(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    if arguments.len().is_multiple_of(2) {
        return Err(Failure::of("ERR wrong number of arguments for 'mset' command"));
    }
    for at in (1..arguments.len()).step_by(2) {
        let (key, value) = (arguments.take(at), arguments.take(at + 1));
        let old = context.store.shard(&key).insert(key, Value::String(value), None, context.now);
        drop(old);
    }
    replies.simple("OK");
    Ok(())
}
