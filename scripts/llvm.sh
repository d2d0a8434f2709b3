#!/usr/bin/env bash
# llvm.sh: prints a folder to put first in PATH, with llvm-mca, llvm-objdump, llvm-cov, llvm-profdata, llvm-nm, llvm-readelf, llvm-size
# of the LLVM that rustc was built with (22 for rustc 1.95 to 1.97):   PATH=$(scripts/llvm.sh):$PATH
# An installed LLVM of that version is taken where there is one; else Debian's packages are unpacked privately (private-debian.sh).
set -euo pipefail
version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
for b in "/usr/lib/llvm-$version/bin" "/usr/lib/llvm/$version/bin" "/usr/lib64/llvm$version/bin"; do
  [ -x "$b/llvm-mca" ] && { echo "$b"; exit; }
done
if command -v llvm-mca >/dev/null && llvm-mca --version | grep -q "LLVM version $version\."; then dirname "$(command -v llvm-mca)"; exit; fi
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/private-debian.sh"
private_debian || { echo "llvm.sh: install the tools of LLVM $version (Debian: llvm-$version)" >&2; exit 2; }
[ "$version" = 22 ] || { echo "llvm.sh: rustc uses LLVM $version; the private copy is of 22: install llvm-$version" >&2; exit 2; }
lab_lock
debs_into "$LAB/llvm22" llvm-22 llvm-22-linker-tools libllvm22 libz3-4 libedit2 libxml2 libicu72 libffi8 libbsd0 libmd0 >&2
bin=$LAB/llvm22/usr/lib/llvm-22/bin
for t in llvm-profdata llvm-cov llvm-mca llvm-objdump llvm-nm llvm-readelf llvm-size; do
  wrap "$t" "$LAB/llvm22/usr/lib/x86_64-linux-gnu" "$bin/$t"
  mkdir -p "$LAB/llvm22/bin"; ln -sf "$LAB/bin/$t" "$LAB/llvm22/bin/$t"
done
echo "$LAB/llvm22/bin"
