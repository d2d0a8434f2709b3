//! The window: one range of addresses for every slab and span, taken from the system in steps.
//!
//! A base is picked in an empty part of the address space with room above it; steps of 1 to 64 MiB
//! are reserved right behind each other, and committed in steps of their own. The tables that
//! describe the units grow beside it in the same way, so one subtraction and one bound find them.
//!
//! Why no single huge reservation: it breaks programs that lower RLIMIT_AS while running, mlockall
//! of ordinary users, valgrind and `ulimit -v` (ARCHITECTURE.md, "Window").

use super::policy;
use super::spans::SPAN_ALIGN_MAX;
use super::tables::{self, REGIONS, Region};
use crate::hit::window;
use crate::layout::{GRANULE_SHIFT, NO_UNIT, UNIT_BYTES, UNIT_SHIFT};
use crate::os::{self, Access};
use crate::rolled::opaque;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// Units reserved (address space taken). Written by the grower only.
static RESERVED: AtomicUsize = AtomicUsize::new(0);
/// Units that the window can grow to. Written once, at the start.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
/// Who grows the window: 0 nobody, else a thread's token.
static GROWER: AtomicUsize = AtomicUsize::new(0);
/// Whether GROWER is held by a fork, whose own thread may grow the window all the same.
static FORK_GROWS: AtomicBool = AtomicBool::new(false);

/// Smallest and largest step of reservation, units: 512 KiB and 64 MiB.
const RESERVE_STEP: (usize, usize) = (8, 1024);
/// Smallest and largest step of commitment, units: 1 MiB and 32 MiB.
const COMMIT_STEP: (usize, usize) = (16, 512);

/// Bytes of address space reserved for blocks.
pub(crate) fn reserved() -> usize {
    RESERVED.load(Ordering::Relaxed) << UNIT_SHIFT
}

/// Bytes of address space committed for blocks.
pub(crate) fn committed() -> usize {
    window().units.load(Ordering::Relaxed) << UNIT_SHIFT
}

/// Picks the window's place and writes the constant part of its description. Called once.
///
/// `false` if no place could be found, which happens only in an exhausted address space.
pub(crate) fn place(checked: bool) -> bool {
    let page = os::page_size();
    let mut units = largest_window();
    while units >= 64 {
        let metadata = tables::lay_out(units, page, checked);
        let align = (units << UNIT_SHIFT).min(SPAN_ALIGN_MAX);
        let total = metadata.next_multiple_of(align) + (units << UNIT_SHIFT);
        if let Some(start) = find_place(total, align) {
            tables::set_bases(start);
            LIMIT.store(units, Ordering::Relaxed);
            let window = window();
            window.map.store(tables::region(Region::Map), Ordering::Relaxed);
            window.records.store(tables::region(Region::Records), Ordering::Relaxed);
            let base = start + metadata.next_multiple_of(align);
            let granules = tables::region(Region::Granules).wrapping_sub(base >> GRANULE_SHIFT);
            window.granules.store(granules, Ordering::Relaxed);
            window.base.store(base, Ordering::Release);
            return true;
        }
        units /= 4;
    }
    false
}

/// log2 of the user address space, by where the kernel put the stack.
fn address_bits() -> u32 {
    usize::BITS - os::stack_top().leading_zeros()
}

/// log2 of the bytes in the largest window.
pub(crate) const WINDOW_BITS: u32 = 40;

/// 1 TiB of units, or a quarter of a smaller address space.
fn largest_window() -> usize {
    1 << (address_bits().saturating_sub(2).min(WINDOW_BITS) - UNIT_SHIFT)
}

