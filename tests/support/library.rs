//! The preloadable library, built once by a nested cargo, since `cargo test` does not build a member's cdylib.
//! A file lock keeps test programs that start at the same time from building it twice; `BITMAG_LIBRARY` names a library built elsewhere instead.
//! A build for another target (emulation) is recognised by the folder that the test program itself lies in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of `libbitmag_malloc.so`.
pub fn path() -> Result<&'static Path, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref().map_err(Clone::clone)
}

fn build() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("BITMAG_LIBRARY") {
        return Ok(path.into());
    }
    // .../target[/TRIPLE]/PROFILE/deps/this-program
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let folder = program.ancestors().nth(3).ok_or("the test program lies in no target folder")?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let triple = (name.matches('-').count() >= 2).then_some(name);
    let target = if triple.is_some() { folder.parent().unwrap_or(folder) } else { folder };

    let lock =
        std::fs::File::create(target.join("bitmag-malloc.lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--package", "bitmag-malloc", "--target-dir"]).arg(target);
    cargo.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    if let Some(triple) = &triple {
        cargo.args(["--target", triple]);
    }
    let output = cargo.output().map_err(|e| format!("cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "bitmag-malloc does not build:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let built = folder.join("release/libbitmag_malloc.so");
    if built.exists() { Ok(built) } else { Err(format!("cargo built no {}", built.display())) }
}
