//! valgrind: callgrind and memcheck run a preloaded program to its end, and callgrind counts the instructions of a hit.
//! memcheck puts its own malloc in the place of a preloaded one, unless told not to: both ways are run, and the counters decide who served.
//! A count is the difference between two lengths of the same loop, so that start-up and the loop's own cost fall out.

use crate::support::child::{Child, Ended};
use crate::support::places::{self, tool};
use crate::support::verdict::{Tested, Verdict, native_test};
use crate::{compare, ensure};
use libtest_mimic::Trial;
use std::path::PathBuf;

/// What malloc and free of 64 bytes may take on a hit, and what a difference of compilers may add.
const MALLOC: u64 = 11;
const FREE: u64 = 14;
const ALLOWANCE: u64 = 4;

/// valgrind and a compiled program, or what is missing.
fn prepare(source: &str, flags: &[&str]) -> Result<Result<(PathBuf, PathBuf), Verdict>, String> {
    let Some(valgrind) = tool("valgrind") else {
        return Ok(Err(Verdict::Missing("valgrind (Debian: valgrind)".into())));
    };
    let Some(program) = places::compile(source, flags)? else {
        return Ok(Err(Verdict::Missing("gcc (Debian: gcc)".into())));
    };
    Ok(Ok((valgrind, program)))
}

fn run(tool_args: &'static [&'static str], floor: u64) -> Tested {
    let (valgrind, program) = match prepare("plain.c", &["-pthread"])? {
        Ok(both) => both,
        Err(missing) => return Ok(missing),
    };
    let child = || {
        Child::program(&valgrind)
            .args(["-q", "--error-exitcode=99"])
            .args(tool_args)
            .args([&program])
    };
    compare(child, floor, |ended: &Ended| format!("{:?} {}", ended.status, ended.stdout))
}

/// Without the option it is memcheck's own malloc that serves, and nothing of ours is called.
fn memcheck_replaces() -> Tested {
    let (valgrind, program) = match prepare("plain.c", &["-pthread"])? {
        Ok(both) => both,
        Err(missing) => return Ok(missing),
    };
    let ended = Child::program(&valgrind)
        .args(["-q", "--error-exitcode=99"])
        .args([&program])
        .preload()?
        .succeed()?;
    let plain = Child::program(&program).succeed()?;
    ensure!(ended.stdout == plain.stdout, "{}", ended.describe());
    ensure!(
        ended.refilled_blocks() < 1000,
        "memcheck no longer replaces a preloaded malloc: {:?}",
        ended.counters
    );
    Ok(Verdict::Holds)
}

fn counts() -> Tested {
    let (valgrind, program) = match prepare("loop.c", &[])? {
        Ok(both) => both,
        Err(missing) => return Ok(missing),
    };
    let collected = |function: &str, rounds: u64| -> Result<u64, String> {
        let toggle = format!("--toggle-collect={function}");
        let args = ["--tool=callgrind", "--callgrind-out-file=/dev/null", &toggle];
        let child = Child::program(&valgrind)
            .args(args)
            .args([program.as_os_str()])
            .args([&rounds.to_string(), "pair"]);
        let ended = child.preload()?.succeed()?;
        let line = ended.stderr.lines().find_map(|line| line.split_once("Collected :"));
        let (_, number) = line.ok_or_else(|| ended.describe())?;
        ensure!(ended.refilled_blocks() > 0, "the counters do not show us: {:?}", ended.counters);
        number.trim().parse().map_err(|e| format!("{number}: {e}"))
    };
    for (function, promised) in [("malloc", MALLOC), ("free", FREE)] {
        let (short, long) = (collected(function, 1000)?, collected(function, 2000)?);
        let count = (long - short) / 1000;
        eprintln!("{function}: {count} instructions");
        ensure!(
            count >= 5,
            "{function}: {count} instructions a call cannot be: {short} and {long}"
        );
        ensure!(
            count <= promised + ALLOWANCE,
            "{function} takes {count} instructions a hit, {promised} and {ALLOWANCE} allowed"
        );
        ensure!(
            (long - short) % 1000 == 0,
            "not all calls hit: {} instructions more for 1000 calls",
            long - short
        );
    }
    Ok(Verdict::Holds)
}

pub fn tests() -> Vec<Trial> {
    vec![
        native_test("valgrind::callgrind", || {
            run(&["--tool=callgrind", "--callgrind-out-file=/dev/null"], 10_000)
        }),
        native_test("valgrind::memcheck_on_ours", || {
            run(&["--soname-synonyms=somalloc=nouserintercepts"], 10_000)
        }),
        native_test("valgrind::memcheck_replaces_ours", memcheck_replaces),
        native_test("valgrind::instructions_of_a_hit", || {
            if !cfg!(target_arch = "x86_64") {
                return Ok(Verdict::NotHere("the bounds are those of x86_64".into()));
            }
            counts()
        }),
    ]
}
