//! Packs a trace that `BITMAG_TRACE` wrote into the form that the lab keeps: `bitmag-lab-trace RECORDED PACKED`.
//! `traces/record.sh` records and packs those that come with the lab.

#[allow(missing_docs, reason = "shared with the peers")]
mod packed;
#[allow(missing_docs, reason = "shared with the peers, and with bitmag's own tests")]
mod trace;

use anyhow::{Context, Error, ensure};
use std::collections::HashMap;
use trace::Kind;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recorded, packed] = &arguments[..] else {
        anyhow::bail!("bitmag-lab-trace RECORDED PACKED");
    };
    let file = std::fs::read(recorded).with_context(|| recorded.clone())?;
    let trace = trace::decode(&file).map_err(Error::msg)?;
    ensure!(trace.strange == 0, "{} blocks are freed that nobody allocated", trace.strange);
    let bytes = packed::pack(&trace);
    let back = packed::unpack_to_vec(&bytes).map_err(Error::msg)?;
    ensure!(back == trace.operations, "it does not come back as it was");
    std::fs::write(packed, &bytes).with_context(|| packed.clone())?;
    let mut kinds: HashMap<Kind, usize> = HashMap::new();
    for call in &trace.operations {
        *kinds.entry(call.kind).or_default() += 1;
    }
    let count = |kind| kinds.get(&kind).copied().unwrap_or(0);
    println!(
        "{packed}: {} calls ({} allocations, {} of them zeroed, {} reallocations, {} frees) of {} threads, at most {} blocks, {} bytes",
        trace.operations.len(),
        count(Kind::Allocate) + count(Kind::AllocateZeroed),
        count(Kind::AllocateZeroed),
        count(Kind::Reallocate),
        count(Kind::Free),
        trace.threads,
        trace.blocks,
        bytes.len(),
    );
    Ok(())
}
