#!/usr/bin/env bash
# tsan.sh [CARGO TEST ARGS]: the tests of the library under ThreadSanitizer with an instrumented standard library, so that
# neither std nor libtest gives false alarms (default: --lib). Needs a nightly with rust-src (rustup component add rust-src
# --toolchain nightly); where only the nightly is there, the compiler and the sources of std come from Debian's rustc-web,
# unpacked privately (private-debian.sh), with the sanitizer's runtime of the nightly.
set -euo pipefail
rustc +nightly -V >/dev/null 2>&1 || { echo "tsan.sh: needs the nightly compiler: rustup toolchain install nightly" >&2; exit 2; }
target=$(rustc +nightly -vV | sed -n 's/^host: //p')
sysroot=$(rustc +nightly --print sysroot)
[ $# -gt 0 ] || set -- --lib
[ "$1" != --version ] || [ $# -ne 1 ] || probe=1 # only set the compiler up and say which it is
# One way to panic for everything: with `abort` in the profile std would be built twice, and clash with itself.
export CARGO_PROFILE_DEV_PANIC=unwind
export RUSTFLAGS="-Zsanitizer=thread --cfg tsan ${RUSTFLAGS:-}"
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tsan; export CARGO_TARGET_DIR
if [ -e "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ]; then
  [ -z "${probe:-}" ] || exec cargo +nightly --version
  exec cargo +nightly test -Zbuild-std --target "$target" "$@"
fi
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/private-debian.sh"
private_debian || { echo "tsan.sh: rustup component add rust-src --toolchain nightly" >&2; exit 2; }
lab_lock
web_rust || { echo "tsan.sh: the compiler could not be fetched" >&2; exit 2; }
cp -u "$sysroot/lib/rustlib/$target/lib/librustc-nightly_rt.tsan.a" "$LAB/web/usr/lib/rustlib/$target/lib/librustc-stable_rt.tsan.a"
lab_unlock
export RUSTC_BOOTSTRAP=1 RUSTC=$LAB/bin/rustc RUSTDOC=$LAB/bin/rustdoc
[ -z "${probe:-}" ] || exec "$RUSTC" --version
exec cargo test -Zbuild-std --target "$target" "$@"
