#!/usr/bin/env bash
# overcommit.sh [COMMAND ARGS...]: runs a command under strict overcommit (vm.overcommit_memory=2), where the kernel counts every
# writable page that a process asks for, touched or not, and refuses what it could not honour.
#
# Without a command it builds the C face and runs what must work there: programs under LD_PRELOAD (python3, also with 64 threads
# and forking, sqlite3), with the counters showing that bitmag served them, and the tests of limits and of running out of memory.
# The setting is the whole machine's: it is put back as it was when the script ends, whichever way it ends (but SIGKILL).
# Where it may not be set (no root, a container, too little headroom) the script prints "not run" with the reason and exits 0.
# Exit status otherwise: the command's.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
knob=/proc/sys/vm/overcommit_memory
not_run() { echo "overcommit: not run ($*)"; exit 0; }
kb() { awk -v k="$1:" '$1 == k { print $2 }' /proc/meminfo; }

[ -e "$knob" ] || not_run "no $knob here"
exec 8>"${TMPDIR:-/tmp}/bitmag-overcommit.lock"
flock -w 600 8 || not_run "another run holds the setting"
old=$(cat "$knob")
{ echo "$old" >"$knob"; } 2>/dev/null || not_run "may not write $knob"
headroom=$(( ($(kb CommitLimit) - $(kb Committed_AS)) / 1024 ))
[ "$headroom" -ge 1536 ] || not_run "only $headroom MiB of commit limit left on this machine, 1536 wanted"

so=
if [ $# -eq 0 ]; then                  # what needs memory of its own, the build, comes before
  cargo build --quiet --release -p bitmag-malloc
  so=$(realpath "${CARGO_TARGET_DIR:-target}")/release/libbitmag_malloc.so
  [ -e "$so" ] || { echo "overcommit: $so was not built" >&2; exit 1; }
  cargo test --quiet --no-run --test torture
fi

restore() { echo "$old" >"$knob"; echo "overcommit: restored to $(cat "$knob")"; }
trap restore EXIT
trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
echo 2 >"$knob"
echo "overcommit: set to $(cat "$knob"), was $old, $headroom MiB of commit limit left"
if [ $# -gt 0 ]; then rc=0; "$@" || rc=$?; exit $rc; fi

stats=$(mktemp -d); failed=0
# preload NAME FLOOR EXPECTED COMMAND...: the command's output, and at least FLOOR blocks by refills.
preload() {
  local name=$1 floor=$2 expected=$3 out got; shift 3
  command -v "$1" >/dev/null || { echo "overcommit: $name: not run (no $1)"; [ -z "${BITMAG_REQUIRE_TOOLS:-}" ] || failed=1; return; }
  rm -f "$stats"/*
  if ! out=$(LD_PRELOAD=$so BITMAG_STATS=$stats/%p "$@" 2>&1); then
    echo "overcommit: $name: FAILED: $out"; failed=1; return
  fi
  # The program may be started by others (a wrapper script, a shell): the process that asked for most is meant.
  got=$(cat "$stats"/* 2>/dev/null | awk '$1 == "refilled_blocks" && $2 > max { max = $2 } END { print max + 0 }')
  if [ "$out" != "$expected" ]; then echo "overcommit: $name: FAILED: printed '$out', expected '$expected'"; failed=1
  elif [ "$got" -lt "$floor" ]; then echo "overcommit: $name: FAILED: $got blocks by refills, at least $floor expected"; failed=1
  else echo "overcommit: $name: ok, $got blocks by refills"; fi
}
export PYTHONMALLOC=malloc
preload python3 20000 499999500000 python3 -c 'print(sum(list(range(10**6))))'
preload 'python3, 64 threads' 20000 6400 python3 -c '
import threading
out, gate = [], threading.Barrier(64)
def work():
    gate.wait()
    out.append(len([bytes(1000) for _ in range(100)]))
threads = [threading.Thread(target=work) for _ in range(64)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sum(out))'
preload 'python3, out of memory and on' 20000 'refused, 1000000' python3 -c '
try:
    bytearray(1 << 45); print("given")
except MemoryError:
    print("refused,", len([None] * 10**6))'
preload 'python3, fork' 20000 'child 1000000, parent 1000000' python3 -c '
import os
big = list(range(10**6))
pid = os.fork()
if pid == 0:
    more = [bytes(100) for _ in range(10**5)]
    print("child", len(big), end=", ", flush=True); os._exit(len(more) != 10**5)
_, status = os.waitpid(pid, 0)
print("parent" if status == 0 else "failed", len(big))'
preload sqlite3 1500 '300000|45000150000' sqlite3 :memory: \
  'create table t(a integer primary key, b text); with recursive n(i) as (select 1 union all select i+1 from n where i < 300000)
   insert into t select i, hex(i) from n; select count(*), sum(a) from t;'
rm -rf "$stats"
for part in limits memory; do cargo test --test torture -- "$part::" || failed=1; done
exit $failed
