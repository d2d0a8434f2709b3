//! The comparison: the other program is built, then both serve the same load by turns. The parent's
//! order of runs is shuffled and balanced, so that a machine that becomes slower or faster on the
//! way favours neither side. Each run ends with a proof that the right allocator served it; without
//! that its figures are not used.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use hdrhistogram::Histogram;

use super::child::{Child, Resident};
use super::load::{Live, Load, Plan};
use super::progress::Progress;
use super::server::allocator::LIBC_COUNTS;

/// Which allocator a program was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Bitmag,
    System,
}

impl Side {
    /// Its name in the table and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bitmag => "bitmag",
            Self::System => "system",
        }
    }
}

/// What one run has shown.
#[derive(Clone, Debug)]
pub struct Run {
    /// Requests a second at full speed.
    pub throughput: f64,
    /// The server's processor time for one of these requests, in seconds.
    pub cost: f64,
    /// Nanoseconds, of the paced requests.
    pub latencies: Histogram<u64>,
    /// Resident when it was fullest.
    pub full: Resident,
    /// Resident after the drain.
    pub drained: Resident,
    /// The values in it when it was fullest.
    pub live: Live,
    /// The proof.
    pub proof: Proof,
}

/// The server's own counters when it was fullest.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// Blocks that bitmag's heaps have handed out.
    pub refilled_blocks: u64,
    /// Bytes that libc's malloc has handed out and not got back.
    pub libc_in_use: u64,
}

/// How the comparison is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The load.
    pub plan: Plan,
    /// Runs of each side.
    pub rounds: u32,
    /// Paced requests a second; `None`: a share of what the trial run reaches at full speed.
    pub rate: Option<f64>,
}

/// All runs of both sides, and the rate of their paced requests.
#[derive(Debug)]
pub struct Comparison {
    pub bitmag: Vec<Run>,
    pub system: Vec<Run>,
    pub rate: f64,
}

/// Share of full speed at which requests are paced: enough to keep the server busy, not so much
/// that they queue up.
const PACE: f64 = 0.12;

/// Builds, runs and proves everything.
pub fn compare(settings: Settings) -> Result<Comparison> {
    let Settings { plan, rounds, rate } = settings;
    let bitmag = std::env::current_exe()?;
    let system = build_system(&bitmag)?;
    // The trial run warms the machine up and finds the rate; it is half as long and its other
    // figures are dropped.
    let trial = Plan { churn: plan.churn / 2, paced: 0, ..plan };
    let progress = Progress::new(trial.requests() + 2 * u64::from(rounds) * plan.requests());
    progress.note("trial run on the system allocator");
    let trial = run(Side::System, &system, trial, 1.0, &progress.answered)?;
    let rate = rate.unwrap_or((trial.throughput * PACE / 1_000.0).round().max(1.0) * 1_000.0);
    let mut comparison = Comparison { bitmag: Vec::new(), system: Vec::new(), rate };
    for (index, order) in orders(rounds, plan.seed).into_iter().enumerate() {
        for side in order {
            progress.note(&format!("round {} of {rounds}: {}", index + 1, side.name()));
            let program = if side == Side::Bitmag { &bitmag } else { &system };
            let run = run(side, program, plan, rate, &progress.answered)?;
            match side {
                Side::Bitmag => comparison.bitmag.push(run),
                Side::System => comparison.system.push(run),
            }
        }
    }
    progress.finish();
    Ok(comparison)
}

/// Who goes first in which round: each side as often as the other (but one), in shuffled order.
fn orders(rounds: u32, seed: u64) -> Vec<[Side; 2]> {
    let mut rng = Rng::with_seed(seed ^ 0x0D0E);
    let mut orders: Vec<_> = (0..rounds)
        .map(|round| {
            if round % 2 == 0 { [Side::Bitmag, Side::System] } else { [Side::System, Side::Bitmag] }
        })
        .collect();
    rng.shuffle(&mut orders);
    orders
}

