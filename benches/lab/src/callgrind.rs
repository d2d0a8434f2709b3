//! One run of a peer's program under callgrind, and what its profile says: how many instructions, and whose functions they were in.
//! The environment is emptied, so that the count does not depend on who asks.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// What one run of a row came to.
pub struct Profile {
    /// Instructions inside the counted part.
    pub instructions: u64,
    /// The profile itself, for the names of the functions in it.
    text: String,
}

impl Profile {
    /// Whether any function or object of the profile has this in its name.
    pub fn names(&self, marker: &str) -> bool {
        self.text
            .lines()
            .filter(|line| ["fn=", "cfn=", "ob=", "cob="].iter().any(|kind| line.starts_with(kind)))
            .any(|line| line.contains(marker))
    }
}

/// Runs `program ROW LENGTH [nothing]`.
pub fn count(program: &Path, library: &Path, arguments: &[&str], file: &Path) -> Result<Profile> {
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg("--collect-atstart=no")
        .arg("--toggle-collect=*State::run*")
        .arg("--toggle-collect=bitmag_lab_counted")
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
        bail!("{arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let instructions = total.context("the profile has no total")?.trim().parse()?;
    Ok(Profile { instructions, text })
}
