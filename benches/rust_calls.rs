//! What the calls of the Rust face cost with layouts that the compiler does not know: `cargo bench --bench rust_calls`, and again with
//! `--profile bench-lto`. A program of its own: under LTO what is inlined into a row of `benches/instructions.rs` depends on who else in
//! the program calls the same function.

#[path = "instructions/counting.rs"]
mod counting;
#[path = "instructions/limits.rs"]
mod limits;
#[allow(dead_code, reason = "the name of the variable alone")]
#[path = "instructions/loaded.rs"]
mod loaded;
#[allow(dead_code, reason = "the type of a face alone")]
#[path = "instructions/rows.rs"]
mod rows;
#[path = "instructions/rust_calls.rs"]
mod rust_calls;
#[path = "instructions/summary.rs"]
mod summary;

use bitmag::{Backend, Bitmag, Config};

/// Valgrind has no AVX-512; a machine without AVX2 is no place for this bench.
#[global_allocator]
static BITMAG: Bitmag = Bitmag::with(Config::new().backend(Backend::Avx2));

/// The benches: each row short and long, and the same around nothing.
mod harness {
    use crate::counting::{config, counted};
    use crate::limits::row;
    use crate::rust_calls;
    use iai_callgrind::{library_benchmark, library_benchmark_group};

    fn ready(name: &str, length: usize, around_nothing: usize) -> (fn(usize), usize) {
        rust_calls::prepare(name);
        (rust_calls::row(name).expect("a row")[around_nothing], row(name).lengths[length])
    }

    const BODY: &str = "*::rust_body";

    #[inline(never)]
    fn rust_body(body: fn(usize), count: usize) {
        body(count);
    }

    macro_rules! rows {
        ($($row:ident)*) => {
            $(
                #[library_benchmark]
                #[bench::short(args = (stringify!($row), 0, 0), setup = ready, config = counted(BODY, stringify!($row), 0))]
                #[bench::long(args = (stringify!($row), 1, 0), setup = ready, config = counted(BODY, stringify!($row), 1))]
                #[bench::loop_short(args = (stringify!($row), 0, 1), setup = ready, config = counted(BODY, "", 0))]
                #[bench::loop_long(args = (stringify!($row), 1, 1), setup = ready, config = counted(BODY, "", 1))]
                fn $row(run: (fn(usize), usize)) {
                    rust_body(run.0, run.1);
                }
            )*
            library_benchmark_group!(name = rust; benchmarks = $($row),*);
        };
    }
    rows!(rust_alloc rust_dealloc rust_realloc rust_alloc_zeroed);

    iai_callgrind::main!(
        config = config();
        library_benchmark_groups = rust
    );

    /// What the macro made.
    pub fn run() {
        main();
    }
}

fn main() {
    if std::env::args().nth(1).as_deref() != Some("--iai-run") {
        summary::at_exit("rust_calls");
    }
    harness::run();
}
