//! Prewarming: making the pages and tables of coming allocations ready ahead of them.

use crate::arena::{spans, tables, units, window};
use crate::face::Bitmag;
use crate::layout::{GRANULES, UNIT_BYTES};
use crate::os;
use crate::size_class::{Class, round};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

static FACE: Bitmag = Bitmag::new();

/// Makes allocations ready: after it, the calling thread can allocate `count` blocks of each layout,
/// in this order and with nothing else in between, without a page fault and without a system call.
///
/// For programs whose latency matters, once for each such thread, before its work begins; in a
/// process that has called `mlockall` too. It allocates all of it, writes to each page, and frees it
/// again, so it costs a page fault per 4 KiB (up to 1 µs each), and that memory stays resident: what is
/// free is given back to the system by that much later, or by [`trim`](crate::trim).
///
/// `false` if there is not enough memory, or if a layout is larger than 256 MiB or aligned to more
/// than 32 MiB: such blocks go back to the system as soon as they are freed. What could be made ready
/// is ready then.
///
/// ```
/// use std::alloc::Layout;
/// #[global_allocator]
/// static A: bitmag::Bitmag = bitmag::Bitmag::new();
///
/// let request = Layout::new::<[u8; 4096]>();
/// let note = Layout::new::<[u64; 6]>();
/// assert!(bitmag::prewarm(&[(request, 64), (note, 10_000)]));
/// ```
pub fn prewarm(wanted: &[(Layout, usize)]) -> bool {
    let mut good = true;
    // The blocks in a chain through their first words.
    let mut chain: *mut Link = ptr::null_mut();
    let mut units = 0;
    for (index, (layout, count)) in wanted.iter().enumerate() {
        let class = Class::of(round(layout.size(), layout.align()));
        if class.is_none() && !spans::fits_window(layout.size(), layout.align()) {
            good = false;
            continue;
        }
        // Beside those that are handed out, a magazine holds some, and the next time they may lie in
        // another order, with other gaps between them.
        let spare = class.map_or(1, |class| class.max_depth() + UNIT_BYTES / class.size());
        let count = count.saturating_add(count / 16 + spare);
        let (mut made, mut ready) = (0, 0);
        while made < count {
            // SAFETY: any size is served, 0 too, with at least 16 bytes.
            let block = unsafe { FACE.alloc(*layout) };
            if block.is_null() {
                good = false;
                break;
            }
            ready = ready_units(block, layout.size(), ready);
            // SAFETY: the block is ours and at least as large as the link and the layout.
            unsafe {
                if ready == 0 {
                    touch(block, layout.size());
                }
                let link = block.cast::<Link>();
                link.write_unaligned(Link { before: chain, layout: index as u32 });
                chain = link;
            }
            made += 1;
        }
        let size = class.map_or(layout.size().next_multiple_of(UNIT_BYTES), Class::size);
        units += made.saturating_mul(size).div_ceil(UNIT_BYTES) + 1;
    }
    // Before the first of it is free, so that no purge takes it.
    units::keep_ready(units);
    while !chain.is_null() {
        // SAFETY: every link of the chain is a block from above, with the layout that it names.
        unsafe {
            let Link { before, layout } = chain.read_unaligned();
            if let Some((layout, _)) = wanted.get(layout as usize) {
                FACE.dealloc(chain.cast(), *layout);
            }
            chain = before;
        }
    }
    good
}

/// What is written into a block while all of them are held: 16 bytes at most, as every block has.
struct Link {
    before: *mut Link,
    layout: u32,
}

const _: () = assert!(size_of::<Link>() <= 16);

/// Makes the units that a block lies in resident, with what lies between blocks: it may be inside one
/// the next time. The end of what is ready now; 0 if the kernel cannot do that.
///
/// `ready` is what the last call answered: nothing is done below it in the same unit.
fn ready_units(block: *mut u8, size: usize, ready: usize) -> usize {
    let start = block as usize & !(UNIT_BYTES - 1);
    let end = (block as usize + size).next_multiple_of(UNIT_BYTES);
    if end == ready {
        return ready;
    }
    let Some(unit) = window::unit_of(block as usize) else { return 0 };
    // What describes them too: a span's head, a slab's bitmaps.
    let last = unit + ((end - start) / UNIT_BYTES) as u32 - 1;
    // SAFETY: the block's units are below the bound.
    let described = unsafe {
        [
            (
                ptr::from_ref(tables::record(unit)) as usize,
                ptr::from_ref(tables::record(last)) as usize,
            ),
            (
                ptr::from_ref(tables::granule(unit, 0)) as usize,
                ptr::from_ref(tables::granule(last, GRANULES - 1)) as usize,
            ),
        ]
    };
    let page = os::page_size();
    for (from, to) in described {
        let from = from & !(page - 1);
        os::populate(from, (to + 1 - from).next_multiple_of(page));
    }
    if os::populate(start, end - start) { end } else { 0 }
}

/// Writes to each page of a fresh block.
///
/// # Safety
/// The block has `size` bytes.
unsafe fn touch(block: *mut u8, size: usize) {
    let page = os::page_size();
    let mut offset = 0;
    while offset < size {
        // SAFETY: the caller's contract.
        unsafe { block.add(offset).write_volatile(0) };
        offset += page - (block as usize + offset) % page;
    }
}
