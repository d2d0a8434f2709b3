//! Decodes 64-bit Arm by the crate `disarm64`.
//! What an instruction does is read off its mnemonic; addresses that take two instructions to make are followed and named.
//! Text otherwise as the crate writes it, but for the most customary aliases.

use crate::code::{Flow, Instruction, Labels, Trait, number, target_name};
use crate::image::{Function, Image};
use disarm64::{InsnDisplay, decoder};
use std::collections::BTreeMap;

/// One word of code.
struct Raw {
    address: u64,
    word: u32,
    /// As the crate writes it.
    text: String,
}

impl Raw {
    fn mnemonic(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }

    /// The target of a branch or call: its last operand.
    fn target(&self) -> Option<u64> {
        let last = self.text.rsplit([' ', ',', '\t']).next()?.trim_start_matches('#');
        u64::from_str_radix(last.strip_prefix("0x")?, 16).ok()
    }

    fn is_branch(&self) -> bool {
        let name = self.mnemonic();
        name.starts_with("b.")
            || name.starts_with("bc.")
            || matches!(name, "cbz" | "cbnz" | "tbz" | "tbnz")
    }

    fn is_call(&self) -> bool {
        matches!(self.mnemonic(), "bl" | "blr")
    }
}

/// Decodes a function.
pub fn decode(
    image: &Image,
    function: &Function,
    bytes: &[u8],
) -> Result<(Vec<Instruction>, Labels), String> {
    let mut raw = Vec::new();
    for (place, word) in bytes.chunks_exact(4).enumerate() {
        let address = function.address + 4 * place as u64;
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let text = match decoder::decode(word) {
            Some(decoded) => decoded.display_at(address).to_string(),
            None => return Err(format!("no instruction at offset {}", 4 * place)),
        };
        raw.push(Raw { address, word, text });
    }
    let jumps = raw.iter().filter(|raw| raw.is_branch() || raw.mnemonic() == "b");
    let labels = number(function, jumps.filter_map(Raw::target));
    let mut pages = BTreeMap::new();
    let instructions = raw.iter().map(|raw| {
        if labels.contains_key(&raw.address) {
            pages.clear();
        }
        let (loads, stores) = memory(raw);
        Instruction {
            address: raw.address,
            bytes: 4,
            flow: flow(raw),
            loads,
            stores,
            traits: traits(raw),
            text: text(image, &labels, &mut pages, raw),
        }
    });
    Ok((instructions.collect(), labels))
}

fn flow(raw: &Raw) -> Flow {
    match (raw.mnemonic(), raw.target()) {
        ("ret", _) => Flow::Return,
        ("br", _) => Flow::IndirectJump,
        ("brk" | "udf" | "hlt", _) => Flow::Trap,
        ("b", Some(target)) => Flow::Jump(target),
        (_, Some(target)) if raw.is_branch() => Flow::Branch(target),
        _ => Flow::Next,
    }
}

/// Atomic instructions that read and write at once.
fn is_atomic(name: &str) -> bool {
    let plain =
        ["ldadd", "ldclr", "ldset", "ldeor", "ldsmax", "ldsmin", "ldumax", "ldumin", "swp", "cas"];
    plain.iter().any(|start| name.starts_with(start))
}

fn is_exclusive(name: &str) -> bool {
    ["ldxr", "ldaxr", "stxr", "stlxr", "ldxp", "ldaxp", "stxp", "stlxp"]
        .iter()
        .any(|start| name.starts_with(start))
}

fn memory(raw: &Raw) -> (bool, bool) {
    let name = raw.mnemonic();
    let loads = name.starts_with("ld") || is_atomic(name);
    let stores = (name.starts_with("st") && name != "stop") || is_atomic(name);
    (loads, stores)
}

