//! How programs take the C face: preloaded, linked with the shared library, linked with the static one.
//! What the shared library needs from outside, that the static one comes whole or not at all, the header, and C++ in every form.
//! The programs are `programs/*.c` and `*.cpp`, which check themselves; the counters say that it was this library that served them.

#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;

use libtest_mimic::Trial;
#[cfg(target_pointer_width = "32")]
use object::read::elf::ElfFile32 as ElfFile;
#[cfg(target_pointer_width = "64")]
use object::read::elf::ElfFile64 as ElfFile;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol, elf};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use support::child::{Child, Ended};
use support::verdict::{self, Tested, Verdict, test};
use support::{library, places};

/// What the library uses if the process has it.
const WEAK: &str = "_ITM_deregisterTMCloneTable _ITM_registerTMCloneTable __gmon_start__ __cxa_finalize dlsym \
    _ZSt15get_new_handlerv _ZSt17__throw_bad_allocv __cxa_begin_catch __cxa_end_catch __gxx_personality_v0";

/// Functions of libc that an allocator must not call, because they allocate, or need what it defines itself.
const FORBIDDEN: &str =
    "malloc calloc realloc free __tls_get_addr printf fprintf pthread_getattr_np";

/// The C functions that must come from one library or none.
const FAMILY: &str = "malloc free calloc realloc reallocarray aligned_alloc posix_memalign memalign valloc pvalloc \
    malloc_usable_size malloc_trim mallinfo mallinfo2 mallopt malloc_stats malloc_info free_sized free_aligned_sized cfree";

fn main() -> ExitCode {
    verdict::main(&[], || {
        let mut tests = vec![
            test("linking::imports_are_libc_s_or_weak", imports),
            test("linking::segments_are_safe", segments),
            test("linking::static_library_comes_whole", static_library),
            test("linking::header_in_c", || header("-xc", &["-std=c99", "-std=c11", "-std=c2x"])),
            test("linking::header_in_cpp", || {
                header("-xc++", &["-std=c++98", "-std=c++11", "-std=c++20"])
            }),
            test("linking::failing_new_without_a_cpp_runtime", without_runtime),
            test("linking::failing_new_with_a_late_cpp_runtime", late_runtime),
        ];
        tests.extend(cpp_programs());
        tests
    })
}

/// Runs `check` on the shared library's file.
fn with_library<T>(
    check: impl FnOnce(&ElfFile<Endianness>, &[u8]) -> Result<T, String>,
) -> Result<T, String> {
    let bytes = std::fs::read(library::path()?).map_err(|e| e.to_string())?;
    let file = ElfFile::<Endianness>::parse(&*bytes).map_err(|e| e.to_string())?;
    check(&file, &bytes)
}

fn imports() -> Tested {
    // SAFETY: libc is loaded already; the handle is only asked for names.
    let libc_itself = unsafe { libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_LAZY) };
    ensure!(!libc_itself.is_null(), "this process has no libc.so.6");
    with_library(|file, _| {
        let weak: BTreeSet<&str> = WEAK.split_whitespace().collect();
        let forbidden: BTreeSet<&str> = FORBIDDEN.split_whitespace().collect();
        let mut wrong = Vec::new();
        for symbol in file.dynamic_symbols().filter(|symbol| symbol.is_undefined()) {
            let name = symbol.name().map_err(|e| e.to_string())?;
            let c_name = CString::new(name).map_err(|e| e.to_string())?;
            // SAFETY: the handle is open and the name a C string.
            let in_libc = unsafe { !libc::dlsym(libc_itself, c_name.as_ptr()).is_null() };
            let fine = if symbol.is_weak() {
                weak.contains(name)
            } else {
                in_libc && !forbidden.contains(name)
            };
            if !fine {
                wrong.push(name.to_string());
            }
        }
        ensure!(wrong.is_empty(), "the library needs {wrong:?}");
        Ok(Verdict::Holds)
    })
}

