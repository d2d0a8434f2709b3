# shellcheck shell=bash
# Source this file. It unpacks Debian packages (cross linkers, emulators, LLVM tools, a second Rust compiler) into a private
# folder, so that the scripts beside it work without installing anything into the system and without touching rustup's default.
# It serves x86_64 machines with Debian's apt; everywhere else `private_debian` says what is missing.
#
#   LAB                            the private folder (about 1 GB when everything is in it); move it with BITMAG_LAB
#   private_debian                 succeeds where this can work, else says on stderr why it cannot
#   debs_into DIR PKG...           download and unpack once; PKG[:ARCH][/trixie], names as `apt-get download` takes them
#   web_rust                       $LAB/bin/rustc and rustdoc of Debian's rustc-web, with the std sources for -Zbuild-std
#
# Do not move the folder once made (linker scripts in it hold paths): remove it and let it be made again.
LAB=${BITMAG_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/bitmag-lab}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror that this machine's apt already uses: _site debian, _site debian-security.
_site() { apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | sed 's#/*$##' | grep -m1 "/$1\$"; }

private_debian() {
  local t missing=
  for t in apt-get dpkg-deb flock sha256sum; do command -v "$t" >/dev/null || missing="$missing $t"; done
  [ -z "$missing" ] || { echo "no private tool folder: missing:$missing (it needs Debian's apt)" >&2; return 1; }
  [ "$(uname -m)" = x86_64 ] || { echo "no private tool folder: it holds x86_64 tools, this machine is $(uname -m)" >&2; return 1; }
  [ -e "$KEYRING" ] || { echo "no private tool folder: $KEYRING is missing (package debian-archive-keyring)" >&2; return 1; }
  _site debian >/dev/null || {
    echo "no private tool folder: apt knows no Debian mirror ('apt-get update' not run yet, or not Debian)" >&2; return 1; }
}

# One set-up at a time: lab_lock before, lab_unlock after.
lab_lock() { mkdir -p "$LAB" && exec 9>"$LAB/lock" && flock 9; }
lab_unlock() { exec 9>&-; }

# _apt ARCH TOOL ARGS...: apt with lists of its own for amd64 and ARCH; bookworm first, trixie only where asked for by name.
_apt() {
  local arch=$1 a=$LAB/apt-$1; shift
  if [ ! -e "$a/ok" ]; then
    mkdir -p "$a/state/lists/partial" "$a/cache/archives/partial"; : >"$a/status"
    local o="[signed-by=$KEYRING]" u s
    u=$(_site debian) || { echo "apt knows no Debian mirror" >&2; return 1; }
    s=$(_site debian-security) || s=
    { case $arch in amd64|arm64) echo "deb $o $u bookworm main"; [ -z "$s" ] || echo "deb $o $s bookworm-security main";; esac
      echo "deb $o $u trixie main"; } >"$a/sources.list"
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' >"$a/preferences"
    cat >"$a/apt.conf" <<CONF
Dir::State "$a/state"; Dir::State::status "$a/status"; Dir::Cache "$a/cache"; Acquire::Languages "none"; Acquire::Retries "3";
Dir::Etc::sourcelist "$a/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::preferences "$a/preferences";
Dir::Etc::preferencesparts "/dev/null"; APT::Architecture "amd64"; APT::Architectures { "amd64"; "$arch"; }; APT::Sandbox::User "root";
CONF
    APT_CONFIG=$a/apt.conf apt-get -qq update >&2 && touch "$a/ok" || return
  fi
  APT_CONFIG=$a/apt.conf "$@"
}

debs_into() {
  local dir=$1 d stamp arch=amd64 f; shift
  case $1 in *:*) arch=${1#*:}; arch=${arch%%/*};; esac
  mkdir -p "$dir"; stamp=$dir/.have-$(echo "$*" | sha256sum | cut -c1-16)
  [ -e "$stamp" ] && return
  echo "fetching into $dir: $*" >&2
  d=$(mktemp -d "$LAB/dl.XXXXXX") || return
  (cd "$d" && { _apt "$arch" apt-get -qq download "$@" ||
      { _apt "$arch" apt-get -qq update && _apt "$arch" apt-get -qq download "$@"; }; } >&2) &&
    for f in "$d"/*.deb; do dpkg-deb -x "$f" "$dir" || { rm -rf "$d"; return 1; }; done && touch "$stamp"
  f=$?; rm -rf "$d"; return $f
}

# wrap NAME LIBDIR PROGRAM: $LAB/bin/NAME runs PROGRAM with LIBDIR on its library path (an own file first: others may be running it).
wrap() {
  mkdir -p "$LAB/bin"
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$2" "$3" >"$LAB/bin/$1.$$" &&
    chmod +x "$LAB/bin/$1.$$" && mv "$LAB/bin/$1.$$" "$LAB/bin/$1"
}

web_rust() {
  local r=$LAB/web t
  # The last seven are libllvm22's own needs.
  debs_into "$r" rustc-web libstd-rust-web-dev libstd-rust-web-1.96 libllvm22 rust-web-src \
    libz3-4 libedit2 libxml2 libicu72 libffi8 libbsd0 libmd0 || return
  for t in rustc rustdoc; do wrap $t "$r/usr/lib/x86_64-linux-gnu" "$r/usr/bin/$t" || return; done
}