fn traits(raw: &Raw) -> Vec<Trait> {
    let name = raw.mnemonic();
    let lock = is_atomic(name) || is_exclusive(name) || matches!(name, "dmb" | "dsb" | "isb");
    let push = memory(raw).1 && raw.text.contains("[sp, #-") && raw.text.ends_with('!');
    let all = [
        (Trait::Call, raw.is_call()),
        (Trait::Push, push),
        (Trait::Lock, lock),
        (Trait::Div, matches!(name, "udiv" | "sdiv")),
        (Trait::IndirectJump, name == "br"),
    ];
    all.into_iter().filter_map(|(which, has)| has.then_some(which)).collect()
}

/// The customary name of an instruction that the crate writes by its encoding.
fn alias<'a>(mnemonic: &'a str, operands: &'a str) -> (&'a str, String) {
    let (first, rest) = operands.split_once(", ").unwrap_or((operands, ""));
    let zero = |register: &str| register == "xzr" || register == "wzr";
    match (mnemonic, rest.split_once(", ")) {
        ("ret", _) if operands == "x30" => ("ret", String::new()),
        ("subs", _) if zero(first) => ("cmp", rest.into()),
        ("ands", _) if zero(first) => ("tst", rest.into()),
        ("orr", Some((second, third))) if zero(second) && !third.contains(',') => {
            ("mov", format!("{first}, {third}"))
        }
        ("orn", Some((second, third))) if zero(second) && !third.contains(',') => {
            ("mvn", format!("{first}, {third}"))
        }
        ("movz", Some((value, "lsl #0x0"))) => ("mov", format!("{first}, {value}")),
        ("movk", Some((value, "lsl #0x0"))) => ("movk", format!("{first}, {value}")),
        _ => (mnemonic, operands.into()),
    }
}

/// The instruction's text with names for addresses. `pages`: what `adrp` left in which register.
fn text(image: &Image, labels: &Labels, pages: &mut BTreeMap<u32, u64>, raw: &Raw) -> String {
    let (mnemonic, operands) = raw.text.split_once(char::is_whitespace).unwrap_or((&raw.text, ""));
    let operands = operands.trim();
    let line = |operands: &str| {
        let (mnemonic, operands) = alias(mnemonic, operands);
        format!("{mnemonic:<8}{operands}").trim_end().to_string()
    };
    if raw.is_branch() || matches!(mnemonic, "b" | "bl") {
        let Some(target) = raw.target() else { return line(operands) };
        let before = operands.rsplit_once(' ').map_or("", |(before, _)| before);
        let space = if before.is_empty() { "" } else { " " };
        return line(&format!("{before}{space}{}", target_name(image, labels, target)));
    }
    let (first, second) = (raw.word & 31, (raw.word >> 5) & 31);
    if let "adrp" | "adr" = mnemonic {
        let Some(target) = raw.target() else { return line(operands) };
        let before = operands.split_once(',').map_or("", |(before, _)| before);
        if mnemonic == "adr" {
            return line(&format!("{before}, {}", image.name_of(target)));
        }
        pages.insert(first, target);
        // Which symbol of the page is meant, the next instruction says.
        return line(&format!("{before}, page"));
    }
    let Some(page) = pages.get(&second).copied() else { return line(operands) };
    let low = u64::from((raw.word >> 10) & 0xfff);
    // add (immediate), and loads and stores with a scaled offset
    let offset = if raw.word & 0xffc0_0000 == 0x9100_0000 {
        low
    } else if raw.word & 0x3b00_0000 == 0x3900_0000 {
        // Vector registers of 16 bytes have a bit of their own.
        let scale = if raw.word & 0x0480_0000 == 0x0480_0000 && raw.word >> 30 == 0 {
            4
        } else {
            raw.word >> 30
        };
        low << scale
    } else {
        return line(operands);
    };
    if raw.word & 0xffc0_0000 == 0x9100_0000 || memory(raw).0 {
        pages.remove(&first);
    }
    let before =
        operands.rsplit_once(", #").map_or(operands.trim_end_matches(']'), |(before, _)| before);
    let close = if operands.ends_with(']') { "]" } else { "" };
    line(&format!("{before}, {}{close}", image.name_of(page + offset)))
}
