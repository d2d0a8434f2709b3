//! What `BITMAG_TRACE` records: programs that make known calls are run on the preloaded library, and the trace must hold those calls,
//! of each size and alignment, in an order in which they can be replayed; whatever threads, forks and crashes there are.

#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;
#[path = "../benches/lab/src/trace.rs"]
mod trace;

use libtest_mimic::Trial;
use std::ffi::c_void;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::ptr::null_mut;
use support::child::{Child, Ended};
use support::places;
use support::verdict::{self, Scenario, Tested, Verdict, native_test};
use trace::{Kind, Operation, Trace};

/// Sizes that nothing else in these programs asks for.
const SIZES: [usize; 8] = [7_003, 17, 40_009, 1_000_003, 4_099, 333, 70_001, 2_003];

/// Sizes by which a program's own calls are told from those of its start.
const MARK: usize = 12_347;

/// libc's functions by an address that the compiler does not know: it leaves out calls of those that it does.
fn malloc(size: usize) -> *mut c_void {
    let function: unsafe extern "C" fn(usize) -> *mut c_void = black_box(libc::malloc);
    // SAFETY: no precondition.
    unsafe { function(size) }
}

/// # Safety
/// As for `libc::realloc`.
unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    let function: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void =
        black_box(libc::realloc);
    // SAFETY: the caller's contract.
    unsafe { function(block, size) }
}

fn calls() -> Result<(), String> {
    // SAFETY: each block is used and freed once; the copies are as long as what was asked for.
    unsafe {
        libc::free(malloc(MARK));
        let blocks = SIZES.map(malloc);
        let zeroed = black_box(libc::calloc(11, 1_013));
        let mut aligned = null_mut();
        ensure!(libc::posix_memalign(&mut aligned, 4096, 5_003) == 0, "no memory");
        let grown = realloc(blocks[0], 90_001);
        let same = realloc(blocks[1], 18);
        ensure!(same == blocks[1], "17 and 18 bytes are of one class");
        let huge = malloc(300 << 20);
        let huger = realloc(huge, 301 << 20);
        let new = realloc(null_mut(), 5_555);
        ensure!(realloc(new, 0).is_null(), "to 0 bytes is to free");
        ensure!(malloc(usize::MAX / 2).is_null(), "there is so much memory");
        for block in [grown, same, zeroed, aligned, huger] {
            libc::free(block);
        }
        for block in &blocks[2..] {
            libc::free(*block);
        }
        libc::free(malloc(MARK));
    }
    Ok(())
}

fn threads() -> Result<(), String> {
    let (send, receive) = std::sync::mpsc::channel::<usize>();
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let send = send.clone();
            std::thread::spawn(move || {
                for round in 0..5_000 {
                    // SAFETY: freed by the main thread, or reallocated here and freed at once.
                    unsafe {
                        send.send(malloc(20_000 + worker).addr()).expect("main waits");
                        let block = malloc(30_000 + worker);
                        let block = realloc(block, 31_000 + round % 7_000);
                        libc::free(block);
                    }
                }
            })
        })
        .collect();
    drop(send);
    for block in receive {
        // SAFETY: a block of a worker's, which gave it away.
        unsafe { libc::free(std::ptr::with_exposed_provenance_mut(block)) };
    }
    workers.into_iter().for_each(|worker| worker.join().expect("it ended well"));
    Ok(())
}

/// Eight threads after the same few blocks: whoever is stopped between giving one up and saying so is overtaken by its next owner.
fn contends() -> Result<(), String> {
    let workers: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..50_000 {
                    // SAFETY: a block of this thread's.
                    unsafe { libc::free(malloc(MARK)) };
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().expect("it ended well"));
    Ok(())
}

fn forks() -> Result<(), String> {
    // SAFETY: blocks are freed once in each process; the child ends without running the parent's handlers.
    unsafe {
        let before = malloc(MARK);
        let child = libc::fork();
        if child == 0 {
            for _ in 0..1_000 {
                libc::free(malloc(54_321));
            }
            libc::free(before);
            libc::_exit(0);
        }
        let mut status = 1;
        libc::waitpid(child, &mut status, 0);
        ensure!(status == 0, "the child ended with {status}");
        libc::free(before);
        libc::free(malloc(MARK + 1));
    }
    Ok(())
}

