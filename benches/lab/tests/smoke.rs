//! The lab from end to end, without a C compiler: one short workload on bitmag and on the system's allocator, each built, proved and
//! measured, and the samples in the file that the reports read.

use std::path::Path;
use std::process::Command;

#[test]
fn bitmag_and_the_systems_allocator_are_measured_with_proof() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smoke.json");
    let output = Command::new(env!("CARGO_BIN_EXE_bitmag-lab"))
        .args(["--only", "lifo,strings,thread_churn,pairs", "--percent", "1", "--rounds", "2"])
        .args(["--peers", "bitmag,glibc", "--json"])
        .arg(&file)
        .output()
        .expect("the lab's command");
    let printed = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{said}");
    assert!(printed.contains("thread_churn"), "{printed}");

    let text = std::fs::read(&file).expect("the lab wrote its samples");
    let run: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    let proofs = run["allocators"].as_array().expect("allocators");
    let proof = |at: usize| proofs[at]["proof"].as_str().expect("a proof");
    assert!(proof(0).starts_with("malloc is malloc at 0x"), "{}", proof(0));
    assert!(proof(0).contains("of bitmag-lab-peer; Rust's blocks"), "{}", proof(0));
    assert!(proof(1).ends_with("of libc.so.6"), "{}", proof(1));
    let workloads = run["workloads"].as_array().expect("workloads");
    assert_eq!(workloads.len(), 3, "the sweep stands apart");
    for cell in workloads.iter().flat_map(|workload| workload["cells"].as_array().expect("cells")) {
        let runs = cell["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 2, "{cell}");
        for run in runs {
            assert!(run["ns"].as_f64().is_some_and(|ns| ns > 0.1), "{run}");
            assert!(run["peak_kib"].as_u64() >= run["start_kib"].as_u64(), "{run}");
            assert!(run["minor_faults"].as_u64() > Some(10), "{run}");
        }
    }
    let curves = run["sweeps"][0]["curves"].as_array().expect("curves");
    assert!(
        curves.iter().all(|curve| curve["points"].as_array().is_some_and(|all| all.len() == 4))
    );
}
