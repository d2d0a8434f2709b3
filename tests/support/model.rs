//! The live-set model: what an allocator has handed out, and the rules that every answer must keep.
//! Random operation sequences from a seed drive one face through it; each block is checked for alignment, usable size, overlap with every other live block, zeroing, and its pattern until it is freed.
//! It answers with a message instead of panicking, so that `planted.rs` can show that each rule is really able to fail.

use super::api::{Api, Way};
use super::block::Block;
use std::collections::BTreeMap;

/// The alignment of `malloc`.
pub const MALLOC_ALIGN: usize = 16;

/// Live intervals by address: no two may overlap.
#[derive(Default)]
pub struct Intervals(BTreeMap<usize, usize>);

impl Intervals {
    /// Adds a block; an error names what it overlaps.
    pub fn add(&mut self, block: &Block) -> Result<(), String> {
        if let Some((start, end)) = self.0.range(..block.end()).next_back()
            && *end > block.addr
        {
            return Err(format!("{block:x?} overlaps the live block {start:#x}..{end:#x}"));
        }
        self.0.insert(block.addr, block.end());
        Ok(())
    }

    /// Removes a block.
    pub fn remove(&mut self, block: &Block) {
        self.0.remove(&block.addr);
    }
}

/// How large a run is.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Operations (an allocation, a reallocation, a free or a check each).
    pub operations: u64,
    /// The live set moves between few blocks and this many.
    pub most_live: usize,
    /// No more than this many bytes live.
    pub most_bytes: usize,
}

/// A face under test and everything it has handed out.
pub struct Model<'a> {
    /// The face.
    pub api: &'a dyn Api,
    /// The source of every choice.
    pub rng: fastrand::Rng,
    /// The live blocks.
    pub live: Vec<Block>,
    intervals: Intervals,
    ways: Vec<Way>,
    bytes: usize,
    target: usize,
    plan: Plan,
    done: u64,
}

