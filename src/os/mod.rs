//! The operating system: the few calls that the allocator makes, as raw system calls.
//!
//! Raw, so that no interposed `mmap` or `write` can re-enter the allocator and `errno` stays as the
//! program left it. Everything above this module speaks of addresses and byte counts only.

pub(crate) mod advise;
mod barrier;
pub(crate) mod file;
mod syscall;

use crate::rolled::rolled;
use crate::sync::{AtomicUsize, Ordering};
pub(crate) use barrier::{barrier_everywhere, barrier_of_others};
use core::ptr;
use syscall::{call, map_call};

/// An `errno` value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Errno(pub i32);

impl Errno {
    /// Whether the kernel does not know the call or its flags, or must not make it.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self.0, libc::EINVAL | libc::ENOSYS | libc::EPERM)
    }
}

/// What a mapping allows at first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Address space only: nothing is charged or resident.
    Reserved,
    /// Readable and writable, zero, not resident until touched.
    ReadWrite,
}

impl Access {
    fn bits(self) -> usize {
        (match self {
            Self::Reserved => libc::PROT_NONE,
            Self::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        }) as usize
    }
}

fn check(result: usize) -> Result<usize, Errno> {
    if result > usize::MAX - 4096 {
        Err(Errno((result as isize).wrapping_neg() as i32))
    } else {
        Ok(result)
    }
}

/// Maps `len` bytes wherever the kernel likes.
pub(crate) fn map(len: usize, access: Access) -> Result<*mut u8, Errno> {
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    check(map_call(0, len, access.bits(), flags)).map(|address| address as *mut u8)
}

/// Maps `len` bytes at exactly `address`, which must not be in use: `EEXIST` if it is.
#[inline(never)]
pub(crate) fn map_at(address: usize, len: usize, access: Access) -> Result<(), Errno> {
    const MAP_FIXED_NOREPLACE: usize = 0x10_0000; // a mere hint before Linux 4.17
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize
        | MAP_FIXED_NOREPLACE;
    let got = check(map_call(address, len, access.bits(), flags))?;
    if got == address {
        return Ok(());
    }
    unmap(got as *mut u8, len);
    Err(Errno(libc::EEXIST))
}

/// Unmaps a range that came from `map` or `map_at`. A range that is not mapped is not an error.
#[inline(never)]
pub(crate) fn unmap(address: *mut u8, len: usize) {
    call(libc::SYS_munmap as usize, [address as usize, len, 0, 0, 0, 0]);
}

/// Makes a reserved range readable and writable; charged to the process from here on.
#[inline(never)]
pub(crate) fn commit(address: usize, len: usize) -> Result<(), Errno> {
    check(call(libc::SYS_mprotect as usize, [address, len, Access::ReadWrite.bits(), 0, 0, 0]))
        .map(drop)
}

/// Returns the pages of a committed range to the system; they read as zero afterwards.
///
/// `false` if the kernel refused (locked memory), in which case the content is unchanged.
#[inline(never)]
pub(crate) fn purge(address: usize, len: usize) -> bool {
    check(call(libc::SYS_madvise as usize, [address, len, libc::MADV_DONTNEED as usize, 0, 0, 0]))
        .is_ok()
}

/// Asks which pages of a committed range are resident: bit 0 of each page's byte. `false` if the kernel
/// does not say.
#[inline(never)]
pub(crate) fn residence(address: usize, pages: &mut [u8]) -> bool {
    let bytes = pages.len() * page_size();
    let arguments = [address, bytes, pages.as_mut_ptr() as usize, 0, 0, 0];
    check(call(libc::SYS_mincore as usize, arguments)).is_ok()
}

/// Makes the pages of a committed range resident and writable, their content as it is (Linux 5.14 and
/// later). `false` if the kernel refused.
#[inline(never)]
pub(crate) fn populate(address: usize, len: usize) -> bool {
    const MADV_POPULATE_WRITE: usize = 23;
    check(call(libc::SYS_madvise as usize, [address, len, MADV_POPULATE_WRITE, 0, 0, 0])).is_ok()
}

