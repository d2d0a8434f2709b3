//! The assembly against its twin, on every kind of slab that either may meet.

use super::{LAST, give, take, twin};
use crate::arena::{tables, units};
use crate::config::Config;
use crate::heap::lock;
use crate::heap::row::Row;
use crate::layout::{Heap, Identity, NO_ROW, NO_UNIT, Record, SLAB_WORDS, UNIT_BYTES};
use crate::size_class::Class;
use crate::sync::Ordering::Relaxed;

const TOKEN: usize = 0x70_1e40;

/// All that a row's short way reads or writes, but for what never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct State {
    lock: usize,
    turn: u32,
    current: u32,
    counts: [u64; 4],
    identity: u64,
    used: u32,
    blocks: u32,
    row: u32,
    local: [u64; SLAB_WORDS],
}

/// A slab of the test's own, in a heap that no other test's threads come to use.
struct Ground {
    heap: &'static Heap,
    record: &'static Record,
    class: Class,
}

impl Ground {
    fn read(&self) -> State {
        let (heap, record) = (self.heap, self.record);
        let counters = heap.counters_of(self.class);
        State {
            lock: heap.lock.load(Relaxed),
            turn: heap.turn.load(Relaxed),
            current: heap.current_of(self.class.index()).load(Relaxed),
            counts: [
                counters.refills.load(Relaxed),
                counters.refilled_blocks.load(Relaxed),
                counters.flushes.load(Relaxed),
                counters.flushed_blocks.load(Relaxed),
            ],
            identity: record.identity().0,
            used: record.used.load(Relaxed),
            blocks: record.blocks.load(Relaxed),
            row: record.row.load(Relaxed),
            local: core::array::from_fn(|at| record.local[at].load(Relaxed)),
        }
    }

    fn write(&self, state: &State) {
        let (heap, record) = (self.heap, self.record);
        let counters = heap.counters_of(self.class);
        record.set_identity(Identity(state.identity));
        record.used.store(state.used, Relaxed);
        record.blocks.store(state.blocks, Relaxed);
        record.row.store(state.row, Relaxed);
        for (word, bits) in record.local.iter().zip(state.local) {
            word.store(bits, Relaxed);
        }
        counters.refills.store(state.counts[0], Relaxed);
        counters.refilled_blocks.store(state.counts[1], Relaxed);
        counters.flushes.store(state.counts[2], Relaxed);
        counters.flushed_blocks.store(state.counts[3], Relaxed);
        heap.turn.store(state.turn, Relaxed);
        heap.current_of(self.class.index()).store(state.current, Relaxed);
        heap.lock.store(state.lock, Relaxed);
    }

    /// Does both from the same state and compares what they say and leave; what they said.
    fn both<T: PartialEq + core::fmt::Debug>(
        &self,
        state: &State,
        beyond: bool,
        assembly: impl FnOnce() -> Option<T>,
        rust: impl FnOnce() -> Option<T>,
    ) -> bool {
        self.write(state);
        let one = (assembly(), self.read());
        self.write(state);
        let two = (rust(), self.read());
        if beyond {
            // Where the assembly leaves it to the general way.
            assert_eq!(one, (None, state.clone()));
        } else {
            assert_eq!(one, two);
        }
        one.0.is_some()
    }
}

/// Numbers without a pattern.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// A slab around `count` neighbours from `first` on that are all free (or all used), most often as it should be.
fn state(
    noise: &mut Noise,
    before: &State,
    class: Class,
    home: u32,
    unit: u32,
    place: (usize, usize, bool),
) -> State {
    let (first, count, free) = place;
    let blocks = UNIT_BYTES / class.size();
    let mut local: [u64; SLAB_WORDS] =
        core::array::from_fn(|_| noise.0.rotate_left(noise.below(64) as u32));
    for at in first..(first + count).min(64 * SLAB_WORDS) {
        local[at / 64] = local[at / 64] & !(1 << (at % 64)) | u64::from(free) << (at % 64);
    }
    if noise.below(6) == 0 {
        let at = (first + noise.below(count)).min(64 * SLAB_WORDS - 1);
        local[at / 64] ^= 1 << (at % 64);
    }
    let identity = Identity::new(class.index(), home);
    State {
        lock: if noise.below(12) == 0 { TOKEN + 8 } else { 0 },
        current: if noise.below(6) == 0 { NO_UNIT } else { unit },
        identity: match noise.below(12) {
            0 => identity.0,
            1 => Identity::new(class.index() + 1, home).quiet().0,
            2 => Identity::new(class.index(), home + 1).quiet().0,
            _ => identity.quiet().0,
        },
        used: match noise.below(4) {
            0 => count - 1 + noise.below(3),
            _ => noise.below(blocks + 1),
        } as u32,
        blocks: blocks as u32,
        row: match noise.below(4) {
            0 if !free => NO_ROW,
            1 if !free => noise.below(blocks) as u32,
            _ if noise.below(12) == 0 => NO_ROW,
            _ => first as u32,
        },
        local,
        ..before.clone()
    }
}

#[test]
fn both_ways_do_the_same() {
    assert!(crate::init::ensure(&Config::new()));
    let heap = lock::heap(lock::count() - 1);
    let home = heap.number();
    let unit = units::claim(1, 1, TOKEN).expect("a unit");
    // SAFETY: the unit is this test's.
    let record = unsafe { tables::record(unit) };
    let mut noise = Noise(0x5eed);
    let (mut taken, mut given) = (0, 0);
    for class in [1, 2, 3, 4, 16, 33] {
        let class = Class::from_index(class);
        let ground = Ground { heap, record, class };
        let before = ground.read();
        let blocks = UNIT_BYTES / class.size();
        for step in 0..4_000 {
            // Now and then beyond the slab's end, or at the bitmap's.
            let first = if step % 8 == 0 {
                blocks.saturating_sub(noise.below(80))
            } else {
                noise.below(blocks)
            };
            let free = step % 2 == 0;
            macro_rules! compare {
                ($count:literal) => {{
                    let state =
                        state(&mut noise, &before, class, home, unit, (first, $count, free));
                    let beyond = |first: usize| first > LAST && first + $count <= blocks;
                    if free {
                        let beyond = beyond(state.row as usize) && state.row != NO_ROW;
                        taken += usize::from(ground.both(
                            &state,
                            beyond,
                            || take::<$count>(home, class, TOKEN),
                            || twin::take::<$count>(home, class, TOKEN),
                        ));
                    } else {
                        let row = Row::at(unit, first, $count);
                        given += usize::from(ground.both(
                            &state,
                            beyond(first),
                            || give::<$count>(home, class, &row, TOKEN),
                            || twin::give::<$count>(home, class, &row, TOKEN),
                        ));
                    }
                }};
            }
            if step % 3 == 0 { compare!(16) } else { compare!(31) }
        }
        ground.write(&before);
    }
    units::release(unit, 1);
    assert!(taken > 4_000 && given > 4_000, "{taken} {given}");
}
