//! loom model of the stack of free records.

use super::*;
use crate::sync::{check, ready, spawn};
use std::vec::Vec;

/// Records that the models use, made once.
const MADE: u32 = 3;

pub(crate) fn make_for_models() {
    for _ in 0..MADE {
        assert!(!make().is_null());
    }
}

/// Two records are popped and one pushed back while another thread pops: it must not follow the link of one that went and came.
#[test]
fn a_record_that_went_and_came_is_not_mistaken() {
    ready();
    check(3, || {
        for index in 0..MADE {
            push_free(record(index).unwrap());
        }
        let other = spawn(|| pop_free().map(|record| record as usize));
        let first = pop_free();
        let second = pop_free();
        if let Some(first) = first {
            // SAFETY: popped: this thread's alone.
            push_free(unsafe { &*first });
        }
        let other = other.join().unwrap();
        let mut all: Vec<usize> =
            second.into_iter().map(|record| record as usize).chain(other).collect();
        while let Some(record) = pop_free() {
            assert!(all.len() < MADE as usize, "more records than there are");
            all.push(record as usize);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), MADE as usize, "a record in two hands, or in none");
    });
}
