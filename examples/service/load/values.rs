//! Values of the load: slices of one random pad, with sizes drawn from a distribution with a long
//! tail. The models remember a value as a `Blob`, two numbers, so that the load generator hardly
//! allocates. The same seed gives the same pad and the same sizes in every run.

use fastrand::Rng;

/// How many of ten thousand values lie in which range of sizes; within a range small sizes are the
/// likelier ones.
const SIZES: [(u32, u32, u32); 6] = [
    (5_000, 16, 128),
    (3_000, 128, 1 << 10),
    (1_600, 1 << 10, 8 << 10),
    (360, 8 << 10, 32 << 10),
    (36, 32 << 10, 128 << 10),
    (4, 128 << 10, 512 << 10),
];

const LONGEST: usize = 512 << 10;

/// Where slices may begin.
const STARTS: usize = 1 << 20;

/// One value: a slice of the pad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    start: u32,
    length: u32,
}

impl Blob {
    /// Its size in bytes.
    pub fn len(self) -> usize {
        self.length as usize
    }

    /// The two numbers that make it up.
    pub fn parts(self) -> (u32, u32) {
        (self.start, self.length)
    }

    /// A blob from its two numbers, if there can be such a one.
    pub fn from_parts(start: u32, length: u32) -> Option<Self> {
        ((start as usize) < STARTS && length as usize <= LONGEST).then_some(Self { start, length })
    }
}

/// The bytes that all values are cut from.
#[derive(Debug)]
pub struct Pad(Vec<u8>);

impl Pad {
    /// The pad of a seed.
    pub fn new(seed: u64) -> Self {
        let mut bytes = vec![0; STARTS + LONGEST];
        Rng::with_seed(seed).fill(&mut bytes);
        Self(bytes)
    }

    /// The bytes of a blob.
    pub fn get(&self, blob: Blob) -> &[u8] {
        &self.0[blob.start as usize..][..blob.len()]
    }
}

/// A value of any size.
pub fn any(rng: &mut Rng) -> Blob {
    let mut ticket = rng.u32(..10_000);
    let (_, low, high) = SIZES
        .into_iter()
        .find(|&(share, _, _)| {
            let here = ticket < share;
            ticket = ticket.wrapping_sub(share);
            here
        })
        .expect("the shares add up to ten thousand");
    between(rng, low, high)
}

/// A value between two sizes, evenly over their logarithms.
pub fn between(rng: &mut Rng, low: u32, high: u32) -> Blob {
    let length = f64::from(low) * (f64::from(high) / f64::from(low)).powf(rng.f64());
    Blob { start: rng.u32(..STARTS as u32), length: length as u32 }
}
