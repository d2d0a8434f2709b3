#!/bin/sh
# How much machine code bitmag adds to a large program: builds one of axum, tokio, clap, regex and serde_json, and ripgrep, with and
# without it, without LTO, with thin and with fat LTO, and prints what `size` calls text (code, constants, unwind tables) of each.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
folder=${CARGO_TARGET_DIR:-target}/text-size
unset CARGO_TARGET_DIR
profiles='[profile.thin]
inherits = "release"
lto = "thin"

[profile.fat]
inherits = "release"
lto = "fat"
codegen-units = 1'
mkdir -p "$folder/src"
cat > "$folder/Cargo.toml" <<EOF
[package]
name = "large-program"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
axum = "0.8"
tokio = { version = "1", features = ["full"] }
clap = { version = "4", features = ["derive"] }
regex = "1"
serde = { version = "1", features = ["derive"] }
serde_json = "1"
bitmag = { path = "$root", optional = true }

$profiles
EOF
cat > "$folder/src/main.rs" <<'EOF'
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

#[cfg(feature = "bitmag")]
#[global_allocator]
static GLOBAL: bitmag::Bitmag = bitmag::Bitmag::new();

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    address: String,
    #[arg(long)]
    pattern: Option<String>,
}

#[derive(Serialize, Deserialize, Clone)]
struct Entry {
    name: String,
    tags: Vec<String>,
    values: BTreeMap<String, serde_json::Value>,
}

type Store = Arc<Mutex<HashMap<String, Entry>>>;

async fn put(State(store): State<Store>, Json(entry): Json<Entry>) -> Json<usize> {
    let mut store = store.lock().unwrap();
    store.insert(entry.name.clone(), entry);
    Json(store.len())
}

async fn show(State(store): State<Store>, Path(name): Path<String>) -> Json<Option<Entry>> {
    Json(store.lock().unwrap().get(&name).cloned())
}

async fn find(State(store): State<Store>, Query(query): Query<HashMap<String, String>>) -> String {
    let pattern = regex::Regex::new(query.get("q").map_or(".", |text| text)).unwrap();
    let store = store.lock().unwrap();
    let mut names: Vec<_> = store.keys().filter(|key| pattern.is_match(key)).cloned().collect();
    names.sort();
    names.join("\n")
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    if let Some(pattern) = &arguments.pattern {
        println!("{}", regex::Regex::new(pattern).unwrap().is_match("x"));
    }
    let app = Router::new()
        .route("/", post(put))
        .route("/{name}", get(show))
        .route("/find", get(find))
        .with_state(Store::default());
    let listener = tokio::net::TcpListener::bind(&arguments.address).await.unwrap();
    axum::serve(listener, app).await.unwrap();
}
EOF
# ripgrep is a program alone, so cargo fetches its source as a dependency's, and the allocator is added to a copy.
mkdir -p "$folder/fetch/src"
cat > "$folder/fetch/Cargo.toml" <<EOF
[package]
name = "fetch"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
ripgrep = "=14.1.1"
EOF
echo 'fn main() {}' > "$folder/fetch/src/main.rs"
(cd "$folder/fetch" && cargo vendor --quiet vendor > vendor.log 2>&1) || { cat "$folder/fetch/vendor.log" >&2; exit 1; }
mkdir -p "$folder/ripgrep"
cp -R "$folder/fetch/vendor/ripgrep/." "$folder/ripgrep/"
rm -f "$folder/ripgrep/.cargo-checksum.json"
cat >> "$folder/ripgrep/Cargo.toml" <<EOF

[workspace]

[dependencies.bitmag]
path = "$root"
optional = true

$profiles
EOF
cat >> "$folder/ripgrep/crates/core/main.rs" <<'EOF'

#[cfg(feature = "bitmag")]
#[global_allocator]
static GLOBAL: bitmag::Bitmag = bitmag::Bitmag::new();
EOF

text() { size "target/$1/$2" | awk 'NR == 2 { print $1 }'; }
compare() {
  cd "$1"
  for profile in release thin fat; do
    cargo build --quiet --profile $profile
    without=$(text $profile "$2")
    cargo build --quiet --profile $profile --features bitmag
    with=$(text $profile "$2")
    echo "$2 $profile $without $with" |
      awk '{ printf "%-13s %-8s %9d bytes without, %9d with: %+d, %+.1f%%\n", $1, $2, $3, $4, $4 - $3, 100 * ($4 - $3) / $3 }'
  done
}
(compare "$folder" large-program)
(compare "$folder/ripgrep" rg)
