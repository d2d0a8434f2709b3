//! Thread-local storage of aarch64, reached without a call.

use super::symbols::TLS;
use crate::layout::Tls;
use core::arch::asm;

/// This thread's block.
#[inline(always)]
pub(crate) fn tls() -> *mut Tls {
    let block: *mut Tls;
    // SAFETY: tpidr_el0 is the thread pointer, and the block lies at a constant offset from it for
    // as long as the thread lives (initial-exec model).
    unsafe {
        asm!(
            "mrs {thread}, tpidr_el0",
            "adrp {block}, :gottprel:{tls}",
            "ldr {block}, [{block}, :gottprel_lo12:{tls}]",
            "add {block}, {block}, {thread}",
            thread = out(reg) _,
            block = out(reg) block,
            tls = sym TLS,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    block
}
