//! Thread-exit torture: thousands of short threads whose thread-local destructors allocate and free in every order.
//! More than 32 pthread keys (glibc's `pthread_setspecific` itself allocates beyond that), destructors that set their key again, Rust thread-locals, and blocks that outlive their thread.
//! Resident memory is bounded; a last scenario leaves main while detached threads are still allocating.

use crate::support::api::{Api, Way};
use crate::support::block::Block;
use crate::support::model::{Model, Plan};
use crate::support::verdict::{Scenario, operations, seed};
use crate::{ALL, Face, api, each_face, ensure, resident};
use libtest_mimic::Trial;
use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const KEYS: usize = 44;
const THREADS: u64 = 6000;
const AT_ONCE: u64 = 6;
/// The growth of resident memory allowed between a fifth of the threads and all of them: 7 KiB a thread, less than the
/// smallest thing that could leak with each (its magazines, a slab).
const GROWTH: u64 = 32 << 20;

static DESTRUCTORS: AtomicU64 = AtomicU64::new(0);
static BROKEN: AtomicU64 = AtomicU64::new(0);
static KEY: [AtomicU64; KEYS] = [const { AtomicU64::new(0) }; KEYS];
static ORPHANS: Mutex<Vec<Block>> = Mutex::new(Vec::new());

const PLAN: Plan = Plan { operations: 0, most_live: 300, most_bytes: 1 << 20 };

fn allocate(api: &dyn Api, size: usize) -> Block {
    // SAFETY: a plain allocation.
    let addr = unsafe { api.alloc(Way::Malloc, size, 16) } as usize;
    let block =
        Block { addr, size, align: 16, way: Way::Malloc, extent: size, seed: size as u64 + 5 };
    if addr == 0 {
        BROKEN.fetch_add(1, Ordering::Relaxed);
    } else {
        // SAFETY: the block is ours.
        unsafe { block.fill() };
    }
    block
}

fn free(api: &dyn Api, block: Block) {
    // SAFETY: a live block, freed once.
    unsafe {
        if block.addr == 0 || block.check(block.extent).is_err() {
            BROKEN.fetch_add(1, Ordering::Relaxed);
            return;
        }
        api.free(Way::Malloc, 3, block.addr as *mut u8, block.size, 16);
    }
}

/// A key's value: a block whose first word tells its size.
fn key_value(api: &dyn Api, size: usize) -> *mut c_void {
    // SAFETY: a plain allocation of more than a word.
    unsafe {
        let value = api.alloc(Way::Malloc, size, 16).cast::<usize>();
        if !value.is_null() {
            value.write(size);
        }
        value.cast()
    }
}

/// Runs as the thread ends, for each key: frees its block, allocates more, and now and then sets its key again.
unsafe extern "C" fn key_destructor(value: *mut c_void) {
    let api = api();
    // SAFETY: the value is a block from `key_value`.
    unsafe {
        let size = value.cast::<usize>().read();
        api.free(Way::Malloc, 3, value.cast(), size, 16);
        let count = DESTRUCTORS.fetch_add(1, Ordering::Relaxed);
        let blocks: [Block; 3] =
            std::array::from_fn(|i| allocate(api, 40 + 300 * i + count as usize % 900));
        blocks.into_iter().for_each(|block| free(api, block));
        if count.is_multiple_of(7) {
            let key = KEY[count as usize / 7 % KEYS].load(Ordering::Relaxed) as libc::pthread_key_t;
            if libc::pthread_getspecific(key).is_null() {
                libc::pthread_setspecific(key, key_value(api, 24 + count as usize % 2000));
            }
        }
    }
}

/// A Rust thread-local whose destructor frees what the thread kept and allocates anew.
struct AtExit(Vec<Block>);

