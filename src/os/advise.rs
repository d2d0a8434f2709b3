//! Returning pages of several ranges at once.
//!
//! `process_madvise` on oneself takes a vector of ranges (Linux 6.15 and later; 190 ns a hole against 1,200 for a call each,
//! see ARCHITECTURE.md). Where the kernel refuses it, each range takes a call of its own.

use super::purge;
use super::syscall::call;
use crate::sync::{AtomicBool, Ordering};

/// A range of addresses, as the kernel's `struct iovec`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Range {
    pub address: usize,
    pub len: usize,
}

/// Whether the vector call was refused once.
static ONE_BY_ONE: AtomicBool = AtomicBool::new(false);

/// The call has one number on all architectures.
const PROCESS_MADVISE: usize = 440;
/// "This process", in place of a descriptor.
const OWN_PROCESS: usize = -10_001_isize as usize;

/// Whether the vector call was not refused yet.
pub(crate) fn takes_vectors() -> bool {
    !ONE_BY_ONE.load(Ordering::Relaxed)
}

/// Returns the pages of committed ranges to the system; they read as zero afterwards.
///
/// How many of the ranges, from the first on, are done, and the system calls made: 1, or one to a
/// range and one. It stops at a range that the kernel refuses (locked memory).
pub(crate) fn purge_ranges(ranges: &[Range]) -> (usize, usize) {
    let mut done = 0;
    let mut calls = 0;
    if ranges.len() > 1 && !ONE_BY_ONE.load(Ordering::Relaxed) {
        let arguments = [
            OWN_PROCESS,
            ranges.as_ptr() as usize,
            ranges.len(),
            libc::MADV_DONTNEED as usize,
            0,
            0,
        ];
        calls += 1;
        match super::check(call(PROCESS_MADVISE, arguments)) {
            Ok(mut bytes) => {
                while let Some(range) = ranges.get(done).filter(|range| range.len <= bytes) {
                    bytes -= range.len;
                    done += 1;
                }
                return (done, calls);
            }
            // Locked memory gives EINVAL too; a call each is right then as well, only slower.
            Err(_) => ONE_BY_ONE.store(true, Ordering::Relaxed),
        }
    }
    for range in ranges {
        calls += 1;
        if !purge(range.address, range.len) {
            break;
        }
        done += 1;
    }
    (done, calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::{Access, map, page_size, unmap};

    #[test]
    fn all_ranges_read_as_zero_and_nothing_else_does() {
        let page = page_size();
        let start = map(16 * page, Access::ReadWrite).unwrap();
        for one_by_one in [false, true] {
            ONE_BY_ONE.store(one_by_one, Ordering::Relaxed);
            // SAFETY: the mapping is this test's.
            unsafe { start.write_bytes(7, 16 * page) };
            let at = |first: usize, pages: usize| Range {
                address: start as usize + first * page,
                len: pages * page,
            };
            let ranges = [at(1, 2), at(5, 1), at(9, 6)];
            assert_eq!(purge_ranges(&ranges).0, 3);
            for index in 0..16 {
                // SAFETY: as above.
                let byte = unsafe { *start.add(index * page) };
                let gone = matches!(index, 1 | 2 | 5 | 9..=14);
                assert_eq!(byte, if gone { 0 } else { 7 }, "page {index}");
            }
        }
        unmap(start, 16 * page);
    }
}
