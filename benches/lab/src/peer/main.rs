//! One allocator and the rows that it runs: `bitmag-lab-peer ROW LENGTH [nothing]`, under callgrind.
//! Which allocator it is was chosen when it was built (one feature of this package; none means the system's).
//! With `nothing` the loops run around functions that only return.

mod allocator;
#[allow(
    missing_docs,
    dead_code,
    reason = "shared with benches/instructions.rs, which documents it"
)]
#[path = "../../../instructions/rows.rs"]
mod rows;
#[allow(missing_docs, reason = "as above")]
#[path = "../../../instructions/rust_rows.rs"]
mod rust_rows;

/// What callgrind counts of a row that only Rust can run.
#[unsafe(no_mangle)]
#[inline(never)]
fn bitmag_lab_counted(body: fn(usize), count: usize) {
    body(count);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().expect("a row");
    let count = arguments.next().and_then(|count| count.parse().ok()).expect("a length");
    let nothing = arguments.next().is_some();
    if ["box_loop", "box_once", "vec_growth"].contains(&&*name) {
        rust_rows::warm();
        let [with, without] = rust_rows::row(&name);
        return bitmag_lab_counted(if nothing { without } else { with }, count);
    }
    let real = allocator::face();
    // Threads enter the real allocator in any case: the program itself allocates with it.
    let face =
        if nothing { rows::Face { enter: real.enter, ..rows::Face::nothing() } } else { real };
    let mut state = rows::row(&name).prepare(face, count);
    if name == "first_malloc" {
        state.on_a_new_thread()
    } else {
        state.run()
    }
    std::process::exit(0); // threads of the remote rows stay parked
}
