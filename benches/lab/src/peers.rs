//! The allocators that are compared, and how a program with each of them is built.
//! Each is a program of its own, built by a nested cargo with one feature and its own target folder; all get the same CPU flags, none
//! beyond the target's baseline.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An allocator.
pub struct Peer {
    pub name: &'static str,
    /// The feature of this package that chooses it; empty for the system's.
    feature: &'static str,
    /// The package in Cargo.lock that brings it, and the version of the library where that is not the package's.
    package: &'static str,
    library: &'static str,
    /// What a profile of its calls has in it: a function's name, or the object's.
    pub marker: &'static str,
    /// Instructions that the lab's own adapter adds to its sized free.
    pub adapter: f64,
}

const fn peer(
    name: &'static str,
    feature: &'static str,
    package: &'static str,
    library: &'static str,
    marker: &'static str,
) -> Peer {
    Peer { name, feature, package, library, marker, adapter: 0.0 }
}

/// All of them, ours first.
pub static PEERS: [Peer; 8] = [
    peer("bitmag", "bitmag", "bitmag", "", "bitmag"),
    peer("mimalloc 3", "mimalloc3", "libmimalloc-sys", "3.3.2", "mi_"),
    peer("mimalloc 2", "mimalloc2", "libmimalloc-sys", "2.3.2", "mi_"),
    peer("jemalloc", "jemalloc", "tikv-jemalloc-sys", "", "_rjem_"),
    Peer { adapter: 3.0, ..peer("snmalloc", "snmalloc", "snmalloc-sys", "", "sn_") },
    peer("rpmalloc", "rpmalloc", "rpmalloc-sys", "1.4.3", "rp"),
    peer("tcmalloc", "tcmalloc", "tcmalloc-sys", "gperftools", "tc_"),
    peer("glibc", "", "", "", "libc.so.6"),
];

impl Peer {
    /// Which version it is: that of the package in Cargo.lock, and the library's own.
    pub fn version(&self) -> String {
        if self.package.is_empty() {
            // SAFETY: a static string of the C library.
            let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
            return version.to_string_lossy().into_owned();
        }
        let lock = include_str!("../../../Cargo.lock");
        let after = lock.split(&format!("name = \"{}\"\nversion = \"", self.package)).nth(1);
        let package = after.and_then(|rest| rest.split('"').next()).unwrap_or("?");
        match self.library {
            "" => package.into(),
            library => format!("{library} ({} {package})", self.package),
        }
    }

    /// Builds its program. An error is the reason why there is none.
    pub fn build(&self, root: &Path, target: &Path) -> Result<PathBuf> {
        let folder = target.join("lab").join(self.name.replace(' ', "-"));
        let mut features = vec!["--bin", "bitmag-lab-peer"];
        if !self.feature.is_empty() {
            features.extend(["--features", self.feature]);
        }
        cargo(root, &folder, "bitmag-lab", &features)?;
        Ok(folder.join("release/bitmag-lab-peer"))
    }
}

/// The C face of bitmag.
pub fn library(root: &Path, target: &Path) -> Result<PathBuf> {
    cargo(root, target, "bitmag-malloc", &[])?;
    Ok(target.join("release/libbitmag_malloc.so"))
}

fn cargo(root: &Path, target: &Path, package: &str, arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--release", "--package", package])
        .args(arguments)
        .arg("--target-dir")
        .arg(target)
        .output()
        .context("cargo")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let why = text.lines().find(|line| line.contains("error") || line.contains("panicked"));
        bail!("{}", why.unwrap_or("cargo failed").trim());
    }
    Ok(())
}

impl Peer {
    /// Whether a profile can tell the two apart by their markers. glibc's object also holds what others call of it.
    pub fn distinct(&self, other: &Peer) -> bool {
        self.marker != other.marker && self.marker != "libc.so.6" && self.marker != "bitmag"
    }
}
