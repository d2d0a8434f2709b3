//! The allocators that are compared, and how a program with each of them is built.
//! Each is a program of its own, built by a nested cargo with one feature and its own target folder, all of them with the flags of
//! `toolchain.rs`.

use crate::toolchain::{self, Compiler};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The name of every peer's program.
const PROGRAM: &str = "bitmag-lab-peer";

/// An allocator.
pub struct Peer {
    pub name: &'static str,
    /// The feature of this package that chooses it; empty for the system's.
    feature: &'static str,
    /// The package in Cargo.lock that brings it, and the version of the library where that is not the package's.
    package: &'static str,
    library: &'static str,
    /// The compiler of the two that gives this library the fewest instructions.
    compiler: Compiler,
    /// Where its functions lie: what the file's name begins with.
    object: &'static str,
    /// Its functions, by the exact names that a profile may give them.
    pub functions: &'static [&'static str],
    /// Instructions that the lab's own adapter adds to its sized free.
    pub adapter: f64,
    /// Whether its code lies in a section that valgrind knows no object for.
    pub sections: bool,
    /// Whether it runs under valgrind, which keeps a program at low addresses.
    small: bool,
}

/// The names in C, with the aliases that C libraries have for the same addresses.
const C_NAMES: &[&str] = &[
    "malloc",
    "free",
    "calloc",
    "realloc",
    "aligned_alloc",
    "memalign",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "reallocarray",
    "cfree",
    "free_sized",
    "free_aligned_sized",
    "__libc_malloc",
    "__libc_free",
    "__libc_calloc",
    "__libc_realloc",
    "__libc_memalign",
    "_mid_memalign",
];
const MIMALLOC: &[&str] =
    &["mi_malloc", "mi_free", "mi_free_size", "mi_calloc", "mi_realloc", "mi_aligned_alloc"];
const JEMALLOC: &[&str] = &[
    "_rjem_malloc",
    "_rjem_free",
    "_rjem_free_sized",
    "_rjem_calloc",
    "_rjem_realloc",
    "_rjem_aligned_alloc",
];
const SNMALLOC: &[&str] =
    &["sn_malloc", "sn_free", "sn_rust_dealloc", "sn_calloc", "sn_realloc", "sn_rust_alloc"];
const RPMALLOC: &[&str] = &["rpmalloc", "rpfree", "rpcalloc", "rprealloc", "rpaligned_alloc"];

const fn peer(
    name: &'static str,
    [feature, package, library]: [&'static str; 3],
    compiler: Compiler,
    object: &'static str,
    functions: &'static [&'static str],
) -> Peer {
    Peer {
        name,
        feature,
        package,
        library,
        compiler,
        object,
        functions,
        adapter: 0.0,
        sections: false,
        small: false,
    }
}

/// All of them, ours first.
#[rustfmt::skip]
pub static PEERS: [Peer; 8] = [
    peer("bitmag", ["bitmag", "bitmag", ""], Compiler::Gcc, "libbitmag_malloc.so", C_NAMES),
    peer("mimalloc 3", ["mimalloc3", "libmimalloc-sys", "3.3.2"], Compiler::Clang, PROGRAM, MIMALLOC),
    peer("mimalloc 2", ["mimalloc2", "libmimalloc-sys", "2.3.2"], Compiler::Clang, PROGRAM, MIMALLOC),
    peer("jemalloc", ["jemalloc", "tikv-jemalloc-sys", ""], Compiler::Gcc, PROGRAM, JEMALLOC),
    Peer { adapter: 3.0, small: true, ..peer("snmalloc", ["snmalloc", "snmalloc-sys", ""], Compiler::Gcc, PROGRAM, SNMALLOC) },
    peer("rpmalloc", ["rpmalloc", "rpmalloc-sys", "1.4.3"], Compiler::Clang, PROGRAM, RPMALLOC),
    Peer { sections: true, ..peer("tcmalloc", ["tcmalloc", "tcmalloc", "gperftools"], Compiler::Gcc, "libtcmalloc.so", C_NAMES) },
    peer("glibc", ["", "", ""], Compiler::Gcc, "libc.so.6", C_NAMES),
];

/// bitmag in the timed runs: its C face is part of the program, as the others are, and the Rust face beside it the same copy.
static LINKED: Peer = peer("bitmag", ["linked", "bitmag", ""], Compiler::Gcc, PROGRAM, C_NAMES);
/// snmalloc with its table of chunks for all addresses, as its users have it.
static NATIVE: Peer = Peer { small: false, ..PEERS[4] };
/// bitmag out of the shared library, for a look at what that costs; not among the peers unless it is asked for.
pub const SHARED: &str = "bitmag.so";
static LOADED: Peer = Peer { name: SHARED, ..PEERS[0] };

/// The peers of the timed runs.
pub fn timed() -> Vec<&'static Peer> {
    let one = |peer: &'static Peer| match peer.feature {
        "bitmag" => &LINKED,
        "snmalloc" => &NATIVE,
        _ => peer,
    };
    PEERS.iter().map(one).chain([&LOADED]).collect()
}

/// The peer of the timed runs that has this name.
pub fn named(name: &str) -> Option<&'static Peer> {
    timed().into_iter().find(|peer| peer.name == name)
}