/// An empty range of `total` bytes at a multiple of `align`. Nothing stays mapped there.
fn find_place(total: usize, align: usize) -> Option<usize> {
    let bits = address_bits();
    let mut random = os::random();
    if bits >= 46 && cfg!(not(any(asan, tsan))) {
        // Between an eighth and five sixteenths of the address space: above programs and their
        // break, below what the kernel hands out from the top, or from a third upwards in the
        // legacy layout.
        let unit = 1usize << (bits - 4);
        for _ in 0..opaque(8) {
            random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ 0x5bd1_e995;
            let start = (2 * unit + (random as usize % (3 * unit))) & !(align - 1);
            if is_empty(start, total) {
                return Some(start);
            }
        }
    }
    // Let the kernel say where there is room.
    let probe = os::map(total + align, Access::Reserved).ok()?;
    os::unmap(probe, total + align);
    Some((probe as usize).next_multiple_of(align))
}

/// Whether nothing is mapped in the range. The kernel looks for an overlap before it looks at
/// limits, so that ENOMEM and EAGAIN under a limit mean "empty" as well as success does.
fn is_empty(start: usize, len: usize) -> bool {
    match os::map_at(start, len, Access::Reserved) {
        Ok(()) => {
            os::unmap(start as *mut u8, len);
            true
        }
        Err(os::Errno(errno)) => errno == libc::ENOMEM || errno == libc::EAGAIN,
    }
}

/// What a growth came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// There are new free units.
    Done,
    /// Somebody else is growing, for as long as the system takes.
    Busy,
    /// No memory, no address space, or this very thread was growing when a handler interrupted it.
    Failed,
}

/// Commits at least `need` more units and publishes them as free.
///
/// `token` names the calling thread and is not 0. Gives the processor away while another thread
/// grows.
pub(crate) fn grow(need: usize, token: usize) -> Growth {
    match GROWER.compare_exchange(0, token, Ordering::Acquire, Ordering::Relaxed) {
        Ok(_) => {
            let grown = commit_more(need);
            GROWER.store(0, Ordering::Release);
            if grown { Growth::Done } else { Growth::Failed }
        }
        Err(holder) if holder != token => {
            os::yield_now();
            Growth::Busy
        }
        Err(_) if FORK_GROWS.load(Ordering::Relaxed) => {
            if commit_more(need) {
                Growth::Done
            } else {
                Growth::Failed
            }
        }
        Err(_) => Growth::Failed,
    }
}

fn commit_more(need: usize) -> bool {
    let window = window();
    let committed = window.units.load(Ordering::Relaxed);
    let reserved = RESERVED.load(Ordering::Relaxed);
    if committed + need > reserved {
        match reserve_more(committed + need - reserved) {
            Reserved::Done => {}
            Reserved::Failed => return false,
            Reserved::InTheWay => {
                // What is reserved is committed for others to use; the next growth starts behind
                // the hole.
                let rest = reserved - committed;
                return (rest == 0 || commit_exactly(committed, rest)) && pass_over(need);
            }
        }
    }
    let available = RESERVED.load(Ordering::Relaxed) - committed;
    let step = (committed / 8).clamp(COMMIT_STEP.0, COMMIT_STEP.1);
    let step = policy::commit_step(step.max(need).min(available), need);
    commit_exactly(committed, step) || (step > need && commit_exactly(committed, need))
}

/// Commits the `step` units behind the first `committed` ones and publishes them.
#[inline(never)]
fn commit_exactly(committed: usize, step: usize) -> bool {
    let window = window();
    let start = window.base.load(Ordering::Relaxed) + (committed << UNIT_SHIFT);
    if os::commit(start, step << UNIT_SHIFT).is_err() {
        return false;
    }
    policy::committed(start, step << UNIT_SHIFT);
    policy::look_at_limit();
    // SAFETY: this is the grower, and what is reserved has its tables.
    unsafe { tables::begin(committed, step) };
    // The bound first: whoever claims a unit finds it inside the window.
    window.units.store(committed + step, Ordering::Release);
    super::units::publish(committed, step);
    true
}

