//! The rows: those that `benches/instructions.rs` holds to limits, with the same lengths, and which functions one operation calls.

use crate::limits::{self, ROWS};

/// A row as the lab runs it.
pub struct Row {
    pub name: &'static str,
    pub operation: &'static str,
    /// What bitmag is to cost here, without LTO; 0 where nothing is promised.
    pub aim: f64,
    /// Operations of the short and the long run.
    pub lengths: [usize; 2],
    /// Calls in one operation whose return the loop around nothing executes too.
    pub calls: usize,
    /// Whether it runs on the Rust face.
    pub rust: bool,
}

/// All rows that every allocator can run. The exit of a thread is not among them: only bitmag's has a function of its own to count.
pub fn rows() -> Vec<Row> {
    ROWS.iter().filter(|row| row.name != "thread_exit").map(row).collect()
}

fn row(row: &limits::Row) -> Row {
    let lengths = match row.name {
        // glibc keeps seven blocks of a size at hand: a hit beyond them is none.
        "malloc_hit" | "free_hit" | "free_sized_hit" | "rust_alloc" | "rust_dealloc" => [2, 6],
        _ => row.lengths,
    };
    let rust =
        row.name.starts_with("rust_") || row.name.starts_with("box_") || row.name == "vec_growth";
    let (operation, aim) = (row.operation, row.bound[0]);
    Row { name: row.name, operation, aim, lengths, calls: row.calls, rust }
}

/// How many blocks of every size stay allocated while a row runs. A hit is tried from several positions, and the least counts: somewhere
/// in a series every allocator has a slower call, and a row of hits is about the others. A thread's first allocation finds nothing.
pub fn kept(row: &str) -> &'static [usize] {
    match row {
        "first_malloc" => &[0],
        "rust_alloc" | "rust_dealloc" => &[0, 3, 8, 13],
        row if row.ends_with("_hit") || row.ends_with("_4096") => &[0, 3, 8, 13],
        _ => &[3],
    }
}

/// The functions that each operation of a row calls once; for the vector, those that it calls at least once.
pub fn functions(row: &str) -> &'static [&'static str] {
    match row {
        "malloc_hit" | "malloc_4096" | "first_malloc" | "remote_refill" => &["malloc"],
        "free_hit" | "free_4096" | "remote_free" => &["free"],
        "free_sized_hit" | "free_sized_4096" | "rust_dealloc" => &["free_sized"],
        "thousand" | "shuffled" | "mixed" => &["malloc", "free"],
        "aligned_alloc" => &["aligned_alloc", "free"],
        "calloc" => &["calloc", "free"],
        "realloc" => &["malloc", "realloc", "free"],
        "rust_alloc" => &["malloc"],
        "box_loop" | "box_once" => &["malloc", "free_sized"],
        "rust_realloc" => &["malloc", "realloc", "free_sized"],
        "rust_alloc_zeroed" => &["calloc", "free_sized"],
        "vec_growth" => &["malloc", "realloc", "free_sized"],
        _ => panic!("nobody said what {row} calls"),
    }
}
