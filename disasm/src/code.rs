//! A function as a list of instructions, the same for every architecture.
//! The decoders (`x86_64`, `aarch64`) fill it in; paths are walked, and counts made, over this alone.
//! The text of an instruction names symbols and labels, never addresses, so that it survives a new link.

use crate::image::{Architecture, Function, Image};
use crate::{aarch64, x86_64};
use std::collections::BTreeMap;

/// Where an instruction leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next one; calls too.
    Next,
    /// To the target or to the next one.
    Branch(u64),
    /// To the target.
    Jump(u64),
    /// Out of the function, by a jump through memory or a register.
    IndirectJump,
    /// Back to the caller.
    Return,
    /// Nowhere.
    Trap,
}

/// What a bound may forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trait {
    /// A call of whatever kind.
    Call,
    /// A call that asks the system's linker for the address of a thread-local variable.
    TlsGetAddr,
    /// A register saved on the stack.
    Push,
    /// A locked or otherwise atomic read-modify-write, or a fence.
    Lock,
    /// A division.
    Div,
    /// A jump through memory or a register.
    IndirectJump,
}

impl Trait {
    /// Its name in `bounds.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Trait::Call => "call",
            Trait::TlsGetAddr => "__tls_get_addr",
            Trait::Push => "push",
            Trait::Lock => "lock",
            Trait::Div => "div",
            Trait::IndirectJump => "indirect jump",
        }
    }
}

/// One instruction.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Where it lies.
    pub address: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Where it leads.
    pub flow: Flow,
    /// Whether it reads memory; the return address does not count.
    pub loads: bool,
    /// Whether it writes memory, likewise.
    pub stores: bool,
    /// What of it may be forbidden.
    pub traits: Vec<Trait>,
    /// Mnemonic and operands.
    pub text: String,
}

/// A decoded function.
#[derive(Clone, Debug)]
pub struct Code {
    /// Its name.
    pub name: String,
    /// In order of address.
    pub instructions: Vec<Instruction>,
    /// Numbers of the places that branches within the function lead to.
    pub labels: Labels,
}

/// The places that branches within a function lead to, numbered in order of address.
pub type Labels = BTreeMap<u64, usize>;

impl Code {
    /// Decodes a function.
    pub fn decode(image: &Image, function: &Function) -> Result<Code, String> {
        let bytes = image.bytes(function)?;
        let instructions = match image.architecture {
            Architecture::X86_64 => x86_64::decode(image, function, bytes),
            Architecture::Aarch64 => aarch64::decode(image, function, bytes),
        };
        let (instructions, labels) =
            instructions.map_err(|why| format!("{}: {why}", function.name))?;
        Ok(Code { name: function.name.clone(), instructions, labels })
    }

    /// The index of the instruction at an address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<usize> {
        self.instructions.binary_search_by_key(&address, |instruction| instruction.address).ok()
    }
}

/// Numbers those targets that lie within the function.
#[must_use]
pub fn number(function: &Function, targets: impl Iterator<Item = u64>) -> Labels {
    let mut labels = Labels::new();
    for target in targets.filter(|target| function.contains(*target)) {
        labels.insert(target, 0);
    }
    for (number, label) in labels.values_mut().enumerate() {
        *label = number + 1;
    }
    labels
}

/// What a branch or call target is called: a label of this function or another function's name.
#[must_use]
pub fn target_name(image: &Image, labels: &Labels, target: u64) -> String {
    match labels.get(&target) {
        Some(label) => format!(".{label}"),
        None => image.name_of_code(target),
    }
}
