//! One allocator and what it runs: the rows of the instruction counts (`bitmag-lab-peer ROW LENGTH real|nothing|miswired KEPT`, under
//! callgrind) and the workloads (`bitmag-lab-peer work NAME PERCENT`, `bitmag-lab-peer list`, `replay TRACE`, and `miswired` for the proof of the proof).
//! Which allocator it is was chosen when it was built (one feature of this package; none means the system's). It says which functions it
//! is wired to. With `nothing` the loops run around functions that only return; with `miswired` around those of another allocator,
//! while the program claims its own: the lab has to notice.

mod allocator;
#[allow(missing_docs, dead_code, reason = "shared with benches/instructions.rs")]
#[path = "../../../instructions/loaded.rs"]
mod loaded;
#[allow(missing_docs, reason = "shared with bitmag-lab-trace")]
#[path = "../packed.rs"]
mod packed;
mod replay;
#[allow(missing_docs, dead_code, reason = "the lab reads what a program writes")]
#[path = "../result.rs"]
mod result;
#[allow(missing_docs, dead_code, reason = "as above")]
#[path = "../../../instructions/rows.rs"]
mod rows;
#[allow(missing_docs, reason = "as above")]
#[path = "../../../instructions/rust_calls.rs"]
mod rust_calls;
#[allow(missing_docs, reason = "as above")]
#[path = "../../../instructions/rust_rows.rs"]
mod rust_rows;
#[allow(missing_docs, dead_code, reason = "shared with bitmag-lab-trace and bitmag's own tests")]
#[path = "../trace.rs"]
mod trace;
mod workloads;

/// What callgrind counts of a row that only Rust can run.
#[unsafe(no_mangle)]
#[inline(never)]
fn bitmag_lab_counted(body: fn(usize), count: usize) {
    body(count);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().expect("a row");
    match &*name {
        "list" => return list(),
        "work" => return work(arguments),
        "replay" => return replay(arguments),
        "miswired" => return allocator::declare(miswired()),
        _ => {}
    }
    let count = arguments.next().and_then(|count| count.parse().ok()).expect("a length");
    let mode = arguments.next().expect("a mode");
    let kept = arguments.next().and_then(|kept| kept.parse().ok()).expect("how many stay");
    let real = allocator::face();
    allocator::declare(real);
    keep(real, kept);
    let in_rust = rust_rows::row(&name).inspect(|_| rust_rows::warm());
    let in_rust =
        in_rust.or_else(|| rust_calls::row(&name).inspect(|_| rust_calls::prepare(&name)));
    if let Some([with, without]) = in_rust {
        return bitmag_lab_counted(if mode == "nothing" { without } else { with }, count);
    }
    // Threads enter the real allocator in any case: the program itself allocates with it.
    let face = match &*mode {
        "nothing" => rows::Face { enter: real.enter, ..rows::Face::nothing() },
        "miswired" => rows::Face { enter: real.enter, ..miswired() },
        _ => real,
    };
    let mut state = rows::row(&name).prepare(face, count);
    if name == "first_malloc" {
        state.on_a_new_thread()
    } else {
        state.run()
    }
    std::process::exit(0); // threads of the remote rows stay parked
}

/// Every workload, as JSON.
fn list() {
    println!("{}", serde_json::to_string(&workloads::all()).expect("a list"));
}

/// Runs a workload and says what it gave, as one line of JSON.
fn work(mut arguments: impl Iterator<Item = String>) {
    let name = arguments.next().expect("a workload");
    let percent = arguments.next().and_then(|percent| percent.parse().ok()).expect("a scale");
    let face = allocator::face();
    allocator::declare(face);
    let outcome = workloads::run(&name, face, percent).expect("a workload of that name");
    println!("{}", serde_json::to_string(&outcome).expect("an outcome"));
}

/// Replays a packed trace and says what it came to, as one line of JSON.
fn replay(mut arguments: impl Iterator<Item = String>) {
    let path = arguments.next().expect("a trace");
    let face = allocator::face();
    allocator::declare(face);
    let outcome = replay::replay(face, path.as_ref());
    let outcome = outcome.unwrap_or_else(|why| panic!("{path}: {why}"));
    println!("{}", serde_json::to_string(&outcome).expect("numbers"));
}

/// So many blocks of every size stay, as in any program that does anything: where the only block of its size comes and goes, some
/// allocators retire a page and fetch it again each time, which is not what a row is about.
fn keep(face: rows::Face, count: usize) {
    for size in (3..=13).map(|power| 1 << power) {
        for _ in 0..count {
            // SAFETY: allocation has no precondition.
            std::hint::black_box(unsafe { (face.malloc)(size) });
            std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(size)));
        }
    }
}

/// An allocator that is not this program's: the system's, or, where that is it, bitmag.
fn miswired() -> rows::Face {
    let system = cfg!(not(any(
        feature = "mimalloc2",
        feature = "mimalloc3",
        feature = "jemalloc",
        feature = "snmalloc",
        feature = "rpmalloc",
        feature = "tcmalloc",
        feature = "bitmag"
    )));
    if system { loaded::c_face() } else { loaded::load(c"libc.so.6") }
}
