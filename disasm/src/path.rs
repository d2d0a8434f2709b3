//! The way through a function that is counted: a hit, a loop, or all of it.
//! A hit goes from the entry to the first return; conditional branches fall through but for those that are named, so the
//! cold tail behind the return is left out. A loop is what the function's first backward branch closes.

use crate::code::{Code, Flow, Instruction, Trait};
use serde::Deserialize;

/// Which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Entry to first return.
    #[default]
    Hit,
    /// Once round the first loop.
    Loop,
    /// Every instruction of the function.
    Whole,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions.
    pub instructions: u64,
    /// Conditional branches.
    pub branches: u64,
    /// Instructions that read memory.
    pub loads: u64,
    /// Instructions that write memory.
    pub stores: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What there was that may be forbidden, with its text.
    pub traits: Vec<(Trait, String)>,
}

/// The instructions on the way, as indices. `taken`: which conditional branches of the way are taken, counted from 1.
pub fn walk(code: &Code, kind: Kind, taken: &[u64]) -> Result<Vec<usize>, String> {
    match kind {
        Kind::Whole => Ok((0..code.instructions.len()).collect()),
        Kind::Hit => follow(code, 0, None, taken),
        Kind::Loop => {
            let close = |(at, instruction): (usize, &Instruction)| match instruction.flow {
                Flow::Branch(to) if to <= instruction.address => Some((at, code.at(to)?)),
                _ => None,
            };
            let closed = code.instructions.iter().enumerate().find_map(close);
            let (last, head) = closed.ok_or("there is no loop")?;
            follow(code, head, Some(last), taken)
        }
    }
}

fn follow(
    code: &Code,
    start: usize,
    end: Option<usize>,
    taken: &[u64],
) -> Result<Vec<usize>, String> {
    let (mut way, mut at, mut branches) = (Vec::new(), start, 0);
    while let Some(instruction) = code.instructions.get(at) {
        if way.contains(&at) {
            return Err(format!("the way comes back to `{}`", instruction.text));
        }
        way.push(at);
        if end == Some(at) {
            return finish(way, branches, taken);
        }
        let next = match instruction.flow {
            Flow::Return if end.is_none() => return finish(way, branches, taken),
            Flow::Next => at + 1,
            Flow::Branch(target) => {
                branches += 1;
                if taken.contains(&branches) {
                    code.at(target)
                        .ok_or_else(|| format!("`{}` leaves the function", instruction.text))?
                } else {
                    at + 1
                }
            }
            Flow::Jump(target) => code.at(target).ok_or_else(|| {
                format!("`{}` leaves the function before any return", instruction.text)
            })?,
            Flow::IndirectJump | Flow::Return | Flow::Trap => {
                return Err(format!("the way ends at `{}`", instruction.text));
            }
        };
        at = next;
    }
    Err("the way runs out of the function".into())
}

fn finish(way: Vec<usize>, branches: u64, taken: &[u64]) -> Result<Vec<usize>, String> {
    match taken.iter().find(|number| **number > branches) {
        Some(number) => Err(format!("there is no branch {number} on the way")),
        None => Ok(way),
    }
}

/// Counts the instructions of a way.
#[must_use]
pub fn count(code: &Code, way: &[usize]) -> Counts {
    let mut counts = Counts::default();
    for instruction in way.iter().map(|at| &code.instructions[*at]) {
        counts.instructions += 1;
        counts.branches += u64::from(matches!(instruction.flow, Flow::Branch(_)));
        counts.loads += u64::from(instruction.loads);
        counts.stores += u64::from(instruction.stores);
        counts.bytes += instruction.bytes;
        counts
            .traits
            .extend(instruction.traits.iter().map(|which| (*which, instruction.text.clone())));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Labels;

    /// Instructions of one byte each, the address their place.
    fn code(flows: &[Flow]) -> Code {
        let instruction = |(place, flow): (usize, &Flow)| Instruction {
            address: place as u64,
            bytes: 1,
            flow: *flow,
            loads: false,
            stores: false,
            traits: Vec::new(),
            text: format!("{flow:?}"),
        };
        let instructions = flows.iter().enumerate().map(instruction).collect();
        Code { name: "probe".into(), instructions, labels: Labels::new() }
    }

    #[test]
    fn hit_leaves_the_tail_out() {
        let code = code(&[
            Flow::Next,
            Flow::Branch(4),
            Flow::Next,
            Flow::Return,
            Flow::Next,
            Flow::Return,
        ]);
        assert_eq!(walk(&code, Kind::Hit, &[]), Ok(vec![0, 1, 2, 3]));
        assert_eq!(walk(&code, Kind::Hit, &[1]), Ok(vec![0, 1, 4, 5]));
        assert_eq!(walk(&code, Kind::Whole, &[]).map(|way| way.len()), Ok(6));
    }

    #[test]
    fn loop_is_the_first_one() {
        let code = code(&[
            Flow::Next,
            Flow::Next,
            Flow::Branch(6),
            Flow::Branch(1),
            Flow::Return,
            Flow::Next,
            Flow::Branch(2),
        ]);
        assert_eq!(walk(&code, Kind::Loop, &[]), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn ways_that_are_no_hits_are_refused() {
        assert!(walk(&code(&[Flow::Next, Flow::Jump(9)]), Kind::Hit, &[]).is_err());
        assert!(walk(&code(&[Flow::Next, Flow::IndirectJump]), Kind::Hit, &[]).is_err());
        assert!(walk(&code(&[Flow::Next, Flow::Jump(0)]), Kind::Hit, &[]).is_err());
        assert!(walk(&code(&[Flow::Next, Flow::Next]), Kind::Hit, &[]).is_err());
        assert!(walk(&code(&[Flow::Next, Flow::Return]), Kind::Hit, &[1]).is_err());
        assert!(walk(&code(&[Flow::Next, Flow::Return]), Kind::Loop, &[]).is_err());
    }
}
