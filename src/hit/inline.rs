//! The hit path of x86_64, inlined: what a constant layout folds to in its caller.
//!
//! With the class a constant, a pop is five instructions and a push five (seven where the slot's
//! offset is not at hand). A size that is not constant should not be inlined: LLVM decides by the
//! cost of the code, so the branch that is dead for small constants has a weight that makes it too
//! dear (`weigh`; `benches/instructions.rs` and ARCHITECTURE.md, "Constant layouts").
//!
//! Frees are inlined in two steps: the alignment, mostly a constant that every block has, is looked at in the caller and goes no
//! further, so that frees of sizes that are not constant pass one argument less.

use super::symbols::TLS;
use super::x86_64;
use crate::config::Config;
use crate::face::{alloc_cold_at, alloc_large, free_cold_at, free_large};
use crate::layout::Top;
use crate::size_class::{MEDIUM_MAX, MIN_ALIGN, SMALL_MAX, round};
use core::alloc::Layout;
use core::arch::asm;

/// Offset from the thread pointer of the top of the small class that `size`, above 0, has.
#[inline(always)]
fn slot(size: usize) -> usize {
    x86_64::first_slot().wrapping_add(((size + 15) >> 4) * 8)
}

/// A weight of 70 in the eyes of LLVM's inliner, which counts 5 for a statement and 5 for each operand; no instruction.
#[inline(always)]
fn weigh() {
    // SAFETY: a comment.
    unsafe {
        asm!(
            "# {} {} {} {} {} {} {} {} {} {} {} {} {}",
            sym TLS, sym TLS, sym TLS, sym TLS, sym TLS, sym TLS, sym TLS,
            sym TLS, sym TLS, sym TLS, sym TLS, sym TLS, sym TLS,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// The weight of what is never to be inlined: above all that the inliner spends on a call, hot ones included (525). The use in the
/// comment counts: a function with a single caller, as `free_usual` may be, is inlined at any weight.
#[inline(always)]
fn weigh_heavily() {
    weigh();
    weigh();
    weigh();
    weigh();
    weigh();
    weigh();
    weigh();
    weigh();
    // SAFETY: a comment.
    unsafe { asm!("# {}", sym free_usual, options(nomem, nostack, preserves_flags)) };
}

/// Allocates for a layout.
///
/// # Safety
/// `config` outlives the process or this call needs it only now.
#[inline(always)]
pub(crate) unsafe fn alloc(layout: Layout, config: *const Config) -> *mut u8 {
    let size = round(layout.size(), layout.align());
    if size.wrapping_sub(1) < SMALL_MAX {
        let slot = slot(size);
        let top: Top;
        // SAFETY: reads this thread's top of a small class.
        unsafe {
            asm!(
                "mov {top}, qword ptr fs:[{slot}]",
                top = out(reg) top,
                slot = in(reg) slot,
                options(readonly, nostack, preserves_flags)
            );
        }
        // SAFETY: a top points at a slot of a magazine or of the dummy.
        let block = unsafe { top.read() };
        if block.is_null() {
            // SAFETY: the caller's contract.
            return unsafe { alloc_cold_at(slot, config) };
        }
        // SAFETY: one instruction takes the block off this thread's magazine.
        unsafe { asm!("sub qword ptr fs:[{slot}], 8", slot = in(reg) slot, options(nostack)) };
        return block;
    }
    if size <= MEDIUM_MAX {
        // SAFETY: the caller's contract.
        return unsafe { x86_64::alloc(size, config) };
    }
    weigh_heavily();
    // SAFETY: the caller's contract.
    unsafe { alloc_large(layout.size(), layout.align(), config) }
}

/// Frees a block.
///
/// # Safety
/// `block` was allocated with `layout` and is the caller's.
#[inline(always)]
pub(crate) unsafe fn free(block: *mut u8, layout: Layout) {
    // SAFETY: the caller's contract.
    unsafe {
        if layout.align() <= MIN_ALIGN {
            return free_usual(block, layout.size());
        }
        let size = round(layout.size(), layout.align());
        if size <= MEDIUM_MAX {
            return free_usual(block, size);
        }
        weigh_heavily();
        free_large(block, layout.size(), layout.align());
    }
}

/// Frees a block whose alignment follows from its size.
///
/// # Safety
/// That of `free`.
#[inline]
unsafe fn free_usual(block: *mut u8, size: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        if size.wrapping_sub(1) < SMALL_MAX {
            return free_small(block, size);
        }
        if size <= MEDIUM_MAX {
            return x86_64::free_sized(block, size);
        }
        weigh_heavily();
        free_large(block, size, 1);
    }
}

/// `free`, inlined whatever the layout: for one place of the library's own.
///
/// # Safety
/// That of `free`.
#[inline(always)]
pub(crate) unsafe fn free_here(block: *mut u8, layout: Layout) {
    let size = round(layout.size(), layout.align());
    // SAFETY: the caller's contract.
    unsafe {
        if size.wrapping_sub(1) < SMALL_MAX {
            free_small(block, size);
        } else if size <= MEDIUM_MAX {
            x86_64::free_sized(block, size);
        } else {
            free_large(block, layout.size(), layout.align());
        }
    }
}

/// Frees a small block.
///
/// # Safety
/// That of `free`; a small class serves `size`.
#[inline(always)]
unsafe fn free_small(block: *mut u8, size: usize) {
    let slot = slot(size);
    // SAFETY: the slot is written before the top, as in asm/x86_64/free_sized.s.
    unsafe {
        asm!(
            "mov {top}, qword ptr fs:[{slot}]",
            "add {top:l}, 8",
            "jb {full}",
            "mov qword ptr [{top}], {block}",
            "mov qword ptr fs:[{slot}], {top}",
            top = out(reg) _,
            slot = in(reg) slot,
            block = in(reg) block,
            full = label {
                // A call is a little shorter than all this, and inlined it would be even where LLVM thinks that the code
                // is hardly ever reached: in what cleans up after a panic, half of all places that free. With the weight
                // it is inlined everywhere else.
                weigh();
                // SAFETY: the caller's contract.
                unsafe { free_cold_at(block, slot) }
            },
            options(nostack)
        );
    }
}
