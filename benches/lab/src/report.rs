//! The figures as a table, in Markdown, so that the README holds what the command printed, and as JSON with all that belongs to them.

use crate::instructions::{Figure, Results};
use crate::toolchain;
use anyhow::Result;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The table, and below it versions, flags, and what is missing from it and why.
pub fn print(results: &Results) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let names = results.peers.iter().map(|peer| peer.name.to_string());
    table.set_header(["instructions".to_string(), "aim".to_string()].into_iter().chain(names));
    for row in &results.rows {
        let face = if row.rust { " (Rust)" } else { "" };
        let cells = results.peers.iter().map(|peer| cell(&results.figures[&(row.name, peer.name)]));
        let aim = if row.aim == 0.0 { String::new() } else { row.aim.to_string() };
        table.add_row([format!("{}{face}", row.operation), aim].into_iter().chain(cells));
    }
    println!("{table}\n");
    for peer in &results.peers {
        println!("{}: {}", peer.name, peer.version());
    }
    for (peer, why) in &results.not_built {
        println!("{}: {}: not built: {why}", peer.name, peer.version());
    }
    println!("C flags: {}; Rust flags: {}", toolchain::C_FLAGS, toolchain::RUST_FLAGS);
    for ((row, peer), figure) in &results.figures {
        if let Err(why) = figure {
            println!("failed: {peer}, {row}: {why}");
        }
    }
}

/// Whole figures without a fraction, others with one place.
fn cell(figure: &Figure) -> String {
    match figure {
        Err(_) => "failed".into(),
        Ok(figure) if (figure - figure.round()).abs() < 0.05 => format!("{figure:.0}"),
        Ok(figure) => format!("{figure:.1}"),
    }
}

/// Everything, for other programs.
pub fn write(results: &Results, file: &Path) -> Result<()> {
    let rows: Vec<_> = results
        .rows
        .iter()
        .map(|row| {
            let of = |peer: &&crate::peers::Peer| match &results.figures[&(row.name, peer.name)] {
                Ok(figure) => (peer.name, json!(figure)),
                Err(why) => (peer.name, json!({ "failed": why })),
            };
            let each: BTreeMap<_, Value> = results.peers.iter().map(of).collect();
            json!({ "row": row.name, "operation": row.operation, "aim": row.aim, "lengths": row.lengths, "instructions": each })
        })
        .collect();
    let versions: BTreeMap<_, _> =
        results.peers.iter().map(|peer| (peer.name, peer.version())).collect();
    let not_built: BTreeMap<_, _> =
        results.not_built.iter().map(|(peer, why)| (peer.name, why)).collect();
    let all = json!({
        "measure": "instructions",
        "made_with": toolchain::facts(),
        "versions": versions,
        "not_built": not_built,
        "rows": rows,
    });
    std::fs::write(file, serde_json::to_string_pretty(&all)?)?;
    println!("written to {}", file.display());
    Ok(())
}
