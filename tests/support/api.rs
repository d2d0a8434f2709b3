//! The faces of an allocator as one trait, so that every test is written once.
//! `Layouts` drives anything that is a `GlobalAlloc` (bitmag used directly, the process's global allocator, the system's);
//! `c_api.rs` drives a C library's `malloc` and its kin; `model.rs` and the tests know only what is here.

use std::alloc::{GlobalAlloc, Layout};

/// How a block was asked for: it decides the block's alignment, whether it is zeroed, and which frees are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `GlobalAlloc::alloc`
    Layout,
    /// `GlobalAlloc::alloc_zeroed`
    LayoutZeroed,
    /// `malloc`, or whatever `realloc` returned
    Malloc,
    /// `calloc`
    Calloc,
    /// `reallocarray(NULL, 1, size)`
    Reallocarray,
    /// `aligned_alloc`
    AlignedAlloc,
    /// `posix_memalign`
    PosixMemalign,
    /// `memalign`
    Memalign,
    /// `operator new(size)`
    New,
    /// `operator new[](size, nothrow)`
    NewArrayNothrow,
    /// `operator new(size, align, nothrow)`
    NewAligned,
}

impl Way {
    /// Whether the memory must come zeroed.
    pub fn zeroed(self) -> bool {
        matches!(self, Way::LayoutZeroed | Way::Calloc)
    }

    /// Whether the caller chooses the alignment (else it is 16).
    pub fn aligned(self) -> bool {
        matches!(
            self,
            Way::Layout
                | Way::LayoutZeroed
                | Way::AlignedAlloc
                | Way::PosixMemalign
                | Way::Memalign
                | Way::NewAligned
        )
    }

    /// Whether `realloc` may be given such a block.
    pub fn can_realloc(self) -> bool {
        !matches!(self, Way::New | Way::NewArrayNothrow | Way::NewAligned)
    }
}

/// One face of one allocator.
///
/// # Safety
/// The methods have the contracts of the functions that they stand for.
pub trait Api: Sync {
    /// For messages.
    fn name(&self) -> String;
    /// What `alloc` may be asked for; the first is the plain one.
    fn ways(&self) -> Vec<Way>;
    /// Allocates; NULL when the allocator has none.
    ///
    /// # Safety
    /// `align` is a power of two, and 16 unless `way.aligned()`.
    unsafe fn alloc(&self, way: Way, size: usize, align: usize) -> *mut u8;
    /// Reallocates; the block's way is the plain one afterwards.
    ///
    /// # Safety
    /// `ptr` is a live block of this face, `size` and `align` what it was asked for with, `new_size` not 0.
    unsafe fn realloc(&self, ptr: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8;
    /// Frees; `dice` chooses among the legal ways to free it.
    ///
    /// # Safety
    /// `ptr` is a live block of this face, the rest what it was asked for with.
    unsafe fn free(&self, way: Way, dice: u8, ptr: *mut u8, size: usize, align: usize);
    /// The usable size, where the face can tell.
    ///
    /// # Safety
    /// `ptr` is a live block of this face.
    unsafe fn usable(&self, ptr: *mut u8) -> Option<usize>;
    /// Whether `realloc` keeps the alignment that the block was asked for with.
    fn realloc_keeps_alignment(&self) -> bool;
    /// Gives memory back to the system, where the face can.
    fn trim(&self) {}
}

/// Anything that is a `GlobalAlloc`.
pub struct Layouts<A: 'static> {
    /// For messages.
    pub name: &'static str,
    /// The allocator.
    pub allocator: &'static A,
    /// Its usable-size function.
    pub usable: Option<unsafe fn(*const u8) -> usize>,
    /// Its trim function.
    pub trim: Option<fn() -> bool>,
}

impl<A: GlobalAlloc + Sync> Api for Layouts<A> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn ways(&self) -> Vec<Way> {
        vec![Way::Layout, Way::LayoutZeroed]
    }

    unsafe fn alloc(&self, way: Way, size: usize, align: usize) -> *mut u8 {
        let layout = Layout::from_size_align(size, align).expect("a layout that Rust can form");
        // SAFETY: the face honours every layout, size 0 included.
        unsafe {
            match way {
                Way::LayoutZeroed => self.allocator.alloc_zeroed(layout),
                _ => self.allocator.alloc(layout),
            }
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
        let layout = Layout::from_size_align(size, align).expect("a layout that Rust can form");
        // SAFETY: the caller's promise is this function's contract.
        unsafe { self.allocator.realloc(ptr, layout, new_size) }
    }

    unsafe fn free(&self, _way: Way, _dice: u8, ptr: *mut u8, size: usize, align: usize) {
        let layout = Layout::from_size_align(size, align).expect("a layout that Rust can form");
        // SAFETY: the caller's promise is this function's contract.
        unsafe { self.allocator.dealloc(ptr, layout) }
    }

    unsafe fn usable(&self, ptr: *mut u8) -> Option<usize> {
        // SAFETY: a live block by the caller's promise.
        self.usable.map(|usable| unsafe { usable(ptr) })
    }

    fn realloc_keeps_alignment(&self) -> bool {
        true
    }

    fn trim(&self) {
        if let Some(trim) = self.trim {
            trim();
        }
    }
}

/// The process's global allocator, through the calls that `Box` and `Vec` make.
pub struct Global;

// SAFETY: hands every call to the global allocator, which is one.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { std::alloc::alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { std::alloc::alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { std::alloc::dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { std::alloc::realloc(ptr, layout, new_size) }
    }
}
