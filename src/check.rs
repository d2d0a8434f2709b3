//! Checked mode: a bit for every live block, so that each wrong free is found at once.
//!
//! With `BITMAG_CHECK=1` (or `Config::check`) every top stays on the dummy: each call takes the slow
//! path in single-block mode, and the hit path has no branch for it. The table of live bits is
//! mapped only then.

use crate::arena::{tables, window};
use crate::hit::window;
use crate::init;
use crate::misuse::Fault;
use crate::sync::{AtomicBool, Ordering};
use crate::trace::Event;

static ON: AtomicBool = AtomicBool::new(false);

/// Turns checked mode on. Before the first allocation only.
pub(crate) fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Whether checked mode is on.
#[inline]
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn offset(block: *mut u8) -> Option<usize> {
    window::unit_of(block as usize)?;
    Some(block as usize - window().base.load(Ordering::Relaxed))
}

/// Notes that a block is handed out. Blocks outside the window have their own table.
pub(crate) fn born(block: *mut u8) {
    if !is_on() {
        return;
    }
    if let Some(offset) = offset(block) {
        // SAFETY: checked mode, and inside the window.
        let (word, bit) = unsafe { tables::live_bit(offset) };
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// Notes that a block is freed; a block that is not live has been freed before.
pub(crate) fn dies(block: *mut u8) -> Result<(), Fault> {
    if !is_on() {
        return Ok(());
    }
    let Some(offset) = offset(block) else { return Ok(()) };
    // SAFETY: checked mode, and inside the window.
    let (word, bit) = unsafe { tables::live_bit(offset) };
    if word.fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
        return Err(Fault::DoubleFree);
    }
    dying(block);
    Ok(())
}

/// Tells whoever records calls that a block is about to be given up. In checked mode only.
pub(crate) fn dying(block: *mut u8) {
    if let Some(recorder) = init::recorder() {
        recorder(Event::Freed(block));
    }
}

/// Whether a block is live, as far as checked mode knows.
pub(crate) fn is_live(block: *mut u8) -> bool {
    if !is_on() {
        return true;
    }
    offset(block).is_none_or(|offset| {
        // SAFETY: checked mode, and inside the window.
        let (word, bit) = unsafe { tables::live_bit(offset) };
        word.load(Ordering::Relaxed) & bit != 0
    })
}
