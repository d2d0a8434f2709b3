//! Reads bitmag's linked artefacts: what the hot functions are as machine code, and how much of it there is.
//! `tests/disasm_bounds.rs` holds the bounds of `bounds.toml` with it, `examples/disasm.rs` prints and writes listings.
//! The way through it: [`artefact`] builds a file, [`image`] finds a function in it, [`code`] decodes the function, [`path`]
//! measures it, [`bounds`] compares, [`listing`] and [`table`] write it down.

pub mod aarch64;
pub mod artefact;
pub mod bounds;
pub mod code;
pub mod image;
pub mod listing;
pub mod path;
pub mod survey;
pub mod table;
pub mod x86_64;
