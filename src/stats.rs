//! Statistics: read off the structures when asked for; hits count nothing.
//!
//! Counters are kept per heap and class by whoever holds the heap's lock, so they cost no shared
//! write. A call walks the units in use; it takes no lock and allocates nothing.

use crate::arena::{kept, purge, shelf, spans, tables, window};
use crate::heap;
use crate::hit;
use crate::layout::{GRANULES, KIND_RUN, KIND_SLAB, UNIT_BYTES, UNIT_SHIFT};
use crate::os;
use crate::size_class::{CLASSES, Class, SMALL_CLASSES};
use crate::sync::{AtomicU64, Ordering};
use crate::thread;

/// Blocks freed by remote frees outside any lock, per class.
static REMOTE: [AtomicU64; CLASSES] = [const { AtomicU64::new(0) }; CLASSES];

/// Counts remote frees of a call that holds no lock.
pub(crate) fn count_remote(class: Class, blocks: usize) {
    if let Some(counter) = REMOTE.get(class.index()) {
        counter.fetch_add(blocks as u64, Ordering::Relaxed);
    }
}

/// What happened to one size class so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Block size in bytes.
    pub size: usize,
    /// Units that are slabs of this class now (0 for medium classes, which share run slabs).
    pub units: usize,
    /// Blocks that these slabs hold, free or not (0 for medium classes).
    pub blocks: usize,
    /// Blocks in use: live, or in the magazine of some thread.
    pub used: usize,
    /// Bytes of free pages in these slabs that went back to the system and were not used since.
    pub purged: usize,
    /// Times a magazine was filled.
    pub refills: u64,
    /// Blocks handed out by refills.
    pub refilled_blocks: u64,
    /// Times a magazine was flushed.
    pub flushes: u64,
    /// Blocks given back by flushes.
    pub flushed_blocks: u64,
    /// Blocks freed into slabs of other heaps, or without a lock.
    pub remote_frees: u64,
}

impl ClassStats {
    /// How much of the class's slabs is in use, in percent: 100 is dense, 5 is a heap thinned to one
    /// block in twenty. 100 if it has no slabs, as all medium classes.
    #[must_use]
    pub const fn used_percent(&self) -> usize {
        match (self.used * 100).checked_div(self.blocks) {
            Some(percent) => percent,
            None => 100,
        }
    }
}

/// The allocator's state, as far as it is known without stopping anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of address space reserved for blocks.
    pub reserved: usize,
    /// Bytes of it that are committed, and bytes of the tables beside it.
    pub committed: usize,
    /// Bytes in slabs, in use or not.
    pub slabs: usize,
    /// Bytes of the slabs that all medium classes share.
    pub run_slabs: usize,
    /// Bytes in use in them: what `used` of the medium classes comes to.
    pub run_used: usize,
    /// Bytes of free pages in all slabs that went back to the system and were not used since.
    pub purged: usize,
    /// Bytes in free units that may be resident.
    pub free_resident: usize,
    /// Most bytes that the magazines of one thread can hold, should it use every class to the full and
    /// then sleep: times `threads`, what all of them can pin at the worst. `magazines` bounds what they
    /// pin now.
    pub magazine_limit: usize,
    /// Bytes in magazines, exact for the calling thread, an upper bound for all others, and in large blocks
    /// that threads keep.
    pub magazines: usize,
    /// Bytes in large blocks: spans and direct mappings.
    pub large: usize,
    /// Threads with magazines.
    pub threads: usize,
    /// Sums over the classes.
    pub refills: u64,
    /// Blocks handed out by refills: not zero if, and only if, bitmag has served small blocks.
    pub refilled_blocks: u64,
    /// Times a magazine was flushed.
    pub flushes: u64,
    /// Blocks given back by flushes.
    pub flushed_blocks: u64,
    /// Blocks freed into slabs of other heaps, or without a lock.
    pub remote_frees: u64,
    /// By class; entry 0 is unused.
    pub classes: [ClassStats; CLASSES],
}

