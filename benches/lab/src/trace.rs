//! What a recorded trace says (`BITMAG_TRACE`; the file's format is told at the head of bitmag's `src/trace.rs`): the calls of a
//! program in an order in which they may have happened one after the other, with a number instead of an address for each block.
//! A number is used again once its block is freed, so the numbers are places in a table as long as the most blocks that ever lived.

use std::collections::HashMap;

/// What a call did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A block of so many bytes was allocated.
    Allocate = 0,
    /// The same, zeroed.
    AllocateZeroed,
    /// The block has another size now.
    Reallocate,
    /// The block was freed.
    Free,
}

/// One call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    pub kind: Kind,
    /// log2 of an alignment above 16, else 0.
    pub align: u8,
    /// The calling thread: 0 the first one that called, and so on. One that began after another ended may have its number.
    pub thread: u16,
    /// The block.
    pub block: u32,
    /// Bytes asked for; 0 of a free.
    pub size: u64,
}

/// A program's calls.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    pub operations: Vec<Operation>,
    /// The most blocks that lived at a time: block numbers are below it.
    pub blocks: u32,
    pub threads: u16,
    /// Frees of blocks that the trace does not know: 0 unless the process was killed between two calls' records.
    pub strange: usize,
}

const WORDS: usize = 4;
const MAGIC: &[u8; 8] = b"bitmagT1";

/// Reads a recorded file.
pub fn decode(file: &[u8]) -> Result<Trace, String> {
    let mut slots = file.chunks_exact(8 * WORDS).map(|slot| {
        let word =
            |index: usize| u64::from_ne_bytes(slot[8 * index..][..8].try_into().expect("8 bytes"));
        [word(0), word(1), word(2), word(3)]
    });
    let header = slots.next().ok_or("too short for a trace")?;
    if header[0].to_ne_bytes() != *MAGIC || header[2] != 8 * WORDS as u64 {
        return Err("no trace, or one of another version or machine".into());
    }
    let mut reader = Reader::default();
    for slot in slots.filter(|slot| slot[0] != 0) {
        reader.take(slot)?;
    }
    Ok(Trace {
        blocks: reader.blocks,
        threads: u16::try_from(reader.threads.len()).map_err(|_| "more than 65,535 threads")?,
        operations: reader.operations,
        strange: reader.strange,
    })
}

#[derive(Default)]
struct Reader {
    operations: Vec<Operation>,
    /// Live blocks by address.
    live: HashMap<u64, u32>,
    /// Numbers to be used again, the last one first.
    free: Vec<u32>,
    blocks: u32,
    threads: HashMap<u64, u16>,
    /// Old addresses of blocks that were moved, by the thread that is going to free them.
    left: HashMap<u64, u64>,
    strange: usize,
}

impl Reader {
    fn take(&mut self, [what, thread, address, from]: [u64; WORDS]) -> Result<(), String> {
        let token = thread;
        let next = self.threads.len() as u16;
        let thread = *self.threads.entry(token).or_insert(next);
        let align = (what >> 8) as u8;
        let mut operation = Operation {
            kind: Kind::Free,
            align: if align > 4 { align } else { 0 },
            thread,
            block: 0,
            size: what >> 16,
        };
        match what as u8 {
            1 | 2 => {
                operation.kind =
                    if what as u8 == 1 { Kind::Allocate } else { Kind::AllocateZeroed };
                operation.block = self.born(address);
            }
            3 => match self.live.remove(&from) {
                Some(block) => {
                    operation.kind = Kind::Reallocate;
                    operation.block = block;
                    self.live.insert(address, block);
                    if from != address {
                        self.left.insert(token, from);
                    }
                }
                None => {
                    operation.kind = Kind::Allocate;
                    operation.block = self.born(address);
                }
            },
            4 if self.left.get(&token) == Some(&address) => {
                self.left.remove(&token);
                return Ok(());
            }
            4 => match self.live.remove(&address) {
                Some(block) => {
                    operation.block = block;
                    self.free.push(block);
                }
                None => {
                    self.strange += 1;
                    return Ok(());
                }
            },
            other => return Err(format!("no call is called {other}")),
        }
        self.operations.push(operation);
        Ok(())
    }

    /// A number for a new block. One whose free was lost with a killed process ends here.
    fn born(&mut self, address: u64) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.blocks += 1;
            self.blocks - 1
        });
        if self.live.insert(address, number).is_some() {
            self.strange += 1;
        }
        number
    }
}
