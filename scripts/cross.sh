#!/usr/bin/env bash
# cross.sh ARCH CARGO-ARGS...     e.g.  scripts/cross.sh aarch64 test --workspace
#
# Builds for another processor and runs the tests there, from the root of the repository. ARCH is one of
#   aarch64 i686 armv7 riscv64 powerpc64le s390x (big endian)        with glibc
#   x86_64-musl aarch64-musl                                         with musl, statically linked
# It takes the first of these ways that the machine has, or the one that BITMAG_CROSS names:
#   native    this machine is an ARCH machine: plain cargo
#   system    a cross gcc and qemu-user are installed (Debian, Ubuntu: gcc-aarch64-linux-gnu qemu-user; others: their names for it)
#   cross     the `cross` tool with docker or podman
#   private   Debian's packages unpacked into a private folder (private-debian.sh); nothing is installed
# What emulation does not show: rseq is ENOSYS, madvise never fails, pages are always 4 KiB.
# Tests see BITMAG_EMULATED=1 when they do not run on the processor that they were built for.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
die() { echo "cross.sh: $*" >&2; exit 2; }
[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
arch=$1; shift
libc=gnu
case $arch in  # t: Rust target   g: GNU triple   d: Debian's name   q: qemu's name   m: uname -m
  aarch64)      t=aarch64-unknown-linux-gnu     g=aarch64-linux-gnu     d=arm64   q=aarch64 m=aarch64;;
  i686)         t=i686-unknown-linux-gnu        g=i686-linux-gnu        d=i386    q=i386    m=i686;;
  armv7)        t=armv7-unknown-linux-gnueabihf g=arm-linux-gnueabihf   d=armhf   q=arm     m=armv7l;;
  riscv64)      t=riscv64gc-unknown-linux-gnu   g=riscv64-linux-gnu     d=riscv64 q=riscv64 m=riscv64;;
  powerpc64le)  t=powerpc64le-unknown-linux-gnu g=powerpc64le-linux-gnu d=ppc64el q=ppc64le m=ppc64le;;
  s390x)        t=s390x-unknown-linux-gnu       g=s390x-linux-gnu       d=s390x   q=s390x   m=s390x;;
  x86_64-musl)  t=x86_64-unknown-linux-musl     g=x86_64-linux-gnu      d=amd64   q=x86_64  m=x86_64  libc=musl;;
  aarch64-musl) t=aarch64-unknown-linux-musl    g=aarch64-linux-gnu     d=arm64   q=aarch64 m=aarch64 libc=musl;;
  *) die "unknown ARCH '$arch'";;
esac
command -v cargo >/dev/null || die "no cargo: install Rust"

# ---- which way --------------------------------------------------------------------------------------------------------------
qemu() { command -v "qemu-$q" || command -v "qemu-$q-static"; }
container() { command -v docker >/dev/null && docker info >/dev/null 2>&1 || command -v podman >/dev/null; }
way=${BITMAG_CROSS:-}
if [ -z "$way" ]; then
  if [ "$(uname -m)" = "$m" ]; then way=native
  elif command -v "$g-gcc" >/dev/null && qemu >/dev/null; then way=system
  elif command -v cross >/dev/null && container; then way=cross
  else way=private
  fi
fi

# The Rust standard library for the target: from rustup where it manages the compiler. 1: could not be had.
std_from_rustup() {
  command -v rustup >/dev/null && [[ $(rustc --print sysroot) == *toolchains* ]] || return 1
  [ -e "$(rustc --print target-libdir --target "$t")" ] && return
  echo "cross.sh: rustup target add $t" >&2
  timeout 300 rustup target add "$t" >&2
}
have_std() { [ -e "$(rustc --print target-libdir --target "$t" 2>/dev/null)" ] || std_from_rustup; }
no_std="the Rust standard library for $t is missing: 'rustup target add $t', or your distribution's package of it"

T=$(echo "$t" | tr 'a-z-' 'A-Z_')
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")/cross
emulated=1 run='' cc=''
case $way in
  native)
    [ "$libc" = musl ] || exec cargo "$@"
    have_std || die "$no_std"
    emulated='';;
  cross)
    command -v cross >/dev/null || die "BITMAG_CROSS=cross, and there is no 'cross' (cargo install cross)"
    BITMAG_EMULATED=1 exec cross "$1" --target "$t" "${@:2}";;
  system)
    command -v "$g-gcc" >/dev/null || die "no $g-gcc here (Debian: gcc-$g)"
    qemu >/dev/null || die "no qemu-$q here (Debian: qemu-user)"
    have_std || die "$no_std"
    cc=$g-gcc; run=$(qemu)
    [ "$libc" = musl ] || run="$run -L $(dirname "$("$g-gcc" -print-file-name=libc.so.6)")/..";;
  private)
    . "$here/private-debian.sh"
    private_debian || die "no way to reach $arch from here. Any one of these would do: a machine of that kind; packages \
gcc-$g and qemu-user; the 'cross' tool with docker or podman"
    lab_lock
    c=$LAB/cross-$d
    if ! have_std; then
      [ "$libc" = gnu ] || die "$no_std"
      web_rust
      case $d in arm64) from=;; *) from=/trixie;; esac    # the same version in both; other architectures exist in trixie only
      debs_into "$LAB/web" "libstd-rust-web-dev:$d$from"
      export RUSTC=$LAB/bin/rustc RUSTDOC=$LAB/bin/rustdoc
    fi
    # qemu 10 from trixie, static: 7.2 of bookworm reserves address space very slowly.
    debs_into "$LAB/qemu" qemu-user/trixie
    debs_into "$c" "binutils-$g" "gcc-12-$g" "cpp-12-$g" "libgcc-12-dev-$d-cross" "libgcc-s1-$d-cross" \
      "libc6-$d-cross" "libc6-dev-$d-cross" "linux-libc-dev-$d-cross"
    # Linker scripts hold absolute paths of an installed system: make them relative to the folder they lie in.
    for f in $(grep -lIs 'GNU ld script' "$c/usr/$g"/lib/lib*.so || :); do sed -i "s#/usr/$g/lib[0-9]*/##g" "$f"; done
    wrap "$g-cc" "$c/usr/lib/x86_64-linux-gnu" "$c/usr/bin/$g-gcc-12"
    lab_unlock
    cc=$LAB/bin/$g-cc
    export "AR_${t//-/_}=$c/usr/bin/$g-ar"
    run=$LAB/qemu/usr/bin/qemu-$q
    [ "$libc" = musl ] || run="$run -L $c/usr/$g"
    # An x86_64 kernel runs i686 itself, and qemu-i386 hangs with threads.
    if [ $q = i386 ]; then emulated='' run="$c/usr/$g/lib/ld-linux.so.2 --library-path $c/usr/$g/lib"; fi;;
  *) die "BITMAG_CROSS is native, system, cross or private, not '$way'";;
esac
export CARGO_TARGET_DIR=$target_dir CARGO_BUILD_TARGET=$t
[ -z "$cc" ] || export "CARGO_TARGET_${T}_LINKER=$cc" "CC_${t//-/_}=$cc"
[ -z "$run" ] || export "CARGO_TARGET_${T}_RUNNER=$run"
[ -z "$emulated" ] || export BITMAG_EMULATED=1
exec cargo "$@"
