//! The operators on x86_64: entries, the loop of a failing `new`, and the frames that catch.
//! Everything that C++ code can throw through is assembly with its own unwind information, and
//! every call of a handler or of the thrower is made from here.
//! Registers: `rdi` size or pointer, `rsi` alignment, size or `nothrow`, `rdx` what comes third;
//! `r10`, `r11` and `rax` are free in every entry.

#![allow(
    named_asm_labels,
    reason = "the exception tables name places; a naked function is emitted once"
)]

use core::arch::{global_asm, naked_asm};
use core::ffi::c_void;
use core::mem::offset_of;

use bitmag::symbols::{TLS, WINDOW};

use super::failure;
use super::family::{self, BASES, Bases, STATE};
use super::personality::{catch_all, catches, mark};
use crate::c::{cold, release};

/// What the other files of the C face refer to, so that nobody takes them without the operators.
pub const WHOLE_FAMILY: *const () = _Znwm as *const ();

/// Throwing `new` after a miss, no alignment asked for: `new_aligned` at the alignment that every
/// block has.
#[unsafe(naked)]
unsafe extern "C" fn new_cold(size: usize) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        "mov esi, 16",
        "jmp {aligned}",
        ".cfi_endproc",
        aligned = sym new_aligned,
    )
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
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r12, 0",
        "push rax", // aligns the stack
        ".cfi_adjust_cfa_offset 8",
        "mov rbx, rdi",
        "mov r12, rsi",
        "2:",
        "mov rdi, rbx",
        "mov rsi, r12",
        "call {allocate}",
        "test rax, rax",
        "jne 3f",
        "mov rdi, r12",
        "call {new_handler}",
        "test rax, rax",
        "je 4f",
        "call rax", // may throw
        "jmp 2b",
        "4:",
        "call {thrower}",
        "mov r11, rax",
        ".cfi_remember_state",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r12",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "jmp r11", // throws, as if our caller had called it
        "3:",
        ".cfi_restore_state",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r12",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
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
        "mov esi, 16",
        "jmp {aligned}",
        ".cfi_endproc",
        aligned = sym new_nothrow_aligned,
    )
}

/// Nothrow `new`: as [`new_aligned`], but NULL without a handler, and NULL when the handler throws.
#[unsafe(naked)]
unsafe extern "C" fn new_nothrow_aligned(size: usize, align: usize) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        catches!("new_nothrow"),
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbx, 0",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset r12, 0",
        "push rax", // aligns the stack
        ".cfi_adjust_cfa_offset 8",
        "mov rbx, rdi",
        "mov r12, rsi",
        "2:",
        "mov rdi, rbx",
        "mov rsi, r12",
        "call {allocate}",
        "test rax, rax",
        "jne 3f",
        "mov rdi, r12",
        "call {new_handler}",
        "test rax, rax",
        "je 3f",
        mark!("new_nothrow", "_try:"),
        "call rax", // may throw
        mark!("new_nothrow", "_end:"),
        "jmp 2b",
        mark!("new_nothrow", "_pad:"),
        ".weak __cxa_begin_catch",
        ".weak __cxa_end_catch",
        "mov rdi, rax",
        "call [rip + __cxa_begin_catch@GOTPCREL]",
        "call [rip + __cxa_end_catch@GOTPCREL]",
        "xor eax, eax",
        "3:",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "pop r12",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore r12",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
        catch_all!("new_nothrow"),
        allocate = sym failure::allocate,
        new_handler = sym failure::new_handler,
    )
}

/// Calls the base in `rax` with the arguments as they are; NULL when it throws.
#[unsafe(naked)]
unsafe extern "C" fn call_nothrow() {
    naked_asm!(
        ".cfi_startproc",
        catches!("call_nothrow"),
        "push rdx", // aligns the stack
        ".cfi_adjust_cfa_offset 8",
        mark!("call_nothrow", "_try:"),
        "call rax",
        mark!("call_nothrow", "_end:"),
        "jmp 2f",
        mark!("call_nothrow", "_pad:"),
        "mov rdi, rax",
        "call [rip + __cxa_begin_catch@GOTPCREL]",
        "call [rip + __cxa_end_catch@GOTPCREL]",
        "xor eax, eax",
        "2:",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_endproc",
        catch_all!("call_nothrow"),
    )
}

