//! A memory barrier on every processor that runs a thread of this process: `membarrier`.
//!
//! What makes plain loads and stores enough on the side that is often taken: the seldom side has the system
//! put the barrier between them.

#[cfg(not(loom))]
use super::syscall::call;

#[cfg(not(loom))]
const PRIVATE_EXPEDITED: usize = 1 << 3;
#[cfg(not(loom))]
const REGISTER_PRIVATE_EXPEDITED: usize = 1 << 4;

/// Where the often taken side counts on `barrier_everywhere`: nothing but an order for the compiler. In a model it is
/// the barrier itself.
#[inline(always)]
pub(crate) fn barrier_of_others() {
    cfg_if::cfg_if! {
        if #[cfg(loom)] {
            crate::sync::fence(crate::sync::Ordering::SeqCst);
        } else {
            crate::sync::compiler_fence(crate::sync::Ordering::SeqCst);
        }
    }
}

/// Has every thread of the process pass a memory barrier between the call and its return: whether the
/// system did (Linux 4.14 and later).
#[cfg(loom)]
pub(crate) fn barrier_everywhere() -> bool {
    crate::sync::fence(crate::sync::Ordering::SeqCst);
    true
}

/// Has every thread of the process pass a memory barrier between the call and its return: whether the
/// system did (Linux 4.14 and later).
#[cfg(not(loom))]
pub(crate) fn barrier_everywhere() -> bool {
    let ask = |command| {
        super::check(call(libc::SYS_membarrier as usize, [command, 0, 0, 0, 0, 0])).is_ok()
    };
    // Refused until the process was registered, which lasts.
    ask(PRIVATE_EXPEDITED) || (ask(REGISTER_PRIVATE_EXPEDITED) && ask(PRIVATE_EXPEDITED))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_had_again() {
        if barrier_everywhere() {
            assert!(barrier_everywhere());
        }
    }
}
