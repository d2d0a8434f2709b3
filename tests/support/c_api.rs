//! The C face of an allocator: `malloc` and its kin out of one shared object, or out of the whole process.
//! The functions are looked up by name, because several libraries that export the same names are driven side by side;
//! those that a library lacks (glibc 2.36 has no `free_sized`) are left out of the choice.

use super::api::{Api, Way};
use std::ffi::{CString, c_void};
use std::path::Path;

/// `struct mallinfo2`: ten sizes.
#[repr(C)]
#[derive(Debug)]
pub struct Mallinfo2(pub [usize; 10]);

macro_rules! c_functions {
    ($($(#[$doc:meta])* $field:ident = $symbol:literal : fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of one library; `None` where it has no such symbol.
        pub struct CApi {
            label: String,
            $($(#[$doc])* pub $field: Option<unsafe extern "C" fn($($argument),*) $(-> $result)?>,)*
        }

        impl CApi {
            fn from_handle(label: String, handle: *mut c_void) -> CApi {
                CApi {
                    label,
                    $($field: {
                        let symbol = CString::new($symbol).expect("no NUL in a name");
                        // SAFETY: dlsym reads the name and the handle.
                        let address = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
                        // SAFETY: a C function of that name has this type; a null pointer is `None`.
                        unsafe { std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn($($argument),*) $(-> $result)?>>(address) }
                    },)*
                }
            }
        }
    };
}

c_functions! {
    /// `malloc`
    malloc = "malloc": fn(usize) -> *mut u8;
    /// `free`
    free = "free": fn(*mut u8);
    /// `calloc`
    calloc = "calloc": fn(usize, usize) -> *mut u8;
    /// `realloc`
    realloc = "realloc": fn(*mut u8, usize) -> *mut u8;
    /// `reallocarray`
    reallocarray = "reallocarray": fn(*mut u8, usize, usize) -> *mut u8;
    /// `aligned_alloc`
    aligned_alloc = "aligned_alloc": fn(usize, usize) -> *mut u8;
    /// `posix_memalign`
    posix_memalign = "posix_memalign": fn(*mut *mut u8, usize, usize) -> i32;
    /// `memalign`
    memalign = "memalign": fn(usize, usize) -> *mut u8;
    /// `valloc`
    valloc = "valloc": fn(usize) -> *mut u8;
    /// `pvalloc`
    pvalloc = "pvalloc": fn(usize) -> *mut u8;
    /// `malloc_usable_size`
    malloc_usable_size = "malloc_usable_size": fn(*mut u8) -> usize;
    /// `malloc_trim`
    malloc_trim = "malloc_trim": fn(usize) -> i32;
    /// `mallopt`
    mallopt = "mallopt": fn(i32, i32) -> i32;
    /// `malloc_info`
    malloc_info = "malloc_info": fn(i32, *mut libc::FILE) -> i32;
    /// `malloc_stats`
    malloc_stats = "malloc_stats": fn();
    /// `mallinfo2`
    mallinfo2 = "mallinfo2": fn() -> Mallinfo2;
    /// `free_sized`
    free_sized = "free_sized": fn(*mut u8, usize);
    /// `free_aligned_sized`
    free_aligned_sized = "free_aligned_sized": fn(*mut u8, usize, usize);
    /// `cfree`
    cfree = "cfree": fn(*mut u8);
    /// `operator new(size_t)`
    new = "_Znwm": fn(usize) -> *mut u8;
    /// `operator new[](size_t, nothrow)`
    new_array_nothrow = "_ZnamRKSt9nothrow_t": fn(usize, *const u8) -> *mut u8;
    /// `operator new(size_t, align_val_t, nothrow)`
    new_aligned = "_ZnwmSt11align_val_tRKSt9nothrow_t": fn(usize, usize, *const u8) -> *mut u8;
    /// `operator delete(void*)`
    delete = "_ZdlPv": fn(*mut u8);
    /// `operator delete[](void*)`
    delete_array = "_ZdaPv": fn(*mut u8);
    /// `operator delete(void*, size_t)`
    delete_sized = "_ZdlPvm": fn(*mut u8, usize);
    /// `operator delete[](void*, size_t)`
    delete_array_sized = "_ZdaPvm": fn(*mut u8, usize);
    /// `operator delete(void*, align_val_t)`
    delete_aligned = "_ZdlPvSt11align_val_t": fn(*mut u8, usize);
    /// `operator delete(void*, size_t, align_val_t)`
    delete_sized_aligned = "_ZdlPvmSt11align_val_t": fn(*mut u8, usize, usize);
}

const LOADED: &str = "a C library has it";

impl CApi {
    /// Loads a shared object by path, its names kept to itself.
    pub fn load(path: &Path) -> Result<CApi, String> {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: dlopen runs the library's constructors; the libraries of these tests have none that matter.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: dlerror returns a string after a failure.
            let why = unsafe { std::ffi::CStr::from_ptr(libc::dlerror()) };
            return Err(format!("dlopen {}: {}", path.display(), why.to_string_lossy()));
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(CApi::from_handle(file, handle))
    }

    /// What the process's own calls reach: libc, or the library preloaded before it.
    pub fn of_process() -> CApi {
        CApi::from_handle("this process".into(), libc::RTLD_DEFAULT)
    }

    /// Whether one of the functions is missing that bitmag's C face must have.
    pub fn complete(&self) -> bool {
        self.free_sized.is_some()
            && self.free_aligned_sized.is_some()
            && self.new.is_some()
            && self.cfree.is_some()
    }
}

impl Api for CApi {
    fn name(&self) -> String {
        self.label.clone()
    }

    fn ways(&self) -> Vec<Way> {
        let mut ways = vec![Way::Malloc, Way::Calloc, Way::Reallocarray];
        ways.extend([Way::AlignedAlloc, Way::PosixMemalign, Way::Memalign]);
        if self.new.is_some() {
            ways.extend([Way::New, Way::NewArrayNothrow, Way::NewAligned]);
        }
        ways
    }

    unsafe fn alloc(&self, way: Way, size: usize, align: usize) -> *mut u8 {
        let nothrow = 0u8;
        // SAFETY: each function gets the arguments that its contract asks for.
        unsafe {
            match way {
                Way::Malloc | Way::Layout => self.malloc.expect(LOADED)(size),
                Way::Calloc | Way::LayoutZeroed => self.calloc.expect(LOADED)(1, size),
                Way::Reallocarray => {
                    self.reallocarray.expect(LOADED)(std::ptr::null_mut(), 1, size)
                }
                Way::AlignedAlloc => self.aligned_alloc.expect(LOADED)(align, size),
                Way::Memalign => self.memalign.expect(LOADED)(align, size),
                Way::PosixMemalign => {
                    let mut pointer = std::ptr::null_mut();
                    self.posix_memalign.expect(LOADED)(
                        &mut pointer,
                        align.max(size_of::<usize>()),
                        size,
                    );
                    pointer
                }
                Way::New => self.new.expect(LOADED)(size),
                Way::NewArrayNothrow => self.new_array_nothrow.expect(LOADED)(size, &nothrow),
                Way::NewAligned => self.new_aligned.expect(LOADED)(size, align, &nothrow),
            }
        }
    }

    unsafe fn realloc(
        &self,
        ptr: *mut u8,
        _size: usize,
        _align: usize,
        new_size: usize,
    ) -> *mut u8 {
        // SAFETY: a live block of this library by the caller's promise.
        unsafe { self.realloc.expect(LOADED)(ptr, new_size) }
    }

    unsafe fn free(&self, way: Way, dice: u8, ptr: *mut u8, size: usize, align: usize) {
        // SAFETY: each block goes to a function that the standards allow for the way that it was made.
        unsafe {
            match (way, dice % 4) {
                (Way::New, 0 | 1) => self.delete.expect(LOADED)(ptr),
                (Way::New, _) => self.delete_sized.expect(LOADED)(ptr, size),
                (Way::NewArrayNothrow, 0 | 1) => self.delete_array.expect(LOADED)(ptr),
                (Way::NewArrayNothrow, _) => self.delete_array_sized.expect(LOADED)(ptr, size),
                (Way::NewAligned, 0 | 1) => self.delete_aligned.expect(LOADED)(ptr, align),
                (Way::NewAligned, _) => self.delete_sized_aligned.expect(LOADED)(ptr, size, align),
                (Way::AlignedAlloc, 0 | 1) if self.free_aligned_sized.is_some() => {
                    self.free_aligned_sized.expect(LOADED)(ptr, align, size)
                }
                (Way::Malloc | Way::Calloc | Way::Reallocarray, 0) if self.free_sized.is_some() => {
                    self.free_sized.expect(LOADED)(ptr, size)
                }
                (Way::Malloc, 1) if self.cfree.is_some() => self.cfree.expect(LOADED)(ptr),
                _ => self.free.expect(LOADED)(ptr),
            }
        }
    }

    unsafe fn usable(&self, ptr: *mut u8) -> Option<usize> {
        // SAFETY: a live block of this library by the caller's promise.
        self.malloc_usable_size.map(|usable| unsafe { usable(ptr) })
    }

    fn realloc_keeps_alignment(&self) -> bool {
        false
    }

    fn trim(&self) {
        if let Some(trim) = self.malloc_trim {
            // SAFETY: malloc_trim may be called at any time.
            unsafe { trim(0) };
        }
    }
}
