//! What one run of a workload gave: the line of JSON that the lab reads.

use super::resident;
use crate::result::{Latency, Point, Resident};
use serde::Serialize;
use std::time::Instant;

#[derive(Default, Serialize)]
pub struct Outcome {
    pub operations: u64,
    pub ns: f64,
    pub start_kib: u64,
    pub final_kib: u64,
    pub peak_kib: u64,
    pub malloc_latency: Option<Latency>,
    pub free_latency: Option<Latency>,
    pub resident: Vec<Resident>,
    /// Of a sweep; its `ns` is not used then.
    pub points: Vec<Point>,
}

/// Looks at the process now and then; room for them is taken ahead.
pub struct Looks {
    begin: Instant,
    seen: Vec<Resident>,
}

impl Looks {
    pub fn new() -> Looks {
        Looks { begin: Instant::now(), seen: Vec::with_capacity(256) }
    }

    /// What is resident while so many bytes are live.
    pub fn look(&mut self, live: usize) {
        let seconds = self.begin.elapsed().as_secs_f64();
        let (live_kib, resident_kib) = (live as u64 / 1024, resident::kib());
        if self.seen.len() < self.seen.capacity() {
            self.seen.push(Resident { seconds, live_kib, resident_kib });
        }
    }

    pub fn all(self) -> Vec<Resident> {
        self.seen
    }
}
