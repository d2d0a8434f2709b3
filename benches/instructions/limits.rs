//! The limits: for each row what the project promises of one operation, and the totals that a run may not pass.
//! A row is closed where the promise is kept; an open row has the figure reached as its limit until then. Limits only go down, and
//! are changed by hand.
//! Totals are those of callgrind for the whole counted part, loop and all, on x86_64 with AVX2, the C face in the release profile.

/// Limits of one row.
pub struct Row {
    /// The function in `benches/instructions.rs`.
    pub name: &'static str,
    /// What one operation is.
    pub operation: &'static str,
    /// Instructions that one operation is promised to cost; 0 where only the total is held.
    pub bound: [f64; 2],
    /// Whether the promise is kept.
    pub closed: bool,
    /// Operations of the short and the long run.
    pub lengths: [usize; 2],
    /// Calls in one operation.
    pub calls: usize,
    /// Totals, short and long: of the release profile, and of `bench-lto`.
    pub totals: [[u64; 2]; 2],
}

/// The row of that name.
pub fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).expect("the table has the row")
}

/// 1 in the profile `bench-lto`, which is told by the folder that the program lies in.
pub fn profile() -> usize {
    let program = std::env::current_exe().unwrap_or_default();
    usize::from(program.components().any(|part| part.as_os_str() == "bench-lto"))
}

/// What a run may count at most; none for the loops around nothing.
pub fn limit(name: &str, length: usize) -> Option<u64> {
    (!name.is_empty()).then(|| row(name).totals[profile()][length])
}

const fn closed(
    name: &'static str,
    operation: &'static str,
    bound: f64,
    lengths: [usize; 2],
    calls: usize,
    totals: [[u64; 2]; 2],
) -> Row {
    Row { name, operation, bound: [bound, bound], closed: true, lengths, calls, totals }
}

const fn open(row: Row) -> Row {
    Row { closed: false, ..row }
}

const PAIRS: [usize; 2] = [1000, 2000];
const LONG: [usize; 2] = [100_000, 200_000];

/// All rows.
pub static ROWS: [Row; 23] = [
    closed("malloc_hit", "malloc of 64 B, hit", 11.0, [2, 10], 1, [[59, 195], [59, 195]]),
    closed("free_hit", "free, hit", 13.0, [2, 10], 1, [[60, 204], [60, 204]]),
    closed("free_sized_hit", "sized free, hit", 11.0, [2, 10], 1, [[59, 195], [59, 195]]),
    Row {
        bound: [15.0, 10.0],
        ..closed(
            "box_loop",
            "Box::new + drop of 64 B, in a loop",
            0.0,
            PAIRS,
            0,
            [[16_027, 32_027], [12_017, 24_017]],
        )
    },
    Row {
        bound: [0.0, 14.0],
        ..closed(
            "box_once",
            "Box::new + drop of 64 B, straight-line",
            0.0,
            PAIRS,
            0,
            [[20_010, 40_010], [18_010, 36_010]],
        )
    },
    closed("malloc_4096", "malloc of 4,096 B, hit", 20.0, [0, 1], 1, [[19, 50], [19, 50]]),
    closed("free_4096", "free of 4,096 B, hit (run slab)", 24.0, [1, 3], 1, [[53, 111], [53, 111]]),
    closed(
        "free_sized_4096",
        "sized free of 4,096 B, hit",
        20.0,
        [1, 3],
        1,
        [[50, 100], [50, 100]],
    ),
    open(closed(
        "aligned_alloc",
        "aligned_alloc(64, 256) + free",
        26.0,
        PAIRS,
        2,
        [[34_020, 68_020], [34_020, 68_020]],
    )),
    // A few instructions for each heap that it looks at, four to a processor.
    closed("first_malloc", "first malloc of a thread", 0.0, [0, 1], 1, [[19, 1974], [19, 1974]]),
    // Counted by benches/thread_exit.rs: the thread holds the block that it allocated, and one magazine.
    closed("thread_exit", "exit of a thread", 0.0, [0, 1], 0, [[1_473, 1_473], [1_473, 1_473]]),
    closed(
        "thousand",
        "1,000 mallocs of 64 B, then 1,000 frees, per pair",
        36.0,
        [10_000, 20_000],
        2,
        [[467_092, 934_151], [467_092, 934_151]],
    ),
    open(closed(
        "shuffled",
        "100,000 mallocs of 64 B, then frees shuffled, per pair",
        44.0,
        LONG,
        2,
        [[6_257_538, 12_508_693], [6_257_538, 12_508_693]],
    )),
    closed(
        "mixed",
        "1..1,024 B, replaced among 10,000 live, per pair",
        45.0,
        LONG,
        2,
        [[4_867_268, 9_765_169], [4_867_268, 9_765_169]],
    ),
    open(closed(
        "remote_free",
        "free of another thread's block",
        0.0,
        [50_000, 100_000],
        1,
        [[2_695_000, 5_400_000], [2_695_000, 5_400_000]],
    )),
    open(closed(
        "remote_refill",
        "malloc, all blocks freed by another thread",
        0.0,
        [50_000, 100_000],
        1,
        [[1_150_000, 2_299_000], [1_150_000, 2_299_000]],
    )),
    closed("calloc", "calloc(1, 64) + free", 36.0, PAIRS, 2, [[41_020, 82_020], [41_020, 82_020]]),
    closed(
        "realloc",
        "malloc + realloc 64 -> 128 + free",
        70.0,
        PAIRS,
        3,
        [[78_026, 156_026], [78_026, 156_026]],
    ),
    open(closed(
        "vec_growth",
        "Vec<u8> pushed from 0 to 4,096, growth only",
        0.0,
        [100, 200],
        0,
        [[4_730_825, 9_461_625], [3_072_320, 6_144_620]],
    )),
    // Counted by benches/rust_calls.rs: the Rust face with layouts that the compiler does not know; the call is part of the operation here.
    closed(
        "rust_alloc",
        "alloc of 64 B, hit, call included",
        0.0,
        [2, 10],
        0,
        [[86, 302], [79, 279]],
    ),
    closed(
        "rust_dealloc",
        "dealloc of 64 B, hit, call included",
        0.0,
        [2, 10],
        0,
        [[76, 260], [76, 260]],
    ),
    open(closed(
        "rust_realloc",
        "alloc + realloc 64 -> 128 + dealloc, calls included",
        0.0,
        PAIRS,
        0,
        [[179_032, 358_032], [175_029, 350_029]],
    )),
    open(closed(
        "rust_alloc_zeroed",
        "alloc_zeroed of 64 B + dealloc, calls included",
        0.0,
        PAIRS,
        0,
        [[57_036, 114_036], [54_038, 108_038]],
    )),
];