fn segments() -> Tested {
    with_library(|file, bytes| {
        let endian = file.endian();
        let header = file.elf_header();
        for segment in header.program_headers(endian, bytes).map_err(|e| e.to_string())? {
            let (kind, flags) = (segment.p_type(endian), segment.p_flags(endian));
            let writable_code = elf::PF_W | elf::PF_X;
            ensure!(
                kind != elf::PT_LOAD || flags & writable_code != writable_code,
                "a segment is code and writable"
            );
            ensure!(
                kind != elf::PT_GNU_STACK || flags & elf::PF_X == 0,
                "it asks for an executable stack"
            );
        }
        let sections = header.sections(endian, bytes).map_err(|e| e.to_string())?;
        let (entries, _) = sections
            .dynamic(endian, bytes)
            .map_err(|e| e.to_string())?
            .ok_or("no dynamic section")?;
        let relocated =
            entries.iter().any(|entry| u32::try_from(entry.d_tag(endian)) == Ok(elf::DT_TEXTREL));
        ensure!(!relocated, "code would be relocated at load time");
        Ok(Verdict::Holds)
    })
}

/// The static library, beside the shared one.
fn archive() -> Result<PathBuf, String> {
    let path = library::path()?.with_extension("a");
    if path.exists() { Ok(path) } else { Err(format!("there is no {}", path.display())) }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("cargo's folders have printable names")
}

/// The compilers found here make programs for this machine, not for one that is emulated.
fn emulated() -> bool {
    let arch = std::env::consts::ARCH.to_uppercase();
    std::env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with(&format!("CARGO_TARGET_{arch}")) && name.ends_with("_RUNNER")
    })
}

/// Why a test that compiles something did not run.
fn not_compiled() -> Verdict {
    if emulated() {
        return Verdict::NotHere("the compilers here make programs for another machine".into());
    }
    Verdict::Missing("gcc and g++ (Debian: apt-get install g++)".into())
}

/// Compiles a program under `programs`; `None` where that cannot be.
fn compile(name: &str, flags: &[&str]) -> Result<Option<PathBuf>, String> {
    if emulated() { Ok(None) } else { places::compile(name, flags) }
}

fn static_library() -> Tested {
    let archive = archive()?;
    let Some(program) = compile("only_malloc.c", &[text(&archive)])? else {
        return Ok(not_compiled());
    };
    let bytes = std::fs::read(&program).map_err(|e| e.to_string())?;
    let file = ElfFile::<Endianness>::parse(&*bytes).map_err(|e| e.to_string())?;
    let defined: BTreeSet<&str> = file
        .symbols()
        .filter(|symbol| symbol.is_definition())
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    let missing: Vec<&str> =
        FAMILY.split_whitespace().filter(|name| !defined.contains(name)).collect();
    ensure!(
        missing.is_empty(),
        "the program took malloc from the archive and left {missing:?} to libc"
    );
    served(linked(&program).succeed()?, 1)
}

fn header(language: &str, standards: &[&str]) -> Tested {
    let folder = library::path()?.parent().ok_or("a library lies in a folder")?;
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("malloc");
    let rpath = format!("-Wl,-rpath,{}", folder.display());
    for standard in standards {
        let flags = [
            language,
            standard,
            "-D_DEFAULT_SOURCE",
            "-D_ISOC11_SOURCE",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-I",
            text(&include),
            "-L",
            text(folder),
            "-lbitmag_malloc",
            &rpath,
        ];
        // The language must stand before the source's name.
        let found = places::tool(if language == "-xc" { "gcc" } else { "g++" });
        let Some(compiler) = found.filter(|_| !emulated()) else {
            return Ok(not_compiled());
        };
        let program = places::fresh_folder("header").join("header");
        let output = Command::new(compiler)
            .args(&flags[..2])
            .arg(places::source("header.c"))
            .args(&flags[2..])
            .arg("-o")
            .arg(&program)
            .output()
            .map_err(|e| e.to_string())?;
        ensure!(output.status.success(), "{standard}: {}", String::from_utf8_lossy(&output.stderr));
        served(linked(&program).succeed()?, 3)?;
    }
    Ok(Verdict::Holds)
}

