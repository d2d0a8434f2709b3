//! Programs of our own in C and C++, compiled by the machine's compilers: all forms of `new` and `delete` with their exceptions.
//! Each runs preloaded, and linked directly against the shared object, in normal and in checked mode.
//! They check themselves and print one line; the counters show that it was us.

use crate::support::child::Child;
use crate::support::verdict::{Tested, Verdict, native_test};
use crate::support::{library, places};
use crate::{compare, ensure, everything};
use libtest_mimic::Trial;

fn no_compiler() -> Verdict {
    Verdict::Missing("gcc and g++ (Debian: g++)".into())
}

/// Acceptance: preloaded, and linked against the library.
fn forms() -> Tested {
    if places::tool("g++").is_none() {
        return Ok(no_compiler());
    }
    let library = library::path()?;
    let folder =
        library.parent().ok_or("the library lies in a folder")?.to_string_lossy().into_owned();
    let (linking, finding) = (format!("-L{folder}"), format!("-Wl,-rpath,{folder}"));
    let Some(plain) = places::compile("forms.cpp", &["-pthread"])? else {
        return Ok(no_compiler());
    };
    let flags = ["-pthread", &linking, "-Wl,--no-as-needed", "-lbitmag_malloc", &finding];
    let Some(linked) = places::compile("forms.cpp", &flags)? else { return Ok(no_compiler()) };
    for argument in ["none", "limit"] {
        for checked in ["0", "1"] {
            let preloaded = Child::program(&plain).args([argument]).preload()?;
            let linked = Child::program(&linked).args([argument]).counted();
            for child in [preloaded, linked] {
                let ended = if checked == "1" { child.env("BITMAG_CHECK", "1") } else { child }
                    .succeed()?;
                ensure!(
                    ended.stdout == "forms: ok\n" && ended.stderr.is_empty(),
                    "{}",
                    ended.describe()
                );
                ensure!(
                    ended.refilled_blocks() > 10_000,
                    "the counters do not show us: {:?}",
                    ended.counters
                );
            }
        }
    }
    Ok(Verdict::Holds)
}

/// A program that runs with more rights than its user has must not obey the environment: neither write a file nor say a word.
fn secure() -> Tested {
    use std::os::unix::fs::{PermissionsExt, chown};
    // SAFETY: asks who we are.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(Verdict::NotHere("only root can make a program of another group".into()));
    }
    if places::tool("gcc").is_none() {
        return Ok(no_compiler());
    }
    let folder = library::path()?
        .parent()
        .ok_or("the library lies in a folder")?
        .to_string_lossy()
        .into_owned();
    let (linking, finding) = (format!("-L{folder}"), format!("-Wl,-rpath,{folder}"));
    let flags = ["-pthread", &linking, "-Wl,--no-as-needed", "-lbitmag_malloc", &finding];
    let Some(program) = places::compile("plain.c", &flags)? else { return Ok(no_compiler()) };
    for secure in [false, true] {
        let mode = if secure { 0o2755 } else { 0o755 };
        chown(&program, None, Some(if secure { 65_534 } else { 0 })).map_err(|e| e.to_string())?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode))
            .map_err(|e| e.to_string())?;
        let ended =
            Child::program(&program).counted().env("BITMAG_FOREIGN", "perhaps").succeed()?;
        let obeyed = (!ended.counters.is_empty(), !ended.stderr.is_empty());
        ensure!(
            obeyed == (!secure, !secure),
            "secure: {secure}, wrote counters and a line: {obeyed:?}\n{}",
            ended.describe()
        );
    }
    Ok(Verdict::Holds)
}

pub fn tests() -> Vec<Trial> {
    vec![
        native_test("programs::secure_ones_ignore_the_environment", secure),
        native_test("programs::all_forms_of_new_and_delete", forms),
        native_test("programs::c_threads", || {
            let Some(program) = places::compile("plain.c", &["-pthread"])? else {
                return Ok(no_compiler());
            };
            compare(|| Child::program(&program), 10_000, everything)
        }),
    ]
}
