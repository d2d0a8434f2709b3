//! The bounds of `disasm/bounds.toml`, held against the machine code of the linked files.
//! Bounds are hard. The listings and tables are for reading, and compared on the one compiler that they were written with.
//! What was not looked at is said: on x86-64 that is the aarch64 part unless `scripts/cross.sh` has built it.

use bitmag_disasm::artefact;
use bitmag_disasm::bounds::Bounds;
use bitmag_disasm::image::Image;
use bitmag_disasm::listing::{self, BLESS};
use bitmag_disasm::path::Kind;
use bitmag_disasm::survey::Survey;
use bitmag_disasm::table;

#[test]
fn hold() {
    let bounds = Bounds::read().expect("disasm/bounds.toml can be read");
    let survey = Survey::run(&bounds).expect("what is to be looked at can be built and read");
    let mut wrong = survey.failures.clone();
    for row in survey.rows() {
        wrong.extend(row.bound.complaints(&bounds.forbidden, &row.counts));
    }
    for (artefact, why) in &survey.not_run {
        println!("{}: not run ({why})", artefact.name);
        // Set where the file was built before, so that its absence is a fault.
        if std::env::var_os("BITMAG_REQUIRE_ARTEFACTS").is_some_and(|value| value == "1") {
            wrong.push(format!(
                "BITMAG_REQUIRE_ARTEFACTS is set, and {} was not run: {why}",
                artefact.name
            ));
        }
    }
    println!(
        "{} ways through {} functions looked at",
        survey.rows().count(),
        survey.functions.len()
    );
    for row in survey
        .rows()
        .filter(|row| row.bound.path != Kind::Whole && !row.bound.slack(&row.counts).is_empty())
    {
        println!("{}: below its bound: {}", row.bound.title(), row.bound.slack(&row.counts));
    }
    let release = artefact::toolchain().expect("rustc says its release");
    if release == bounds.toolchain {
        let mut drift = listing::drift(&survey).expect("the listings can be read");
        for page in &table::PAGES {
            let now = page.text(&bounds, &survey).expect("the page has a table");
            if page.read().expect("the page can be read") != now {
                drift.push(format!("the table of {} has changed", page.path));
            }
        }
        if !drift.is_empty() {
            drift.push(format!("read the difference, and if it is meant: {BLESS}"));
        }
        wrong.extend(drift);
    } else {
        println!(
            "text not compared: the listings are those of Rust {}, and this is {release}",
            bounds.toolchain
        );
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Most bytes of code that bitmag's functions have together in a small program of the Rust face without LTO. What a large one grows by
/// is this, half as much again of tables, and what is inlined (`scripts/text-size.sh`).
const CODE_BYTES: u64 = 104_500;

#[test]
fn all_of_it_is_small() {
    let artefact = artefact::by_name("x86_64-unknown-linux-gnu/executable").expect("it is listed");
    match artefact.find().expect("it can be built") {
        artefact::Found::NotRun(why) => println!("not run: {why}"),
        artefact::Found::File(path) => {
            let image = Image::open(&path).expect("it can be read");
            let own = image.functions().iter().filter(|function| {
                let name = function.name.trim_start_matches('<');
                name.starts_with("bitmag::") || name.starts_with("bitmag_")
            });
            let bytes: u64 = own.map(|function| function.size).sum();
            println!("{bytes} bytes of code");
            assert!(bytes > 1000, "its functions were not found");
            assert!(bytes <= CODE_BYTES, "{bytes} bytes of code, more than {CODE_BYTES}");
        }
    }
}

/// The bounds of the ways through the hit paths alone, without whole functions and listings.
#[test]
fn hit_paths_hold() {
    let bounds = Bounds::read().expect("disasm/bounds.toml can be read");
    let survey = Survey::run(&bounds).expect("what is to be looked at can be built and read");
    let ways: Vec<_> = survey.rows().filter(|row| row.bound.path != Kind::Whole).collect();
    assert!(!ways.is_empty(), "no hit path was looked at");
    let wrong: Vec<String> =
        ways.iter().flat_map(|row| row.bound.complaints(&bounds.forbidden, &row.counts)).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
