//! Large blocks that replace one another: each keeps its content, zeroed ones read as zero, and what the freed ones leave resident is bounded.
//! A block is written at its start, by a part of it, and in its last page, as programs do.

use bitmag::Bitmag;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::sync::Mutex;

#[global_allocator]
static A: Bitmag = Bitmag::new();

macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}

/// The process's resident bytes; 0 where tests may run under an emulator, whose own pages are among them.
fn resident() -> u64 {
    if cfg!(not(target_arch = "x86_64")) {
        return 0;
    }
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

/// A block with its number in each page that was written.
struct Block {
    address: *mut u8,
    size: usize,
    written: usize,
    number: usize,
}

// SAFETY: a block belongs to whoever has the value.
unsafe impl Send for Block {}

impl Block {
    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 16).expect("a layout")
    }

    /// The places that are written: one in each page of the first part, and the last word.
    fn places(&self) -> impl Iterator<Item = usize> {
        (0..self.written).step_by(PAGE).chain([self.size - 8])
    }

    fn new(size: usize, part: usize, zeroed: bool, number: usize) -> Result<Block, String> {
        // SAFETY: a plain allocation.
        let address = unsafe {
            let layout = Block::layout(size);
            if zeroed { alloc_zeroed(layout) } else { alloc(layout) }
        };
        ensure!(!address.is_null(), "no {size} bytes");
        let block = Block { address, size, written: size / 100 * part, number };
        for place in block.places() {
            // SAFETY: inside the block.
            unsafe {
                let word = address.add(place).cast::<usize>();
                ensure!(!zeroed || word.read_unaligned() == 0, "{place:#x} of {size} is not zero");
                word.write_unaligned(number);
            }
        }
        Ok(block)
    }

    fn free(self) -> Result<(), String> {
        for place in self.places() {
            // SAFETY: inside the block, written above.
            let found = unsafe { self.address.add(place).cast::<usize>().read_unaligned() };
            ensure!(found == self.number, "{found} in block {} at {place:#x}", self.number);
        }
        // SAFETY: live, and freed once.
        unsafe { dealloc(self.address, Block::layout(self.size)) };
        Ok(())
    }
}

/// 16 blocks of 5 to 25 MiB, of which a tenth is written, some of them zeroed blocks. As long as there are none little more is resident
/// than what is written; below 32 MiB they are written to as a whole where their place was in use.
fn one_by_one() -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(16);
    let start = resident();
    let mut blocks: [Option<Block>; 16] = [const { None }; 16];
    for number in 1..=600 {
        let slot = &mut blocks[rng.usize(0..16)];
        if let Some(block) = slot.take() {
            block.free()?;
        }
        let zeroed = number > 400 && number % 5 == 0;
        *slot = Some(Block::new(rng.usize(5 * MIB..=25 * MIB), 10, zeroed, number)?);
        let mut written = start;
        for block in blocks.iter().flatten() {
            written += block.written as u64;
        }
        let more = resident().saturating_sub(written);
        ensure!(number > 400 || more <= 24 << 20, "{more} bytes more than written, {number}");
    }
    for slot in &mut blocks {
        if let Some(block) = slot.take() {
            block.free()?;
        }
    }
    bitmag::purge();
    let left = resident().saturating_sub(start);
    ensure!(left <= 4 << 20, "{left} bytes resident with nothing live");
    Ok(())
}

/// Threads that replace each other's blocks.
fn by_threads() -> Result<(), String> {
    let blocks: [Mutex<Option<Block>>; 12] = std::array::from_fn(|_| Mutex::new(None));
    let work = |thread: usize| -> Result<(), String> {
        let mut rng = fastrand::Rng::with_seed(16 ^ thread as u64);
        for turn in 0..150 {
            let size = rng.usize(MIB..=12 * MIB);
            let block = Block::new(size, rng.usize(1..=40), turn % 7 == 0, thread << 20 | turn)?;
            let slot = &blocks[rng.usize(0..blocks.len())];
            let old = slot.lock().map_err(|_| "poisoned")?.replace(block);
            if let Some(old) = old {
                old.free()?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "panicked")?)
    })?;
    for block in blocks {
        if let Some(block) = block.into_inner().map_err(|_| "poisoned")? {
            block.free()?;
        }
    }
    Ok(())
}

/// One after the other: resident memory is the whole process's.
#[test]
fn large_blocks_replace_one_another() -> Result<(), String> {
    one_by_one()?;
    by_threads()
}
