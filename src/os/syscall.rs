//! The system call instruction.
//!
//! x86_64 and aarch64 make the call themselves; other architectures go through `libc::syscall` and
//! put `errno` back. A result within 4,095 of the top of the address space is a negated error.

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        /// Makes system call `number`.
        #[inline]
        pub(super) fn call(number: usize, arguments: [usize; 6]) -> usize {
            let [a, b, c, d, e, f] = arguments;
            let result;
            // SAFETY: the kernel's convention: rcx and r11 are lost, memory named by the arguments
            // may change. The callers in `os` pass ranges that they own.
            unsafe {
                core::arch::asm!(
                    "syscall",
                    inlateout("rax") number => result,
                    in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
                    lateout("rcx") _, lateout("r11") _,
                    options(nostack)
                );
            }
            result
        }
    } else if #[cfg(target_arch = "aarch64")] {
        /// Makes system call `number`.
        #[inline]
        pub(super) fn call(number: usize, arguments: [usize; 6]) -> usize {
            let [a, b, c, d, e, f] = arguments;
            let result;
            // SAFETY: the kernel's convention: only x0 changes, memory named by the arguments may
            // change. The callers in `os` pass ranges that they own.
            unsafe {
                core::arch::asm!(
                    "svc #0",
                    in("x8") number,
                    inlateout("x0") a => result,
                    in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
                    options(nostack)
                );
            }
            result
        }
    } else {
        /// Makes system call `number`, by way of libc.
        pub(super) fn call(number: usize, arguments: [usize; 6]) -> usize {
            let [a, b, c, d, e, f] = arguments;
            // SAFETY: `__errno_location` is this thread's errno; `syscall` takes as many arguments
            // as the call needs. The callers in `os` pass ranges that they own.
            unsafe {
                let errno = libc::__errno_location();
                let before = *errno;
                let mut result = libc::syscall(number as libc::c_long, a, b, c, d, e, f) as usize;
                if result == usize::MAX {
                    result = (*errno as usize).wrapping_neg();
                }
                *errno = before;
                result
            }
        }
    }
}

cfg_if::cfg_if! {
    if #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] {
        /// Maps anonymous memory.
        pub(super) fn map_call(address: usize, len: usize, access: usize, flags: usize) -> usize {
            call(libc::SYS_mmap as usize, [address, len, access, flags, usize::MAX, 0])
        }
    } else {
        /// Maps anonymous memory, by way of libc: the call's shape differs between architectures.
        pub(super) fn map_call(address: usize, len: usize, access: usize, flags: usize) -> usize {
            // SAFETY: as in `call`; an anonymous mapping touches nothing that exists, because no
            // caller passes MAP_FIXED.
            unsafe {
                let errno = libc::__errno_location();
                let before = *errno;
                let mut result = libc::mmap(
                    address as *mut libc::c_void,
                    len,
                    access as i32,
                    flags as i32,
                    -1,
                    0,
                ) as usize;
                if result == usize::MAX {
                    result = (*errno as usize).wrapping_neg();
                }
                *errno = before;
                result
            }
        }
    }
}
