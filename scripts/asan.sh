#!/usr/bin/env bash
# asan.sh [CARGO TEST ARGS]: the tests of the library under AddressSanitizer, with rustup's nightly (default: --lib).
# Everything is built with --cfg asan: code that hands out memory itself can tell ASan about it there
# (__asan_poison_memory_region). The C face is not built this way: ASan brings a malloc of its own.
set -euo pipefail
rustc +nightly -V >/dev/null 2>&1 || { echo "asan.sh: needs the nightly compiler: rustup toolchain install nightly" >&2; exit 2; }
target=$(rustc +nightly -vV | sed -n 's/^host: //p')
[ $# -gt 0 ] || set -- --lib
export RUSTFLAGS="-Zsanitizer=address --cfg asan ${RUSTFLAGS:-}" ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0}
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/asan; export CARGO_TARGET_DIR
exec cargo +nightly test --target "$target" "$@"
