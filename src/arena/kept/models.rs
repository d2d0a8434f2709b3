//! loom models of others taking what a thread keeps, on the shipped functions. The barrier that the system puts into every thread is a
//! fence on both sides here: that is what a thread can rely on between its store of `busy` and its loads.

use super::*;
use crate::arena::units;
use crate::sync::{check, ready, spawn};
use loom::cell::UnsafeCell;
use std::sync::Arc;

const SIZE: usize = 40_000;

/// A live span; what is in it must not be used by two without an order between them.
struct Span {
    unit: u32,
    block: usize,
    content: Arc<UnsafeCell<u32>>,
}

impl Span {
    fn new() -> Self {
        let block = spans::allocate(SIZE, 16, false, hit::token()) as usize;
        assert!(block != 0);
        Self { unit: unit_at(block), block, content: Arc::new(UnsafeCell::new(0)) }
    }

    /// What the program does with its block, or the next one that claims its unit.
    fn touch(&self) {
        // SAFETY: only the block's owner calls it, which is what the models are about.
        self.content.with_mut(|content| unsafe { *content += 1 });
    }

    fn put(&self, thread: &Thread) -> bool {
        self.touch();
        // SAFETY: this thread of the model holds the record; the span begins in that unit.
        unsafe { put_last(thread, self.unit, self.block, None) }
    }

    /// After everything: in the hands of one only. `held` says whether the program has it.
    fn settle(&self, thread: &Thread, held: bool) {
        let kept = thread.kept.places.iter();
        let places = kept.filter(|place| place.load(Ordering::Relaxed) == self.block).count();
        let free = usize::from(units::is_free(self.unit));
        assert_eq!(
            places + free + usize::from(held),
            1,
            "in {places} places, free {free}, held {held}"
        );
        if free != 0 {
            assert!(units::claim_at(self.unit, 1));
            self.touch();
        }
    }
}

fn taker(thread: &'static Thread) -> loom::thread::JoinHandle<bool> {
    spawn(move || empty_others(&thread.kept))
}

/// A thread takes its last span while another one takes it away.
#[test]
fn a_span_taken_by_its_thread_and_by_another() {
    ready();
    check(3, || {
        let thread = thread::record(0).unwrap();
        begin(thread);
        let span = Span::new();
        assert!(span.put(thread));
        let other = taker(thread);
        // SAFETY: this thread of the model holds the record.
        let held = !unsafe { take_last(thread, SIZE) }.is_null();
        if held {
            span.touch();
        }
        other.join().unwrap();
        span.settle(thread, held);
    });
}

/// Two take at once what a thread takes, and what it puts there instead.
#[test]
fn a_span_in_the_place_of_one_that_two_take() {
    ready();
    check(3, || {
        let thread = thread::record(0).unwrap();
        begin(thread);
        let (first, second) = (Span::new(), Span::new());
        assert!(first.put(thread));
        let others = [taker(thread), taker(thread)];
        // SAFETY: this thread of the model holds the record.
        let first_is_held = !unsafe { take_last(thread, SIZE) }.is_null();
        if first_is_held {
            first.touch();
        }
        let second_is_held = !second.put(thread);
        for other in others {
            other.join().unwrap();
        }
        first.settle(thread, first_is_held);
        second.settle(thread, second_is_held);
    });
}
