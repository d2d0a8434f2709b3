//! One client connection: sends a batch, reads the answers, checks every one. It blocks: each
//! connection of the load has a thread of its own, which spends its time waiting. A batch is
//! written whole before the first answer is read, so `ROOM` bounds the answers that may pile up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::batch::{Batch, Expect};

/// Answers that fit into the sockets' buffers while the client still writes: a batch is closed when
/// the answers expected of it are longer.
pub const ROOM: usize = 48 << 10;

/// A server that takes longer is taken for dead.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer that has no expected bytes.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// A number.
    Integer(i64),
    /// A string, or nil.
    Bulk(Option<&'a [u8]>),
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Bytes read; those before `used` have been checked.
    input: Vec<u8>,
    used: usize,
    /// When the last bytes came in.
    received: Instant,
}

impl Connection {
    /// Opens one.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, input: Vec::with_capacity(64 << 10), used: 0, received: Instant::now() })
    }

    /// Sends the batch and checks what comes back. `check` judges the answers that have no expected
    /// bytes, and hears of every `Placed`; `done` is told when each answer was complete.
    pub fn exchange(
        &mut self,
        batch: &Batch,
        mut check: impl FnMut(Expect, Option<Answer<'_>>, Instant) -> Result<()>,
        mut done: impl FnMut(Instant),
    ) -> Result<()> {
        self.stream.write_all(&batch.request).context("the server does not take the request")?;
        let mut start = 0;
        for step in &batch.steps {
            let expected = &batch.expected[start..step.end];
            start = step.end;
            match step.expect {
                Expect::Exact => self.exact(expected)?,
                Expect::Placed { .. } => {
                    self.exact(expected)?;
                    check(step.expect, None, self.received)?;
                }
                _ => {
                    let (from, to, kind) = self.frame()?;
                    let answer = match kind {
                        Kind::Integer(number) => Answer::Integer(number),
                        Kind::Bulk => Answer::Bulk(Some(&self.input[from..to])),
                        Kind::Nil => Answer::Bulk(None),
                    };
                    check(step.expect, Some(answer), self.received)?;
                }
            }
            done(self.received);
        }
        ensure!(self.used == self.input.len(), "the server sent more than was asked for");
        self.input.clear();
        self.used = 0;
        Ok(())
    }

    /// One request by itself, its answer a string.
    pub fn ask(&mut self, request: &str) -> Result<String> {
        self.stream.write_all(format!("{request}\r\n").as_bytes())?;
        let (from, to, kind) = self.frame()?;
        let answer = match kind {
            Kind::Integer(number) => number.to_string(),
            Kind::Bulk => String::from_utf8_lossy(&self.input[from..to]).into_owned(),
            Kind::Nil => String::new(),
        };
        self.input.clear();
        self.used = 0;
        Ok(answer)
    }

    /// Takes exactly these bytes.
    fn exact(&mut self, expected: &[u8]) -> Result<()> {
        let mut matched = 0;
        loop {
            let arrived = (self.input.len() - self.used).min(expected.len() - matched);
            let answer = &self.input[self.used..self.used + arrived];
            if answer != &expected[matched..matched + arrived] {
                let shown = |bytes: &[u8]| bytes[..bytes.len().min(120)].escape_ascii().to_string();
                bail!(
                    "wrong answer: expected \"{}\", got \"{}\"",
                    shown(&expected[matched..]),
                    shown(answer)
                );
            }
            self.used += arrived;
            matched += arrived;
            if matched == expected.len() {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Takes one number, string or nil, whole; a string lies between the two indexes.
    fn frame(&mut self) -> Result<(usize, usize, Kind)> {
        let line = loop {
            match memchr::memchr(b'\n', &self.input[self.used..]) {
                Some(end) => break self.used..self.used + end,
                None => self.fill()?,
            }
        };
        let (from, after) = (line.start + 1, line.end + 1);
        let text = std::str::from_utf8(&self.input[line]).unwrap_or_default().trim_end();
        let number = text.get(1..).and_then(|number| number.parse::<i64>().ok());
        match (text.as_bytes().first().copied().unwrap_or(b' '), number) {
            (b'+', _) => {
                let to = from + text.len() - 1;
                self.used = after;
                Ok((from, to, Kind::Bulk))
            }
            (b':', Some(number)) => {
                self.used = after;
                Ok((after, after, Kind::Integer(number)))
            }
            (b'$', Some(-1)) => {
                self.used = after;
                Ok((after, after, Kind::Nil))
            }
            (b'$', Some(length @ 0..)) => {
                let end = after + length as usize;
                while self.input.len() < end + 2 {
                    self.fill()?;
                }
                self.used = end + 2;
                Ok((after, end, Kind::Bulk))
            }
            _ => bail!("wrong answer: {text}"),
        }
    }

    fn fill(&mut self) -> Result<()> {
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        }
        let mut chunk = [0; 32 << 10];
        let read = self.stream.read(&mut chunk).context("the server does not answer")?;
        ensure!(read > 0, "the server closed the connection");
        self.received = Instant::now();
        self.input.extend_from_slice(&chunk[..read]);
        Ok(())
    }
}

enum Kind {
    Integer(i64),
    Bulk,
    Nil,
}
