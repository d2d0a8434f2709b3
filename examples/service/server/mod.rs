//! The service: connections, and the state that they share. `Server::bind` opens the port,
//! `Server::run` serves until it is told to stop; both of the program's roles and the tests come in
//! here. Below lie the parser (`request`), the commands over the store, and the replies, in the
//! order a request takes.

pub mod allocator;
pub mod commands;
pub mod glob;
pub mod reply;
pub mod request;
pub mod sorted_set;
pub mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::MissedTickBehavior;

use commands::{Context, Flow, Table, execute};
use reply::Replies;
use request::{Limits, RequestParser};
use store::Store;

/// Connections that may be open at once; further ones wait to be accepted.
const CONNECTIONS: usize = 1024;

/// Replies are sent at the latest when they have become this long.
const SEND: usize = 64 << 10;

/// Room kept free for the next read.
const READ: usize = 16 << 10;

/// How often keys that nobody asks for are looked at for their end.
const SWEEP: Duration = Duration::from_millis(100);

/// What all connections share besides the keys.
pub struct State {
    /// The allocator that the program was built with, by its own account.
    pub allocator: &'static str,
    /// When the service began.
    pub started: Instant,
    /// Open connections.
    pub clients: AtomicUsize,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Rung by SHUTDOWN.
    pub shutdown: Notify,
    /// Commands by name.
    pub commands: Table,
}

impl State {
    /// A service that has just begun.
    pub fn new(allocator: &'static str) -> Self {
        Self {
            allocator,
            started: Instant::now(),
            clients: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            shutdown: Notify::new(),
            commands: Table::new(),
        }
    }
}

/// A service with an open port.
pub struct Server {
    listener: TcpListener,
    store: Arc<Store>,
    state: Arc<State>,
}

impl Server {
    /// Opens the port; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, allocator: &'static str) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            store: Arc::new(Store::new()),
            state: Arc::new(State::new(allocator)),
        })
    }

    /// Where it can be reached.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is over or a client says SHUTDOWN.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let sweeper = tokio::spawn(sweep(self.store.clone()));
        let state = self.state.clone();
        let accepting = tokio::spawn(self.accept());
        let mut stop = std::pin::pin!(stop);
        let mut told = std::pin::pin!(state.shutdown.notified());
        std::future::poll_fn(|context| {
            let stopped = stop.as_mut().poll(context).is_ready();
            if stopped || told.as_mut().poll(context).is_ready() {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
        accepting.abort();
        sweeper.abort();
        Ok(())
    }

    async fn accept(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let place =
                places.clone().acquire_owned().await.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (store, state) = (self.store.clone(), self.state.clone());
                    tokio::spawn(async move {
                        state.clients.fetch_add(1, Ordering::Relaxed);
                        // A connection that breaks concerns nobody but its client.
                        let _broken = serve(stream, &store, &state).await;
                        state.clients.fetch_sub(1, Ordering::Relaxed);
                        drop(place);
                    });
                }
                // Out of descriptors, most likely: others will close some.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// One connection from its first byte to its last.
async fn serve(mut stream: TcpStream, store: &Store, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut parser = RequestParser::new(Limits::DEFAULT);
    let mut input = BytesMut::with_capacity(READ);
    let mut replies = Replies::default();
    loop {
        let mut answered = 0;
        let flow = loop {
            match parser.next(&mut input) {
                Ok(None) => break Flow::Continue,
                Ok(Some(request)) => {
                    answered += 1;
                    let context = Context { store, state, now: Instant::now() };
                    if execute(context, request, &mut replies) == Flow::Close {
                        break Flow::Close;
                    }
                }
                Err(error) => {
                    replies.begin();
                    replies.fail(&format!("ERR Protocol error: {error}"));
                    break Flow::Close;
                }
            }
            if replies.bytes().len() >= SEND {
                send(&mut stream, &mut replies).await?;
            }
        };
        state.requests.fetch_add(answered, Ordering::Relaxed);
        send(&mut stream, &mut replies).await?;
        if flow == Flow::Close {
            return stream.shutdown().await;
        }
        input.reserve(READ);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

async fn send(stream: &mut TcpStream, replies: &mut Replies) -> io::Result<()> {
    if !replies.bytes().is_empty() {
        stream.write_all(replies.bytes()).await?;
        replies.clear();
    }
    Ok(())
}

/// Looks for keys whose end has come, for as long as the service runs.
async fn sweep(store: Arc<Store>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        store.sweep(Instant::now());
    }
}
