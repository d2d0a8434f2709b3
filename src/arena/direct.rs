//! Direct mappings: blocks that cannot lie in the window, each a mapping of its own.
//!
//! An open-addressing table of (address, length) finds them again; entries are taken and given back
//! by compare-exchange, so a signal handler may come at any instruction. They are rare: blocks of
//! more than 256 MiB, alignments above 32 MiB, whatever the window has no room for, and large blocks
//! that have grown (`moving.rs`): the system moves their pages instead of copying them.

use super::moving::with_slack;
use super::policy;
use crate::os::{self, Access};
use crate::sync::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use core::ptr;

/// Entries in the table, and so the most direct mappings there can be.
const ENTRIES: usize = 1 << 16;
/// Most entries that one search looks at.
const PROBES: usize = 256;
/// Address of an entry that was used once and is free again.
const GONE: usize = 1;
/// Address of an entry whose block is being moved: neither found nor free.
const MOVING: usize = 2;

/// One mapping. `len` and `asked` belong to whoever owns the block at `address`.
struct Entry {
    /// 0 never used, `GONE`, `MOVING`, or the block's address.
    address: AtomicUsize,
    /// Bytes mapped: what was asked for in whole pages, and room to grow that was never touched.
    len: AtomicUsize,
    /// Bytes asked for.
    asked: AtomicUsize,
}

static TABLE: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
static BYTES: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Whether the kernel moves pages out of a mapping that stays (Linux 5.7 and later; not valgrind).
static MOVES_PAGES: AtomicBool = AtomicBool::new(true);

/// Whether `take_over` is worth trying.
pub(super) fn moves_pages() -> bool {
    MOVES_PAGES.load(Ordering::Relaxed)
}

/// Direct mappings there are.
pub(super) fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Bytes asked for in direct mappings, in whole pages.
pub(crate) fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

/// The table, mapped on first use. `None` if there is no memory for it.
fn table() -> Option<&'static [Entry]> {
    let mut table = TABLE.load(Ordering::Acquire);
    if table.is_null() {
        let bytes = ENTRIES * size_of::<Entry>();
        let fresh = os::map(bytes, Access::ReadWrite).ok()?.cast::<Entry>();
        match TABLE.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => table = fresh,
            Err(theirs) => {
                os::unmap(fresh.cast(), bytes);
                table = theirs;
            }
        }
    }
    // SAFETY: mapped for ever, ENTRIES long, zero at first, which is a valid Entry.
    Some(unsafe { core::slice::from_raw_parts(table, ENTRIES) })
}

/// The entries that may hold `address`, in the order of the search.
fn probes(table: &'static [Entry], address: usize) -> impl Iterator<Item = &'static Entry> {
    let start = (address >> 12).wrapping_mul(0x9e37_79b1) >> 4;
    (0..PROBES).map(move |step| {
        // SAFETY: masked to the table's length.
        unsafe { table.get_unchecked((start + step) & (ENTRIES - 1)) }
    })
}

#[inline(never)]
fn find(address: usize) -> Option<&'static Entry> {
    if TABLE.load(Ordering::Acquire).is_null() || address <= MOVING {
        return None;
    }
    for entry in probes(table()?, address) {
        match entry.address.load(Ordering::Acquire) {
            0 => return None,
            found if found == address => return Some(entry),
            _ => {}
        }
    }
    None
}

fn insert(address: usize, len: usize, asked: usize) -> bool {
    let Some(table) = table() else { return false };
    for entry in probes(table, address) {
        let seen = entry.address.load(Ordering::Relaxed);
        if seen <= GONE
            && entry
                .address
                .compare_exchange(seen, address, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            // Only who owns the block asks for these, and nobody owns it yet.
            entry.len.store(len, Ordering::Relaxed);
            entry.asked.store(asked, Ordering::Relaxed);
            BYTES.fetch_add(in_pages(asked), Ordering::Relaxed);
            COUNT.fetch_add(1, Ordering::Relaxed);
            policy::look_at_limit();
            return true;
        }
    }
    false
}

