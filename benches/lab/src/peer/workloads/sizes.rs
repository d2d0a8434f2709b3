//! Sizes by chance, the same for every allocator that starts from the same seed.

pub use fastrand::Rng;

/// Evenly from one to the other, both included.
#[inline(always)]
pub fn even(random: &mut Rng, from: usize, to: usize) -> usize {
    from + random.usize(..=to - from)
}

/// Each doubling as likely as the next: most are small. `from` is a power of two, and `to` is one.
#[inline(always)]
pub fn doubling(random: &mut Rng, from: usize, to: usize) -> usize {
    let doublings = (to / from).trailing_zeros().max(1);
    let base = from << random.u32(..doublings);
    base + random.usize(..=base)
}

/// Mostly 16 to 512 bytes; one in fifty up to 16 KiB.
#[inline(always)]
pub fn mostly_small(random: &mut Rng) -> usize {
    if random.u32(..50) == 0 { even(random, 513, 16 << 10) } else { even(random, 16, 512) }
}

/// As a service asks for them: 16 to 1,024 bytes, one in 128 up to 64 KiB.
#[inline(always)]
pub fn of_a_service(random: &mut Rng) -> usize {
    if random.u32(..128) == 0 { doubling(random, 1024, 64 << 10) } else { even(random, 16, 1024) }
}
