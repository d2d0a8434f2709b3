#!/usr/bin/env bash
# show-asm.sh              checks what rustc inlines into the probes (disasm/probe), by cargo-show-asm
# show-asm.sh FUNCTION     prints one of them: pop push pop_any push_any pop_medium box_new box_drop box_loop
#
# The bounds are those of disasm/bounds.toml; here they are held against the compiler's own output, before any linker.
# Installs cargo-show-asm, of the version below, where it is not installed. x86_64 only.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")"
version=0.2.64
[ "$(uname -m)" = x86_64 ] || { echo "show-asm: not run (the checks are of x86_64)"; exit 0; }
if [ "$(cargo asm --version 2>/dev/null | grep -o '[0-9.]*' | head -1)" != $version ]; then
  cargo install cargo-show-asm --version $version --locked
fi

# What is inlined without LTO is the library's; a Box's allocation is inlined where LTO sees the global allocator.
plain=(-p bitmag-probe --lib --release)
lto=(-p bitmag-probe --bin bitmag-probe --profile bench-lto)
show() {
  case $1 in
    box_*) cargo asm --quiet "${lto[@]}" "$1" 0;;
    *) cargo asm --quiet "${plain[@]}" "$1" 0;;
  esac
}
if [ $# -gt 0 ]; then show "$1"; exit; fi

# bound ARTEFACT SYMBOL: most instructions of its first way in bounds.toml
bound() {
  awk -v a="artefact = \"x86_64-unknown-linux-gnu/$1\"" -v s="symbol = \"$2\"" '
    $0 == "[[bound]]" { mine = 0 } $0 == a { mine = 1 } mine == 1 && $0 == s { mine = 2 }
    mine == 2 && /^instructions = / { print $3; exit }' disasm/bounds.toml
}
# way SYMBOL: the instructions up to the first return; of a loop, those that its first backward branch closes
way() {
  if [ "$1" = box_loop ]; then
    awk '/^\.L.*:/ { label = $1; sub(":", "", label); seen[label] = n }
      /^\t[a-z]/ { line[++n] = $0
        if ($1 ~ /^j/ && $1 != "jmp" && ($2 in seen)) { for (i = seen[$2] + 1; i <= n; i++) print line[i]; exit } }'
  else
    awk '/^\t[a-z]/ { print; if ($1 == "ret") exit }'
  fi
}

failed=0
check() {
  local artefact=$1 symbol=$2 most text count bad
  most=$(bound "$artefact" "$symbol")
  text=$(show "$symbol" | way "$symbol")
  count=$(grep -c . <<<"$text" || :)
  bad=$(grep -E '^\s(call|lock|div|idiv|jmp\s+(qword|\[|r))|__tls_get_addr' <<<"$text" || :)
  if [ -z "$most" ] || [ "$count" -eq 0 ] || [ "$count" -gt "$most" ] || [ -n "$bad" ]; then
    failed=1
    printf 'show-asm: %s: %s instructions, the bound is %s\n%s\n' "$symbol" "$count" "${most:-missing}" "$text"
  else
    printf 'show-asm: %-10s %3s instructions of %s\n' "$symbol" "$count" "$most"
  fi
}
for symbol in pop push; do check executable $symbol; done
for symbol in box_new box_drop box_loop; do check executable-lto $symbol; done
exit $failed
