//! A tree builder: binary trees of boxed nodes, each walked and dropped (Rust's global allocator).

use super::{Bench, Outcome, Workload, single};

pub const ALL: [Workload; 1] = [single(
    "tree",
    "a binary tree of 65,535 boxed nodes of 24 B built, walked and dropped, 60 times, beside another of them that stays (Rust)",
    "node",
    tree,
)];

struct Node {
    value: u64,
    children: Option<[Box<Node>; 2]>,
}

fn build(depth: u32, value: u64) -> Box<Node> {
    let children =
        (depth > 1).then(|| [build(depth - 1, 2 * value), build(depth - 1, 2 * value + 1)]);
    Box::new(Node { value, children })
}

fn sum(node: &Node) -> u64 {
    node.value + node.children.iter().flatten().map(|child| sum(child)).sum::<u64>()
}

fn tree(bench: &Bench) -> Outcome {
    let stays = build(16, 1);
    let times = |times: usize| {
        for _ in 0..times {
            let tree = build(16, 1);
            assert_eq!(sum(&tree), (1..65_536).sum::<u64>(), "a node is broken");
        }
    };
    times(1);
    let full = bench.scaled(60);
    let outcome = bench.measure(full * 65_535, || times(full));
    assert_eq!(sum(&stays), (1..65_536).sum::<u64>(), "a node is broken");
    outcome
}
