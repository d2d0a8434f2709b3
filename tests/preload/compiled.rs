//! Programs of our own in C and C++, compiled by the machine's compilers: all forms of `new` and `delete` with their exceptions.
//! Each runs preloaded, and linked directly against the shared object, in normal and in checked mode.
//! They check themselves and print one line; the counters show that it was us.

use crate::support::child::Child;
use crate::support::verdict::{Tested, Verdict, test};
use crate::support::{library, places};
use crate::{compare, ensure, everything};
use libtest_mimic::Trial;

fn no_compiler() -> Verdict {
    Verdict::Missing("gcc and g++ (Debian: g++)".into())
}

/// Acceptance: preloaded, and linked against the library.
fn forms() -> Tested {
    let library = library::path()?;
    let folder = library.parent().ok_or("the library lies in a folder")?.to_string_lossy().into_owned();
    let (linking, finding) = (format!("-L{folder}"), format!("-Wl,-rpath,{folder}"));
    let Some(plain) = places::compile("forms.cpp", &["-pthread"])? else { return Ok(no_compiler()) };
    let flags = ["-pthread", &linking, "-Wl,--no-as-needed", "-lbitmag_malloc", &finding];
    let Some(linked) = places::compile("forms.cpp", &flags)? else { return Ok(no_compiler()) };
    for argument in ["none", "limit"] {
        for checked in ["0", "1"] {
            let preloaded = Child::program(&plain).args([argument]).preload()?;
            let linked = Child::program(&linked).args([argument]).counted();
            for child in [preloaded, linked] {
                let ended = if checked == "1" { child.env("BITMAG_CHECK", "1") } else { child }.succeed()?;
                ensure!(ended.stdout == "forms: ok\n" && ended.stderr.is_empty(), "{}", ended.describe());
                ensure!(ended.refilled_blocks() > 10_000, "the counters do not show us: {:?}", ended.counters);
            }
        }
    }
    Ok(Verdict::Holds)
}

pub fn tests() -> Vec<Trial> {
    vec![
        test("programs::all_forms_of_new_and_delete", forms),
        test("programs::c_threads", || {
            let Some(program) = places::compile("plain.c", &["-pthread"])? else { return Ok(no_compiler()) };
            compare(|| Child::program(&program), 10_000, everything)
        }),
    ]
}
