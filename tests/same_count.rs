//! The same count everywhere: one trace, run six times under callgrind in other surroundings, costs the same number of instructions.
//! Environment (size and content), address-space layout, stack limit and the number of processors vary; the backend is pinned, as it is for every such promise.
//! Counted is all that happens inside the trace after the first allocation, the allocator's functions and the trace's own.

#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;

use bitmag::{Backend, Bitmag, Config};
use std::alloc::{GlobalAlloc, Layout};
use std::process::{Command, ExitCode};
use support::places::{fresh_folder, tool};
use support::verdict::{self, Tested, Verdict};

/// Not the global allocator: what the program's start allocates depends on its surroundings.
static BITMAG: Bitmag = Bitmag::with(Config::new().backend(Backend::Avx2));

/// Small, medium and large blocks, replaced at random among 2,000; some resized, all freed.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn bitmag_same_count_trace(seed: u64) {
    let mut blocks = [(std::ptr::null_mut::<u8>(), Layout::new::<u8>()); 2000];
    let mut state = seed;
    let mut below = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((state >> 32) * bound as u64) >> 32) as usize
    };
    for _ in 0..100_000 {
        let (block, layout) = &mut blocks[below(2000)];
        let largest = [128, 1024, 1024, 32_768, 200_000][below(32).saturating_sub(27)];
        let size = 1 + below(largest);
        // SAFETY: a block is resized or freed with the layout that it has, and no larger than isize.
        unsafe {
            if block.is_null() {
                *layout = Layout::from_size_align_unchecked(size, 1 << below(7));
                *block = BITMAG.alloc(*layout);
                block.write(1);
            } else if below(8) == 0 {
                *block = BITMAG.realloc(*block, *layout, size);
                *layout = Layout::from_size_align_unchecked(size, layout.align());
            } else {
                BITMAG.dealloc(*block, *layout);
                *block = std::ptr::null_mut();
            }
        }
    }
    // By reference: how a copy of the array goes depends on how the stack is aligned.
    for &(block, layout) in &blocks {
        if !block.is_null() {
            // SAFETY: the block's own layout.
            unsafe { BITMAG.dealloc(block, layout) };
        }
    }
}

fn trace() -> Result<(), String> {
    let layout = Layout::new::<u64>();
    // SAFETY: the first allocation, freed at once.
    unsafe { BITMAG.dealloc(BITMAG.alloc(layout), layout) };
    bitmag_same_count_trace(1);
    ensure!(bitmag::stats().refills > 100, "the trace did not reach the allocator");
    Ok(())
}

/// The instructions of one run, and by function.
fn count(prefix: &[&str], variables: &[(&str, String)]) -> Result<(u64, String), String> {
    let file = fresh_folder("same_count").join("callgrind.out");
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let words: Vec<&str> = prefix.iter().copied().chain(["valgrind"]).collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(["--tool=callgrind", "--collect-atstart=no", "--compress-strings=no"])
        .arg("--toggle-collect=bitmag_same_count_trace")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("BITMAG_SCENARIO", "trace")
        .envs(variables.iter().map(|(key, value)| (key, value)))
        .output()
        .map_err(|e| format!("{words:?}: {e}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {}\n{stderr}", output.status);
    let profile = std::fs::read_to_string(&file).map_err(|e| e.to_string())?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    Ok((total.ok_or("the profile has no total")?, profile))
}

/// The number of a processor that this process may run on.
fn first_processor() -> Result<String, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = list.unwrap_or("").trim().split([',', '-']).next().unwrap_or("");
    ensure!(!first.is_empty(), "the system does not say which processors this process may use");
    Ok(first.to_string())
}

fn same() -> Tested {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Verdict::NotHere("the backend that is pinned is x86_64's".into()));
    }
    for (name, what) in [
        ("valgrind", "valgrind"),
        ("setarch", "setarch (util-linux)"),
        ("prlimit", "prlimit (util-linux)"),
        ("taskset", "taskset (util-linux)"),
    ] {
        if tool(name).is_none() {
            return Ok(Verdict::Missing(what.into()));
        }
    }
    let long = |length: usize| vec![("PADDING", "x".repeat(length))];
    let fixed: &[&str] = &["setarch", "-R"];
    /// What the program is started with, and the environment it finds.
    type Surroundings<'a> = (&'a [&'a str], Vec<(&'a str, String)>);
    let processor = first_processor()?;
    let alone: &[&str] = &["taskset", "-c", &processor];
    let surroundings: [Surroundings; 6] = [
        (&[], vec![]),
        (&[], long(3)),
        (fixed, vec![("LANG", "C.UTF-8".into()), ("BITMAG_CHECK", "1".into())]),
        (&["prlimit", "--stack=67108864"], long(70_000)),
        (&["prlimit", "--stack=1048576", "setarch", "-R"], long(5000)),
        (alone, vec![]), // fewer processors, fewer heaps
    ];
    let mut counts = Vec::new();
    for (prefix, variables) in &surroundings {
        let (total, profile) = count(prefix, variables)?;
        ensure!(profile.contains("bitmag"), "the profile has none of bitmag's functions");
        counts.push(total);
    }
    println!("instructions of the trace: {counts:?}");
    ensure!(counts[0] > 1_000_000, "the trace was not counted: {counts:?}");
    ensure!(counts.iter().all(|count| *count == counts[0]), "the counts differ: {counts:?}");
    Ok(Verdict::Holds)
}

fn main() -> ExitCode {
    verdict::main(&[("trace", trace)], || vec![verdict::test("same_count_everywhere", same)])
}
