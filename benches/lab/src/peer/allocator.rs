//! The allocator of this program: its C functions, and the same as the global allocator of the rows in Rust.
//! A peer's functions are declared here with the names that its library really exports.

use crate::rows::Face;

/// What a peer without any such call does when a thread begins.
#[allow(dead_code, reason = "some peers have one of their own")]
unsafe extern "C" fn no_entry() {}

/// A peer: the crate that brings the library, and the names of its six functions.
#[allow(unused_macros, reason = "bitmag is loaded, not linked")]
macro_rules! peer {
    ([$($library:ident)?] $malloc:ident $free:ident $free_sized:expr, $calloc:ident $realloc:ident $aligned:ident $enter:expr) => {
        $(use $library as _;)?
        unsafe extern "C" {
            fn $malloc(size: usize) -> *mut u8;
            fn $free(block: *mut u8);
            fn $calloc(count: usize, size: usize) -> *mut u8;
            fn $realloc(block: *mut u8, size: usize) -> *mut u8;
            fn $aligned(align: usize, size: usize) -> *mut u8;
        }

        pub fn face() -> Face {
            Face {
                malloc: $malloc,
                free: $free,
                free_sized: $free_sized,
                calloc: $calloc,
                realloc: $realloc,
                aligned_alloc: $aligned,
                enter: $enter,
            }
        }

        struct Global;
        // SAFETY: the peer's own promises; every allocation and free goes to it. The rows ask `alloc_zeroed` and `realloc` for no
        // alignment above 16.
        unsafe impl std::alloc::GlobalAlloc for Global {
            #[inline]
            unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
                // SAFETY: no precondition.
                unsafe {
                    if layout.align() <= 16 { $malloc(layout.size()) } else { $aligned(layout.align(), layout.size()) }
                }
            }
            #[inline]
            unsafe fn dealloc(&self, block: *mut u8, layout: std::alloc::Layout) {
                // SAFETY: the caller's block.
                unsafe { if layout.align() <= 16 { ($free_sized)(block, layout.size()) } else { $free(block) } }
            }
            #[inline]
            unsafe fn alloc_zeroed(&self, layout: std::alloc::Layout) -> *mut u8 {
                // SAFETY: no precondition.
                unsafe { $calloc(1, layout.size()) }
            }
            #[inline]
            unsafe fn realloc(&self, block: *mut u8, _: std::alloc::Layout, size: usize) -> *mut u8 {
                // SAFETY: the caller's block.
                unsafe { $realloc(block, size) }
            }
        }
        #[global_allocator]
        static GLOBAL: Global = Global;
    };
}

/// A free without a size stands in for the sized one.
#[allow(unused_macros, reason = "most peers have a sized free")]
macro_rules! unsized_free {
    ($free:ident) => {{
        unsafe extern "C" {
            fn $free(block: *mut u8);
        }
        // SAFETY: the second argument lies in a register that the callee does not read.
        unsafe { std::mem::transmute::<unsafe extern "C" fn(*mut u8), unsafe extern "C" fn(*mut u8, usize)>($free) }
    }};
}

#[cfg(any(feature = "mimalloc2", feature = "mimalloc3"))]
mod chosen {
    use super::{Face, no_entry};
    unsafe extern "C" {
        fn mi_free_size(block: *mut u8, size: usize);
    }
    peer!([libmimalloc_sys] mi_malloc mi_free mi_free_size, mi_calloc mi_realloc mi_aligned_alloc no_entry);
}

#[cfg(feature = "jemalloc")]
mod chosen {
    use super::{Face, no_entry};
    unsafe extern "C" {
        fn _rjem_free_sized(block: *mut u8, size: usize);
    }
    peer!([tikv_jemalloc_sys] _rjem_malloc _rjem_free _rjem_free_sized, _rjem_calloc _rjem_realloc _rjem_aligned_alloc no_entry);
}