/// Goes on behind somebody else's mapping: the units in between are never published, so nothing is
/// ever claimed there. All that was reserved is committed. The units of the hole, up to twice as many as the
/// mapping in the way has, cost 8 bytes of map each on x86_64: they have to be of no class.
fn pass_over(need: usize) -> bool {
    let window = window();
    let reserved = RESERVED.load(Ordering::Relaxed);
    let limit = LIMIT.load(Ordering::Relaxed);
    let mut hole = RESERVE_STEP.0;
    while reserved + hole + need <= limit {
        let start = reserved + hole;
        match reserve_step(start, need.max(RESERVE_STEP.0).min(limit - start)) {
            Reserved::Done => {
                // SAFETY: as in `commit_exactly`.
                unsafe { tables::begin(reserved, start - reserved) };
                window.units.store(start, Ordering::Release);
                return commit_exactly(start, need);
            }
            Reserved::InTheWay => hole *= 2,
            Reserved::Failed => return false,
        }
    }
    false
}

/// What a reservation came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reserved {
    Done,
    /// Somebody else has mapped something right behind the window.
    InTheWay,
    Failed,
}

fn reserve_more(need: usize) -> Reserved {
    let reserved = RESERVED.load(Ordering::Relaxed);
    let limit = LIMIT.load(Ordering::Relaxed);
    if need > limit - reserved {
        return Reserved::Failed;
    }
    let most = limit - reserved;
    // An eighth ahead: where everything is locked, or address space is short, what is reserved is
    // missing to the rest of the program.
    let mut step = (reserved / 8).clamp(RESERVE_STEP.0, RESERVE_STEP.1).max(need);
    if reserved == 0 {
        step = step.max(policy::first_reserve());
    }
    step = step.min(most);
    loop {
        match reserve_step(reserved, step) {
            Reserved::Done => return Reserved::Done,
            failure if step == need => return failure,
            // Near a limit: little ahead, so that the next stack of a thread finds room too.
            _ => step = (step / 8).max(need),
        }
    }
}

#[inline(never)]
fn reserve_step(reserved: usize, step: usize) -> Reserved {
    for region in REGIONS {
        if !tables::grow(region, reserved + step) {
            return Reserved::Failed;
        }
    }
    let start = window().base.load(Ordering::Relaxed) + (reserved << UNIT_SHIFT);
    let len = step << UNIT_SHIFT;
    match os::map_at(start, len, Access::Reserved) {
        Ok(()) => {}
        Err(os::Errno(libc::EEXIST)) => return Reserved::InTheWay,
        Err(_) => return Reserved::Failed,
    }
    os::small_pages(start, len);
    os::name(start, len, c"bitmag");
    RESERVED.store(reserved + step, Ordering::Relaxed);
    Reserved::Done
}

/// Before a fork: waits until nobody grows the window and keeps everybody from it, so that no grower
/// vanishes half done. A thread that forks from a handler inside its own growth goes on regardless.
pub(crate) fn lock_for_fork(token: usize) {
    while let Err(holder) = GROWER.compare_exchange(0, token, Ordering::Acquire, Ordering::Relaxed)
    {
        if holder == token {
            return;
        }
        os::yield_now();
    }
    FORK_GROWS.store(true, Ordering::Relaxed);
}

/// After a fork, on both sides.
pub(crate) fn unlock_after_fork() {
    if FORK_GROWS.swap(false, Ordering::Relaxed) {
        GROWER.store(0, Ordering::Release);
    }
}

/// The unit that `address` lies in, if it is inside the committed window.
#[inline]
pub(crate) fn unit_of(address: usize) -> Option<u32> {
    let window = window();
    let unit = address.wrapping_sub(window.base.load(Ordering::Relaxed)) >> UNIT_SHIFT;
    if unit < window.units.load(Ordering::Acquire) {
        debug_assert!(unit < NO_UNIT as usize);
        Some(unit as u32)
    } else {
        None
    }
}

/// Address of a unit's first byte.
#[inline]
pub(crate) fn address_of(unit: u32) -> usize {
    window().base.load(Ordering::Relaxed) + unit as usize * UNIT_BYTES
}
