//! The command line: what is run, on which allocators, how often, and where the figures go.

use crate::peers;
use crate::timed::{self, Plan};
use crate::{instructions, programs, reports};
use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Measures bitmag and its peers side by side, and proves which allocator served each run.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// Eight workloads at a fifth of their length on the main peers: under four minutes once everything is built
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every workload on every peer, system calls and instructions included
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    choice: Choice,
    #[command(subcommand)]
    measure: Option<Measure>,
}

#[derive(clap::Args)]
struct Choice {
    /// Only these workloads, by name; `list` is every name
    #[arg(long, value_delimiter = ',', global = true)]
    only: Vec<String>,
    /// Only these allocators, by name
    #[arg(long, value_delimiter = ',', global = true)]
    peers: Vec<String>,
    /// How often each workload runs on each allocator
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// How much of its length each workload runs, in percent
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    percent: Option<u32>,
    /// Where the samples go (default: target/lab/COMMAND.json); the reports go into the same folder
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    /// Prints how the figures stand to those of an older run
    #[arg(long, value_name = "OLD.json", global = true)]
    compare: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Measure {
    /// Counts the instructions of single operations under callgrind
    Instructions {
        /// Where the figures go (default: target/lab/instructions.json)
        file: Option<PathBuf>,
        /// Only these allocators
        names: Vec<String>,
    },
    /// Percentiles of malloc and of free in a load like a service's
    Latency,
    /// What stays resident
    Memory,
    /// Loads of more than one thread
    Threads,
    /// Large blocks, and buffers that grow
    Large,
    /// Whole programs under LD_PRELOAD with every allocator that there is a library of
    Programs,
    /// Names every workload and says what it does
    List,
    /// Writes report.md and report.html beside a run's file again
    Report { file: PathBuf },
    /// Holds a run against an older one
    Compare {
        old: PathBuf,
        new: PathBuf,
        /// Ends with an error where bitmag takes so many percent more time than it did
        #[arg(long, value_name = "PERCENT")]
        fail_above: Option<f64>,
    },
    /// Writes the README's figures anew from a run's file
    Readme { file: PathBuf },
}

impl Arguments {
    /// Does what was asked for.
    pub fn run(self, root: &Path, target: &Path) -> Result<()> {
        let mut plan = match self.measure {
            Some(Measure::Instructions { file, names }) => {
                let default = || target.join("lab/instructions.json");
                let file = file.or(self.choice.json).unwrap_or_else(default);
                let names = if names.is_empty() { self.choice.peers } else { names };
                return instructions::run(root, target, &file, &names);
            }
            Some(Measure::Programs) => {
                let file = self.choice.json.unwrap_or_else(|| target.join("lab/programs.json"));
                return programs::run(root, target, &file, self.choice.rounds);
            }
            Some(Measure::List) => return timed::list(root, target),
            Some(Measure::Report { file }) => {
                let run = reports::read(&file)?;
                return reports::write_all(&run, folder_of(&file));
            }
            Some(Measure::Compare { old, new, fail_above }) => {
                return reports::compare_files(&old, &new, fail_above);
            }
            Some(Measure::Readme { file }) => return reports::rewrite_readme(root, &file),
            Some(Measure::Latency) => Plan::of_group("latency"),
            Some(Measure::Memory) => Plan::of_group("memory"),
            Some(Measure::Threads) => Plan::of_group("threads"),
            Some(Measure::Large) => Plan::of_group("large"),
            None if self.full => Plan::full(),
            None if self.quick => Plan::quick(),
            None if !self.choice.only.is_empty() => Plan::chosen(),
            None => bail!("--quick, --full, --only NAME,... or a measure? --help says more"),
        };
        let choice = self.choice;
        for name in &choice.peers {
            ensure!(peers::named(name).is_some(), "no peer is called {name:?}");
        }
        if !choice.peers.is_empty() {
            plan.peers = choice.peers;
        }
        plan.only = choice.only;
        plan.rounds = choice.rounds.unwrap_or(plan.rounds);
        plan.percent = choice.percent.unwrap_or(plan.percent);
        let file = choice.json.unwrap_or_else(|| target.join(format!("lab/{}.json", plan.command)));
        let run = timed::run(root, target, &plan, &file)?;
        reports::write_all(&run, folder_of(&file))?;
        println!("written to {}", file.display());
        if let Some(old) = &choice.compare {
            reports::compare_files(old, &file, None)?;
        }
        let missing = timed::failures(&run);
        ensure!(missing == 0, "{missing} cells have no figure");
        Ok(())
    }
}

/// The folder that a file lies in.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