#[cfg(feature = "snmalloc")]
mod chosen {
    use super::{Face, no_entry};
    unsafe extern "C" {
        fn sn_rust_dealloc(block: *mut u8, align: usize, size: usize);
    }
    /// Its sized free takes the alignment too: three instructions, which the lab takes off again.
    #[unsafe(naked)]
    unsafe extern "C" fn free_sized(block: *mut u8, size: usize) {
        std::arch::naked_asm!("mov rdx, rsi", "mov esi, 16", "jmp {}", sym sn_rust_dealloc);
    }
    peer!([snmalloc_sys] sn_malloc sn_free free_sized, sn_calloc sn_realloc sn_rust_alloc no_entry);
}

#[cfg(feature = "rpmalloc")]
mod chosen {
    use super::Face;
    unsafe extern "C" {
        fn rpmalloc_initialize() -> i32;
        fn rpmalloc_thread_initialize();
    }
    /// The library wants to be told of its start before the first allocation, which is made before `main`.
    extern "C" fn start() {
        // SAFETY: called once, by the loader.
        unsafe { rpmalloc_initialize() };
    }
    #[used]
    #[unsafe(link_section = ".init_array")]
    static START: extern "C" fn() = start;
    /// A thread's first call.
    unsafe extern "C" fn enter() {
        // SAFETY: may be called more than once.
        unsafe { rpmalloc_thread_initialize() };
    }
    const FREE_SIZED: unsafe extern "C" fn(*mut u8, usize) = unsized_free!(rpfree);
    peer!([rpmalloc_sys] rpmalloc rpfree FREE_SIZED, rpcalloc rprealloc rpaligned_alloc enter);
}

#[cfg(feature = "tcmalloc")]
mod chosen {
    use super::{Face, no_entry};
    unsafe extern "C" {
        fn tc_free_sized(block: *mut u8, size: usize);
    }
    peer!([tcmalloc] tc_malloc tc_free tc_free_sized, tc_calloc tc_realloc tc_memalign no_entry);
}

#[cfg(feature = "bitmag")]
mod chosen {
    /// The rows in Rust run on the Rust face.
    #[cfg(not(feature = "linked"))]
    #[global_allocator]
    static GLOBAL: bitmag::Bitmag =
        bitmag::Bitmag::with(bitmag::Config::new().backend(bitmag::Backend::Avx2));
    #[cfg(not(feature = "linked"))]
    pub use crate::loaded::c_face as face;

    /// In the timed runs it is what a user of the crate has.
    #[cfg(feature = "linked")]
    #[global_allocator]
    static GLOBAL: bitmag::Bitmag = bitmag::Bitmag::new();
    /// The functions that this program has under C's names.
    #[cfg(feature = "linked")]
    #[allow(clippy::missing_transmute_annotations, reason = "the fields of `Face` say the types")]
    pub fn face() -> super::Face {
        use bitmag_lab_linked::entry;
        // SAFETY: a block's pointer is a pointer, whatever it points to.
        unsafe {
            super::Face {
                malloc: std::mem::transmute::<*const (), _>(entry::malloc as *const ()),
                free: std::mem::transmute::<*const (), _>(entry::free as *const ()),
                free_sized: std::mem::transmute::<*const (), _>(entry::free_sized as *const ()),
                calloc: std::mem::transmute::<*const (), _>(entry::calloc as *const ()),
                realloc: std::mem::transmute::<*const (), _>(entry::realloc as *const ()),
                aligned_alloc: std::mem::transmute::<*const (), _>(
                    entry::aligned_alloc as *const (),
                ),
                enter: super::no_entry,
            }
        }
    }

    /// Whether the program's own blocks are bitmag's. Its hits are inlined, so that no profile shows whose they were.
    pub fn serves() -> bool {
        let before = bitmag::stats().refilled_blocks;
        let blocks: Vec<_> = (0..100).map(|_| Box::new([1u64; 8])).collect();
        let own = blocks.iter().all(|block| {
            // SAFETY: a live block of the global allocator; a pointer that is not bitmag's would end the program.
            let usable = unsafe { bitmag::usable_size((&raw const **block).cast()) };
            usable == 64
        });
        own && bitmag::stats().refilled_blocks > before
    }
}

