//! The proof that a row was served by the allocator that it is printed under, and by no other.
//! The program says where each function lies that it was wired to (object, and offset in it); the profile of the counted part has to
//! agree: so many calls as the row makes went to those addresses, the symbols there are the peer's by their exact names, in the peer's own
//! object, and no function by which another allocator is called, the C library's included, executed an instruction.
//! `instructions.rs` tries the proof on every peer before it believes it: a run wired to another allocator must be refused.

use crate::callgrind::{Call, Function, Profile, hexadecimal};
use crate::peers::{PEERS, Peer};
use crate::plan::{self, Row};
use anyhow::{Context, Result, bail, ensure};

/// A function that the program was wired to, as it says itself: `face NAME OBJECT 0xOFFSET 0xADDRESS`.
pub struct Wire<'a> {
    pub name: &'a str,
    pub object: &'a str,
    pub offset: u64,
    address: u64,
}

/// What callgrind calls an object where code lies in a section of a name of its own; it gives addresses then instead of offsets.
const NO_OBJECT: &str = "???";

impl Wire<'_> {
    /// Whether this call went to it, and it is the peer's.
    fn took(&self, call: &Call, peer: &Peer) -> bool {
        let callee = &call.callee;
        if callee.object == NO_OBJECT {
            return peer.sections && peer.holds(self.object) && call.address == self.address;
        }
        call.address == self.offset
            && callee.object == self.object
            && (peer.owns(&callee.object, &callee.name) || peer.adapts(&callee.name))
    }
}

/// What the program said of its functions.
pub fn wires(printed: &str) -> Result<Vec<Wire<'_>>> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("face "));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let mut word = || words.next().with_context(|| format!("{line:?} is cut short"));
            let (name, object) = (word()?, word()?);
            let (offset, address) = (hexadecimal(word()?)?, hexadecimal(word()?)?);
            Ok(Wire { name, object, offset, address })
        })
        .collect()
}

/// Checks a run of `length` operations. The error says what is wrong.
pub fn check(peer: &Peer, row: &Row, length: usize, profile: &Profile) -> Result<()> {
    nobody_else(Some(peer), row, profile)?;
    if row.rust && peer.name == "bitmag" {
        // Its hits are inlined, so there is no call to count: the program has asked the library whose the blocks are.
        ensure!(profile.printed.contains("global bitmag"), "the blocks are not bitmag's");
        return Ok(());
    }
    let wires = wires(&profile.printed)?;
    for name in plan::functions(row.name) {
        let wire = wires.iter().find(|wire| wire.name == *name);
        let wire = wire.with_context(|| format!("the program does not say what {name} is"))?;
        let by_row = |call: &Call| row.rust || call.caller.name.starts_with("bitmag_lab_peer::");
        let served = |call: &&Call| wire.took(call, peer) && by_row(call);
        let count: u64 = profile.calls.iter().filter(served).map(|call| call.count).sum();
        let right = if row.rust { count >= length as u64 } else { count == length as u64 };
        ensure!(right, "{count} calls of {name} went to {}, not {length}", peer.name);
    }
    // Behind an adapter of the lab's own, too.
    let own = |function: &Function| {
        function.object == NO_OBJECT || peer.owns(&function.object, &function.name)
    };
    ensure!(length == 0 || profile.executed.iter().any(own), "nothing of {} ran", peer.name);
    Ok(())
}

/// That no allocator but this one executed anything. A thread's first allocation may register a destructor, for which the C library
/// calls its own calloc: there a function that is called from its own object alone is that object's business.
pub fn nobody_else(peer: Option<&Peer>, row: &Row, profile: &Profile) -> Result<()> {
    let inside = |function: &Function| {
        let mut calls = profile.calls.iter().filter(|call| call.callee == *function).peekable();
        calls.peek().is_some() && calls.all(|call| call.caller.object == function.object)
    };
    for function in &profile.executed {
        let unknown = function.object == NO_OBJECT && peer.is_none_or(|peer| !peer.sections);
        ensure!(!unknown, "{} ran, and nobody knows whose that is", function.name);
        let owner = PEERS.iter().find(|owner| {
            owner.owns(&function.object, &function.name)
                // Both versions of mimalloc have the same names; a program holds one of them.
                && peer.is_none_or(|peer| !peer.owns(&function.object, &function.name))
        });
        if let Some(owner) = owner
            && !(row.name == "first_malloc" && inside(function))
        {
            bail!("{} of {} ({}) ran", function.name, owner.name, function.object);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callgrind::parse;

    const PROGRAM: &str = "/lab/bitmag-lab-peer";

    /// A profile of two frees: what is called, where it lies, at which offset, and what else ran.
    fn profile(callee: &str, object: &str, address: &str, count: u64, also: &str) -> Profile {
        let text = format!(
            "ob={PROGRAM}\nfn=bitmag_lab_peer::rows::free\n0x10 0 9\ncob={object}\ncfn={callee}\ncalls={count} {address} 0\n\
             0x14 0 40\n\nob={object}\nfn={callee}\n{address} 0 40\n{also}\ntotals: 49\n"
        );
        let mut profile = parse(&text).expect("a profile");
        profile.printed = format!("face free {PROGRAM} 0x500 0x100500\n");
        profile
    }

    fn verdict(profile: &Profile) -> Result<()> {
        let mimalloc = PEERS.iter().find(|peer| peer.name == "mimalloc 3").expect("a peer");
        let row = plan::rows().into_iter().find(|row| row.name == "free_hit").expect("a row");
        check(mimalloc, &row, 2, profile)
    }

    #[test]
    fn the_right_allocator_passes() {
        verdict(&profile("mi_free", PROGRAM, "0x500", 2, "")).expect("all is as it should be");
    }

    #[test]
    fn the_version_of_a_symbol_does_not_matter() {
        verdict(&profile("mi_free@@MI_1", PROGRAM, "0x500", 2, "")).expect("the same function");
    }

    #[test]
    fn another_allocator_does_not_pass() {
        let refused = |profile: Profile| verdict(&profile).unwrap_err().to_string();
        let libc = "/lib/libc.so.6";
        assert!(refused(profile("free", libc, "0x500", 2, "")).contains("free of glibc"));
        // The right name at another address, in another object, too rarely called; another name at the right address.
        assert!(refused(profile("mi_free", PROGRAM, "0x501", 2, "")).contains("0 calls"));
        assert!(refused(profile("mi_free", "/lib/other.so", "0x500", 2, "")).contains("0 calls"));
        assert!(refused(profile("mi_free", PROGRAM, "0x500", 1, "")).contains("1 calls"));
        assert!(refused(profile("mi_free_to", PROGRAM, "0x500", 2, "")).contains("0 calls"));
        assert!(refused(profile("rpfree", PROGRAM, "0x500", 2, "")).contains("rpfree of rpmalloc"));
    }

    #[test]
    fn code_that_belongs_to_nobody_does_not_pass() {
        let why = verdict(&profile("mi_free", NO_OBJECT, "0x100500", 2, "")).unwrap_err();
        assert!(why.to_string().contains("nobody knows"), "{why}");
    }

    #[test]
    fn another_allocator_behind_the_right_one_does_not_pass() {
        let behind = "ob=/lib/libc.so.6\nfn=malloc\n0x90 0 20";
        let why = verdict(&profile("mi_free", PROGRAM, "0x500", 2, behind)).unwrap_err();
        assert!(why.to_string().contains("malloc of glibc"), "{why}");
    }
}
