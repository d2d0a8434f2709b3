//! Where things are: external tools, folders for the tests' files, the program sources under `tests/programs`.
//! Everything written goes under cargo's own folder for test files, a fresh folder for each asker.
//! Tools are looked up in `PATH` only.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A tool's path, if the machine has it.
pub fn tool(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// An empty folder that no other test uses; everyone may write to it, for tests that give up root.
pub fn fresh_folder(name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{name}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).expect("cargo's folder for test files can be written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))
        .expect("the folder is ours");
    path
}

/// A source file under `tests/programs`.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// Compiles a program under `tests/programs` with `gcc` or `g++`; `None` when the compiler is missing.
pub fn compile(name: &str, flags: &[&str]) -> Result<Option<PathBuf>, String> {
    let compiler = if name.ends_with(".cpp") { "g++" } else { "gcc" };
    let Some(compiler) = tool(compiler) else { return Ok(None) };
    let folder = fresh_folder("compiled");
    let program = folder.join(name.split('.').next().unwrap_or(name));
    let output = Command::new(compiler)
        .args(["-O2", "-g", "-o"])
        .arg(&program)
        .arg(source(name))
        .args(flags)
        .output()
        .map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(Some(program)),
        false => {
            Err(format!("{name} does not compile:\n{}", String::from_utf8_lossy(&output.stderr)))
        }
    }
}
