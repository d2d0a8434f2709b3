//! The bounds of `disasm/bounds.toml`: what they say, and whether a count keeps to them.
//! Nothing in this package writes that file; a bound is changed by hand, with its reason.
//! A count below its bound is fine here, and `survey` says where it is.

use crate::artefact;
use crate::path::{Counts, Kind};
use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The only compiler whose text is compared with the listings.
    pub toolchain: String,
    /// What no way contains, unless a bound allows it.
    pub forbidden: Vec<String>,
    /// One for each way through each function.
    pub bound: Vec<Bound>,
}

/// One way through one function.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The linked file: a name of [`artefact::ALL`].
    pub artefact: String,
    /// The function, demangled.
    pub symbol: String,
    /// What this way is, where the function has several.
    #[serde(default)]
    pub case: String,
    /// Which kind of way.
    #[serde(default)]
    pub path: Kind,
    /// The conditional branches of the way that are taken, counted from 1.
    #[serde(default)]
    pub taken: Vec<u64>,
    /// Most instructions.
    pub instructions: u64,
    /// Most conditional branches.
    pub branches: u64,
    /// Most instructions that load.
    pub loads: u64,
    /// Most instructions that store.
    pub stores: u64,
    /// Most bytes of code.
    pub bytes: u64,
    /// What is not forbidden here.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// Why the bound is what it is.
    pub reason: String,
}

/// Everything that may be forbidden.
const NAMES: [&str; 6] = ["call", "push", "lock", "div", "indirect jump", "__tls_get_addr"];

impl Bounds {
    /// Reads the repository's file.
    pub fn read() -> Result<Bounds, String> {
        let path = artefact::root().join("disasm/bounds.toml");
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Bounds::parse(&text)
    }

    /// Reads a text, and refuses names that nothing answers to.
    pub fn parse(text: &str) -> Result<Bounds, String> {
        let bounds: Bounds = toml::from_str(text).map_err(|e| e.to_string())?;
        let words =
            bounds.forbidden.iter().chain(bounds.bound.iter().flat_map(|bound| &bound.allowed));
        if let Some(word) = words.into_iter().find(|word| !NAMES.contains(&word.as_str())) {
            return Err(format!("bounds.toml: nothing is called {word:?}"));
        }
        for bound in &bounds.bound {
            if artefact::by_name(&bound.artefact).is_none() {
                return Err(format!("bounds.toml: no artefact is called {:?}", bound.artefact));
            }
            if bound.reason.trim().is_empty() {
                return Err(format!("bounds.toml: {} has no reason", bound.title()));
            }
        }
        Ok(bounds)
    }
}

impl Bound {
    /// Symbol, case and artefact.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} ({}), {}", self.symbol, self.case(), self.artefact)
    }

    /// What the way is called.
    #[must_use]
    pub fn case(&self) -> &str {
        match (self.case.as_str(), self.path) {
            ("", Kind::Hit) => "hit",
            ("", Kind::Loop) => "loop",
            ("", Kind::Whole) => "whole",
            (case, _) => case,
        }
    }

    fn pairs(&self, counts: &Counts) -> [(&'static str, u64, u64); 5] {
        [
            ("instructions", counts.instructions, self.instructions),
            ("branches", counts.branches, self.branches),
            ("loads", counts.loads, self.loads),
            ("stores", counts.stores, self.stores),
            ("bytes", counts.bytes, self.bytes),
        ]
    }

    /// What of the counts is over the bound, or forbidden.
    #[must_use]
    pub fn complaints(&self, forbidden: &[String], counts: &Counts) -> Vec<String> {
        let title = self.title();
        let mut complaints = Vec::new();
        for (what, count, most) in self.pairs(counts) {
            if count > most {
                complaints.push(format!(
                    "{title}: {count} {what}, the bound is {most} ({})",
                    self.reason
                ));
            }
        }
        for (which, text) in &counts.traits {
            let name = which.name();
            if forbidden.iter().any(|word| word == name)
                && !self.allowed.iter().any(|word| word == name)
            {
                complaints.push(format!("{title}: `{text}` is a {name}, which is forbidden"));
            }
        }
        complaints
    }

    /// Where the bound could come down, in words; empty if nowhere.
    #[must_use]
    pub fn slack(&self, counts: &Counts) -> String {
        let loose = self.pairs(counts).into_iter().filter(|(_, count, most)| count < most);
        loose
            .map(|(what, count, most)| format!("{what} {count} of {most}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Trait;

    const TEXT: &str = r#"
        toolchain = "1.95.0"
        forbidden = ["call", "push"]
        [[bound]]
        artefact = "x86_64-unknown-linux-gnu/c-cdylib"
        symbol = "malloc"
        instructions = 11
        branches = 2
        loads = 4
        stores = 1
        bytes = 41
        allowed = ["push"]
        reason = "a test"
    "#;

    #[test]
    fn what_is_over_is_told() {
        let bounds = Bounds::parse(TEXT).expect("the text is right");
        let fine = Counts {
            instructions: 11,
            branches: 2,
            loads: 4,
            stores: 1,
            bytes: 41,
            traits: Vec::new(),
        };
        let complaints =
            |counts: &Counts| bounds.bound[0].complaints(&bounds.forbidden, counts).len();
        assert_eq!(complaints(&fine), 0);
        assert_eq!(complaints(&Counts { instructions: 12, ..fine.clone() }), 1);
        assert_eq!(complaints(&Counts { bytes: 42, loads: 5, ..fine.clone() }), 2);
        let traits = vec![(Trait::Call, "call x".into()), (Trait::Push, "push rax".into())];
        assert_eq!(complaints(&Counts { traits, ..fine }), 1);
    }

    #[test]
    fn mistakes_are_refused() {
        for (right, wrong) in [
            ("\"push\"]", "\"pushes\"]"),
            ("c-cdylib", "cdylib"),
            ("a test", " "),
            ("bytes", "length"),
            ("loads = 4", ""),
        ] {
            assert!(Bounds::parse(&TEXT.replace(right, wrong)).is_err(), "{wrong}");
        }
    }
}
