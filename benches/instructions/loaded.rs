//! The C face, loaded beside the program's own copy of the library: a cdylib cannot be a dependency.
//! The two share nothing, so that what the bench's harness allocates does not show in a row of the C face.

use crate::rows::Face;
use std::ffi::CString;

/// The variable that names the library; the bench sets it for its own children.
pub const LIBRARY: &str = "BITMAG_LIBRARY";

unsafe extern "C" fn no_entry() {}

/// Its functions.
#[allow(clippy::missing_transmute_annotations, reason = "the fields of `Face` say the types")]
pub fn c_face() -> Face {
    let path = std::env::var(LIBRARY).expect("the bench names the library");
    let path = CString::new(path).expect("a path has no NUL");
    // SAFETY: the functions of malloc/bitmag.h have the types of `Face`.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!library.is_null(), "{path:?} cannot be loaded");
        macro_rules! function {
            ($name:literal) => {{
                let function = libc::dlsym(library, $name.as_ptr());
                assert!(!function.is_null(), "{:?} is missing", $name);
                std::mem::transmute(function)
            }};
        }
        Face {
            malloc: function!(c"malloc"),
            free: function!(c"free"),
            free_sized: function!(c"free_sized"),
            calloc: function!(c"calloc"),
            realloc: function!(c"realloc"),
            aligned_alloc: function!(c"aligned_alloc"),
            enter: no_entry,
        }
    }
}
