//! The live-set model on several threads at once, with remote frees.
//! Each thread has a model of its own and hands blocks to the others through bins; the receiver checks the pattern and frees the block or keeps it.
//! Threads end and new ones take over what they held, and between such rounds all live blocks together are checked for overlap.

use super::api::Api;
use super::block::Block;
use super::model::{Intervals, Model, Plan};
use std::sync::Mutex;

/// How many threads, and how often they are replaced.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// Threads at once.
    pub threads: usize,
    /// Generations of threads.
    pub rounds: u64,
}

/// Runs `plan.operations` in all over the threads and rounds.
pub fn run(api: &dyn Api, seed: u64, plan: Plan, crowd: Crowd) -> Result<(), String> {
    let share = plan.operations / crowd.rounds / crowd.threads as u64;
    let plan = Plan {
        most_bytes: plan.most_bytes / crowd.threads,
        most_live: plan.most_live / crowd.threads,
        ..plan
    };
    let bins: Vec<Mutex<Vec<Block>>> = (0..crowd.threads).map(|_| Mutex::default()).collect();
    let mut held: Vec<Vec<Block>> = vec![Vec::new(); crowd.threads];
    for round in 0..crowd.rounds {
        let results: Vec<Result<Vec<Block>, String>> = std::thread::scope(|scope| {
            let bins = &bins;
            let handles: Vec<_> = std::mem::take(&mut held)
                .into_iter()
                .enumerate()
                .map(|(me, blocks)| {
                    let seed = seed.wrapping_add(1 + round * crowd.threads as u64 + me as u64);
                    scope
                        .spawn(move || member(Model::new(api, seed, plan), blocks, share, me, bins))
                })
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|_| Err("a thread panicked".into())))
                .collect()
        });
        held = results
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|why| format!("{}, seed {seed}, round {round}: {why}", api.name()))?;
        held.rotate_left(1);
        let mut together = Intervals::default();
        for block in held
            .iter()
            .flatten()
            .copied()
            .chain(bins.iter().flat_map(|bin| bin.lock().unwrap().clone()))
        {
            together.add(&block)?;
            // SAFETY: the block is live, and no thread runs.
            unsafe { block.check(block.extent)? };
        }
    }
    let mut last = Model::new(api, seed, plan);
    for block in
        held.into_iter().flatten().chain(bins.into_iter().flat_map(|bin| bin.into_inner().unwrap()))
    {
        last.release(block)?;
    }
    Ok(())
}

fn member(
    mut model: Model,
    blocks: Vec<Block>,
    operations: u64,
    me: usize,
    bins: &[Mutex<Vec<Block>>],
) -> Result<Vec<Block>, String> {
    for block in blocks {
        model.adopt(block)?;
    }
    for _ in 0..operations {
        match model.rng.u32(0..100) {
            0..15 if !model.live.is_empty() => {
                let block = model.hand_out();
                let bin = &bins[model.rng.usize(0..bins.len())];
                bin.lock().unwrap().push(block);
            }
            15..17 => {
                let received = std::mem::take(&mut *bins[me].lock().unwrap());
                for block in received {
                    match model.rng.u32(0..4) {
                        0 => model.adopt(block)?,
                        _ => model.release(block)?,
                    }
                }
            }
            _ => model.step()?,
        }
    }
    Ok(std::mem::take(&mut model.live))
}
