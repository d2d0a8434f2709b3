//! The proof that a run was served by the allocator that its figures are printed under.
//! The program says at which address of which object each function lies that the workload calls; the object's own symbols have to
//! give that address one of the names by which the allocator is called, in the object that it belongs to. A program that is wired to
//! another allocator must be refused: `timed` tries that with every peer.

use crate::peers::Peer;
use crate::proof::wires;
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSymbol};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the objects say of their addresses, each read once.
#[derive(Default)]
pub struct Wiring(BTreeMap<PathBuf, BTreeMap<u64, Vec<String>>>);

impl Wiring {
    /// Checks what a run printed. What it says is the proof in words.
    pub fn check(&mut self, peer: &Peer, printed: &str) -> Result<String> {
        let mut proof = String::new();
        let wires = wires(printed)?;
        for name in ["malloc", "free", "free_sized", "calloc", "realloc", "aligned_alloc"] {
            let wire = wires.iter().find(|wire| wire.name == name);
            let wire = wire.with_context(|| format!("the program does not say what {name} is"))?;
            ensure!(peer.holds(wire.object), "{name} lies in {}", wire.object);
            let names = self.names(Path::new(wire.object), wire.offset)?;
            let own = names.iter().find(|symbol| peer.is_called(symbol));
            let adapted = name == "free_sized" && peer.adapter > 0.0;
            let told = names.first().map_or("nothing", String::as_str);
            ensure!(own.is_some() || adapted, "{name} is {told} of {}", wire.object);
            if let ("malloc", Some(own)) = (name, own) {
                let file = wire.object.rsplit('/').next().unwrap_or_default();
                proof = format!("malloc is {own} at {:#x} of {file}", wire.offset);
            }
        }
        if peer.name.starts_with("bitmag") {
            let rust = printed.lines().any(|line| line == "global bitmag");
            ensure!(rust, "the blocks of the Rust face are not bitmag's");
            proof += "; Rust's blocks: bitmag::usable_size and its counters";
        }
        if let Some(major) = peer.major() {
            let said = printed.lines().find_map(|line| line.strip_prefix("version "));
            let said = said.context("the library does not say its version")?;
            ensure!(said.starts_with(major), "the library says that it is version {said}");
        }
        Ok(proof)
    }

    /// The symbols at an address of an object.
    fn names(&mut self, object: &Path, address: u64) -> Result<&[String]> {
        if !self.0.contains_key(object) {
            let data = std::fs::read(object)?;
            let file = object::File::parse(&*data)?;
            let mut symbols = BTreeMap::<u64, Vec<String>>::new();
            for symbol in file.symbols().chain(file.dynamic_symbols()) {
                let name = symbol.name().unwrap_or_default();
                if symbol.is_definition() && !name.is_empty() {
                    let name = name.split('@').next().unwrap_or_default().to_string();
                    symbols.entry(symbol.address()).or_default().push(name);
                }
            }
            self.0.insert(object.to_path_buf(), symbols);
        }
        Ok(self.0[object].get(&address).map_or(&[], Vec::as_slice))
    }
}