/// Jumps to the base in `rax`, which takes an alignment, with that of a sized delete.
#[unsafe(naked)]
unsafe extern "C" fn without_size() {
    naked_asm!(".cfi_startproc", "mov rsi, rdx", "jmp rax", ".cfi_endproc")
}

/// Jumps to the base in `rax` with the arguments as they are.
#[unsafe(naked)]
unsafe extern "C" fn as_it_is() {
    naked_asm!(".cfi_startproc", "jmp rax", ".cfi_endproc")
}

/// An entry found [`STATE`] not to be "ours": asks, and jumps back to `r10`, the entry's own way,
/// if the base operators are all ours after all, else to `r11`. Every argument is kept, and `rax`.
#[unsafe(naked)]
unsafe extern "C" fn ask() {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, 56",
        ".cfi_adjust_cfa_offset 56",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rax",
        "mov [rsp + 32], r10",
        "mov [rsp + 40], r11",
        "call {all_ours}",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov r10, [rsp + 32]",
        "mov r11, [rsp + 40]",
        "test al, al",
        "mov rax, [rsp + 24]",
        "cmovne r11, r10",
        "lea rsp, [rsp + 56]",
        ".cfi_adjust_cfa_offset -56",
        "jmp r11",
        ".cfi_endproc",
        all_ours = sym family::all_ours,
    )
}

/// The body of an entry: `$before`, the text of `asm/x86_64` that serves a hit and ends in a jump
/// to `$slow` (`free`'s also in one to `free_full`; `jump` is the jump to `$slow` alone), `$after`.
macro_rules! body {
    (alloc, $slow:path, [$($before:literal),*], [$($after:literal),*], $($operands:tt)*) => {
        naked_asm!(
            ".cfi_startproc",
            $($before,)*
            include_str!("../../../../asm/x86_64/alloc.s"),
            $($after,)*
            ".cfi_endproc",
            tls = sym TLS,
            slow = sym $slow,
            $($operands)*
        )
    };
    (free, $slow:path, [$($before:literal),*], [$($after:literal),*], $($operands:tt)*) => {
        naked_asm!(
            ".cfi_startproc",
            $($before,)*
            include_str!("../../../../asm/x86_64/free.s"),
            $($after,)*
            ".cfi_endproc",
            tls = sym TLS,
            window = sym WINDOW,
            slow = sym $slow,
            full = sym cold::free_full,
            $($operands)*
        )
    };
    (free_sized, $slow:path, [$($before:literal),*], [$($after:literal),*], $($operands:tt)*) => {
        naked_asm!(
            ".cfi_startproc",
            $($before,)*
            include_str!("../../../../asm/x86_64/free_sized.s"),
            $($after,)*
            ".cfi_endproc",
            tls = sym TLS,
            slow = sym $slow,
            $($operands)*
        )
    };
    (jump, $slow:path, [$($before:literal),*], [$($after:literal),*], $($operands:tt)*) => {
        naked_asm!(
            ".cfi_startproc",
            $($before,)*
            "jmp {slow}",
            $($after,)*
            ".cfi_endproc",
            slow = sym $slow,
            $($operands)*
        )
    };
}

/// Operators that call nobody.
macro_rules! base {
    ($(#[doc = $doc:literal] $name:ident => $text:ident $slow:path;)*) => { $(
        #[doc = $doc]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() {
            body!($text, $slow, [], [],)
        }
    )* };
}