impl<'a> Model<'a> {
    /// An empty model.
    pub fn new(api: &'a dyn Api, seed: u64, plan: Plan) -> Model<'a> {
        let (rng, live) = (fastrand::Rng::with_seed(seed), Vec::new());
        Model {
            api,
            rng,
            live,
            intervals: Intervals::default(),
            ways: api.ways(),
            bytes: 0,
            target: 0,
            plan,
            done: 0,
        }
    }

    /// A size: mostly small, as programs have them, with everything up to some MiB.
    pub fn size(&mut self) -> usize {
        let rng = &mut self.rng;
        match rng.u32(0..1000) {
            0..500 => rng.usize(0..=256),
            500..800 => rng.usize(0..=1100),
            800..930 => rng.usize(1000..=33_000),
            930..940 => (1usize << rng.u32(3..21)).saturating_add_signed(rng.isize(-17..=17)),
            940..995 => rng.usize(0..=64),
            995..999 => rng.usize(32_000..=300_000),
            _ => rng.usize(200_000..=6_000_000),
        }
    }

    fn align(&mut self, way: Way) -> usize {
        if !way.aligned() {
            return MALLOC_ALIGN;
        }
        let exponent = match self.rng.u32(0..100) {
            0..80 => self.rng.u32(0..=4),
            80..97 => self.rng.u32(5..=12),
            97..99 => self.rng.u32(13..=16),
            _ => self.rng.u32(17..=21),
        };
        1 << exponent
    }

    /// Allocates one block of `size` bytes and checks everything that its address promises.
    pub fn allocate(&mut self, size: usize) -> Result<(), String> {
        let way = self.ways[self.rng.usize(0..self.ways.len())];
        let align = self.align(way);
        // SAFETY: a power of two, and 16 where the way has none.
        let addr = unsafe { self.api.alloc(way, size, align) } as usize;
        if addr == 0 {
            return Err(format!("{way:?} of {size} bytes aligned {align}: NULL"));
        }
        let block = Block { addr, size, align, way, extent: size, seed: self.rng.u64(..) };
        self.adopt_new(block, way.zeroed().then_some(size))
    }

    fn adopt_new(&mut self, mut block: Block, zeroed: Option<usize>) -> Result<(), String> {
        if !block.addr.is_multiple_of(block.align) {
            return Err(format!("{block:x?} is not aligned"));
        }
        // SAFETY: the block is live.
        let usable = unsafe { self.api.usable(block.addr as *mut u8) };
        if let Some(usable) = usable {
            if usable < block.size {
                return Err(format!("{block:x?} has a usable size of {usable}"));
            }
            block.extent = usable;
        }
        self.intervals.add(&block)?;
        // SAFETY: the block is live and its usable bytes are ours.
        unsafe {
            if let Some(length) = zeroed {
                block.check_zero(length)?;
            }
            block.fill();
        }
        self.bytes += block.extent;
        self.live.push(block);
        Ok(())
    }

    /// Takes over a block that another thread allocated.
    pub fn adopt(&mut self, block: Block) -> Result<(), String> {
        self.intervals.add(&block)?;
        self.bytes += block.extent;
        self.live.push(block);
        Ok(())
    }

    /// Takes a random block out of the model, for another thread; the caller has made sure that there is one.
    pub fn hand_out(&mut self) -> Block {
        let block = self.live.swap_remove(self.rng.usize(0..self.live.len()));
        self.intervals.remove(&block);
        self.bytes -= block.extent;
        block
    }

    /// Checks a block that is out of the model and frees it.
    pub fn release(&mut self, block: Block) -> Result<(), String> {
        // SAFETY: whoever holds the record holds the live block.
        unsafe {
            block.check(block.extent)?;
            self.api.free(
                block.way,
                self.rng.u8(..),
                block.addr as *mut u8,
                block.size,
                block.align,
            );
        }
        Ok(())
    }

    fn reallocate(&mut self) -> Result<(), String> {
        let old = self.hand_out();
        if !old.way.can_realloc() {
            return self.release(old);
        }
        let new_size = match self.rng.u32(0..4) {
            0 => old.size + self.rng.usize(0..=64),
            1 => self.rng.usize(0..=old.size),
            _ => self.size(),
        };
        let new_size = new_size.max(1);
        // SAFETY: a live block, with what it was asked for with.
        unsafe {
            old.check(old.extent)?;
            let addr =
                self.api.realloc(old.addr as *mut u8, old.size, old.align, new_size) as usize;
            if addr == 0 {
                return Err(format!("realloc of {old:x?} to {new_size}: NULL"));
            }
            Block { addr, ..old }.check(old.size.min(new_size))?;
            let (way, align) = match self.api.realloc_keeps_alignment() {
                true => (Way::Layout, old.align),
                false => (Way::Malloc, MALLOC_ALIGN),
            };
            let seed = self.rng.u64(..);
            self.adopt_new(Block { addr, size: new_size, align, way, extent: new_size, seed }, None)
        }
    }

    /// One random operation.
    pub fn step(&mut self) -> Result<(), String> {
        self.done += 1;
        if self.done % 20_000 == 1 {
            // From almost empty to full and back: slabs fill, thin out, retire and are carved again.
            let exponent = self.rng.u32(2..=self.plan.most_live.ilog2());
            self.target =
                self.rng.usize(1 << (exponent - 1)..=1 << exponent).min(self.plan.most_live);
        }
        if self.rng.u32(0..100_000) == 0 {
            self.api.trim();
        }
        let growing = self.live.len() < self.target && self.bytes < self.plan.most_bytes;
        match self.rng.u32(0..100) {
            _ if self.live.is_empty() => self.allocate_any(),
            0..8 => self.reallocate(),
            8..10 => {
                let block = self.live[self.rng.usize(0..self.live.len())];
                // SAFETY: the block is live.
                unsafe { block.check(block.extent) }
            }
            10..70 if growing => self.allocate_any(),
            10..45 if self.bytes < self.plan.most_bytes => self.allocate_any(),
            _ => {
                let block = self.hand_out();
                self.release(block)
            }
        }
    }

    fn allocate_any(&mut self) -> Result<(), String> {
        let size = self.size();
        self.allocate(size)
    }

    /// The whole plan, and every block freed at the end.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.operations {
            self.step()?;
        }
        self.free_all()
    }

    /// Frees everything, checking it.
    pub fn free_all(&mut self) -> Result<(), String> {
        while !self.live.is_empty() {
            let block = self.hand_out();
            self.release(block)?;
        }
        Ok(())
    }
}

/// One thread, one face, one seed; the message of a failure names what repeats it.
pub fn run(api: &dyn Api, seed: u64, plan: Plan) -> Result<(), String> {
    let mut model = Model::new(api, seed, plan);
    model
        .run()
        .map_err(|why| format!("{}, seed {seed}, operation {}: {why}", api.name(), model.done))
}
