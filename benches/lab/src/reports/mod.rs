//! The reports of a timed run, all made from its JSON alone. `figures` turns samples into medians, ratios and ties; `tables` and `sweeps`
//! put them into rows, which `markdown`, `html` and `readme` write down; `compare` holds a run against an older one.

mod compare;
mod figures;
mod html;
mod markdown;
mod numbers;
mod readme;
#[cfg(test)]
mod sample;
mod sweeps;
mod tables;

pub use compare::{compare, fail_above};

use crate::result::Run;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// Writes `report.md` and `report.html` into the folder.
pub fn write_all(run: &Run, folder: &Path) -> Result<()> {
    for (name, text) in [("report.md", markdown::render(run)), ("report.html", html::render(run))] {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written to {}", file.display());
    }
    Ok(())
}

/// The JSON of a run.
pub fn read(file: &Path) -> Result<Run> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no run", file.display()))
}

/// The repository.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the lab lies two folders below the root").into()
}

/// The subcommands that measure nothing: `report FILE`, `compare OLD NEW [--fail-above PERCENT]`, `readme FILE`.
pub fn command(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["report", file] => {
            let file = Path::new(file);
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            write_all(&read(file)?, folder.unwrap_or(Path::new(".")))
        }
        ["compare", old, new, limit @ ..] => {
            let (old, new) = (read(Path::new(old))?, read(Path::new(new))?);
            ensure!(old.format == new.format, "the two files have different layouts");
            print!("{}", compare(&old, &new));
            match limit {
                [] => Ok(()),
                ["--fail-above", percent] => fail_above(&old, &new, percent.parse()?),
                _ => bail!("usage: bitmag-lab compare OLD.json NEW.json [--fail-above PERCENT]"),
            }
        }
        ["readme", file] => {
            let page = root().join("README.md");
            let text = std::fs::read_to_string(&page)?;
            Ok(std::fs::write(page, readme::rewrite(&text, &read(Path::new(file))?)?)?)
        }
        _ => bail!(
            "usage: bitmag-lab report FILE.json | compare OLD.json NEW.json | readme FILE.json"
        ),
    }
}
