//! bitmag as the global allocator of a whole program: the test harness, std's collections and threads all live on it.
//! The live-set model runs over the process's global allocator, one thread and several; the counters prove who serves.
//! The Rust face reads no environment unless asked to: a child with every variable set must not notice.

#[allow(dead_code, reason = "each test program uses its part of the shared language")]
mod support;

use std::collections::{BTreeMap, HashMap};
use support::api::{Global, Layouts};
use support::crowd::{self, Crowd};
use support::model::{self, Plan};
use support::verdict::{operations, seed};

#[global_allocator]
static A: bitmag::Bitmag = bitmag::Bitmag::new();

static GLOBAL: Layouts<Global> = Layouts {
    name: "the global allocator",
    allocator: &Global,
    usable: Some(bitmag::usable_size),
    trim: Some(bitmag::trim),
};

fn plan(full: u64) -> Plan {
    Plan { operations: operations(full), most_live: 40_000, most_bytes: 128 << 20 }
}

#[test]
fn random_on_one_thread() {
    let before = bitmag::stats().refilled_blocks;
    model::run(&GLOBAL, seed(), plan(800_000)).unwrap();
    assert!(bitmag::stats().refilled_blocks - before > operations(800_000) / 80);
}

#[test]
fn random_on_four_threads() {
    crowd::run(&GLOBAL, seed(), plan(1_200_000), Crowd { threads: 4, rounds: 5 }).unwrap();
}

#[test]
fn collections() {
    let mut map: HashMap<String, Vec<u32>> = HashMap::new();
    let mut tree: BTreeMap<u64, Box<[u8]>> = BTreeMap::new();
    let mut rng = fastrand::Rng::with_seed(seed());
    for round in 0..200_000u32 {
        let key = format!("key {}", rng.u32(0..5000));
        match rng.u32(0..3) {
            0 => map.entry(key).or_default().push(round),
            1 => drop(map.remove(&key)),
            _ => drop(tree.insert(
                rng.u64(0..2000),
                vec![round as u8; rng.usize(0..3000)].into_boxed_slice(),
            )),
        }
    }
    assert!(map.values().all(|rounds| rounds.is_sorted()));
    assert!(tree.values().all(|bytes| bytes.iter().all(|byte| *byte == bytes[0])));
}

#[test]
fn strings_between_threads() {
    let (send, receive) = std::sync::mpsc::channel::<String>();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let send = send.clone();
            std::thread::spawn(move || {
                (0..20_000).for_each(|n| send.send(format!("{thread} sent {n}")).unwrap())
            })
        })
        .collect();
    drop(send);
    let before = bitmag::stats();
    let received: Vec<String> = receive.iter().collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(received.len(), 80_000);
    drop(received);
    let after = bitmag::stats();
    assert!(
        after.flushed_blocks + after.remote_frees > before.flushed_blocks + before.remote_frees
    );
}

/// Run by the test below in a child, with variables set that the C face would obey.
#[test]
fn environment_child() {
    if std::env::var_os("BITMAG_CHECK").is_none() {
        return;
    }
    let boxes: Vec<Box<[u8; 48]>> = (0..10_000).map(|_| Box::new([1; 48])).collect();
    let stats = bitmag::stats();
    assert!(stats.refilled_blocks > 2 * stats.refills, "one block a refill: the checked mode");
    drop(boxes);
}

#[test]
fn reads_no_environment() {
    let file = support::places::fresh_folder("environment").join("stats");
    let ended = support::child::Child::this_program()
        .args(["--exact", "environment_child", "--nocapture"])
        .env("BITMAG_CHECK", "1")
        .env("BITMAG_BACKEND", "nonsense")
        .env("BITMAG_STATS", &file)
        .succeed()
        .unwrap();
    assert!(!ended.stderr.contains("bitmag"), "{}", ended.describe());
    assert!(!file.exists(), "the statistics were written");
}