impl Drop for AtExit {
    fn drop(&mut self) {
        let api = api();
        for block in self.0.drain(..) {
            free(api, block);
        }
        for size in [16usize, 200, 1024, 2000, 9000, 50_000] {
            free(api, allocate(api, size));
        }
        DESTRUCTORS.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static AT_EXIT: RefCell<AtExit> = const { RefCell::new(AtExit(Vec::new())) };
}

fn short_life(number: u64) -> Result<(), String> {
    let api = api();
    let mut rng = fastrand::Rng::with_seed(seed() + number);
    // The thread's very first call is sometimes a free of somebody else's block, sometimes one from a key.
    match number % 3 {
        0 => drop(ORPHANS.lock().unwrap().pop().map(|block| free(api, block))),
        1 => set_keys(api, &mut rng),
        _ => {}
    }
    AT_EXIT
        .with(|at_exit| at_exit.borrow_mut().0.extend((0..20).map(|i| allocate(api, 1 + i * 70))));
    let mut model = Model::new(api, seed() + number, PLAN);
    for _ in 0..rng.u32(0..150) {
        model.step()?;
    }
    set_keys(api, &mut rng);
    model.free_all()?;
    let orphans: Vec<Block> = (0..8).map(|_| allocate(api, rng.usize(1..3000))).collect();
    ORPHANS.lock().unwrap().extend(orphans);
    Ok(())
}

fn set_keys(api: &dyn Api, rng: &mut fastrand::Rng) {
    for _ in 0..6 {
        let key = KEY[rng.usize(0..KEYS)].load(Ordering::Relaxed) as libc::pthread_key_t;
        // SAFETY: a key of ours; its destructor frees the value.
        unsafe {
            if libc::pthread_getspecific(key).is_null() {
                libc::pthread_setspecific(key, key_value(api, rng.usize(16..3000)));
            }
        }
    }
}

fn short_threads() -> Result<(), String> {
    for slot in &KEY {
        let mut key = 0;
        // SAFETY: the destructor is a function of this program.
        let result = unsafe { libc::pthread_key_create(&mut key, Some(key_destructor)) };
        ensure!(result == 0, "no more keys: {result}");
        slot.store(key.into(), Ordering::Relaxed);
    }
    let threads = operations(THREADS);
    let mut settled = 0;
    for first in (0..threads).step_by(AT_ONCE as usize) {
        let handles: Vec<_> = (first..first + AT_ONCE)
            .map(|number| std::thread::spawn(move || short_life(number)))
            .collect();
        for handle in handles {
            handle.join().map_err(|_| "a thread panicked")??;
        }
        // All but a few of the blocks that threads left behind are freed here.
        let mut orphans = ORPHANS.lock().unwrap();
        while orphans.len() > 30 {
            let at = first as usize % orphans.len();
            let block = orphans.swap_remove(at);
            free(api(), block);
        }
        drop(orphans);
        if settled == 0 && first >= threads / 5 {
            settled = resident();
        }
    }
    let grown = resident().saturating_sub(settled);
    eprintln!(
        "{threads} threads, {} destructors, grown by {} KiB",
        DESTRUCTORS.load(Ordering::Relaxed),
        grown >> 10
    );
    ensure!(
        BROKEN.load(Ordering::Relaxed) == 0,
        "{} blocks were broken or NULL",
        BROKEN.load(Ordering::Relaxed)
    );
    ensure!(DESTRUCTORS.load(Ordering::Relaxed) > threads * 5, "too few destructors ran");
    // An emulator keeps more than that for each thread it has seen.
    let bounded = grown <= GROWTH || crate::support::child::emulator().is_some();
    ensure!(bounded, "{grown} bytes grown over the last threads");
    Ok(())
}

/// What one thread allocated and then only waits, another frees, and goes on with other sizes: the memory must come back
/// to the program without anybody trimming.
fn freed_by_another() -> Result<(), String> {
    let api = api();
    let blocks = operations(2_000_000) as usize;
    let live: Vec<usize> = (0..blocks).map(|_| allocate(api, 100).addr).collect();
    let full = bitmag::stats().slabs;
    ensure!(full >= blocks * 100, "{full} bytes of slabs hold {blocks} blocks");
    let worker = std::thread::spawn(move || -> Result<usize, String> {
        for addr in live {
            // SAFETY: a live block, freed once, on a thread that did not allocate it.
            unsafe { api.free(Way::Malloc, 3, addr as *mut u8, 100, 16) };
        }
        let mut model = Model::new(api, seed(), Plan { most_live: 2000, ..PLAN });
        for _ in 0..operations(3_000_000) {
            model.step()?;
        }
        model.free_all()?;
        Ok(bitmag::stats().slabs)
    });
    let left = worker.join().map_err(|_| "the thread panicked")??;
    eprintln!("{full} bytes of slabs, {left} left");
    ensure!(left <= full / 4, "of {full} bytes of slabs {left} are left");
    Ok(())
}

/// Main returns, exit handlers run, and the detached threads go on allocating all the while.
fn detached_at_exit() -> Result<(), String> {
    static RUNNING: AtomicU64 = AtomicU64::new(0);
    for number in 0..4 {
        std::thread::spawn(move || {
            let mut model = Model::new(api(), seed() + number, Plan { most_live: 3000, ..PLAN });
            loop {
                if let Err(why) = model.step() {
                    eprintln!("{why}");
                    std::process::abort();
                }
                RUNNING.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while RUNNING.load(Ordering::Relaxed) < 200_000 {
        std::thread::yield_now();
    }
    Ok(())
}

pub const SCENARIOS: &[Scenario] = &[
    ("short_threads", short_threads),
    ("detached_at_exit", detached_at_exit),
    ("freed_by_another", freed_by_another),
];

pub fn tests() -> Vec<Trial> {
    let mut tests = each_face("threads::thousands_of_short_ones", "short_threads", &ALL);
    tests.extend(each_face("threads::detached_at_exit", "detached_at_exit", &ALL));
    // The counters of slabs are the Rust face's.
    tests.extend(each_face("threads::freed_by_another", "freed_by_another", &[Face::Rust]));
    tests
}