/// Makes an entry that the caller took for itself (its address is `GONE` or `MOVING`) free again.
fn forget(entry: &Entry, asked: usize) {
    BYTES.fetch_sub(in_pages(asked), Ordering::Relaxed);
    COUNT.fetch_sub(1, Ordering::Relaxed);
    entry.address.store(GONE, Ordering::Release);
}

/// `size` bytes in whole pages. Sizes are at most `isize::MAX`, so that nothing overflows.
#[inline(never)]
fn in_pages(size: usize) -> usize {
    size.max(1).next_multiple_of(os::page_size())
}

/// Address space of `len` bytes (whole pages) at a multiple of `align`, mapped as `access` says.
fn place(len: usize, align: usize, access: Access) -> Option<usize> {
    let slack = align.saturating_sub(os::page_size());
    if len > isize::MAX as usize || slack > isize::MAX as usize - len {
        return None;
    }
    // With an alignment, address space is reserved generously, cut to size, and then committed, so
    // that the slack is never charged.
    let first = if slack == 0 { access } else { Access::Reserved };
    let mapped = os::map(len + slack, first).ok()?;
    let start = (mapped as usize).next_multiple_of(align);
    let before = start - mapped as usize;
    if before != 0 {
        os::unmap(mapped, before);
    }
    if slack != before {
        os::unmap((start + len) as *mut u8, slack - before);
    }
    if first != access && os::commit(start, len).is_err() {
        os::unmap(start as *mut u8, len);
        return None;
    }
    Some(start)
}

/// Maps a block of its own. NULL if the system has no memory. It reads as zero.
pub(crate) fn allocate(size: usize, align: usize) -> *mut u8 {
    if size > isize::MAX as usize - os::page_size() {
        return ptr::null_mut();
    }
    let len = in_pages(size);
    let Some(start) = place(len, align, Access::ReadWrite) else { return ptr::null_mut() };
    if !insert(start, len, size) {
        os::unmap(start as *mut u8, len);
        return ptr::null_mut();
    }
    policy::mapping_begins(start, len);
    start as *mut u8
}

/// Unmaps a direct mapping. `false` if `block` is none.
pub(crate) fn free(block: *mut u8) -> bool {
    let Some(entry) = find(block as usize) else { return false };
    let (len, asked) = (entry.len.load(Ordering::Relaxed), entry.asked.load(Ordering::Relaxed));
    // Not free for others before the counts are right, not found from here on.
    if entry
        .address
        .compare_exchange(block as usize, MOVING, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return false; // somebody else freed it at the same time
    }
    forget(entry, asked);
    os::unmap(block, len);
    true
}

/// Bytes usable and bytes asked for, if `block` is a direct mapping.
pub(crate) fn sizes(block: *const u8) -> Option<(usize, usize)> {
    let entry = find(block as usize)?;
    let asked = entry.asked.load(Ordering::Relaxed);
    Some((in_pages(asked), asked))
}

/// Resizes a direct mapping that grows inside the room that it has: whether it does.
#[inline]
pub(crate) fn resize_within(block: *mut u8, size: usize) -> bool {
    let Some(entry) = find(block as usize) else { return false };
    let (len, asked) = (entry.len.load(Ordering::Relaxed), entry.asked.load(Ordering::Relaxed));
    if size < asked || size > len {
        return false;
    }
    let more = in_pages(size) - in_pages(asked);
    if more != 0 {
        BYTES.fetch_add(more, Ordering::Relaxed);
    }
    entry.asked.store(size, Ordering::Relaxed);
    true
}

