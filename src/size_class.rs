//! Size classes: which block size serves a request, as arithmetic that folds for constant layouts.
//!
//! Classes 1 to 64 step by 16 bytes to 1,024 (the class is the number of 16-byte steps), classes 65
//! to 104 take eight steps to each doubling up to 32,768. Everything larger is a span.
//! The assembly in `asm/` computes the same numbers; `tests` below hold the two rules together.

/// Number of small classes, 16 bytes apart; also the number of the largest small class.
pub(crate) const SMALL_CLASSES: usize = 64;
/// Largest size of a small class, bytes.
pub(crate) const SMALL_MAX: usize = 1024;
/// Classes up to this one have magazines as deep as there are slots.
pub(crate) const DEEP_CLASSES: usize = SMALL_BYTES as usize / 31 / 16;
/// Number of medium classes, eight to each doubling.
pub(crate) const MEDIUM_CLASSES: usize = 40;
/// Largest size of a medium class, bytes.
pub(crate) const MEDIUM_MAX: usize = 32 * 1024;
/// Number of classes, the unused class 0 included: the length of arrays indexed by class.
pub(crate) const CLASSES: usize = 1 + SMALL_CLASSES + MEDIUM_CLASSES;
/// Smallest alignment of every block, bytes.
pub(crate) const MIN_ALIGN: usize = 16;

/// A size class, 1..=104. Class 0 does not exist as a value of this type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Class(u8);

impl Class {
    /// The class that serves `size` bytes, or `None` above [`MEDIUM_MAX`]. Size 0 takes class 1.
    #[inline(always)]
    pub(crate) const fn of(size: usize) -> Option<Self> {
        if size <= SMALL_MAX {
            let steps = (size + 15) >> 4;
            Some(Self(if steps == 0 { 1 } else { steps as u8 }))
        } else if size <= MEDIUM_MAX {
            let steps = (size - 1) >> 4;
            let log = usize::BITS - 1 - steps.leading_zeros();
            Some(Self((8 * log as usize + ((8 * steps) >> log) + 9) as u8))
        } else {
            None
        }
    }

    /// A class from its number. The caller keeps `index` within 1..=104.
    #[inline(always)]
    pub(crate) const fn from_index(index: usize) -> Self {
        debug_assert!(index != 0 && index < CLASSES);
        Self(index as u8)
    }

    /// The class's number, 1..=104.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Block size in bytes.
    #[inline(always)]
    pub(crate) fn size(self) -> usize {
        // SAFETY: a Class holds 1..=104 and the table has 105 entries.
        unsafe { *SIZES.get_unchecked(self.0 as usize) as usize }
    }

    /// `ceil(2^32 / size)`: `offset * reciprocal >> 32` is the block index for offsets below 65,536.
    #[inline(always)]
    pub(crate) fn reciprocal(self) -> u64 {
        // SAFETY: as in `size`.
        unsafe { u64::from(*RECIPROCALS.get_unchecked(self.0 as usize)) }
    }

    /// Whether an offset below 65,536 is a multiple of the block size. One multiplication: its low half
    /// is `remainder * reciprocal` and a little more, so it stays below the reciprocal only for 0.
    /// (`asm/x86_64/realloc.s` asks in the same way.)
    #[inline(always)]
    pub(crate) fn divides(self, offset: usize) -> bool {
        let reciprocal = self.reciprocal() as u32;
        (offset as u32).wrapping_mul(reciprocal) < reciprocal
    }

    /// Whether blocks of this class live in run slabs (all medium sizes do).
    #[inline(always)]
    pub(crate) const fn is_medium(self) -> bool {
        self.0 as usize > SMALL_CLASSES
    }

    /// Whether a block of this class may serve as one of `other`: of the same class, or of a smaller one that has
    /// at least three quarters of its size and no alignment that it lacks. C's `realloc` leaves such blocks where
    /// they are, so that a sized free may come with the smaller class. (`asm/x86_64/realloc.s` asks the same.)
    #[inline(always)]
    pub(crate) fn keeps(self, other: Self) -> bool {
        self.holds(other) && 4 * other.size() >= 3 * self.size()
    }

    /// Whether a block of this class is one of `other` in all that a program can see: as long and as aligned. What a sized
    /// free has put among the blocks of a smaller class may be handed out as one of those, stay where it is when it is resized,
    /// and come back as one of a still smaller class.
    #[inline(always)]
    pub(crate) fn holds(self, other: Self) -> bool {
        other.0 <= self.0 && self.size().trailing_zeros() >= other.size().trailing_zeros()
    }

    /// Bytes to ask for when a block of this class is to grow to `size`: if it grows to the class above, as what
    /// is appended to bit by bit does, the next of four sizes to the doubling, which keeps all between.
    /// (The rule of `asm/x86_64/realloc.s`.)
    #[inline(always)]
    pub(crate) fn with_slack(self, size: usize) -> usize {
        match Self::of(size) {
            Some(class) if class.0 == self.0 + 1 => {
                let class = if class.is_medium() {
                    class.0 + class.0 % 2
                } else {
                    let step = self.0.ilog2().saturating_sub(2);
                    ((self.0 >> step) + 1) << step
                };
                Self(class).size()
            }
            _ => size,
        }
    }

    /// Deepest magazine for this class, in blocks: at most 31, at most 16 KiB of small or 256 KiB of medium
    /// blocks, at least 2.
    #[inline(always)]
    pub(crate) fn max_depth(self) -> usize {
        // SAFETY: as in `size`.
        usize::from(unsafe { *MAX_DEPTHS.get_unchecked(self.0 as usize) })
    }
}

