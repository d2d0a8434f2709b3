//! The trace: every call of the C face, in order, in a file (`BITMAG_TRACE=PATH`), for replaying what a program does elsewhere.
//!
//! It runs on top of checked mode, in which every call takes the slow path and can be seen; nothing of it lies on the way of a hit.
//! The settings of the C face name `record`, and nothing else does, so that a program with the Rust face alone does not link it.
//!
//! # The file
//! Slots of 32 bytes, four words each of the machine's byte order. Slot 0: `MAGIC`, the process id, the bytes in a slot, 0.
//! Each other slot is one call:
//!
//! | word | bits | |
//! |---|---|---|
//! | 0 | 0..8 | what: 0 nothing, 1 allocated, 2 allocated zeroed, 3 reallocated, 4 freed |
//! | | 8..16 | log2 of the alignment asked for; up to 4 means none |
//! | | 16..64 | bytes asked for; 0 of a free |
//! | 1 | | the thread: a number that no other thread has at the same time |
//! | 2 | | address of the block; of a reallocation, where it is now |
//! | 3 | | of a reallocation, where it was; else 0 |
//!
//! A reallocation that moved the block is followed by the same thread's free of the old address, which belongs to it. A slot of
//! zeros is a call that never ended (the process was killed), or the file's unused end, at most `CHUNK` bytes. Calls that failed
//! are not in it.
//!
//! # The order
//! A slot is claimed by one atomic addition: after an allocation has its block, before a free gives it up. Who gets a block that
//! another thread freed has synchronised with that thread, so its slot comes later: the order of the slots is one in which the calls
//! may have happened one after the other.
//!
//! # The memory
//! The file itself is mapped, a chunk at a time, so nothing is buffered and a killed process leaves all that it did. Whoever claims
//! a slot of a chunk that is not mapped maps it; if two do, one of them wins. Nobody waits, so a signal handler may come at any
//! instruction. A chunk whose last slot was written is unmapped by whoever wrote it. The file is opened anew for each chunk: a
//! program may close descriptors that it does not know.
//!
//! The child of a fork stops recording before it runs on.

use crate::hit;
use crate::misuse::write_line;
use crate::os::{self, Access, Errno, file};
use crate::stats::expand_path;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use core::ptr;

/// The first word of a trace: "bitmagT1".
const MAGIC: u64 = u64::from_ne_bytes(*b"bitmagT1");
/// Words in a slot.
const WORDS: usize = 4;
/// Bytes of the file that are mapped at a time.
const CHUNK: usize = 1 << 20;
/// Slots in a chunk.
const SLOTS: usize = CHUNK / (WORDS * size_of::<u64>());
/// Most chunks: 16 GiB, half a billion calls.
const CHUNKS: usize = 1 << 14;
/// Longest path, its NUL included.
const PATH_BYTES: usize = 1024;

