//! Which face a child process works on, and what it calls there.

use super::api::{Api, Layouts};
use super::c_api::CApi;
use super::child::{Child, Ended};
use crate::ensure;
use std::sync::OnceLock;

/// The Rust face's allocator, which reads the environment.
pub static BITMAG: bitmag::Bitmag = bitmag::Bitmag::with(bitmag::Config::new().environment(true));

/// The same, as the test language has it.
pub static RUST: Layouts<bitmag::Bitmag> = Layouts {
    name: "the Rust face",
    allocator: &BITMAG,
    usable: Some(bitmag::usable_size),
    trim: Some(bitmag::trim),
};

/// Which allocator a child works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// `bitmag::Bitmag`.
    Rust,
    /// The same in checked mode.
    RustChecked,
    /// The C face, preloaded.
    C,
    /// The same in checked mode.
    CChecked,
    /// The system's allocator: the control of tests that depend on the machine's limits.
    System,
}

/// All but the control.
pub const ALL: [Face; 4] = [Face::Rust, Face::RustChecked, Face::C, Face::CChecked];

impl Face {
    /// A child for a scenario on that face.
    pub fn child(self, scenario: &str) -> Result<Child, String> {
        let child = Child::scenario(scenario).env("BITMAG_FACE", format!("{self:?}"));
        let child = if matches!(self, Face::C | Face::CChecked) { child.preload()? } else { child };
        Ok(if matches!(self, Face::RustChecked | Face::CChecked) {
            child.env("BITMAG_CHECK", "1")
        } else {
            child
        })
    }

    /// Runs the child to a clean end and makes sure that it was ours who served it.
    pub fn succeed(self, child: Child) -> Result<Ended, String> {
        let ended = child.succeed()?;
        if matches!(self, Face::C | Face::CChecked) {
            ensure!(
                ended.refilled_blocks() > 0,
                "the counters do not show us: {:?}",
                ended.counters
            );
        }
        Ok(ended)
    }
}

/// The allocator that this child was told to work on.
pub fn api() -> &'static dyn Api {
    static PROCESS: OnceLock<CApi> = OnceLock::new();
    match std::env::var("BITMAG_FACE").as_deref() {
        Ok("Rust" | "RustChecked") => &RUST,
        _ => PROCESS.get_or_init(CApi::of_process),
    }
}

/// Whether this child works on the Rust face.
pub fn on_rust() -> bool {
    std::env::var("BITMAG_FACE").is_ok_and(|face| face.starts_with("Rust"))
}
