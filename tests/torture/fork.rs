//! Fork torture: a process whose threads allocate and free without pause forks at random moments.
//! The child frees everything that was live, its own and other threads' blocks, allocates from every class, and checks every pattern and every overlap; an alarm kills it if it hangs.
//! A second scenario goes on forking from child to child and bounds what the vanished threads' caches cost.

use crate::support::api::{Api, Way};
use crate::support::block::Block;
use crate::support::model::{self, Intervals, Model, Plan};
use crate::support::verdict::{Scenario, operations, seed};
use crate::{ALL, Face, api, each_face, ensure, resident};
use libtest_mimic::Trial;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

const WORKERS: usize = 4;
const SLOTS: usize = 3000;
const FORKS: u64 = 100;
const GENERATIONS: u64 = 25;

/// What one vanished thread may cost: its magazines (16 KiB or two blocks of each class, 1.8 MiB when all 104 are busy, as
/// here), one unit of 64 KiB, and one purge batch.
const LEAK_PER_THREAD: u64 = 2 << 20;

/// Blocks that are live for certain: published after they were filled, taken out before they are freed.
/// A word holds the address (16-byte granules) above 20 bits of size.
static PUBLISHED: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];
static STOP: AtomicBool = AtomicBool::new(false);
/// Workers that are past their start. Before that they may hold locks of the standard library's start of threads, which a child
/// would find held for ever when it starts its own: the first fork waits for all.
static STARTED: AtomicUsize = AtomicUsize::new(0);
/// The workers rest while the parent waits for a child: what matters is that they run when it forks.
static REST: AtomicBool = AtomicBool::new(false);

const PLAN: Plan = Plan { operations: 0, most_live: 3000, most_bytes: 24 << 20 };

fn pack(block: &Block) -> u64 {
    (block.addr as u64 >> 4) << 20 | block.size as u64
}

fn unpack(word: u64) -> Option<Block> {
    let (addr, size) = ((word >> 20 << 4) as usize, (word & 0xF_FFFF) as usize);
    (word != 0).then_some(Block {
        addr,
        size,
        align: 16,
        way: Way::Malloc,
        extent: size,
        seed: word.wrapping_mul(0x9E37_79B9),
    })
}

fn random_size(rng: &mut fastrand::Rng) -> usize {
    match rng.u32(0..20) {
        0..12 => rng.usize(1..=600),
        12..18 => rng.usize(600..=33_000),
        _ => rng.usize(33_000..=700_000),
    }
}

fn allocate(api: &dyn Api, size: usize) -> Result<Block, String> {
    // SAFETY: a plain allocation.
    let addr = unsafe { api.alloc(Way::Malloc, size, 16) } as usize;
    ensure!(addr != 0, "malloc({size}): NULL");
    let block = Block { addr, size, align: 16, way: Way::Malloc, extent: size, seed: 0 };
    let block = unpack(pack(&block)).ok_or("a block at 0")?;
    // SAFETY: the block is ours.
    unsafe { block.fill() };
    Ok(block)
}

fn free(api: &dyn Api, block: Block) -> Result<(), String> {
    // SAFETY: the block was taken out of the set of live ones by its caller alone.
    unsafe {
        block.check(block.extent)?;
        api.free(Way::Malloc, 3, block.addr as *mut u8, block.size, 16);
    }
    Ok(())
}

/// Allocates and frees into random slots, other threads' included, until told to stop.
fn work(me: u64, generation: u64) {
    let api = api();
    let mut rng = fastrand::Rng::with_seed(seed() + 1000 * generation + me);
    STARTED.fetch_add(1, Ordering::Release);
    while !STOP.load(Ordering::Relaxed) {
        while REST.load(Ordering::Relaxed) && !STOP.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        let slot = &PUBLISHED[rng.usize(0..SLOTS)];
        let outcome = match unpack(slot.swap(0, Ordering::AcqRel)) {
            Some(block) => free(api, block),
            None => allocate(api, random_size(&mut rng)).and_then(|block| {
                match slot.compare_exchange(0, pack(&block), Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => Ok(()),
                    Err(_) => free(api, block),
                }
            }),
        };
        if let Err(why) = outcome {
            eprintln!("worker {me}: {why}");
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(4) };
        }
    }
}

