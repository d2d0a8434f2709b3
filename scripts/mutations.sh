#!/usr/bin/env bash
# mutations.sh [-l] [NAME...]: breaks the code on purpose, one mutation of tests/mutations.txt at a time (or those named; -l lists
# them), in a copy of the tree under the target folder, and runs the test that is named beside it, which must fail. Says of each
# "killed" or "SURVIVED"; ends with 1 if one survived, did not apply, did not compile, or if its test fails without any mutation.
#
# Where a test runs:  models NAME   a loom model of the library (--cfg loom)       lib NAME   a unit test of the library
#                     PROGRAM NAME  a test of tests/PROGRAM.rs
# Settings: BITMAG_MUTATION_SECONDS (default 300): a test that runs longer has found the mutation by hanging.
set -uo pipefail
root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$root" || exit 2
table=tests/mutations.txt
limit=${BITMAG_MUTATION_SECONDS:-300}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
copy=$target/mutations/tree
declare -a names=()
declare -A why file where test old new places

name='' part='' n=0
while IFS= read -r line; do
  case $part:$line in
    old:====) part=new;;
    new:'>>>>') part=;;
    old:*) old[$name,$n]+=$line$'\n';;
    new:*) new[$name,$n]+=$line$'\n';;
    *:'### '*) name=${line#\#\#\# }; names+=("$name"); n=0;;
    *:'why: '*) why[$name]=${line#why: };;
    *:'file: '*) file[$name]=${line#file: };;
    *:'test: '*) line=${line#test: }; where[$name]=${line%% *}; test[$name]=${line#* };;
    *:'<<<<') part=old; n=$((n + 1)); places[$name]=$n; old[$name,$n]='' new[$name,$n]='';;
  esac
done <"$table"

if [ "${1:-}" = -l ]; then
  for name in "${names[@]}"; do printf '%-28s %s (%s %s)\n' "$name" "${why[$name]}" "${where[$name]}" "${test[$name]}"; done
  exit
fi
[ $# -eq 0 ] || names=("$@")
for name in "${names[@]}"; do
  [ -n "${file[$name]:-}" ] || { echo "mutations.sh: no mutation is called '$name'" >&2; exit 2; }
done

# One copy for all, so that cargo builds again only what a mutation touches.
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard |
  tar --null --ignore-failed-read -T - -cf - 2>/dev/null | tar -C "$copy" -xmf - || exit 2

# run WHERE TEST [ARGS]: builds ("build" as third argument) or runs one test in the copy.
run() {
  local args flags=${RUSTFLAGS:-} into=$target/mutations/target
  case $1 in
    models) args=(--lib) flags="--cfg loom $flags" into=$into/loom;;
    lib) args=(--lib);;
    *) args=(--test "$1");;
  esac
  if [ "${3:-}" = build ]; then args+=(--no-run); else args+=(-- --exact "$2"); fi
  (cd "$copy" && RUSTFLAGS=$flags CARGO_TARGET_DIR=$into exec timeout -k 5 "$([ "${3:-}" = build ] && echo 1200 || echo "$limit")" \
    cargo test --locked -p bitmag "${args[@]}")
}

bad=0 killed=0
declare -A sound
log=$target/mutations/log
start=$SECONDS
for name in "${names[@]}"; do
  pair=("${where[$name]}" "${test[$name]}") key="${where[$name]} ${test[$name]}"
  if [ -z "${sound[$key]:-}" ]; then
    if run "${pair[@]}" >"$log" 2>&1 && grep -qE '^test result: ok\. 1 passed' "$log"; then
      sound[$key]=yes
    else
      sound[$key]=no; tail -20 "$log"
    fi
  fi
  if [ "${sound[$key]}" = no ]; then
    echo "$name: BAD TEST: $key does not pass without a mutation"; bad=$((bad + 1)); continue
  fi
  text=$(cat "${file[$name]}"; echo x); text=${text%x}
  for ((n = 1; n <= places[$name]; n++)); do
    o=${old[$name,$n]}
    rest=${text/"$o"/}
    if [ "$rest" = "$text" ] || [ "${rest/"$o"/}" != "$rest" ]; then
      echo "$name: DOES NOT APPLY: its old text $n is not there exactly once in ${file[$name]}"; bad=$((bad + 1)); continue 2
    fi
    text=${text/"$o"/"${new[$name,$n]}"}
  done
  printf '%s' "$text" >"$copy/${file[$name]}"
  began=$SECONDS
  if ! run "${pair[@]}" build >"$log" 2>&1; then
    tail -20 "$log"; echo "$name: DOES NOT COMPILE"; bad=$((bad + 1))
  elif run "${pair[@]}" >"$log" 2>&1; then
    echo "$name: SURVIVED $key (${why[$name]})"; bad=$((bad + 1))
  else
    how=$(grep -aE "panicked at|^(bitmag|child): |SIG[A-Z]+" -A1 "$log" | grep -avE 'panicked at|^--|^note:|^stack backtrace' | head -1 || true)
    echo "$name: killed by $key ($((SECONDS - began)) s; ${how:-status not 0})"; killed=$((killed + 1))
  fi
  cp "${file[$name]}" "$copy/${file[$name]}"
done
echo "mutations: $killed of ${#names[@]} killed, $bad not, $((SECONDS - start)) s"
[ $bad -eq 0 ]
