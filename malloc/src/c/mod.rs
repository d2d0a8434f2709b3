//! Every function of the C face that is not one of the hot entries.
//! `allocate` and `release` are the C functions that hand out and take back memory, `inspect`
//! those that report, `extra` those that no other library has, `operators` the C++ ones; `cold` is where the hot entries go on a miss.
//! Arguments are checked here as glibc 2.38 and later check them, errno included; the crate
//! `bitmag` below sets no errno.

pub mod allocate;
#[cfg(target_arch = "x86_64")]
pub mod cold;
mod errno;
mod extra;
mod foreign;
mod inspect;
mod operators;
pub mod release;
mod report;
mod weak;

/// The alignment of every block that no alignment was asked for: that of `max_align_t`.
const MIN_ALIGN: usize = 16;

/// Every entry of this library that replaces one of libc's, named once in each file that defines
/// some of them.
///
/// A static link takes only the members of the archive that something refers to. A program that
/// took `malloc` from here and `realloc` from libc would crash, so each of these files refers to
/// all the others: who takes one takes all.
#[repr(transparent)]
struct WholeFamily([*const (); 11]);

// SAFETY: the pointers are addresses of functions; nothing is ever read or written through them.
unsafe impl Sync for WholeFamily {}

static WHOLE_FAMILY: WholeFamily = WholeFamily([
    crate::entry::malloc as *const (),
    crate::entry::free as *const (),
    crate::entry::free_sized as *const (),
    crate::entry::calloc as *const (),
    crate::entry::realloc as *const (),
    crate::entry::aligned_alloc as *const (),
    allocate::pvalloc as *const (),
    release::cfree as *const (),
    inspect::mallinfo as *const (),
    report::malloc_info as *const (),
    operators::WHOLE_FAMILY,
]);
