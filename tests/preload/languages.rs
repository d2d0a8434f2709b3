//! Interpreters: python3 with its own allocator switched off, perl and node.
//! Each runs a script that makes and drops hundreds of thousands of objects and prints what depends on all of them; python also its own test modules.
//! python's suite is judged by which tests failed, because its output holds times.

use crate::support::child::{Child, Ended};
use crate::support::places::{self, tool};
use crate::support::verdict::{Verdict, native_test};
use crate::{compare, ensure, everything};
use libtest_mimic::Trial;
use std::path::PathBuf;

const PYTHON: &str = r#"
import hashlib, json, random, re, threading
random.seed(7)
data = {str(i): [random.random() for _ in range(i % 9)] + ["x" * (i % 700)] for i in range(20000)}
text = json.dumps(data)
print(hashlib.sha256(text.encode()).hexdigest(), json.loads(text) == data)
words = [w for w in re.split(r"[^0-9]+", text) if w]
print(len(words), len(set(words)), sorted(words)[::5000])
out = []
def work(n):
    parts = {}
    for i in range(30000):
        parts[i % 1000] = bytes(i % 3000) + str(i * n).encode()
    out.append((n, sum(len(p) for p in parts.values())))
threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(out))
del data, words
print(sum(range(10**6)))
"#;

const PERL: &str = r#"
use strict; my (%h, @a); my $s = 1;
for my $i (1..150000) { $s = ($s * 1103515245 + 12345) % 2147483648; $h{"key$s"} .= "v" x ($s % 50); push @a, "$s:$i" if $s % 3 == 0; }
for my $k (grep { length($h{$_}) % 2 } sort keys %h) { delete $h{$k} }
my @sorted = sort { $a cmp $b } @a; my $joined = join ",", @sorted; my $count = () = $joined =~ /7:\d*3/g;
my $sum = 0; $sum += length for values %h;
print scalar(keys %h), " $sum $count ", length($joined), " ", unpack("%32C*", $joined), "\n";
"#;

const NODE: &str = r#"
const crypto = require('crypto'), zlib = require('zlib');
let s = 1, next = () => (s = (s * 48271) % 2147483647), map = new Map(), buffers = [];
for (let i = 0; i < 60000; i++) { map.set('k' + next(), { i, text: 'v'.repeat(next() % 60) }); if (i % 3 === 0) buffers.push(Buffer.alloc(next() % 9000, i & 255)); if (buffers.length > 2000) buffers.splice(0, 1000); }
const text = JSON.stringify([...map].sort()), packed = zlib.gzipSync(text);
console.log(map.size, crypto.createHash('sha256').update(text).digest('hex'), zlib.gunzipSync(packed).toString() === text, crypto.createHash('md5').update(Buffer.concat(buffers)).digest('hex'));
zlib.deflate(Buffer.alloc(3000000, 'ab'), (e, out) => zlib.inflate(out, (e, back) => console.log(e, back.length)));
"#;

/// The interpreter itself, not a script that finds it.
fn python() -> Result<Option<PathBuf>, String> {
    let Some(found) = tool("python3") else { return Ok(None) };
    let ended =
        Child::program(found).args(["-c", "import sys; print(sys.executable)"]).succeed()?;
    Ok(Some(ended.stdout.trim().into()))
}

fn no_python() -> Verdict {
    Verdict::Missing("python3 (Debian: python3)".into())
}

/// How python's test runner judged: the result line, and what failed.
fn failures(ended: &Ended) -> String {
    let text = format!("{}\n{}", ended.stdout, ended.stderr);
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            line.starts_with("FAIL: ")
                || line.starts_with("ERROR: ")
                || line.starts_with("Result: ")
                || line.starts_with("== Tests result: ")
        })
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines.join("\n")
}

pub fn tests() -> Vec<Trial> {
    vec![
        native_test("programs::python_script", || {
            let Some(python) = python()? else { return Ok(no_python()) };
            let child = || {
                Child::program(&python)
                    .args(["-c", PYTHON])
                    .env("PYTHONMALLOC", "malloc")
                    .env("PYTHONHASHSEED", "1")
            };
            compare(child, 100_000, everything)
        }),
        native_test("programs::python_own_tests", || {
            let Some(python) = python()? else { return Ok(no_python()) };
            let own = Child::program(&python)
                .args(["-c", "import test.test_json, test.test_dict, test.test_threading"])
                .run()?;
            if !own.status.is_some_and(|status| status.success()) {
                return Ok(Verdict::Missing(
                    "python3's own test package (Debian: libpython3-testsuite)".into(),
                ));
            }
            let folder = places::fresh_folder("python");
            let child = || {
                let modules = ["-m", "test", "test_json", "test_dict", "test_threading"];
                Child::program(&python)
                    .args(modules)
                    .env("PYTHONMALLOC", "malloc")
                    .in_folder(&folder)
            };
            compare(child, 200_000, failures)
        }),
        native_test("programs::python_under_ulimit_v", || {
            let Some(python) = python()? else { return Ok(no_python()) };
            let child = Child::program(python)
                .args(["-c", "print(sum(range(10**6)))"])
                .address_space(1 << 30);
            let ended = child.env("PYTHONMALLOC", "malloc").preload()?.succeed()?;
            ensure!(
                ended.stdout == "499999500000\n" && ended.stderr.is_empty(),
                "{}",
                ended.describe()
            );
            ensure!(
                ended.refilled_blocks() > 5000,
                "the counters do not show us: {:?}",
                ended.counters
            );
            Ok(Verdict::Holds)
        }),
        native_test("programs::perl", || {
            let Some(perl) = tool("perl") else {
                return Ok(Verdict::Missing("perl (Debian: perl)".into()));
            };
            compare(
                || Child::program(&perl).args(["-e", PERL]).env("PERL_HASH_SEED", "1"),
                100_000,
                everything,
            )
        }),
        native_test("programs::node", || {
            let Some(node) = tool("node") else {
                return Ok(Verdict::Missing("node (Debian: nodejs)".into()));
            };
            compare(|| Child::program(&node).args(["-e", NODE]), 10_000, everything)
        }),
    ]
}