/// A program linked with the library. Cargo's own search path would find other builds of it first.
fn linked(program: &Path) -> Child {
    Child::program(program).env_remove("LD_LIBRARY_PATH").counted()
}

/// The program said "OK", and at least this many blocks came from us.
fn served(ended: Ended, blocks: u64) -> Tested {
    ensure!(ended.stdout.trim_end() == "OK", "{}", ended.describe());
    let counted = ended.refilled_blocks();
    ensure!(
        counted >= blocks,
        "{counted} blocks came from this library, at least {blocks} were asked for"
    );
    Ok(Verdict::Holds)
}

fn without_runtime() -> Tested {
    let Some(program) = compile("late_runtime.c", &[])? else { return Ok(not_compiled()) };
    let ended = Child::program(&program).args(["none"]).preload()?.run()?;
    ensure!(ended.signal() == Some(libc::SIGABRT), "{}", ended.describe());
    ensure!(ended.stdout == "nothrow is NULL\n", "{}", ended.describe());
    let line =
        "bitmag: out of memory in operator new, and no C++ runtime to throw std::bad_alloc\n";
    ensure!(ended.stderr == line, "{}", ended.describe());
    Ok(Verdict::Holds)
}

fn late_runtime() -> Tested {
    let Some(program) = compile("late_runtime.c", &[])? else { return Ok(not_compiled()) };
    let Some(plugin) = compile("throwing_plugin.cpp", &["-shared", "-fPIC"])? else {
        return Ok(not_compiled());
    };
    served(Child::program(&program).args([&plugin]).preload()?.succeed()?, 1000)
}

/// How a program takes the library.
#[derive(Clone, Copy)]
enum Way {
    Preloaded,
    Shared,
    Static,
    /// A static executable: no dynamic linker in it.
    Alone,
}

fn cpp_programs() -> Vec<Trial> {
    let mut tests = Vec::new();
    let ways = [
        (Way::Preloaded, "preloaded"),
        (Way::Shared, "shared"),
        (Way::Static, "static"),
        (Way::Alone, "alone"),
    ];
    for (way, name) in ways {
        for check in [false, true] {
            let mode = if check { "_checked" } else { "" };
            tests.push(test(format!("linking::all_new_delete_{name}{mode}"), move || {
                cpp_program("all_new_delete.cpp", &["-std=c++17"], way, check)
            }));
            tests.push(test(
                format!("linking::all_new_delete_{name}{mode}_unoptimised"),
                move || cpp_program("all_new_delete.cpp", &["-std=c++17", "-O0"], way, check),
            ));
            // The linker does not allow replacements beside the static library.
            if matches!(way, Way::Preloaded | Way::Shared) {
                tests.push(test(format!("linking::replaced_new_delete_{name}{mode}"), move || {
                    cpp_program("replaced_new_delete.cpp", &["-std=c++17"], way, check)
                }));
            }
        }
    }
    tests
}

fn cpp_program(source: &str, flags: &[&str], way: Way, check: bool) -> Tested {
    if cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Ok(Verdict::NotHere("exceptions pass on x86_64 and aarch64 only".into()));
    }
    let path = library::path()?;
    let folder = path.parent().ok_or("a library lies in a folder")?;
    let archive = archive()?;
    let rpath = format!("-Wl,-rpath,{}", folder.display());
    let mut flags = flags.to_vec();
    match way {
        Way::Preloaded => {}
        Way::Shared => flags.extend(["-L", text(folder), "-lbitmag_malloc", &rpath]),
        Way::Static => flags.push(text(&archive)),
        Way::Alone => flags.extend(["-static", text(&archive)]),
    }
    let Some(program) = compile(source, &flags)? else { return Ok(not_compiled()) };
    let mut child = match way {
        Way::Preloaded => Child::program(&program).preload()?,
        Way::Shared | Way::Static | Way::Alone => linked(&program),
    };
    child = child.args(["overflow"]);
    if check {
        child = child.env("BITMAG_CHECK", "1");
    }
    // What the programs hold at one time comes from refills; what they free and ask for again need not.
    served(child.succeed()?, 100)
}
