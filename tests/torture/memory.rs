//! Out of memory: under a limit on address space every size is allocated until there is none left.
//! The answer must be NULL (and ENOMEM in C), everything live must stay whole, and the program must be able to go on after freeing, with other sizes too.
//! Blocks are chained through themselves, so that the test needs no memory of its own while there is none.

use crate::support::api::{Api, Way};
use crate::support::verdict::Scenario;
use crate::{ALL, api, each_face_natively, ensure, on_rust};
use libtest_mimic::Trial;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

const ROOM: u64 = 160 << 20;
const SIZES: [usize; 9] = [24, 64, 1000, 1100, 20_000, 40_000, 300_000, 8 << 20, 40 << 20];

/// What `limit_address_space` has set.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// Like `ensure!`, but lifts the limit first: the message itself takes memory.
macro_rules! must {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            lift_limit();
            return Err(format!($($message)+));
        }
    };
}

/// Not for good: other threads may be filling what there is.
fn lift_limit() {
    let room = LIMIT.load(Ordering::Relaxed) + (1 << 30);
    let limit = libc::rlimit { rlim_cur: room as _, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit reads the struct.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
}

/// A chained block: the one before it, and its number.
#[repr(C)]
struct Link {
    before: *mut Link,
    number: usize,
}

fn limit_address_space(room: u64) -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/statm").map_err(|e| e.to_string())?;
    let pages: u64 =
        status.split_whitespace().next().and_then(|pages| pages.parse().ok()).ok_or("statm")?;
    // SAFETY: sysconf only reads.
    let now = pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let most = now + room;
    LIMIT.store(most, Ordering::Relaxed);
    let limit = libc::rlimit { rlim_cur: most as _, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit reads the struct.
    ensure!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) } == 0, "setrlimit failed");
    Ok(())
}

fn one(api: &dyn Api, size: usize, before: *mut Link, number: usize) -> *mut Link {
    // SAFETY: a plain allocation of at least a link.
    unsafe {
        let link = api.alloc(Way::Malloc, size, 16).cast::<Link>();
        if !link.is_null() {
            link.write(Link { before, number });
            // The last byte is ours too.
            let last = link.cast::<u8>().add(size - 1);
            if size > size_of::<Link>() {
                *last = number as u8;
            }
        }
        link
    }
}

/// Allocates until there is nothing, or `most` blocks.
fn fill(api: &dyn Api, size: usize, most: usize) -> Result<(*mut Link, usize), String> {
    // Looking into the environment allocates: not while there is no memory.
    static ON_RUST: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let rust = *ON_RUST.get_or_init(on_rust);
    let (mut chain, mut count) = (null_mut(), 0);
    while count < most {
        // SAFETY: this thread's errno.
        unsafe { *libc::__errno_location() = 0 };
        let link = one(api, size, chain, count);
        if link.is_null() {
            // SAFETY: this thread's errno.
            let errno = unsafe { *libc::__errno_location() };
            must!(rust || errno == libc::ENOMEM, "NULL with errno {errno}");
            break;
        }
        (chain, count) = (link, count + 1);
    }
    Ok((chain, count))
}

/// Checks a chain and frees it; every other block first if `comb`.
fn empty(
    api: &dyn Api,
    size: usize,
    chain: *mut Link,
    count: usize,
    comb: bool,
) -> Result<(), String> {
    let (mut link, mut left, mut kept) = (chain, count, null_mut::<Link>());
    while !link.is_null() {
        // SAFETY: every link of the chain is a live block.
        unsafe {
            let Link { before, number } = link.read();
            left -= 1;
            must!(number == left, "block {left} of {size} bytes was overwritten: {number}");
            let last = *link.cast::<u8>().add(size - 1);
            must!(
                size <= size_of::<Link>() || last == number as u8,
                "block {left} of {size} bytes: its last byte was overwritten"
            );
            if comb && number % 2 == 0 {
                (*link).before = kept;
                kept = link;
            } else {
                api.free(Way::Malloc, 3, link.cast(), size, 16);
            }
            link = before;
        }
    }
    must!(left == 0, "{left} blocks vanished");
    // What was just freed must be there again.
    if comb && count > 4 {
        let (again, got) = fill(api, size, count / 4)?;
        must!(got >= count / 4, "freed {} blocks of {size} bytes, got {got} back", count / 2);
        empty(api, size, again, got, false)?;
    }
    while !kept.is_null() {
        // SAFETY: every kept link is a live block.
        unsafe {
            let before = (*kept).before;
            api.free(Way::Malloc, 3, kept.cast(), size, 16);
            kept = before;
        }
    }
    Ok(())
}

