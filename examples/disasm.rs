//! Prints bitmag's hot functions as machine code, out of the linked program: `cargo run --example disasm -- malloc`.
//! Also the command that writes the listings and tables in `disasm/` (`--bless`); it never writes a bound.
//! What it does is in the package `disasm/`; this is the command line.

use bitmag_disasm::artefact::{self, Artefact, Found};
use bitmag_disasm::bounds::Bounds;
use bitmag_disasm::code::Code;
use bitmag_disasm::image::Image;
use bitmag_disasm::survey::{Row, Survey};
use bitmag_disasm::{listing, path, table};
use clap::Parser;
use std::process::ExitCode;

/// Bitmag's hot functions as machine code, out of the linked program.
#[derive(Parser)]
#[command(name = "disasm")]
struct Arguments {
    /// Functions by name (`malloc`) or by the end of their path (`heap::flush`); none lists those that have bounds
    symbols: Vec<String>,
    /// Look in this linked file only, for instance x86_64-unknown-linux-gnu/executable
    #[arg(long)]
    artefact: Option<String>,
    /// Write the listings and the tables anew; bounds stay as they are
    #[arg(long, conflicts_with_all = ["symbols", "artefact"])]
    bless: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("disasm: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let bounds = Bounds::read()?;
    if arguments.bless {
        return bless(&bounds);
    }
    if arguments.symbols.is_empty() {
        list(&bounds);
        return Ok(());
    }
    let wanted =
        |artefact: &&Artefact| arguments.artefact.as_ref().is_none_or(|name| name == artefact.name);
    let places: Vec<&Artefact> = artefact::ALL.iter().filter(wanted).collect();
    arguments.symbols.iter().try_for_each(|symbol| print(&bounds, &places, symbol))
}

fn list(bounds: &Bounds) {
    for artefact in &artefact::ALL {
        println!("{} ({})", artefact.name, artefact.what);
        let mut symbols: Vec<&str> = bounds
            .bound
            .iter()
            .filter(|b| b.artefact == artefact.name)
            .map(|b| b.symbol.as_str())
            .collect();
        symbols.dedup();
        for symbol in symbols {
            println!("    {symbol}");
        }
    }
}

/// Prints a function from the first of the files that has it.
fn print(bounds: &Bounds, places: &[&Artefact], symbol: &str) -> Result<(), String> {
    let end = format!("::{symbol}");
    for artefact in places {
        let Found::File(file) = artefact.find()? else { continue };
        let image = Image::open(&file)?;
        let mut found = image.functions().iter().filter(|f| f.name == symbol).collect::<Vec<_>>();
        if found.is_empty() {
            found = image.functions().iter().filter(|f| f.name.ends_with(&end)).collect();
        }
        for function in &found {
            let code = Code::decode(&image, function)?;
            let rows = rows(bounds, artefact, &code)?;
            println!("; {} ({})", artefact.name, artefact.what);
            println!("{}", listing::listing(&code, &rows));
        }
        if !found.is_empty() {
            return Ok(());
        }
    }
    Err(format!("no function is called {symbol}"))
}

/// The ways through a function that have bounds.
fn rows(bounds: &Bounds, artefact: &Artefact, code: &Code) -> Result<Vec<Row>, String> {
    let mine = bounds
        .bound
        .iter()
        .filter(|bound| bound.artefact == artefact.name && bound.symbol == code.name);
    mine.map(|bound| {
        let way = path::walk(code, bound.path, &bound.taken)?;
        Ok(Row { bound: bound.clone(), counts: path::count(code, &way), way })
    })
    .collect()
}

fn bless(bounds: &Bounds) -> Result<(), String> {
    let survey = Survey::run(bounds)?;
    if !survey.failures.is_empty() {
        return Err(survey.failures.join("\n"));
    }
    let release = artefact::toolchain()?;
    if release != bounds.toolchain {
        return Err(format!(
            "the listings are those of Rust {}, and this is {release}",
            bounds.toolchain
        ));
    }
    listing::write(&survey)?;
    for page in &table::PAGES {
        page.write(bounds, &survey)?;
    }
    for (artefact, why) in &survey.not_run {
        println!("{}: left as it was ({why})", artefact.name);
    }
    for row in survey.rows() {
        for complaint in row.bound.complaints(&bounds.forbidden, &row.counts) {
            println!("{complaint}");
        }
    }
    println!("{} listings written", survey.functions.len());
    Ok(())
}
