//! Direct mappings: blocks that cannot lie in the window, each a mapping of its own.
//!
//! An open-addressing table of (address, length) finds them again; entries are taken and given back
//! by compare-exchange, so a signal handler may come at any instruction. They are rare: blocks of
//! more than 256 MiB, alignments above 32 MiB, and whatever the window has no room for.

use crate::os::{self, Access};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use core::ptr;

/// Entries in the table, and so the most direct mappings there can be.
const ENTRIES: usize = 1 << 16;
/// Most entries that one search looks at.
const PROBES: usize = 256;
/// Address of an entry that was used once and is free again.
const GONE: usize = 1;
/// Address of an entry whose block is being moved: neither found nor free.
const MOVING: usize = 2;

/// One mapping. `len` belongs to whoever owns the block at `address`.
struct Entry {
    /// 0 never used, `GONE`, or the block's address.
    address: AtomicUsize,
    /// Bytes mapped.
    len: AtomicUsize,
    /// Bytes asked for.
    asked: AtomicUsize,
}

static TABLE: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes in direct mappings.
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
            return true;
        }
    }
    false
}

/// Maps a block of its own. NULL if the system has no memory. It reads as zero.
pub(crate) fn allocate(size: usize, align: usize) -> *mut u8 {
    let page = os::page_size();
    let Some(len) = size.max(1).checked_next_multiple_of(page) else { return ptr::null_mut() };
    let Some(with_slack) = (if align <= page { Some(len) } else { len.checked_add(align - page) })
    else {
        return ptr::null_mut();
    };
    if with_slack > isize::MAX as usize {
        return ptr::null_mut();
    }
    // With an alignment, address space is reserved generously, cut to size, and then committed, so
    // that the slack is never charged.
    let access = if with_slack == len { Access::ReadWrite } else { Access::Reserved };
    let Ok(mapped) = os::map(with_slack, access) else { return ptr::null_mut() };
    let start = (mapped as usize).next_multiple_of(align);
    let before = start - mapped as usize;
    if before != 0 {
        os::unmap(mapped, before);
    }
    let after = with_slack - len - before;
    if after != 0 {
        os::unmap((start + len) as *mut u8, after);
    }
    let committed = access == Access::ReadWrite || os::commit(start, len).is_ok();
    if !committed || !insert(start, len, size) {
        os::unmap(start as *mut u8, len);
        return ptr::null_mut();
    }
    BYTES.fetch_add(len, Ordering::Relaxed);
    start as *mut u8
}

/// Unmaps a direct mapping. `false` if `block` is none.
pub(crate) fn free(block: *mut u8) -> bool {
    let Some(entry) = find(block as usize) else { return false };
    let len = entry.len.load(Ordering::Relaxed);
    if entry
        .address
        .compare_exchange(block as usize, GONE, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return false; // somebody else freed it at the same time
    }
    BYTES.fetch_sub(len, Ordering::Relaxed);
    os::unmap(block, len);
    true
}

/// Bytes usable and bytes asked for, if `block` is a direct mapping.
pub(crate) fn sizes(block: *const u8) -> Option<(usize, usize)> {
    let entry = find(block as usize)?;
    Some((entry.len.load(Ordering::Relaxed), entry.asked.load(Ordering::Relaxed)))
}

/// Resizes a direct mapping by moving its pages, not their content. The caller owns `block`.
///
/// NULL, the block untouched, if that fails.
pub(crate) fn resize(block: *mut u8, size: usize, align: usize) -> *mut u8 {
    let Some(entry) = find(block as usize) else { return ptr::null_mut() };
    let page = os::page_size();
    let old = entry.len.load(Ordering::Relaxed);
    let Some(new) = size.max(1).checked_next_multiple_of(page) else { return ptr::null_mut() };
    if new > isize::MAX as usize {
        return ptr::null_mut();
    }
    if new == old {
        entry.asked.store(size, Ordering::Relaxed);
        return block;
    }
    if os::resize(block, old, new).is_ok() {
        entry.len.store(new, Ordering::Relaxed);
        entry.asked.store(size, Ordering::Relaxed);
        BYTES.fetch_add(new.wrapping_sub(old), Ordering::Relaxed);
        return block;
    }
    // A place of its own, noted in the table, and then the pages are moved onto it.
    let target = allocate(size, align);
    if target.is_null() {
        return ptr::null_mut();
    }
    // The old address may become somebody else's mapping as soon as the pages have left it.
    entry.address.store(MOVING, Ordering::Relaxed);
    let pages = old.min(new);
    if os::remap_onto(block, pages, target).is_err() {
        entry.address.store(block as usize, Ordering::Release);
        // The kernel may have unmapped the target before it failed, and somebody else may have
        // mapped something there: it is forgotten, not unmapped.
        if let Some(entry) = find(target as usize) {
            BYTES.fetch_sub(entry.len.load(Ordering::Relaxed), Ordering::Relaxed);
            entry.address.store(GONE, Ordering::Release);
        }
        return ptr::null_mut();
    }
    if old > pages {
        os::unmap((block as usize + pages) as *mut u8, old - pages);
    }
    entry.address.store(GONE, Ordering::Release);
    BYTES.fetch_sub(old, Ordering::Relaxed);
    target
}
