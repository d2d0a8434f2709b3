//! Signal torture: a timer interrupts the program some ten thousand times a second, and the handler allocates, checks and frees.
//! Promised is that a handler may enter the slow path inside the slow path without a deadlock and without anything being handed out twice; so the program under it makes slow calls only (large blocks, or checked mode), or the handler looks where it interrupted and leaves the hits of the assembly alone.
//! Promised too is that a handler which stays within hits and frees in reverse order is safe at every instruction: the last scenario.

use crate::support::api::{Api, Way};
use crate::support::block::Block;
use crate::support::model::Intervals;
use crate::support::verdict::{Scenario, Verdict, seed, test};
use crate::{Face, api, each_face, ensure, on_rust};
use libtest_mimic::Trial;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SECONDS: u64 = 3;
const HELD: usize = 48;

/// What the handler keeps: it runs on one thread only and is never interrupted by itself.
struct Held(UnsafeCell<([Option<Block>; HELD], u64)>);

// SAFETY: only the handler touches it while the timer runs, and only main afterwards.
unsafe impl Sync for Held {}

static HELD_BLOCKS: Held = Held(UnsafeCell::new(([None; HELD], 0x1234_5678_9ABC_DEF1)));
static ROUNDS: AtomicU64 = AtomicU64::new(0);
static SKIPPED: AtomicU64 = AtomicU64::new(0);
/// Allocations of the handler that got NULL.
static NONE: AtomicU64 = AtomicU64::new(0);
static BROKEN: AtomicBool = AtomicBool::new(false);
/// The largest size that the handler asks for.
static LARGEST: AtomicUsize = AtomicUsize::new(0);
/// Where the hits lie: start and end of each.
static HITS: [(AtomicUsize, AtomicUsize); 64] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 64];

fn allocate(api: &dyn Api, size: usize, seed: u64) -> Option<Block> {
    // SAFETY: a plain allocation.
    let addr = unsafe { api.alloc(Way::Malloc, size, 16) } as usize;
    let block = Block { addr, size, align: 16, way: Way::Malloc, extent: size, seed };
    if addr == 0 {
        return None;
    }
    // SAFETY: the block is ours.
    unsafe { block.fill() };
    Some(block)
}

fn free(api: &dyn Api, block: Block) -> bool {
    // SAFETY: a live block, freed once.
    unsafe {
        let whole = block.check(block.extent).is_ok();
        api.free(Way::Malloc, 3, block.addr as *mut u8, block.size, 16);
        whole
    }
}

fn in_a_hit(context: *mut libc::c_void) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the kernel passes a context to a handler with SA_SIGINFO.
        let at = unsafe {
            (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize]
        } as usize;
        HITS.iter().any(|(start, end)| {
            (start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&at)
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = context;
        false
    }
}

extern "C" fn handler(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if in_a_hit(context) {
        SKIPPED.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // SAFETY: errno is saved around the handler's calls, as handlers must; the held blocks are the handler's alone.
    let (errno, (held, random)) = unsafe { (*libc::__errno_location(), &mut *HELD_BLOCKS.0.get()) };
    let api = api();
    for _ in 0..6 {
        *random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (*random >> 33) as usize;
        let largest = LARGEST.load(Ordering::Relaxed);
        let size = match dice % 16 {
            0..10 => 1 + dice / 16 % 1024.min(largest),
            10..14 => 1 + dice / 16 % 32_768.min(largest),
            _ => 1 + dice / 16 % largest,
        };
        let place = &mut held[dice / 7 % HELD];
        let good = match place.take() {
            Some(block) => free(api, block),
            None => {
                *place = allocate(api, size, *random);
                NONE.fetch_add(place.is_none().into(), Ordering::Relaxed);
                true
            }
        };
        if !good {
            BROKEN.store(true, Ordering::Relaxed);
        }
    }
    ROUNDS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: this thread's errno.
    unsafe { *libc::__errno_location() = errno };
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Runs the body again and again under the timer.
fn under_timer(
    handler: Handler,
    mut body: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    // SAFETY: a handler for SIGALRM with its own type, and a timer that is stopped below.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        ensure!(
            libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) == 0,
            "sigaction failed"
        );
    }
    let tick = |microseconds| {
        let value = libc::timeval { tv_sec: 0, tv_usec: microseconds };
        let timer = libc::itimerval { it_interval: value, it_value: value };
        // SAFETY: setitimer reads the struct.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    };
    let start = Instant::now();
    tick(60);
    let mut outcome = Ok(());
    while outcome.is_ok() && start.elapsed() < Duration::from_secs(SECONDS) {
        outcome = body();
    }
    tick(0);
    outcome
}

