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

use compare::{compare, fail_above};

use crate::result::Run;
use anyhow::{Context, Result, ensure};
use std::path::Path;

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

/// Prints how a run stands to an older one; an error where bitmag takes more than `limit` percent more time.
pub fn compare_files(old: &Path, new: &Path, limit: Option<f64>) -> Result<()> {
    let (old, new) = (read(old)?, read(new)?);
    ensure!(old.format == new.format, "the two files have different layouts");
    print!("{}", compare(&old, &new));
    limit.map_or(Ok(()), |percent| fail_above(&old, &new, percent))
}

/// Writes the README's figures anew from a run's file.
pub fn rewrite_readme(root: &Path, file: &Path) -> Result<()> {
    let page = root.join("README.md");
    let text = std::fs::read_to_string(&page)?;
    Ok(std::fs::write(page, readme::rewrite(&text, &read(file)?)?)?)
}
