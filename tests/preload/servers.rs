//! Servers: redis-server and memcached, driven over a Unix socket by the test, then asked to end.
//! Debian's redis-server is linked with jemalloc as a shared library whose names are those of libc, so a preloaded library serves it: the counters decide, and a server with an allocator inside is reported as not run.
//! All replies are compared with those of a run without the library.

use crate::ensure;
use crate::support::child::Child;
use crate::support::places::{self, tool};
use crate::support::verdict::{Tested, Verdict, native_test};
use libtest_mimic::Trial;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connects as soon as the server listens.
fn connect(socket: &Path) -> Result<BufReader<UnixStream>, String> {
    for _ in 0..2000 {
        if let Ok(stream) = UnixStream::connect(socket) {
            stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|e| e.to_string())?;
            return Ok(BufReader::new(stream));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("the server does not listen".into())
}

/// One RESP reply, as text.
fn reply(stream: &mut BufReader<UnixStream>) -> Result<String, String> {
    let mut line = String::new();
    stream.read_line(&mut line).map_err(|e| e.to_string())?;
    let count = || line[1..].trim().parse::<i64>().map_err(|e| format!("{line:?}: {e}"));
    match line.as_bytes().first() {
        Some(b'$') => {
            let Ok(length) = usize::try_from(count()?) else { return Ok(line) }; // -1: there is none
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).map_err(|e| e.to_string())?;
            Ok(line.clone() + &String::from_utf8_lossy(&bytes))
        }
        Some(b'*') => {
            let mut all = line.clone();
            for _ in 0..count()? {
                all += &reply(stream)?;
            }
            Ok(all)
        }
        Some(b'+' | b'-' | b':') => Ok(line),
        _ => Err(format!("reply {line:?}")),
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}

/// Strings, lists, hashes and sorted sets; a hash of all replies.
fn use_redis(socket: &Path) -> Result<String, String> {
    let mut stream = connect(socket)?;
    let mut rng = fastrand::Rng::with_seed(9);
    let mut log = 0u64;
    let mut ask = |words: &[&str]| -> Result<(), String> {
        stream.get_mut().write_all(&command(words)).map_err(|e| e.to_string())?;
        for byte in reply(&mut stream)?.bytes() {
            log = (log ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
        Ok(())
    };
    for round in 0..30_000 {
        let key = format!("key:{}", rng.u32(0..4000));
        let value =
            "v".repeat(if round % 50 == 0 { rng.usize(1000..40_000) } else { rng.usize(1..600) });
        match rng.u32(0..8) {
            0..3 => ask(&["SET", &key, &value])?,
            3 => ask(&["GET", &key])?,
            4 => ask(&["DEL", &key])?,
            5 => ask(&["LPUSH", &format!("list{}", round % 40), &value])?,
            6 => ask(&["ZADD", &format!("set{}", round % 20), &rng.u32(..).to_string(), &key])?,
            _ => ask(&["HSET", &format!("hash{}", round % 30), &key, &value])?,
        }
    }
    for number in 0..20 {
        ask(&["ZRANGE", &format!("set{number}"), "0", "-1", "WITHSCORES"])?;
        ask(&["LRANGE", &format!("list{number}"), "0", "-1"])?;
    }
    ask(&["DBSIZE"])?;
    ask(&["FLUSHALL"])?;
    let end = stream.get_mut().write_all(&command(&["SHUTDOWN", "NOSAVE"]));
    end.map_err(|e| e.to_string())?;
    Ok(format!("{log:x}"))
}

fn use_memcached(
    socket: &Path,
    end: impl FnOnce() -> Result<(), String>,
) -> Result<String, String> {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut log = 0u64;
    for _ in 0..40 {
        // New connections again and again: their buffers are what memcached asks malloc for.
        let mut stream = connect(socket)?;
        for _ in 0..500 {
            let key = rng.u32(0..3000);
            let value = "m".repeat(rng.usize(1..3000));
            let (text, lines) = match rng.u32(0..2) {
                0 => (format!("set key{key} 0 0 {}\r\n{value}\r\n", value.len()), 1),
                _ => (format!("incr count 1\r\ndelete key{key}\r\n"), 2),
            };
            stream.get_mut().write_all(text.as_bytes()).map_err(|e| e.to_string())?;
            for _ in 0..lines {
                let mut line = String::new();
                stream.read_line(&mut line).map_err(|e| e.to_string())?;
                for byte in line.bytes() {
                    log = (log ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
                }
            }
        }
    }
    end()?;
    Ok(format!("{log:x}"))
}

/// Runs a server and its client; gives the client's log and, if counted, the blocks.
fn serve(
    child: Child,
    client: impl FnOnce() -> Result<String, String>,
) -> Result<(String, u64), String> {
    let server = std::thread::spawn(move || child.within(120).run());
    let log = client();
    let ended = server.join().map_err(|_| "the server's thread panicked")??;
    let log = log.map_err(|why| format!("{why}\n{}", ended.describe()))?;
    ensure!(ended.status.is_some_and(|status| status.success()), "{}", ended.describe());
    Ok((log, ended.refilled_blocks()))
}

fn redis() -> Tested {
    let Some(redis) = tool("redis-server") else {
        return Ok(Verdict::Missing("redis-server (Debian: redis-server)".into()));
    };
    let folder = places::fresh_folder("redis");
    let socket = folder.join("socket");
    let child = || {
        let path = socket.to_string_lossy().into_owned();
        let args = [
            "--port",
            "0",
            "--unixsocket",
            &path,
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
            "--logfile",
            "/dev/null",
        ];
        Child::program(&redis).args(args).in_folder(&folder)
    };
    let (wanted, _) = serve(child(), || use_redis(&socket))?;
    for checked in [false, true] {
        let preloaded = child().preload()?;
        let preloaded = if checked { preloaded.env("BITMAG_CHECK", "1") } else { preloaded };
        let (got, blocks) = serve(preloaded, || use_redis(&socket))?;
        ensure!(got == wanted, "other replies with the library (checked: {checked})");
        if blocks < 20_000 {
            return Ok(Verdict::NotHere(format!(
                "this redis-server has an allocator inside: only {blocks} blocks were ours"
            )));
        }
    }
    Ok(Verdict::Holds)
}

fn memcached() -> Tested {
    let Some(memcached) = tool("memcached") else {
        return Ok(Verdict::Missing("memcached (Debian: memcached)".into()));
    };
    let folder = places::fresh_folder("memcached");
    let (socket, pid): (PathBuf, PathBuf) = (folder.join("socket"), folder.join("pid"));
    let child = || {
        let args = [
            "-s".as_ref(),
            socket.as_os_str(),
            "-P".as_ref(),
            pid.as_os_str(),
            "-m".as_ref(),
            "64".as_ref(),
            "-t".as_ref(),
            "4".as_ref(),
        ];
        // SAFETY: asks who we are.
        let user: &[&str] = if unsafe { libc::geteuid() } == 0 { &["-u", "root"] } else { &[] };
        Child::program(&memcached).args(args).args(user).in_folder(&folder)
    };
    let stop = || {
        let number = std::fs::read_to_string(&pid).map_err(|e| e.to_string())?;
        let number: i32 = number.trim().parse().map_err(|_| "memcached's pid file")?;
        // SAFETY: a signal to the server that this test started.
        unsafe { libc::kill(number, libc::SIGINT) };
        Ok(())
    };
    let (wanted, _) = serve(child(), || use_memcached(&socket, stop))?;
    let (got, blocks) = serve(child().preload()?, || use_memcached(&socket, stop))?;
    ensure!(got == wanted, "other replies with the library");
    ensure!(blocks > 100, "memcached: only {blocks} blocks out of refills");
    Ok(Verdict::Holds)
}

pub fn tests() -> Vec<Trial> {
    vec![
        native_test("programs::redis_server", redis),
        native_test("programs::memcached", memcached),
    ]
}
