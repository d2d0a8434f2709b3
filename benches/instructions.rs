//! The instruction counts that bitmag promises, as limits that a run cannot pass: `cargo bench --bench instructions`, and again with
//! `--profile bench-lto`. Needs valgrind and iai-callgrind-runner 0.16.1.
//! A limit is the total of a loop of fixed length (`instructions/limits.rs`): totals repeat exactly, so one instruction more fails.
//! Two more programs belong to it, each of which the others' rows would disturb: `--bench rust_calls` and `--bench thread_exit`.
//! At the end stands what one operation costs: the difference of two lengths, less the loop (`instructions/rows.rs`).

#[path = "instructions/counting.rs"]
mod counting;
#[path = "../tests/support/library.rs"]
mod library;
#[path = "instructions/limits.rs"]
mod limits;
#[path = "instructions/loaded.rs"]
mod loaded;
#[allow(dead_code, reason = "the lab uses the rest")]
#[path = "instructions/rows.rs"]
mod rows;
#[path = "instructions/rust_rows.rs"]
mod rust_rows;
#[path = "instructions/summary.rs"]
mod summary;

use bitmag::{Backend, Bitmag, Config};

/// Valgrind has no AVX-512; a machine without AVX2 is no place for this bench.
#[global_allocator]
static BITMAG: Bitmag = Bitmag::with(Config::new().backend(Backend::Avx2));

/// The benches: each row short and long, and the same around nothing.
mod harness {
    use crate::counting::{config, counted};
    use crate::rows::{Face, State};
    use crate::{loaded, rows, rust_rows};
    use iai_callgrind::{library_benchmark, library_benchmark_group};

    const RUN: &str = "*::State::run";

    fn c_face(row: &str, length: usize) -> State {
        rows::row(row).prepare(loaded::c_face(), rows::row(row).lengths[length])
    }

    fn nothing(row: &str, length: usize) -> State {
        rows::row(row).prepare(Face::nothing(), rows::row(row).lengths[length])
    }

    macro_rules! c_rows {
        ($($row:ident)*) => {
            $(
                #[library_benchmark]
                #[bench::short(args = (stringify!($row), 0), setup = c_face, config = counted(RUN, stringify!($row), 0))]
                #[bench::long(args = (stringify!($row), 1), setup = c_face, config = counted(RUN, stringify!($row), 1))]
                #[bench::loop_short(args = (stringify!($row), 0), setup = nothing, config = counted(RUN, "", 0))]
                #[bench::loop_long(args = (stringify!($row), 1), setup = nothing, config = counted(RUN, "", 1))]
                fn $row(mut state: State) -> State {
                    state.run();
                    state
                }
            )*
            library_benchmark_group!(name = c; benchmarks = $($row),*);
        };
    }
    c_rows!(malloc_hit free_hit free_sized_hit malloc_4096 free_4096 free_sized_4096 aligned_alloc
        thousand shuffled mixed remote_free remote_refill calloc realloc);

    #[library_benchmark]
    #[bench::short(args = ("first_malloc", 0), setup = c_face, config = counted(RUN, "first_malloc", 0))]
    #[bench::long(args = ("first_malloc", 1), setup = c_face, config = counted(RUN, "first_malloc", 1))]
    #[bench::loop_short(args = ("first_malloc", 0), setup = nothing, config = counted(RUN, "", 0))]
    #[bench::loop_long(args = ("first_malloc", 1), setup = nothing, config = counted(RUN, "", 1))]
    fn first_malloc(state: State) {
        state.on_a_new_thread();
    }

    library_benchmark_group!(name = threads; benchmarks = first_malloc);

    fn warm(row: &'static str, length: usize, around_nothing: usize) -> (fn(usize), usize) {
        rust_rows::warm();
        (rust_rows::row(row).expect("a row")[around_nothing], limits_length(row, length))
    }

    fn limits_length(row: &str, length: usize) -> usize {
        crate::limits::row(row).lengths[length]
    }

    const BODY: &str = "*::rust_body";

    #[inline(never)]
    fn rust_body(body: fn(usize), count: usize) {
        body(count);
    }

    macro_rules! rust_rows {
        ($($row:ident)*) => {
            $(
                #[library_benchmark]
                #[bench::short(args = (stringify!($row), 0, 0), setup = warm, config = counted(BODY, stringify!($row), 0))]
                #[bench::long(args = (stringify!($row), 1, 0), setup = warm, config = counted(BODY, stringify!($row), 1))]
                #[bench::loop_short(args = (stringify!($row), 0, 1), setup = warm, config = counted(BODY, "", 0))]
                #[bench::loop_long(args = (stringify!($row), 1, 1), setup = warm, config = counted(BODY, "", 1))]
                fn $row(run: (fn(usize), usize)) {
                    rust_body(run.0, run.1);
                }
            )*
            library_benchmark_group!(name = rust; benchmarks = $($row),*);
        };
    }
    rust_rows!(box_loop box_once vec_growth);

    iai_callgrind::main!(
        config = config();
        library_benchmark_groups = c, threads, rust
    );

    /// What the macro made.
    pub fn run() {
        main();
    }
}

fn main() {
    if std::env::args().nth(1).as_deref() != Some("--iai-run") {
        let path = library::path().expect("the C face can be built");
        // SAFETY: nothing else runs yet.
        unsafe { std::env::set_var(loaded::LIBRARY, path) };
        summary::at_exit("instructions");
    }
    harness::run();
}
