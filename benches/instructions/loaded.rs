//! A C face out of a shared library, loaded beside the program's own allocator: a cdylib cannot be a dependency.
//! The two share nothing, so that what the harness allocates does not show in a row of the C face.

use crate::rows::Face;
use std::ffi::{CStr, CString};

/// The variable that names bitmag's library; the bench and the lab set it for their own children.
pub const LIBRARY: &str = "BITMAG_LIBRARY";

/// The functions of the library that the environment names.
pub fn c_face() -> Face {
    let path = std::env::var(LIBRARY).expect("the bench or the lab names the library");
    load(&CString::new(path).expect("a path has no NUL"))
}

/// A library's functions. Where it has no sized free its plain one is called with a second argument, in a register that it does not read.
#[allow(clippy::missing_transmute_annotations, reason = "the fields of `Face` say the types")]
pub fn load(path: &CStr) -> Face {
    unsafe extern "C" fn no_entry() {}
    // SAFETY: functions of these names have the types of `Face` in every C library.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!library.is_null(), "{path:?} cannot be loaded");
        let function = |name: &CStr| libc::dlsym(library, name.as_ptr());
        let needed = |name: &CStr| {
            let found = function(name);
            assert!(!found.is_null(), "{path:?} has no {name:?}");
            found
        };
        let sized = function(c"free_sized");
        Face {
            malloc: std::mem::transmute(needed(c"malloc")),
            free: std::mem::transmute(needed(c"free")),
            free_sized: std::mem::transmute(if sized.is_null() { needed(c"free") } else { sized }),
            calloc: std::mem::transmute(needed(c"calloc")),
            realloc: std::mem::transmute(needed(c"realloc")),
            aligned_alloc: std::mem::transmute(needed(c"aligned_alloc")),
            enter: no_entry,
        }
    }
}
