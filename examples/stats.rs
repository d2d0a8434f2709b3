//! What `bitmag::stats()` tells: the counters before, during and after a piece of work.
//! Run it with `cargo run --release --example stats`.
//! Reading the counters allocates nothing, so a program can look at itself at any time.

#[global_allocator]
static ALLOCATOR: bitmag::Bitmag = bitmag::Bitmag::new();

fn main() {
    show("at the start");
    // A hundred thousand strings of many sizes, and one block that is too large for any size class.
    let mut words: Vec<String> = (0..100_000).map(|n| "ab".repeat(n % 400)).collect();
    let table = vec![1_u8; 5 << 20];
    show("with 100,000 strings and a table of 5 MiB");
    // The other thread frees what this one has allocated.
    let half = words.split_off(50_000);
    std::thread::spawn(move || drop(half)).join().expect("it only frees");
    drop((words, table));
    show("after everything has been freed, half of it by another thread");
    bitmag::trim();
    show("after a trim");

    println!("\nthe busiest size classes:");
    let stats = bitmag::stats();
    let mut classes: Vec<_> =
        stats.classes.iter().filter(|class| class.refilled_blocks > 0).collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.refilled_blocks));
    for class in classes.into_iter().take(8) {
        println!(
            "  {:>6} bytes: {:>7} blocks in {:>6} refills, {:>7} back in {:>6} flushes, \
             {} by remote frees",
            class.size,
            class.refilled_blocks,
            class.refills,
            class.flushed_blocks,
            class.flushes,
            class.remote_frees
        );
    }
}

fn show(moment: &str) {
    let stats = bitmag::stats();
    println!("{moment}:");
    println!(
        "  KiB: {} reserved, {} committed, {} in slabs, {} in large blocks, {} cached in magazines",
        stats.reserved >> 10,
        stats.committed >> 10,
        stats.slabs >> 10,
        stats.large >> 10,
        stats.magazines >> 10
    );
    println!(
        "  {} threads; blocks: {} refilled, {} flushed, {} freed remotely",
        stats.threads, stats.refilled_blocks, stats.flushed_blocks, stats.remote_frees
    );
}