fn start_workers(generation: u64) -> Vec<std::thread::JoinHandle<()>> {
    STARTED.store(0, Ordering::Relaxed);
    let start = |me| std::thread::spawn(move || work(me, generation));
    let workers = (0..WORKERS as u64).map(start).collect();
    while STARTED.load(Ordering::Acquire) != WORKERS {
        std::thread::yield_now();
    }
    workers
}

/// Everything that a child must be able to do.
fn child(mut model: Model) -> Result<(), String> {
    let api = api();
    let mut together = Intervals::default();
    let published: Vec<Block> =
        PUBLISHED.iter().filter_map(|slot| unpack(slot.load(Ordering::Acquire))).collect();
    for block in published.iter().chain(&model.live) {
        together.add(block)?;
        // SAFETY: live at the fork, and nobody else is left in this process.
        unsafe { block.check(block.extent)? };
    }
    let mut rng = fastrand::Rng::with_seed(model.rng.u64(..));
    let mut fresh = Vec::new();
    // Every small class and many others: no block that was live or is ours may come again.
    for size in (16..=1024).step_by(16).chain((0..400).map(|_| random_size(&mut rng))) {
        for _ in 0..if size <= 1024 { 12 } else { 1 } {
            let block = allocate(api, size)?;
            together.add(&block)?;
            fresh.push(block);
        }
    }
    for block in published.into_iter().chain(fresh) {
        free(api, block)?;
    }
    model.free_all()?;
    model::run(api, rng.u64(..), Plan { operations: operations(4000), ..PLAN })?;
    let seed = rng.u64(..);
    let thread =
        std::thread::spawn(move || model::run(api, seed, Plan { operations: 1500, ..PLAN }));
    thread.join().map_err(|_| "a thread of the child panicked")?
}

fn leave(outcome: Result<(), String>) -> ! {
    if let Err(why) = &outcome {
        eprintln!("child: {why}");
    }
    // SAFETY: a child of fork leaves without running the parent's exit handlers.
    unsafe { libc::_exit(outcome.is_err().into()) }
}

/// The exit status of a child that hung and has said where.
const HUNG: i32 = 9;

/// Says on stderr where the calling thread is, without allocating (once it was called before).
fn tell_where() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the array has room for as many; the rest only writes.
    unsafe {
        let mut frames = [std::ptr::null_mut(); 64];
        let count = libc::backtrace(frames.as_mut_ptr(), 64);
        libc::backtrace_symbols_fd(frames.as_ptr(), count, libc::STDERR_FILENO);
    }
}

extern "C" fn on_alarm(signal: i32) {
    tell_where();
    if signal == libc::SIGALRM {
        // SAFETY: plain calls, allowed in a handler; this process is about to end.
        unsafe {
            // The thread that it has started, whose number is not far above.
            let own = libc::getpid();
            for thread in own + 1..own + 1000 {
                libc::syscall(libc::SYS_tgkill, own, thread, libc::SIGUSR2);
            }
            libc::sleep(1);
            libc::_exit(HUNG);
        }
    }
}

/// Has a hang of this process end it after so many seconds, with the place.
fn set_alarm(seconds: u32) {
    // SAFETY: a handler and an alarm for this process.
    unsafe {
        for signal in [libc::SIGALRM, libc::SIGUSR2] {
            libc::signal(signal, on_alarm as *const () as libc::sighandler_t);
        }
        libc::alarm(seconds);
    }
}

