//! The program behind both examples: command line and roles. Without arguments it compares the two
//! allocators (`comparison`, `load`, `report`); with `--serve` it is the service and nothing else
//! (`server`); in the role of a server it is the child that a comparison measures (`child`). The
//! examples differ in their `#[global_allocator]` line alone and hand its name over.

mod child;
mod comparison;
mod load;
mod progress;
mod report;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use comparison::{Settings, compare};
use server::Server;

/// An in-memory key-value service that speaks the Redis protocol, on bitmag and on the system
/// allocator.
#[derive(Debug, Parser)]
#[command(name = "service", version)]
struct Options {
    /// Only serve, at an address such as 127.0.0.1:6379, until interrupted; there is no password,
    /// so keep it local.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["quick", "rounds", "rate"])]
    serve: Option<SocketAddr>,

    /// A small load and one round, to see that everything works.
    #[arg(long)]
    quick: bool,

    /// Runs of each allocator.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Paced requests a second while latencies are taken, instead of a share of what the trial run
    /// reaches.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Where the load's randomness comes from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// What a comparison starts its children with.
    #[arg(long, hide = true)]
    role: Option<Role>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Server,
}

/// The whole program.
pub fn main(allocator: &'static str) -> ExitCode {
    match run(&Options::parse(), allocator) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, allocator: &'static str) -> Result<()> {
    if let Some(Role::Server) = options.role {
        return runtime()?.block_on(child::serve_parent(allocator));
    }
    if let Some(address) = options.serve {
        return runtime()?.block_on(serve(address, allocator));
    }
    let mut settings =
        if options.quick { Settings::quick(options.seed) } else { Settings::full(options.seed) };
    settings.rounds = options.rounds.unwrap_or(settings.rounds);
    settings.rate = options.rate.map(f64::from).or(settings.rate);
    report::print(&compare(settings)?);
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

async fn serve(address: SocketAddr, allocator: &'static str) -> Result<()> {
    let server = Server::bind(address, allocator)
        .await
        .with_context(|| format!("cannot listen at {address}"))?;
    let address = server.address()?;
    eprintln!(
        "serving at {address} on the {allocator} allocator; try: redis-cli -p {}",
        address.port()
    );
    server
        .run(async {
            // Without a way to be interrupted the service just runs on.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending().await
            }
        })
        .await?;
    Ok(())
}
