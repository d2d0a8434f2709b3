//! Memory back to the system on request: all of it (`purge`), or a little at a time (`maintain`).
//!
//! Both wait for nobody but one heap's lock at a time (`purge`), or not at all (`maintain`), make no
//! system call under a lock, and leave alone what the magazines of other threads hold.

use crate::arena::{kept, purge, shelf};
use crate::block::with_magazines;
use crate::heap;
use crate::init;
use crate::layout::UNIT_SHIFT;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::thread;

/// Returns to the system what the whole process has free: the calling thread's magazines, empty
/// slabs, the free pages inside all other slabs, and the pages of all free units. The bytes returned.
///
/// What other live threads hold in their magazines stays: `stats().magazines` bounds it. Waits for
/// one heap's lock at a time. O(slabs), and a system call to 64 runs of pages.
///
/// ```
/// # #[global_allocator]
/// # static A: bitmag::Bitmag = bitmag::Bitmag::new();
/// let peak: Vec<Vec<u8>> = (0..1000).map(|_| vec![1; 100_000]).collect();
/// drop(peak);
/// bitmag::purge(); // what did not go back on the way
/// assert!(bitmag::stats().free_resident < 1 << 20);
/// ```
pub fn purge() -> usize {
    if !init::is_ready() {
        return 0;
    }
    // SAFETY: `with_magazines` gives an ACTIVE, busy block.
    with_magazines(|tls| unsafe { thread::flush_all(tls) });
    kept::empty_all();
    let shelved = shelf::resident();
    shelf::empty(true);
    shelved + heap::clear_all().bytes + purge::purge(0, usize::MAX).bytes
}

/// How much one call of [`maintain`] may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    slabs: usize,
    system_calls: usize,
}

impl Budget {
    /// 256 slabs looked at, 4 system calls: well below a millisecond.
    #[must_use]
    pub const fn new() -> Self {
        Self { slabs: 256, system_calls: 4 }
    }

    /// Most slabs that are looked at, of 64 KiB each.
    #[must_use]
    pub const fn slabs(mut self, most: usize) -> Self {
        self.slabs = most;
        self
    }

    /// Most system calls. One returns up to 64 runs of pages inside slabs, or up to 4 MiB of free
    /// units; where the kernel takes no vector of ranges (before Linux 6.15), a single run, and free
    /// units need 4.
    #[must_use]
    pub const fn system_calls(mut self, most: usize) -> Self {
        self.system_calls = most;
        self
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// What a call of [`maintain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintained {
    /// Slabs looked at.
    pub slabs: usize,
    /// System calls made.
    pub system_calls: usize,
    /// Bytes returned to the system.
    pub bytes: usize,
    /// Whether the budget sufficed: every slab of every heap whose lock was free was looked at, and
    /// every free unit that nobody needed returned.
    pub complete: bool,
}

/// Where the next call goes on: heap << 32 | unit.
static CURSOR: AtomicU64 = AtomicU64::new(0);
/// Free units that the calls of one round may still return.
static IDLE: AtomicU32 = AtomicU32::new(0);

/// Does a bounded part of the work that gives unused memory back, for programs that choose when:
/// between two requests, or when nothing else is to be done.
///
/// Each call goes on where the last one stopped. Blocks that other threads freed return to their
/// slabs, empty slabs to the arena; the pages of slabs that did not change, and of free units that
/// nobody needed since the last round over all heaps, go back to the system. Waits for nobody: a heap whose lock is taken is
/// left to the next round. The magazines of all threads, the caller's too, stay as they are.
///
/// ```
/// # #[global_allocator]
/// # static A: bitmag::Bitmag = bitmag::Bitmag::new();
/// use bitmag::{Budget, maintain};
/// let done = maintain(Budget::new().system_calls(1));
/// assert!(done.system_calls <= 1);
/// ```
pub fn maintain(budget: Budget) -> Maintained {
    let mut done = Maintained::default();
    if !init::is_ready() {
        return Maintained { complete: true, ..done };
    }
    // Free units first: they are the most memory to a system call.
    idle_units(budget, &mut done);
    let cursor = CURSOR.load(Ordering::Relaxed);
    let (mut index, mut from) = ((cursor >> 32) as u32, cursor as u32);
    while index < heap::count() {
        // Without the vector call a run is a call, and the vector call may be found missing.
        let Some(calls) = budget.system_calls.saturating_sub(done.system_calls).checked_sub(1)
        else {
            break;
        };
        let slabs = budget.slabs.saturating_sub(done.slabs);
        let runs = if crate::os::advise::takes_vectors() { usize::MAX } else { calls };
        if runs == 0 || slabs == 0 {
            break;
        }
        match heap::clear_some(index, from, slabs, runs) {
            Some(cleared) => {
                done.slabs += cleared.slabs;
                done.bytes += cleared.purged.bytes;
                done.system_calls += cleared.purged.calls;
                (index, from) = match cleared.next {
                    Some(next) => (index, next),
                    None => (index + 1, 0),
                };
            }
            None => (index, from) = (index + 1, 0),
        }
    }
    done.complete = index >= heap::count();
    if done.complete {
        (index, from) = (0, 0);
        let calls = budget.system_calls.saturating_sub(done.system_calls);
        let (spans, bytes) = shelf::retire_idle(calls);
        done.system_calls += spans;
        done.bytes += bytes;
        IDLE.store(u32::try_from(purge::idle_units()).unwrap_or(u32::MAX), Ordering::Relaxed);
        idle_units(budget, &mut done);
        done.complete = IDLE.load(Ordering::Relaxed) == 0;
    }
    CURSOR.store(u64::from(index) << 32 | u64::from(from), Ordering::Relaxed);
    done
}

/// Returns free units that were not needed since the last round.
fn idle_units(budget: Budget, done: &mut Maintained) {
    let idle = IDLE.load(Ordering::Relaxed) as usize;
    let calls = budget.system_calls.saturating_sub(done.system_calls);
    if idle == 0 || calls == 0 {
        return;
    }
    let keep = purge::dirty_units().saturating_sub(idle);
    let purged = purge::purge(keep, calls);
    done.bytes += purged.bytes;
    done.system_calls += purged.calls;
    // With calls to spare there is no more: others took the rest, or the system refuses.
    let left = if purged.calls < calls || purged.bytes == 0 {
        0
    } else {
        idle.saturating_sub(purged.bytes >> UNIT_SHIFT)
    };
    IDLE.store(u32::try_from(left).unwrap_or(u32::MAX), Ordering::Relaxed);
}
