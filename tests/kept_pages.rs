//! What stays resident for the sake of time, and how much of it: each load in a process of its own.

#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;

use bitmag::Bitmag;
use std::alloc::{GlobalAlloc, Layout};
use std::process::{Command, ExitCode};
use support::verdict::{self, Tested, Verdict};

/// Not the global allocator: what the tables of blocks take is not counted.
static BITMAG: Bitmag = Bitmag::new();

struct Held(*mut u8, Layout);

fn take(size: usize) -> Held {
    // SAFETY: a block of at least 16 bytes, written where it is its own.
    unsafe {
        let layout = Layout::from_size_align_unchecked(size, 8);
        let block = BITMAG.alloc(layout);
        assert!(!block.is_null(), "{size} bytes: NULL");
        block.write_bytes(size as u8, size);
        Held(block, layout)
    }
}

fn give(held: Held) {
    // SAFETY: taken above and given up here.
    unsafe {
        assert!(*held.0 == held.1.size() as u8, "a block was overwritten");
        BITMAG.dealloc(held.0, held.1);
    }
}

fn faults() -> u64 {
    // SAFETY: getrusage writes the struct, which may be zero before.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage.ru_minflt as u64
    }
}

/// Waves of blocks of other sizes each, of which seven in eight are freed before the next: once pages were given back that the next wave
/// took again, they stay.
fn waves() -> Result<(), String> {
    const WAVES: [[usize; 2]; 4] = [[16, 64], [128, 512], [512, 1536], [16, 256]];
    const BLOCKS: usize = 40_000;
    let mut table = Vec::with_capacity(BLOCKS * WAVES.len());
    let mut rng = fastrand::Rng::with_seed(verdict::seed());
    let mut rounds = [0; 8];
    for round in &mut rounds {
        let before = faults();
        for [from, to] in WAVES {
            let start = table.len();
            for _ in 0..BLOCKS {
                table.push(take(rng.usize(from..to)));
            }
            for at in (start..table.len()).rev() {
                if rng.u32(..8) != 0 {
                    give(table.swap_remove(at));
                }
            }
        }
        table.drain(..).for_each(give);
        *round = faults() - before;
    }
    println!("page faults of each round: {rounds:?}");
    let learned: u64 = rounds[3..5].iter().sum();
    ensure!(
        learned * 2 <= rounds[0],
        "rounds four and five took over half of the first one's: {rounds:?}"
    );
    ensure!(
        rounds[7] * 2 <= rounds[0],
        "the last round took over half of the first one's: {rounds:?}"
    );
    Ok(())
}

/// Two threads with a heap each replace blocks: they stay there, and only those two heaps have a slab of each class.
fn two_homes() -> Result<(), String> {
    const SLOTS: usize = 10_000;
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(verdict::seed() + thread);
                let mut table: Vec<Held> = (0..SLOTS).map(|_| take(rng.usize(16..512))).collect();
                for _ in 0..2_000_000 {
                    let slot = &mut table[rng.usize(..SLOTS)];
                    give(std::mem::replace(slot, take(rng.usize(16..512))));
                }
                table.into_iter().for_each(give);
            });
        }
    });
    let stats = bitmag::stats();
    println!("{} KiB committed", stats.committed >> 10);
    // 5 MiB are live, and each of the 32 classes may have a slab that is mostly free in both heaps.
    ensure!(stats.committed <= 14 << 20, "{} bytes committed, 14 MiB allowed", stats.committed);
    Ok(())
}

/// What an idle thread keeps of large blocks goes back when another one asks for it.
fn others_spans() -> Result<(), String> {
    const SIZES: [usize; 4] = [100 << 10, 300 << 10, 40 << 10, 1 << 20];
    let stay = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let all: Vec<Held> = SIZES.into_iter().map(take).collect();
            all.into_iter().for_each(give);
            stay.wait();
            stay.wait();
            // They are gone, and there are others.
            for size in SIZES {
                give(take(size));
            }
        });
        stay.wait();
        let before = bitmag::stats();
        let bytes = bitmag::purge();
        let after = bitmag::stats();
        println!(
            "{bytes} bytes went back, {} held by magazines and kept before, {} after",
            before.magazines, after.magazines
        );
        stay.wait();
        ensure!(before.magazines >= 1 << 20, "nothing was kept: {}", before.magazines);
        // Where the system has no barrier for all threads they stay.
        // SAFETY: asks which barriers there are.
        let barriers = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
        ensure!(
            barriers < 8 || (bytes >= 1 << 20 && after.magazines + (1 << 20) <= before.magazines),
            "{bytes} bytes went back, {} stayed",
            after.magazines
        );
        Ok(())
    })
}