fn out_of_memory() -> Result<(), String> {
    let api = api();
    empty(api, 64, one(api, 64, null_mut(), 0), 1, false)?;
    fill(api, 64, 0)?;
    limit_address_space(ROOM)?;
    for round in 0..2 {
        for size in SIZES {
            let (chain, count) = fill(api, size, usize::MAX)?;
            // Half of the room at least must have been usable, however large the blocks are.
            let got = (count * size) as u64;
            must!(
                got >= ROOM / 2 - 2 * size as u64,
                "round {round}: only {got} bytes in blocks of {size}"
            );
            empty(api, size, chain, count, size < 1 << 20)?;
        }
    }
    // All of it was freed: a large block of another kind must fit now.
    for size in [ROOM as usize / 2, 100, 5000, 1 << 20] {
        let link = one(api, size, null_mut(), 0);
        must!(!link.is_null(), "{size} bytes are not to be had after everything was freed");
        empty(api, size, link, 1, false)?;
    }
    Ok(())
}

/// Several threads meet the end of memory at once, again and again, and none may stay waiting.
fn out_of_memory_on_threads() -> Result<(), String> {
    let api = api();
    let start = std::sync::Barrier::new(5);
    std::thread::scope(|scope| {
        let start = &start;
        let threads: Vec<_> = (0..4usize)
            .map(|me| {
                scope.spawn(move || -> Result<(), String> {
                    empty(api, 64, one(api, 64, null_mut(), 0), 1, false)?;
                    fill(api, 64, 0)?;
                    start.wait();
                    start.wait();
                    for round in 0..24 {
                        let size = SIZES[(me * 5 + round) % 7];
                        let (chain, count) = fill(api, size, usize::MAX)?;
                        empty(api, size, chain, count, false)?;
                    }
                    Ok(())
                })
            })
            .collect();
        start.wait();
        limit_address_space(ROOM / 2)?;
        start.wait();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_string())?)
    })?;
    let (chain, count) = fill(api, 1000, 10_000)?;
    must!(count == 10_000, "only {count} blocks after everything was freed");
    empty(api, 1000, chain, count, false)
}

/// `realloc` and `calloc` without memory: NULL, and the old block untouched.
fn realloc_without_memory() -> Result<(), String> {
    let api = api();
    let ways = api.ways();
    empty(api, 64, one(api, 64, null_mut(), 0), 1, false)?;
    fill(api, 64, 0)?;
    limit_address_space(ROOM)?;
    let zeroing = ways[1];
    for size in [100usize, 5000, 100_000, 10 << 20] {
        let mut link = one(api, size, null_mut(), 7);
        must!(!link.is_null(), "malloc({size}): NULL");
        let (mut now, mut grown) = (size, 0);
        loop {
            // SAFETY: the link is a live block of `now` bytes.
            let new = unsafe { api.realloc(link.cast(), now, 16, now * 2) }.cast::<Link>();
            if new.is_null() {
                break;
            }
            (link, now, grown) = (new, now * 2, grown + 1);
            // SAFETY: as above.
            must!(unsafe { (*link).number } == 7, "realloc lost the contents");
            must!(grown < 40, "realloc never fails");
        }
        // SAFETY: what could not grow is still live; freed once.
        unsafe {
            must!((*link).number == 7, "a failed realloc lost the contents");
            let zeroed = api.alloc(zeroing, ROOM as usize * 2, 16);
            must!(zeroed.is_null(), "calloc of more than there is gave {zeroed:p}");
            api.free(Way::Malloc, 3, link.cast(), now, 16);
        }
    }
    Ok(())
}

pub const SCENARIOS: &[Scenario] = &[
    ("out_of_memory", out_of_memory),
    ("out_of_memory_on_threads", out_of_memory_on_threads),
    ("realloc_without_memory", realloc_without_memory),
];

pub fn tests() -> Vec<Trial> {
    let mut tests = each_face_natively("memory::runs_out", "out_of_memory", &ALL);
    tests.extend(each_face_natively(
        "memory::runs_out_on_threads",
        "out_of_memory_on_threads",
        &ALL,
    ));
    tests.extend(each_face_natively("memory::realloc_without", "realloc_without_memory", &ALL));
    tests
}
