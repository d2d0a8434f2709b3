//! The way out: replies become RESP2 bytes. Every command writes into the connection's `Replies`,
//! which gathers the answers of a pipelined batch until the connection sends them. One request's
//! answer is bounded: an over-long one is taken back and becomes an error.

/// Bytes that the answer to one request may take.
const LONGEST: usize = 64 << 20;

/// Room that is kept from batch to batch.
const KEPT: usize = 256 << 10;

/// Encoded replies that have not been sent yet.
#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    /// Where the answer to the request at hand begins.
    start: usize,
    overflow: bool,
}

impl Replies {
    /// Bytes to be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what has been sent, and gives an unusually large buffer back.
    pub fn clear(&mut self) {
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
    }

    /// Opens the answer to a request.
    pub fn begin(&mut self) {
        self.start = self.bytes.len();
        self.overflow = false;
    }

    /// Closes it; an over-long answer is replaced.
    pub fn finish(&mut self) {
        if self.overflow {
            self.fail("ERR the reply is too large");
        }
    }

    /// Takes back what the request at hand has written, and answers with an error.
    pub fn fail(&mut self, message: &str) {
        self.bytes.truncate(self.start);
        self.overflow = false;
        self.line(b'-', message.as_bytes());
    }

    /// `+OK` and its like.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// A whole number.
    pub fn integer(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// A count, which always fits.
    pub fn count(&mut self, number: usize) {
        self.header(b':', number as i64);
    }

    /// A string of any bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.bytes.len() - self.start + bytes.len() > LONGEST {
            self.overflow = true;
        }
        if self.overflow {
            return;
        }
        self.header(b'$', bytes.len() as i64);
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A string, or nil when there is none.
    pub fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.nil(),
        }
    }

    /// A score as Redis prints it.
    pub fn score(&mut self, score: f64) {
        self.bulk(format_score(score).as_bytes());
    }

    /// No such value.
    pub fn nil(&mut self) {
        self.bytes.extend_from_slice(b"$-1\r\n");
    }

    /// No such list.
    pub fn nil_array(&mut self) {
        self.bytes.extend_from_slice(b"*-1\r\n");
    }

    /// Opens an array; its elements follow.
    pub fn array(&mut self, length: usize) {
        self.header(b'*', length as i64);
    }

    fn header(&mut self, kind: u8, number: i64) {
        let mut digits = itoa::Buffer::new();
        self.line(kind, digits.format(number).as_bytes());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// The shortest text that reads back as the same number; an exponent where plain digits would be
/// endless.
pub fn format_score(score: f64) -> String {
    let plain = score == 0.0 || !score.is_finite() || (1e-5..1e17).contains(&score.abs());
    if plain {
        return score.to_string();
    }
    let text = format!("{score:e}");
    // Redis writes the sign of every exponent.
    if text.contains("e-") { text } else { text.replace('e', "e+") }
}