fn crashes() -> Result<(), String> {
    // SAFETY: the blocks are never freed; then the process is killed, which no handler sees.
    unsafe {
        for _ in 0..100_000 {
            malloc(MARK);
        }
        libc::free(malloc(MARK + 1));
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
    Err("still there".into())
}

/// Closes every descriptor and goes elsewhere, as servers do that go into the background.
fn wanders() -> Result<(), String> {
    // SAFETY: nothing here uses any descriptor afterwards but stdout's and stderr's.
    unsafe {
        for file in 3..100 {
            libc::close(file);
        }
        ensure!(libc::chdir(c"/".as_ptr()) == 0, "no root");
        for _ in 0..100_000 {
            libc::free(malloc(MARK));
        }
    }
    Ok(())
}

const SCENARIOS: &[Scenario] = &[
    ("calls", calls),
    ("threads", threads),
    ("contends", contends),
    ("forks", forks),
    ("crashes", crashes),
    ("wanders", wanders),
];

/// A scenario of this program on the preloaded library, with `value` for the variable.
fn run(scenario: &str, value: &str, folder: &Path) -> Result<Ended, String> {
    Child::scenario(scenario).preload()?.in_folder(folder).env("BITMAG_TRACE", value).run()
}

/// The same recorded, and the trace looked over.
fn recorded(scenario: &str) -> Result<(Ended, Trace), String> {
    let folder = places::fresh_folder("trace");
    let ended = run(scenario, "%p.trace", &folder)?;
    let files = files(&folder)?;
    let [file] = &files[..] else {
        return Err(format!("{} traces\n{}", files.len(), ended.describe()));
    };
    let trace = trace::decode(&std::fs::read(file).map_err(|e| e.to_string())?)?;
    std::fs::remove_dir_all(folder).map_err(|e| e.to_string())?;
    ensure!(!ended.stderr.contains("bitmag"), "{}", ended.describe());
    replayable(&trace)?;
    Ok((ended, trace))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| e.to_string())?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|e| e.to_string())).collect()
}

/// Whether each block is allocated before anything else happens to it, once, and not used after it was freed.
fn replayable(trace: &Trace) -> Result<(), String> {
    ensure!(trace.strange == 0, "{} frees of unknown blocks", trace.strange);
    let mut live = vec![false; trace.blocks as usize];
    for (index, operation) in trace.operations.iter().enumerate() {
        let slot = &mut live[operation.block as usize];
        let born = matches!(operation.kind, Kind::Allocate | Kind::AllocateZeroed);
        ensure!(*slot != born, "call {index} of {}: {operation:?}", trace.operations.len());
        *slot = operation.kind != Kind::Free;
    }
    Ok(())
}

fn clean(ended: &Ended) -> Result<(), String> {
    ensure!(ended.status.is_some_and(|status| status.success()), "{}", ended.describe());
    Ok(())
}

fn sizes_and_kinds() -> Tested {
    let (ended, trace) = recorded("calls")?;
    clean(&ended)?;
    let marks =
        trace.operations.iter().enumerate().filter(|(_, operation)| operation.size == MARK as u64);
    let marks: Vec<usize> = marks.map(|(index, _)| index).collect();
    let [first, last] = marks[..] else { return Err(format!("marked at {marks:?}")) };
    // Behind the first mark's own free.
    let own = &trace.operations[first + 2..last];
    let got: Vec<(Kind, u64, u8)> =
        own.iter().map(|operation| (operation.kind, operation.size, operation.align)).collect();
    let mut wanted: Vec<(Kind, u64, u8)> =
        SIZES.iter().map(|size| (Kind::Allocate, *size as u64, 0)).collect();
    wanted.extend([
        (Kind::AllocateZeroed, 11 * 1_013, 0),
        (Kind::Allocate, 5_003, 12),
        (Kind::Reallocate, 90_001, 0),
        (Kind::Reallocate, 18, 0),
        (Kind::Allocate, 300 << 20, 0),
        (Kind::Reallocate, 301 << 20, 0),
        (Kind::Allocate, 5_555, 0),
    ]);
    wanted.resize(wanted.len() + 12, (Kind::Free, 0, 0));
    ensure!(got == wanted, "recorded {got:?}\nwanted {wanted:?}");
    // Each is the block that was meant: freed in this order.
    let block = |index: usize| own[index].block;
    let freed: Vec<u32> = own[16..].iter().map(|operation| operation.block).collect();
    let meant = [0, 1, 8, 9, 12, 2, 3, 4, 5, 6, 7].map(block);
    ensure!(freed == meant, "freed {freed:?}, meant {meant:?}");
    ensure!(own.iter().all(|operation| operation.thread == own[0].thread), "one thread made them");
    Ok(Verdict::Holds)
}

fn of_size(trace: &Trace, kind: Kind, size: usize) -> impl Iterator<Item = &Operation> {
    trace
        .operations
        .iter()
        .filter(move |operation| operation.kind == kind && operation.size == size as u64)
}

