//! The commands, without a socket: scripts of requests and the replies that they must get.
//! Replies are those of Redis 7 wherever the service has the command.
//! The test sets the clock, so that keys end without anybody waiting.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::server::State;
use crate::server::commands::{Context, Flow, execute};
use crate::server::reply::Replies;
use crate::server::request::{Limits, RequestParser};
use crate::server::store::Store;
use crate::words;

/// A service without a socket, whose clock the test sets.
struct Bench {
    store: Store,
    state: State,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { store: Store::new(), state: State::new("test"), now: Instant::now() }
    }

    /// The reply to one request, given as words.
    fn ask(&self, line: &str) -> String {
        let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
        let request = RequestParser::new(Limits::DEFAULT)
            .next(&mut input)
            .expect("well formed")
            .expect("complete");
        let mut replies = Replies::default();
        let context = Context { store: &self.store, state: &self.state, now: self.now };
        execute(context, request, &mut replies);
        String::from_utf8(replies.bytes().to_vec()).expect("the tests store text")
    }

    /// Requests one after the other; replies without their carriage returns, to be readable.
    fn script(&self, script: &[(&str, &str)]) {
        for (line, expected) in script {
            assert_eq!(self.ask(line).replace("\r\n", " ").trim_end(), *expected, "{line}");
        }
    }
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const LIMIT_ALONE: &str =
    "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";

