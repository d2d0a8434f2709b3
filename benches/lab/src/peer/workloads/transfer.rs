//! Slots through which threads pass blocks on: whoever puts one in takes out what lay there.

use super::Bench;
use super::array::Array;
use super::block::Block;
use std::sync::atomic::{AtomicPtr, Ordering::AcqRel};

pub struct Transfer(Array<AtomicPtr<u8>>);

impl Transfer {
    pub fn new(count: usize) -> Transfer {
        Transfer(Array::new(count))
    }

    /// Exchanges a block, or nothing, for what the slot holds.
    pub fn exchange(&self, index: usize, block: Option<Block>) -> Option<Block> {
        let new = block.map_or(std::ptr::null_mut(), Block::into_raw);
        let old = self.0[index % self.0.len()].swap(new, AcqRel);
        // SAFETY: the slots hold what `into_raw` gave, and an exchange takes it out once.
        unsafe { Block::from_raw(old) }
    }

    /// Frees what is left.
    pub fn empty(&self, bench: &Bench) {
        for index in 0..self.0.len() {
            self.exchange(index, None).into_iter().for_each(|block| bench.give(block));
        }
    }
}
