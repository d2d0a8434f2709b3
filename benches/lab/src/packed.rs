//! A trace as it is kept in the repository: a byte or two a call, deflated.
//!
//! Head: `MAGIC`, then as 64-bit numbers of little endian: calls, blocks (the most that lived at a time), threads, allocations,
//! bytes of the body before it was deflated. The body, call by call, numbers in LEB128:
//!
//! | | |
//! |---|---|
//! | a byte | bits 0 and 1 the kind, bit 2: an alignment follows, bit 3: the thread changes |
//! | a byte, if so | log2 of the alignment |
//! | a number, if so | the thread |
//! | a number, unless it is an allocation | the block, as how many allocations ago it was allocated |
//! | a number, unless it is a free | the size |
//!
//! A block's number is not in it: an allocation gets the number that was freed last, or the next one.
//! Unpacking allocates nothing beyond what it is given, because it runs in a program whose allocator is about to be measured.

use crate::trace::{Kind, Operation, Trace};

const MAGIC: &[u8; 8] = b"bitmagP1";
const HEAD: usize = 8 + 5 * 8;
const ALIGN: u8 = 4;
const THREAD: u8 = 8;

/// What a packed trace says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Calls.
    pub operations: usize,
    /// The most blocks that lived at a time: their numbers are below it.
    pub blocks: usize,
    /// Threads that called.
    pub threads: usize,
    /// Allocations among the calls.
    pub allocations: usize,
    /// Bytes of the body, inflated.
    pub body: usize,
}

/// Reads the head.
pub fn head(packed: &[u8]) -> Result<Head, String> {
    let field = |index: usize| {
        let bytes = packed.get(8 + 8 * index..16 + 8 * index).ok_or("too short")?;
        let value = u64::from_le_bytes(bytes.try_into().map_err(|_| "too short")?);
        u32::try_from(value).map(|value| value as usize).map_err(|_| "too much to replay")
    };
    if !packed.starts_with(MAGIC) {
        return Err("no packed trace".into());
    }
    Ok(Head {
        operations: field(0)?,
        blocks: field(1)?,
        threads: field(2)?,
        allocations: field(3)?,
        body: field(4)?,
    })
}

/// Room for unpacking, as long as the head says; what is in it does not matter.
pub struct Room<'a> {
    /// The body, inflated.
    pub body: &'a mut [u8],
    /// A number to each allocation.
    pub born: &'a mut [u32],
    /// A number to each block.
    pub free: &'a mut [u32],
}

/// Calls `each` with every call in turn.
pub fn unpack(
    packed: &[u8],
    room: Room<'_>,
    mut each: impl FnMut(Operation),
) -> Result<(), String> {
    let head = head(packed)?;
    let deflated = packed.get(HEAD..).unwrap_or(&[]);
    let chunks = std::iter::once(deflated);
    let len = miniz_oxide::inflate::decompress_slice_iter_to_slice(room.body, chunks, false, true)
        .map_err(|status| format!("{status:?}"))?;
    let mut body = room.body.get(..len).unwrap_or(&[]).iter();
    let (mut free, mut blocks, mut allocations, mut thread) = (0, 0, 0usize, 0);
    for _ in 0..head.operations {
        let first = *body.next().ok_or("it ends early")?;
        let align = if first & ALIGN == 0 { 0 } else { *body.next().ok_or("it ends early")? };
        if first & THREAD != 0 {
            thread = number(&mut body)? as u16;
        }
        let kind = [Kind::Allocate, Kind::AllocateZeroed, Kind::Reallocate, Kind::Free]
            [usize::from(first & 3)];
        let block = if matches!(kind, Kind::Allocate | Kind::AllocateZeroed) {
            let block = if free == 0 {
                blocks += 1;
                blocks - 1
            } else {
                free -= 1;
                room.free[free]
            };
            *room.born.get_mut(allocations).ok_or("more allocations than it says")? = block;
            allocations += 1;
            block
        } else {
            let ago = number(&mut body)? as usize;
            let birth = allocations.checked_sub(ago).ok_or("a block from before the start")?;
            *room.born.get(birth).ok_or("a block of the future")?
        };
        if kind == Kind::Free {
            *room.free.get_mut(free).ok_or("more blocks than it says")? = block;
            free += 1;
        }
        if block as usize >= head.blocks {
            return Err("more blocks than it says".into());
        }
        let size = if kind == Kind::Free { 0 } else { number(&mut body)? };
        each(Operation { kind, align, thread, block, size });
    }
    Ok(())
}

