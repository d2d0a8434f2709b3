//! The way in: bytes from a connection become requests. The connection feeds what it has read to a
//! `RequestParser`, which keeps a half-received request between reads and hands out complete ones,
//! each a list of owned arguments that a command may move into the store. Nothing is ever allocated
//! for bytes that have only been announced: a request grows as its bytes arrive.

use std::fmt;

use bytes::{Buf, BytesMut};

/// What one request may hold; the same for every connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one argument.
    pub argument: usize,
    /// Arguments of one request.
    pub arguments: usize,
    /// Bytes of all arguments of one request together.
    pub request: usize,
    /// Bytes of one inline request, line end included.
    pub inline: usize,
}

impl Limits {
    /// What the service runs with.
    pub const DEFAULT: Self =
        Self { argument: 16 << 20, arguments: 64 << 10, request: 64 << 20, inline: 64 << 10 };
}

/// A line that only carries a length is never longer than this.
const LENGTH_LINE: usize = 32;

/// Room made for an argument before its bytes are there.
const FIRST_ROOM: usize = 16 << 10;

/// Slots made for arguments before they are there.
const FIRST_SLOTS: usize = 16;

/// Why a connection cannot go on: the stream has lost its framing, so it is answered and closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The count after `*` is not a number or over the limit.
    ArgumentCount,
    /// The length after `$` is not a number or over the limit.
    ArgumentLength,
    /// An argument began with this byte instead of `$`.
    ExpectedArgument(u8),
    /// No CRLF after the announced bytes of an argument.
    ExpectedLineEnd,
    /// A line that should only hold a length goes on and on.
    LongLength,
    /// The arguments together are over the limit.
    LongRequest,
    /// An inline request without an end.
    LongInline,
    /// An inline request with a quote that is not closed.
    Quotes,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArgumentCount => f.write_str("invalid multibulk length"),
            Self::ArgumentLength => f.write_str("invalid bulk length"),
            Self::ExpectedArgument(byte) => {
                write!(f, "expected '$', got '{}'", byte.escape_ascii())
            }
            Self::ExpectedLineEnd => f.write_str("expected CRLF after a bulk string"),
            Self::LongLength => f.write_str("too big count string"),
            Self::LongRequest => f.write_str("too big request"),
            Self::LongInline => f.write_str("too big inline request"),
            Self::Quotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

/// The arguments of one request, its command's name first.
pub type Request = Vec<Vec<u8>>;

/// One connection's parser: what it has of the request that is still coming in.
#[derive(Debug)]
pub struct RequestParser {
    limits: Limits,
    arguments: Request,
    /// Arguments still missing, the partial one included; 0 between requests.
    missing: usize,
    /// Bytes announced by the arguments so far.
    bytes: usize,
    /// The argument whose bytes are coming in, and its announced length.
    partial: Option<(Vec<u8>, usize)>,
}

impl RequestParser {
    /// A parser between two requests.
    pub fn new(limits: Limits) -> Self {
        Self { limits, arguments: Vec::new(), missing: 0, bytes: 0, partial: None }
    }

