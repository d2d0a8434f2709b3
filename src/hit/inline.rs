//! The hit path of x86_64, inlined: what a constant layout folds to in its caller.
//!
//! With the class a constant, a pop is five instructions and a push five (seven where the slot's
//! offset is not at hand). A size that is not constant should not be inlined: LLVM decides by the
//! cost of the code, so the branch that is dead for small constants holds calls with many
//! arguments, which make it too dear (`benches/instructions.rs` and ARCHITECTURE.md, "Constant
//! layouts").

use super::symbols::TLS;
use super::x86_64;
use crate::config::Config;
use crate::face::{alloc_cold, alloc_large, free_large, free_sized_cold};
use crate::layout::Top;
use crate::size_class::{MEDIUM_MAX, SMALL_MAX};
use core::alloc::Layout;
use core::arch::asm;

/// Offset of a small class's top from the thread pointer.
#[inline(always)]
fn slot(class: usize) -> usize {
    let offset: usize;
    // SAFETY: loads a link-time constant. Pure, so that LLVM shares and hoists it.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + {tls}@GOTTPOFF]",
            offset = out(reg) offset,
            tls = sym TLS,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    offset.wrapping_add(class * 8)
}

/// Allocates for a layout whose size was rounded up to `size`.
///
/// # Safety
/// `config` outlives the process or this call needs it only now; `size` belongs to `layout`.
#[inline(always)]
pub(crate) unsafe fn alloc(size: usize, layout: Layout, config: *const Config) -> *mut u8 {
    if size.wrapping_sub(1) < SMALL_MAX {
        let slot = slot((size + 15) >> 4);
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
            return unsafe { alloc_cold(size, config) };
        }
        // SAFETY: one instruction takes the block off this thread's magazine.
        unsafe { asm!("sub qword ptr fs:[{slot}], 8", slot = in(reg) slot, options(nostack)) };
        return block;
    }
    if size <= MEDIUM_MAX {
        // SAFETY: the caller's contract.
        return unsafe { x86_64::alloc(size, config) };
    }
    // The weight: see the head of the file. Each call is real, and goes to the same place.
    let (bytes, align) = (layout.size(), layout.align());
    // SAFETY: the caller's contract; arguments behind the third are ignored.
    unsafe {
        if size < 1 << 20 {
            alloc_large::one(bytes, align, config, size, 1, 2, 3, 4, 5, 6, 7, 8)
        } else if size < 1 << 30 {
            alloc_large::two(bytes, align, config, size, 1, 2, 3, 4, 5, 6, 7, 8)
        } else {
            alloc_large::three(bytes, align, config, size, 1, 2, 3, 4, 5, 6, 7, 8)
        }
    }
}

/// Frees a block whose layout's size was rounded up to `size`.
///
/// # Safety
/// `block` was allocated with `layout` and is the caller's.
#[inline(always)]
pub(crate) unsafe fn free(block: *mut u8, size: usize, layout: Layout) {
    if size.wrapping_sub(1) < SMALL_MAX {
        let slot = slot((size + 15) >> 4);
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
                    // SAFETY: the caller's contract.
                    unsafe { free_sized_cold(block, size) }
                },
                options(nostack)
            );
        }
        return;
    }
    if size <= MEDIUM_MAX {
        // SAFETY: the caller's contract.
        return unsafe { x86_64::free_sized(block, size) };
    }
    let (bytes, align) = (layout.size(), layout.align());
    // SAFETY: the caller's contract; arguments behind the third are ignored.
    unsafe {
        if size < 1 << 20 {
            free_large::one(block, bytes, align, size, 1, 2, 3, 4, 5, 6, 7, 8);
        } else if size < 1 << 30 {
            free_large::two(block, bytes, align, size, 1, 2, 3, 4, 5, 6, 7, 8);
        } else {
            free_large::three(block, bytes, align, size, 1, 2, 3, 4, 5, 6, 7, 8);
        }
    }
}