/// All calls of a packed trace.
#[allow(dead_code, reason = "the peers have room of their own")]
pub fn unpack_to_vec(packed: &[u8]) -> Result<Vec<Operation>, String> {
    let head = head(packed)?;
    let mut operations = Vec::with_capacity(head.operations);
    let room = Room {
        body: &mut vec![0; head.body],
        born: &mut vec![0; head.allocations],
        free: &mut vec![0; head.blocks],
    };
    unpack(packed, room, |operation| operations.push(operation))?;
    Ok(operations)
}

fn number(bytes: &mut std::slice::Iter<'_, u8>) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.next().ok_or("it ends in a number")?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number too long".into())
}

fn put(body: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        body.push(value as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}

/// Packs what was recorded.
#[allow(dead_code, reason = "the peers only unpack")]
pub fn pack(trace: &Trace) -> Vec<u8> {
    let mut body = Vec::new();
    let mut births = vec![0; trace.blocks as usize];
    let (mut allocations, mut thread) = (0u64, 0);
    for operation in &trace.operations {
        let mut first = match operation.kind {
            Kind::Allocate => 0,
            Kind::AllocateZeroed => 1,
            Kind::Reallocate => 2,
            Kind::Free => 3,
        };
        first |= if operation.align == 0 { 0 } else { ALIGN };
        first |= if operation.thread == thread { 0 } else { THREAD };
        body.push(first);
        if operation.align != 0 {
            body.push(operation.align);
        }
        if operation.thread != thread {
            thread = operation.thread;
            put(&mut body, thread.into());
        }
        let birth = &mut births[operation.block as usize];
        if first & 3 < 2 {
            *birth = allocations;
            allocations += 1;
        } else {
            put(&mut body, allocations - *birth);
        }
        if operation.kind != Kind::Free {
            put(&mut body, operation.size);
        }
    }
    let counts = [trace.operations.len(), trace.blocks as usize, trace.threads.into()];
    let mut packed = MAGIC.to_vec();
    for count in counts.into_iter().chain([allocations as usize, body.len()]) {
        packed.extend((count as u64).to_le_bytes());
    }
    packed.extend(miniz_oxide::deflate::compress_to_vec(&body, 9));
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::decode;

    /// A recorded file of the calls of a random program.
    fn recorded(seed: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut file: Vec<u8> = Vec::new();
        let mut slot = |words: [u64; 4]| file.extend(words.iter().flat_map(|w| w.to_ne_bytes()));
        slot([u64::from_ne_bytes(*b"bitmagT1"), 1, 32, 0]);
        let (mut live, mut next): (Vec<u64>, u64) = (Vec::new(), 4096);
        for _ in 0..random.usize(0..5000) {
            let thread = random.u64(0..3) << 32;
            let bits = random.u32(1..40);
            let size = random.u64(0..1 << bits);
            match random.u8(0..8) {
                0..=3 => {
                    let what = random.u64(1..3) | random.u64(0..12) << 8 | size << 16;
                    slot([what, thread, next, 0]);
                    live.push(next);
                    next += 64;
                }
                4 if !live.is_empty() => {
                    let at = random.usize(0..live.len());
                    let from = live[at];
                    if random.bool() {
                        live[at] = next;
                        next += 64;
                    }
                    slot([3 | size << 16, thread, live[at], from]);
                    if from != live[at] {
                        slot([4, thread, from, 0]);
                    }
                }
                5.. if !live.is_empty() => {
                    slot([4, thread, live.swap_remove(random.usize(0..live.len())), 0]);
                }
                _ => slot([0; 4]),
            }
        }
        file
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for seed in 0..200 {
            let trace = decode(&recorded(seed)).unwrap();
            assert_eq!(trace.strange, 0);
            let packed = pack(&trace);
            let head = head(&packed).unwrap();
            assert_eq!(head.blocks, trace.blocks as usize);
            let operations = unpack_to_vec(&packed).unwrap();
            assert!(operations == trace.operations, "seed {seed}");
        }
    }

    #[test]
    fn damage_is_an_error_or_another_trace() {
        let packed = pack(&decode(&recorded(7)).unwrap());
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2000 {
            let mut damaged = packed.clone();
            let at = random.usize(HEAD..damaged.len());
            damaged[at] = random.u8(..);
            damaged.truncate(random.usize(HEAD..=damaged.len()));
            let blocks = head(&damaged).unwrap().blocks;
            for operation in unpack_to_vec(&damaged).unwrap_or_default() {
                assert!((operation.block as usize) < blocks);
            }
        }
        assert!(head(b"bitmagP1").is_err() && head(b"").is_err());
    }
}
