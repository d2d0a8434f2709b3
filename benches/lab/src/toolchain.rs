//! What the programs are built with, and what they run on: compilers and flags, the same for every peer, and the facts about the machine
//! that belong to a figure.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// No instruction beyond the target's baseline, for Rust; the profile is `lab` of the workspace.
pub const RUST_FLAGS: &str = "-C target-cpu=x86-64";

/// The same for C and C++. -O3 and NDEBUG, since not every crate's build script asks for them; -fPIE, since these libraries end up in a
/// program: it lets calls inside the library be inlined, and makes thread-local storage local-exec.
pub const C_FLAGS: &str = "-O3 -DNDEBUG -march=x86-64 -fPIE";

/// Which C compiler.
#[derive(Clone, Copy, PartialEq)]
pub enum Compiler {
    Gcc,
    Clang,
}

/// The programs of a compiler, C and C++: clang under any of the names that distributions give it, else the system's.
pub fn programs(compiler: Compiler) -> (PathBuf, PathBuf) {
    let versions = (14..=30).rev().map(|version| format!("-{version}"));
    let clang = std::iter::once(String::new())
        .chain(versions)
        .map(|suffix| [format!("clang{suffix}"), format!("clang++{suffix}")].map(PathBuf::from))
        .find(|both| both.iter().all(|program| runs(program)));
    match (compiler, clang) {
        (Compiler::Clang, Some([c, cpp])) => (c, cpp),
        _ => ("cc".into(), "c++".into()),
    }
}

fn runs(program: &Path) -> bool {
    !first_line(program, "--version").is_empty()
}

/// The first line that a program says; nothing if there is no such program.
pub fn first_line(program: &Path, argument: &str) -> String {
    first_line_of(Command::new(program).arg(argument))
}

/// The same of a program with its arguments.
pub fn first_line_of(command: &mut Command) -> String {
    let output = command.output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_string()
}

/// The version of the C library.
pub fn glibc() -> String {
    // SAFETY: a static string of the C library.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    version.to_string_lossy().into_owned()
}

/// What stands behind the colon of the first line that begins so.
pub fn line_of(file: &str, key: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.rsplit(':').next().unwrap_or_default().trim().to_string()
}

/// Machine, kernel, tools and flags.
pub fn facts() -> Value {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    json!({
        "cpu": line_of("/proc/cpuinfo", "model name"),
        "processors": std::thread::available_parallelism().map_or(0, |count| count.get()),
        "kernel": line_of("/proc/sys/kernel/osrelease", ""),
        "glibc": glibc(),
        "rustc": first_line(Path::new(&rustc), "--version"),
        "valgrind": first_line(Path::new("valgrind"), "--version"),
        "gcc": first_line(&programs(Compiler::Gcc).0, "--version"),
        "clang": first_line(&programs(Compiler::Clang).0, "--version"),
        "rust_flags": RUST_FLAGS,
        "rust_profile": "lab (release without debug information)",
        "c_flags": C_FLAGS,
        "avx": "BITMAG_BACKEND=avx2: valgrind has no AVX-512",
    })
}