/// Builds the example that differs in its `#[global_allocator]` line, into the place and with the
/// profile that this program was built with.
fn build_system(this: &Path) -> Result<PathBuf> {
    let directory = this.parent().context("this program lies nowhere")?;
    let profile = directory.parent().context("this program was not built by Cargo")?;
    let target = profile.parent().context("this program was not built by Cargo")?;
    let name = profile
        .file_name()
        .and_then(|name| name.to_str())
        .context("the profile's folder has no name")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--example", "service_system"]);
    cargo.args(["--profile", if name == "debug" { "dev" } else { name }]);
    cargo.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    // With --target the profile's folder lies one deeper, below the target's name.
    match target.file_name().and_then(|name| name.to_str()) {
        Some(triple) if triple.contains("-linux-") && target.parent().is_some() => {
            cargo
                .args(["--target", triple])
                .arg("--target-dir")
                .arg(target.parent().unwrap_or(target));
        }
        _ => {
            cargo.arg("--target-dir").arg(target);
        }
    }
    eprintln!("building the same service on the system allocator ...");
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo could not build the example service_system: {status}");
    let system = directory.join("service_system");
    ensure!(system.is_file(), "cargo did not leave {}", system.display());
    Ok(system)
}

/// One server, one load.
fn run(side: Side, program: &Path, plan: Plan, rate: f64, answered: &AtomicU64) -> Result<Run> {
    let before = answered.load(Ordering::Relaxed);
    let mut child = Child::start(program)?;
    let run = drive(side, &child, plan, rate, answered).map_err(|error| match child.ended() {
        Some(status) => error.context(format!("the server died: {status}")),
        None => error,
    });
    let run = run.with_context(|| format!("on the {} allocator", side.name()))?;
    child.stop()?;
    let answered = answered.load(Ordering::Relaxed) - before;
    ensure!(
        answered == plan.requests(),
        "{answered} requests were answered instead of {}",
        plan.requests()
    );
    Ok(run)
}

fn drive(side: Side, child: &Child, plan: Plan, rate: f64, answered: &AtomicU64) -> Result<Run> {
    let mut load = Load::connect(plan, child.address, answered)?;
    load.fill()?;
    let used = child.processor_time()?;
    let time = load.churn()?;
    let used = child.processor_time()? - used;
    let latencies = load.paced(rate)?;
    let (live, full) = (load.live(), child.resident()?);
    let proof = prove(side, &load.ask("INFO")?, live)?;
    load.drain()?;
    let churn = plan.churn as f64;
    Ok(Run {
        throughput: churn / time.as_secs_f64(),
        cost: used.as_secs_f64() / churn,
        latencies,
        full,
        drained: child.resident()?,
        live,
        proof,
    })
}

/// Every key that lives is at least one block of its own, taken from the allocator that serves the
/// process. So the number of keys is a floor for bitmag's blocks, and the bytes of all values one
/// for what libc has given out; on the other side there is nothing, or next to nothing.
fn prove(side: Side, info: &str, live: Live) -> Result<Proof> {
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.with_context(|| format!("INFO does not tell {name}"))
    };
    let number = |name: &str| Ok::<u64, anyhow::Error>(field(name)?.parse()?);
    let proof = Proof {
        refilled_blocks: number("bitmag_refilled_blocks")?,
        libc_in_use: number("libc_in_use")?,
    };
    ensure!(field("mem_allocator")? == side.name(), "the wrong program was started");
    let (keys, bytes) = (live.keys as u64, live.bytes as u64);
    let right = match side {
        Side::Bitmag => proof.refilled_blocks >= keys && proof.libc_in_use < bytes / 8,
        Side::System => proof.refilled_blocks == 0 && (!LIBC_COUNTS || proof.libc_in_use >= bytes),
    };
    if !right {
        bail!("the counters do not show the {} allocator: {proof:?} with {live:?}", side.name());
    }
    Ok(proof)
}

impl Settings {
    /// What the command runs by default: under two minutes on two cores.
    pub fn full(seed: u64) -> Self {
        let scale = super::load::Scale {
            strings: 16_000,
            logs: 800,
            lists: 400,
            boards: 150,
            hashes: 1_000,
            fleeting: 1_500,
            shared: 4_000,
            counters: 64,
        };
        let settle = Duration::from_millis(1_200);
        let plan = Plan { seed, connections: 8, scale, churn: 800_000, paced: 100_000, settle };
        Self { plan, rounds: 5, rate: None }
    }

    /// A few seconds, to see that everything works; its figures mean little.
    pub fn quick(seed: u64) -> Self {
        let full = Self::full(seed);
        let scale = super::load::Scale { strings: 2_000, shared: 500, ..full.plan.scale };
        let plan = Plan { connections: 4, scale, churn: 80_000, paced: 8_000, ..full.plan };
        Self { plan, rounds: 1, rate: Some(20_000.0) }
    }
}