/// Resizes a direct mapping by moving its pages, not their content. The caller owns `block`.
///
/// A mapping that grows gets room to grow further; one that shrinks is cut to size. NULL, the block
/// untouched, if that fails.
pub(crate) fn resize(block: *mut u8, size: usize, align: usize) -> *mut u8 {
    let Some(entry) = find(block as usize) else { return ptr::null_mut() };
    if size > isize::MAX as usize - os::page_size() {
        return ptr::null_mut();
    }
    let (old, asked) = (entry.len.load(Ordering::Relaxed), entry.asked.load(Ordering::Relaxed));
    let need = in_pages(size);
    let settled = |len: usize| {
        BYTES.fetch_add(need.wrapping_sub(in_pages(asked)), Ordering::Relaxed);
        entry.len.store(len, Ordering::Relaxed);
        entry.asked.store(size, Ordering::Relaxed);
        block
    };
    if need <= old && size >= asked {
        return settled(old);
    }
    if need <= old {
        if need < old {
            os::unmap((block as usize + need) as *mut u8, old - need);
        }
        return settled(need);
    }
    for len in [with_slack(need), need] {
        if os::resize(block, old, len).is_ok() {
            return settled(len);
        }
        let moved = relocate(entry, block, len, size, align);
        if !moved.is_null() {
            return moved;
        }
    }
    ptr::null_mut()
}

/// Moves a mapping to where `len` bytes have room. NULL, the block untouched, if that fails.
fn relocate(entry: &Entry, block: *mut u8, len: usize, size: usize, align: usize) -> *mut u8 {
    let Some(target) = place(len, align, Access::Reserved) else { return ptr::null_mut() };
    if !insert(target, len, size) {
        os::unmap(target as *mut u8, len);
        return ptr::null_mut();
    }
    let (old, asked) = (entry.len.load(Ordering::Relaxed), entry.asked.load(Ordering::Relaxed));
    // The old address may become somebody else's mapping as soon as the pages have left it.
    entry.address.store(MOVING, Ordering::Relaxed);
    if os::remap_onto(block, old, target as *mut u8, len).is_err() {
        entry.address.store(block as usize, Ordering::Release);
        // The kernel may have unmapped the target before it failed, and somebody else may have
        // mapped something there: it is forgotten, not unmapped.
        if let Some(target) = find(target) {
            forget(target, size);
        }
        return ptr::null_mut();
    }
    forget(entry, asked);
    target as *mut u8
}

/// Makes a direct mapping of `size` bytes, with room to grow, out of the pages of another range of
/// `pages` bytes, which stays mapped and is empty afterwards. NULL, nothing changed, if that fails.
///
/// # Safety
/// The caller owns `source..source + pages`, which nobody else reads or writes; `size` is at least
/// `pages` and at most `isize::MAX` less a page.
pub(super) unsafe fn take_over(
    source: *mut u8,
    pages: usize,
    size: usize,
    align: usize,
) -> *mut u8 {
    let len = with_slack(in_pages(size));
    let Some(target) = place(len, align, Access::Reserved) else { return ptr::null_mut() };
    if !insert(target, len, size) {
        os::unmap(target as *mut u8, len);
        return ptr::null_mut();
    }
    // What has no pages yet is given up and had back as the end of the moved range, so that all of
    // it is one mapping to the kernel, which resizes no other.
    os::unmap((target + pages) as *mut u8, len - pages);
    let block = target as *mut u8;
    let forgotten = || {
        if let Some(entry) = find(target) {
            entry.address.store(MOVING, Ordering::Relaxed);
            forget(entry, size);
        }
        ptr::null_mut()
    };
    match os::move_pages(source, pages, block) {
        Ok(()) => {
            // An emulator may have let the source go, whatever it was told.
            if !os::is_mapped(source) {
                MOVES_PAGES.store(false, Ordering::Relaxed);
                if os::map_over(source, pages).is_err() {
                    return forgotten();
                }
            }
        }
        Err(error) => {
            if error.is_refusal() {
                os::unmap(block, pages); // refused before anything was done
                MOVES_PAGES.store(false, Ordering::Relaxed);
            }
            // Otherwise as in `relocate`: forgotten, not unmapped.
            return forgotten();
        }
    }
    if len == pages || os::resize(block, pages, len).is_ok() {
        policy::mapping_begins(target, len);
        return block;
    }
    // Somebody took the room, or a limit was met: back with the content, which cannot fail.
    // SAFETY: both ranges are mapped, `pages` long, and the caller's and ours alone.
    unsafe { ptr::copy_nonoverlapping(block, source, pages) };
    os::unmap(block, pages);
    forgotten()
}
