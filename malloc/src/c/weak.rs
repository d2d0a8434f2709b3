//! Functions that the process may or may not hold, found without needing them.
//! A table of weak references, which Rust cannot express and assembly can, is filled by the
//! dynamic linker before the first call; what was not there yet is looked up by name when asked
//! for again.
//! `dlsym` itself is such a reference, so that a static link neither needs it nor warns of it.

use core::arch::global_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::transmute;

#[cfg(target_pointer_width = "64")]
macro_rules! word {
    ($symbol:literal) => {
        concat!(".8byte ", $symbol)
    };
}
#[cfg(target_pointer_width = "32")]
macro_rules! word {
    ($symbol:literal) => {
        concat!(".4byte ", $symbol)
    };
}

global_asm!(
    ".pushsection .data.rel.ro.bitmag_malloc_weak,\"aw\",%progbits",
    ".p2align 3",
    ".weak dlsym",
    ".weak _ZSt17__throw_bad_allocv",
    ".weak _ZSt15get_new_handlerv",
    ".globl bitmag_malloc_weak",
    ".hidden bitmag_malloc_weak",
    ".type bitmag_malloc_weak, %object",
    "bitmag_malloc_weak:",
    word!("dlsym"),
    word!("_ZSt17__throw_bad_allocv"),
    word!("_ZSt15get_new_handlerv"),
    ".size bitmag_malloc_weak, . - bitmag_malloc_weak",
    ".popsection",
);

type DlSym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
type DlOpen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;

/// The table above, field by field.
#[repr(C)]
struct Weak {
    dlsym: Option<DlSym>,
    throw_bad_alloc: *const c_void,
    get_new_handler: *const c_void,
}

// SAFETY: the dynamic linker writes the table before any code of this library runs, and makes its
// page read-only after that.
unsafe impl Sync for Weak {}

unsafe extern "C" {
    #[link_name = "bitmag_malloc_weak"]
    safe static WEAK: Weak;
}

/// A function of the C++ runtime that the failing `operator new` needs.
#[derive(Clone, Copy)]
pub enum Runtime {
    /// `void std::__throw_bad_alloc()`; the portable operators cannot use it
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(dead_code))]
    ThrowBadAlloc,
    /// `std::new_handler std::get_new_handler()`
    GetNewHandler,
}

impl Runtime {
    fn at_load(self) -> *const c_void {
        match self {
            Runtime::ThrowBadAlloc => WEAK.throw_bad_alloc,
            Runtime::GetNewHandler => WEAK.get_new_handler,
        }
    }

    fn name(self) -> &'static CStr {
        match self {
            Runtime::ThrowBadAlloc => c"_ZSt17__throw_bad_allocv",
            Runtime::GetNewHandler => c"_ZSt15get_new_handlerv",
        }
    }

    /// The function's address, or NULL when no C++ runtime is loaded.
    ///
    /// A runtime that came with a library loaded later, into a scope of its own, is found by the
    /// file names under which the two common ones are installed.
    pub fn find(self) -> *const c_void {
        let there = self.at_load();
        if !there.is_null() {
            return there;
        }
        let found = named(libc::RTLD_DEFAULT, self.name());
        if !found.is_null() {
            return found;
        }
        let dlopen = named(libc::RTLD_DEFAULT, c"dlopen");
        if dlopen.is_null() {
            return core::ptr::null();
        }
        // SAFETY: libc fixes the type of the function of that name.
        let dlopen = unsafe { transmute::<*const c_void, DlOpen>(dlopen) };
        for library in [c"libstdc++.so.6", c"libc++.so.1", c"libc++abi.so.1"] {
            // SAFETY: the name is a C string; RTLD_NOLOAD runs no code of the library.
            let handle = unsafe { dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
            if handle.is_null() {
                continue;
            }
            // The handle is kept: a library whose function is about to be called must stay.
            let found = named(handle, self.name());
            if !found.is_null() {
                return found;
            }
        }
        core::ptr::null()
    }
}

/// The next definition of a libc function behind this library's, or NULL.
pub fn next(name: &CStr) -> *const c_void {
    named(libc::RTLD_NEXT, name)
}

fn named(handle: *mut c_void, name: &CStr) -> *const c_void {
    match WEAK.dlsym {
        // SAFETY: the handle is one of dlsym's own or came from dlopen; the name is a C string.
        Some(dlsym) => unsafe { dlsym(handle, name.as_ptr()) },
        None => core::ptr::null(),
    }
}
