//! What the exit of a thread costs that has allocated once: `cargo bench --bench thread_exit`. A program of its own, because its count
//! is that of everything that runs in the library's hook: the program itself is on the system's allocator, so that the loaded library is
//! the only copy of bitmag in it and serves nothing else.

#[path = "instructions/counting.rs"]
mod counting;
#[path = "../tests/support/library.rs"]
mod library;
#[allow(dead_code, reason = "one row of them")]
#[path = "instructions/limits.rs"]
mod limits;
#[path = "instructions/loaded.rs"]
mod loaded;
#[allow(dead_code, reason = "one row of them")]
#[path = "instructions/rows.rs"]
mod rows;

/// The bench.
mod harness {
    use crate::counting::{config, counted};
    use crate::loaded;
    use crate::rows::{self, State};
    use iai_callgrind::{library_benchmark, library_benchmark_group};

    fn c_face(length: usize) -> State {
        rows::row("first_malloc").prepare(loaded::c_face(), length)
    }

    #[library_benchmark]
    #[bench::total(args = (1), setup = c_face, config = counted("*::on_exit", "thread_exit", 1))]
    fn thread_exit(state: State) {
        state.on_a_new_thread();
    }
    library_benchmark_group!(name = threads; benchmarks = thread_exit);

    iai_callgrind::main!(
        config = config();
        library_benchmark_groups = threads
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
    }
    harness::run();
}
