//! The arena: address space and everything taken from it in whole units.
//!
//! `window` reserves and commits, `tables` describe, `units` claims, `purge` returns pages, `spans` serves large
//! blocks from runs of units, `direct` the few that cannot lie in the window, `moving` what has grown
//! out of it, `kept` what a thread freed last. No locks: units are
//! claimed by atomic AND, and only the growth of the window has one holder at a time.

pub(crate) mod direct;
pub(crate) mod kept;
pub(crate) mod moving;
pub(crate) mod policy;
pub(crate) mod purge;
pub(crate) mod shelf;
pub(crate) mod spans;
pub(crate) mod tables;
pub(crate) mod units;
pub(crate) mod window;