/// The request as the class rule sees it: `size` rounded up to a multiple of `align`, when `align`
/// passes what every block has. Saturates to `usize::MAX`, which no class and no span serves.
#[inline(always)]
pub(crate) const fn round(size: usize, align: usize) -> usize {
    if align <= MIN_ALIGN {
        return size;
    }
    // Size 0 with a large alignment still needs a block of that alignment.
    let size = if size == 0 { 1 } else { size };
    match size.checked_add(align - 1) {
        Some(sum) => sum & !(align - 1),
        None => usize::MAX,
    }
}

static SIZES: [u32; CLASSES] = sizes();
static RECIPROCALS: [u32; CLASSES] = reciprocals();
static MAX_DEPTHS: [u8; CLASSES] = max_depths();

/// Most bytes of blocks that a magazine holds. A run of a medium class is searched for, so that a refill
/// of several is worth more than one of small blocks; and a flush of more small blocks would put off what
/// goes back with it.
const SMALL_BYTES: u32 = 16 << 10;
const MEDIUM_BYTES: u32 = 256 << 10;

const fn max_depths() -> [u8; CLASSES] {
    let sizes = sizes();
    let mut table = [0; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        let bytes = if class > SMALL_CLASSES { MEDIUM_BYTES } else { SMALL_BYTES };
        let blocks = bytes / sizes[class];
        table[class] = if blocks < 2 {
            2
        } else if blocks > 31 {
            31
        } else {
            blocks as u8
        };
        class += 1;
    }
    table
}

const fn sizes() -> [u32; CLASSES] {
    let mut table = [0; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        table[class] = if class <= SMALL_CLASSES {
            16 * class as u32
        } else {
            let step = class - SMALL_CLASSES; // 1..=40
            let doubling = (step - 1) / 8; // 0..=4
            ((step - 1) % 8 + 9) as u32 * (128 << doubling)
        };
        class += 1;
    }
    table
}

const fn reciprocals() -> [u32; CLASSES] {
    let sizes = sizes();
    let mut table = [0; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        table[class] = (1u64 << 32).div_ceil(sizes[class] as u64) as u32;
        class += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 0..=MEDIUM_MAX {
            let class = Class::of(size).unwrap();
            assert!(class.size() >= size.max(1), "size {size}");
            if class.index() > 1 {
                assert!(Class::from_index(class.index() - 1).size() < size, "size {size}");
            }
        }
        assert_eq!(Class::of(MEDIUM_MAX + 1), None);
        assert_eq!(Class::of(usize::MAX), None);
    }

    #[test]
    fn waste_above_128_bytes_is_at_most_an_eighth() {
        for size in 129..=MEDIUM_MAX {
            let class = Class::of(size).unwrap().size();
            assert!((class - size) * 8 <= class, "size {size} in {class}");
        }
    }

    #[test]
    fn reciprocals_divide_every_offset() {
        for class in 1..CLASSES {
            let class = Class::from_index(class);
            for offset in 0..65_536u64 {
                let index = (offset * class.reciprocal()) >> 32;
                assert_eq!(index, offset / class.size() as u64);
                let divides = offset % class.size() as u64 == 0;
                assert_eq!(class.divides(offset as usize), divides, "{offset} of {class:?}");
            }
        }
    }

    #[test]
    fn deep_classes_are_those_with_the_deepest_magazines() {
        // Of small classes: the short ways of bursts are not for runs.
        for class in 1..=SMALL_CLASSES {
            let deep = Class::from_index(class).max_depth() == 31;
            assert_eq!(deep, class <= DEEP_CLASSES, "class {class}");
        }
        for class in 1..CLASSES {
            let class = Class::from_index(class);
            let most = if class.is_medium() { 256 << 10 } else { 16 << 10 };
            let bytes = class.max_depth() * class.size();
            assert!(bytes <= most && class.max_depth() <= 31, "{class:?}");
            assert!(class.max_depth() == 31 || bytes + class.size() > most, "{class:?}");
        }
    }

    #[test]
    fn slack_is_within_what_a_sized_free_takes() {
        for class in 1..CLASSES {
            let class = Class::from_index(class);
            for size in 1..=MEDIUM_MAX {
                let (asked, given) = (Class::of(size).unwrap(), class.with_slack(size));
                let grown = Class::of(given).unwrap();
                assert!(
                    given >= size && grown.keeps(asked),
                    "{size} from {class:?} gets {grown:?}"
                );
                // What it got serves every size up to it without a move.
                for between in asked.index()..=grown.index() {
                    assert!(grown.keeps(Class::from_index(between)), "{grown:?} {between}");
                }
                // What stays wastes a quarter, and what the class that was asked for wastes.
                let waste = class.size().wrapping_sub(size);
                assert!(!class.keeps(asked) || waste <= class.size() / 4 + asked.size() / 8 + 16);
                assert!(
                    !class.keeps(asked)
                        || class.size().is_multiple_of(1 << asked.size().trailing_zeros())
                );
            }
        }
    }

    #[test]
    fn aligned_requests_land_in_classes_of_that_alignment() {
        let mut align = 32;
        while align <= MEDIUM_MAX {
            for size in (0..MEDIUM_MAX).step_by(7) {
                if let Some(class) = Class::of(round(size, align)) {
                    assert_eq!(class.size() % align, 0, "size {size} align {align}");
                }
            }
            align *= 2;
        }
    }
}
