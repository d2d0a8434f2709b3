//! A run that was never measured: every figure is made up from a seed, to develop the reports against and to test them with. It has all
//! groups, eight allocators and one that was not built, cells that failed, allocators without percentiles, and names that want escaping.
//! `the_sample_is_written_as_reports` leaves its pages in the target folder, under `lab/sample`.

use crate::result::*;
use fastrand::Rng;

/// Name, speed and appetite, both by bitmag's.
const ALLOCATORS: &[(&str, &str, f64, f64)] = &[
    ("bitmag", "0.1.0", 1.0, 1.0),
    ("mimalloc 3", "3.3.2", 1.22, 1.18),
    ("mimalloc 2", "2.3.2", 1.27, 1.14),
    ("jemalloc", "5.3.1", 1.75, 0.97),
    ("snmalloc", "0.7.6", 1.12, 1.42),
    ("rpmalloc", "1.4.3", 1.31, 1.66),
    ("tcmalloc", "2.10", 1.58, 1.22),
    ("glibc", "2.36", 2.6, 0.92),
];

const WORKLOADS: &[(&str, &str, &str, f64)] = &[
    ("single", "lifo", "pair", 4.2),
    ("single", "fifo", "pair", 6.1),
    ("single", "random free", "pair", 11.4),
    ("single", "interleaved", "pair", 7.7),
    ("single", "long-lived", "pair", 9.3),
    ("single", "tiny-hot, 16..128 B", "pair", 3.4),
    ("single", "random-mixed", "pair", 14.8),
    ("single", "tree builder", "block", 18.0),
    ("single", "string churner", "block", 21.0),
    ("single", "JSON parse & drop <serde>", "element", 31.0),
    ("single", "realloc grower", "block", 54.0),
    ("threads", "larson", "pair", 16.0),
    ("threads", "xmalloc", "pair", 24.0),
    ("threads", "mstress", "pair", 42.0),
    ("threads", "rptest", "pair", 37.0),
    ("threads", "false sharing, thrash", "pair", 5.0),
    ("threads", "thread churn", "run", 9400.0),
    ("large", "mid-large", "pair", 180.0),
    ("large", "mid-large, 2 threads", "pair", 240.0),
    ("latency", "service", "pair", 44.0),
    ("memory", "fragmentation stress", "pair", 26.0),
    ("replay", "trace of rustc", "block", 20.0),
    ("replay", "trace of python3", "block", 17.0),
    ("programs", "ripgrep over its own source", "run", 210_000_000.0),
];

/// Always the same.
pub fn run() -> Run {
    let mut rng = Rng::with_seed(7);
    let mut workloads: Vec<_> = WORKLOADS.iter().map(|each| workload(each, &mut rng)).collect();
    workloads[11].cells[5].failed = Some("ended by signal 11 | in round 3".into());
    workloads[23].cells[6].failed = Some("the proof named <another> allocator".into());
    let allocator = |&(name, version, ..): &(&str, &str, f64, f64)| Allocator {
        name: name.into(),
        version: version.into(),
        proof: format!("malloc of {name} at 0x5581c0de in bitmag-lab-peer"),
        not_built: None,
    };
    let mut allocators: Vec<_> = ALLOCATORS.iter().map(allocator).collect();
    allocators.push(Allocator {
        name: "talc".into(),
        version: "5.0".into(),
        not_built: Some("needs a nightly compiler".into()),
        ..Allocator::default()
    });
    Run {
        format: 1,
        command: "sample".into(),
        date: "2026-11-21".into(),
        machine: Machine {
            processor: "Made-up processor".into(),
            processors: 2,
            kernel: "6.1.0".into(),
            libc: "glibc 2.36".into(),
            rustc: "rustc 1.95.0".into(),
            memory_mib: 7936,
            huge_pages: "madvise".into(),
        },
        allocators,
        workloads,
        sweeps: vec![operations(&mut rng), sizes(&mut rng)],
    }
}