/// The statistics of this copy of the allocator.
///
/// Takes no lock and allocates nothing. O(units in the window + threads). Under concurrent calls
/// the figures are those of slightly different moments.
#[must_use]
pub fn stats() -> Stats {
    let mut stats = Stats {
        reserved: window::reserved(),
        committed: window::committed() + tables::mapped(),
        slabs: 0,
        run_slabs: 0,
        run_used: 0,
        purged: 0,
        free_resident: (purge::dirty_units() << UNIT_SHIFT) + shelf::resident(),
        magazine_limit: thread::cached_limit(),
        magazines: 0,
        large: spans::large().saturating_sub(kept::all_bytes() + shelf::bytes()),
        threads: heap::attached(),
        refills: 0,
        refilled_blocks: 0,
        flushes: 0,
        flushed_blocks: 0,
        remote_frees: 0,
        classes: [ClassStats::default(); CLASSES],
    };
    for unit in 0..window::committed() >> UNIT_SHIFT {
        count_unit(&mut stats, unit as u32);
    }
    for (index, class) in stats.classes.iter_mut().enumerate().skip(1) {
        class.size = Class::from_index(index).size();
        class.remote_frees = REMOTE[index].load(Ordering::Relaxed);
        for heap in heap::all() {
            let counters = &heap.counters[index];
            class.refills += counters.refills.load(Ordering::Relaxed);
            class.refilled_blocks += counters.refilled_blocks.load(Ordering::Relaxed);
            class.flushes += counters.flushes.load(Ordering::Relaxed);
            class.flushed_blocks += counters.flushed_blocks.load(Ordering::Relaxed);
            class.remote_frees += counters.remote_frees.load(Ordering::Relaxed);
        }
        stats.refills += class.refills;
        stats.refilled_blocks += class.refilled_blocks;
        stats.flushes += class.flushes;
        stats.flushed_blocks += class.flushed_blocks;
        stats.remote_frees += class.remote_frees;
    }
    stats.magazines = magazines();
    stats
}

/// Adds one unit below the bound to the sums.
fn count_unit(stats: &mut Stats, unit: u32) {
    // SAFETY: the caller's unit is below the bound.
    let (entry, record) = unsafe { (tables::entry(unit), tables::record(unit)) };
    let kind = entry.kind.load(Ordering::Relaxed);
    if kind != KIND_SLAB && kind != KIND_RUN {
        return;
    }
    stats.slabs += UNIT_BYTES;
    let pages = record.purged_pages();
    stats.purged += pages * tables::page();
    if kind == KIND_RUN {
        stats.run_slabs += UNIT_BYTES;
        for granule in 0..GRANULES {
            // SAFETY: as above; the granule is one of the unit's.
            let byte = unsafe { tables::granule(unit, granule) }.load(Ordering::Relaxed);
            let index = SMALL_CLASSES + usize::from(byte);
            if let Some(class) = stats.classes.get_mut(index).filter(|_| byte != 0) {
                class.used += 1;
                stats.run_used += Class::from_index(index).size();
            }
        }
        return;
    }
    let index = usize::from(entry.class.load(Ordering::Relaxed));
    let Some(class) = stats.classes.get_mut(index).filter(|_| index != 0) else { return };
    let freed: u32 =
        record.remote.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum();
    class.units += 1;
    class.blocks += record.blocks.load(Ordering::Relaxed) as usize;
    class.used += record.used.load(Ordering::Relaxed).saturating_sub(freed) as usize;
    class.purged += pages * tables::page();
}

fn magazines() -> usize {
    let tls = hit::tls();
    // SAFETY: this thread's own block; an ACTIVE thread has a record.
    let (own, exact) = unsafe {
        if (*tls).state == thread::STATE_ACTIVE {
            ((*tls).thread.cast_const(), thread::cached_bytes(tls))
        } else {
            (core::ptr::null(), 0)
        }
    };
    let others = (0..thread::count())
        .filter_map(thread::record)
        .filter(|record| !core::ptr::eq(*record, own) && record.live.load(Ordering::Relaxed) != 0);
    exact + others.map(thread::cached_bound).sum::<usize>() + kept::all_bytes()
}

