//! The linked files that are looked at, and how each is built.
//! Those of this machine's own target are built on the spot by a nested cargo, always in the same way; those of another
//! target are taken where `scripts/cross.sh` has put them, if they are there and not older than the sources.
//! A file that cannot be had is no error: it says why, and nothing about it is checked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A linked file.
#[derive(Debug)]
pub struct Artefact {
    /// What `bounds.toml` calls it; also the folder of its listings.
    pub name: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// The processor, as in `std::env::consts::ARCH`.
    arch: &'static str,
    /// The package, and what cargo needs to be told beside it.
    build: &'static [&'static str],
    /// Where it lies below cargo's folder for the target.
    file: &'static str,
}

const MALLOC: &[&str] = &["--release", "--package", "bitmag-malloc"];
const PROBE: &[&str] = &["--release", "--package", "bitmag-probe"];
const PROBE_LTO: &[&str] = &["--profile", "bench-lto", "--package", "bitmag-probe"];
const KERNELS: &[&str] =
    &["--profile", "kernels", "--package", "bitmag-kernels", "--features", "engine"];

/// All of them. A symbol is looked for in this order.
pub const ALL: [Artefact; 9] = [
    Artefact {
        name: "x86_64-unknown-linux-gnu/c-cdylib",
        what: "the C face, libbitmag_malloc.so",
        arch: "x86_64",
        build: MALLOC,
        file: "release/libbitmag_malloc.so",
    },
    Artefact {
        name: "x86_64-unknown-linux-gnu/executable",
        what: "an executable with the Rust face, no LTO",
        arch: "x86_64",
        build: PROBE,
        file: "release/bitmag-probe",
    },
    Artefact {
        name: "x86_64-unknown-linux-gnu/executable-lto",
        what: "an executable with the Rust face, fat LTO",
        arch: "x86_64",
        build: PROBE_LTO,
        file: "bench-lto/bitmag-probe",
    },
    Artefact {
        name: "x86_64-unknown-linux-gnu/rust-cdylib",
        what: "a shared library with the Rust face, no LTO",
        arch: "x86_64",
        build: PROBE,
        file: "release/libbitmag_probe.so",
    },
    Artefact {
        name: "x86_64-unknown-linux-gnu/kernels",
        what: "an executable with every kernel of the bitset engine",
        arch: "x86_64",
        build: KERNELS,
        file: "kernels/bitmag-kernels",
    },
    Artefact {
        name: "aarch64-unknown-linux-gnu/c-cdylib",
        what: "the C face, libbitmag_malloc.so",
        arch: "aarch64",
        build: MALLOC,
        file: "release/libbitmag_malloc.so",
    },
    Artefact {
        name: "aarch64-unknown-linux-gnu/executable",
        what: "an executable with the Rust face, no LTO",
        arch: "aarch64",
        build: PROBE,
        file: "release/bitmag-probe",
    },
    Artefact {
        name: "aarch64-unknown-linux-gnu/rust-cdylib",
        what: "a shared library with the Rust face, no LTO",
        arch: "aarch64",
        build: PROBE,
        file: "release/libbitmag_probe.so",
    },
    Artefact {
        name: "aarch64-unknown-linux-gnu/kernels",
        what: "an executable with every kernel of the bitset engine",
        arch: "aarch64",
        build: KERNELS,
        file: "kernels/bitmag-kernels",
    },
];

/// A file, or why there is none.
#[derive(Debug)]
pub enum Found {
    /// It is there and up to date.
    File(PathBuf),
    /// It is not looked at, for this reason.
    NotRun(String),
}

/// The artefact of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Artefact> {
    ALL.iter().find(|artefact| artefact.name == name)
}

/// The root of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The release of the compiler that builds the artefacts.
pub fn toolchain() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().map_err(|e| format!("rustc: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let release = text.lines().find_map(|line| line.strip_prefix("release: "));
    release.map(str::to_string).ok_or_else(|| "rustc names no release".into())
}

impl Artefact {
    /// Builds or finds the file.
    pub fn find(&self) -> Result<Found, String> {
        // .../target[/TRIPLE]/PROFILE/{deps,examples}/this-program
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let folder = program.ancestors().nth(3).ok_or("this program lies in no target folder")?;
        if std::env::var_os("BITMAG_EMULATED").is_some() {
            return Ok(Found::NotRun("under emulation; the machine underneath can do it".into()));
        }
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return Ok(Found::NotRun("the listings are of Linux with glibc".into()));
        }
        if self.arch == std::env::consts::ARCH {
            return self.build(folder).map(Found::File);
        }
        let triple = self.name.split('/').next().unwrap_or_default();
        let file = folder.join("cross").join(triple).join(self.file);
        let how = format!("scripts/cross.sh {} build {}", self.arch, self.build.join(" "));
        let Some(built) = modified(&file) else {
            return Ok(Found::NotRun(format!("not built: {how}")));
        };
        if newest_source(&file).is_none_or(|source| source > built) {
            return Ok(Found::NotRun(format!("older than the sources: {how}")));
        }
        Ok(Found::File(file))
    }

    fn build(&self, folder: &Path) -> Result<PathBuf, String> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let triple = (name.matches('-').count() >= 2).then_some(&*name);
        let target = if triple.is_some() { folder.parent().unwrap_or(folder) } else { folder };
        let mut cargo =
            Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.arg("build").args(self.build).arg("--target-dir").arg(target);
        cargo.arg("--manifest-path").arg(root().join("Cargo.toml"));
        if let Some(triple) = triple {
            cargo.args(["--target", triple]);
        }
        // What is looked at is always built alike, whatever the caller's own build was told.
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
            cargo.env_remove(variable);
        }
        let output = cargo.output().map_err(|e| format!("cargo: {e}"))?;
        if !output.status.success() {
            return Err(format!(
                "{} does not build:\n{}",
                self.name,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        Ok(folder.join(self.file))
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// When the last of the sources that went into a file changed, by the list that cargo leaves beside it.
fn newest_source(file: &Path) -> Option<SystemTime> {
    let list = std::fs::read_to_string(file.with_extension("d")).ok()?;
    let (_, sources) = list.split_once(": ")?;
    sources.split_whitespace().filter_map(|source| modified(Path::new(source))).max()
}
