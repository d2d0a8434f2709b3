//! Decodes x86-64 by the crate `iced-x86`.
//! Text is Intel's syntax, as in `asm/x86_64`; operands that are addresses become names.
//! Memory is counted by operand: an instruction that adds to a word loads and stores.

use crate::code::{Flow, Instruction, Labels, Trait, number, target_name};
use crate::image::{Function, Image};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, Instruction as Raw, InstructionInfoFactory,
    IntelFormatter, Mnemonic, NumberBase, OpAccess, OpKind, Register, SymbolResolver, SymbolResult,
};
use std::collections::BTreeMap;

/// Decodes a function.
pub fn decode(
    image: &Image,
    function: &Function,
    bytes: &[u8],
) -> Result<(Vec<Instruction>, Labels), String> {
    let raw: Vec<Raw> =
        Decoder::with_ip(64, bytes, function.address, DecoderOptions::NONE).into_iter().collect();
    if let Some(bad) = raw.iter().find(|raw| raw.is_invalid()) {
        return Err(format!("no instruction at offset {}", bad.ip() - function.address));
    }
    let labels = number(function, raw.iter().filter_map(near_branch));
    let names = Names(raw.iter().filter_map(|raw| name(image, &labels, raw)).collect());
    let mut formatter = IntelFormatter::with_options(Some(Box::new(names)), None);
    let options = formatter.options_mut();
    options.set_first_operand_char_index(8);
    options.set_space_after_operand_separator(true);
    options.set_space_between_memory_add_operators(true);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_number_base(NumberBase::Decimal);
    options.set_signed_immediate_operands(true);
    options.set_add_leading_zero_to_hex_numbers(false);
    options.set_show_branch_size(false);
    let mut uses = InstructionInfoFactory::new();
    let instructions = raw.iter().map(|raw| {
        let mut text = String::new();
        formatter.format(raw, &mut text);
        let (loads, stores) = memory(&mut uses, raw);
        Instruction {
            address: raw.ip(),
            bytes: raw.len() as u64,
            flow: flow(raw),
            loads,
            stores,
            traits: traits(raw, &text),
            text,
        }
    });
    Ok((instructions.collect(), labels))
}

/// The operand of each instruction that is an address, and what it is called.
struct Names(BTreeMap<u64, (u64, String)>);

impl SymbolResolver for Names {
    fn symbol(
        &mut self,
        raw: &Raw,
        _: u32,
        _: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        let (known, name) = self.0.get(&raw.ip())?;
        (*known == address).then(|| SymbolResult::with_str(address, name))
    }
}

/// The address that an instruction mentions, and its name, by the instruction's own address.
fn name(image: &Image, labels: &Labels, raw: &Raw) -> Option<(u64, (u64, String))> {
    let named = |address: u64, name: String| Some((raw.ip(), (address, name)));
    if raw.op_count() > 0 && raw.op0_kind() == OpKind::NearBranch64 {
        let target = raw.near_branch_target();
        return named(target, target_name(image, labels, target));
    }
    if raw.is_ip_rel_memory_operand() {
        let address = raw.ip_rel_memory_address();
        return named(address, format!("rip + {}", image.name_of(address)));
    }
    // The linker has turned an offset's load from the global offset table into the offset itself.
    let offset = if raw.segment_prefix() == Register::FS || raw.memory_segment() == Register::FS {
        raw.memory_displacement64()
    } else if raw.mnemonic() == Mnemonic::Mov && raw.op1_kind() == OpKind::Immediate32to64 {
        raw.immediate(1)
    } else {
        return None;
    };
    named(offset, image.thread_local(offset.cast_signed())?)
}

fn near_branch(raw: &Raw) -> Option<u64> {
    match raw.flow_control() {
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
            Some(raw.near_branch_target())
        }
        _ => None,
    }
}

fn flow(raw: &Raw) -> Flow {
    match raw.flow_control() {
        FlowControl::ConditionalBranch => Flow::Branch(raw.near_branch_target()),
        FlowControl::UnconditionalBranch => Flow::Jump(raw.near_branch_target()),
        FlowControl::IndirectBranch => Flow::IndirectJump,
        FlowControl::Return => Flow::Return,
        FlowControl::Exception | FlowControl::Interrupt => Flow::Trap,
        _ => Flow::Next,
    }
}

/// Whether an instruction loads and whether it stores, return addresses apart.
fn memory(uses: &mut InstructionInfoFactory, raw: &Raw) -> (bool, bool) {
    use OpAccess::{CondRead, CondWrite, Read, ReadCondWrite, ReadWrite, Write};
    if matches!(raw.flow_control(), FlowControl::Call | FlowControl::Return) {
        return (false, false);
    }
    let info = uses.info(raw);
    let any =
        |wanted: &[OpAccess]| info.used_memory().iter().any(|used| wanted.contains(&used.access()));
    (
        any(&[Read, CondRead, ReadWrite, ReadCondWrite]),
        any(&[Write, CondWrite, ReadWrite, ReadCondWrite]),
    )
}

fn traits(raw: &Raw, text: &str) -> Vec<Trait> {
    let call = matches!(raw.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
    let locked = raw.has_lock_prefix()
        || (raw.mnemonic() == Mnemonic::Xchg
            && raw.op_count() == 2
            && raw.op0_kind() == OpKind::Memory)
        || matches!(raw.mnemonic(), Mnemonic::Mfence | Mnemonic::Lfence | Mnemonic::Sfence);
    let all = [
        (Trait::Call, call),
        (Trait::TlsGetAddr, call && text.contains("__tls_get_addr")),
        (Trait::Push, raw.mnemonic() == Mnemonic::Push),
        (Trait::Lock, locked),
        (Trait::Div, matches!(raw.mnemonic(), Mnemonic::Div | Mnemonic::Idiv)),
        (Trait::IndirectJump, raw.flow_control() == FlowControl::IndirectBranch),
    ];
    all.into_iter().filter_map(|(which, has)| has.then_some(which)).collect()
}