/// Threads replace large blocks while others take away what they keep: no block is ever in two hands.
fn taken_away(takers: usize) -> Result<(), String> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    const THREADS: usize = 3;
    let at_work = AtomicUsize::new(THREADS);
    let times = 200_000;
    let mark = |held: &Held, value: u64| {
        // SAFETY: the first and the last word of a block that is the caller's.
        unsafe {
            held.0.cast::<u64>().write(value);
            held.0.add(held.1.size() - 8).cast::<u64>().write_unaligned(value);
        }
    };
    let is_marked = |held: &Held, value: u64| {
        // SAFETY: as above.
        unsafe {
            held.0.cast::<u64>().read() == value
                && held.0.add(held.1.size() - 8).cast::<u64>().read_unaligned() == value
        }
    };
    let rounds = AtomicUsize::new(0);
    let outcome = std::thread::scope(|scope| {
        for _ in 0..takers {
            scope.spawn(|| {
                while at_work.load(Ordering::Acquire) != 0 {
                    bitmag::purge();
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let threads: Vec<_> = (0..THREADS as u64)
            .map(|thread| {
                let at_work = &at_work;
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(verdict::seed() + thread);
                    let mut held: Vec<Option<(Held, u64)>> = (0..4).map(|_| None).collect();
                    let mut whole = true;
                    for turn in 0..times {
                        let slot = &mut held[rng.usize(..4)];
                        if let Some((block, value)) = slot.take() {
                            whole &= is_marked(&block, value);
                            // SAFETY: taken below and given up here.
                            unsafe { BITMAG.dealloc(block.0, block.1) };
                        } else {
                            let most = if rng.u32(..4) == 0 { 1 << 20 } else { 128 << 10 };
                            let size = rng.usize(33 << 10..most);
                            // SAFETY: a layout of more than 0 bytes.
                            let block = unsafe {
                                let layout = Layout::from_size_align_unchecked(size, 8);
                                Held(BITMAG.alloc(layout), layout)
                            };
                            assert!(!block.0.is_null(), "{size} bytes: NULL");
                            let value = thread << 56 | turn;
                            mark(&block, value);
                            *slot = Some((block, value));
                        }
                    }
                    for (block, value) in held.into_iter().flatten() {
                        whole &= is_marked(&block, value);
                        // SAFETY: as above.
                        unsafe { BITMAG.dealloc(block.0, block.1) };
                    }
                    at_work.fetch_sub(1, Ordering::Release);
                    whole
                })
            })
            .collect();
        threads.into_iter().all(|thread| thread.join().is_ok_and(|whole| whole))
    });
    println!("{} times", rounds.into_inner());
    ensure!(outcome, "a block was in two hands");
    bitmag::purge();
    let left = bitmag::stats().large;
    ensure!(left == 0, "{left} bytes of large blocks were lost");
    Ok(())
}

/// The same on one processor, where each time finds the thread at work wherever the system has stopped it: in
/// one of twenty or so between its look at a place and what it writes there.
fn taken_in_the_middle() -> Result<(), String> {
    use std::sync::atomic::{AtomicBool, Ordering};
    // SAFETY: reads and writes the set of processors of this process, which may be zero before.
    let alone = unsafe {
        let mut all = std::mem::zeroed::<libc::cpu_set_t>();
        let mut one = std::mem::zeroed::<libc::cpu_set_t>();
        let size = size_of::<libc::cpu_set_t>();
        let got = libc::sched_getaffinity(0, size, &raw mut all) == 0;
        let first = (0..8 * size).find(|cpu| libc::CPU_ISSET(*cpu, &all)).unwrap_or(0);
        libc::CPU_SET(first, &mut one);
        got && libc::sched_setaffinity(0, size, &raw const one) == 0
    };
    ensure!(alone, "no processor of its own");
    let at_work = AtomicBool::new(true);
    let whole = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let layout = Layout::from_size_align(100 << 10, 8).expect("a power of two");
            let mut whole = true;
            for turn in 0..5_000_000u64 {
                // SAFETY: a block that is written, read and freed while it is this thread's.
                unsafe {
                    let block = BITMAG.alloc(layout).cast::<u64>();
                    block.write(turn);
                    whole &= block.read_volatile() == turn;
                    BITMAG.dealloc(block.cast(), layout);
                }
            }
            at_work.store(false, Ordering::Release);
            whole
        });
        while at_work.load(Ordering::Acquire) {
            bitmag::purge();
            std::thread::sleep(std::time::Duration::from_micros(1)); // whoever wakes stops the other one
        }
        thread.join()
    });
    ensure!(whole.is_ok_and(|whole| whole), "a block was in two hands");
    bitmag::purge();
    let left = bitmag::stats().large;
    ensure!(left == 0, "{left} bytes of large blocks were lost");
    Ok(())
}

fn child(scenario: &str) -> Tested {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.env("BITMAG_SCENARIO", scenario);
    let output = command.output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "{scenario}: {}: {said}", output.status);
    Ok(Verdict::Holds)
}

fn main() -> ExitCode {
    verdict::main(
        &[
            ("waves", waves),
            ("two_homes", two_homes),
            ("others_spans", others_spans),
            ("taken_by_one", || taken_away(1)),
            ("taken_by_two", || taken_away(2)),
            ("taken_in_the_middle", taken_in_the_middle),
        ],
        || {
            vec![
                verdict::test("waves_keep_their_pages", || child("waves")),
                verdict::test("threads_stay_on_their_heaps", || child("two_homes")),
                verdict::test("spans_of_idle_threads_go_back", || child("others_spans")),
                verdict::test("spans_are_taken_from_threads_at_work", || child("taken_by_one")),
                verdict::test("spans_are_taken_by_two_at_once", || child("taken_by_two")),
                verdict::test("spans_are_taken_in_the_middle", || child("taken_in_the_middle")),
            ]
        },
    )
}