/// A line under construction, written out when it is full or done.
struct Out {
    file: i32,
    buffer: [u8; 1024],
    len: usize,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.len == self.buffer.len() {
                self.flush();
            }
            self.buffer[self.len] = *byte;
            self.len += 1;
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.put(name.as_bytes());
        let mut digits = [0; 20];
        let start = decimal(value, &mut digits);
        self.put(&digits[start..]);
    }

    fn flush(&mut self) {
        os::write(self.file, &self.buffer[..self.len]);
        self.len = 0;
    }
}

/// Writes the decimal digits of `value` to the end of `digits`; where they start.
pub(crate) fn decimal(mut value: u64, digits: &mut [u8; 20]) -> usize {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 || start == 0 {
            return start;
        }
    }
}

/// Writes the statistics as text, a name and a value to the line. Does not allocate.
pub(crate) fn write(file: i32) {
    let stats = stats();
    let mut out = Out { file, buffer: [0; 1024], len: 0 };
    out.put(concat!("bitmag ", env!("CARGO_PKG_VERSION")).as_bytes());
    out.number("\npid ", u64::from(os::process_id()));
    for (name, value) in [
        ("\nreserved ", stats.reserved),
        ("\ncommitted ", stats.committed),
        ("\nslabs ", stats.slabs),
        ("\nmagazines ", stats.magazines),
        ("\nlarge ", stats.large),
        ("\nrun_slabs ", stats.run_slabs),
        ("\nrun_used ", stats.run_used),
        ("\npurged ", stats.purged),
        ("\nfree_resident ", stats.free_resident),
        ("\nmagazine_limit ", stats.magazine_limit),
        ("\nthreads ", stats.threads),
    ] {
        out.number(name, value as u64);
    }
    for (name, value) in [
        ("\nrefills ", stats.refills),
        ("\nrefilled_blocks ", stats.refilled_blocks),
        ("\nflushes ", stats.flushes),
        ("\nflushed_blocks ", stats.flushed_blocks),
        ("\nremote_frees ", stats.remote_frees),
    ] {
        out.number(name, value);
    }
    for class in stats.classes.iter().skip(1) {
        if class.refills | class.flushes | class.remote_frees == 0 {
            continue;
        }
        out.number("\nclass ", class.size as u64);
        out.number(" units ", class.units as u64);
        out.number(" blocks ", class.blocks as u64);
        out.number(" used ", class.used as u64);
        out.number(" refills ", class.refills);
        out.number(" refilled_blocks ", class.refilled_blocks);
        out.number(" flushes ", class.flushes);
        out.number(" flushed_blocks ", class.flushed_blocks);
        out.number(" remote_frees ", class.remote_frees);
    }
    out.put(b"\n");
    out.flush();
}

/// Copies a NUL-terminated path, `%p` replaced by the process id; cut off where `out` ends.
pub(crate) fn expand_path(path: &[u8], out: &mut [u8; 1024]) {
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        for byte in bytes {
            if len < out.len() - 1 {
                out[len] = *byte;
                len += 1;
            }
        }
    };
    let mut bytes = path.iter().take_while(|byte| **byte != 0).peekable();
    while let Some(byte) = bytes.next() {
        if *byte == b'%' && bytes.next_if(|next| **next == b'p').is_some() {
            let mut digits = [0; 20];
            let start = decimal(u64::from(os::process_id()), &mut digits);
            put(&digits[start..]);
        } else {
            put(&[*byte]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_the_process() {
        let mut out = [0; 1024];
        expand_path(b"/a/%p.txt\0rest", &mut out);
        let mut digits = [0; 20];
        let start = decimal(u64::from(os::process_id()), &mut digits);
        let mut expected = b"/a/".to_vec();
        expected.extend_from_slice(&digits[start..]);
        expected.extend_from_slice(b".txt\0");
        assert!(out.starts_with(&expected));
    }
}
