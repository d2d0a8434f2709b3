//! The operators on aarch64: entries, the loop of a failing `new`, and the frames that catch.
//! Everything that C++ code can throw through is assembly with its own unwind information, and
//! every call of a handler or of the thrower is made from here.
//! Registers: `x0` size or pointer, `x1` alignment, size or `nothrow`, `x2` what comes third;
//! `x9` to `x11`, `x16` and `x17` are free in every entry.

#![allow(
    named_asm_labels,
    reason = "the exception tables name places; a naked function is emitted once"
)]

use core::arch::naked_asm;
use core::ffi::c_void;
use core::mem::offset_of;

use super::failure;
use super::family::{self, BASES, Bases, STATE};
use super::personality::{catch_all, catches, mark};
use crate::c::release;

/// What the other files of the C face refer to, so that nobody takes them without the operators.
pub const WHOLE_FAMILY: *const () = _Znwm as *const ();

/// Throwing `new` after a miss, no alignment asked for: `new_aligned` at the alignment that every
/// block has.
#[unsafe(naked)]
unsafe extern "C" fn new_cold(size: usize) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        "mov x1, #16",
        "b {aligned}",
        ".cfi_endproc",
        aligned = sym new_aligned,
    )
}

/// The frame of both loops: the return address, and the size and alignment in `x19` and `x20`.
macro_rules! open_frame {
    () => {
        "stp x29, x30, [sp, #-32]!
         .cfi_def_cfa_offset 32
         .cfi_offset x29, -32
         .cfi_offset x30, -24
         mov x29, sp
         stp x19, x20, [sp, #16]
         .cfi_offset x19, -16
         .cfi_offset x20, -8
         mov x19, x0
         mov x20, x1"
    };
}
macro_rules! close_frame {
    () => {
        "ldp x19, x20, [sp, #16]
         ldp x29, x30, [sp], #32
         .cfi_def_cfa_offset 0
         .cfi_restore x19
         .cfi_restore x20
         .cfi_restore x29
         .cfi_restore x30"
    };
}

/// Throwing `new`: try, call the handler, try again; without a handler jump to the thrower.
///
/// ```text
/// loop { p = allocate(size, align); if p return p
///        h = new_handler(align);    if !h goto thrower();  h() }
/// ```
#[unsafe(naked)]
unsafe extern "C" fn new_aligned(size: usize, align: usize) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        open_frame!(),
        "2:",
        "mov x0, x19",
        "mov x1, x20",
        "bl {allocate}",
        "cbnz x0, 3f",
        "mov x0, x20",
        "bl {new_handler}",
        "cbz x0, 4f",
        "blr x0", // may throw
        "b 2b",
        "4:",
        "bl {thrower}",
        "mov x16, x0",
        ".cfi_remember_state",
        close_frame!(),
        "br x16", // throws, as if our caller had called it
        "3:",
        ".cfi_restore_state",
        close_frame!(),
        "ret",
        ".cfi_endproc",
        allocate = sym failure::allocate,
        new_handler = sym failure::new_handler,
        thrower = sym failure::thrower,
    )
}

/// Nothrow `new` after a miss, no alignment asked for.
#[unsafe(naked)]
unsafe extern "C" fn new_nothrow_cold(size: usize) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        "mov x1, #16",
        "b {aligned}",
        ".cfi_endproc",
        aligned = sym new_nothrow_aligned,
    )
}

/// Ends the exception in `x0`, and leaves 0 there.
macro_rules! swallow {
    () => {
        ".weak __cxa_begin_catch
         .weak __cxa_end_catch
         bl __cxa_begin_catch
         bl __cxa_end_catch
         mov x0, xzr"
    };
}

/// Nothrow `new`: as [`new_aligned`], but NULL without a handler, and NULL when the handler throws.
#[unsafe(naked)]
unsafe extern "C" fn new_nothrow_aligned(size: usize, align: usize) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        catches!("new_nothrow"),
        open_frame!(),
        "2:",
        "mov x0, x19",
        "mov x1, x20",
        "bl {allocate}",
        "cbnz x0, 3f",
        "mov x0, x20",
        "bl {new_handler}",
        "cbz x0, 3f",
        mark!("new_nothrow", "_try:"),
        "blr x0", // may throw
        mark!("new_nothrow", "_end:"),
        "b 2b",
        mark!("new_nothrow", "_pad:"),
        swallow!(),
        "3:",
        close_frame!(),
        "ret",
        ".cfi_endproc",
        catch_all!("new_nothrow"),
        allocate = sym failure::allocate,
        new_handler = sym failure::new_handler,
    )
}

/// Calls the base in `x9` with the arguments as they are; NULL when it throws.
#[unsafe(naked)]
unsafe extern "C" fn call_nothrow() {
    naked_asm!(
        ".cfi_startproc",
        catches!("call_nothrow"),
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        mark!("call_nothrow", "_try:"),
        "blr x9",
        mark!("call_nothrow", "_end:"),
        "b 2f",
        mark!("call_nothrow", "_pad:"),
        swallow!(),
        "2:",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
        catch_all!("call_nothrow"),
    )
}

/// Jumps to the base in `x9`, which takes an alignment, with that of a sized delete.
#[unsafe(naked)]
unsafe extern "C" fn without_size() {
    naked_asm!(".cfi_startproc", "mov x1, x2", "mov x16, x9", "br x16", ".cfi_endproc")
}

