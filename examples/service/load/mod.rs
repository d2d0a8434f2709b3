//! The load: a fixed number of requests from a fixed seed, the same for every server that it is
//! sent to. A `Load` takes one server through the phases - fill, churn at full speed, paced
//! requests for the latencies, drain - and a phase succeeds only if every single answer in it was
//! right. The load runs in the parent, the server in a child: what the clients allocate is never
//! part of what is measured.

mod batch;
mod board;
mod connection;
mod keyspace;
mod requests;
mod values;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use hdrhistogram::Histogram;

use batch::Batch;
pub use connection::Connection;
use connection::ROOM;
use keyspace::Keyspace;
pub use keyspace::Scale;
use values::Pad;

/// How large a load is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Connections, each with a thread of its own.
    pub connections: u32,
    /// Keys.
    pub scale: Scale,
    /// Requests at full speed.
    pub churn: u64,
    /// Requests at a fixed rate.
    pub paced: u64,
    /// How long the drained server is watched.
    pub settle: Duration,
}

impl Plan {
    /// Requests of one run, as the progress bar counts them.
    pub fn requests(&self) -> u64 {
        let Scale { strings, lists, boards, hashes, shared, .. } = self.scale;
        u64::from(self.connections * (strings + lists + boards + hashes + shared))
            + self.churn
            + self.paced
    }
}

/// The keys that had to be in the server when it was fullest.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    /// How many, at least.
    pub keys: usize,
    /// The bytes of their values.
    pub bytes: usize,
}

/// One connection with its model and its buffers.
struct Client {
    connection: Connection,
    keyspace: Keyspace,
    batch: Batch,
    latencies: Histogram<u64>,
    /// Pauses and batch sizes of the paced phase, apart from the choice of requests.
    pace: Rng,
}

/// A load against one server.
pub struct Load<'a> {
    plan: Plan,
    clients: Vec<Client>,
    control: Connection,
    progress: &'a AtomicU64,
}

impl<'a> Load<'a> {
    /// Connects. `progress` counts the requests that have been answered.
    pub fn connect(plan: Plan, address: SocketAddr, progress: &'a AtomicU64) -> Result<Self> {
        let pad = Arc::new(Pad::new(plan.seed));
        let clients = (0..plan.connections).map(|owner| {
            Ok(Client {
                connection: Connection::open(address)?,
                keyspace: Keyspace::new(owner, plan.seed, pad.clone(), plan.scale),
                batch: Batch::default(),
                latencies: new_histogram(),
                pace: Rng::with_seed(plan.seed.rotate_left(17) ^ u64::from(owner)),
            })
        });
        let clients = clients.collect::<Result<_>>()?;
        Ok(Self { plan, clients, control: Connection::open(address)?, progress })
    }

    /// One request outside the load.
    pub fn ask(&mut self, request: &str) -> Result<String> {
        self.control.ask(request)
    }

    /// The first values.
    pub fn fill(&mut self) -> Result<()> {
        let connections = self.plan.connections;
        self.phase("fill", |client, progress| client.fill(connections, progress))
    }

    /// Requests at full speed, each connection in batches; how long they took.
    pub fn churn(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let share = self.plan.churn / u64::from(self.plan.connections);
        self.phase("churn", |client, progress| client.churn(share, progress))?;
        Ok(begun.elapsed())
    }

    /// Requests that are due at random instants, `rate` a second over all connections; their
    /// latencies.
    pub fn paced(&mut self, rate: f64) -> Result<Histogram<u64>> {
        let connections = f64::from(self.plan.connections);
        let share = self.plan.paced / u64::from(self.plan.connections);
        self.phase("paced", |client, progress| client.paced(share, rate / connections, progress))?;
        let mut all = new_histogram();
        for client in &self.clients {
            all.add(&client.latencies).expect("all histograms have one shape");
        }
        Ok(all)
    }

    /// What must be in the server now.
    pub fn live(&self) -> Live {
        let (keys, bytes) = self
            .clients
            .iter()
            .map(|client| client.keyspace.live())
            .fold((0, 0), |(keys, bytes), live| (keys + live.0, bytes + live.1));
        Live { keys: keys + self.plan.scale.shared as usize, bytes }
    }