/// Asks for small pages in a range that will be purged in parts. Failure is harmless.
#[inline(never)]
pub(crate) fn small_pages(address: usize, len: usize) {
    call(libc::SYS_madvise as usize, [address, len, libc::MADV_NOHUGEPAGE as usize, 0, 0, 0]);
}

/// Asks for huge pages in a range that stays as a whole. Failure is harmless.
#[inline(never)]
pub(crate) fn huge_pages(address: usize, len: usize) {
    call(libc::SYS_madvise as usize, [address, len, libc::MADV_HUGEPAGE as usize, 0, 0, 0]);
}

/// Resizes a mapping where it stands.
#[inline(never)]
pub(crate) fn resize(address: *mut u8, old: usize, new: usize) -> Result<(), Errno> {
    check(call(libc::SYS_mremap as usize, [address as usize, old, new, 0, 0, 0])).map(drop)
}

/// Moves the pages of `address..address + len` to `target..target + new`, replacing what is mapped
/// there; `new` is at least `len`.
///
/// Both ranges belong to the caller; the first is unmapped afterwards.
pub(crate) fn remap_onto(
    address: *mut u8,
    len: usize,
    target: *mut u8,
    new: usize,
) -> Result<(), Errno> {
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
    check(call(libc::SYS_mremap as usize, [address as usize, len, new, flags, target as usize, 0]))
        .map(drop)
}

/// Moves the pages of `address..address + len` to `target`, replacing what is mapped there. The
/// first range stays mapped and has no pages afterwards.
///
/// Both ranges belong to the caller. A refusal (`Errno::is_refusal`) comes before any change.
pub(crate) fn move_pages(address: *mut u8, len: usize, target: *mut u8) -> Result<(), Errno> {
    const MREMAP_DONTUNMAP: usize = 4;
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize | MREMAP_DONTUNMAP;
    check(call(libc::SYS_mremap as usize, [address as usize, len, len, flags, target as usize, 0]))
        .map(drop)
}

/// Whether the process may read at `address`: asked of the kernel by a write to no file, which refuses
/// the file if the address is good. (Linux looks at the file first and always says so; an emulator of
/// processes looks at the address.)
pub(crate) fn is_mapped(address: *const u8) -> bool {
    let written = call(libc::SYS_write as usize, [usize::MAX, address as usize, 1, 0, 0, 0]);
    !matches!(check(written), Err(Errno(libc::EFAULT)))
}

/// Maps fresh zeroes over a range of the caller's, whatever was there.
pub(crate) fn map_over(address: *mut u8, len: usize) -> Result<(), Errno> {
    let flags =
        (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED) as usize;
    check(map_call(address as usize, len, Access::ReadWrite.bits(), flags)).map(drop)
}

/// Names a range in `/proc/self/maps` (Linux 5.17 and later; elsewhere nothing happens).
pub(crate) fn name(address: usize, len: usize, name: &core::ffi::CStr) {
    const PR_SET_VMA: usize = 0x5356_4d41;
    call(libc::SYS_prctl as usize, [PR_SET_VMA, 0, address, len, name.as_ptr() as usize, 0]);
}

/// Gives the processor away: the only wait there is.
#[inline(never)]
pub(crate) fn yield_now() {
    call(libc::SYS_sched_yield as usize, [0; 6]);
}

/// Sleeps for about so many milliseconds. Sets no errno.
pub(crate) fn sleep(milliseconds: u32) {
    let mut time = libc::timespec {
        tv_sec: (milliseconds / 1000) as _,
        tv_nsec: (milliseconds % 1000 * 1_000_000) as _,
    };
    // SAFETY: reads and writes the struct; an interruption leaves the rest in it.
    unsafe {
        let time = &raw mut time;
        let errno = libc::__errno_location();
        let before = *errno;
        while libc::nanosleep(time, time) != 0 && *errno == libc::EINTR {}
        *errno = before;
    }
}

