//! Every size from 0 to 70,000, the sizes around every power of two up to 4 GiB, and every alignment up to 1 GiB, on both faces.
//! Each block is filled (the largest at sampled places), checked for alignment, usable size and overlap with its neighbours in time, and grown by `realloc`.
//! Sizes and alignments are spread, not multiplied.

use crate::support::api::{Api, Way};
use crate::support::block::Block;
use crate::support::c_api::CApi;
use crate::support::child::Child;
use crate::support::model::{Intervals, MALLOC_ALIGN};
use crate::support::verdict::{Scenario, Verdict, seed, test};
use crate::{RUST, c_face, ensure};
use libtest_mimic::Trial;
use std::collections::{HashSet, VecDeque};

/// The latest blocks, checked against each other; the oldest leaves.
struct Window<'a> {
    api: &'a dyn Api,
    live: VecDeque<Block>,
    intervals: Intervals,
    most: usize,
    rng: fastrand::Rng,
    thrifty: bool,
    /// Addresses of blocks that `realloc` may have given room to grow on. They are freed without a size: a sized free would
    /// have them handed out again for less (`slack.rs`).
    roomy: HashSet<usize>,
}

impl<'a> Window<'a> {
    fn new(api: &'a dyn Api, thrifty: bool, most: usize) -> Window<'a> {
        let (live, rng) = (VecDeque::new(), fastrand::Rng::with_seed(seed()));
        let roomy = HashSet::new();
        Window { api, live, intervals: Intervals::default(), most, rng, thrifty, roomy }
    }

    fn enter(
        &mut self,
        addr: usize,
        way: Way,
        size: usize,
        align: usize,
        zeroed: bool,
    ) -> Result<(), String> {
        let mut block = Block { addr, size, align, way, extent: size, seed: self.rng.u64(..) };
        ensure!(addr != 0, "{way:?} of {size} bytes aligned {align}: NULL");
        ensure!(addr.is_multiple_of(align), "{block:x?} is not aligned");
        // SAFETY: the block is live.
        if let Some(usable) = unsafe { self.api.usable(addr as *mut u8) } {
            ensure!(usable >= size, "{block:x?} has a usable size of {usable}");
            // No block of a class wastes more than an eighth and a rounding; a span at most a unit and the alignment.
            let most = if size <= 1024 { size + 16 } else { size + size / 7 + 16 };
            let most =
                if size > 32768 || align > 16 { size + size / 7 + 65536 + align } else { most };
            let most = if self.roomy.contains(&addr) { most + size / 4 } else { most };
            ensure!(
                !self.thrifty || usable <= most,
                "{block:x?} has a usable size of {usable}, more than {most}"
            );
            block.extent = usable;
        }
        self.intervals.add(&block)?;
        // SAFETY: the block is live and ours.
        unsafe {
            if zeroed {
                block.check_zero(size)?;
            }
            block.fill();
        }
        self.live.push_back(block);
        if self.live.len() > self.most {
            self.leave()?;
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), String> {
        let block = self.live.pop_front().ok_or("nothing is live")?;
        self.intervals.remove(&block);
        // SAFETY: the block is live; it is freed with what it was asked for with.
        unsafe {
            block.check(block.extent)?;
            let dice = if self.roomy.remove(&block.addr) { 3 } else { self.rng.u8(..) };
            self.api.free(block.way, dice, block.addr as *mut u8, block.size, block.align);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        while !self.live.is_empty() {
            self.leave()?;
        }
        Ok(())
    }

    fn allocate(&mut self, way: Way, size: usize, align: usize) -> Result<(), String> {
        // SAFETY: a power of two, and 16 where the way has none.
        let addr = unsafe { self.api.alloc(way, size, align) } as usize;
        self.enter(addr, way, size, align, way.zeroed())
    }

    /// Grows the latest block to `size`.
    fn regrow(&mut self, size: usize) -> Result<(), String> {
        let old = self.live.pop_back().ok_or("nothing is live")?;
        self.intervals.remove(&old);
        self.roomy.remove(&old.addr);
        // SAFETY: the block is live, and `size` is not 0.
        let addr = unsafe {
            old.check(old.extent)?;
            let addr = self.api.realloc(old.addr as *mut u8, old.size, old.align, size) as usize;
            ensure!(addr != 0, "realloc of {old:x?} to {size}: NULL");
            Block { addr, ..old }.check(old.size.min(size))?;
            addr
        };
        let way = if self.api.realloc_keeps_alignment() { Way::Layout } else { Way::Malloc };
        if way == Way::Malloc {
            self.roomy.insert(addr);
        }
        self.enter(
            addr,
            way,
            size,
            if self.api.realloc_keeps_alignment() { old.align } else { MALLOC_ALIGN },
            false,
        )
    }
}

fn every_size(api: &dyn Api, thrifty: bool) -> Result<(), String> {
    let mut window = Window::new(api, thrifty, 48);
    let ways = api.ways();
    for size in 0..=70_000usize {
        window.allocate(ways[0], size, MALLOC_ALIGN)?;
        if size % 7 == 0 {
            window.allocate(ways[size / 7 % ways.len()], size, MALLOC_ALIGN)?;
        }
        if size % 5 == 0 && window.live.back().is_some_and(|block| block.way.can_realloc()) {
            window.regrow(size + 1 + size / 3)?;
        }
    }
    window.finish()
}

fn powers_of_two(api: &dyn Api, thrifty: bool) -> Result<(), String> {
    let mut window = Window::new(api, thrifty, 1);
    for exponent in 3..=32u32 {
        let Some(power) =
            1usize.checked_shl(exponent).filter(|power| *power < isize::MAX as usize / 2)
        else {
            break;
        };
        for distance in [
            -4097isize, -4096, -65, -33, -17, -16, -15, -9, -8, -7, -1, 0, 1, 7, 8, 9, 15, 16, 17,
            33, 4096, 65537,
        ] {
            let Some(size) = power.checked_add_signed(distance) else { continue };
            // What the machine itself refuses to map is no fault of an allocator.
            if power >= 1 << 29 && !mappable(2 * size + (64 << 20)) {
                continue;
            }
            window.allocate(api.ways()[0], size, MALLOC_ALIGN)?;
            if distance == 0 && exponent <= 28 {
                window.regrow(size * 2)?;
                window.regrow(size / 2 + 1)?;
            }
        }
        window.allocate(api.ways()[1], power.min(64 << 20) + 1, MALLOC_ALIGN)?;
    }
    window.finish()
}

fn mappable(size: usize) -> bool {
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping wherever the kernel likes, removed at once.
    unsafe {
        let address = libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0);
        address != libc::MAP_FAILED && libc::munmap(address, size) == 0
    }
}

fn every_alignment(api: &dyn Api, thrifty: bool) -> Result<(), String> {
    for way in api.ways().into_iter().filter(|way| way.aligned()) {
        let mut window = Window::new(api, thrifty, 8);
        let most = if cfg!(target_pointer_width = "64") { 30 } else { 27 };
        for exponent in 0..=most {
            let align = 1usize << exponent;
            let sizes = [
                0,
                1,
                24,
                align / 2,
                align - 1,
                align,
                align + 1,
                align + align / 2,
                100,
                1000,
                5000,
                40_000,
                70_001,
            ];
            for size in sizes {
                // Three blocks at once, so that a neighbour inside the alignment's gap would be seen.
                window.most = if align > 1 << 24 { 2 } else { 8 };
                window.allocate(way, size, align)?;
                while window.live.len() > window.most {
                    window.leave()?;
                }
            }
            if way.can_realloc() && align <= 1 << 24 {
                window.regrow(3 * align + 17)?;
                window.regrow(align / 2 + 1)?;
            }
        }
        window.finish()?;
    }
    Ok(())
}

type Body = fn(&dyn Api, bool) -> Result<(), String>;

/// In processes of their own: a magazine may hold larger blocks that another test has freed with a size.
pub const SCENARIOS: &[Scenario] = &[
    ("every_size_of_c", || every_size(&c_face()?, true)),
    ("powers_of_two_of_c", || powers_of_two(&c_face()?, true)),
    ("every_alignment_of_c", || every_alignment(&c_face()?, true)),
];

pub fn tests() -> Vec<Trial> {
    let bodies: [(&str, Body); 3] = [
        ("every_size", every_size),
        ("powers_of_two", powers_of_two),
        ("every_alignment", every_alignment),
    ];
    let mut tests = Vec::new();
    for (name, body) in bodies {
        tests.push(test(format!("sizes::rust_face::{name}"), move || {
            body(&RUST, true).map(|()| Verdict::Holds)
        }));
        tests.push(test(format!("sizes::c_face::{name}"), move || {
            Child::scenario(&format!("{name}_of_c")).succeed()?;
            Ok(Verdict::Holds)
        }));
    }
    // The system's allocator is no subject of ours: it shows that the test asks nothing impossible.
    tests.push(test("sizes::system::every_size", || {
        every_size(&CApi::of_process(), false).map(|()| Verdict::Holds)
    }));
    tests.push(test("sizes::system::every_alignment", || {
        every_alignment(&CApi::of_process(), false).map(|()| Verdict::Holds)
    }));
    tests
}
