//! Programs may replace some of the C++ operators and leave the rest to the library.
//! The standard then has the rest call the replaced ones: `new[]` calls `new`, the sized, array
//! and nothrow deletes call the plain one. A library that answered them itself would free what
//! the program's own `new` made. So every such form first asks one byte whether all the base
//! operators of this process are this library's; while they are, which is nearly always, it goes
//! its own short way, else it calls the base as libstdc++ and libc++ do.
//! The byte costs two instructions on those forms and none on plain `new(size)`, `delete(ptr)`,
//! and their aligned twins, which call nobody.

use core::arch::global_asm;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU8, Ordering};

#[cfg(target_pointer_width = "64")]
macro_rules! addresses {
    ($($symbol:expr),*) => { concat!(".8byte 0" $(, ", ", $symbol)*) };
}
#[cfg(target_pointer_width = "32")]
macro_rules! addresses {
    ($($symbol:expr),*) => { concat!(".4byte 0" $(, ", ", $symbol)*) };
}
/// `size_t` in a mangled name.
#[cfg(target_pointer_width = "64")]
macro_rules! sized {
    ($before:literal, $after:literal) => {
        concat!($before, "m", $after)
    };
}
/// `size_t` in a mangled name.
#[cfg(target_pointer_width = "32")]
macro_rules! sized {
    ($before:literal, $after:literal) => {
        concat!($before, "j", $after)
    };
}

// The addresses that the dynamic linker gives the base operators in this process: this library's,
// or those of a program that replaces them. The first word is unused.
global_asm!(
    ".pushsection .data.rel.ro.bitmag_malloc_bases,\"aw\",%progbits",
    ".p2align 3",
    ".globl bitmag_malloc_bases",
    ".hidden bitmag_malloc_bases",
    ".type bitmag_malloc_bases, %object",
    "bitmag_malloc_bases:",
    addresses!(
        sized!("_Znw", ""),
        sized!("_Zna", ""),
        sized!("_Znw", "St11align_val_t"),
        sized!("_Zna", "St11align_val_t"),
        "_ZdlPv",
        "_ZdaPv",
        "_ZdlPvSt11align_val_t",
        "_ZdaPvSt11align_val_t"
    ),
    ".size bitmag_malloc_bases, . - bitmag_malloc_bases",
    ".popsection",
    // The linker defines it, if something refers to it, at the start of the image.
    ".hidden __ehdr_start",
);

/// The table above, field by field.
#[repr(C)]
pub struct Bases {
    unused: usize,
    pub new: *const c_void,
    pub new_array: *const c_void,
    pub new_aligned: *const c_void,
    pub new_array_aligned: *const c_void,
    pub delete: *const c_void,
    pub delete_array: *const c_void,
    pub delete_aligned: *const c_void,
    pub delete_array_aligned: *const c_void,
}

// SAFETY: the dynamic linker writes the table before any code of this library runs, and makes its
// page read-only after that.
unsafe impl Sync for Bases {}

unsafe extern "C" {
    #[link_name = "bitmag_malloc_bases"]
    pub safe static BASES: Bases;
    #[link_name = "__ehdr_start"]
    safe static IMAGE: ElfHeader;
}

/// Whether every base operator is this library's.
pub static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
/// They are: the forms go their own way. The only value that the entries test for.
pub const OURS: u8 = 0;
/// Nobody has looked yet.
const UNKNOWN: u8 = 1;
/// The program replaces at least one: the forms call their bases.
const REPLACED: u8 = 2;

/// Looks once, and says whether the base operators are all ours. Any number of threads may look at
/// the same time: they see the same table.
#[cold]
pub extern "C" fn all_ours() -> bool {
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        let all = [
            BASES.new,
            BASES.new_array,
            BASES.new_aligned,
            BASES.new_array_aligned,
            BASES.delete,
            BASES.delete_array,
            BASES.delete_aligned,
            BASES.delete_array_aligned,
        ];
        let image = image_range();
        let ours = all.iter().all(|base| image.contains(&base.addr()));
        STATE.store(if ours { OURS } else { REPLACED }, Ordering::Relaxed);
    }
    STATE.load(Ordering::Relaxed) == OURS
}

#[cfg(target_pointer_width = "32")]
use libc::{Elf32_Ehdr as ElfHeader, Elf32_Phdr as ProgramHeader};
#[cfg(target_pointer_width = "64")]
use libc::{Elf64_Ehdr as ElfHeader, Elf64_Phdr as ProgramHeader};

/// The addresses that this image (the shared library, or the program it was linked into) occupies.
fn image_range() -> core::ops::Range<usize> {
    let header: *const ElfHeader = &raw const IMAGE;
    // SAFETY: an ELF header lies there and names a table of `e_phnum` program headers behind it,
    // all in the first loaded segment; both are never written.
    let headers = unsafe {
        let table = header.cast::<u8>().add((*header).e_phoff as usize);
        core::slice::from_raw_parts(table.cast::<ProgramHeader>(), (*header).e_phnum as usize)
    };
    let loaded = || headers.iter().filter(|part| part.p_type == libc::PT_LOAD);
    let first = loaded().map(|part| part.p_vaddr).min().unwrap_or(0) as usize;
    let end = loaded().map(|part| part.p_vaddr + part.p_memsz).max().unwrap_or(0) as usize;
    // The header is the first byte of the first segment.
    let start = header.addr();
    start..start + (end - first)
}
