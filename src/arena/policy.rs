//! What the settings say about pages beside how much may stay free: huge ones, populated ones, address space ahead, a soft limit.
//!
//! All of it is looked at where the window grows and where a large block gets fresh pages, never by a refill or a flush: the soft
//! limit, once it is passed, changes the numbers that the purge reads anyway (`purge::tighten`).

use super::{direct, purge, units};
use crate::config::{Config, HugePages};
use crate::layout::UNIT_SHIFT;
use crate::os;
use crate::sync::{AtomicU8, AtomicUsize, Ordering};

/// Bytes in a huge page, on both architectures with pages of 4 KiB. Only larger blocks get any, which is more than a thread keeps
/// (`kept.rs`): what it gives back was never advised.
const HUGE: usize = 2 << 20;

/// `HugePages` as a number.
static HUGE_PAGES: AtomicU8 = AtomicU8::new(HugePages::Auto as u8);
/// Bytes that a growth makes resident, and at most commits beyond what is needed; 0: none.
static POPULATE: AtomicUsize = AtomicUsize::new(0);
/// Bytes of address space in the first reservation.
static RESERVE: AtomicUsize = AtomicUsize::new(0);
/// Resident bytes from which on the purge is eager; `usize::MAX`: there is no such number.
static SOFT_LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Takes the settings over. Before the first growth only.
pub(crate) fn configure(config: &Config) {
    HUGE_PAGES.store(config.huge_pages as u8, Ordering::Relaxed);
    POPULATE.store(config.populate, Ordering::Relaxed);
    RESERVE.store(config.reserve, Ordering::Relaxed);
    let limit = if config.soft_limit == 0 { usize::MAX } else { config.soft_limit };
    SOFT_LIMIT.store(limit, Ordering::Relaxed);
}

fn is(wanted: HugePages) -> bool {
    HUGE_PAGES.load(Ordering::Relaxed) == wanted as u8
}

/// Units of address space that the first reservation takes.
pub(super) fn first_reserve() -> usize {
    RESERVE.load(Ordering::Relaxed).div_ceil(1 << UNIT_SHIFT)
}

/// How many units a growth that needs `need` commits of the `step` that it would.
pub(super) fn commit_step(step: usize, need: usize) -> usize {
    match POPULATE.load(Ordering::Relaxed) {
        0 => step,
        bytes => step.min((bytes >> UNIT_SHIFT).max(1)).max(need),
    }
}

/// After `len` fresh bytes were committed and before anybody may use them.
pub(super) fn committed(address: usize, len: usize) {
    let populate = POPULATE.load(Ordering::Relaxed);
    if populate != 0 {
        // A refusal (an old kernel, a limit) leaves pages to be touched one by one.
        os::populate(address, len.min(populate));
    }
}

/// Looks whether the process has passed the soft limit. Asked where it takes more memory from the system.
pub(super) fn look_at_limit() {
    let limit = SOFT_LIMIT.load(Ordering::Relaxed);
    if limit == usize::MAX {
        return;
    }
    let units = units::USED.load(Ordering::Relaxed) + units::DIRTY.load(Ordering::Relaxed);
    if (units << UNIT_SHIFT).saturating_add(direct::bytes()) > limit {
        purge::tighten();
    }
}

/// The whole huge pages in a range: where the first one begins, and how many bytes they have.
fn whole(address: usize, len: usize) -> Option<(usize, usize)> {
    let start = address.next_multiple_of(HUGE);
    let end = (address + len) & !(HUGE - 1);
    (end > start).then(|| (start, end - start))
}

/// Before a large block in the window is touched.
pub(super) fn span_begins(address: usize, len: usize) {
    if len > HUGE
        && is(HugePages::Always)
        && let Some((start, len)) = whole(address, len)
    {
        os::huge_pages(start, len);
    }
}

/// Before the units of a large block can be somebody else's: small pages again, which a purge can return one by one.
pub(super) fn span_ends(address: usize, len: usize) {
    if len > HUGE
        && is(HugePages::Always)
        && let Some((start, len)) = whole(address, len)
    {
        os::small_pages(start, len);
    }
}

/// Before a block with a mapping of its own is touched.
pub(super) fn mapping_begins(address: usize, len: usize) {
    if is(HugePages::Never) {
        os::small_pages(address, len);
    } else if is(HugePages::Always) {
        os::huge_pages(address, len);
    }
}

const _: () = assert!(super::kept::KEPT_BYTES <= HUGE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_huge_pages_are_named() {
        assert_eq!(whole(HUGE + 1, HUGE), None);
        assert_eq!(whole(HUGE, HUGE), Some((HUGE, HUGE)));
        assert_eq!(whole(HUGE - 1, 3 * HUGE), Some((HUGE, 2 * HUGE)));
        assert_eq!(whole(3 * HUGE + 4096, 3 * HUGE), Some((4 * HUGE, 2 * HUGE)));
    }
}
