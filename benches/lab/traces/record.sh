#!/bin/sh
# record.sh: records anew the traces that the lab replays, with the programs that this machine has. A trace of another version of a
# program is another trace: figures can be compared only over the same file.
#   sqlite3.trace   a table in memory with an index: 20,000 rows at once and 4,000 by single statements, 800 queries, changes
#   python3.trace   PYTHONMALLOC=malloc: start, JSON there and back, a tree of objects, a dictionary and a list that grow
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$(cd ../../.. && pwd)/target}
cargo build --quiet --release --package bitmag-malloc --package bitmag-lab
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
record() { # NAME PROGRAM ARGUMENTS...: standard input goes through
  name=$1; shift
  BITMAG_TRACE=$work/$name LD_PRELOAD=$target/release/libbitmag_malloc.so "$@" > "$work/$name.out"
  "$target/release/bitmag-lab-trace" "$work/$name" "$name.trace"
}
{
  cat table.sql
  awk 'BEGIN {
    for (i = 0; i < 4000; i++) {
      note = ""; while (length(note) < i * 13 % 200) note = note "x"
      printf "INSERT INTO word(name, size, note) VALUES (\047single %d\047, %d, \047%s\047);\n", i, i * 37 % 1000, note
    }
    for (i = 0; i < 400; i++) {
      printf "SELECT name, size FROM word WHERE size = %d ORDER BY name LIMIT 5;\n", i * 7 % 1000
      printf "SELECT count(*), group_concat(substr(note, 1, 3)) FROM word WHERE id BETWEEN %d AND %d;\n", i * 20, i * 20 + 30
    }
    print "SELECT size % 10, count(*), avg(length(note)), max(name) FROM word GROUP BY size % 10 ORDER BY 2 DESC;"
    print "DELETE FROM word WHERE size > 500; UPDATE word SET note = note || name; SELECT sum(length(note)) FROM word;"
  }'
} > "$work/sql"
record sqlite3 sqlite3 :memory: < "$work/sql"
python=$(python3 -c 'import sys; print(sys.executable)')
PYTHONMALLOC=malloc PYTHONHASHSEED=1 record python3 "$python" -S objects.py