/// Jumps to the base in `x9` with the arguments as they are.
#[unsafe(naked)]
unsafe extern "C" fn as_it_is() {
    naked_asm!(".cfi_startproc", "mov x16, x9", "br x16", ".cfi_endproc")
}

/// An entry found [`STATE`] not to be "ours": asks, and jumps back to `x10`, the entry's own way,
/// if the base operators are all ours after all, else to `x11`. Every argument is kept, and `x9`.
#[unsafe(naked)]
unsafe extern "C" fn ask() {
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-64]!",
        ".cfi_def_cfa_offset 64",
        ".cfi_offset x29, -64",
        ".cfi_offset x30, -56",
        "mov x29, sp",
        "stp x0, x1, [sp, #16]",
        "stp x2, x9, [sp, #32]",
        "stp x10, x11, [sp, #48]",
        "bl {all_ours}",
        "tst w0, #0xff",
        "ldp x0, x1, [sp, #16]",
        "ldp x2, x9, [sp, #32]",
        "ldp x10, x11, [sp, #48]",
        "ldp x29, x30, [sp], #64",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "csel x16, x10, x11, ne",
        "br x16",
        ".cfi_endproc",
        all_ours = sym family::all_ours,
    )
}

/// An operator that calls nobody: straight to `$own`.
macro_rules! base {
    ($(#[doc = $doc:literal] $name:ident => $own:path;)*) => { $(
        #[doc = $doc]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "b {own}",
                ".cfi_endproc",
                own = sym $own,
            )
        }
    )* };
}

/// An operator that calls the operator `$base` if the program replaces any, by way of `$forward`,
/// and otherwise goes to `$own`.
macro_rules! derived {
    ($(#[doc = $doc:literal] $name:ident => $own:path, or $base:ident by $forward:path;)*) => { $(
        #[doc = $doc]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "adrp x9, {state}",
                "ldrb w9, [x9, :lo12:{state}]",
                "cbnz w9, 77f",
                "76:",
                "b {own}",
                "77:",
                "adr x10, 76b",
                "adrp x11, {forward}",
                "add x11, x11, :lo12:{forward}",
                "adrp x9, {bases}",
                "add x9, x9, :lo12:{bases}",
                "ldr x9, [x9, {base}]",
                "b {ask}",
                ".cfi_endproc",
                state = sym STATE,
                own = sym $own,
                forward = sym $forward,
                bases = sym BASES,
                base = const offset_of!(Bases, $base),
                ask = sym ask,
            )
        }
    )* };
}

base! {
    #[doc = "`operator new(size)`"]
    _Znwm => new_cold;
    #[doc = "`operator new(size, align)`"]
    _ZnwmSt11align_val_t => new_aligned;
    #[doc = "`operator delete(ptr)`"]
    _ZdlPv => release::delete;
    #[doc = "`operator delete(ptr, align)`"]
    _ZdlPvSt11align_val_t => release::delete;
}

derived! {
    #[doc = "`operator new[](size)`"]
    _Znam => new_cold, or new by as_it_is;
    #[doc = "`operator new[](size, align)`"]
    _ZnamSt11align_val_t => new_aligned, or new_aligned by as_it_is;
    #[doc = "`operator new(size, nothrow)`"]
    _ZnwmRKSt9nothrow_t => new_nothrow_cold, or new by call_nothrow;
    #[doc = "`operator new[](size, nothrow)`"]
    _ZnamRKSt9nothrow_t => new_nothrow_cold, or new_array by call_nothrow;
    #[doc = "`operator new(size, align, nothrow)`"]
    _ZnwmSt11align_val_tRKSt9nothrow_t => new_nothrow_aligned, or new_aligned by call_nothrow;
    #[doc = "`operator new[](size, align, nothrow)`"]
    _ZnamSt11align_val_tRKSt9nothrow_t => new_nothrow_aligned, or new_array_aligned by call_nothrow;
    #[doc = "`operator delete[](ptr)`"]
    _ZdaPv => release::delete, or delete by as_it_is;
    #[doc = "`operator delete(ptr, nothrow)`"]
    _ZdlPvRKSt9nothrow_t => release::delete, or delete by as_it_is;
    #[doc = "`operator delete[](ptr, nothrow)`"]
    _ZdaPvRKSt9nothrow_t => release::delete, or delete_array by as_it_is;
    #[doc = "`operator delete[](ptr, align)`"]
    _ZdaPvSt11align_val_t => release::delete, or delete_aligned by as_it_is;
    #[doc = "`operator delete(ptr, align, nothrow)`"]
    _ZdlPvSt11align_val_tRKSt9nothrow_t => release::delete, or delete_aligned by as_it_is;
    #[doc = "`operator delete[](ptr, align, nothrow)`"]
    _ZdaPvSt11align_val_tRKSt9nothrow_t => release::delete, or delete_array_aligned by as_it_is;
    #[doc = "`operator delete(ptr, size)`"]
    _ZdlPvm => release::delete_sized, or delete by as_it_is;
    #[doc = "`operator delete[](ptr, size)`"]
    _ZdaPvm => release::delete_sized, or delete_array by as_it_is;
    #[doc = "`operator delete(ptr, size, align)`"]
    _ZdlPvmSt11align_val_t => release::delete_aligned, or delete_aligned by without_size;
    #[doc = "`operator delete[](ptr, size, align)`"]
    _ZdaPvmSt11align_val_t => release::delete_aligned, or delete_array_aligned by without_size;
}
