//! Commands on sorted sets: adding, scores, ranks, and ranges by place or by score.
//! All ranges of all commands end in `by_place` or `by_score`, which write the reply.
//! A sorted set that loses its last member ceases to exist.

use super::super::reply::Replies;
use super::super::sorted_set::{Limit, Score, SortedSet};
use super::super::store::{Shard, Value};
use super::{Arguments, Command, Context, Failure, Outcome, parse_float, span};

const ONE: (i32, i32, i32) = (1, 1, 1);

pub const COMMANDS: &[Command] = &[
    Command::new("ZADD", -4, ONE, add),
    Command::new("ZINCRBY", 4, ONE, increment),
    Command::new("ZREM", -3, ONE, remove),
    Command::new("ZSCORE", 3, ONE, score),
    Command::new("ZRANK", 3, ONE, rank),
    Command::new("ZCARD", 2, ONE, count),
    Command::new("ZCOUNT", 4, ONE, count_between),
    Command::new("ZRANGE", -4, ONE, range),
    Command::new("ZREVRANGE", -4, ONE, reverse_range),
    Command::new("ZRANGEBYSCORE", -4, ONE, range_by_score),
    Command::new("ZPOPMIN", -2, ONE, |context, arguments, replies| {
        pop(context, arguments, replies, false)
    }),
    Command::new("ZPOPMAX", -2, ONE, |context, arguments, replies| {
        pop(context, arguments, replies, true)
    }),
];

const BAD_LIMIT: Failure = Failure::of("ERR min or max is not a float");
const BAD_SCORE: Failure = Failure::of("ERR resulting score is not a number (NaN)");

fn members<'a>(
    shard: &'a mut Shard,
    context: Context<'_>,
    key: &[u8],
) -> Result<Option<&'a mut SortedSet>, Failure> {
    match shard.get(key, context.now) {
        None => Ok(None),
        Some(Value::SortedSet(members)) => Ok(Some(members)),
        Some(_) => Err(Failure::WRONG_TYPE),
    }
}

fn members_or_new<'a>(
    shard: &'a mut Shard,
    context: Context<'_>,
    key: &[u8],
) -> Result<&'a mut SortedSet, Failure> {
    match shard.get_or_insert(key.to_vec(), context.now, || Value::SortedSet(Box::default())) {
        Value::SortedSet(members) => Ok(members),
        _ => Err(Failure::WRONG_TYPE),
    }
}

fn add(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let (mut only_new, mut only_old, mut count_changed, mut greater, mut less) =
        (false, false, false, false, false);
    let mut first = 2;
    loop {
        let option = [
            ("NX", &mut only_new),
            ("XX", &mut only_old),
            ("CH", &mut count_changed),
            ("GT", &mut greater),
            ("LT", &mut less),
        ]
        .into_iter()
        .find(|(keyword, _)| arguments.is(first, keyword));
        let Some((_, option)) = option else { break };
        *option = true;
        first += 1;
    }
    let pairs = arguments.len() - first;
    if pairs == 0
        || !pairs.is_multiple_of(2)
        || only_new && (only_old || greater || less)
        || greater && less
    {
        return Err(Failure::SYNTAX);
    }
    // All scores are read before the first member changes.
    let scores = (first..arguments.len())
        .step_by(2)
        .map(|at| Score::new(arguments.float(at)?).ok_or(Failure::NOT_FLOAT))
        .collect::<Result<Vec<_>, _>>()?;
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let set = members_or_new(&mut shard, context, key)?;
    let (mut added, mut changed) = (0, 0);
    for (index, &score) in scores.iter().enumerate() {
        let member = &arguments[first + 2 * index + 1];
        match set.score(member) {
            None if only_old => {}
            None => {
                set.insert(member, score);
                added += 1;
            }
            Some(old)
                if only_new || old == score || greater && score < old || less && score > old => {}
            Some(_) => {
                set.insert(member, score);
                changed += 1;
            }
        }
    }
    shard.drop_if_empty(key);
    replies.integer(if count_changed { added + changed } else { added });
    Ok(())
}

fn increment(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let amount = arguments.float(2)?;
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let set = members_or_new(&mut shard, context, key)?;
    let old = set.score(&arguments[3]).map_or(0.0, Score::get);
    let score = Score::new(old + amount).ok_or(BAD_SCORE)?;
    set.insert(&arguments[3], score);
    replies.score(score.get());
    Ok(())
}

fn remove(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let removed = match members(&mut shard, context, key)? {
        None => 0,
        Some(set) => arguments.from(2).filter(|member| set.remove(member)).count(),
    };
    shard.drop_if_empty(key);
    replies.count(removed);
    Ok(())
}

fn score(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    match members(&mut shard, context, &arguments[1])?.and_then(|set| set.score(&arguments[2])) {
        Some(score) => replies.score(score.get()),
        None => replies.nil(),
    }
    Ok(())
}

fn rank(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    match members(&mut shard, context, &arguments[1])?.and_then(|set| set.rank(&arguments[2])) {
        Some(rank) => replies.count(rank),
        None => replies.nil(),
    }
    Ok(())
}

fn count(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let mut shard = context.store.shard(&arguments[1]);
    replies.count(members(&mut shard, context, &arguments[1])?.map_or(0, |set| set.len()));
    Ok(())
}

