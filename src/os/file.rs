//! Files as memory: what the trace is written through. x86_64 and aarch64 only: the calls' shapes differ elsewhere.

use super::syscall::call;
use super::{Access, Errno, check, close};

cfg_if::cfg_if! {
    if #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_pointer_width = "64"))] {
        /// The call that maps, if this target's is known.
        const MMAP: Option<usize> = Some(libc::SYS_mmap as usize);
    } else {
        const MMAP: Option<usize> = None;
    }
}

fn open(path: *const u8, flags: i32) -> Result<i32, Errno> {
    if MMAP.is_none() {
        return Err(Errno(libc::ENOSYS));
    }
    let flags = (flags | libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOCTTY) as usize;
    check(call(
        libc::SYS_openat as usize,
        [libc::AT_FDCWD as usize, path as usize, flags, 0o644, 0, 0],
    ))
    .map(|file| file as i32)
}

/// Creates the file `path`, a NUL-terminated string: `EEXIST` if there is one already.
pub(crate) fn create(path: *const u8) -> Result<(), Errno> {
    open(path, libc::O_CREAT | libc::O_EXCL).map(close)
}

/// Maps `len` bytes of a file at `offset`, both whole pages, after making it that long. What is written there is in the file,
/// whatever becomes of the process.
pub(crate) fn map(path: *const u8, offset: usize, len: usize) -> Result<*mut u8, Errno> {
    let file = open(path, 0)?;
    let number = file as usize;
    let mapped = lengthen(number, offset, len).and_then(|()| {
        let access = Access::ReadWrite.bits();
        let flags = libc::MAP_SHARED as usize;
        let number_of_call = MMAP.ok_or(Errno(libc::ENOSYS))?;
        check(call(number_of_call, [0, len, access, flags, number, offset]))
    });
    close(file);
    mapped.map(|address| address as *mut u8)
}

/// Makes a file at least `offset + len` bytes long, its content as it is, with room on the disk for the last `len`.
fn lengthen(file: usize, offset: usize, len: usize) -> Result<(), Errno> {
    loop {
        match check(call(libc::SYS_fallocate as usize, [file, 0, offset, len, 0, 0])) {
            Ok(_) => return Ok(()),
            Err(Errno(libc::EINTR)) => {}
            Err(Errno(libc::EOPNOTSUPP | libc::ENOSYS)) => break,
            Err(error) => return Err(error),
        }
    }
    // By a last byte, which is one of an address's highest, so 0 whoever wrote it.
    let zero = 0u8;
    let byte = &raw const zero as usize;
    check(call(libc::SYS_pwrite64 as usize, [file, byte, 1, offset + len - 1, 0, 0])).map(drop)
}

/// Writes the path of the working directory, NUL-terminated, and says how long it is without the NUL.
pub(crate) fn working_directory(buffer: &mut [u8]) -> Result<usize, Errno> {
    let place = buffer.as_mut_ptr() as usize;
    check(call(libc::SYS_getcwd as usize, [place, buffer.len(), 0, 0, 0, 0]))
        .map(|len| len.saturating_sub(1))
}
