//! The server as a child process, and what the system knows of it from outside. `serve_parent` is
//! the child's side: it opens a free port, says which on its standard output, and ends with its
//! standard input, so that it never outlives the parent. `Child` is the parent's side: starting,
//! memory and processor time from /proc, stopping.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::Notify;

use super::server::Server;

/// The child's side.
pub async fn serve_parent(allocator: &'static str) -> Result<()> {
    let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), allocator).await?;
    println!("{}", server.address()?);
    std::io::stdout().flush()?;
    let gone = Arc::new(Notify::new());
    let bell = gone.clone();
    std::thread::spawn(move || {
        // Ends when the parent closes its side, and also when there is no parent any more.
        let _end = std::io::stdin().read_to_end(&mut Vec::new());
        bell.notify_one();
    });
    server.run(gone.notified()).await?;
    Ok(())
}

/// The parent's side.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    /// Where the child's server listens.
    pub address: SocketAddr,
}

/// Bytes that are resident.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Now.
    pub current: u64,
    /// At most, so far.
    pub peak: u64,
}

impl Child {
    /// Starts a program in its role as a server.
    pub fn start(program: &Path) -> Result<Self> {
        let mut process = Command::new(program)
            .args(["--role", "server"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped above")).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| {
            let _ = process.kill();
            format!("{} did not say where it listens", program.display())
        })?;
        Ok(Self { process, address })
    }

    /// Its resident memory.
    pub fn resident(&self) -> Result<Resident> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kilobytes =
                line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            kilobytes
                .map(|kilobytes| kilobytes << 10)
                .with_context(|| format!("no {name} in /proc/PID/status"))
        };
        Ok(Resident { current: field("VmRSS")?, peak: field("VmHWM")? })
    }

    /// Processor time that it has used so far, its own and the kernel's for it.
    pub fn processor_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<_> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let used = ticks(11)
            .zip(ticks(12))
            .map(|(user, kernel)| user + kernel)
            .context("cannot read /proc/PID/stat")?;
        // SAFETY: sysconf only looks a number up.
        let second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Ok(Duration::from_secs_f64(used as f64 / second.max(1) as f64))
    }

    /// Lets it end in its own way; a bad end is an error.
    pub fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// How it ended, if it has ended by itself; a short time is allowed for it.
    pub fn ended(&mut self) -> Option<process::ExitStatus> {
        for _ in 0..20 {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Already waited for after `stop`; then both only say so.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