/// Who is told of every call.
pub(crate) type Recorder = fn(Event<'_>) -> bool;

/// What a recorder is told.
#[derive(Clone, Copy)]
pub(crate) enum Event<'a> {
    /// To begin, at this path; answered by whether it did.
    Start(&'a [u8]),
    /// A block was handed out.
    Allocated { block: *mut u8, size: usize, align: usize, zeroed: bool },
    /// A block has a new size, and maybe a new place. Its free is reported if it has.
    Reallocated { from: *mut u8, block: *mut u8, size: usize },
    /// A block is about to be given up.
    Freed(*mut u8),
    /// This process is the child of a fork.
    Forked,
}

/// A part of the file.
struct Chunk {
    /// Where it is mapped; NULL before. Written once.
    memory: AtomicPtr<AtomicU64>,
    /// Slots that were written.
    written: AtomicUsize,
}

/// What there is while a trace is being written, in a mapping of its own that is zero at first.
struct State {
    /// The next slot.
    next: AtomicUsize,
    /// Absolute, NUL-terminated. Constant once the state is published.
    path: [u8; PATH_BYTES],
    chunks: [Chunk; CHUNKS],
}

/// The state, NULL while nothing is recorded. Published with release by `start`.
static STATE: AtomicPtr<State> = AtomicPtr::new(ptr::null_mut());

/// Takes an event down.
pub(crate) fn record(event: Event<'_>) -> bool {
    match event {
        Event::Start(path) => return start(path),
        Event::Allocated { block, size, align, zeroed } => {
            let what = (1 + u64::from(zeroed)) | u64::from(align.trailing_zeros()) << 8;
            put([what | (size as u64) << 16, 0, block as u64, 0]);
        }
        Event::Reallocated { from, block, size } => {
            put([3 | (size as u64) << 16, 0, block as u64, from as u64]);
        }
        Event::Freed(block) => put([4, 0, block as u64, 0]),
        Event::Forked => STATE.store(ptr::null_mut(), Ordering::Relaxed),
    }
    true
}

/// Creates the file. `false`, with a line on stderr, if it cannot be.
fn start(path: &[u8]) -> bool {
    let Ok(memory) = os::map(size_of::<State>(), Access::ReadWrite) else {
        return refused(path, Errno(libc::ENOMEM));
    };
    let state = memory.cast::<State>();
    // SAFETY: a fresh mapping of that size, which nobody else knows; zeros are a valid state.
    let built = unsafe { create(&mut *state, path) };
    match built {
        Ok(()) => STATE.store(state, Ordering::Release),
        Err(errno) => {
            os::unmap(memory, size_of::<State>());
            return refused(path, errno);
        }
    }
    true
}

fn create(state: &mut State, path: &[u8]) -> Result<(), Errno> {
    let mut expanded = [0; PATH_BYTES];
    expand_path(path, &mut expanded);
    let mut len = 0;
    if !path.starts_with(b"/") {
        len = file::working_directory(&mut state.path)?;
        if let Some(slot) = state.path.get_mut(len) {
            *slot = b'/';
            len += 1;
        }
    }
    let name = expanded.iter().take_while(|byte| **byte != 0);
    for byte in name {
        // The last byte stays 0.
        let slot = state.path.get_mut(len).filter(|_| len + 1 < PATH_BYTES);
        *slot.ok_or(Errno(libc::ENAMETOOLONG))? = *byte;
        len += 1;
    }
    file::create(state.path.as_ptr())?;
    let words = state.chunk(0)?;
    let header = [u64::from(os::process_id()), (WORDS * size_of::<u64>()) as u64, 0];
    write_slot(words, 0, [MAGIC, header[0], header[1], header[2]]);
    state.chunks[0].written.store(1, Ordering::Relaxed);
    state.next.store(1, Ordering::Relaxed);
    Ok(())
}

impl State {
    /// The words of a chunk, which is mapped now if it was not.
    fn chunk(&self, index: usize) -> Result<*mut AtomicU64, Errno> {
        let chunk = self.chunks.get(index).ok_or(Errno(libc::EFBIG))?;
        let known = chunk.memory.load(Ordering::Acquire);
        if !known.is_null() {
            return Ok(known);
        }
        let fresh = file::map(self.path.as_ptr(), index * CHUNK, CHUNK)?;
        let words = fresh.cast();
        match chunk.memory.compare_exchange(
            ptr::null_mut(),
            words,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => Ok(words),
            Err(theirs) => {
                os::unmap(fresh, CHUNK);
                Ok(theirs)
            }
        }
    }
}

/// Fills in the thread and writes the call to the file.
fn put(call: [u64; WORDS]) {
    let state = STATE.load(Ordering::Acquire);
    if state.is_null() {
        return;
    }
    // SAFETY: a published state is never unmapped.
    let state = unsafe { &*state };
    let index = state.next.fetch_add(1, Ordering::AcqRel);
    let (chunk, slot) = (index / SLOTS, index % SLOTS);
    match state.chunk(chunk) {
        Ok(words) => {
            write_slot(words, slot, [call[0], hit::token() as u64, call[2], call[3]]);
            let written = state.chunks[chunk].written.fetch_add(1, Ordering::AcqRel) + 1;
            if written == SLOTS {
                // Nobody has a slot of it left to write.
                os::unmap(words.cast(), CHUNK);
            }
        }
        Err(errno) => {
            // Once: the others see NULL.
            if !STATE.swap(ptr::null_mut(), Ordering::Relaxed).is_null() {
                say(b"bitmag: the trace ends here (error ", errno, &state.path);
            }
        }
    }
}

/// Writes a slot; its first word, which says that it is one, comes last.
fn write_slot(words: *mut AtomicU64, slot: usize, values: [u64; WORDS]) {
    for index in (0..WORDS).rev() {
        // SAFETY: `slot` is below SLOTS and claimed by this call alone; the chunk stays mapped until it is counted as written.
        let word = unsafe { &*words.add(slot * WORDS + index) };
        word.store(values[index], if index == 0 { Ordering::Release } else { Ordering::Relaxed });
    }
}

#[cold]
#[inline(never)]
fn refused(path: &[u8], errno: Errno) -> bool {
    if errno.0 == libc::EEXIST {
        write_line(&[b"bitmag: no trace, since there is such a file: ", path, b"\n"]);
    } else {
        say(b"bitmag: no trace (error ", errno, path);
    }
    false
}

fn say(what: &[u8], errno: Errno, path: &[u8]) {
    let mut digits = [0; 20];
    let start = crate::stats::decimal(errno.0.unsigned_abs().into(), &mut digits);
    let path = path.split(|byte| *byte == 0).next().unwrap_or(&[]);
    write_line(&[what, digits.get(start..).unwrap_or(&[]), b"): ", path, b"\n"]);
}

const _: () = assert!(size_of::<AtomicU64>() == 8 && CHUNK.is_multiple_of(WORDS * 8));
