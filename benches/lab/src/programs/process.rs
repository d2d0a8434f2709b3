//! One process: started with the library preloaded, looked at while it runs, measured by `wait4`.

use super::allocators::Preload;
use super::loads::Load;
use crate::result::Sample;
use crate::usage;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a run came to.
pub struct Done {
    pub sample: Sample,
    /// Of all that it printed.
    pub output: u64,
    /// The line of the process's memory map that shows the library.
    pub proof: String,
}

/// The command with the library preloaded, or none.
pub fn preloaded(program: &Path, allocator: Option<&Preload>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_PRELOAD").env("LC_ALL", "C");
    if let Some(library) = allocator.and_then(|allocator| allocator.library.as_ref()) {
        command.env("LD_PRELOAD", library);
    }
    command
}

/// Runs a load and waits for it.
pub fn run(load: &Load, allocator: Option<&Preload>) -> Result<Done> {
    let mut command = preloaded(&load.program, allocator);
    command.args(&load.arguments).envs(load.variables.iter().copied()).stderr(Stdio::null());
    command.stdout(File::create(&load.output)?);
    match &load.input {
        Some(input) => command.stdin(File::open(input)?),
        None => command.stdin(Stdio::null()),
    };
    let start = Instant::now();
    let child = command.spawn().with_context(|| load.program.display().to_string())?;
    let proof = allocator.map_or(Ok(String::new()), |allocator| prove(&child, allocator));
    let (status, sample) = usage::wait(&child)?;
    let wall = start.elapsed();
    ensure!(status.success(), "{status}");
    Ok(Done { sample: timed(sample, wall), output: hash(&load.output)?, proof: proof? })
}

/// Waits until the library is mapped, or, for the system's own, until the program itself runs.
fn prove(child: &Child, allocator: &Preload) -> Result<String> {
    let maps = format!("/proc/{}/maps", child.id());
    let wanted = allocator.library.as_deref().unwrap_or(Path::new("libc.so.6"));
    let wanted = wanted.to_string_lossy();
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(1));
        let text = std::fs::read_to_string(&maps).unwrap_or_default();
        let code = |line: &&str| line.contains("r-xp") && line.contains(&*wanted);
        if let Some(line) = text.lines().find(code) {
            let others = text.lines().any(|line| {
                ["libbitmag", "libmimalloc", "libjemalloc", "libtcmalloc"]
                    .iter()
                    .any(|name| line.contains(name) && !line.contains(&*wanted))
            });
            ensure!(!others, "another allocator is mapped, too");
            let object = line.split_whitespace().last().unwrap_or_default();
            return Ok(format!("code of {object} in /proc/PID/maps of each run"));
        }
    }
    anyhow::bail!("{wanted} was not mapped")
}

/// A run of that length.
pub fn timed(sample: Sample, wall: Duration) -> Sample {
    Sample { operations: 1, ns: wall.as_nanos() as f64, wall: wall.as_secs_f64(), ..sample }
}

fn hash(file: &Path) -> Result<u64> {
    let mut file = File::open(file)?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(&buffer[..count]);
    }
}
