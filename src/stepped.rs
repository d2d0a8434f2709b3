//! The order of the steps of hits, refills and flushes, looked at after every instruction (by the processor's trap flag): a block
//! is never in two places. That is what a fork's child and a signal handler rely on.

use crate::arena::{tables, window};
use crate::hit;
use crate::layout::{GRANULE_SHIFT, KIND_RUN, MAX_DEPTH, UNIT_BYTES};
use crate::size_class::{Class, SMALL_CLASSES};
use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::hint::black_box;
use core::mem::zeroed;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The blocks that the program holds for certain: entered after the allocation, taken out before the free.
static HELD: [AtomicUsize; 128] = [const { AtomicUsize::new(0) }; 128];
/// The class that is looked at.
static CLASS: AtomicUsize = AtomicUsize::new(0);
static STEPS: AtomicUsize = AtomicUsize::new(0);
/// The first fault: what it was, and the block.
static FAULT: AtomicUsize = AtomicUsize::new(0);
static BLOCK: AtomicUsize = AtomicUsize::new(0);

const FAULTS: [&str; 5] = [
    "none",
    "in a magazine and free in a bitmap",
    "in a magazine and held by the program",
    "held by the program and free in a bitmap",
    "NULL, or no block, in a magazine",
];

fn fault(which: usize, block: usize) {
    if FAULT.load(Ordering::Relaxed) == 0 {
        BLOCK.store(block, Ordering::Relaxed);
        FAULT.store(which, Ordering::Relaxed);
    }
}

/// Whether a block's bit says free; `None` if it is no block of the class.
fn is_free(block: usize, class: Class) -> Option<bool> {
    let unit = window::unit_of(block)?;
    // SAFETY: `unit_of` gives units below the bound.
    let (record, entry) = unsafe { (tables::record(unit), tables::entry(unit)) };
    let index = if entry.kind.load(Ordering::Relaxed) == KIND_RUN {
        (block % UNIT_BYTES) >> GRANULE_SHIFT
    } else {
        block % UNIT_BYTES / class.size()
    };
    let bit = |words: &[crate::sync::AtomicU64]| {
        words[index / 64].load(Ordering::Relaxed) >> (index % 64) & 1 != 0
    };
    Some(bit(&record.local) || bit(&record.remote))
}

extern "C" fn look() {
    STEPS.fetch_add(1, Ordering::Relaxed);
    let class = Class::from_index(CLASS.load(Ordering::Relaxed));
    let tls = hit::tls();
    // SAFETY: this thread's block, with a record or the dummy record; between the bottom and the top of an open magazine there
    // are slots, which this thread alone writes.
    unsafe {
        let thread = (*tls).thread;
        let top = if class.is_medium() {
            (*thread).medium_tops[class.index() - SMALL_CLASSES]
        } else {
            (*tls).tops[class.index()]
        };
        if !hit::is_dummy(top) {
            let slots = (*thread).magazines[class.index()].slots.as_ptr();
            let mut slot = top.cast_const();
            // The bottom's slot holds NULL; how deep it is may be changing.
            while slot > slots && slot >= slots.add(MAX_DEPTH - class.max_depth()) {
                let block = slot.read() as usize;
                if block == 0 {
                    break;
                }
                match is_free(block, class) {
                    None => fault(4, block),
                    Some(true) => fault(1, block),
                    Some(false) => {}
                }
                // The slot that was published last.
                if slot == top && HELD.iter().any(|held| held.load(Ordering::Relaxed) == block) {
                    fault(2, block);
                }
                slot = slot.sub(1);
            }
        }
    }
    // One held block a step, in turn.
    let held = HELD[STEPS.load(Ordering::Relaxed) % HELD.len()].load(Ordering::Relaxed);
    if held != 0 && is_free(held, class) != Some(false) {
        fault(3, held);
    }
}

extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    look();
}

/// Runs `body` one instruction at a time.
fn step(body: impl FnOnce()) {
    // SAFETY: the flag is set and cleared on this thread, whose handler of SIGTRAP stands; the stack is used by the assembly alone.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    body();
    // SAFETY: as above.
    unsafe { asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq") };
}

static FACE: crate::Bitmag = crate::Bitmag::new();

/// Fills and empties `held` places in the order that `step_by` makes, the frees by one of the three ways into the hit path.
fn exercise(layout: Layout, held: usize, step_by: usize, way: usize) {
    for slot in &HELD[..held] {
        // SAFETY: a size that is not 0.
        slot.store(unsafe { FACE.alloc(layout) } as usize, Ordering::SeqCst);
    }
    for index in 0..held {
        let block = HELD[index * step_by % held].swap(0, Ordering::SeqCst);
        // SAFETY: held, taken out just now.
        unsafe {
            match way {
                0 => FACE.dealloc(block as *mut u8, layout),
                1 => hit::free_sized(block as *mut u8, layout.size()),
                _ => _ = hit::try_free(block as *mut u8),
            }
        };
    }
}

#[test]
fn no_block_is_in_two_places_at_any_instruction() {
    // SAFETY: a handler that stays for the test; zero is a valid sigaction.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = on_trap as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGTRAP, &raw const action, ptr::null_mut()), 0);
    }
    // Neighbours in the order of allocation, and scattered; small classes, deep and not, and a medium one.
    for size in [64, 1024, 2000] {
        let layout = Layout::from_size_align(black_box(size), 16).unwrap();
        CLASS.store(Class::of(size).unwrap().index(), Ordering::Relaxed);
        for step_by in [1, 50] {
            for way in 0..3 {
                step(|| exercise(layout, 127, step_by, way));
            }
        }
    }
    let found = FAULT.load(Ordering::Relaxed);
    std::println!("{} instructions", STEPS.load(Ordering::Relaxed));
    assert!(STEPS.load(Ordering::Relaxed) > 100_000, "the trap flag did nothing");
    assert_eq!(found, 0, "block {:#x}: {}", BLOCK.load(Ordering::Relaxed), FAULTS[found]);
}
