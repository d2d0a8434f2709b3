//! What a library without Rust's standard library must bring itself: the panic handler and the
//! personality routine that the precompiled `core` refers to.
//! Nothing in the allocator panics on purpose; a panic here is a bug, and it ends the process
//! without allocating, formatting or unwinding.
//! The personality is hidden, so that no other Rust code in the process can ever bind to it, and
//! weak, so that a static link beside another Rust library takes that library's.

use core::arch::global_asm;
use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |place| (place.file(), place.line()));
    let mut digits = [b'0'; 10];
    let mut rest = line;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let number = digits.get(zeros..).unwrap_or(&[]);
    bitmag::c_face::write_line(&[
        b"bitmag: internal error at ",
        file.as_bytes(),
        b":",
        number,
        b"\n",
    ]);
    // SAFETY: `abort` takes no arguments and does not return.
    unsafe { libc::abort() }
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
macro_rules! trap {
    () => {
        "ud2"
    };
}
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
macro_rules! trap {
    () => {
        "udf #0"
    };
}
#[cfg(any(target_arch = "riscv64", target_arch = "riscv32"))]
macro_rules! trap {
    () => {
        "unimp"
    };
}
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "riscv32"
)))]
macro_rules! trap {
    () => {
        ".4byte 0"
    };
}

global_asm!(
    ".pushsection .text.rust_eh_personality,\"ax\",%progbits",
    ".p2align 2",
    ".weak rust_eh_personality",
    ".hidden rust_eh_personality",
    ".type rust_eh_personality, %function",
    "rust_eh_personality:",
    trap!(),
    ".size rust_eh_personality, . - rust_eh_personality",
    ".popsection",
);