/// Waits for a child; an alarm in it ends a hang.
fn wait(pid: i32) -> Result<(), String> {
    let mut status = 0;
    // SAFETY: waits for our own child.
    ensure!(unsafe { libc::waitpid(pid, &mut status, 0) } == pid, "waitpid failed");
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status), libc::WTERMSIG(status)) {
        (true, 0, _) => Ok(()),
        (true, HUNG, _) => Err("the child hung where it says above".into()),
        (true, code, _) => Err(format!("the child failed with {code}")),
        (false, _, signal) => Err(format!("the child died of signal {signal}")),
    }
}

fn fork_at_random() -> Result<(), String> {
    let api = api();
    let mut model = Model::new(api, seed(), PLAN);
    tell_where(); // what this loads is there when a child needs it
    let workers = start_workers(0);
    for round in 0..operations(FORKS * 100) / 100 {
        for _ in 0..model.rng.u32(0..600) {
            model.step()?;
        }
        // SAFETY: what the child may do after a fork is what is tested.
        match unsafe { libc::fork() } {
            -1 => return Err(format!("fork: {}", std::io::Error::last_os_error())),
            0 => {
                set_alarm(60);
                STOP.store(true, Ordering::Relaxed);
                leave(child(model));
            }
            pid => {
                REST.store(true, Ordering::Relaxed);
                wait(pid).map_err(|why| format!("fork {round}: {why}"))?;
                REST.store(false, Ordering::Relaxed);
            }
        }
    }
    STOP.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")?;
    }
    model.free_all()?;
    PUBLISHED
        .iter()
        .filter_map(|slot| unpack(slot.swap(0, Ordering::AcqRel)))
        .try_for_each(|block| free(api, block))
}

/// Each child becomes the next parent; the last one measures what all the vanished threads have cost.
fn generations() -> Result<(), String> {
    let api = api();
    tell_where(); // as in `fork_at_random`
    // The first generation's own size is no leak.
    let mut settled = 0;
    for generation in 0..=GENERATIONS {
        let workers = start_workers(generation);
        std::thread::sleep(std::time::Duration::from_millis(60));
        if generation < GENERATIONS {
            // SAFETY: what the child may do after a fork is what is tested.
            match unsafe { libc::fork() } {
                -1 => return Err(format!("fork: {}", std::io::Error::last_os_error())),
                0 => set_alarm(100),
                pid => {
                    STOP.store(true, Ordering::Relaxed);
                    for worker in workers {
                        worker.join().map_err(|_| "a worker panicked")?;
                    }
                    let outcome =
                        wait(pid).map_err(|why| format!("generation {generation}: {why}"));
                    if generation == 0 { return outcome } else { leave(outcome) }
                }
            };
            // The handles of threads that do not exist here.
            std::mem::forget(workers);
            for block in PUBLISHED.iter().filter_map(|slot| unpack(slot.swap(0, Ordering::AcqRel)))
            {
                free(api, block)?;
            }
            api.trim();
            if generation == 0 {
                settled = resident();
            }
            continue;
        }
        STOP.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")?;
        }
    }
    for block in PUBLISHED.iter().filter_map(|slot| unpack(slot.swap(0, Ordering::AcqRel))) {
        free(api, block)?;
    }
    api.trim();
    let grown = resident().saturating_sub(settled);
    let bound = (GENERATIONS - 1) * WORKERS as u64 * LEAK_PER_THREAD;
    eprintln!(
        "{GENERATIONS} generations grew by {} KiB, {} a vanished thread",
        grown >> 10,
        (grown >> 10) / (GENERATIONS - 1) / WORKERS as u64
    );
    leave(if grown <= bound {
        Ok(())
    } else {
        Err(format!("{grown} bytes grown, {bound} allowed"))
    })
}

pub const SCENARIOS: &[Scenario] =
    &[("fork_at_random", fork_at_random), ("generations", generations)];

pub fn tests() -> Vec<Trial> {
    let mut tests = each_face("fork::at_random_moments", "fork_at_random", &ALL);
    tests.extend(each_face(
        "fork::generations_leak_within_the_bound",
        "generations",
        &[Face::Rust, Face::C],
    ));
    tests
}