/// The program's side: a fixed table of blocks, so that nothing but the calls under test allocates.
fn torture(sizes: std::ops::RangeInclusive<usize>) -> Result<(), String> {
    let api = api();
    LARGEST.store(200_000, Ordering::Relaxed);
    let mut rng = fastrand::Rng::with_seed(seed());
    let mut table: Vec<Option<Block>> = vec![None; 600];
    // The first calls of a thread and of the process register things; they are early.rs's subject.
    for size in 40_000..40_050 {
        ensure!(allocate(api, size, 1).is_some_and(|block| free(api, block)), "malloc({size})");
    }
    under_timer(handler, || {
        for _ in 0..200 {
            let at = rng.usize(0..table.len());
            match table[at].take() {
                Some(block) => ensure!(
                    free(api, block),
                    "a block of the program was written by somebody else: {block:x?}"
                ),
                None => {
                    // Small ones mostly, where there are any.
                    let size = if rng.bool() {
                        rng.usize(sizes.clone())
                    } else {
                        rng.usize(*sizes.start()..=*sizes.start() * 2 + 500)
                    };
                    table[at] = allocate(api, size.min(*sizes.end()), rng.u64(..));
                    ensure!(table[at].is_some(), "malloc({size}): NULL");
                }
            }
        }
        Ok(())
    })?;
    // SAFETY: the timer is stopped; nobody else looks at what the handler held.
    let (held, _) = unsafe { &mut *HELD_BLOCKS.0.get() };
    let mut together = Intervals::default();
    for block in table.iter().chain(held.iter()).flatten() {
        together.add(block)?;
    }
    for block in table.into_iter().chain(held.iter().copied()).flatten() {
        ensure!(free(api, block), "a block was written by somebody else: {block:x?}");
    }
    ensure!(!BROKEN.load(Ordering::Relaxed), "a block of the handler was written by somebody else");
    let (rounds, skipped) = (ROUNDS.load(Ordering::Relaxed), SKIPPED.load(Ordering::Relaxed));
    let none = NONE.load(Ordering::Relaxed);
    eprintln!("{rounds} handler runs, {skipped} in a hit, {none} allocations got NULL");
    // Promised but for a few: inside a growth of the window, when no heap has a block of the class, it is NULL.
    ensure!(none * 200 <= rounds, "the handler got NULL {none} times in {rounds} runs");
    ensure!(rounds > 1000, "the handler ran only {rounds} times");
    Ok(())
}

/// Finds the assembly of the preloaded library: from each exported function to its end, in the symbol table.
fn find_hits() -> Result<(), String> {
    use object::{Object, ObjectSymbol};
    let path = std::env::var_os("LD_PRELOAD").ok_or("nothing is preloaded")?;
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let file = object::File::parse(&*bytes).map_err(|e| e.to_string())?;
    let exported: Vec<_> =
        file.dynamic_symbols().filter(|s| s.is_definition() && s.name() == Ok("malloc")).collect();
    let offset = exported.first().ok_or("the library exports no malloc")?.address() as usize;
    let base = libc::malloc as *const () as usize;
    // SAFETY: looks a name up.
    let loaded = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) } as usize;
    let base = if loaded != 0 { loaded } else { base } - offset;
    let local = file.symbols().filter(|s| s.name().is_ok_and(|name| name.starts_with("bitmag_")));
    let hits = file
        .dynamic_symbols()
        .filter(|s| s.is_definition() && s.is_global())
        .map(|s| (s.address(), s.size()));
    let hits: Vec<_> =
        hits.chain(local.map(|s| (s.address(), s.size()))).filter(|(_, size)| *size > 0).collect();
    ensure!(hits.len() <= HITS.len(), "{} assembly symbols", hits.len());
    for ((address, size), slot) in hits.into_iter().zip(&HITS) {
        slot.0.store(base + address as usize, Ordering::Relaxed);
        slot.1.store(base + (address + size) as usize, Ordering::Relaxed);
    }
    Ok(())
}

