//! The programs, each with an input that lies in `benches/lab/programs`.

use crate::toolchain;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A program and what it is given.
pub struct Load {
    pub name: &'static str,
    pub what: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub variables: Vec<(&'static str, &'static str)>,
    pub input: Option<PathBuf>,
    /// Where its output goes while it runs.
    pub output: PathBuf,
}

/// Where a program lies, past the wrappers of version managers.
fn which(names: &[&str]) -> PathBuf {
    let candidates = names.iter().flat_map(|name| {
        ["/usr/bin", "/usr/local/bin", "/bin"].map(|folder| Path::new(folder).join(name))
    });
    candidates.into_iter().find(|path| path.exists()).unwrap_or_else(|| names[0].into())
}

/// All of them. One whose program is missing fails when it is run.
pub fn all(root: &Path, target: &Path) -> Result<Vec<Load>> {
    let scripts = root.join("benches/lab/programs");
    let folder = target.join("lab");
    std::fs::create_dir_all(&folder).context("the folder for outputs")?;
    let script = |name: &str| scripts.join(name).into_os_string();
    let load = |name, what, program: PathBuf, arguments: Vec<OsString>| Load {
        name,
        what,
        program,
        arguments,
        variables: Vec::new(),
        input: None,
        output: folder.join("program.out"),
    };
    let mut python = load(
        "python",
        "objects, dictionaries, strings and JSON, PYTHONMALLOC=malloc",
        which(&["python3"]),
        vec![script("objects.py")],
    );
    python.variables = vec![("PYTHONMALLOC", "malloc"), ("PYTHONHASHSEED", "0")];
    let mut sqlite = load(
        "sqlite3",
        "300,000 rows in memory, two indices, queries, updates, deletions",
        which(&["sqlite3"]),
        vec!["-batch".into(), ":memory:".into()],
    );
    sqlite.input = Some(scripts.join("rows.sql"));
    let lua = load(
        "lua",
        "tables, strings and closures that come and go",
        which(&["lua5.4", "lua"]),
        vec![script("objects.lua")],
    );
    let mut options: Vec<OsString> =
        ["-q", "-dSAFER", "-dNOPAUSE", "-dBATCH", "-sDEVICE=ppmraw", "-r150", "-sOutputFile=-"]
            .map(OsString::from)
            .into();
    options.push(script("pages.ps"));
    let ghostscript =
        load("ghostscript", "10 pages of text, curves and shadings", which(&["gs"]), options);
    let printed = |argument: &str| toolchain::first_line(Path::new("g++"), argument);
    let mut options: Vec<OsString> =
        ["-quiet", "-std=c++17", "-O1", "-D_GNU_SOURCE", "-imultiarch"].map(OsString::from).into();
    options.push(printed("-print-multiarch").into());
    options.push(script("templates.cpp"));
    options.extend(["-o", "-"].map(OsString::from));
    let compiler = PathBuf::from(printed("-print-prog-name=cc1plus"));
    let compiler =
        load("cc1plus", "-O1 on many headers and templates of 5 types", compiler, options);
    Ok(vec![lua, python, sqlite, ghostscript, compiler])
}