impl Peer {
    /// Which version it is: that of the package in Cargo.lock, and the library's own.
    pub fn version(&self) -> String {
        if self.package.is_empty() {
            return format!("{}, the one of this system", toolchain::glibc());
        }
        let lock = include_str!("../../../Cargo.lock");
        let after = lock.split(&format!("name = \"{}\"\nversion = \"", self.package)).nth(1);
        let package = after.and_then(|rest| rest.split('"').next()).unwrap_or("?");
        let version = match self.library {
            "" => package.to_string(),
            library => format!("{library} (crate {} {package})", self.package),
        };
        if self.package == "bitmag" {
            return version;
        }
        if self.object != PROGRAM {
            return format!("{version}, the library that this system has");
        }
        let compiler = toolchain::first_line(&toolchain::programs(self.compiler).0, "--version");
        format!("{version}, built by {compiler}")
    }

    /// Whether a function of that name in that object is one that this allocator is called by.
    pub fn owns(&self, object: &str, function: &str) -> bool {
        self.holds(object) && self.functions.contains(&function)
    }

    /// Whether that is a name of one of its functions in its object's symbols. gperftools has prefixed ones for all of C's.
    pub fn is_called(&self, symbol: &str) -> bool {
        self.functions.contains(&symbol) || self.feature == "tcmalloc" && symbol.starts_with("tc_")
    }

    /// Whether its code lies in that object.
    pub fn holds(&self, object: &str) -> bool {
        object.rsplit('/').next().is_some_and(|file| file.starts_with(self.object))
    }

    /// Whether that is the lab's adapter for this allocator.
    pub fn adapts(&self, function: &str) -> bool {
        self.adapter > 0.0 && function == "bitmag_lab_peer::allocator::chosen::free_sized"
    }

    /// The peer whose instructions are counted for this one: itself, where valgrind can run it.
    pub fn counted(&'static self) -> &'static Peer {
        if self.feature == "snmalloc" { &PEERS[4] } else { self }
    }

    /// Builds its program. An error is the reason why there is none.
    pub fn build(&self, root: &Path, target: &Path) -> Result<PathBuf> {
        let folder = target.join("lab").join(self.folder());
        let mut arguments =
            vec!["--package", "bitmag-lab", "--bin", PROGRAM, "--no-default-features"];
        if !self.feature.is_empty() {
            arguments.extend(["--features", self.feature]);
        }
        self.cargo(root, &folder, &arguments)?;
        Ok(folder.join("lab").join(PROGRAM))
    }

    /// Where it is built, below the lab's folder.
    fn folder(&self) -> String {
        match self.feature {
            "linked" => "bitmag-linked".into(),
            "bitmag" => "bitmag".into(),
            "snmalloc" if !self.small => "snmalloc-native".into(),
            _ => self.name.replace(' ', "-"),
        }
    }

    /// What the version that the library says has to begin with, where two peers have the same names for their functions.
    pub fn major(&self) -> Option<&'static str> {
        self.feature.strip_prefix("mimalloc")
    }

    fn cargo(&self, root: &Path, target: &Path, arguments: &[&str]) -> Result<()> {
        let (c, cpp) = toolchain::programs(self.compiler);
        let mut cpp_flags = toolchain::C_FLAGS.to_string();
        if self.small {
            let header = root.join("benches/lab/snmalloc/small_space.h");
            // cc splits flags at spaces.
            cpp_flags += &format!(" -include{}", header.display());
            cpp_flags += " -DSNMALLOC_MEMORY_PROVIDER=SmallSpace<PALLinux>";
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .current_dir(root)
            .args(["build", "--locked", "--profile", "lab", "--target-dir"])
            .arg(target)
            .args(arguments)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", toolchain::RUST_FLAGS)
            .envs([("CC", c), ("CXX", cpp)])
            .envs([("CFLAGS", toolchain::C_FLAGS), ("CXXFLAGS", &cpp_flags)])
            .output()
            .context("cargo")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let telling = |line: &&str| {
                ["error occurred", "rror: ", "panicked", "unable to find"]
                    .iter()
                    .any(|mark| line.contains(mark))
            };
            // The last one is the nearest to the cause; cargo's own summary stands above what the tool said.
            let why = text.lines().rfind(telling);
            bail!("{}", why.unwrap_or("cargo failed").trim());
        }
        Ok(())
    }
}

/// Does that for each of them, as many at a time as there are processors: other libraries' build scripts keep one busy at best.
pub fn in_parallel<T: Send>(
    peers: &[&'static Peer],
    job: impl Fn(&'static Peer) -> T + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done: Vec<_> = peers.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..std::thread::available_parallelism()?.get() {
            scope.spawn(|| {
                while let Some((at, peer)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    peers.get(at).map(|peer| (at, peer))
                } {
                    eprintln!("building {}", peer.name);
                    *done[at].lock().expect("no job panics") = Some(job(peer));
                }
            });
        }
        Ok(())
    })?;
    let taken = done.into_iter().map(|one| one.into_inner().expect("no job panics"));
    Ok(taken.map(|one| one.expect("every job was done")).collect())
}

/// The C face of bitmag.
pub fn library(root: &Path, target: &Path) -> Result<PathBuf> {
    let folder = target.join("lab/bitmag");
    PEERS[0].cargo(root, &folder, &["--package", "bitmag-malloc"])?;
    Ok(folder.join("lab/libbitmag_malloc.so"))
}
