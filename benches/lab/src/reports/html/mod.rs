//! `report.html`: the run as one page that needs nothing but itself. Styles, script and plots are inside; no address is in it.
//! The plots are SVG written here: a plotting crate would fix the colours in the file, and the page takes them from its styles, so that it
//! is light or dark as its reader's system is, and black on white on paper. The page is well-formed XML behind its first line, which the
//! tests use to read it.

mod axis;
mod heat;
mod latency;
mod lines;
mod overview;
mod resident;
mod svg;
mod sweep;
#[cfg(test)]
mod tests;

use super::figures;
use super::markdown;
use super::tables::{self, Table};
use crate::result::Run;
use std::fmt::Write;
use svg::escape;

/// An allocator's colour on the whole page is its place among those of the run, where whom the page is about comes first.
pub struct Palette<'a>(Vec<&'a str>);

impl<'a> Palette<'a> {
    fn of(run: &'a Run) -> Self {
        let mut names = figures::taking_part(run);
        let first = figures::reference(run);
        names.sort_by_key(|name| Some(*name) != first);
        Palette(names)
    }

    /// Colours that no allocator shares go as far as the style sheet's; what comes behind them is grey.
    pub fn class(&self, allocator: &str) -> usize {
        self.0.iter().position(|name| *name == allocator).unwrap_or(usize::MAX).min(COLOURS)
    }
}

/// How many the style sheet has, `--c0` and on, before the grey one.
const COLOURS: usize = 10;

pub fn render(run: &Run) -> String {
    let palette = Palette::of(run);
    let title = format!("bitmag-lab {} {}", run.command, run.date);
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n",
        escape(&title),
        include_str!("page.css")
    );
    out.push_str(&overview::header(run));
    out.push_str(&legend(&palette));
    out.push_str("<main>\n");
    out.push_str(&overview::section(run, &palette));
    out.push_str(&heat::section(run));
    out.push_str(&latency::section(run, &palette));
    out.push_str(&resident::section(run, &palette));
    out.push_str(&sweep::section(run, &palette));
    out.push_str(&all_figures(run));
    out.push_str(&provenance(run));
    let _ =
        write!(out, "</main>\n<script>\n{}</script>\n</body>\n</html>\n", include_str!("page.js"));
    out
}

/// A part of the page with its heading and what there is to know before looking at it.
pub fn part(id: &str, heading: &str, note: &str, body: &str) -> String {
    format!(
        "<section id=\"{id}\">\n<h2>{}</h2>\n<p class=\"note\">{}</p>\n{body}</section>\n",
        escape(heading),
        escape(note)
    )
}

/// The allocators with their colours; pointing at one dims the others on the whole page, choosing it keeps them so.
fn legend(palette: &Palette) -> String {
    let mut out = String::from("<nav aria-label=\"allocators\">\n");
    for name in &palette.0 {
        let (class, name) = (palette.class(name), escape(name));
        let _ = writeln!(
            out,
            "<button type=\"button\" class=\"c{class}\" data-a=\"{name}\" aria-pressed=\"false\"><i></i>{name}</button>"
        );
    }
    out.push_str("</nav>\n");
    out
}

/// The tables behind the plots.
fn all_figures(run: &Run) -> String {
    let mut body = String::new();
    for (heading, workloads) in tables::groups(run) {
        let _ = writeln!(body, "<h3>{}</h3>", escape(heading));
        for workload in workloads {
            let _ = writeln!(
                body,
                "<details><summary>{} <span>{}</span></summary>",
                escape(&workload.name),
                escape(&workload.what)
            );
            body.push_str(&table(&tables::workload(workload)));
            for kind in tables::KINDS {
                if let Some(percentiles) = tables::latency(workload, kind) {
                    body.push_str(&table(&percentiles));
                }
            }
            body.push_str("</details>\n");
        }
    }
    let note =
        format!("{}. Spread: {}; {}.", tables::rounds(run), figures::SPREAD, figures::TIE_RULE);
    part("figures", "All figures", &note, &body)
}

fn provenance(run: &Run) -> String {
    let note = format!("{}, {}", run.date, tables::machine(run));
    let allocators =
        table(&markdown::allocators(run)).replace("<table>", "<table class=\"words\">");
    part("proof", "What ran, and how it was proved", &note, &allocators)
}

/// The first column names the row. A row that is shorter in figures than in words (a failure) runs over the rest of its row.
pub fn table(table: &Table) -> String {
    let mut out = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for name in &table.header {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        let _ = write!(out, "<tr data-a=\"{0}\"><th scope=\"row\">{0}</th>", escape(&row[0]));
        let words = row.len() > 3 && row[2..].iter().all(String::is_empty);
        let figures = if words { &row[1..2] } else { &row[1..] };
        for cell in figures {
            let span =
                if words { format!(" colspan=\"{}\"", row.len() - 1) } else { String::new() };
            let _ = write!(out, "<td{span}>{}</td>", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}
