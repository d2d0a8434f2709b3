//! What the backends that expand bits share: where they stopped, the pointer made in the end, and the table that does it
//! by the byte. A byte of a bitmap selects eight bit numbers, so placed that the lowest set bit comes out in the highest
//! lane: a magazine is filled from its top downward. `avx2_dense` reads the table.

use crate::sync::AtomicU64;

/// Where a backend's `expand` stopped.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    /// Slots that it had no bits for.
    pub left: usize,
    /// The first word that may still hold a bit, or the end.
    pub at: *const AtomicU64,
}

/// The pointer with that address: every block lies in mappings whose provenance is exposed.
#[inline(always)]
pub(super) fn pointer(address: usize) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(address)
}

/// For each byte its set bits, the lowest for the highest of eight lanes; those for which there is no bit are 0.
/// They stand in the order in which `vpunpckldq` (lanes 0, 1, 4, 5) and `vpunpckhdq` (2, 3, 6, 7) widen them.
#[cfg(target_arch = "x86_64")]
pub(super) static BITS_OF_BYTE: [u64; 256] = {
    const PLACES: [u32; 8] = [0, 1, 4, 5, 2, 3, 6, 7];
    let mut table = [0u64; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut lane) = (0, 8);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                lane -= 1;
                table[byte] |= bit << (8 * PLACES[lane]);
            }
            bit += 1;
        }
        byte += 1;
    }
    table
};
