//! Tools: git on a generated repository and on this one, gcc and g++ compiling big files, sqlite3 on thousands of rows.
//! The inputs are generated here, always the same, so that two runs can be compared byte by byte, object files included.
//! git and the compilers are families of processes, of which the busiest must show the floor.

use crate::support::child::{Child, Ended};
use crate::support::places::{self, tool};
use crate::support::verdict::{Tested, Verdict, native_test};
use crate::{compare, ensure, everything};
use libtest_mimic::Trial;
use std::fmt::Write;
use std::path::Path;

/// git, with nobody's settings.
fn git(folder: &Path, args: &[&str]) -> Child {
    let git = tool("git").unwrap_or_default();
    Child::program(git)
        .args([
            "-c",
            "gc.auto=0",
            "-c",
            "core.pager=cat",
            "-c",
            "safe.directory=*",
            "-c",
            "pack.threads=2",
        ])
        .args(args)
        .in_folder(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("TZ", "UTC")
}

/// A stream for `git fast-import`: 200 commits over 120 files.
fn history() -> String {
    let mut stream = String::new();
    let mut rng = fastrand::Rng::with_seed(3);
    for commit in 0..200 {
        let when = 1_600_000_000 + commit * 1000;
        let message = format!("Commit {commit}: {}", "a few words ".repeat(rng.usize(1..6)));
        let _ = writeln!(
            stream,
            "commit refs/heads/main\ncommitter Somebody <somebody@example.org> {when} +0000\ndata {}\n{message}",
            message.len()
        );
        for _ in 0..rng.usize(3..12) {
            let file = rng.usize(0..120);
            let text: String = (0..rng.usize(20..400))
                .map(|line| format!("line {line} {}\n", rng.u32(0..50)))
                .collect();
            let _ = writeln!(
                stream,
                "M 100644 inline dir{}/file{file}.txt\ndata {}\n{text}",
                file % 7,
                text.len()
            );
        }
    }
    stream + "done\n"
}

fn git_on_a_generated_repository() -> Tested {
    if tool("git").is_none() {
        return Ok(Verdict::Missing("git (Debian: git)".into()));
    }
    let folder = places::fresh_folder("git");
    let stream = folder.join("history");
    std::fs::write(&stream, history()).map_err(|e| e.to_string())?;
    git(&folder, &["init", "-q", "-b", "main", "repository"]).succeed()?;
    let repository = folder.join("repository");
    // The import itself is a program under test: a repository each, compared by what they then contain.
    let imported = git(&repository, &["fast-import", "--quiet", "--done"])
        .input(&stream)
        .preload()?
        .succeed()?;
    ensure!(imported.refilled_blocks() > 300, "fast-import: {:?}", imported.counters);
    git(&repository, &["fsck", "--full", "--strict"]).succeed()?;
    git(&repository, &["reset", "-q", "--hard"]).preload()?.succeed()?;
    let commands: [(&[&str], u64); 7] = [
        (&["log", "--stat", "-p"], 5000),
        (&["log", "--format=%H %T %s", "--name-status", "-M", "-C", "--find-copies-harder"], 5000),
        (&["blame", "dir0/file0.txt"], 300),
        (&["grep", "-n", "-c", "line 1. 7"], 100),
        (&["diff", "--word-diff", "HEAD~60"], 1000),
        (&["rev-list", "--all", "--objects"], 500),
        (&["fsck", "--full", "--strict"], 300),
    ];
    for (args, floor) in commands {
        let verdict = compare(|| git(&repository, args), floor, everything);
        verdict.map_err(|why| format!("git {args:?}: {why}"))?;
    }
    let packed = git(&repository, &["repack", "-a", "-d", "-f", "-q", "--depth=50", "--window=50"])
        .preload()?
        .succeed()?;
    ensure!(packed.refilled_blocks() > 1000, "repack: {:?}", packed.counters);
    let checked = git(&repository, &["fsck", "--full", "--strict"]).succeed()?;
    ensure!(!checked.stdout.contains("error"), "{}", checked.describe());
    Ok(Verdict::Holds)
}

fn git_on_this_repository() -> Tested {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if tool("git").is_none() {
        return Ok(Verdict::Missing("git (Debian: git)".into()));
    }
    if !root.join(".git").exists() {
        return Ok(Verdict::NotHere("the sources lie in no git repository".into()));
    }
    // A fixed commit, so that a commit made meanwhile changes nothing.
    let head = git(root, &["rev-parse", "HEAD"]).run()?;
    if !head.status.is_some_and(|status| status.success()) {
        return Ok(Verdict::NotHere("the repository has no commit".into()));
    }
    compare(|| git(root, &["log", "--stat", "-p", "-n", "60", head.stdout.trim()]), 500, everything)
}

fn c_file() -> String {
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
    for function in 0..700 {
        let _ = writeln!(
            text,
            "struct s{function} {{ int a; double b[{}]; char *c; }};",
            function % 9 + 1
        );
        let _ = writeln!(
            text,
            "int f{function}(int x, struct s{function} *s) {{ int y = x; switch (x % 11) {{"
        );
        for case in 0..11 {
            let _ = writeln!(
                text,
                "case {case}: for (int i = 0; i < x; i++) y += s->a * {} + (int)s->b[0] + (s->c ? s->c[i % 3] : {function}); break;",
                function + case
            );
        }
        let _ = writeln!(
            text,
            "}} return y {};",
            if function > 0 {
                format!("+ f{}(y & 7, (void *)s)", function - 1)
            } else {
                String::new()
            }
        );
        let _ = writeln!(text, "}}");
    }
    text
}

fn cpp_file() -> String {
    let mut text = String::from(
        "#include <map>\n#include <string>\n#include <vector>\n#include <algorithm>\n#include <regex>\n#include <iostream>\n",
    );
    for class in 0..40 {
        let _ = writeln!(
            text,
            "template <class T> struct C{class} {{ std::map<std::string, std::vector<T>> m; T total(const std::string &k) {{ T t{{}}; for (auto &v : m[k]) t += v; std::sort(m[k].begin(), m[k].end()); return t; }} }};"
        );
        let _ = writeln!(
            text,
            "double g{class}(int n) {{ C{class}<double> d; C{class}<long> l; d.m[std::to_string(n)].push_back(n * {class}.5); return d.total(\"{class}\") + l.total(\"x\"); }}"
        );
    }
    text + "bool match(const std::string &s) { return std::regex_match(s, std::regex(\"[a-z]+([0-9]{2,5})?\")); }\n"
}

fn compile(
    compiler: &'static str,
    package: &str,
    name: &str,
    source: String,
    flags: &'static [&'static str],
    floor: u64,
) -> Tested {
    let Some(compiler) = tool(compiler) else {
        return Ok(Verdict::Missing(format!("{compiler} (Debian: {package})")));
    };
    let folder = places::fresh_folder("compiler");
    std::fs::write(folder.join(name), source).map_err(|e| e.to_string())?;
    let object = folder.join("out.o");
    let child = || {
        Child::program(&compiler).args(flags).args(["-c", name, "-o", "out.o"]).in_folder(&folder)
    };
    let with_object = |ended: &Ended| {
        let bytes = std::fs::read(&object).unwrap_or_default();
        let _ = std::fs::remove_file(&object);
        let digest = bytes.iter().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
        });
        format!("{}\n{} bytes of object, {digest:x}", everything(ended), bytes.len())
    };
    let verdict = compare(child, floor, with_object)?;
    let _ = std::fs::remove_dir_all(folder);
    Ok(verdict)
}

