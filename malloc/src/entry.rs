//! The hot entries of the C face: `malloc`, `free`, `free_sized`, `calloc`, `realloc`, `aligned_alloc`.
//! On x86_64 each is a text of `asm/x86_64`; the first three are those of the Rust face, so that a hit
//! costs the same in both. A miss is a tail jump into `c::cold`, which knows errno.
//! Elsewhere they are plain functions over the same hit path written in Rust.

use core::ffi::c_void;

cfg_if::cfg_if! {
    if #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))] {
        use core::arch::{global_asm, naked_asm};

        use bitmag::symbols::{TLS, WINDOW};

        use crate::c::cold;

        // Each begins at a cache line's start.
        global_asm!(
            ".irp name, malloc, free, free_sized, calloc, realloc, aligned_alloc",
            ".pushsection .text.\\name,\"ax\",@progbits",
            ".balign 64",
            ".popsection",
            ".endr",
        );

        /// `malloc`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                include_str!("../../asm/x86_64/alloc.s"),
                ".cfi_endproc",
                tls = sym TLS,
                slow = sym cold::malloc_cold,
            )
        }

        /// `free`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn free(ptr: *mut c_void) {
            naked_asm!(
                ".cfi_startproc",
                include_str!("../../asm/x86_64/free.s"),
                ".cfi_endproc",
                tls = sym TLS,
                window = sym WINDOW,
                slow = sym cold::free_cold,
                full = sym cold::free_full,
            )
        }

        /// `free_sized` (C23).
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn free_sized(ptr: *mut c_void, size: usize) {
            naked_asm!(
                ".cfi_startproc",
                include_str!("../../asm/x86_64/free_sized.s"),
                ".cfi_endproc",
                tls = sym TLS,
                slow = sym cold::free_sized_cold,
            )
        }

        /// `calloc`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                include_str!("../../asm/x86_64/calloc.s"),
                ".cfi_endproc",
                tls = sym TLS,
                slow = sym cold::calloc_cold,
            )
        }

        /// `realloc`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn realloc(ptr: *mut c_void, size: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                include_str!("../../asm/x86_64/realloc.s"),
                ".cfi_endproc",
                tls = sym TLS,
                window = sym WINDOW,
                slow = sym cold::realloc_cold,
            )
        }

        /// `aligned_alloc`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                include_str!("../../asm/x86_64/aligned_alloc.s"),
                ".cfi_endproc",
                tls = sym TLS,
                slow = sym cold::aligned_alloc_cold,
            )
        }
    } else {
        use crate::c::{allocate, release};

        /// `malloc`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
            allocate::plain(size)
        }

        /// `free`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn free(ptr: *mut c_void) {
            // SAFETY: the caller's promise is that of `free`.
            unsafe { release::delete(ptr) }
        }

        /// `free_sized` (C23).
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn free_sized(ptr: *mut c_void, size: usize) {
            // SAFETY: the caller's promise is that of `free_sized`.
            unsafe { release::delete_sized(ptr, size) }
        }

        /// `calloc`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
            allocate::zeroed(count, size)
        }

        /// `realloc`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn realloc(ptr: *mut c_void, size: usize) -> *mut c_void {
            // SAFETY: the caller's promise is that of `realloc`.
            unsafe { allocate::resize(ptr, size) }
        }

        /// `aligned_alloc`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
            allocate::at_multiple(align, size)
        }
    }
}
