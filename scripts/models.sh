#!/usr/bin/env bash
# models.sh [NAME]: the loom models of the lock-free protocols, in which the shipped functions run in every order of their threads'
# steps (src/sync/modelled.rs tells how). NAME, or a part of it, picks some. A target folder of its own, since the cfg changes
# everything that is built. LOOM_MAX_PREEMPTIONS=N interrupts each thread up to N times instead of the 2 or 3 that a model asks for.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")"
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/loom; export CARGO_TARGET_DIR
export RUSTFLAGS="--cfg loom ${RUSTFLAGS:-}"
exec cargo test --locked -p bitmag --lib -- "${1:-models::}"