const SQL: &str = "
create table t(id integer primary key, a integer, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 40000)
  insert into t select i, (i * 7919) % 10007, printf('text %d %s', i, substr('abcdefghijklmnopqrstuvwxyz', i % 20, i % 9)), i / 7.0 from n;
create index ta on t(a); create index tb on t(b);
select count(*), sum(a), round(sum(c), 3), max(b) from t;
select a % 17, count(*), group_concat(substr(b, 6, 3), '') from t where a < 900 group by 1 order by 1;
update t set b = b || ' changed' where a % 5 = 0;
delete from t where a % 3 = 1;
select count(*), length(group_concat(b)) from t;
select t1.id, t2.id, t1.b from t t1 join t t2 on t1.a = t2.a and t1.id < t2.id order by t1.b desc limit 40;
vacuum; pragma integrity_check;
";

pub fn tests() -> Vec<Trial> {
    vec![
        native_test("programs::git_on_a_generated_repository", git_on_a_generated_repository),
        native_test("programs::git_on_this_repository", git_on_this_repository),
        native_test("programs::gcc", || {
            compile("gcc", "gcc", "big.c", c_file(), &["-O2", "-w"], 50_000)
        }),
        native_test("programs::g++", || {
            compile("g++", "g++", "big.cpp", cpp_file(), &["-O1", "-std=c++17"], 100_000)
        }),
        native_test("programs::sqlite3", || {
            let Some(sqlite) = tool("sqlite3") else {
                return Ok(Verdict::Missing("sqlite3 (Debian: sqlite3)".into()));
            };
            let folder = places::fresh_folder("sqlite");
            let script = folder.join("script");
            std::fs::write(&script, SQL).map_err(|e| e.to_string())?;
            compare(
                || Child::program(&sqlite).args(["-batch", ":memory:"]).input(&script),
                5000,
                everything,
            )
        }),
    ]
}
