//! One pipelined batch: the requests as bytes, and what must come back. The models write both sides
//! at once; a connection sends the one and holds the answer against the other. Most answers are
//! known to the byte; the rest name the rule that they must fit.

use std::io::Write;
use std::time::Duration;

use super::values::Blob;

/// What the answer to one request must be.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// The bytes written beside the request.
    Exact,
    /// OK; and from now on the key holds this value until its time is over.
    Placed { key: u32, value: Blob, life: Duration },
    /// The value placed last, or nil, as the time that has passed allows.
    Fleeting { key: u32 },
    /// A value that some connection has written under this key.
    Shared { key: u32 },
    /// More than this connection has seen in this counter before.
    Counter { key: u32 },
}

/// One request's place in the batch.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The rule.
    pub expect: Expect,
    /// Where its expected bytes end; they begin where the last step's end.
    pub end: usize,
}

/// Requests and expectations; reused from batch to batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// Bytes to send.
    pub request: Vec<u8>,
    /// Bytes to come, where they are known.
    pub expected: Vec<u8>,
    /// The requests in order.
    pub steps: Vec<Step>,
}

impl Batch {
    /// Starts over.
    pub fn clear(&mut self) {
        self.request.clear();
        self.expected.clear();
        self.steps.clear();
    }

    /// Opens a request with its command and the number of arguments that follow.
    pub fn command(&mut self, name: &str, arguments: usize) -> &mut Self {
        header(&mut self.request, b'*', arguments as i64 + 1);
        self.argument(name.as_bytes())
    }

    /// Adds an argument.
    pub fn argument(&mut self, bytes: &[u8]) -> &mut Self {
        bulk(&mut self.request, bytes);
        self
    }

    /// Adds a key, such as `string:3:1234`, as an argument.
    pub fn key(&mut self, kind: &str, owner: u32, index: u32) -> &mut Self {
        let mut text = [0; 40];
        let mut rest = &mut text[..];
        write!(rest, "{kind}:{owner}:{index}").expect("keys are short");
        let length = 40 - rest.len();
        self.argument(&text[..length])
    }

    /// Adds an argument in two pieces.
    pub fn argument_of(&mut self, head: &[u8], tail: &[u8]) -> &mut Self {
        header(&mut self.request, b'$', (head.len() + tail.len()) as i64);
        self.request.extend_from_slice(head);
        self.request.extend_from_slice(tail);
        self.request.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a number as an argument.
    pub fn number(&mut self, number: i64) -> &mut Self {
        self.argument(itoa::Buffer::new().format(number).as_bytes())
    }

    /// The answer goes on with OK.
    pub fn ok(&mut self) -> &mut Self {
        self.expected.extend_from_slice(b"+OK\r\n");
        self
    }

    /// The answer goes on with a number.
    pub fn integer(&mut self, number: usize) -> &mut Self {
        header(&mut self.expected, b':', number as i64);
        self
    }

    /// The answer goes on with a string.
    pub fn bulk(&mut self, bytes: &[u8]) -> &mut Self {
        bulk(&mut self.expected, bytes);
        self
    }

    /// The answer goes on with nil.
    pub fn nil(&mut self) -> &mut Self {
        self.expected.extend_from_slice(b"$-1\r\n");
        self
    }

    /// The answer goes on with an array.
    pub fn array(&mut self, length: usize) -> &mut Self {
        header(&mut self.expected, b'*', length as i64);
        self
    }

    /// Closes a request whose answer has been written beside it.
    pub fn exact(&mut self) {
        self.close(Expect::Exact);
    }

    /// Closes a request whose answer has to fit a rule.
    pub fn close(&mut self, expect: Expect) {
        self.steps.push(Step { expect, end: self.expected.len() });
    }
}

fn header(bytes: &mut Vec<u8>, kind: u8, number: i64) {
    bytes.push(kind);
    bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

fn bulk(bytes: &mut Vec<u8>, content: &[u8]) {
    header(bytes, b'$', content.len() as i64);
    bytes.extend_from_slice(content);
    bytes.extend_from_slice(b"\r\n");
}