fn several_threads() -> Tested {
    let (ended, trace) = recorded("threads")?;
    clean(&ended)?;
    ensure!(trace.threads >= 5, "{} threads", trace.threads);
    let mut resized = 0;
    for worker in 0..4 {
        for size in [20_000 + worker, 30_000 + worker] {
            let count = of_size(&trace, Kind::Allocate, size).count();
            ensure!(count == 5_000, "{count} blocks of {size} bytes");
        }
        let mut threads: Vec<u16> =
            of_size(&trace, Kind::Allocate, 20_000 + worker).map(|call| call.thread).collect();
        threads.dedup();
        ensure!(threads.len() == 1, "one worker was {} threads", threads.len());
        resized += 5_000;
    }
    let resizes = trace.operations.iter().filter(|call| call.kind == Kind::Reallocate);
    let resizes = resizes.filter(|call| (31_000..38_000).contains(&call.size)).count();
    ensure!(resizes == resized, "{resizes} reallocations of {resized}");
    let last = trace.operations.iter().rposition(|call| call.size == 20_000);
    ensure!(last.is_some(), "no block was given away");
    Ok(Verdict::Holds)
}

/// The order of the record is one in which the calls may have happened.
fn an_order() -> Tested {
    let (ended, trace) = recorded("contends")?;
    clean(&ended)?;
    let count = of_size(&trace, Kind::Allocate, MARK).count();
    ensure!(count == 400_000, "{count} blocks");
    Ok(Verdict::Holds)
}

fn a_fork() -> Tested {
    let (ended, trace) = recorded("forks")?;
    clean(&ended)?;
    ensure!(of_size(&trace, Kind::Allocate, 54_321).count() == 0, "the child wrote on");
    ensure!(of_size(&trace, Kind::Allocate, MARK + 1).count() == 1, "the parent did not write on");
    Ok(Verdict::Holds)
}

fn a_crash() -> Tested {
    let (ended, trace) = recorded("crashes")?;
    ensure!(ended.signal() == Some(libc::SIGKILL), "{}", ended.describe());
    let count = of_size(&trace, Kind::Allocate, MARK).count();
    ensure!(count == 100_000, "{count} calls before the end");
    let last = trace.operations.last().map(|call| call.kind);
    ensure!(last == Some(Kind::Free), "the last call was {last:?}");
    Ok(Verdict::Holds)
}

fn descriptors_and_folder() -> Tested {
    let (ended, trace) = recorded("wanders")?;
    clean(&ended)?;
    let count = of_size(&trace, Kind::Allocate, MARK).count();
    ensure!(count == 100_000, "{count} calls");
    Ok(Verdict::Holds)
}

/// A cut file is a trace as far as it goes.
fn any_prefix() -> Tested {
    let folder = places::fresh_folder("trace");
    clean(&run("calls", "whole", &folder)?)?;
    let whole = std::fs::read(folder.join("whole")).map_err(|e| e.to_string())?;
    let all = trace::decode(&whole)?;
    for len in (32..whole.len()).step_by(977).take(50) {
        let part = trace::decode(&whole[..len])?;
        ensure!(all.operations.starts_with(&part.operations), "another trace at {len} bytes");
    }
    ensure!(trace::decode(b"").is_err() && trace::decode(&[7; 64]).is_err(), "anything is a trace");
    std::fs::remove_dir_all(folder).map_err(|e| e.to_string())?;
    Ok(Verdict::Holds)
}

fn no_such_place() -> Tested {
    let folder = places::fresh_folder("trace");
    let missing = folder.join("missing/trace");
    let ended = run("calls", &missing.to_string_lossy(), &folder)?;
    clean(&ended)?;
    let wanted = format!("bitmag: no trace (error 2): {}\n", missing.display());
    ensure!(ended.stderr == wanted, "{}", ended.describe());
    std::fs::write(folder.join("old"), "old").map_err(|e| e.to_string())?;
    let ended = run("calls", "old", &folder)?;
    clean(&ended)?;
    let wanted = "bitmag: no trace, since there is such a file: old\n";
    ensure!(ended.stderr == wanted, "{}", ended.describe());
    let old = std::fs::read(folder.join("old")).map_err(|e| e.to_string())?;
    ensure!(old == b"old", "the file was overwritten");
    std::fs::remove_dir_all(folder).map_err(|e| e.to_string())?;
    Ok(Verdict::Holds)
}

fn tests() -> Vec<Trial> {
    if cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Vec::new(); // the C face records nowhere else
    }
    vec![
        native_test("trace::sizes_and_kinds", sizes_and_kinds),
        native_test("trace::several_threads", several_threads),
        native_test("trace::an_order", an_order),
        native_test("trace::a_fork", a_fork),
        native_test("trace::a_crash", a_crash),
        native_test("trace::descriptors_and_folder", descriptors_and_folder),
        native_test("trace::any_prefix", any_prefix),
        native_test("trace::no_such_place", no_such_place),
    ]
}

fn main() -> ExitCode {
    verdict::main(SCENARIOS, tests)
}