fn count_between(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
) -> Outcome {
    let (low, high) = (limit(&arguments[2])?, limit(&arguments[3])?);
    let mut shard = context.store.shard(&arguments[1]);
    replies.count(
        members(&mut shard, context, &arguments[1])?
            .map_or(0, |set| set.between(low, high).count()),
    );
    Ok(())
}

/// What may follow the two ends of a range.
#[derive(Clone, Copy, Default)]
struct Options {
    with_scores: bool,
    by_score: bool,
    reverse: bool,
    /// How many to skip, and how many to take at most.
    limit: Option<(usize, usize)>,
}

fn options(arguments: &Arguments) -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut at = 4;
    while at < arguments.len() {
        if arguments.is(at, "WITHSCORES") {
            options.with_scores = true;
        } else if arguments.is(at, "BYSCORE") {
            options.by_score = true;
        } else if arguments.is(at, "REV") {
            options.reverse = true;
        } else if arguments.is(at, "LIMIT") && at + 2 < arguments.len() {
            // A negative count is no limit; nothing lies behind a negative offset.
            let skip = usize::try_from(arguments.integer(at + 1)?).unwrap_or(usize::MAX);
            let take = usize::try_from(arguments.integer(at + 2)?).unwrap_or(usize::MAX);
            options.limit = Some((skip, take));
            at += 2;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

fn range(context: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    let options = options(arguments)?;
    if options.by_score {
        return by_score(context, arguments, replies, options);
    }
    if options.limit.is_some() {
        return Err(Failure::of(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    by_place(context, arguments, replies, options)
}

fn reverse_range(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
) -> Outcome {
    let options = options(arguments)?;
    if options.by_score || options.reverse || options.limit.is_some() {
        return Err(Failure::SYNTAX);
    }
    by_place(context, arguments, replies, Options { reverse: true, ..options })
}

fn range_by_score(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
) -> Outcome {
    let options = options(arguments)?;
    if options.by_score || options.reverse {
        return Err(Failure::SYNTAX);
    }
    by_score(context, arguments, replies, options)
}

fn by_place(
    context: Context<'_>,
    arguments: &Arguments,
    replies: &mut Replies,
    options: Options,
) -> Outcome {
    let (start, stop) = (arguments.integer(2)?, arguments.integer(3)?);
    let mut shard = context.store.shard(&arguments[1]);
    let Some(set) = members(&mut shard, context, &arguments[1])? else {
        replies.array(0);
        return Ok(());
    };
    let (first, count) = span(start, stop, set.len());
    replies.array(if options.with_scores { 2 * count } else { count });
    // The tree knows no places: members before the first are stepped over.
    if options.reverse {
        list(set.iter().rev().skip(first).take(count), options, replies);
    } else {
        list(set.iter().skip(first).take(count), options, replies);
    }
    Ok(())
}

fn by_score(
    context: Context<'_>,
    arguments: &Arguments,
    replies: &mut Replies,
    options: Options,
) -> Outcome {
    let (first, second) = (limit(&arguments[2])?, limit(&arguments[3])?);
    let (low, high) = if options.reverse { (second, first) } else { (first, second) };
    let mut shard = context.store.shard(&arguments[1]);
    let Some(set) = members(&mut shard, context, &arguments[1])? else {
        replies.array(0);
        return Ok(());
    };
    let mut found: Vec<_> = set.between(low, high).collect();
    if options.reverse {
        found.reverse();
    }
    let (skip, take) = options.limit.unwrap_or((0, usize::MAX));
    let found = found.get(skip..).unwrap_or_default();
    let found = &found[..found.len().min(take)];
    replies.array(if options.with_scores { 2 * found.len() } else { found.len() });
    list(found.iter().copied(), options, replies);
    Ok(())
}

fn list<'a>(
    members: impl Iterator<Item = (&'a [u8], Score)>,
    options: Options,
    replies: &mut Replies,
) {
    for (member, score) in members {
        replies.bulk(member);
        if options.with_scores {
            replies.score(score.get());
        }
    }
}

fn pop(
    context: Context<'_>,
    arguments: &mut Arguments,
    replies: &mut Replies,
    highest: bool,
) -> Outcome {
    let wanted = match arguments.len() {
        2 => 1,
        3 => usize::try_from(arguments.integer(2)?).map_err(|_| Failure::NOT_POSITIVE)?,
        _ => return Err(Failure::SYNTAX),
    };
    let key = &arguments[1];
    let mut shard = context.store.shard(key);
    let Some(set) = members(&mut shard, context, key)? else {
        replies.array(0);
        return Ok(());
    };
    replies.array(2 * wanted.min(set.len()));
    for (member, score) in std::iter::from_fn(|| set.pop(highest)).take(wanted) {
        replies.bulk(&member);
        replies.score(score.get());
    }
    shard.drop_if_empty(key);
    Ok(())
}

/// One end of a range of scores: a number, or one behind a parenthesis, which is then outside.
fn limit(text: &[u8]) -> Result<Limit, Failure> {
    let (exclusive, number) = match text.strip_prefix(b"(") {
        Some(number) => (true, number),
        None => (false, text),
    };
    let score = parse_float(number).and_then(Score::new).ok_or(BAD_LIMIT)?;
    Ok(Limit { score, exclusive })
}
