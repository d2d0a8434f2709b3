//! One run of a peer's program under callgrind, and what its profile says: how many instructions, in which functions, and which address
//! was called by whom how often. The environment is emptied, so that the count does not depend on who asks.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A function, by the file that it lies in and its symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    pub object: String,
    pub name: String,
}

/// Calls from one place to another.
#[derive(Debug)]
pub struct Call {
    pub caller: Function,
    pub callee: Function,
    /// Where the callee begins, counted from the start of its object.
    pub address: u64,
    pub count: u64,
}

/// What the counted part of a run came to.
#[derive(Debug, Default)]
pub struct Profile {
    pub instructions: u64,
    /// Functions that executed an instruction.
    pub executed: BTreeSet<Function>,
    pub calls: Vec<Call>,
    /// What the program printed.
    pub printed: String,
}

/// Runs the program with these arguments.
pub fn count(program: &Path, library: &Path, arguments: &[&str], file: &Path) -> Result<Profile> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--dump-instr=yes"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg("--toggle-collect=*State::run*")
        .arg("--toggle-collect=bitmag_lab_counted")
        .arg("--toggle-collect=bitmag_lab_measured")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("BITMAG_LIBRARY", library)
        .env("BITMAG_BACKEND", "avx2") // valgrind has no AVX-512
        .output()
        .context("valgrind")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let own = |line: &&str| !line.starts_with("==") && !line.trim().is_empty();
        bail!("{}: {}", output.status, text.lines().find(own).unwrap_or("no message"));
    }
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut profile = parse(&text)?;
    profile.printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(profile)
}

/// Reads callgrind's format, names and positions uncompressed.
pub fn parse(text: &str) -> Result<Profile> {
    let mut profile = Profile::default();
    let mut here = Function::default();
    let mut callee = Function::default();
    let mut total = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(object) = line.strip_prefix("ob=") {
            here.object = object.to_string();
        } else if let Some(name) = line.strip_prefix("fn=") {
            here.name = plain(name);
            callee.object = here.object.clone();
        } else if let Some(object) = line.strip_prefix("cob=") {
            callee.object = object.to_string();
        } else if let Some(name) = line.strip_prefix("cfn=") {
            callee.name = plain(name);
        } else if let Some(call) = line.strip_prefix("calls=") {
            let mut numbers = call.split_whitespace();
            let count = numbers.next().context("a call's count")?.parse()?;
            let address = hexadecimal(numbers.next().context("a call's target")?)?;
            let (caller, to) = (here.clone(), callee.clone());
            profile.calls.push(Call { caller, callee: to, address, count });
            callee.object = here.object.clone();
            lines.next(); // what the call cost in all
        } else if line.starts_with("0x") {
            let cost: u64 = line.rsplit(' ').next().unwrap_or_default().parse()?;
            if cost > 0 && !profile.executed.contains(&here) {
                profile.executed.insert(here.clone());
            }
        } else if let Some(sum) = line.strip_prefix("totals: ") {
            total = Some(sum.trim().parse()?);
        } else {
            ensure!(!line.starts_with(['+', '-', '*']), "a compressed profile");
        }
    }
    profile.instructions = total.context("the profile has no total")?;
    Ok(profile)
}

/// A symbol without its version and without callgrind's mark of a recursion.
fn plain(name: &str) -> String {
    let name = name.split(['@', '\'']).next();
    name.unwrap_or_default().to_string()
}

/// A number as `0x...`.
pub fn hexadecimal(text: &str) -> Result<u64> {
    let digits = text.strip_prefix("0x").with_context(|| format!("{text:?} is no address"))?;
    Ok(u64::from_str_radix(digits, 16)?)
}
