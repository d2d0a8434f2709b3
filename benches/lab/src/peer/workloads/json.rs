//! A document parsed into a tree of values, added up, and dropped (Rust's global allocator).

use super::sizes::{Rng, even};
use super::{Bench, Outcome, Workload, single};
use serde_json::{Value, json};

pub const ALL: [Workload; 1] = [single(
    "json",
    "a document of 1,000 records with names, numbers and lists (seed 13) parsed into values and dropped, 200 times (Rust)",
    "document",
    parse,
)
.quick()];

fn document() -> String {
    let mut random = Rng::with_seed(13);
    let mut name = |most: usize| -> String {
        let long = even(&mut random, 3, most);
        (0..long).map(|_| random.lowercase()).collect()
    };
    let record = |id: usize| {
        let tags: Vec<_> = (0..id % 7).map(|_| name(12)).collect();
        json!({ "id": id, "name": name(30), "text": name(120), "tags": tags,
            "at": { "x": id as f64 / 3.0, "y": -1, "near": [id + 1, id + 2, id + 3] } })
    };
    Value::from_iter((0..1_000).map(record)).to_string()
}

fn parse(bench: &Bench) -> Outcome {
    let text = document();
    let times = |times: usize| {
        for _ in 0..times {
            let parsed: Value = serde_json::from_str(&text).expect("the document is right");
            let records = parsed.as_array().expect("a list").iter();
            let ids = records.map(|record| record["id"].as_u64().expect("a number"));
            assert_eq!(ids.sum::<u64>(), (0..1_000).sum::<u64>(), "a value is broken");
        }
    };
    times(2);
    let full = bench.scaled(200);
    bench.measure(full, || times(full))
}
