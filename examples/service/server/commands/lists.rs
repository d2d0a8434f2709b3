//! Commands on lists: both ends, ranges and single elements.
//! An element is one vector, moved in from the request and dropped when it has been popped.
//! A list that loses its last element ceases to exist.

use std::collections::VecDeque;

use super::super::reply::Replies;
use super::super::store::{Shard, Value};
use super::{Arguments, Command, Context, Failure, Outcome, span};

const ONE: (i32, i32, i32) = (1, 1, 1);

pub const COMMANDS: &[Command] = &[
    Command::new("LPUSH", -3, ONE, |context, arguments, replies| {
        push(context, arguments, replies, End::Left)
    }),
    Command::new("RPUSH", -3, ONE, |context, arguments, replies| {
        push(context, arguments, replies, End::Right)
    }),
    Command::new("LPOP", -2, ONE, |context, arguments, replies| {
        pop(context, arguments, replies, End::Left)
    }),
    Command::new("RPOP", -2, ONE, |context, arguments, replies| {
        pop(context, arguments, replies, End::Right)
    }),
    Command::new("LRANGE", 4, ONE, range),
    Command::new("LLEN", 2, ONE, length),
    Command::new("LINDEX", 3, ONE, index),
    Command::new("LSET", 4, ONE, set),
    Command::new("LTRIM", 4, ONE, trim),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

type List = VecDeque<Vec<u8>>;

fn list<'a>(
    shard: &'a mut Shard,
    context: Context<'_>,
    key: &[u8],
) -> Result<Option<&'a mut List>, Failure> {
    match shard.get(key, context.now) {
        None => Ok(None),
        Some(Value::List(list)) => Ok(Some(list)),
        Some(_) => Err(Failure::WRONG_TYPE),
    }
}

fn push(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
    end: End,
) -> Outcome {
    let key = arguments.take(1);
    let mut shard = context.store.shard(&key);
    let Value::List(list) = shard.get_or_insert(key, context.now, || Value::List(List::new()))
    else {
        return Err(Failure::WRONG_TYPE);
    };
    for element in arguments.take_from(2) {
        match end {
            End::Left => list.push_front(element),
            End::Right => list.push_back(element),
        }
    }
    replies.count(list.len());
    Ok(())
}

fn pop(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
    end: End,
) -> Outcome {
    let wanted = match arguments.len() {
        2 => None,
        3 => Some(usize::try_from(arguments.integer(2)?).map_err(|_| Failure::NOT_POSITIVE)?),
        _ => return Err(Failure::SYNTAX),
    };
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let Some(list) = list(&mut shard, context, key)? else {
        if wanted.is_some() {
            replies.nil_array()
        } else {
            replies.nil()
        }
        return Ok(());
    };
    let mut take = || if end == End::Left { list.pop_front() } else { list.pop_back() };
    match wanted {
        None => replies.optional(take().as_deref()),
        Some(wanted) => {
            // Taken first: the reply begins with their number.
            let taken: Vec<_> = std::iter::from_fn(take).take(wanted).collect();
            replies.array(taken.len());
            for element in &taken {
                replies.bulk(element);
            }
        }
    }
    shard.drop_if_empty(key);
    Ok(())
}

fn range(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let (start, stop) = (arguments.integer(2)?, arguments.integer(3)?);
    let mut shard = context.store.shard(&arguments[1]);
    let Some(list) = list(&mut shard, context, &arguments[1])? else {
        replies.array(0);
        return Ok(());
    };
    let (first, count) = span(start, stop, list.len());
    replies.array(count);
    for element in list.range(first..first + count) {
        replies.bulk(element);
    }
    Ok(())
}

fn length(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    replies.count(list(&mut shard, context, &arguments[1])?.map_or(0, |list| list.len()));
    Ok(())
}

fn index(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let index = arguments.integer(2)?;
    let mut shard = context.store.shard(&arguments[1]);
    let element = list(&mut shard, context, &arguments[1])?.and_then(|list| {
        let at = position(index, list.len())?;
        list.get(at)
    });
    replies.optional(element.map(|element| &**element));
    Ok(())
}

fn set(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let (index, value) = (arguments.integer(2)?, arguments.take(3));
    let mut shard = context.store.shard(&arguments[1]);
    let list = list(&mut shard, context, &arguments[1])?.ok_or(Failure::NO_SUCH_KEY)?;
    let at = position(index, list.len()).ok_or(Failure::OUT_OF_RANGE)?;
    list[at] = value;
    replies.simple("OK");
    Ok(())
}

fn trim(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let (start, stop) = (arguments.integer(2)?, arguments.integer(3)?);
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    if let Some(list) = list(&mut shard, context, key)? {
        let (first, count) = span(start, stop, list.len());
        list.truncate(first + count);
        list.drain(..first);
        shard.drop_if_empty(key);
    }
    replies.simple("OK");
    Ok(())
}

/// An index from either end, if it lies inside.
fn position(index: i64, length: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(at).ok().filter(|&at| at < length)
}
