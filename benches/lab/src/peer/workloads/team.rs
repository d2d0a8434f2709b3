//! Threads whose first call is the allocator's own, if it wants to be told of them: `std::thread` allocates on a new thread before
//! anything else runs on it, which an allocator that has not been told may not survive (rpmalloc).

use crate::allocator;
use crate::rows::Face;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

/// What one thread needs to know.
struct Member<'a> {
    face: Face,
    index: usize,
    body: &'a (dyn Fn(usize) + Sync),
}

extern "C" fn begin(member: *mut c_void) -> *mut c_void {
    // SAFETY: `run` keeps the members until every thread has ended, and nobody writes to them.
    let member = unsafe { &*member.cast::<Member<'_>>() };
    // SAFETY: no precondition; a peer without such a call has one that does nothing.
    unsafe { (member.face.enter)() };
    (member.body)(member.index);
    allocator::leave();
    null_mut()
}

/// Runs `body` on so many threads at once, each with its number, and `meanwhile` on this one; returns when all have ended.
pub fn run(face: Face, count: usize, body: &(dyn Fn(usize) + Sync), meanwhile: impl FnOnce()) {
    let members: Vec<_> = (0..count).map(|index| Member { face, index, body }).collect();
    let mut threads = Vec::with_capacity(count);
    for member in &members {
        let mut thread = 0;
        let argument = (&raw const *member).cast_mut().cast();
        // SAFETY: the member outlives the thread, which is waited for below; a panic ends the program.
        let failed = unsafe { libc::pthread_create(&mut thread, null(), begin, argument) };
        assert_eq!(failed, 0, "no thread");
        threads.push(thread);
    }
    meanwhile();
    for thread in threads {
        // SAFETY: a thread of this function that nobody else waits for.
        unsafe { libc::pthread_join(thread, null_mut()) };
    }
}
