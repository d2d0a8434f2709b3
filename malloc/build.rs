//! Passes the link options of the shared library that Cargo has no setting for: the name that
//! programs linked against it record, that it is never unloaded (threads keep pointers into it),
//! and that an undefined symbol is an error of this link and not of every program it is loaded into.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../asm");
    for option in ["-Wl,-soname,libbitmag_malloc.so", "-Wl,-z,nodelete", "-Wl,-z,defs"] {
        println!("cargo::rustc-cdylib-link-arg={option}");
    }
    // The crate libc names the C library itself only without its feature `std`, which another member
    // of the workspace may turn on for all of them.
    println!("cargo::rustc-cdylib-link-arg=-lc");
    // 32-bit ARM's unwind tables name personality routines that only the compiler's library has.
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("arm") {
        println!("cargo::rustc-cdylib-link-arg=-lgcc_s");
    }
}