static NOT_WITHIN_HITS: AtomicU64 = AtomicU64::new(0);

/// Two allocations, freed in reverse order.
extern "C" fn hits_only(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let api = api();
    if let (Some(one), Some(two)) = (allocate(api, 64, 11), allocate(api, 64, 12))
        && one.addr != two.addr
        && free(api, two)
        && free(api, one)
    {
        ROUNDS.fetch_add(1, Ordering::Relaxed);
    } else {
        BROKEN.store(true, Ordering::Relaxed);
    }
}

fn within_hits() -> Result<(), String> {
    let api = api();
    // Some blocks in the magazine and some room above them, so that four more either way stay within it.
    for blocks in [6usize, 8, 10, 12, 14, 16] {
        ROUNDS.store(0, Ordering::Relaxed);
        let mut table = [None; 64];
        for warm in &mut table {
            *warm = allocate(api, 64, 3);
        }
        for block in table.iter_mut().take(blocks).filter_map(Option::take) {
            free(api, block);
        }
        let before = bitmag::stats();
        let mut held: [Option<Block>; 4] = [None; 4];
        let mut rng = fastrand::Rng::with_seed(seed());
        let outcome = under_timer(hits_only, || {
            for _ in 0..300 {
                let place = &mut held[rng.usize(0..4)];
                match place.take() {
                    Some(block) => ensure!(free(api, block), "handed out twice: {block:x?}"),
                    None => *place = allocate(api, 64, rng.u64(..)),
                }
            }
            Ok(())
        });
        let after = bitmag::stats();
        let whole = held.into_iter().chain(table).flatten().all(|block| free(api, block));
        let class = 4;
        let moved = (before.classes[class].refills, before.classes[class].flushes)
            != (after.classes[class].refills, after.classes[class].flushes);
        if moved {
            // The promise is for hits; this starting point met a refill or a flush.
            NOT_WITHIN_HITS.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        outcome?;
        ensure!(whole, "a block was written by somebody else");
        ensure!(!BROKEN.load(Ordering::Relaxed), "a block of the handler was handed out twice");
        let rounds = ROUNDS.load(Ordering::Relaxed);
        ensure!(rounds > 1000, "the handler ran only {rounds} times");
        return Ok(());
    }
    Err("no starting point stayed within hits".into())
}

pub const SCENARIOS: &[Scenario] = &[
    ("signals_in_large_calls", || torture(33_000..=2_000_000)),
    ("signals_in_checked_calls", || torture(1..=100_000)),
    ("signals_outside_hits", || {
        find_hits()?;
        torture(1..=100_000)
    }),
    ("signals_within_hits", || {
        ensure!(on_rust(), "the counters of the Rust face decide");
        within_hits()
    }),
];

pub fn tests() -> Vec<Trial> {
    let mut tests =
        each_face("signals::in_large_calls", "signals_in_large_calls", &[Face::Rust, Face::C]);
    tests.extend(each_face(
        "signals::in_checked_calls",
        "signals_in_checked_calls",
        &[Face::RustChecked, Face::CChecked],
    ));
    tests.extend(each_face("signals::within_hits", "signals_within_hits", &[Face::Rust]));
    if cfg!(target_arch = "x86_64") {
        tests.extend(each_face("signals::outside_hits", "signals_outside_hits", &[Face::C]));
    } else {
        tests.push(test("signals::outside_hits", || {
            Ok(Verdict::NotHere("it reads the registers of x86_64".into()))
        }));
    }
    tests
}