#[cfg(not(any(
    feature = "mimalloc2",
    feature = "mimalloc3",
    feature = "jemalloc",
    feature = "snmalloc",
    feature = "rpmalloc",
    feature = "tcmalloc",
    feature = "bitmag"
)))]
mod chosen {
    use super::{Face, no_entry};
    const FREE_SIZED: unsafe extern "C" fn(*mut u8, usize) = unsized_free!(free);
    peer!([] malloc free FREE_SIZED, calloc realloc aligned_alloc no_entry);
}

pub use chosen::face;

/// What a thread calls last, where its allocator has to be told.
pub fn leave() {
    #[cfg(feature = "rpmalloc")]
    {
        unsafe extern "C" {
            fn rpmalloc_thread_finalize(release_caches: i32);
        }
        // SAFETY: the thread's own heap; what it frees later goes to a new one.
        unsafe { rpmalloc_thread_finalize(1) };
    }
}

/// Gives back to the system what can be given back: `malloc_trim`, or what the allocator has in its place; some have nothing.
pub fn trim() {
    #[cfg(feature = "bitmag")]
    bitmag::purge();
    #[cfg(any(feature = "mimalloc2", feature = "mimalloc3"))]
    {
        unsafe extern "C" {
            fn mi_collect(force: bool);
        }
        // SAFETY: no precondition.
        unsafe { mi_collect(true) };
    }
    #[cfg(feature = "jemalloc")]
    {
        unsafe extern "C" {
            fn _rjem_mallctl(
                name: *const std::ffi::c_char,
                old: *mut u8,
                old_length: *mut usize,
                new: *mut u8,
                new_length: usize,
            ) -> i32;
        }
        use std::ptr::null_mut;
        for name in [c"thread.tcache.flush", c"arena.4096.purge"] {
            // SAFETY: commands without arguments; 4096 stands for all arenas.
            let failed =
                unsafe { _rjem_mallctl(name.as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
            assert_eq!(failed, 0, "jemalloc has no {name:?}");
        }
    }
    #[cfg(feature = "tcmalloc")]
    {
        #[allow(non_snake_case, reason = "its own name")]
        unsafe extern "C" {
            fn MallocExtension_ReleaseFreeMemory();
        }
        // SAFETY: no precondition.
        unsafe { MallocExtension_ReleaseFreeMemory() };
    }
    #[cfg(not(any(
        feature = "bitmag",
        feature = "mimalloc2",
        feature = "mimalloc3",
        feature = "jemalloc",
        feature = "snmalloc",
        feature = "rpmalloc",
        feature = "tcmalloc"
    )))]
    // SAFETY: no precondition.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What the lab holds against the profile: each function by name, with the object that it lies in, its offset there, and its address.
pub fn declare(face: Face) {
    let functions = [
        ("malloc", face.malloc as *const ()),
        ("free", face.free as *const ()),
        ("free_sized", face.free_sized as *const ()),
        ("calloc", face.calloc as *const ()),
        ("realloc", face.realloc as *const ()),
        ("aligned_alloc", face.aligned_alloc as *const ()),
    ];
    for (name, function) in functions {
        // SAFETY: `dladdr` fills it in, or says that it did not; a name that it gives stays as long as the object is loaded.
        let (object, base) = unsafe {
            let mut about: libc::Dl_info = std::mem::zeroed();
            assert!(
                libc::dladdr(function.cast(), &mut about) != 0,
                "nobody knows where {name} lies"
            );
            (std::ffi::CStr::from_ptr(about.dli_fname), about.dli_fbase)
        };
        // The same path as in a profile, which has no symbolic links.
        let object = std::fs::canonicalize(object.to_string_lossy().as_ref()).expect("an object");
        let (object, address) = (object.display(), function.addr());
        println!("face {name} {object} {:#x} {address:#x}", address - base.addr());
    }
    #[cfg(any(feature = "mimalloc2", feature = "mimalloc3"))]
    {
        unsafe extern "C" {
            safe fn mi_version() -> i32;
        }
        println!("version {}", mi_version());
    }
    #[cfg(feature = "bitmag")]
    if chosen::serves() {
        println!("global bitmag");
    }
}