    /// Takes the next complete request off the front of `input`; `None` when more bytes are needed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        while self.missing == 0 {
            match input.first() {
                None => return Ok(None),
                Some(b'*') => {
                    let Some(count) = length_line(input)? else { return Ok(None) };
                    let count = count.ok_or(ProtocolError::ArgumentCount)?;
                    if count > self.limits.arguments as i64 {
                        return Err(ProtocolError::ArgumentCount);
                    }
                    // A count of zero or less is an empty request, which has no answer.
                    self.missing = count.max(0) as usize;
                    self.bytes = 0;
                    self.arguments = Vec::with_capacity(self.missing.min(FIRST_SLOTS));
                }
                Some(_) => match self.inline(input)? {
                    None => return Ok(None),
                    Some(words) if words.is_empty() => {}
                    Some(words) => return Ok(Some(words)),
                },
            }
        }
        while self.missing > 0 {
            match self.argument(input)? {
                None => return Ok(None),
                Some(argument) => self.arguments.push(argument),
            }
            self.missing -= 1;
        }
        Ok(Some(std::mem::take(&mut self.arguments)))
    }

    /// One argument: its length line, its bytes, its CRLF.
    fn argument(&mut self, input: &mut BytesMut) -> Result<Option<Vec<u8>>, ProtocolError> {
        if self.partial.is_none() {
            match input.first() {
                None => return Ok(None),
                Some(b'$') => {}
                Some(&byte) => return Err(ProtocolError::ExpectedArgument(byte)),
            }
            let Some(length) = length_line(input)? else { return Ok(None) };
            let length = length
                .and_then(|length| usize::try_from(length).ok())
                .filter(|&length| length <= self.limits.argument)
                .ok_or(ProtocolError::ArgumentLength)?;
            self.bytes += length;
            if self.bytes > self.limits.request {
                return Err(ProtocolError::LongRequest);
            }
            self.partial = Some((Vec::with_capacity(length.min(FIRST_ROOM)), length));
        }
        let (bytes, length) = self.partial.as_mut().expect("set above");
        let arrived = input.len().min(*length - bytes.len());
        if bytes.capacity() - bytes.len() < arrived {
            // At least doubled, and never more than announced: the last growth is exact.
            let room = (bytes.capacity() * 2).max(bytes.len() + arrived).min(*length);
            bytes.reserve_exact(room - bytes.len());
        }
        bytes.extend_from_slice(&input[..arrived]);
        input.advance(arrived);
        if bytes.len() < *length || input.len() < 2 {
            return Ok(None);
        }
        if &input[..2] != b"\r\n" {
            return Err(ProtocolError::ExpectedLineEnd);
        }
        input.advance(2);
        Ok(self.partial.take().map(|(bytes, _)| bytes))
    }

    /// A request typed as one line, as telnet or a health check sends it.
    fn inline(&self, input: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        let window = &input[..input.len().min(self.limits.inline)];
        let Some(end) = memchr::memchr(b'\n', window) else {
            let full = window.len() == self.limits.inline;
            return if full { Err(ProtocolError::LongInline) } else { Ok(None) };
        };
        let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
        let words = split_words(line).ok_or(ProtocolError::Quotes)?;
        input.advance(end + 1);
        Ok(Some(words))
    }
}

/// Takes a line such as `*3\r\n` off the input: the outer `None` is "not all there", the inner one
/// "not a number".
fn length_line(input: &mut BytesMut) -> Result<Option<Option<i64>>, ProtocolError> {
    let window = &input[..input.len().min(LENGTH_LINE)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == LENGTH_LINE { Err(ProtocolError::LongLength) } else { Ok(None) };
    };
    let number = window[1..end].strip_suffix(b"\r").and_then(parse_integer);
    input.advance(end + 1);
    Ok(Some(number))
}

/// A decimal number in its one usual form: no plus sign, no blanks, no leading zeros.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let usual = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if usual { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// The words of an inline request, with the shell-like quotes that redis-cli users know; `None`: a
/// quote is open.
fn split_words(line: &[u8]) -> Option<Request> {
    let mut words = Request::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        loop {
            let Some((&byte, tail)) = rest.split_first() else {
                if quote.is_some() {
                    return None;
                }
                break;
            };
            rest = tail;
            match (quote, byte) {
                (None, b'"' | b'\'') if word.is_empty() => quote = Some(byte),
                (None, byte) if byte.is_ascii_whitespace() => break,
                (Some(open), byte) if byte == open => {
                    // A closing quote ends the word.
                    if rest.first().is_some_and(|next| !next.is_ascii_whitespace()) {
                        return None;
                    }
                    break;
                }
                (Some(b'"'), b'\\') => word.push(unescape(&mut rest)?),
                (Some(b'\''), b'\\') if rest.first() == Some(&b'\'') => {
                    word.push(b'\'');
                    rest = &rest[1..];
                }
                (_, byte) => word.push(byte),
            }
        }
        words.push(word);
    }
}

/// The byte that a backslash inside double quotes stands for.
fn unescape(rest: &mut &[u8]) -> Option<u8> {
    if let [b'x', high, low, tail @ ..] = *rest {
        let digit = |byte: u8| (byte as char).to_digit(16);
        if let (Some(high), Some(low)) = (digit(*high), digit(*low)) {
            *rest = tail;
            return Some((high * 16 + low) as u8);
        }
    }
    let (&byte, tail) = rest.split_first()?;
    *rest = tail;
    Some(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    })
}
