//! The model itself under test: allocators with one planted fault each, and the fault must be found.
//! Each wraps the system's allocator and misbehaves once in a while, in the one way that its name says.
//! The system's own allocator, without a fault, must pass the same sequences.

use crate::support::api::{Api, Way};
use crate::support::block::Block;
use crate::support::c_api::CApi;
use crate::support::crowd::{self, Crowd};
use crate::support::model::{self, Plan};
use crate::support::verdict::{Verdict, seed, test};
use libtest_mimic::Trial;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    HandsOutTwice,
    Misaligned,
    UsableTooSmall,
    ReallocForgets,
    NotZeroed,
    ScribblesOnLive,
    ReturnsNull,
}

struct Planted {
    system: CApi,
    fault: Fault,
    calls: AtomicU64,
    last: Mutex<Option<(usize, usize)>>,
}

impl Planted {
    fn strikes(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) % 1000 == 999
    }
}

impl Api for Planted {
    fn name(&self) -> String {
        format!("planted {:?}", self.fault)
    }

    fn ways(&self) -> Vec<Way> {
        vec![Way::Malloc, Way::Calloc, Way::Memalign]
    }

    unsafe fn alloc(&self, way: Way, size: usize, align: usize) -> *mut u8 {
        let strikes = self.strikes();
        // SAFETY: room for the planted offset; the faults stay inside memory of the system's allocator.
        unsafe {
            let good = self.system.alloc(way, size + 64, align.max(16));
            let last = self.last.lock().unwrap().replace((good as usize, size));
            match self.fault {
                Fault::HandsOutTwice if strikes => match last {
                    Some((before, room)) if room >= size => before as *mut u8,
                    _ => good,
                },
                Fault::Misaligned if strikes && size > 0 => good.add(8 & (align - 1)),
                Fault::NotZeroed if strikes && way.zeroed() && size > 0 => {
                    *good.add(size / 2 / 4096 * 4096) = 1;
                    good
                }
                Fault::ScribblesOnLive if strikes => {
                    if let Some((before, room)) = last
                        && room > 0
                    {
                        let byte = (before as *mut u8).add(room.min(8192) / 2);
                        *byte = !*byte;
                    }
                    good
                }
                Fault::ReturnsNull if strikes => std::ptr::null_mut(),
                _ => good,
            }
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
        *self.last.lock().unwrap() = None;
        // SAFETY: the caller's promise; the fault writes into the new block.
        unsafe {
            let new = self.system.realloc(ptr, size, align, new_size + 64);
            if self.fault == Fault::ReallocForgets && new_size > 16 && size > 16 {
                *new = !*new;
            }
            new
        }
    }

    unsafe fn free(&self, _way: Way, _dice: u8, ptr: *mut u8, size: usize, align: usize) {
        *self.last.lock().unwrap() = None;
        if matches!(self.fault, Fault::HandsOutTwice | Fault::Misaligned) {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { self.system.free(Way::Malloc, 2, ptr, size, align) }
    }

    unsafe fn usable(&self, ptr: *mut u8) -> Option<usize> {
        let _ = ptr;
        (self.fault == Fault::UsableTooSmall).then_some(40)
    }

    fn realloc_keeps_alignment(&self) -> bool {
        false
    }
}

const PLAN: Plan = Plan { operations: 60_000, most_live: 4000, most_bytes: 64 << 20 };

pub fn tests() -> Vec<Trial> {
    let faults = [
        (Fault::HandsOutTwice, "overlaps"),
        (Fault::Misaligned, "not aligned"),
        (Fault::UsableTooSmall, "usable size"),
        (Fault::ReallocForgets, "pattern"),
        (Fault::NotZeroed, "not zero"),
        (Fault::ScribblesOnLive, "pattern"),
        (Fault::ReturnsNull, "NULL"),
    ];
    let mut tests: Vec<Trial> = faults
        .into_iter()
        .map(|(fault, word)| {
            test(format!("model::finds::{fault:?}"), move || {
                let (system, calls) = (CApi::of_process(), AtomicU64::new(0));
                let planted = Planted { system, fault, calls, last: Mutex::new(None) };
                match model::run(&planted, seed(), PLAN) {
                    Err(why) if why.contains(word) => Ok(Verdict::Holds),
                    Err(why) => Err(format!("found something else: {why}")),
                    Ok(()) => Err("not found".into()),
                }
            })
        })
        .collect();
    tests.push(test("model::finds::the_same_block_on_two_threads", || {
        let shared = [0u8; 4096];
        let addr = shared.as_ptr() as usize;
        let block = Block { addr, size: 64, align: 16, way: Way::Malloc, extent: 64, seed: 1 };
        let mut together = model::Intervals::default();
        together.add(&block)?;
        let inside = Block { addr: addr + 48, ..block };
        match together.add(&inside) {
            Err(_) => Ok(Verdict::Holds),
            Ok(()) => Err("not found".into()),
        }
    }));
    tests.push(test("model::accepts_the_system_allocator", || {
        let system = CApi::of_process();
        model::run(&system, seed(), PLAN)?;
        crowd::run(&system, seed(), PLAN, Crowd { threads: 3, rounds: 3 })?;
        Ok(Verdict::Holds)
    }));
    tests
}