/// The kernel's id of the calling thread.
#[allow(dead_code, reason = "used where thread-local storage cannot be had without calls")]
pub(crate) fn thread_id() -> u32 {
    call(libc::SYS_gettid as usize, [0; 6]) as u32
}

/// The process id.
pub(crate) fn process_id() -> u32 {
    call(libc::SYS_getpid as usize, [0; 6]) as u32
}

/// Processors this process may run on, at least 1.
pub(crate) fn processors() -> usize {
    let mut mask = [0usize; 1024 / usize::BITS as usize];
    let bytes = call(
        libc::SYS_sched_getaffinity as usize,
        [0, size_of_val(&mask), mask.as_mut_ptr() as usize, 0, 0, 0],
    );
    if check(bytes).is_err() {
        return 1;
    }
    rolled(&mask).iter().map(|word| word.count_ones() as usize).sum::<usize>().max(1)
}

/// Bytes in a page. Asked for once.
pub(crate) fn page_size() -> usize {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    let known = PAGE.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: getauxval reads the auxiliary vector, which is there from the first instruction on.
    let size = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
    let size = if size.is_power_of_two() { size } else { 4096 };
    PAGE.store(size, Ordering::Relaxed);
    size
}

/// Whether the process gained privileges when it was started: its environment is not to be trusted.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: as in `page_size`.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// A number that differs from process to process.
pub(crate) fn random() -> u64 {
    // SAFETY: as in `page_size`; AT_RANDOM is the address of 16 random bytes, or 0.
    unsafe {
        let bytes = libc::getauxval(libc::AT_RANDOM) as *const u64;
        if bytes.is_null() {
            u64::from(process_id()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        } else {
            bytes.read_unaligned() ^ bytes.add(1).read_unaligned().rotate_left(32)
        }
    }
}

/// An address at the top of the first thread's stack, near the end of the user address space.
pub(crate) fn stack_top() -> usize {
    // SAFETY: as in `page_size`.
    let top = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
    let here = 0u8;
    if top == 0 { (&raw const here).addr() } else { top }
}

/// Writes all of `bytes`, going on after an interruption. `false` if the file refuses.
pub(crate) fn write(file: i32, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match check(call(
            libc::SYS_write as usize,
            [file as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0],
        )) {
            Ok(0) => return false,
            Ok(written) => bytes = bytes.get(written..).unwrap_or(&[]),
            Err(Errno(libc::EINTR)) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Opens `path`, a NUL-terminated string, for reading, or creates and empties it for writing.
pub(crate) fn open(path: *const u8, for_writing: bool) -> Result<i32, Errno> {
    let flags =
        if for_writing { libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC } else { libc::O_RDONLY };
    check(call(
        libc::SYS_openat as usize,
        [libc::AT_FDCWD as usize, path as usize, (flags | libc::O_CLOEXEC) as usize, 0o644, 0, 0],
    ))
    .map(|file| file as i32)
}

/// Reads into `buffer`; the number of bytes read, 0 at the end.
pub(crate) fn read(file: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    check(call(
        libc::SYS_read as usize,
        [file as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0],
    ))
}

/// Closes a file that `open` gave.
pub(crate) fn close(file: i32) {
    call(libc::SYS_close as usize, [file as usize, 0, 0, 0, 0, 0]);
}

/// The process's environment: NULL, or a NULL-terminated array of strings.
pub(crate) fn environment() -> *const *const u8 {
    unsafe extern "C" {
        static environ: *const *const u8;
    }
    // SAFETY: `environ` is libc's variable; it is read once, before the program can have changed it
    // from another thread (the first allocation), and may be NULL before libc has started.
    unsafe { ptr::addr_of!(environ).read() }
}
