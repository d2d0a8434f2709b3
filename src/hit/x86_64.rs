//! The hit path of x86_64: entries in assembly for the Rust face.
//!
//! The text in `asm/x86_64/` holds the instructions and their contracts; the C face includes the
//! same text in functions of its own. Each entry falls into one cold function by a tail jump.

use super::symbols::{TLS, WINDOW};
use crate::config::Config;
use crate::face::{alloc_cold, free_cold, free_full, free_sized_cold};
use crate::layout::Tls;
use core::arch::{asm, global_asm};

#[allow(improper_ctypes, reason = "the settings pass through assembly from Rust to Rust")]
unsafe extern "C" {
    #[link_name = concat!("bitmag_alloc_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"))]
    pub(crate) fn alloc(size: usize, config: *const Config) -> *mut u8;
    #[link_name = concat!("bitmag_free_sized_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"))]
    pub(crate) fn free_sized(block: *mut u8, size: usize);
    #[link_name = concat!("bitmag_free_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"))]
    pub(crate) fn free(block: *mut u8);
}

macro_rules! entry {
    ($entry:ident, $file:literal, $slow:ident, $($name:ident = $symbol:ident),*) => {
        global_asm!(
            ".pushsection .text.bitmag,\"ax\",@progbits",
            ".globl {entry}",
            ".hidden {entry}",
            ".type {entry},@function",
            ".balign 64",
            "{entry}:",
            ".cfi_startproc",
            include_str!(concat!("../../asm/x86_64/", $file)),
            ".cfi_endproc",
            ".size {entry}, . - {entry}",
            ".popsection",
            entry = sym $entry, slow = sym $slow, $($name = sym $symbol),*
        );
    };
}

entry!(alloc, "alloc.s", alloc_cold, tls = TLS);
entry!(free_sized, "free_sized.s", free_sized_cold, tls = TLS);
entry!(free, "free.s", free_cold, tls = TLS, window = WINDOW, full = free_full);

/// Frees a block of unknown size that is ours; always done, by the entry or its cold function.
///
/// # Safety
/// `block` is a block owned by the caller.
#[inline(always)]
pub(crate) unsafe fn try_free(block: *mut u8) -> bool {
    // SAFETY: the caller's contract.
    unsafe { free(block) };
    true
}

/// Offset of a small class's top, or of the dummy's of class 0, from the thread pointer.
#[inline(always)]
pub(crate) fn slot_of(class: usize) -> u32 {
    (first_slot() + 8 * class) as u32
}

/// The size of the class whose top has that offset.
#[inline(always)]
pub(crate) fn size_at(slot: usize) -> usize {
    2 * (slot - first_slot())
}

/// Offset of the top of class 0, the first of this thread's block, from the thread pointer.
#[inline(always)]
pub(super) fn first_slot() -> usize {
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
    offset
}

/// This thread's block.
#[inline(always)]
pub(crate) fn tls() -> *mut Tls {
    let block: *mut Tls;
    // SAFETY: the thread pointer's first word is the thread pointer itself (x86-64 psABI), and the
    // block lies at a constant offset from it for as long as the thread lives.
    unsafe {
        asm!(
            "mov {block}, qword ptr [rip + {tls}@GOTTPOFF]",
            "add {block}, qword ptr fs:[0]",
            block = out(reg) block,
            tls = sym TLS,
            options(pure, readonly, nostack)
        );
    }
    block
}
