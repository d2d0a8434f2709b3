//! The tables of `disasm/README.md` and `asm/README.md`: figures by way and artefact, between two marks.
//! Rows of artefacts that were not looked at stay as they are, so that a machine without the cross tools can bless the rest.
//! Only the bless command writes them; the test compares them.

use crate::artefact;
use crate::bounds::Bounds;
use crate::survey::Survey;
use std::collections::BTreeMap;
use std::path::Path;

const BEGIN: &str = "<!-- table: written by the bless command -->";
const END: &str = "<!-- end of the table -->";

/// A page with a table.
pub struct Page {
    /// Its path from the root.
    pub path: &'static str,
    /// Whether a symbol belongs to it.
    wants: fn(&str) -> bool,
}

/// The pages.
pub const PAGES: [Page; 2] = [
    Page { path: "disasm/README.md", wants: |_| true },
    Page { path: "asm/README.md", wants: is_entry },
];

/// The entries that are written in assembly, where there is any.
fn is_entry(symbol: &str) -> bool {
    let entries = ["malloc", "free", "free_sized", "pop", "push"];
    entries.contains(&symbol) || symbol.starts_with("bitmag_")
}

impl Page {
    /// The page as it should be.
    pub fn text(&self, bounds: &Bounds, survey: &Survey) -> Result<String, String> {
        let old = self.read()?;
        let (before, rest) =
            old.split_once(BEGIN).ok_or_else(|| format!("{} has no {BEGIN}", self.path))?;
        let (table, after) =
            rest.split_once(END).ok_or_else(|| format!("{} has no {END}", self.path))?;
        Ok(format!("{before}{BEGIN}\n{}{END}{after}", self.table(bounds, survey, table)))
    }

    /// The page as it is.
    pub fn read(&self) -> Result<String, String> {
        let path = artefact::root().join(self.path);
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Writes the page as it should be.
    pub fn write(&self, bounds: &Bounds, survey: &Survey) -> Result<(), String> {
        let path: &Path = &artefact::root().join(self.path);
        std::fs::write(path, self.text(bounds, survey)?)
            .map_err(|e| format!("{}: {e}", path.display()))
    }

    fn table(&self, bounds: &Bounds, survey: &Survey, old: &str) -> String {
        let kept: BTreeMap<String, &str> =
            old.lines().filter_map(|line| Some((key_of(line)?, line))).collect();
        let mut lines = vec![
            "| function | way | linked file | instructions | branches | loads | stores | bytes |"
                .to_string(),
            "|---|---|---|--:|--:|--:|--:|--:|".to_string(),
        ];
        for bound in bounds.bound.iter().filter(|bound| (self.wants)(&bound.symbol)) {
            let key = format!("| `{}` | {} | {} |", bound.symbol, bound.case(), bound.artefact);
            let row = survey.rows().find(|row| {
                (&row.bound.artefact, &row.bound.symbol, row.bound.case())
                    == (&bound.artefact, &bound.symbol, bound.case())
            });
            if let Some(row) = row {
                let c = &row.counts;
                lines.push(format!(
                    "{key} {} | {} | {} | {} | {} |",
                    c.instructions, c.branches, c.loads, c.stores, c.bytes
                ));
            } else if let Some(line) = kept.get(&key) {
                lines.push((*line).to_string());
            }
        }
        lines.join("\n") + "\n"
    }
}

/// The first three cells.
fn key_of(line: &str) -> Option<String> {
    let end = line.match_indices('|').nth(3)?.0;
    Some(line[..=end].to_string())
}
