//! What one operation costs, printed behind the benches' own report.
//! The totals are read from the profiles that the runner left; the harness ends the process itself where a limit was passed, so the
//! table is printed by the process's exit.

use crate::limits::{ROWS, Row, profile};
use comfy_table::Table;
use std::path::Path;

/// Has the table printed when the process ends.
pub fn at_exit() {
    extern "C" fn print() {
        println!("{}", table());
    }
    // SAFETY: the function stays where it is and does not unwind.
    unsafe { libc::atexit(print) };
}

/// The instructions that a bench's profiles count.
fn total(group: &str, row: &str, id: &str) -> Option<u64> {
    // .../target[/TRIPLE]/PROFILE/deps/this-program; the runner writes beside it.
    let program = std::env::current_exe().ok()?;
    let target = program.ancestors().find(|folder| folder.join("iai").is_dir())?;
    let folder = ["iai/bitmag/instructions/harness", group].iter().collect::<std::path::PathBuf>();
    let mut sum = None;
    for entry in std::fs::read_dir(target.join(folder).join(format!("{row}.{id}"))).ok()?.flatten()
    {
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

fn group(row: &Row) -> &'static str {
    match row.name {
        "first_malloc" | "thread_exit" => "threads",
        "box_loop" | "box_once" | "vec_growth" => "rust",
        _ => "c",
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.set_header(["row", "one operation", "bound", "counted", "limit (total)", "state"]);
    for row in &ROWS {
        let all = |ids: [&str; 2]| ids.map(|id| total(group(row), row.name, id));
        let counted = if row.name == "thread_exit" {
            all(["total", "total"])
        } else {
            all(["short", "long"])
        };
        let operations = (row.lengths[1] - row.lengths[0]) as f64;
        let each =
            |[short, long]: [Option<u64>; 2]| Some((long? as f64 - short? as f64) / operations);
        let one = match row.name {
            "thread_exit" => counted[1].map(|count| count as f64),
            _ => each(counted)
                .zip(each(all(["loop_short", "loop_long"])))
                .map(|(with, without)| with - without + row.calls as f64),
        };
        let bound = row.bound[profile()];
        table.add_row([
            row.operation.to_string(),
            one.map_or("?".into(), |one| format!("{one:.2}")),
            if bound == 0.0 { "-".into() } else { bound.to_string() },
            format!("{:?}", counted.map(Option::unwrap_or_default)),
            format!("{:?}", row.totals[profile()]),
            (if row.closed { "closed" } else { "open" }).to_string(),
        ]);
    }
    table
}
