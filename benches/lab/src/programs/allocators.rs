//! The libraries: bitmag's own build, Debian's packages of its peers, and the system's allocator without any.

use crate::result::Allocator;
use crate::toolchain;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An allocator that programs are run under.
pub struct Preload {
    pub name: &'static str,
    /// The library, its links followed as the kernel shows it; `None` for the system's own.
    pub library: Option<PathBuf>,
    /// Why it is not there.
    pub missing: Option<String>,
}

/// Name, file name, package.
const PACKAGED: [(&str, &str, &str); 3] = [
    ("mimalloc 2", "libmimalloc.so.2", "libmimalloc2.0"),
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("tcmalloc", "libtcmalloc.so.4", "libgoogle-perftools4"),
];

/// All of them, bitmag built first.
pub fn find(root: &Path, target: &Path) -> Result<Vec<Preload>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--release", "-p", "bitmag-malloc", "--target-dir"])
        .arg(target)
        .status()?;
    ensure!(built.success(), "bitmag-malloc was not built");
    let own = target.join("release/libbitmag_malloc.so");
    let own = own.canonicalize().with_context(|| own.display().to_string())?;
    let mut all = vec![
        Preload { name: "bitmag", library: Some(own), missing: None },
        Preload { name: "glibc", library: None, missing: None },
    ];
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let folders = folders.into_iter().chain([multiarch()]);
    let folders: Vec<PathBuf> = folders.collect();
    all.extend(PACKAGED.map(|(name, file, package)| {
        let found = folders.iter().find_map(|folder| folder.join(file).canonicalize().ok());
        let missing = found.is_none().then(|| format!("no {file} (Debian's package {package})"));
        Preload { name, library: found, missing }
    }));
    Ok(all)
}

fn multiarch() -> PathBuf {
    PathBuf::from("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH))
}

impl Preload {
    /// What the file of results says of it.
    pub fn describe(&self) -> Allocator {
        let package = PACKAGED.iter().find(|entry| entry.0 == self.name).map(|entry| entry.2);
        let version = package.map_or_else(String::new, |package| {
            let mut query = Command::new("dpkg-query");
            toolchain::first_line_of(query.args(["-W", "-f", "${Package} ${Version}", package]))
        });
        Allocator {
            name: self.name.into(),
            version: if package.is_none() { env!("CARGO_PKG_VERSION").into() } else { version },
            proof: String::new(),
            not_built: self.missing.clone(),
        }
    }
}
