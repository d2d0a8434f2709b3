//! The traces that come with the lab are replayed on the system's allocator, by the program that replays them on every other one.

use std::path::Path;
use std::process::Command;

/// Runs the peer; its last line.
fn replay(trace: &Path) -> Result<serde_json::Value, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_bitmag-lab-peer"))
        .arg("replay")
        .arg(trace)
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(text.lines().last().unwrap_or("")).map_err(|e| e.to_string())
}

#[test]
fn kept_traces_are_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    for name in ["sqlite3.trace", "python3.trace"] {
        let path = folder.join(name);
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(bytes <= 400 * 1024, "{name} has {bytes} bytes");
        let outcome = replay(&path).unwrap_or_else(|why| panic!("{name}: {why}"));
        let value = |field: &str| outcome[field].as_f64().unwrap();
        assert!(value("operations") > 100_000.0 && value("ns") > 0.0, "{name}: {outcome}");
        // What it asked for was resident at its most.
        let grown = value("peak_kib") - value("start_kib");
        assert!(grown > 0.4 * value("live_kib"), "{name}: {outcome}");
    }
}

#[test]
fn a_damaged_trace_is_refused() {
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/sqlite3.trace");
    let mut bytes = std::fs::read(trace).unwrap();
    bytes.truncate(bytes.len() / 2);
    let folder = tempfile();
    std::fs::write(&folder, bytes).unwrap();
    assert!(replay(&folder).is_err());
    std::fs::remove_file(folder).unwrap();
}

/// A path in the target folder that no other process uses.
fn tempfile() -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("half-{}.trace", std::process::id()))
}
