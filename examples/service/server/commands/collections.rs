//! Commands on hashes and on sets without scores.
//! Both are hash tables whose names and values are blocks of their own.
//! One that loses its last element ceases to exist.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::super::reply::Replies;
use super::super::store::{Name, Shard, Value};
use super::{Arguments, Command, Context, Failure, Outcome};

const ONE: (i32, i32, i32) = (1, 1, 1);

pub const COMMANDS: &[Command] = &[
    Command::new("HSET", -4, ONE, hash_set),
    Command::new("HGET", 3, ONE, hash_get),
    Command::new("HDEL", -3, ONE, hash_delete),
    Command::new("HLEN", 2, ONE, hash_length),
    Command::new("HEXISTS", 3, ONE, hash_exists),
    Command::new("HGETALL", 2, ONE, hash_all),
    Command::new("SADD", -3, ONE, set_add),
    Command::new("SREM", -3, ONE, set_remove),
    Command::new("SISMEMBER", 3, ONE, set_contains),
    Command::new("SCARD", 2, ONE, set_count),
    Command::new("SMEMBERS", 2, ONE, set_all),
    Command::new("SPOP", 2, ONE, set_pop),
];

type Fields = HashMap<Name, Vec<u8>, RandomState>;
type Members = HashSet<Name, RandomState>;

fn fields<'a>(
    shard: &'a mut Shard,
    context: Context<'_>,
    key: &[u8],
) -> Result<Option<&'a mut Fields>, Failure> {
    match shard.get(key, context.now) {
        None => Ok(None),
        Some(Value::Hash(fields)) => Ok(Some(fields)),
        Some(_) => Err(Failure::WRONG_TYPE),
    }
}

fn members<'a>(
    shard: &'a mut Shard,
    context: Context<'_>,
    key: &[u8],
) -> Result<Option<&'a mut Members>, Failure> {
    match shard.get(key, context.now) {
        None => Ok(None),
        Some(Value::Set(members)) => Ok(Some(members)),
        Some(_) => Err(Failure::WRONG_TYPE),
    }
}

fn hash_set(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    if !arguments.len().is_multiple_of(2) {
        return Err(Failure::of("ERR wrong number of arguments for 'hset' command"));
    }
    let key = arguments.take(1);
    let mut shard = context.store.shard(&key);
    let Value::Hash(fields) =
        shard.get_or_insert(key, context.now, || Value::Hash(Fields::default()))
    else {
        return Err(Failure::WRONG_TYPE);
    };
    let mut added = 0;
    for at in (2..arguments.len()).step_by(2) {
        let (field, value) = (arguments.take(at), arguments.take(at + 1));
        added += usize::from(fields.insert(field.into_boxed_slice(), value).is_none());
    }
    replies.count(added);
    Ok(())
}

fn hash_get(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    let value =
        fields(&mut shard, context, &arguments[1])?.and_then(|fields| fields.get(&arguments[2]));
    replies.optional(value.map(|value| &**value));
    Ok(())
}

fn hash_delete(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let removed = match fields(&mut shard, context, key)? {
        None => 0,
        Some(fields) => arguments.from(2).filter(|&field| fields.remove(field).is_some()).count(),
    };
    shard.drop_if_empty(key);
    replies.count(removed);
    Ok(())
}

fn hash_length(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    replies.count(fields(&mut shard, context, &arguments[1])?.map_or(0, |fields| fields.len()));
    Ok(())
}

fn hash_exists(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    let fields = fields(&mut shard, context, &arguments[1])?;
    replies.integer(fields.is_some_and(|fields| fields.contains_key(&arguments[2])).into());
    Ok(())
}

fn hash_all(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    let Some(fields) = fields(&mut shard, context, &arguments[1])? else {
        replies.array(0);
        return Ok(());
    };
    replies.array(2 * fields.len());
    for (field, value) in fields {
        replies.bulk(field);
        replies.bulk(value);
    }
    Ok(())
}

fn set_add(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let key = arguments.take(1);
    let mut shard = context.store.shard(&key);
    let Value::Set(members) =
        shard.get_or_insert(key, context.now, || Value::Set(Members::default()))
    else {
        return Err(Failure::WRONG_TYPE);
    };
    replies.count(
        arguments
            .take_from(2)
            .filter_map(|member| members.insert(member.into()).then_some(()))
            .count(),
    );
    Ok(())
}

fn set_remove(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let removed = match members(&mut shard, context, key)? {
        None => 0,
        Some(members) => arguments.from(2).filter(|&member| members.remove(member)).count(),
    };
    shard.drop_if_empty(key);
    replies.count(removed);
    Ok(())
}

fn set_contains(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    let members = members(&mut shard, context, &arguments[1])?;
    replies.integer(members.is_some_and(|members| members.contains(&arguments[2])).into());
    Ok(())
}

fn set_count(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    replies.count(members(&mut shard, context, &arguments[1])?.map_or(0, |members| members.len()));
    Ok(())
}

fn set_all(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    let Some(members) = members(&mut shard, context, &arguments[1])? else {
        replies.array(0);
        return Ok(());
    };
    replies.array(members.len());
    for member in members.iter() {
        replies.bulk(member);
    }
    Ok(())
}

/// Takes out any member: the first one met, which is as good as random to a client.
fn set_pop(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let member = members(&mut shard, context, key)?.and_then(|members| {
        let member = members.iter().next()?.clone();
        members.remove(&member);
        Some(member)
    });
    shard.drop_if_empty(key);
    replies.optional(member.as_deref());
    Ok(())
}