#[test]
fn strings() {
    Bench::new().script(&[
        ("GET k", "$-1"),
        ("SET k v", "+OK"),
        ("get k", "$1 v"),
        ("SET k w NX", "$-1"),
        ("SET k w XX", "+OK"),
        ("SET n w XX", "$-1"),
        ("SET k x GET", "$1 w"),
        ("SET n x GET NX", "$-1"),
        ("GET n", "$1 x"),
        ("SET k x NX XX", "-ERR syntax error"),
        ("SET k x EX", "-ERR syntax error"),
        ("SET k x EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k x EX -1", "-ERR invalid expire time in 'set' command"),
        ("SET k x EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET k x EX ten", NOT_INTEGER),
        ("SET k x what", "-ERR syntax error"),
        ("SETNX k y", ":0"),
        ("SETNX m y", ":1"),
        ("GETSET m z", "$1 y"),
        ("GETDEL m", "$1 z"),
        ("GETDEL m", "$-1"),
        ("STRLEN k", ":1"),
        ("STRLEN none", ":0"),
        ("APPEND k yz", ":3"),
        ("APPEND new yz", ":2"),
        ("GETRANGE k 0 -2", "$2 xy"),
        ("GETRANGE k -2 100", "$2 yz"),
        ("GETRANGE k 5 9", "$0"),
        ("GETRANGE k -9223372036854775808 9223372036854775807", "$3 xyz"),
        ("INCR c", ":1"),
        ("INCRBY c 41", ":42"),
        ("DECR c", ":41"),
        ("DECRBY c 40", ":1"),
        ("SET c 9223372036854775807", "+OK"),
        ("INCR c", "-ERR increment or decrement would overflow"),
        ("DECRBY c -9223372036854775808", "-ERR increment or decrement would overflow"),
        ("INCR k", NOT_INTEGER),
        ("MSET a 1 b 2 a 3", "+OK"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("LPUSH l x", ":1"),
        ("MGET a none b l", "*4 $1 3 $-1 $1 2 $-1"),
        ("GET l", WRONG_TYPE),
        ("INCR l", WRONG_TYPE),
        ("APPEND l x", WRONG_TYPE),
        ("SET l x GET", WRONG_TYPE),
        ("SET l x", "+OK"),
        ("TYPE l", "+string"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("GET a b", "-ERR wrong number of arguments for 'get' command"),
        ("NOSUCH a", "-ERR unknown command 'NOSUCH'"),
    ]);
}

#[test]
fn lists() {
    Bench::new().script(&[
        ("LPOP l", "$-1"),
        ("LPOP l 3", "*-1"),
        ("LRANGE l 0 -1", "*0"),
        ("RPUSH l a b c", ":3"),
        ("LPUSH l y x", ":5"),
        ("LRANGE l 0 -1", "*5 $1 x $1 y $1 a $1 b $1 c"),
        ("LRANGE l -2 -1", "*2 $1 b $1 c"),
        ("LRANGE l 3 1", "*0"),
        ("LRANGE l -100 100", "*5 $1 x $1 y $1 a $1 b $1 c"),
        ("LLEN l", ":5"),
        ("LINDEX l 0", "$1 x"),
        ("LINDEX l -1", "$1 c"),
        ("LINDEX l 5", "$-1"),
        ("LINDEX l -9223372036854775808", "$-1"),
        ("LSET l 1 z", "+OK"),
        ("LSET l 9 z", "-ERR index out of range"),
        ("LSET none 0 z", "-ERR no such key"),
        ("LPOP l", "$1 x"),
        ("RPOP l 2", "*2 $1 c $1 b"),
        ("LPOP l -1", "-ERR value is out of range, must be positive"),
        ("LPOP l 0", "*0"),
        ("LTRIM l 1 1", "+OK"),
        ("LRANGE l 0 -1", "*1 $1 a"),
        ("RPOP l 9", "*1 $1 a"),
        ("EXISTS l", ":0"),
        ("SET s v", "+OK"),
        ("LPUSH s v", WRONG_TYPE),
        ("LLEN s", WRONG_TYPE),
        ("RPUSH l a b", ":2"),
        ("LTRIM l 5 9", "+OK"),
        ("EXISTS l", ":0"),
    ]);
}

#[test]
fn sorted_sets() {
    Bench::new().script(&[
        ("ZADD z 1 a 2 b 3 c", ":3"),
        ("ZADD z 5 a 4 d", ":1"),
        ("ZADD z CH 5 a 5 d", ":1"),
        ("ZADD z NX 9 a 9 e", ":1"),
        ("ZADD z XX 0 f", ":0"),
        ("ZADD none XX 0 f", ":0"),
        ("EXISTS none", ":0"),
        ("ZADD z GT CH 1 e", ":0"),
        ("ZADD z LT CH 1 e", ":1"),
        ("ZADD z NX XX 1 e", "-ERR syntax error"),
        ("ZADD z 1", "-ERR wrong number of arguments for 'zadd' command"),
        ("ZADD z 1 a 2", "-ERR syntax error"),
        ("ZADD z x a", "-ERR value is not a valid float"),
        ("ZADD z nan a", "-ERR value is not a valid float"),
        ("ZADD z 7 g x h", "-ERR value is not a valid float"),
        ("ZSCORE z g", "$-1"),
        ("ZRANGE z 0 -1 WITHSCORES", "*10 $1 e $1 1 $1 b $1 2 $1 c $1 3 $1 a $1 5 $1 d $1 5"),
        ("ZRANGE z 0 1 REV", "*2 $1 d $1 a"),
        ("ZREVRANGE z 0 0 WITHSCORES", "*2 $1 d $1 5"),
        ("ZRANGE z 2 3 BYSCORE", "*2 $1 b $1 c"),
        ("ZRANGE z 3 2 BYSCORE REV", "*2 $1 c $1 b"),
        ("ZRANGE z 0 1 LIMIT 0 1", LIMIT_ALONE),
        ("ZRANGEBYSCORE z (2 +inf", "*3 $1 c $1 a $1 d"),
        ("ZRANGEBYSCORE z -inf (5 LIMIT 1 1 WITHSCORES", "*2 $1 b $1 2"),
        ("ZRANGEBYSCORE z -inf +inf LIMIT -1 5", "*0"),
        ("ZRANGEBYSCORE z -inf +inf LIMIT 3 -1", "*2 $1 a $1 d"),
        ("ZRANGEBYSCORE z x 1", "-ERR min or max is not a float"),
        ("ZCOUNT z 2 3", ":2"),
        ("ZCARD z", ":5"),
        ("ZSCORE z b", "$1 2"),
        ("ZINCRBY z 0.5 b", "$3 2.5"),
        ("ZINCRBY z inf b", "$3 inf"),
        ("ZINCRBY z -inf b", "-ERR resulting score is not a number (NaN)"),
        ("ZADD y -0 m", ":1"),
        ("ZSCORE y m", "$1 0"),
        ("ZRANK z c", ":1"),
        ("ZRANK z none", "$-1"),
        ("ZREM z c none e", ":2"),
        ("ZPOPMIN z", "*2 $1 a $1 5"),
        ("ZPOPMAX z 9", "*4 $1 b $3 inf $1 d $1 5"),
        ("EXISTS z", ":0"),
        ("ZPOPMIN z", "*0"),
        ("SET s v", "+OK"),
        ("ZADD s 1 a", WRONG_TYPE),
        ("ZRANGE s 0 1", WRONG_TYPE),
    ]);
}

#[test]
fn hashes_and_sets() {
    Bench::new().script(&[
        ("HSET h a 1 b 2", ":2"),
        ("HSET h a 3", ":0"),
        ("HSET h a 3 b", "-ERR wrong number of arguments for 'hset' command"),
        ("HGET h a", "$1 3"),
        ("HGET h c", "$-1"),
        ("HEXISTS h b", ":1"),
        ("HLEN h", ":2"),
        ("HDEL h b c", ":1"),
        ("HGETALL h", "*2 $1 a $1 3"),
        ("HDEL h a", ":1"),
        ("EXISTS h", ":0"),
        ("SADD s a b a", ":2"),
        ("SISMEMBER s a", ":1"),
        ("SISMEMBER s c", ":0"),
        ("SCARD s", ":2"),
        ("SREM s a c", ":1"),
        ("SMEMBERS s", "*1 $1 b"),
        ("SPOP s", "$1 b"),
        ("SPOP s", "$-1"),
        ("EXISTS s", ":0"),
        ("SET k v", "+OK"),
        ("SADD k v", WRONG_TYPE),
        ("HSET k a v", WRONG_TYPE),
    ]);
}

#[test]
fn keys_end_when_their_time_is_over() {
    let mut bench = Bench::new();
    bench.script(&[
        ("SET a 1 EX 10", "+OK"),
        ("SET b 1 PX 10500", "+OK"),
        ("SETEX c 10 1", "+OK"),
        ("SET d 1", "+OK"),
        ("EXPIRE d 10", ":1"),
        ("EXPIRE none 10", ":0"),
        ("SET e 1 EX 10", "+OK"),
        ("SET e 2", "+OK"),
        ("SET f 1 EX 10", "+OK"),
        ("SET f 2 KEEPTTL", "+OK"),
        ("SET g 1 EX 10", "+OK"),
        ("PERSIST g", ":1"),
        ("PERSIST g", ":0"),
        ("SET h 1", "+OK"),
        ("EXPIRE h 0", ":1"),
        ("EXISTS h", ":0"),
        ("TTL a", ":10"),
        ("PTTL b", ":10500"),
        ("TTL b", ":11"),
        ("TTL e", ":-1"),
        ("TTL f", ":10"),
        ("TTL none", ":-2"),
        ("APPEND a 2", ":2"),
        ("TTL a", ":10"),
        ("EXPIRE a 99999999999999", "-ERR invalid expire time in 'expire' command"),
    ]);
    bench.now += Duration::from_millis(9_999);
    bench.script(&[("EXISTS a b c d e f g", ":7")]);
    bench.now += Duration::from_millis(1);
    bench.script(&[
        ("EXISTS a b c d e f g", ":3"),
        ("KEYS [a-d]", "*1 $1 b"),
        ("LPUSH a x", ":1"),
        ("TTL a", ":-1"),
    ]);
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.store.len(), (4, 1));
    bench.store.sweep(bench.now);
    assert_eq!(bench.store.len(), (3, 0));
    bench.script(&[("KEYS b", "*0"), ("DBSIZE", ":3"), ("FLUSHALL", "+OK"), ("DBSIZE", ":0")]);
}

#[test]
fn a_scan_sees_every_key_once() {
    let bench = Bench::new();
    let mut expected: Vec<String> = (0..3_000).map(|index| format!("key:{index}")).collect();
    for key in &expected {
        bench.ask(&format!("SET {key} v"));
    }
    bench.ask("RPUSH list v");
    let (mut cursor, mut seen) = (String::from("0"), Vec::new());
    loop {
        let reply = bench.ask(&format!("SCAN {cursor} MATCH key:* COUNT 100 TYPE string"));
        let lines: Vec<&str> = reply.split("\r\n").collect();
        cursor = lines[2].to_owned();
        seen.extend(lines[4..].chunks_exact(2).map(|pair| pair[1].to_owned()));
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    bench.script(&[
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN -1", "-ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 MATCH", "-ERR syntax error"),
        ("SCAN 9223372036854775807", "*2 $1 0 *0"),
    ]);
}

#[test]
fn what_clients_ask_first() {
    let bench = Bench::new();
    bench.script(&[
        ("PING", "+PONG"),
        ("PING hello", "$5 hello"),
        ("ECHO hello", "$5 hello"),
        ("SELECT 0", "+OK"),
        ("SELECT 1", "-ERR DB index is out of range"),
        ("HELLO 3", "-NOPROTO unsupported protocol version"),
        ("CONFIG GET save", "*2 $4 save $0"),
        ("CONFIG GET nothing", "*0"),
        ("CONFIG SET save x", "-ERR only CONFIG GET is supported"),
        ("CLIENT SETNAME me", "+OK"),
        ("COMMAND DOCS", "*0"),
    ]);
    assert!(bench.ask("HELLO 2").starts_with("*10\r\n$6\r\nserver\r\n"));
    assert!(bench.ask("COMMAND").starts_with('*'));
    assert!(bench.ask("INFO").contains("mem_allocator:test\r\n"));
}

#[test]
fn an_endless_reply_becomes_an_error() {
    let bench = Bench::new();
    bench.ask(&format!("SET k {}", "x".repeat(60_000)));
    let request = format!("MGET{}", " k".repeat(2_000));
    assert_eq!(bench.ask(&request), "-ERR the reply is too large\r\n");
    assert_eq!(bench.ask("STRLEN k"), ":60000\r\n");
}

#[test]
fn flow_ends_with_quit_alone() {
    let bench = Bench::new();
    let context = Context { store: &bench.store, state: &bench.state, now: bench.now };
    let mut replies = Replies::default();
    assert_eq!(execute(context, words(&["PING"]), &mut replies), Flow::Continue);
    assert_eq!(execute(context, words(&["QUIT"]), &mut replies), Flow::Close);
    assert_eq!(replies.bytes(), b"+PONG\r\n+OK\r\n");
}