    /// Deletes most of it, waits, and holds the whole against the models once more.
    pub fn drain(&mut self) -> Result<()> {
        self.phase("drain", |client, _| client.drain())?;
        // A server that has become quiet, but not silent.
        let end = Instant::now() + self.plan.settle;
        while Instant::now() < end {
            ensure!(self.ask("SET quiet 1")? == "OK", "SET failed");
            ensure!(self.ask("DEL quiet")? == "1", "DEL failed");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut used = 0;
        for key in 0..self.plan.scale.counters as usize {
            let added: i64 =
                self.clients.iter().filter_map(|client| client.keyspace.counted().nth(key)).sum();
            let value = self.ask(&format!("GET counter:0:{key}"))?;
            used += usize::from(added > 0);
            let wanted = if added > 0 { added.to_string() } else { String::new() };
            ensure!(value == wanted, "counter {key} is {value} after {added} increments");
        }
        let (keys, wanted) = (self.ask("DBSIZE")?, self.live().keys + used);
        ensure!(keys == wanted.to_string(), "the server holds {keys} keys, it must be {wanted}");
        Ok(())
    }

    /// Runs one phase on all connections at once.
    fn phase(
        &mut self,
        name: &str,
        work: impl Fn(&mut Client, &AtomicU64) -> Result<()> + Sync,
    ) -> Result<()> {
        let (work, progress) = (&work, self.progress);
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .clients
                .iter_mut()
                .map(|client| scope.spawn(move || work(client, progress)))
                .collect();
            // All are joined before the first error counts.
            let outcomes: Vec<_> = threads
                .into_iter()
                .map(|thread| thread.join().expect("a client does not panic"))
                .collect();
            outcomes.into_iter().collect::<Result<()>>()
        })
        .with_context(|| format!("the load failed in its phase \"{name}\""))
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order")
}

impl Client {
    fn fill(&mut self, connections: u32, progress: &AtomicU64) -> Result<()> {
        let mut step = 0;
        let steps = self.keyspace.fill_steps();
        while step < steps {
            self.batch.clear();
            let first = step;
            while step < steps && step - first < 32 {
                self.keyspace.fill(step, connections, &mut self.batch);
                step += 1;
            }
            self.send()?;
            progress.fetch_add(u64::from(step - first), Ordering::Relaxed);
        }
        Ok(())
    }

    fn churn(&mut self, requests: u64, progress: &AtomicU64) -> Result<()> {
        let mut left = requests;
        while left > 0 {
            let size = self.pace.u64(8..=40).min(left);
            left -= self.prepare(size);
            self.send()?;
            progress.fetch_add(self.batch.steps.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Batches that are due at random instants whatever the server does, as many clients together
    /// would send them. A latency counts from the instant at which the batch was due; but when the
    /// connection stood idle then, from the sending, so that the client's own timer is not charged
    /// to the server.
    fn paced(&mut self, requests: u64, rate: f64, progress: &AtomicU64) -> Result<()> {
        const LARGEST: u64 = 8;
        let pause = (1 + LARGEST) as f64 / 2.0 / rate;
        let mut due = Instant::now();
        let mut left = requests;
        while left > 0 {
            due += Duration::from_secs_f64(-self.pace.f64().max(1e-9).ln() * pause);
            let size = self.pace.u64(1..=LARGEST).min(left);
            left -= self.prepare(size);
            let wait = due.saturating_duration_since(Instant::now());
            let idle = !wait.is_zero();
            if idle {
                std::thread::sleep(wait);
            }
            let from = if idle { Instant::now() } else { due };
            let Self { connection, keyspace, batch, latencies, .. } = self;
            exchange(connection, keyspace, batch, |done| {
                latencies.saturating_record((done - from).as_nanos() as u64);
            })?;
            progress.fetch_add(self.batch.steps.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        let mut position = Some(0);
        while position.is_some() {
            self.batch.clear();
            while let Some(at) = position
                && self.batch.steps.len() < 16
            {
                position = self.keyspace.drain(at, &mut self.batch);
            }
            self.send()?;
        }
        Ok(())
    }

    /// A batch of at most so many requests; how many it has become.
    fn prepare(&mut self, size: u64) -> u64 {
        self.batch.clear();
        while (self.batch.steps.len() as u64) < size && self.batch.expected.len() < ROOM {
            self.keyspace.step(&mut self.batch);
        }
        self.batch.steps.len() as u64
    }

    fn send(&mut self) -> Result<()> {
        exchange(&mut self.connection, &mut self.keyspace, &self.batch, |_| ())
    }
}

/// Sends a batch and lets the model judge the answers; `done` hears when each was complete.
fn exchange(
    connection: &mut Connection,
    keyspace: &mut Keyspace,
    batch: &Batch,
    done: impl FnMut(Instant),
) -> Result<()> {
    let sent = Instant::now();
    connection.exchange(
        batch,
        |expect, answer, received| keyspace.check(expect, answer, sent, received),
        done,
    )
}
