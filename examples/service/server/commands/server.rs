//! Commands about the service itself: greetings, introspection, shutting down. Clients and
//! benchmarks ask some of these before anything else, so they must get an answer that they
//! understand. INFO is also how the load generator learns which allocator served the process.

use std::sync::atomic::Ordering;

use super::super::allocator::Counters;
use super::super::glob;
use super::super::reply::Replies;
use super::{Arguments, Command, Context, Failure, Outcome, all};

const NONE: (i32, i32, i32) = (0, 0, 0);

pub const COMMANDS: &[Command] = &[
    Command::new("PING", -1, NONE, ping),
    Command::new("ECHO", 2, NONE, |_, arguments, replies| {
        replies.bulk(&arguments[1]);
        Ok(())
    }),
    Command::new("SELECT", 2, NONE, select),
    Command::new("HELLO", -1, NONE, hello),
    Command::new("COMMAND", -1, NONE, command),
    Command::new("CONFIG", -2, NONE, config),
    Command::new("CLIENT", -2, NONE, client),
    Command::new("INFO", -1, NONE, info),
    Command::new("TIME", 1, NONE, time),
    Command::new("QUIT", -1, NONE, |_, _, replies| {
        replies.simple("OK");
        Ok(())
    }),
    Command::new("SHUTDOWN", -1, NONE, |context, _, replies| {
        context.state.shutdown.notify_one();
        replies.simple("OK");
        Ok(())
    }),
];

fn ping(_: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    match arguments.len() {
        1 => replies.simple("PONG"),
        2 => replies.bulk(&arguments[1]),
        _ => return Err(Failure::of("ERR wrong number of arguments for 'ping' command")),
    }
    Ok(())
}

fn select(_: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    if arguments.integer(1)? != 0 {
        return Err(Failure::of("ERR DB index is out of range"));
    }
    replies.simple("OK");
    Ok(())
}

/// Only the second version of the protocol is spoken here.
fn hello(_: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    if arguments.len() > 1 && !arguments.is(1, "2") {
        return Err(Failure::of("NOPROTO unsupported protocol version"));
    }
    if arguments.len() > 2 {
        return Err(Failure::SYNTAX);
    }
    replies.array(10);
    for (field, value) in [("server", "bitmag-service"), ("version", env!("CARGO_PKG_VERSION"))] {
        replies.bulk(field.as_bytes());
        replies.bulk(value.as_bytes());
    }
    replies.bulk(b"proto");
    replies.integer(2);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        replies.bulk(field.as_bytes());
        replies.bulk(value.as_bytes());
    }
    Ok(())
}

fn command(_: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    if arguments.is(1, "COUNT") {
        replies.count(all().count());
    } else if arguments.is(1, "DOCS") {
        // No documentation: a client then offers no hints.
        replies.array(0);
    } else if arguments.len() == 1 {
        replies.array(all().count());
        for command in all() {
            replies.array(6);
            replies.bulk(command.name.to_lowercase().as_bytes());
            replies.integer(command.arity.into());
            replies.array(0);
            for position in [command.keys.0, command.keys.1, command.keys.2] {
                replies.integer(position.into());
            }
        }
    } else {
        return Err(Failure::of("ERR unknown subcommand of 'command'"));
    }
    Ok(())
}

fn config(_: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    /// What benchmarks look up; nothing is ever written to disk here.
    const SETTINGS: [(&str, &str); 4] =
        [("save", ""), ("appendonly", "no"), ("maxmemory", "0"), ("databases", "1")];
    if arguments.is(1, "GET") && arguments.len() >= 3 {
        let wanted =
            |name: &str| arguments.from(2).any(|pattern| glob::matches(pattern, name.as_bytes()));
        let found: Vec<_> = SETTINGS.iter().filter(|(name, _)| wanted(name)).collect();
        replies.array(2 * found.len());
        for (name, value) in found {
            replies.bulk(name.as_bytes());
            replies.bulk(value.as_bytes());
        }
        Ok(())
    } else {
        Err(Failure::of("ERR only CONFIG GET is supported"))
    }
}

/// Client libraries introduce themselves; the service need not remember them.
fn client(_: Context<'_>, arguments: &mut Arguments, replies: &mut Replies) -> Outcome {
    if arguments.is(1, "SETNAME") || arguments.is(1, "SETINFO") {
        replies.simple("OK");
    } else if arguments.is(1, "GETNAME") {
        replies.nil();
    } else {
        return Err(Failure::of("ERR unknown subcommand of 'client'"));
    }
    Ok(())
}

fn time(_: Context<'_>, _: &mut Arguments, replies: &mut Replies) -> Outcome {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    replies.array(2);
    replies.bulk(now.as_secs().to_string().as_bytes());
    replies.bulk(now.subsec_micros().to_string().as_bytes());
    Ok(())
}

/// All sections whichever are asked for.
fn info(context: Context<'_>, _: &mut Arguments, replies: &mut Replies) -> Outcome {
    let state = context.state;
    let counters = Counters::read();
    let (keys, ending) = context.store.len();
    let lines = [
        ("# Server", None),
        ("redis_version", Some("7.0.0".to_owned())),
        ("server_name", Some("bitmag-service".to_owned())),
        ("process_id", Some(std::process::id().to_string())),
        ("uptime_in_seconds", Some(state.started.elapsed().as_secs().to_string())),
        ("# Clients", None),
        ("connected_clients", Some(state.clients.load(Ordering::Relaxed).to_string())),
        ("# Memory", None),
        ("mem_allocator", Some(state.allocator.to_owned())),
        ("bitmag_refilled_blocks", Some(counters.refilled_blocks.to_string())),
        ("bitmag_flushed_blocks", Some(counters.flushed_blocks.to_string())),
        ("bitmag_committed", Some(counters.committed.to_string())),
        ("bitmag_slabs", Some(counters.slabs.to_string())),
        ("bitmag_large", Some(counters.large.to_string())),
        ("bitmag_magazines", Some(counters.magazines.to_string())),
        ("libc_in_use", Some(counters.libc_in_use.to_string())),
        ("# Stats", None),
        ("total_commands_processed", Some(state.requests.load(Ordering::Relaxed).to_string())),
        ("# Keyspace", None),
        ("db0", Some(format!("keys={keys},expires={ending},avg_ttl=0"))),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        text.push_str(name);
        if let Some(value) = value {
            text.push(':');
            text.push_str(&value);
        }
        text.push_str("\r\n");
    }
    replies.bulk(text.as_bytes());
    Ok(())
}
