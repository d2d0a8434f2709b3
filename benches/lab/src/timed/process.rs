//! One run of a peer's program: what it printed, and what the system says that it used.
//! The environment is emptied, so that no figure depends on who asks; a run that takes far too long is ended.

use crate::result::{Latency, Point, Resident, Sample};
use crate::usage;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// No workload is meant to take a tenth of it.
const LIMIT: Duration = Duration::from_secs(120);

/// The line of JSON that a workload ends with.
#[derive(Deserialize)]
pub struct Outcome {
    pub operations: u64,
    pub ns: f64,
    start_kib: u64,
    final_kib: u64,
    peak_kib: u64,
    pub malloc_latency: Option<Latency>,
    pub free_latency: Option<Latency>,
    pub resident: Vec<Resident>,
    pub points: Vec<Point>,
}

/// The program with that environment, ready to be given arguments.
pub fn command(program: &Path, library: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("BITMAG_LIBRARY", library);
    command
}

/// What the program prints when it is asked that.
pub fn ask(program: &Path, library: &Path, arguments: &[&str]) -> Result<String> {
    let output = command(program, library).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}: {}", output.status, said.lines().next().unwrap_or("no message"));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs it; what it printed, and the sample with what the system counted of it.
pub fn run(mut command: Command) -> Result<(String, Sample)> {
    let begin = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = libc::pid_t::try_from(child.id())?;
    let (ended, wait) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = wait.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            // SAFETY: nobody has waited for this child yet: the number is still its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        late
    });
    let mut printed = String::new();
    let mut said = String::new();
    child.stdout.take().context("a pipe")?.read_to_string(&mut printed)?;
    child.stderr.take().context("a pipe")?.read_to_string(&mut said)?;
    // The pipes are closed: it is ending, and the watch must not hit another process of the same number.
    drop(ended);
    let late = watch.join().unwrap_or(true);
    let (status, sample) = usage::wait(&child)?;
    let wall = begin.elapsed().as_secs_f64();
    if late {
        bail!("not done after {} s", LIMIT.as_secs());
    }
    if !status.success() {
        let message = said.lines().filter(|line| !line.trim().is_empty()).take(2);
        let message = message.collect::<Vec<_>>().join(" ");
        bail!("{status}: {message}");
    }
    Ok((printed, Sample { wall, ..sample }))
}

/// The outcome that the program printed, and the sample with its figures in it.
pub fn outcome(printed: &str, sample: &mut Sample) -> Result<Outcome> {
    let line = printed.lines().rfind(|line| line.starts_with('{'));
    let outcome: Outcome = serde_json::from_str(line.context("it printed no figures")?)?;
    sample.operations = outcome.operations;
    sample.ns = outcome.ns;
    // Not the system's `ru_maxrss`, which begins with what this process had at the fork.
    sample.peak_kib = outcome.peak_kib;
    sample.final_kib = outcome.final_kib;
    sample.start_kib = outcome.start_kib;
    Ok(outcome)
}
