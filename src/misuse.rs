//! Heap misuse: one line on stderr that names the fault and the pointer, then abort.
//!
//! A fault travels as a value until every lock is given up; only then is it reported, without
//! allocating. What is found when is tabled in ARCHITECTURE.md and in `tests/misuse.rs`.

use crate::os;
use crate::rolled::opaque;

/// What is wrong with a pointer that was passed to a free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing of ours starts or lies there.
    Foreign,
    /// It points into a block, not at its start.
    Inside,
    /// The block is free already.
    DoubleFree,
    /// The size given belongs to another class than the block's.
    WrongSize,
}

/// A fault and the pointer that has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Misuse {
    pub fault: Fault,
    pub pointer: usize,
}

/// Writes the pieces to stderr as they stand. Does not allocate.
#[inline(never)]
pub(crate) fn write_line(parts: &[&[u8]]) {
    let mut line = [0u8; 256];
    let mut len = 0;
    for byte in parts.iter().flat_map(|part| part.iter()) {
        if let Some(slot) = line.get_mut(len) {
            *slot = *byte;
            len += 1;
        }
    }
    // One write, so that lines of several threads do not mix.
    os::write(libc::STDERR_FILENO, line.get(..len).unwrap_or(&[]));
}

/// `0x` and the pointer's hexadecimal digits, at the end of `buffer`.
fn hexadecimal(mut value: usize, buffer: &mut [u8; 18]) -> &[u8] {
    let mut at = buffer.len();
    let mut put = |digit: u8| {
        at -= 1;
        if let Some(place) = buffer.get_mut(at) {
            *place = digit;
        }
    };
    loop {
        put(b"0123456789abcdef"[value & 15]);
        value = opaque(value >> 4);
        if value == 0 {
            break;
        }
    }
    put(b'x');
    put(b'0');
    buffer.get(at..).unwrap_or(&[])
}

/// Reports the misuse and aborts. No lock of the allocator is held here.
#[cold]
#[inline(never)]
pub(crate) fn report(misuse: Misuse) -> ! {
    let fault: &[u8] = match misuse.fault {
        Fault::Foreign => b"foreign pointer",
        Fault::Inside => b"pointer inside a block",
        Fault::DoubleFree => b"double free",
        Fault::WrongSize => b"wrong size",
    };
    let mut buffer = [0; 18];
    write_line(&[b"bitmag: ", fault, b": ", hexadecimal(misuse.pointer, &mut buffer), b"\n"]);
    abort()
}

/// Ends the process by SIGABRT.
pub(crate) fn abort() -> ! {
    // SAFETY: abort may be called at any time.
    unsafe { libc::abort() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_written_in_full() {
        let mut buffer = [0; 18];
        assert_eq!(hexadecimal(0, &mut buffer), b"0x0");
        assert_eq!(hexadecimal(0x10, &mut buffer), b"0x10");
        assert_eq!(hexadecimal(0x7f00_dead_beef & usize::MAX, &mut buffer), b"0x7f00deadbeef");
    }
}
