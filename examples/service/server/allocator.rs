//! Which allocator serves this process: evidence, not a label. INFO reports these counters, and the
//! load generator holds them against what the load must have asked for. A process on bitmag shows
//! blocks in bitmag's refills and next to nothing in libc's heap; one on libc the reverse.

/// Counters of both allocators, read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Blocks that bitmag's heaps have handed to threads.
    pub refilled_blocks: u64,
    /// Blocks that have come back to them.
    pub flushed_blocks: u64,
    /// Bytes that bitmag has committed, and what of it lies in slabs, in large blocks and in
    /// magazines.
    pub committed: usize,
    pub slabs: usize,
    pub large: usize,
    pub magazines: usize,
    /// Bytes that libc's own malloc has given out and not got back; 0 where it has no such counter.
    pub libc_in_use: usize,
}

impl Counters {
    /// Reads them.
    pub fn read() -> Self {
        let stats = bitmag::stats();
        Self {
            refilled_blocks: stats.refilled_blocks,
            flushed_blocks: stats.flushed_blocks,
            committed: stats.committed,
            slabs: stats.slabs,
            large: stats.large,
            magazines: stats.magazines,
            libc_in_use: libc_in_use(),
        }
    }
}

/// Whether libc counts what its malloc gives out.
pub const LIBC_COUNTS: bool = cfg!(target_env = "gnu");

#[cfg(target_env = "gnu")]
fn libc_in_use() -> usize {
    // SAFETY: mallinfo2 takes no arguments and locks what it reads.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

#[cfg(not(target_env = "gnu"))]
fn libc_in_use() -> usize {
    0
}