fn workload(&(group, name, unit, base): &(&str, &str, &str, f64), rng: &mut Rng) -> Workload {
    let noise = |rng: &mut Rng, width: f64| 1.0 + width * (rng.f64() - 0.5);
    let rounds: Vec<f64> = (0..7).map(|_| noise(rng, 0.2)).collect();
    let peak = 8192.0 + 60_000.0 * rng.f64();
    let cell = |&(allocator, _, speed, appetite): &(&str, &str, f64, f64)| {
        let speed = speed * if allocator == "bitmag" { 1.0 } else { noise(rng, 0.7) };
        let appetite = appetite * noise(rng, 0.3);
        let sample = |(round, drift): (usize, &f64)| Sample {
            round: round as u32,
            operations: 1_000_000,
            ns: base * speed * drift * noise(rng, 0.04),
            wall: 1.1,
            user: 1.0,
            system: 0.1,
            minor_faults: (peak * appetite / 4.0) as u64,
            peak_kib: (peak * appetite * noise(rng, 0.02)) as u64,
            final_kib: (peak * appetite * 0.3) as u64,
            start_kib: 2048,
        };
        let runs = rounds.iter().enumerate().map(sample).collect();
        let timed = group == "latency" && allocator != "tcmalloc";
        Cell {
            allocator: allocator.into(),
            runs,
            instructions_per_operation: (group != "programs").then_some(base * speed * 3.1),
            system_calls: Some((200.0 * appetite * noise(rng, 0.5)) as u64),
            malloc_latency: timed.then(|| latency(22.0 * speed, rng)),
            free_latency: timed.then(|| latency(24.0 * speed, rng)),
            resident: if group == "memory" { resident(speed, appetite, rng) } else { vec![] },
            failed: None,
        }
    };
    Workload {
        name: name.into(),
        group: group.into(),
        what: format!("Made up: {name}, 10,000 slots, 1..1,024 B, seed 7."),
        unit: unit.into(),
        cells: ALLOCATORS.iter().map(cell).collect(),
    }
}

fn latency(base: f64, rng: &mut Rng) -> Latency {
    let mut at = base * 0.9;
    let mut next = |by: f64| {
        at *= by * (0.8 + 0.5 * rng.f64());
        at as u64
    };
    Latency {
        calls: 20_000_000,
        mean: base,
        p50: next(1.0),
        p90: next(1.4),
        p99: next(3.0),
        p99_9: next(3.6),
        p99_99: next(4.2),
        p99_999: next(9.0),
        max: next(40.0),
    }
}

/// Two humps of live memory, of which an allocator gives back the more the smaller its appetite is.
fn resident(speed: f64, appetite: f64, rng: &mut Rng) -> Vec<Resident> {
    let mut kept = 4096.0;
    let look = |step: u64| {
        let t = step as f64 / 90.0;
        let live = 90_000.0 * (t * std::f64::consts::TAU).sin().powi(2) * (1.0 - 0.3 * t) + 4000.0;
        let wanted = live * (1.05 + 0.1 * appetite);
        kept = f64::max(wanted, kept * (0.90 + 0.06 * appetite).min(0.995));
        Resident {
            seconds: t * 4.0 * speed,
            live_kib: live as u64,
            resident_kib: (kept * (1.0 + 0.02 * rng.f64())) as u64,
        }
    };
    (0..=90).map(look).collect()
}

fn sweep(
    name: &str,
    what: &str,
    x: &str,
    mut at: impl FnMut(&str, f64, f64) -> Vec<Point>,
) -> Sweep {
    let curve = |&(name, _, speed, appetite): &(&str, &str, f64, f64)| Curve {
        allocator: name.into(),
        points: at(name, speed, appetite),
    };
    let curves = ALLOCATORS.iter().map(curve).collect();
    Sweep { name: name.into(), what: what.into(), x: x.into(), curves }
}

fn operations(rng: &mut Rng) -> Sweep {
    let what = "Made up: allocations of 64 B, then their frees, by how many there are.";
    sweep("Cost against live objects", what, "operations", |name, speed, _| {
        let point = |x: u64| {
            let growth = (x as f64).log10() * if name == "bitmag" { 0.06 } else { 0.45 * speed };
            let ns = 5.0 * speed * (0.9 + growth) * (0.95 + 0.1 * rng.f64());
            Point { x, ns, resident_per_live: 0.0 }
        };
        [100, 1_000, 10_000, 100_000, 1_000_000].into_iter().map(point).collect()
    })
}

fn sizes(rng: &mut Rng) -> Sweep {
    let what = "Made up: pairs of one size among 1,000 live.";
    sweep("Size sweep", what, "bytes", |_, speed, appetite| {
        let point = |power: u32| {
            let x = 16_u64 << power;
            let ns = speed * (6.0 + (x as f64).powf(0.45)) * (0.85 + 0.3 * rng.f64());
            let around = appetite * (1.02 + 8.0 / x as f64 + 0.12 * rng.f64());
            Point { x, ns, resident_per_live: around.max(1.0) }
        };
        (0..=16).map(point).collect()
    })
}

#[test]
fn the_sample_is_written_as_reports() {
    let program = std::env::current_exe().unwrap();
    // .../target/debug/deps/bitmag_lab-...
    let folder = program.ancestors().nth(3).unwrap().join("lab/sample");
    std::fs::create_dir_all(&folder).unwrap();
    let json = folder.join("run.json");
    std::fs::write(&json, serde_json::to_string(&run()).unwrap()).unwrap();
    let _ = std::fs::remove_file(folder.join("report.html"));
    let _ = std::fs::remove_file(folder.join("report.md"));
    super::write_all(&super::read(&json).unwrap(), json.parent().unwrap()).unwrap();
    let written = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(written("report.md"), super::markdown::render(&run()));
    assert_eq!(written("report.html"), super::html::render(&run()));
}
