//! What one operation costs, printed behind the benches' own report.
//! The totals are read from the profiles that the runner left; the harness ends the process itself where a limit was passed, so the
//! table is printed by the process's exit.

use crate::limits::{ROWS, Row, profile};
use comfy_table::Table;
use std::path::Path;
use std::sync::OnceLock;

/// Which of the bench programs this is.
static BENCH: OnceLock<&str> = OnceLock::new();

/// Has the table of this bench printed when the process ends.
pub fn at_exit(bench: &'static str) {
    extern "C" fn print() {
        println!("{}", table(BENCH.get().unwrap_or(&"")));
    }
    let _ = BENCH.set(bench);
    // SAFETY: the function stays where it is and does not unwind.
    unsafe { libc::atexit(print) };
}

/// The instructions that a bench's profiles count.
fn total(home: [&str; 2], row: &str, id: &str) -> Option<u64> {
    // .../target[/TRIPLE]/PROFILE/deps/this-program; the runner writes beside it.
    let program = std::env::current_exe().ok()?;
    let target = program.ancestors().find(|folder| folder.join("iai").is_dir())?;
    let [bench, group] = home;
    let folder = target.join("iai/bitmag").join(bench).join("harness").join(group);
    let mut sum = None;
    for entry in std::fs::read_dir(folder.join(format!("{row}.{id}"))).ok()?.flatten() {
        let path = entry.path();
        if is_profile(&path) {
            let text = std::fs::read_to_string(path).ok()?;
            let line = text.lines().find_map(|line| {
                line.strip_prefix("totals: ").or(line.strip_prefix("summary: "))
            })?;
            let count: u64 = line.split_whitespace().next()?.parse().ok()?;
            sum = Some(sum.unwrap_or(0) + count);
        }
    }
    sum
}

fn is_profile(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("callgrind.") && name.ends_with(".out")
}

/// The program and the group that a row is in.
fn home(row: &Row) -> [&'static str; 2] {
    match row.name {
        "thread_exit" => ["thread_exit", "threads"],
        "first_malloc" => ["instructions", "threads"],
        "box_loop" | "box_once" | "vec_growth" => ["instructions", "rust"],
        name if name.starts_with("rust_") => ["rust_calls", "rust"],
        _ => ["instructions", "c"],
    }
}

fn table(bench: &str) -> Table {
    let mut table = Table::new();
    table.set_header(["row", "one operation", "bound", "counted", "limit (total)", "state"]);
    for row in ROWS.iter().filter(|row| home(row)[0] == bench) {
        let all = |ids: [&str; 2]| ids.map(|id| total(home(row), row.name, id));
        let counted = all(["short", "long"]);
        let operations = (row.lengths[1] - row.lengths[0]) as f64;
        let each =
            |[short, long]: [Option<u64>; 2]| Some((long? as f64 - short? as f64) / operations);
        let one = each(counted)
            .zip(each(all(["loop_short", "loop_long"])))
            .map(|(with, without)| with - without + row.calls as f64);
        let bound = row.bound[profile()];
        table.add_row([
            row.operation.to_string(),
            one.map_or("?".into(), |one| match row.name {
                // The vector's 4,096 elements.
                "vec_growth" => format!("{one:.2} ({:.3} per element)", one / 4096.0),
                _ => format!("{one:.2}"),
            }),
            if bound == 0.0 { "-".into() } else { bound.to_string() },
            format!("{:?}", counted.map(Option::unwrap_or_default)),
            format!("{:?}", row.totals[profile()]),
            (if row.closed { "closed" } else { "open" }).to_string(),
        ]);
    }
    table
}