/// Operators that call the operator `$base` if the program replaces any, by way of `$forward`.
/// The texts use the labels 2 to 4.
macro_rules! derived {
    ($(#[doc = $doc:literal] $name:ident => $text:ident $slow:path, or $base:ident by $forward:path;)*) => { $(
        #[doc = $doc]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() {
            body!(
                $text,
                $slow,
                ["cmp byte ptr [rip + {state}], 0", "jne 77f", "76:"],
                [
                    "77:",
                    "lea r10, [rip + 76b]",
                    "lea r11, [rip + {forward}]",
                    "mov rax, [rip + {bases} + {base}]",
                    "jmp {ask}"
                ],
                state = sym STATE,
                forward = sym $forward,
                bases = sym BASES,
                base = const offset_of!(Bases, $base),
                ask = sym ask,
            )
        }
    )* };
}

// The hot entries begin at a cache line's start.
global_asm!(
    ".irp name, _Znwm, _Znam, _ZdlPv, _ZdaPv, _ZdlPvm, _ZdaPvm",
    ".pushsection .text.\\name,\"ax\",@progbits",
    ".balign 64",
    ".popsection",
    ".endr",
);

base! {
    #[doc = "`operator new(size)`"]
    _Znwm => alloc new_cold;
    #[doc = "`operator new(size, align)`"]
    _ZnwmSt11align_val_t => jump new_aligned;
    #[doc = "`operator delete(ptr)`"]
    _ZdlPv => free cold::free_cold;
    #[doc = "`operator delete(ptr, align)`"]
    _ZdlPvSt11align_val_t => free cold::free_cold;
}

derived! {
    #[doc = "`operator new[](size)`"]
    _Znam => alloc new_cold, or new by as_it_is;
    #[doc = "`operator new[](size, align)`"]
    _ZnamSt11align_val_t => jump new_aligned, or new_aligned by as_it_is;
    #[doc = "`operator new(size, nothrow)`"]
    _ZnwmRKSt9nothrow_t => alloc new_nothrow_cold, or new by call_nothrow;
    #[doc = "`operator new[](size, nothrow)`"]
    _ZnamRKSt9nothrow_t => alloc new_nothrow_cold, or new_array by call_nothrow;
    #[doc = "`operator new(size, align, nothrow)`"]
    _ZnwmSt11align_val_tRKSt9nothrow_t => jump new_nothrow_aligned, or new_aligned by call_nothrow;
    #[doc = "`operator new[](size, align, nothrow)`"]
    _ZnamSt11align_val_tRKSt9nothrow_t => jump new_nothrow_aligned, or new_array_aligned by call_nothrow;
    #[doc = "`operator delete[](ptr)`"]
    _ZdaPv => free cold::free_cold, or delete by as_it_is;
    #[doc = "`operator delete(ptr, nothrow)`"]
    _ZdlPvRKSt9nothrow_t => free cold::free_cold, or delete by as_it_is;
    #[doc = "`operator delete[](ptr, nothrow)`"]
    _ZdaPvRKSt9nothrow_t => free cold::free_cold, or delete_array by as_it_is;
    #[doc = "`operator delete[](ptr, align)`"]
    _ZdaPvSt11align_val_t => free cold::free_cold, or delete_aligned by as_it_is;
    #[doc = "`operator delete(ptr, align, nothrow)`"]
    _ZdlPvSt11align_val_tRKSt9nothrow_t => free cold::free_cold, or delete_aligned by as_it_is;
    #[doc = "`operator delete[](ptr, align, nothrow)`"]
    _ZdaPvSt11align_val_tRKSt9nothrow_t => free cold::free_cold, or delete_array_aligned by as_it_is;
    #[doc = "`operator delete(ptr, size)`"]
    _ZdlPvm => free_sized cold::free_sized_cold, or delete by as_it_is;
    #[doc = "`operator delete[](ptr, size)`"]
    _ZdaPvm => free_sized cold::free_sized_cold, or delete_array by as_it_is;
    #[doc = "`operator delete(ptr, size, align)`"]
    _ZdlPvmSt11align_val_t => jump release::delete_aligned, or delete_aligned by without_size;
    #[doc = "`operator delete[](ptr, size, align)`"]
    _ZdaPvmSt11align_val_t => jump release::delete_aligned, or delete_array_aligned by without_size;
}
